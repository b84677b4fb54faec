/**
 * Limits how much may come at once, and how much per second in the long run. Times are in milliseconds, from one clock.
 */
export class TokenBucket {
  readonly #rate: number;
  readonly #burst: number;
  #tokens: number;
  #at: number;

  /** `tokens` can be taken at first; this may be more than a burst, but only once. */
  constructor(rate: number, burst: number, now = performance.now(), tokens = burst) {
    this.#rate = rate;
    this.#burst = burst;
    this.#at = now;
    this.#tokens = tokens;
  }

  /** Returns whether there were enough tokens; if not, none are taken. A cost above a burst never passes. */
  take(cost: number, now = performance.now()): boolean {
    // A clock that was set back adds no tokens and removes none.
    const gained = (Math.max(0, now - this.#at) / 1000) * this.#rate;
    this.#at = now;
    this.#tokens = Math.min(Math.max(this.#burst, this.#tokens), this.#tokens + gained);
    if (this.#tokens < cost) return false;
    this.#tokens -= cost;
    return true;
  }

  /** Milliseconds until this many can be taken, if nobody else takes any. */
  wait(cost: number): number {
    return Math.max(0, ((cost - this.#tokens) / this.#rate) * 1000);
  }

  /** Takes the tokens as soon as that is possible. */
  async taken(cost: number): Promise<void> {
    while (!this.take(cost)) await new Promise((resolve) => setTimeout(resolve, this.wait(cost)));
  }
}
