// The board in a room: one slow peer holds nobody up, and whoever missed something catches up.
import type { Peer, Room } from "bimcc-rtc";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { BoardElement } from "../../src/board/element";
import { BoardSession } from "../../src/board/session";
import { reconcile, rectangle } from "./simulation";

type Handler = (...args: unknown[]) => void;

class FakeRoom {
  readonly room = "test";
  readonly peers = new Map<string, Peer>();
  readonly handlers = new Map<string, Handler>();
  readonly sent: { to: string; kind: string }[] = [];
  readonly stuck = new Map<string, (() => void)[]>();

  on(event: string, handler: Handler): () => void {
    this.handlers.set(event, handler);
    return () => this.handlers.delete(event);
  }

  join(id: string): void {
    const peer = { id, name: id, state: "connected" } as Peer;
    this.peers.set(id, peer);
    this.handlers.get("peer_joined")?.(peer);
  }

  send({ kind }: { kind: string }, { to }: { to?: string } = {}): Promise<void> {
    if (to !== undefined) this.sent.push({ to, kind });
    const waiting = to === undefined ? undefined : this.stuck.get(to);
    return waiting ? new Promise((resolve) => waiting.push(resolve)) : Promise.resolve();
  }

  count(to: string, kind: string): number {
    return this.sent.filter((message) => message.to === to && message.kind === kind).length;
  }
}

let room: FakeRoom;
let scene: BoardElement[];
let session: BoardSession;

beforeEach(() => {
  vi.useFakeTimers();
  room = new FakeRoom();
  scene = [];
  session = new BoardSession({
    room: room as unknown as Room,
    scene: {
      elements: () => scene,
      held: () => new Set(),
      show: (elements) => {
        const shown = new Set(elements.map(({ id }) => id));
        const local = scene.filter(({ id }) => !shown.has(id));
        scene = reconcile(local, elements, { editingTextElement: null });
      },
      showCursors() {},
      showImage() {},
    },
    onProblem() {},
  });
});

afterEach(() => {
  session.end();
  vi.useRealTimers();
});

async function change(version: number): Promise<void> {
  scene = [rectangle("e", { version, x: version })];
  session.handleSceneChange();
  await vi.advanceTimersByTimeAsync(100);
}

test("a peer that takes nothing holds nobody up, and catches up later", async () => {
  room.join("quick");
  room.join("slow");
  room.stuck.set("slow", []);
  for (let version = 1; version <= 40; version++) await change(version);
  expect(room.count("quick", "board/update")).toBe(40);
  const waiting = room.stuck.get("slow") ?? [];
  expect(waiting.length).toBeLessThanOrEqual(14);

  room.stuck.delete("slow");
  for (const resolve of waiting) resolve();
  const before = room.sent.length;
  await vi.advanceTimersByTimeAsync(4_000);
  const since = room.sent.slice(before);
  expect(since).toContainEqual({ to: "slow", kind: "board/state" });
  await change(41);
  expect(room.count("slow", "board/update")).toBeLessThanOrEqual(waiting.length + 1);
  expect(room.sent.at(-1)).toEqual({ to: "slow", kind: "board/update" });
});

test("what a peer sends is shown, and nothing is heard after the end", async () => {
  room.join("peer");
  const update = { kind: "board/update", elements: [rectangle("theirs")] };
  room.handlers.get("message")?.(room.peers.get("peer"), update);
  await vi.advanceTimersByTimeAsync(100);
  expect(scene.map(({ id }) => id)).toEqual(["theirs"]);
  session.end();
  expect(room.handlers.size).toBe(0);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(room.count("peer", "board/state")).toBeLessThan(3);
});
