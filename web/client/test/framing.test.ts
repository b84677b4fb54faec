import { describe, expect, it } from "vitest";
import { type Content, cut, MAX_FRAME, Reassembler } from "../src/framing";
import { seeded } from "./random";

const LIMIT = 1 << 20;

function content(length: number, isBinary = true): Content {
  return { isBinary, bytes: Uint8Array.from({ length }, (_, i) => (i * 31) & 255) };
}

const garbage = new Uint8Array();

function frames(length: number): Uint8Array<ArrayBuffer>[] {
  return [...cut(content(length))];
}

describe("cut and Reassembler", () => {
  const sizes = [0, 1, MAX_FRAME - 1, MAX_FRAME, MAX_FRAME + 1, 2 * MAX_FRAME - 6, 2 * MAX_FRAME, 300_000, LIMIT];
  it.each(sizes)("bring %i bytes through", (length) => {
    for (const isBinary of [true, false]) {
      const reassembler = new Reassembler(LIMIT);
      const whole = content(length, isBinary);
      const pieces = [...cut(whole)];
      expect(Math.max(...pieces.map((piece) => piece.length))).toBeLessThanOrEqual(MAX_FRAME);
      const results = pieces.map((piece) => reassembler.push(piece));
      expect(results.slice(0, -1).every((result) => result === undefined)).toBe(true);
      const last = results.at(-1);
      expect(last?.isBinary).toBe(isBinary);
      expect(last?.bytes.length).toBe(length);
      expect(last?.bytes.every((byte, i) => byte === whole.bytes[i])).toBe(true);
    }
  });

  it("refuse what is too large, all of it, and take the next message", () => {
    const reassembler = new Reassembler(LIMIT);
    let refusals = 0;
    for (const frame of frames(3 * LIMIT)) {
      try {
        expect(reassembler.push(frame)).toBeUndefined();
      } catch {
        refusals += 1;
      }
    }
    expect(refusals).toBe(1);
    expect(reassembler.push(frames(5)[0] ?? garbage)).toEqual(content(5));
    expect(() => new Reassembler(100).push(frames(101)[0] ?? garbage)).toThrow(RangeError);
  });

  it("refuse endless pieces and small ones", () => {
    const reassembler = new Reassembler(LIMIT);
    const [full = garbage] = frames(2 * MAX_FRAME);
    let taken = 0;
    expect(() => {
      for (; taken < 1000; taken++) reassembler.push(full);
    }).toThrow(RangeError);
    expect(taken).toBe(Math.floor(LIMIT / (MAX_FRAME - 1)));
    for (let i = 0; i < 10_000; i++) expect(reassembler.push(full)).toBeUndefined();
    for (const bad of [garbage, Uint8Array.of(0, 1, 2), Uint8Array.of(4), new Uint8Array(MAX_FRAME + 1).fill(1)]) {
      const fresh = new Reassembler(LIMIT);
      expect(() => fresh.push(bad)).toThrow(RangeError);
    }
  });

  it("stand any garbage", () => {
    for (let seed = 1; seed <= 300; seed++) {
      const random = seeded(seed);
      const reassembler = new Reassembler(LIMIT);
      const good = frames(40_000);
      for (let i = 0; i < 30; i++) {
        const short = Uint8Array.from({ length: Math.floor(random() * 40) }, () => random() * 256);
        const next = random() < 0.5 ? short : (good[Math.floor(random() * good.length)] ?? short);
        try {
          const result = reassembler.push(next);
          expect(result?.bytes.length ?? 0, `seed ${seed}`).toBeLessThanOrEqual(LIMIT);
        } catch (error) {
          expect(error, `seed ${seed}`).toBeInstanceOf(RangeError);
        }
      }
    }
  });
});
