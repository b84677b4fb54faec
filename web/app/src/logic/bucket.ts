/** Lets through a burst, then so many per second: for what a peer may do to this page. */
export class Bucket {
  #left: number;
  #time: number;

  constructor(
    private readonly burst: number,
    private readonly perSecond: number,
    now: number,
  ) {
    this.#left = burst;
    this.#time = now;
  }

  /** Whether one more may pass at `now` (milliseconds). */
  take(now: number): boolean {
    const passed = Math.max(0, now - this.#time) / 1000;
    this.#time = now;
    this.#left = Math.min(this.burst, this.#left + passed * this.perSecond);
    if (this.#left < 1) return false;
    this.#left -= 1;
    return true;
  }
}
