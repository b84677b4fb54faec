// Computes rates from counters that were read now and then.

/** The counters of one peer at one time, in bytes and milliseconds. */
export interface Reading {
  time: number;
  bytesSent: number;
  bytesReceived: number;
}

/** Bits per second, over the time before `time`. */
export interface Rate {
  time: number;
  send: number;
  receive: number;
}

/** The rates of the last minutes, oldest first; never more than `most`. */
export class RateHistory {
  #last: Reading | undefined;
  #rates: readonly Rate[] = [];

  constructor(private readonly most: number) {}

  get rates(): readonly Rate[] {
    return this.#rates;
  }

  add(reading: Reading): void {
    const last = this.#last;
    const seconds = last ? (reading.time - last.time) / 1000 : 0;
    if (last && seconds <= 0) return;
    this.#last = reading;
    if (!last) return;
    // A new connection counts from zero again.
    const send = Math.max(0, reading.bytesSent - last.bytesSent);
    const receive = Math.max(0, reading.bytesReceived - last.bytesReceived);
    const rate = { time: reading.time, send: (send * 8) / seconds, receive: (receive * 8) / seconds };
    this.#rates = [...this.#rates, rate].slice(-this.most);
  }
}

/** The smallest scale of a plot, so that tiny rates stay a line at the bottom. */
const SMALLEST_SCALE = 50_000;

export function scaleOf(...series: readonly (readonly number[])[]): number {
  return Math.max(SMALLEST_SCALE, ...series.flat().filter(Number.isFinite));
}

/** The `d` of an SVG path: `slots` values wide, the newest at the right edge, 0 at the bottom. */
export function plot(values: readonly number[], slots: number, scale: number, width: number, height: number): string {
  const shown = values.slice(-slots);
  const step = width / Math.max(1, slots - 1);
  const points = shown.map((value, i) => {
    const x = width - (shown.length - 1 - i) * step;
    const y = height - Math.min(1, Math.max(0, Number.isFinite(value) ? value / scale : 0)) * height;
    return `${x.toFixed(1)},${y.toFixed(1)}`;
  });
  return points.length < 2 ? "" : `M${points.join("L")}`;
}
