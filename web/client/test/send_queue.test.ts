import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { fits, HIGH_WATER, maxMessageSizeOf, queueOf, SendQueue } from "../src/send_queue";
import { FakeDataChannel } from "./fake_channel";

const KIB = 1024;

function connection(sctp: number | null | undefined, attribute: string | undefined): RTCPeerConnection {
  const sdp = `v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n${attribute ?? ""}`;
  return {
    sctp: typeof sctp === "number" ? { maxMessageSize: sctp } : sctp,
    remoteDescription: attribute === "none yet" ? null : { sdp },
  } as RTCPeerConnection;
}

const says = (bytes: number) => `a=max-message-size:${bytes}\r\n`;

describe("the largest message", () => {
  it.each([
    ["what both say", 256 * KIB, says(262_144), 262_144],
    ["what the other side says", 256 * KIB, says(65_535), 65_535],
    ["exactly 64 KiB", 256 * KIB, says(65_536), 65_536],
    ["64 KiB, where the other side says nothing", 256 * KIB, undefined, 65_536],
    ["this browser's own, where the other side has no limit", 256 * KIB, says(0), 262_144],
    ["none, where neither side has a limit", Number.POSITIVE_INFINITY, says(0), Number.POSITIVE_INFINITY],
    ["this browser's own, where the other side takes a gigabyte", 256 * KIB, says(1_073_741_823), 262_144],
    ["little, where the other side takes little", 256 * KIB, says(1_200), 1_200],
    ["64 KiB, in a browser without sctp", undefined, says(262_144), 65_536],
    ["64 KiB, before anything is negotiated", null, "none yet", 65_536],
  ])("is %s", (_, sctp, attribute, expected) => {
    expect(maxMessageSizeOf(connection(sctp, attribute))).toBe(expected);
  });

  it("is counted in bytes, not in characters", () => {
    expect(fits("x".repeat(65_536), 65_536)).toBe(true);
    expect(fits("x".repeat(65_537), 65_536)).toBe(false);
    expect(fits("é".repeat(32_768), 65_536)).toBe(true);
    expect(fits("é".repeat(32_769), 65_536)).toBe(false);
    expect(fits("板".repeat(21_845), 65_535)).toBe(true);
    expect(fits("板".repeat(21_846), 65_536)).toBe(false);
    expect(fits("😀".repeat(16_384), 65_536)).toBe(true);
    expect(fits("😀".repeat(16_385), 65_536)).toBe(false);
    expect(fits("anything", Number.POSITIVE_INFINITY)).toBe(true);
  });
});

describe("SendQueue", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  function open(capacity = Number.POSITIVE_INFINITY): { fake: FakeDataChannel; channel: RTCDataChannel } {
    const fake = new FakeDataChannel();
    fake.open();
    fake.isStuck = true;
    fake.capacity = capacity;
    return { fake, channel: fake as unknown as RTCDataChannel };
  }

  it("keeps the order of what the browser's buffer does not take, copies included", async () => {
    const { fake, channel } = open(10);
    let emptied = 0;
    const queue = new SendQueue(channel, () => emptied++);
    for (let i = 0; i < 20; i++) {
      const frame = new Uint8Array(4).fill(i);
      queue.send(frame);
      frame.fill(255);
    }
    expect([fake.sent.length, queue.bytes]).toEqual([2, 72]);
    for (let i = 0; i < 20; i++) {
      fake.bufferedAmount = 0;
      await vi.advanceTimersByTimeAsync(60);
    }
    // The two that went at once are the caller's own bytes, changed since.
    expect(fake.sent.map((frame) => frame[0])).toEqual([255, 255, ...Array.from({ length: 18 }, (_, i) => i + 2)]);
    expect([queue.bytes, emptied, vi.getTimerCount()]).toEqual([0, 1, 0]);
  });

  it("goes on at once when the browser says so", () => {
    const { fake, channel } = open(4);
    const queue = new SendQueue(channel);
    for (let i = 0; i < 3; i++) queue.send(Uint8Array.of(i, i, i));
    for (let i = 0; i < 2; i++) {
      fake.bufferedAmount = 0;
      queue.flush();
    }
    expect(fake.sent.map((frame) => frame[0])).toEqual([0, 1, 2]);
  });

  it("throws what waiting does not mend", () => {
    const { fake, channel } = open();
    fake.maxMessageSize = 10;
    const queue = new SendQueue(channel);
    expect(() => queue.send(new Uint8Array(11))).toThrow(TypeError);
    fake.readyState = "closing";
    expect(() => queue.send(new Uint8Array(1))).toThrow("not open");
    expect(queue.bytes).toBe(0);
  });

  it("forgets what waits when the channel ends, and lets nobody wait for it", async () => {
    const { fake, channel } = open(4);
    const queue = new SendQueue(channel);
    for (let i = 0; i < 3; i++) queue.send(new Uint8Array(4));
    fake.bufferedAmount = HIGH_WATER + 1;
    const ready = queue.ready();
    fake.readyState = "closed";
    await vi.advanceTimersByTimeAsync(200);
    await ready;
    expect([queue.bytes, vi.getTimerCount()]).toEqual([0, 0]);
  });

  it("closes a channel that is open and takes nothing, but waits for a peer that is slow", async () => {
    const { fake, channel } = open(0);
    const queue = new SendQueue(channel);
    queue.send(new Uint8Array(4));
    await vi.advanceTimersByTimeAsync(20_000);
    expect([fake.readyState, queue.bytes]).toEqual(["open", 4]);
    await vi.advanceTimersByTimeAsync(20_000);
    expect([fake.readyState, queue.bytes]).toEqual(["closed", 0]);

    const slow = open(4);
    const other = new SendQueue(slow.channel);
    for (let i = 0; i < 2; i++) other.send(new Uint8Array(4));
    await vi.advanceTimersByTimeAsync(600_000);
    expect([slow.fake.readyState, other.bytes]).toEqual(["open", 4]);
  });

  it("is one for a channel", () => {
    const { channel } = open();
    expect(queueOf(channel)).toBe(queueOf(channel));
    expect(queueOf(channel)).not.toBe(queueOf(open().channel));
  });
});
