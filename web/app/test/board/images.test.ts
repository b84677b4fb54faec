// Image files: asked of one peer after the other, taken only when asked for, checked by their content.
import { BimccRtcError, type IncomingFile, type OutgoingFile, type Peer, type Room } from "bimcc-rtc";
import { beforeEach, expect, test, vi } from "vitest";
import { type ImageFile, Images } from "../../src/board/images";
import { MAX_FILE_BYTES } from "../../src/board/limits";
import { sha256 } from "../../src/board/sha256";

const bytes = new Uint8Array([1, 2, 3]);
const id = await sha256(bytes);

function peerOf(name: string): Peer {
  return { id: name, name, state: "connected" } as Peer;
}

const [alice, bob] = [peerOf("alice"), peerOf("bob")];
let sent: unknown[];
let offered: unknown[];
let arrived: ImageFile[];
let problems: string[];
let images: Images;

beforeEach(() => {
  [sent, offered, arrived, problems] = [[], [], [], []];
  const room = {
    peers: new Map([alice, bob].map((peer) => [peer.id, peer])),
    send: async (data: object, { to }: { to: Peer }) => void sent.push({ ...data, to: to.id }),
    sendFile: (_: Blob, { to, metadata }: { to: Peer; metadata: unknown }) => {
      offered.push({ to: to.id, metadata });
      return [{ done: new Promise(() => {}) } as OutgoingFile];
    },
  };
  images = new Images(room as unknown as Room, {
    arrived: (file) => arrived.push(file),
    problem: (peer, reason) => problems.push(`${peer.id}: ${reason}`),
  });
});

function offer(from: Peer, fields: object, content: Uint8Array<ArrayBuffer> = bytes) {
  const metadata = { kind: "board-file", id, mimeType: "image/png", ...fields };
  const file = {
    metadata,
    size: "size" in fields ? fields.size : content.length,
    accept: vi.fn(async () => new Blob([content])),
    refuse: vi.fn(),
  };
  const isTaken = images.handleFile(10, from, file as unknown as IncomingFile);
  return { ...file, isTaken };
}

const asked = (to: string) => ({ kind: "board/want-file", id, to });

test("an image that is needed is asked for, checked and handed on", async () => {
  images.handleNeeded(0, [id, "no-content-id"]);
  images.handleTimer(0);
  expect(sent).toEqual([asked("alice")]);
  offer(alice, {});
  await vi.waitFor(() => expect(arrived).toHaveLength(1));
  expect(arrived[0]).toMatchObject({ id, mimeType: "image/png" });
  expect(images.has(id)).toBe(true);
  images.handleNeeded(20, [id]);
  images.handleTimer(20);
  expect(sent).toHaveLength(1);
});

test("who has it not, says nothing, or leaves, is not waited for", () => {
  images.handleNeeded(0, [id]);
  images.handleTimer(0);
  images.handleMessage(1, alice, { kind: "board/no-file", id });
  images.handleTimer(1);
  expect(sent).toEqual([asked("alice"), asked("bob")]);
  images.handleTimer(images.pollTimeout());
  images.handleTimer(images.pollTimeout());
  expect(sent).toEqual([asked("alice"), asked("bob"), asked("alice")]);
  images.handlePeerLeft(images.pollTimeout() - 1, "alice");
  images.handleTimer(images.pollTimeout());
  expect(sent).toHaveLength(4);
});

test("another content than the one asked for is refused, and asked of the next", async () => {
  images.handleNeeded(0, [id]);
  images.handleTimer(0);
  offer(alice, {}, new Uint8Array([9]));
  await vi.waitFor(() => expect(problems).toEqual(["alice: sent another image than was asked for"]));
  expect(arrived).toEqual([]);
  images.handleTimer(20);
  expect(sent).toEqual([asked("alice"), asked("bob")]);
});

test.each([
  ["too large", { size: MAX_FILE_BYTES + 1 }],
  ["of a size that is none", { size: Number.NaN }],
  ["of a kind that is no image", { mimeType: "text/html" }],
])("a file %s is refused before it comes", (_, fields) => {
  images.handleNeeded(0, [id]);
  images.handleTimer(0);
  const file = offer(alice, fields);
  expect(file.refuse).toHaveBeenCalled();
  expect(file.accept).not.toHaveBeenCalled();
  expect(problems).toHaveLength(1);
});

test("a file that nobody asked for, or asked somebody else for, is refused", () => {
  images.handleNeeded(0, [id]);
  images.handleTimer(0);
  for (const file of [offer(bob, {}), offer(alice, { id: "f".repeat(64) })]) {
    expect(file.isTaken).toBe(true);
    expect(file.refuse).toHaveBeenCalled();
  }
});

test("files for others than the board are left alone", () => {
  const file = offer(alice, { kind: "holiday" });
  expect([file.isTaken, file.refuse.mock.calls.length]).toEqual([false, 0]);
});

test("a peer that fails in the middle is not the last to be asked", async () => {
  images.handleNeeded(0, [id]);
  images.handleTimer(0);
  const file = {
    metadata: { kind: "board-file", id, mimeType: "image/png" },
    size: 3,
    accept: () => Promise.reject(new BimccRtcError("peer_gone", "gone")),
    refuse() {},
  };
  images.handleFile(1, alice, file as unknown as IncomingFile);
  await vi.waitFor(() => expect(images.pollTimeout()).toBe(0));
  images.handleTimer(20);
  expect(sent).toEqual([asked("alice"), asked("bob")]);
});

test("one transfer for each peer and image, however often it is asked for", () => {
  images.add({ id, mimeType: "image/png", blob: new Blob([bytes]) });
  for (let i = 0; i < 1000; i++) images.handleMessage(i, alice, { kind: "board/want-file", id });
  images.handleMessage(0, bob, { kind: "board/want-file", id });
  images.handleMessage(0, bob, { kind: "board/want-file", id: "0".repeat(64) });
  images.handleMessage(0, bob, { kind: "board/want-file", id: "../../etc/passwd" });
  const metadata = { kind: "board-file", id, mimeType: "image/png" };
  expect(offered).toEqual([
    { to: "alice", metadata },
    { to: "bob", metadata },
  ]);
  expect(sent).toEqual([{ kind: "board/no-file", id: "0".repeat(64), to: "bob" }]);
});

test("a peer that had an image not yet when it was asked tells when it has it, and is asked again", () => {
  images.handleNeeded(0, [id]);
  images.handleTimer(0);
  for (const [i, peer] of [alice, bob].entries()) {
    images.handleMessage(i, peer, { kind: "board/no-file", id });
    images.handleTimer(i);
  }
  expect(sent).toEqual([asked("alice"), asked("bob")]);
  images.handleMessage(10, bob, { kind: "board/has-file", id });
  expect(images.pollTimeout()).toBe(10);
  images.handleTimer(10);
  expect(sent).toEqual([asked("alice"), asked("bob"), asked("bob")]);
});

test("a peer that says it has an image while another is asked comes next, before those who said nothing", () => {
  const carol = peerOf("carol");
  (images.room.peers as Map<string, Peer>).set("carol", carol);
  images.handleNeeded(0, [id]);
  images.handleTimer(0);
  images.handleMessage(1, carol, { kind: "board/has-file", id });
  images.handleTimer(1);
  expect(sent).toEqual([asked("alice")]);
  images.handleMessage(2, alice, { kind: "board/no-file", id });
  images.handleTimer(2);
  expect(sent).toEqual([asked("alice"), asked("carol")]);
});

test("whoever asked for an image before it was here is told when it is, once", () => {
  const image = { id, mimeType: "image/png", blob: new Blob([bytes]) } as const;
  const told = (to: string) => ({ kind: "board/has-file", id, to });
  for (const peer of [alice, bob]) images.handleMessage(0, peer, { kind: "board/want-file", id });
  sent = [];
  images.handlePeerLeft(1, "alice");
  images.add(image);
  images.add(image);
  expect(sent).toEqual([told("bob")]);
});

test("images beyond those that may be on their way to one peer are told when there is room again", async () => {
  let end = () => {};
  const room = images.room as unknown as { sendFile: unknown };
  room.sendFile = () => [{ done: new Promise<void>((resolve) => (end = resolve)) }];
  const ids = Array.from({ length: 6 }, (_, i) => i.toString(16).padStart(64, "0"));
  for (const each of ids) {
    images.add({ id: each, mimeType: "image/png", blob: new Blob([bytes]) });
    images.handleMessage(0, alice, { kind: "board/want-file", id: each });
  }
  expect(sent).toEqual([]);
  end();
  await vi.waitFor(() => expect(sent).toEqual([{ kind: "board/has-file", id: ids[4], to: "alice" }]));
});

test("what nobody wants or can be, and a peer that says the same for ever, change nothing", () => {
  for (const odd of ["../x", 5, undefined, "f".repeat(64)])
    images.handleMessage(0, alice, { kind: "board/has-file", id: odd });
  expect([images.pollTimeout(), sent]).toEqual([Number.POSITIVE_INFINITY, []]);
  for (let i = 0; i < 10_000; i++) {
    images.handleMessage(i, alice, { kind: "board/want-file", id: i.toString(16).padStart(64, "0") });
  }
  sent = [];
  for (let i = 0; i < 10_000; i++) {
    images.add({ id: i.toString(16).padStart(64, "0"), mimeType: "image/png", blob: new Blob([bytes]) });
  }
  expect(sent.length).toBeLessThanOrEqual(500);
});
