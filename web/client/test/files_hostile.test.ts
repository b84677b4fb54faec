import { expect, test } from "vitest";
import { Checksum } from "../src/files/checksum";
import { Kind, PIECE, WINDOW } from "../src/files/frames";
import { decodeOffer, safeName } from "../src/files/offer";
import { newSeed, Pair, randomBytes, seeded } from "./files_pair";

const random = seeded(newSeed());
const utf8 = new TextEncoder();

/** `a` is hostile: frames are put on its channel by hand. */
function attack() {
  const pair = new Pair(random).open();
  const say = (kind: number, id: number, body: Uint8Array | string = "") => {
    const bytes = typeof body === "string" ? utf8.encode(body) : body;
    const frame = new Uint8Array(5 + bytes.length);
    frame[0] = kind;
    new DataView(frame.buffer).setUint32(1, id);
    frame.set(bytes, 5);
    pair.b.channel.onmessage?.(frame);
  };
  const offer = (id: number, change: object = {}) =>
    say(Kind.offer, id, JSON.stringify({ name: "n", type: "", size: 10, ...change }));
  return { b: pair.b, pair, say, offer };
}

test("sizes, names and types that are none are no offers", () => {
  const { b, offer, say } = attack();
  const bad: unknown[] = [-1, 0.5, 2 ** 41, 2 ** 53, null, "10", "NaN", [10], {}, true];
  bad.slice(0, 5).forEach((size, index) => {
    offer(index + 1, { size });
  });
  expect(b.offers).toEqual([]);
  expect(b.problems).toHaveLength(5);
  for (const { reason, peer } of b.problems) expect([reason, peer?.id]).toEqual(["bad_peer_message", "a"]);
  for (const size of bad)
    expect(decodeOffer(utf8.encode(JSON.stringify({ name: "n", type: "", size })))).toBeUndefined();
  for (const text of [
    "",
    "[]",
    "null",
    "{",
    '{"name":1,"type":"","size":1}',
    '{"name":"","size":1}',
    "[".repeat(20_000),
  ]) {
    expect(decodeOffer(utf8.encode(text)), text).toBeUndefined();
  }
  expect(decodeOffer(Uint8Array.of(0xff, 0xfe))).toBeUndefined();
  say(Kind.offer, 100, "x");
  expect(b.offers).toEqual([]);
});

test("metadata over 16 KiB is refused on either side", () => {
  const { pair } = attack();
  expect(() => pair.a.files.send(new Blob(), { metadata: "x".repeat(16_383) })).toThrow(/metadata/);
  const offer = (length: number) =>
    utf8.encode(JSON.stringify({ name: "n", type: "", size: 1, metadata: "x".repeat(length) }));
  expect(decodeOffer(offer(16_382))).toBeDefined();
  expect(decodeOffer(offer(16_383))).toBeUndefined();
  expect(decodeOffer(offer(60_000))).toBeUndefined();
});

test("names become bare file names and stay text", () => {
  expect(safeName("../../etc/passwd")).toBe("passwd");
  expect(safeName("C:\\Users\\x\\evil.exe")).toBe("evil.exe");
  expect(safeName("<img src=x onerror=alert(1)>")).toBe("<img src=x onerror=alert(1)>");
  expect(safeName("a\u0000b\nc\u007f\u009f.txt")).toBe("abc.txt");
  expect(safeName("photo\u202egpj.exe")).toBe("photogpj.exe");
  for (const name of ["", ".", "..", "...", "/", "a/..", "\u0000", "  "]) expect(safeName(name), name).toBe("file");
  for (const name of [
    "x".repeat(5000),
    "ü".repeat(5000),
    "😀".repeat(5000),
    `${"漢".repeat(300)}.jpeg`,
    "\ud800".repeat(500),
  ]) {
    const safe = safeName(name);
    expect(utf8.encode(safe).length).toBeLessThanOrEqual(255);
    expect(utf8.encode(safe).length).toBeGreaterThan(245);
    expect(safe).not.toContain("\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd".repeat(20));
  }
  expect(safeName(`${"漢".repeat(300)}.jpeg`)).toMatch(/漢\.jpeg$/);
});

test("a Blob never has a type that a page would run", async () => {
  for (const [type, expected] of [
    ["text/html", "application/octet-stream"],
    ["IMAGE/SVG+XML", "application/octet-stream"],
    ["text/html; charset=utf-8", ""],
    ["image/png", "image/png"],
  ]) {
    const { b, offer, pair } = attack();
    offer(1, { type, size: 0 });
    const blob = b.offers[0]?.accept();
    const sum = new Checksum().value;
    b.channel.onmessage?.(Uint8Array.of(Kind.end, 0, 0, 0, 1, ...sum));
    await pair.until(() => b.offers[0]?.state === "done");
    expect((await blob)?.type).toBe(expected);
  }
});

test("an offer flood is bounded", () => {
  const { b, offer } = attack();
  for (let id = 1; id <= 1000; id++) offer(id);
  expect(b.offers).toHaveLength(16);
  expect(b.problems.length).toBeLessThanOrEqual(10);
  expect(b.channel.sent.length, "answers").toBeLessThanOrEqual(30);
});

test("offers that are withdrawn again and again are bounded", () => {
  const { b, offer, say } = attack();
  for (let id = 1; id <= 1000; id++) {
    offer(id);
    say(Kind.abort, id, Uint8Array.of(1));
  }
  expect(b.offers.length).toBeLessThan(60);
  expect(b.problems).toHaveLength(10);
});

test("garbage: ten complaints, then nothing from this peer counts", () => {
  const { b, pair } = attack();
  for (let i = 0; i < 5000; i++) {
    const frame = randomBytes(Math.floor(random() * 80), random);
    frame[0] = Math.floor(random() * 9);
    pair.b.channel.onmessage?.(frame);
  }
  expect(b.problems.length).toBeLessThanOrEqual(10);
  for (const error of b.problems) expect(error.peer?.id).toBe("a");
  expect(b.files.send(new Blob(["x"]), {}).state).toBe("failed");
});

const MISUSES: [string, (say: ReturnType<typeof attack>["say"]) => void, boolean][] = [
  ["data before it is accepted", (say) => say(Kind.data, 1, "x"), false],
  ["an end before it is accepted", (say) => say(Kind.end, 1, new Uint8Array(32)), false],
  ["more than the size", (say) => say(Kind.data, 1, "x".repeat(11)), true],
  ["a chunk without bytes", (say) => say(Kind.data, 1), true],
  ["an early end", (say) => say(Kind.end, 1, new Uint8Array(32)), true],
  [
    "data after the end",
    (say) => {
      say(Kind.data, 1, "x".repeat(10));
      say(Kind.end, 1, new Uint8Array(32));
      say(Kind.data, 1, "x");
    },
    true,
  ],
];

for (const [name, misuse, accepted] of MISUSES) {
  test(`${name} ends the transfer and names the peer`, async () => {
    const { b, offer, say } = attack();
    offer(1);
    const [file] = b.offers;
    const blob = accepted ? file?.accept() : undefined;
    misuse(say);
    expect(file?.state).toBe("failed");
    expect(file?.error).toMatchObject({ reason: "bad_peer_message", peer: { id: "a" } });
    expect(b.problems).toHaveLength(1);
    if (blob) await expect(blob).rejects.toMatchObject({ reason: "bad_peer_message" });
  });
}

test("chunks without end: no more than was asked for is taken in", () => {
  const { b, offer, say } = attack();
  offer(1, { size: 2 ** 40 });
  const [file] = b.offers;
  void file?.accept().catch(() => {});
  const chunk = new Uint8Array(65_531);
  let taken = 0;
  for (; file?.state === "active"; taken += chunk.length) say(Kind.data, 1, chunk);
  expect(taken).toBeLessThanOrEqual(WINDOW + chunk.length);
  for (let i = 0; i < 100; i++) say(Kind.data, 1, chunk);
  expect(b.problems).toHaveLength(10);
});

test("frames over 64 KiB are no frames", () => {
  const { b, offer, say } = attack();
  offer(1, { size: PIECE });
  void b.offers[0]?.accept().catch(() => {});
  say(Kind.data, 1, new Uint8Array(65_532));
  expect(b.problems).toHaveLength(1);
  expect(b.offers[0]?.state).toBe("active");
});

test("ids that were never offered, or twice", () => {
  const { b, offer, say } = attack();
  say(Kind.data, 7, "x");
  say(Kind.grant, 7, new Uint8Array(16));
  say(Kind.done, 1);
  expect(b.problems).toHaveLength(3);
  offer(5);
  offer(5);
  offer(4);
  expect(b.offers).toHaveLength(1);
  expect(b.problems).toHaveLength(5);
});

test("a receiver that lies about what it has", async () => {
  const grant = (consumed: number, granted: number) => {
    const view = new DataView(new ArrayBuffer(16));
    view.setFloat64(0, consumed);
    view.setFloat64(8, granted);
    return new Uint8Array(view.buffer);
  };
  for (const body of [
    grant(Number.NaN, 1),
    grant(0, Number.NaN),
    grant(0, Infinity),
    grant(5, 10),
    grant(-1, 1),
    new Uint8Array(3),
  ]) {
    const { b, say } = attack();
    const outgoing = b.files.send(new Blob(["0123456789"]), {});
    await Promise.resolve();
    await Promise.resolve();
    say(Kind.grant, 1, body);
    expect(outgoing.state).toBe("failed");
    expect(b.problems).toHaveLength(1);
    await expect(outgoing.done).rejects.toMatchObject({ reason: "bad_peer_message" });
  }
  const { b, say } = attack();
  const outgoing = b.files.send(new Blob(["0123456789"]), {});
  await Promise.resolve();
  await Promise.resolve();
  say(Kind.done, 1);
  expect(outgoing.state, "done before anything was sent").toBe("failed");
});

test.each([0, 1, 3, 5, 6, 900])(
  "a peer that takes messages of %i bytes costs a failed transfer, not the page",
  async (limit) => {
    const { pair } = attack();
    pair.a.channel.maxMessageSize = limit;
    const transfer = pair.a.files.send(new Blob(["some text"]), {});
    await expect(transfer.done).rejects.toMatchObject({ reason: "too_large" });
    // Nor do answers to what it says itself.
    pair.b.files.send(new Blob(["its own"]), {});
    await pair.settle();
    pair.a.offers[0]?.refuse();
    expect([pair.a.channel.mostBuffered <= 6, pair.a.problems]).toEqual([true, []]);
  },
);
