/** So many at once, and so many per second for ever. Times are in milliseconds, of one clock. */
export class TokenBucket {
  readonly #rate: number;
  readonly #burst: number;
  #tokens: number;
  #at: number;

  /** `tokens`: what can be taken at first. More than a burst is there once. */
  constructor(rate: number, burst: number, now = performance.now(), tokens = burst) {
    this.#rate = rate;
    this.#burst = burst;
    this.#at = now;
    this.#tokens = tokens;
  }

  /** Whether there were enough; if not, none are taken. What costs more than a burst never passes. */
  take(cost: number, now = performance.now()): boolean {
    // A clock that was set back gives nothing and takes nothing.
    const gained = (Math.max(0, now - this.#at) / 1000) * this.#rate;
    this.#at = now;
    this.#tokens = Math.min(Math.max(this.#burst, this.#tokens), this.#tokens + gained);
    if (this.#tokens < cost) return false;
    this.#tokens -= cost;
    return true;
  }

  /** Milliseconds until so many can be taken, if nobody else does. */
  wait(cost: number): number {
    return Math.max(0, ((cost - this.#tokens) / this.#rate) * 1000);
  }

  /** Takes them as soon as that is possible. */
  async taken(cost: number): Promise<void> {
    while (!this.take(cost)) await new Promise((resolve) => setTimeout(resolve, this.wait(cost)));
  }
}
