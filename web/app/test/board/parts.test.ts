// The small parts: cursors, hashes, limits by time.
import { TokenBucket } from "bimcc-rtc/shared";
import { expect, test } from "vitest";
import { Cursors } from "../../src/board/cursors";
import { sha256, sha256OfBytes } from "../../src/board/sha256";
import { seeded } from "./simulation";

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

test("SHA-256 without the browser's help is SHA-256", async () => {
  const known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  expect(hex(sha256OfBytes(new TextEncoder().encode("abc")))).toBe(known);
  const random = seeded(4);
  for (const length of [0, 1, 55, 56, 63, 64, 65, 1_000, 70_000]) {
    const bytes = Uint8Array.from({ length }, () => Math.floor(random() * 256));
    expect(hex(sha256OfBytes(bytes))).toBe(await sha256(bytes));
  }
});

test("cursors go when their peer leaves or is silent, and take no nonsense", () => {
  const cursors = new Cursors();
  const at = (x: unknown, selected: unknown = []) => ({ kind: "board/pointer", x, y: 1, selected });
  cursors.handlePointer(0, "a", at(1, ["e", 7, "constructor"]));
  cursors.handlePointer(0, "b", at(2));
  cursors.handlePointer(0, "c", at(Number.NaN));
  const shown = cursors.pollChange();
  expect([...(shown?.keys() ?? [])]).toEqual(["a", "b"]);
  expect(shown?.get("a")).toEqual({ x: 1, y: 1, tool: "pointer", button: "up", selected: ["e"] });
  expect(cursors.pollChange()).toBeUndefined();

  cursors.handlePeerLeft("a");
  expect([...(cursors.pollChange()?.keys() ?? [])]).toEqual(["b"]);
  cursors.handleTimer(20_000);
  expect(cursors.pollChange()?.size).toBe(0);
});

test("a rate limit gives what was saved up, then so much a second, whatever the clock does", () => {
  const limit = new TokenBucket(10, 20, 0);
  const taken = (now: number) => Array.from({ length: 100 }, () => limit.take(1, now)).filter(Boolean).length;
  expect(taken(0)).toBe(20);
  expect(taken(500)).toBe(5);
  expect(taken(-100_000)).toBe(0);
  expect(taken(1e9)).toBe(20);
});
