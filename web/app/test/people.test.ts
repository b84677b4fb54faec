import type { PeerStats } from "bimcc-rtc";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { People, pathInWords } from "../src/model/people";
import { presenceFromMetadata, presenceToMetadata } from "../src/model/presence";
import { type FakePeer, FakeRoom } from "./fake_room";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function stats(peer: FakePeer, change: Partial<PeerStats> = {}): PeerStats {
  return {
    peer,
    path: "direct",
    protocol: "udp",
    roundTripTime: 0.01,
    sendRate: undefined,
    receiveRate: undefined,
    bytesSent: 0,
    bytesReceived: 0,
    packetLoss: undefined,
    ...change,
  };
}

function stream(id: string): MediaStream {
  return { id } as MediaStream;
}

describe("people", () => {
  it("come, change and go", async () => {
    const room = new FakeRoom();
    const people = new People(room);
    const ada = room.enter("1", "Ada");
    await vi.advanceTimersByTimeAsync(200);
    expect(people.list.get()).toMatchObject([{ id: "1", name: "Ada", state: "connected", streams: [] }]);
    ada.name = "Countess";
    ada.metadata = presenceToMetadata({ microphone: false, camera: true });
    ada.streams = [
      { stream: stream("a"), label: "camera" },
      { stream: stream("b"), label: "screen" },
    ];
    room.emit("peer_updated", ada);
    await vi.advanceTimersByTimeAsync(200);
    expect(people.list.get()).toMatchObject([
      {
        name: "Countess",
        presence: { microphone: false, camera: true },
        streams: [
          { id: "a", kind: "camera" },
          { id: "b", kind: "screen" },
        ],
      },
    ]);
    room.exit(ada);
    await vi.advanceTimersByTimeAsync(200);
    expect(people.list.get()).toEqual([]);
    people.dispose();
    expect(room.listenerCount()).toBe(0);
  });

  it("say how they are connected, and how much flows", async () => {
    const room = new FakeRoom();
    const ada = room.enter("1", "Ada");
    room.statistics = [stats(ada)];
    const people = new People(room);
    await vi.advanceTimersByTimeAsync(100);
    room.statistics = [stats(ada, { bytesSent: 250_000, bytesReceived: 500_000, path: "relayed", protocol: "tls" })];
    await vi.advanceTimersByTimeAsync(2100);
    const [person] = people.list.get();
    expect(person && pathInWords(person)).toBe("relayed, TLS");
    expect(person?.rates.at(-1)).toMatchObject({ send: 1e6, receive: 2e6 });
    people.dispose();
  });

  it("are said to be away when they are", async () => {
    const room = new FakeRoom();
    const people = new People(room);
    const expected = { connecting: "connecting…", reconnecting: "reconnecting…", failed: "no connection" } as const;
    for (const [state, words] of Object.entries(expected)) {
      const ada = room.enter("1", "Ada", { state: state as keyof typeof expected });
      room.statistics = [stats(ada)];
      await vi.advanceTimersByTimeAsync(3000);
      expect(people.list.get().map(pathInWords)).toEqual([words]);
    }
    people.dispose();
  });

  it("show a bounded number of streams each", async () => {
    const room = new FakeRoom();
    const streams = Array.from({ length: 100 }, (_, i) => ({ stream: stream(`${i}`), label: "x" }));
    room.enter("1", "Mallory", { streams });
    const people = new People(room);
    expect(people.list.get()[0]?.streams).toHaveLength(4);
    people.dispose();
  });

  it("are shown even if the figures cannot be had", async () => {
    const room = new FakeRoom();
    room.stats = async () => Promise.reject(new Error("not now"));
    room.enter("1", "Ada");
    const people = new People(room);
    await vi.advanceTimersByTimeAsync(5000);
    expect(people.list.get()).toHaveLength(1);
    people.dispose();
  });
});

describe("presence", () => {
  it("survives garbage", () => {
    const garbage = [undefined, null, 5, "x", [], {}, { microphone: "yes", camera: true }, { microphone: true }];
    for (const metadata of garbage) expect(presenceFromMetadata(metadata)).toBeUndefined();
    const presence = { microphone: true, camera: false };
    expect(presenceFromMetadata({ more: 1, ...presence })).toEqual(presence);
  });
});
