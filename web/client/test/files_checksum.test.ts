import { describe, expect, it } from "vitest";
import { Checksum } from "../src/files/checksum";
import { seeded } from "./random";

const random = seeded(1);
const piece = (length: number) => Uint8Array.from({ length }, () => random() * 256);

function checksum(...pieces: Uint8Array<ArrayBuffer>[]): Uint8Array {
  const sum = new Checksum();
  for (const each of pieces) sum.add(each);
  return sum.value;
}

describe("Checksum", () => {
  it("is the same for the same pieces", () => {
    const [a, b] = [piece(4096), piece(1001)];
    const sum = new Checksum();
    sum.add(a);
    sum.add(b);
    expect(sum.equals(checksum(a, b))).toBe(true);
    expect(sum.equals(checksum(a))).toBe(false);
    expect(sum.equals(new Uint8Array())).toBe(false);
  });

  it("notices each flipped bit, swapped words and pieces, and what is missing or too much", () => {
    const [a, b] = [piece(1024), piece(103)];
    const sums = new Set([String(checksum(a, b)), String(checksum(b, a)), String(checksum(a)), String(checksum(b))]);
    expect(sums.size).toBe(4);
    for (let bit = 0; bit < 8 * b.length; bit++) {
      const flipped = b.slice();
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      sums.add(String(checksum(a, flipped)));
    }
    for (let end = 1; end < b.length; end++) sums.add(String(checksum(a, b.slice(0, end))));
    const swapped = new Uint8Array([...a.slice(4, 8), ...a.slice(0, 4), ...a.slice(8)]);
    sums.add(String(checksum(swapped, b)));
    for (let zeros = 1; zeros < 50; zeros++) sums.add(String(checksum(new Uint8Array(zeros))));
    expect(sums.size).toBe(4 + 8 * b.length + b.length - 1 + 1 + 49);
  });
});
