// Rules of docs/PROTOCOL.md, section 11.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { PartsReader, sendText } from "../src/legacy/old_messages";
import { FakeDataChannel } from "./fake_channel";

const MAX = 4_194_304;
const KIB_256 = { maxMessageSize: 262_144, maxInParts: MAX };
const OLD = { ...KIB_256, maxInParts: undefined };

type Sent = string | Uint8Array<ArrayBuffer>;

function open(maxMessageSize = 262_144): { fake: FakeDataChannel; channel: RTCDataChannel; sent: Sent[] } {
  const fake = new FakeDataChannel();
  fake.open();
  fake.maxMessageSize = maxMessageSize;
  return { fake, channel: fake as unknown as RTCDataChannel, sent: fake.sent as Sent[] };
}

const text = (length: number, unit = "x") => JSON.stringify({ type: "__msg", data: unit.repeat(length) });

/** What the other side hears. */
function hear(sent: Sent[], reader = new PartsReader(MAX, () => {})): string[] {
  return sent.flatMap((data) => (typeof data === "string" ? data : (reader.push(data.slice().buffer) ?? [])));
}

describe("large messages of the old API", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it.each([
    [65_535, "x"],
    [65_537, "x"],
    [262_145, "x"],
    [300_000, "x"],
    [100_000, "板"],
    [80_000, "😀"],
    [1_000_000, '"'],
  ])("11.2: %i times %s arrives, and all is in order", (length, unit) => {
    const { channel, sent } = open(65_536);
    const all = [text(1), text(length, unit), text(2), text(length, unit), text(3)];
    for (const one of all) sendText(channel, one, { maxMessageSize: 65_536, maxInParts: MAX });
    expect(hear(sent)).toEqual(all);
  });

  it("11.2: what one message holds is a text as ever", () => {
    const { channel, sent } = open();
    for (const one of [text(1), "x".repeat(65_536)]) sendText(channel, one, KIB_256);
    expect(sent.every((data) => typeof data === "string")).toBe(true);
    sendText(channel, "x".repeat(65_537), KIB_256);
    expect(sent.slice(2).every((data) => typeof data !== "string" && data.length <= 16_384)).toBe(true);
  });

  it.each([65_535, 65_536, 262_144, 1_200])("11.1: an original client gets whole texts up to its %i bytes", (limit) => {
    const { channel, sent } = open(limit);
    const limits = { maxMessageSize: limit, maxInParts: undefined };
    sendText(channel, "x".repeat(limit), limits);
    expect(() => sendText(channel, "x".repeat(limit + 1), limits)).toThrow(
      expect.objectContaining({ reason: "too_large" }),
    );
    expect(() => sendText(channel, "é".repeat(limit / 2 + 1), limits)).toThrow(`${limit} bytes`);
    sendText(channel, "after it", limits);
    expect(sent).toEqual(["x".repeat(limit), "after it"]);
  });

  it("11.3: what is over the largest size is refused before any of it is sent", () => {
    const { channel, sent } = open();
    expect(() => sendText(channel, "x".repeat(MAX + 1), KIB_256)).toThrow(
      expect.objectContaining({ reason: "too_large" }),
    );
    expect(() => sendText(channel, "板".repeat(MAX / 2), KIB_256)).toThrow(`${MAX} bytes`);
    expect(sent).toEqual([]);
    sendText(channel, "x".repeat(MAX), KIB_256);
    expect(hear(sent)).toEqual(["x".repeat(MAX)]);
  });

  it("waits for a full buffer, in order, and has an end to its patience", async () => {
    const { fake, channel, sent } = open();
    fake.isStuck = true;
    fake.capacity = 300_000;
    const all = [text(200_000), text(1), text(200_001), text(2)];
    for (const one of all) sendText(channel, one, KIB_256);
    expect(hear(sent)).toHaveLength(2);
    for (let i = 0; i < 10; i++) {
      fake.bufferedAmount = 0;
      await vi.advanceTimersByTimeAsync(60);
    }
    expect(hear(sent)).toEqual(all);

    vi.clearAllTimers();
    fake.capacity = 0;
    const large = "x".repeat(262_144);
    const send = () => {
      for (let i = 0; i < 300; i++) sendText(channel, large, OLD);
    };
    expect(send).toThrow(expect.objectContaining({ reason: "too_much" }));
    fake.end();
    await vi.advanceTimersByTimeAsync(60);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe("parts of a peer that means harm", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  const FULL = new Uint8Array(16_384).fill(65);
  const part = (flags: number, content: number | string): ArrayBuffer => {
    const body = typeof content === "string" ? new TextEncoder().encode(content) : FULL.subarray(0, content);
    return Uint8Array.of(flags, ...body).buffer;
  };

  it.each([
    ["a part that is not full and not the last", part(0, 100)],
    ["an empty part", new ArrayBuffer(0)],
    ["flags that there are not", part(4, 10)],
    ["bytes instead of a text", part(3, 10)],
    ["a part that is too large", part(1, 16_384)],
    ["what is no UTF-8", Uint8Array.of(1, 255, 254).buffer],
  ])("11.4: %s is refused, and the next message is taken", (_, bad) => {
    const reader = new PartsReader(MAX, () => {});
    expect(() => reader.push(bad)).toThrow();
    // It may have begun a message, which is ignored to its end.
    try {
      reader.push(part(1, "its end"));
    } catch {}
    expect(reader.push(part(1, "good"))).toBe("good");
  });

  it("11.3: a message without end is kept no further than the largest size, and named once", () => {
    const reader = new PartsReader(100_000, () => {});
    let refusals = 0;
    for (let i = 0; i < 1_000; i++) {
      try {
        expect(reader.push(part(0, 16_383))).toBeUndefined();
      } catch {
        refusals += 1;
      }
    }
    expect(refusals).toBe(1);
    expect(reader.push(part(1, "the end of it"))).toBeUndefined();
    expect(reader.push(part(1, "good"))).toBe("good");
  });

  it("11.4: a rest that does not come is waited for, not for ever", async () => {
    let late = 0;
    const reader = new PartsReader(MAX, () => late++);
    reader.push(part(0, 16_383));
    await vi.advanceTimersByTimeAsync(119_000);
    reader.push(part(0, 16_383));
    await vi.advanceTimersByTimeAsync(119_000);
    expect(late).toBe(0);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(late).toBe(1);
    expect(reader.push(part(1, "good"))).toBe("good");
    reader.push(part(0, 16_383));
    reader.reset();
    expect(vi.getTimerCount()).toBe(0);
  });
});
