/** So many at once, and so many per second for ever. */
export class TokenBucket {
  readonly #rate: number;
  readonly #burst: number;
  #tokens: number;
  #at = performance.now();

  constructor(rate: number, burst: number) {
    this.#rate = rate;
    this.#burst = burst;
    this.#tokens = burst;
  }

  /** Whether there were enough; if not, none are taken. */
  take(cost: number): boolean {
    const now = performance.now();
    this.#tokens = Math.min(this.#burst, this.#tokens + ((now - this.#at) / 1000) * this.#rate);
    this.#at = now;
    if (this.#tokens < Math.min(cost, this.#burst)) return false;
    this.#tokens -= cost;
    return true;
  }

  /** Milliseconds until so many can be taken, if nobody else does. */
  wait(cost: number): number {
    return Math.max(0, ((Math.min(cost, this.#burst) - this.#tokens) / this.#rate) * 1000);
  }

  /** Takes them as soon as that is possible. */
  async taken(cost: number): Promise<void> {
    while (!this.take(cost)) await new Promise((resolve) => setTimeout(resolve, this.wait(cost)));
  }
}
