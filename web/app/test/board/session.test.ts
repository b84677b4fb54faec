// The board in a room: one slow peer holds nobody up, and whoever missed something catches up.
import type { Peer, Room } from "bimcc-rtc";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { BoardElement } from "../../src/board/element";
import { boardToSave, hasBoardToSave } from "../../src/board/last_board";
import { BoardSession } from "../../src/board/session";
import { reconcile, rectangle } from "./simulation";

type Handler = (...args: unknown[]) => void;

class FakeRoom {
  readonly room = "test";
  readonly peers = new Map<string, Peer>();
  readonly handlers = new Map<string, Handler>();
  readonly sent: { to: string; kind: string }[] = [];
  readonly messages: { to: string | undefined; message: { kind: string } }[] = [];
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

  send(message: { kind: string }, { to }: { to?: string } = {}): Promise<void> {
    const { kind } = message;
    this.messages.push({ to, message });
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
let fits: number;

beforeEach(() => {
  vi.useFakeTimers();
  fits = 0;
  room = new FakeRoom();
  scene = [];
  session = makeSession();
});

function makeSession(): BoardSession {
  return new BoardSession({
    room: room as unknown as Room,
    scene: {
      elements: () => scene,
      held: () => new Set(),
      show: (elements) => {
        const shown = new Set(elements.map(({ id }) => id));
        const local = scene.filter(({ id }) => !shown.has(id));
        scene = reconcile(local, elements, { editingTextElement: null });
      },
      fit: () => void fits++,
      showCursors() {},
      showImage() {},
    },
    onProblem() {},
  });
}

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

/** A session that begins with these in the room, none of them connected yet. */
function late(...ids: string[]): (id: string, change: { isAway?: boolean; state?: string }) => void {
  session.end();
  room = new FakeRoom();
  for (const id of ids) {
    const away = { isAway: id.startsWith("ghost") };
    room.peers.set(id, { id, name: id, state: "connecting", ...away } as Peer);
  }
  scene = [];
  session = makeSession();
  return (id, change) => {
    const peer = Object.assign(room.peers.get(id) as object, change);
    room.handlers.get("peer_updated")?.(peer);
  };
}

const asked = () => room.sent.filter(({ kind }) => kind === "board/want").map(({ to }) => to);

test("the next peer is asked for the board at once when the one that was asked is away", async () => {
  const update = late("first", "second", "third");
  await vi.advanceTimersByTimeAsync(3_000);
  expect(asked()).toEqual(["first"]);
  update("first", { isAway: true });
  expect(asked()).toEqual(["first", "second"]);
  // Said once more, or of another, it changes nothing; and who comes back is not asked again.
  update("first", { isAway: true });
  update("first", { isAway: false });
  update("third", { isAway: true });
  expect(asked()).toEqual(["first", "second"]);
  update("second", { isAway: true });
  expect([asked(), session.loading]).toEqual([["first", "second"], false]);
});

test("who is away from the beginning is not asked, but for a path that is up", async () => {
  late("ghost 1", "ghost 2", "here");
  await vi.advanceTimersByTimeAsync(3_000);
  expect(asked()).toEqual(["here"]);
  const update = late("ghost 1", "here");
  update("ghost 1", { state: "connected" });
  expect(asked()).toEqual(["ghost 1"]);
});

test("with nobody but ghosts the board is there, and is compared with who comes back", async () => {
  const update = late("ghost 1", "ghost 2");
  await vi.advanceTimersByTimeAsync(3_000);
  expect([asked(), session.loading]).toEqual([[], false]);
  update("ghost 2", { isAway: false, state: "connected" });
  await vi.advanceTimersByTimeAsync(1_000);
  expect(room.count("ghost 2", "board/state")).toBeGreaterThan(0);
});

/** A session that meets these peers when it begins. */
function begin(...peers: string[]): void {
  session.end();
  scene = [];
  fits = 0;
  room = new FakeRoom();
  for (const id of peers) room.peers.set(id, { id, name: id, state: "connected" } as Peer);
  session = makeSession();
}

/** Until a peer that was connected from the first is asked for the board. */
const LOAD_STARTS = 3_000;

const receive = (from: string, message: object) => room.handlers.get("message")?.(room.peers.get(from), message);

test("whoever comes late gets to see the whole board, once, when it is here", async () => {
  begin("peer");
  await vi.advanceTimersByTimeAsync(LOAD_STARTS);
  receive("peer", { kind: "board/update", elements: [rectangle("far", { x: 9_000 })] });
  await vi.advanceTimersByTimeAsync(500);
  expect([scene.length, fits]).toEqual([1, 0]);
  receive("peer", { kind: "board/update", elements: [rectangle("further", { x: 90_000, index: "a1" })] });
  receive("peer", { kind: "board/end" });
  await vi.advanceTimersByTimeAsync(500);
  expect([scene.length, fits]).toEqual([2, 1]);
  receive("peer", { kind: "board/update", elements: [rectangle("new", { index: "a2" })] });
  await vi.advanceTimersByTimeAsync(60_000);
  expect(fits).toBe(1);
});

test("nothing jumps where nothing was, nor under the hands of one who draws already", async () => {
  begin();
  room.join("peer");
  await vi.advanceTimersByTimeAsync(500);
  receive("peer", { kind: "board/update", elements: [rectangle("new")] });
  await vi.advanceTimersByTimeAsync(500);
  expect([scene.length, fits]).toEqual([1, 0]);
  begin("peer");
  await vi.advanceTimersByTimeAsync(LOAD_STARTS);
  receive("peer", { kind: "board/end" });
  await vi.advanceTimersByTimeAsync(500);
  receive("peer", { kind: "board/update", elements: [rectangle("new")] });
  await vi.advanceTimersByTimeAsync(500);
  expect(fits).toBe(0);
  begin("peer");
  await vi.advanceTimersByTimeAsync(LOAD_STARTS);
  await change(1);
  receive("peer", { kind: "board/update", elements: [rectangle("old", { index: "a1" })] });
  receive("peer", { kind: "board/end" });
  await vi.advanceTimersByTimeAsync(1_000);
  expect([scene.length, fits]).toEqual([2, 0]);
});

test("whoever is asked for the board before it has it all sends the rest when it comes", async () => {
  begin("old");
  room.join("new");
  await vi.advanceTimersByTimeAsync(500);
  expect(session.loading).toBe(true);
  receive("new", { kind: "board/want", ids: "all" });
  receive("old", { kind: "board/update", elements: [rectangle("theirs")] });
  receive("old", { kind: "board/end" });
  const sent = room.messages.filter(({ to }) => to === "new").map(({ message }) => message);
  expect(sent.filter(({ kind }) => kind !== "board/state")).toEqual([
    { kind: "board/end", more: true },
    { kind: "board/update", elements: [rectangle("theirs")] },
    { kind: "board/end" },
  ]);
});

test("a part of the board is waited on for more, but not for ever", async () => {
  begin("half");
  await vi.advanceTimersByTimeAsync(LOAD_STARTS);
  receive("half", { kind: "board/end", more: true });
  expect(session.loading).toBe(true);
  receive("half", { kind: "board/end", more: true });
  expect(session.loading).toBe(false);
  begin("half");
  await vi.advanceTimersByTimeAsync(LOAD_STARTS);
  receive("half", { kind: "board/end", more: true });
  await vi.advanceTimersByTimeAsync(20_000);
  expect(session.loading).toBe(false);
});

test("two that ask each other have all there is", async () => {
  begin("peer");
  await vi.advanceTimersByTimeAsync(LOAD_STARTS);
  receive("peer", { kind: "board/want", ids: "all" });
  expect(room.messages.at(-1)?.message).toEqual({ kind: "board/end" });
});

test("whoever leaves can save what was on the board, until there is another", async () => {
  begin();
  await change(1);
  expect(hasBoardToSave("test")).toBe(false);
  session.end();
  expect([hasBoardToSave("test"), hasBoardToSave("other")]).toEqual([true, false]);
  vi.stubGlobal("location", { origin: "https://example.org" });
  const file = await boardToSave("test");
  vi.unstubAllGlobals();
  expect(file?.name).toBe("test.excalidraw");
  expect(JSON.parse((await file?.text()) ?? "")).toMatchObject({
    type: "excalidraw",
    elements: [{ id: "e", x: 1 }],
    files: {},
  });
  begin();
  expect(hasBoardToSave("test")).toBe(false);
});
