import { TokenBucket } from "bimcc-rtc/shared";
import { describe, expect, it } from "vitest";
import { bytesInWords, rateInWords, roundTripInWords } from "../src/logic/format";
import { qrPath } from "../src/logic/qr_path";
import { plot, RateHistory, scaleOf } from "../src/logic/rates";

describe("rates", () => {
  it("come from what two readings differ by", () => {
    const history = new RateHistory(10);
    history.add({ time: 1000, bytesSent: 500, bytesReceived: 0 });
    expect(history.rates).toEqual([]);
    history.add({ time: 3000, bytesSent: 1500, bytesReceived: 250 });
    expect(history.rates).toEqual([{ time: 3000, send: 4000, receive: 1000 }]);
  });

  it("are never below zero: a new connection counts from nothing", () => {
    const history = new RateHistory(10);
    history.add({ time: 0, bytesSent: 5000, bytesReceived: 5000 });
    history.add({ time: 1000, bytesSent: 100, bytesReceived: 0 });
    history.add({ time: 2000, bytesSent: 200, bytesReceived: 0 });
    expect(history.rates.map(({ send }) => send)).toEqual([0, 800]);
  });

  it("ignore two readings at one time", () => {
    const history = new RateHistory(10);
    history.add({ time: 0, bytesSent: 0, bytesReceived: 0 });
    history.add({ time: 0, bytesSent: 1000, bytesReceived: 0 });
    expect(history.rates).toEqual([]);
  });

  it("are kept for a while only", () => {
    const history = new RateHistory(3);
    for (let i = 0; i < 100; i++) history.add({ time: i * 1000, bytesSent: i, bytesReceived: i });
    expect(history.rates.map(({ time }) => time)).toEqual([97_000, 98_000, 99_000]);
  });
});

describe("a plot", () => {
  it("has the newest at the right, the scale's top at the top", () => {
    expect(plot([0, 50, 100], 3, 100, 20, 10)).toBe("M0.0,10.0L10.0,5.0L20.0,0.0");
    expect(plot([100, 100], 3, 100, 20, 10)).toBe("M10.0,0.0L20.0,0.0");
  });

  it("shows no more than fit, and nothing of one value", () => {
    expect(plot([9, 9, 0, 0], 2, 9, 10, 10)).toBe("M0.0,10.0L10.0,10.0");
    expect(plot([1], 5, 1, 10, 10)).toBe("");
    expect(plot([], 5, 1, 10, 10)).toBe("");
  });

  it("stays in its frame whatever the figures are", () => {
    expect(plot([Number.NaN, 500, -5], 3, 100, 20, 10)).toBe("M0.0,10.0L10.0,0.0L20.0,10.0");
  });

  it("does not blow up what is next to nothing", () => {
    expect(scaleOf([1, 2], [3])).toBe(50_000);
    expect(scaleOf([1e6], [3e6, Number.NaN])).toBe(3e6);
    expect(scaleOf([], [])).toBe(50_000);
  });
});

describe("figures in words", () => {
  it("names sizes", () => {
    expect([0, 999, 1000, 2_345_678, 234_567_890, 5e12].map(bytesInWords)).toEqual([
      "0 B",
      "999 B",
      "1.0 KB",
      "2.3 MB",
      "235 MB",
      "5.0 TB",
    ]);
    expect(bytesInWords(Number.NaN)).toBe("unknown size");
    expect(bytesInWords(-1)).toBe("unknown size");
  });

  it("names rates and times", () => {
    expect([undefined, 10, 45_600, 1_234_567, 23_456_789].map(rateInWords)).toEqual([
      "–",
      "0 kbit/s",
      "46 kbit/s",
      "1.2 Mbit/s",
      "23 Mbit/s",
    ]);
    expect([undefined, 0.0004, 0.0123].map(roundTripInWords)).toEqual(["–", "< 1 ms", "12 ms"]);
  });
});

describe("a bucket", () => {
  it("lets a burst through, then so many per second", () => {
    const bucket = new TokenBucket(2, 3, 0);
    const passed = (times: number[]) => times.filter((time) => bucket.take(1, time)).length;
    expect(passed([0, 0, 0, 0, 0])).toBe(3);
    expect(passed([400])).toBe(0);
    expect(passed([1000, 1000, 1000])).toBe(2);
    expect(passed(Array(10).fill(60_000))).toBe(3);
  });

  it("is not fooled by a clock that goes back", () => {
    const bucket = new TokenBucket(1, 1, 1000);
    expect(bucket.take(1, 0)).toBe(true);
    expect(bucket.take(1, 0)).toBe(false);
  });
});

describe("a QR code's path", () => {
  it("covers the dark modules and nothing else", () => {
    const modules = [
      [true, true, false],
      [false, true, false],
      [true, false, true],
    ];
    expect(qrPath(modules)).toBe("M0 0h2v1h-2zM1 1h1v1h-1zM0 2h1v1h-1zM2 2h1v1h-1z");
  });
});
