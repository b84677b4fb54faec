// Calls between pages by the public faces alone, today's and the old one. The same tests run on the sources and on the built
// files, where each build has shortened names for itself: what one renames of the wire, the other does not find.
import { beforeAll, beforeEach, expect, it, vi } from "vitest";
import { joinRoom, openCamera } from "../src/index";
import type { IncomingFile, Peer, RemoteStream, Room } from "../src/types";
import { makeWorld, Stream, Track, world } from "./fake_world";

const SERVER = "http://server.example";

/** On a machine that is busy with others. */
const until = (check: () => void) => vi.waitFor(check, { timeout: 30_000 });

/** What pages of that time do with it. */
interface OldClient {
  on(event: string, listener: (...args: never[]) => void): void;
  connect(server: string, room?: string): void;
  allReadyComplete(): void;
  createStream(options: object): void;
  sendMessage(message: unknown, id: string): void;
  broadcast(message: unknown): void;
  sendFile(dom: unknown, id: string): void;
  sendFileAccept(id: string): void;
  me: string;
  connections: string[];
  dataChannels: Record<string, { readyState: string }>;
}

declare global {
  var SkyRTC: () => OldClient;
}

beforeAll(async () => {
  makeWorld();
  await import("../src/legacy/index");
});
beforeEach(makeWorld);

/** Every event of the room in order, as `[name, …]`. */
function listen(room: Room): unknown[][] {
  const heard: unknown[][] = [];
  const events = [
    "state",
    "left",
    "peer_joined",
    "peer_left",
    "stream",
    "stream_ended",
    "message",
    "file",
    "error",
  ] as const;
  for (const name of events) room.on(name, (...args: unknown[]) => heard.push([name, ...args]));
  return heard;
}

const named = (heard: unknown[][], name: string) => heard.filter(([event]) => event === name);

async function connected(room: Room): Promise<Peer> {
  await until(() => expect([...room.peers.values()].map(({ state }) => state)).toEqual(["connected"]));
  const [peer] = room.peers.values();
  if (!peer) throw new Error("nobody is there");
  return peer;
}

async function pair(): Promise<{ ada: Room; bob: Room; heardByAda: unknown[][]; heardByBob: unknown[][] }> {
  const ada = await joinRoom({ url: SERVER, room: "lobby", name: "Ada", metadata: { hand: true } });
  const heardByAda = listen(ada);
  const bob = await joinRoom({ url: SERVER, room: "lobby", name: "Bob" });
  const heardByBob = listen(bob);
  await connected(ada);
  await connected(bob);
  const isOpen = () => world.connections.filter((connection) => connection.isOpen).length === 2;
  await until(() => expect(isOpen()).toBe(true));
  return { ada, bob, heardByAda, heardByBob };
}

it("says on the wire what docs/PROTOCOL.md has", async () => {
  const { ada, bob } = await pair();
  ada.update({ name: "Ada L." });
  bob.leave();
  await until(() => expect(world.said.at(-1)?.eventName).toBe("__leave"));
  const first = (name: string) => world.said.find(({ eventName }) => eventName === name)?.data;
  expect(first("__join")).toEqual({ room: "lobby", name: "Ada", metadata: { hand: true }, resume: "" });
  const sdp = expect.stringContaining("v=0");
  expect(first("__offer")).toEqual({
    socketId: ada.id,
    sdp: { type: "offer", sdp },
    sdk: { v: 1, offer: 1, streams: {} },
  });
  expect(first("__answer")).toEqual({
    socketId: bob.id,
    sdp: { type: "answer", sdp },
    sdk: { v: 1, offer: 1, streams: {} },
  });
  expect(first("__ice_candidate")).toEqual({
    socketId: ada.id,
    label: 0,
    candidate: expect.stringContaining("candidate:"),
    sdpMid: "0",
    sdpMLineIndex: 0,
  });
  expect(first("__update")).toEqual({ name: "Ada L." });
  expect(first("__leave")).toEqual({});
});

it("shows who is there, and who goes", async () => {
  const { ada, bob, heardByAda } = await pair();
  expect(bob.peers.get(ada.id)).toMatchObject({ id: ada.id, name: "Ada", metadata: { hand: true }, isAway: false });
  expect(ada).toMatchObject({ room: "lobby", state: "joined", name: "Ada", streams: [] });
  bob.update({ name: null, metadata: [1] });
  await until(() => expect(ada.peers.get(bob.id)).toMatchObject({ name: undefined, metadata: [1] }));
  bob.leave();
  await until(() => expect(named(heardByAda, "peer_left")).toMatchObject([["peer_left", { id: bob.id }, "left"]]));
  expect(bob.state).toBe("left");
  await expect(bob.send("too late")).rejects.toMatchObject({ name: "BimccRtcError", reason: "aborted" });
});

it("carries messages of every kind and size, whole and in order", async () => {
  const { ada, heardByBob } = await pair();
  const large = "x".repeat(200_000);
  await ada.send({ hello: ["all"] });
  await ada.send(large, { to: [...ada.peers.keys()][0] as string });
  await ada.send(Uint8Array.of(1, 2, 3));
  await until(() => expect(named(heardByBob, "message")).toHaveLength(3));
  await ada.send("quick", { droppable: true });
  await expect(ada.send("x".repeat(5_000_000))).rejects.toMatchObject({ reason: "too_large" });
  await expect(ada.send("?", { to: "nobody" })).rejects.toMatchObject({ reason: "peer_gone" });
  await until(() => expect(named(heardByBob, "message")).toHaveLength(4));
  const peer = { id: ada.id };
  expect(named(heardByBob, "message")).toMatchObject([
    ["message", peer, { hello: ["all"] }, { via: "peer", droppable: false }],
    ["message", peer, large, { via: "peer", droppable: false }],
    ["message", peer, Uint8Array.of(1, 2, 3).buffer, { via: "peer", droppable: false }],
    ["message", peer, "quick", { via: "peer", droppable: true }],
  ]);
});

it("sends through the server what cannot wait for a path", async () => {
  const ada = await joinRoom({ url: SERVER, room: "lobby" });
  const heard = listen(ada);
  const bob = await joinRoom({ url: SERVER, room: "lobby" });
  await bob.send({ early: 1 });
  expect(world.said.find(({ eventName }) => eventName === "__message")?.data).toEqual({
    socketId: ada.id,
    data: { sdk: 1, data: { early: 1 } },
  });
  await until(() =>
    expect(named(heard, "message")).toMatchObject([
      ["message", { id: bob.id }, { early: 1 }, { via: "server", droppable: false }],
    ]),
  );
});

it("carries streams with their labels, and says when they end", async () => {
  const { ada, bob, heardByBob } = await pair();
  const camera = await openCamera();
  const screen = new Stream([new Track("video")]);
  ada.publish(camera, { label: "camera" });
  const published = ada.publish(screen as unknown as MediaStream, { label: "screen" });
  const peer = bob.peers.get(ada.id) as Peer;
  await until(() => expect(peer.streams.map(({ label }) => label).sort()).toEqual(["camera", "screen"]));
  await published.replaceTrack(new Track("video") as unknown as MediaStreamTrack);
  published.unpublish();
  await until(() => expect(named(heardByBob, "stream_ended")).toHaveLength(1));
  expect(named(heardByBob, "stream_ended")[0]?.[2] as RemoteStream).toMatchObject({ label: "screen" });
  for (const track of camera.getTracks()) (track as unknown as Track).end();
  await until(() => expect(peer.streams).toEqual([]));
  expect(ada.streams).toEqual([]);
});

it("carries files, whole, and tells both sides how it goes", async () => {
  const { ada, bob } = await pair();
  const bytes = Uint8Array.from({ length: 1_500_000 }, (_, i) => (i * 7) % 251);
  const offered = new Promise<IncomingFile>((resolve) => bob.on("file", (_, file) => resolve(file)));
  const [outgoing] = ada.sendFile(new File([bytes], "a/b.bin"), { metadata: { n: 1 } });
  const file = await offered;
  expect(file).toMatchObject({ name: "b.bin", size: 1_500_000, metadata: { n: 1 }, state: "offered" });
  const progress: number[] = [];
  file.on("progress", (sofar) => progress.push(sofar));
  const blob = await file.accept();
  await outgoing?.done;
  const got = new Uint8Array(await blob.arrayBuffer());
  expect([got.length, got.every((byte, i) => byte === bytes[i])]).toEqual([1_500_000, true]);
  expect([outgoing?.state, file.state, progress.at(-1)]).toEqual(["done", "done", 1_500_000]);
});

it("says when a file is not wanted", async () => {
  const { ada, bob } = await pair();
  bob.on("file", (_, file) => file.refuse());
  const [refused] = ada.sendFile(new Blob(["x"]), { name: "x" });
  await expect(refused?.done).rejects.toMatchObject({ reason: "file_refused" });
});

it("says how it is connected", async () => {
  const { ada, bob } = await pair();
  expect(await ada.stats()).toMatchObject([
    {
      peer: { id: bob.id },
      path: "relayed",
      protocol: "tcp",
      roundTripTime: 0.25,
      bytesSent: 1000,
      bytesReceived: 2000,
    },
  ]);
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(await ada.stats()).toMatchObject([{ sendRate: 0, receiveRate: 0 }]);
});

/** A page of the old API that is ready. */
function oldPage(): { page: OldClient; heard: unknown[][] } {
  const page = globalThis.SkyRTC();
  const heard: unknown[][] = [];
  const names = [
    "connected",
    "new_peer",
    "pc_add_stream",
    "data_channel_opened",
    "data_channel_message",
    "receive_file_ask",
  ];
  for (const name of [...names, "receive_file", "sended_file", "remove_peer", "data_channel_error", "_new_peer"]) {
    page.on(name, (...args: unknown[]) => heard.push([name, ...args]));
  }
  page.connect("ws://server.example", "lobby");
  page.allReadyComplete();
  return { page, heard };
}

async function opened({ page, heard }: ReturnType<typeof oldPage>): Promise<string> {
  await until(() => expect(named(heard, "data_channel_opened")).toHaveLength(1));
  return Object.keys(page.dataChannels)[0] as string;
}

it("lets pages of the old API call each other", async () => {
  const ada = oldPage();
  await until(() => expect(named(ada.heard, "connected")).toHaveLength(1));
  const bob = oldPage();
  const idOfAda = await opened(bob);
  const idOfBob = await opened(ada);
  expect([idOfAda, idOfBob]).toEqual([ada.page.me, bob.page.me]);
  expect(world.said.find(({ eventName }) => eventName === "__offer")?.data.sdk).toEqual({
    v: 1,
    offer: 1,
    streams: {},
    old: true,
    parts: true,
  });
  expect(named(ada.heard, "_new_peer")).toMatchObject([["_new_peer", { socketId: bob.page.me }]]);

  // Larger than a browser takes at once.
  const large = "x".repeat(500_000);
  ada.page.broadcast({ a: 1 });
  ada.page.sendMessage(large, idOfBob);
  await until(() => expect(named(bob.heard, "data_channel_message")).toHaveLength(2));
  expect(named(bob.heard, "data_channel_message").map(([, , from, data]) => [from, data])).toEqual([
    [ada.page.me, { a: 1 }],
    [ada.page.me, large],
  ]);

  bob.page.createStream({ video: true, audio: true });
  await until(() => expect(named(ada.heard, "pc_add_stream").map(([, , from]) => from)).toEqual([idOfBob]));

  bob.page.sendFile(new File(["hello"], "h.txt"), idOfAda);
  await until(() => expect(named(ada.heard, "receive_file_ask")).toHaveLength(1));
  ada.page.sendFileAccept(named(ada.heard, "receive_file_ask")[0]?.[1] as string);
  await until(() => expect(named(ada.heard, "receive_file")).toHaveLength(1));
  expect(world.downloads).toEqual(["h.txt"]);
  expect([named(ada.heard, "data_channel_error"), named(bob.heard, "data_channel_error")]).toEqual([[], []]);
});

it.each(["today's page", "the old page"])("lets both kinds of pages call each other: %s first", async (first) => {
  let room: Room | undefined;
  let old: ReturnType<typeof oldPage> | undefined;
  const join = async () => {
    room = await joinRoom({ url: SERVER, room: "lobby" });
  };
  const open = async () => {
    old = oldPage();
    await until(() => expect(named(old?.heard ?? [], "connected")).toHaveLength(1));
  };
  for (const come of first === "the old page" ? [open, join] : [join, open]) await come();
  if (!room || !old) throw new Error("not there");
  const heard = listen(room);
  await connected(room);
  await opened(old);
  await room.send({ from: "today" });
  await until(() => expect(named(old?.heard ?? [], "data_channel_message")).toHaveLength(1));
  expect(named(old.heard, "data_channel_message")[0]?.slice(2)).toEqual([room.id, { from: "today" }]);
  old.page.broadcast({ from: "then" });
  await until(() =>
    expect(named(heard, "message")).toMatchObject([["message", {}, { from: "then" }, { via: "peer" }]]),
  );
  room.leave();
  await until(() => expect(named(old?.heard ?? [], "remove_peer")).toHaveLength(1));
});
