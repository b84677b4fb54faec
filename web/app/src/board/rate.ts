/** A token bucket that is told the time. */
export class RateLimit {
  #tokens: number;
  #at: number;

  constructor(
    readonly perSecond: number,
    readonly burst: number,
    now: number,
  ) {
    this.#tokens = burst;
    this.#at = now;
  }

  /** Takes `amount` if it is there. */
  take(now: number, amount = 1): boolean {
    // A clock that was set back gives nothing and takes nothing.
    const elapsed = Math.max(0, now - this.#at);
    this.#at = now;
    this.#tokens = Math.min(Math.max(this.burst, this.#tokens), this.#tokens + (elapsed * this.perSecond) / 1000);
    if (this.#tokens < amount) return false;
    this.#tokens -= amount;
    return true;
  }

  /** Allows more than the burst, once. */
  grant(amount: number): void {
    this.#tokens = Math.max(this.#tokens, amount);
  }
}
