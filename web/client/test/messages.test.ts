import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Channel } from "../src/channels";
import { type Content, cut } from "../src/framing";
import { encode, type MessagesOwner, PeerMessages, unwrap, wrap } from "../src/messages";
import { FakeChannels, type FakeDataChannel } from "./fake_channel";

const MAX = 4 << 20;

interface Set {
  messages: PeerMessages;
  reliable: FakeDataChannel;
  droppable: FakeDataChannel;
  channel: Channel;
  delivered: [unknown, boolean][];
  bad: string[];
  bypassed: Content[];
  lost: () => number;
}

function set({ maxBytes = MAX, canBypass = false, open = true, maxMessageSize = 262_144 } = {}): Set {
  let losses = 0;
  const [reliable, droppable] = [1, 2].map((id) => new Channel("c", { id }, () => losses++)) as [Channel, Channel];
  const connection = new FakeChannels();
  connection.sctp = { maxMessageSize };
  for (const channel of [reliable, droppable]) {
    channel.attach(connection.connection);
    channel.allow();
  }
  const [fakeReliable, fakeDroppable] = connection.channels as [FakeDataChannel, FakeDataChannel];
  if (open) for (const fake of connection.channels) fake.open();
  const result: Omit<Set, "messages"> = {
    reliable: fakeReliable,
    droppable: fakeDroppable,
    channel: reliable,
    delivered: [],
    bad: [],
    bypassed: [],
    lost: () => losses,
  };
  const owner: MessagesOwner = {
    bypass: async (content) => {
      if (canBypass) result.bypassed.push(content);
      return canBypass;
    },
    handleMessage: (data, isDroppable) => result.delivered.push([data, isDroppable]),
    report: (what) => result.bad.push(what),
  };
  const messages = new PeerMessages(owner, reliable, droppable, maxBytes);
  return { ...result, messages };
}

const frames = (data: unknown) => [...cut(encode(data, MAX))];
const received = ({ delivered }: Set) => delivered.map(([data]) => data);

describe("PeerMessages", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it("brings JSON and bytes from one to the other, in order", async () => {
    const [a, b] = [set(), set()];
    const sent = [{ a: [1, null, "ü"] }, "text", 5, null, "x".repeat(100_000), undefined];
    for (const data of sent) void a.messages.send(encode(data, MAX));
    void a.messages.send(encode(new Uint16Array([1, 2]), MAX));
    await vi.advanceTimersByTimeAsync(100);
    for (const frame of a.reliable.sent) b.reliable.receive(frame);
    expect(received(b).slice(0, -1)).toEqual([...sent.slice(0, -1), null]);
    expect([...new Uint16Array(received(b).at(-1) as ArrayBuffer)]).toEqual([1, 2]);
    expect(b.bad).toEqual([]);
  });

  it("waits for a full buffer", async () => {
    const { messages, reliable } = set();
    reliable.isStuck = true;
    let isSent = false;
    void messages.send(encode(new Uint8Array(3 << 20), MAX)).then(() => {
      isSent = true;
    });
    await vi.advanceTimersByTimeAsync(5_000);
    expect(reliable.bufferedAmount).toBeLessThan(1_100_000);
    expect(isSent).toBe(false);
    reliable.isStuck = false;
    reliable.drain();
    await vi.advanceTimersByTimeAsync(5_000);
    expect(isSent).toBe(true);
  });

  it.each([
    ["an event when there is room", true],
    ["no event at all", false],
  ])("waits for a browser whose buffer is full far below a megabyte, with %s", async (_, hasEvent) => {
    const [a, b] = [set(), set()];
    a.reliable.isStuck = true;
    a.reliable.capacity = 100_000;
    const sent = ["first", "x".repeat(400_000), "second", "third"];
    let settled = 0;
    for (const data of sent) void a.messages.send(encode(data, MAX)).then(() => settled++);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(a.reliable.sent.length).toBeLessThan(8);
    expect(settled).toBeLessThan(2);
    for (let i = 0; i < 100; i++) {
      if (hasEvent) a.reliable.drain();
      else a.reliable.bufferedAmount = 0;
      await vi.advanceTimersByTimeAsync(60);
    }
    expect(settled).toBe(4);
    for (const frame of a.reliable.sent) b.reliable.receive(frame);
    expect(received(b)).toEqual(sent);
  });

  it("rejects what can never go to a peer that takes next to nothing", async () => {
    const tiny = set({ open: false, maxMessageSize: 1000 });
    for (const fake of [tiny.reliable, tiny.droppable]) fake.open();
    await expect(tiny.messages.send(encode("x".repeat(2_000), MAX))).rejects.toMatchObject({ reason: "too_large" });
    await tiny.messages.send(encode("small", MAX));
    tiny.messages.sendDroppable(encode("x".repeat(2_000), MAX));
    expect([tiny.reliable.sent.length, tiny.droppable.sent.length]).toEqual([1, 0]);
  });

  it("takes another way while the channel is not open, and waits where there is none", async () => {
    const other = set({ canBypass: true, open: false });
    await other.messages.send(encode("hello", MAX));
    expect(other.bypassed.length).toBe(1);
    const none = set({ open: false });
    void none.messages.send(encode("hello", MAX));
    await vi.advanceTimersByTimeAsync(1_000);
    expect(none.reliable.sent).toEqual([]);
    none.reliable.open();
    await vi.advanceTimersByTimeAsync(0);
    expect(none.reliable.sent).toEqual(frames("hello"));
  });

  it("sends a message from its beginning when the channel was lost in the middle of it", async () => {
    const a = set();
    a.reliable.isStuck = true;
    void a.messages.send(encode(new Uint8Array(2 << 20), MAX));
    await vi.advanceTimersByTimeAsync(10);
    expect(a.reliable.sent.length).toBeGreaterThan(1);
    a.reliable.end();
    expect(a.lost()).toBe(1);
    const again = new FakeChannels();
    a.channel.attach(again.connection);
    again.channels[0]?.open();
    await vi.advanceTimersByTimeAsync(5_000);
    expect(again.channels[0]?.sent.length).toBe(frames(new Uint8Array(2 << 20)).length);
  });

  it("rejects when the peer has gone", async () => {
    const { messages, channel } = set({ open: false });
    const sent = messages.send(encode("hello", MAX));
    const outcome = expect(sent).rejects.toMatchObject({ reason: "peer_gone" });
    await vi.advanceTimersByTimeAsync(0);
    channel.close();
    await outcome;
    await expect(messages.send(encode("more", MAX))).rejects.toMatchObject({ reason: "peer_gone" });
  });

  it("drops what is droppable rather than wait", () => {
    const { messages, droppable } = set();
    droppable.bufferedAmount = 100_000;
    messages.sendDroppable(encode("late", MAX));
    expect(droppable.sent).toEqual([]);
    droppable.bufferedAmount = 0;
    for (let i = 0; i < 10_000; i++) messages.sendDroppable(encode(i, MAX));
    expect(droppable.sent.length).toBe(200);
  });

  it("loses nothing of what another of its kind sends at once, and accuses nobody", async () => {
    const [a, b] = [set(), set()];
    for (let i = 0; i < 3_000; i++) void a.messages.send(encode(i, MAX));
    for (let second = 0; second < 30; second++) {
      // The network stands still for five seconds each time.
      await vi.advanceTimersByTimeAsync(5_000);
      for (const frame of a.reliable.sent.splice(0)) b.reliable.receive(frame);
    }
    await vi.advanceTimersByTimeAsync(10_000);
    expect(received(b)).toEqual(Array.from({ length: 3_000 }, (_, i) => i));
    expect(b.bad).toEqual([]);
  });

  it("takes of a flood what it can bear, and says so", async () => {
    const { reliable, droppable, delivered, bad } = set();
    const [frame] = frames({ flood: true });
    if (!frame) throw new Error("no frame");
    for (let second = 0; second < 10; second++) {
      for (let i = 0; i < 5_000; i++) reliable.receive(frame);
      await vi.advanceTimersByTimeAsync(1_000);
    }
    expect(delivered.length).toBeGreaterThan(1_000);
    expect(delivered.length).toBeLessThan(8_000);
    expect(bad.length).toBeGreaterThan(1_000);
    const before = delivered.length;
    for (let i = 0; i < 5_000; i++) droppable.receive(frame);
    expect(delivered.length - before).toBeLessThanOrEqual(510);
  });

  it("refuses garbage, too large messages, and bad JSON; the next good one arrives", async () => {
    const b = set({ maxBytes: 50_000 });
    b.reliable.receive("a text frame");
    b.reliable.receive(new Uint8Array());
    b.reliable.receive(Uint8Array.of(255, 1, 2));
    b.reliable.receive(Uint8Array.of(1, 0xff, 0xfe));
    b.reliable.receive(new Uint8Array([1, ...new TextEncoder().encode("{")]));
    for (const frame of frames("x".repeat(60_000))) b.reliable.receive(frame);
    b.droppable.receive("a text");
    expect(b.delivered).toEqual([]);
    expect(b.bad.length).toBeGreaterThanOrEqual(7);
    for (const frame of frames("good")) b.reliable.receive(frame);
    expect(received(b)).toEqual(["good"]);
  });
});

describe("encode", () => {
  it("takes a copy, and no more than fits", () => {
    const data = new Uint8Array([1, 2, 3, 4]);
    const { bytes } = encode(data.subarray(1, 3), MAX);
    data.fill(0);
    expect([...bytes]).toEqual([2, 3]);
    expect(() => encode("x".repeat(100), 100)).toThrow(expect.objectContaining({ reason: "too_large" }));
  });
});

describe("wrap and unwrap", () => {
  it("bring messages through the server", () => {
    const through = (data: unknown) => unwrap(JSON.parse(JSON.stringify(wrap(encode(data, MAX)))));
    expect(through({ a: 1 })).toEqual({ a: 1 });
    expect(wrap(encode("x".repeat(50_000), MAX))).toBeUndefined();
    expect(wrap(encode(new Uint8Array(4), MAX))).toBeUndefined();
  });

  it("leave others' messages alone and stand nonsense", () => {
    expect(unwrap("text")).toBe("text");
    expect(unwrap(null)).toBe(null);
    expect(unwrap({ sdk: 2, data: 1 })).toEqual({ sdk: 2, data: 1 });
  });
});
