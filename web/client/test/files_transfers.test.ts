import { expect, test } from "vitest";
import { Kind, PIECE, WINDOW } from "../src/files/frames";
import { HIGH_WATER } from "../src/files/transfers";
import type { FileState, IncomingFile, OutgoingFile } from "../src/types";
import { newSeed, Pair, randomBytes, sameBytes, seeded, turn } from "./files_pair";

const random = seeded(newSeed());
const fresh = () => new Pair(random).open();

async function offered(pair: Pair, bytes: BlobPart, options = {}): Promise<[OutgoingFile, IncomingFile]> {
  const outgoing = pair.a.files.send(new Blob([bytes], { type: "text/plain" }), options);
  await pair.until(() => pair.b.offers.length > 0);
  const incoming = pair.b.offers.pop();
  if (!incoming) throw new Error("no offer");
  return [outgoing, incoming];
}

for (const size of [0, 1, 65_531, PIECE - 1, PIECE, PIECE + 1, 5 * PIECE + 77]) {
  test(`a file of ${size} bytes arrives`, async () => {
    const pair = fresh();
    const bytes = randomBytes(size, random);
    const [outgoing, incoming] = await offered(pair, bytes, { name: "dir/notes.txt", metadata: { page: 3 } });
    expect([incoming.name, incoming.type, incoming.size]).toEqual(["notes.txt", "text/plain", size]);
    expect(incoming.metadata).toEqual({ page: 3 });
    const states: FileState[] = [];
    const progress: number[] = [];
    outgoing.on("state", (state) => states.push(state));
    outgoing.on("progress", (sent) => progress.push(sent));
    const blob = incoming.accept();
    await pair.until(() => outgoing.state === "done");
    await outgoing.done;
    expect(await sameBytes(await blob, bytes)).toBe(true);
    expect((await blob).type).toBe("text/plain");
    expect([incoming.state, incoming.bytes, outgoing.bytes]).toEqual(["done", size, size]);
    expect(states).toEqual(["active", "done"]);
    expect(progress).toEqual([...progress].sort((x, y) => x - y));
    expect(pair.a.problems.concat(pair.b.problems)).toEqual([]);
    expect(pair.a.channel.mostBuffered).toBeLessThan(HIGH_WATER + 65_536);
  });
}

test("several files both ways take turns, at random sizes and frame sizes", async () => {
  const pair = new Pair(random);
  pair.a.channel.maxMessageSize = 16_384 + Math.floor(random() * 60_000);
  const files = Array.from({ length: 8 }, (_, index) => {
    const bytes = randomBytes(Math.floor(random() ** 2 * 4 * PIECE), random);
    const from = index % 3 === 0 ? pair.b : pair.a;
    return {
      bytes,
      index,
      outgoing: from.files.send(new Blob([bytes]), { metadata: index }),
      blob: Promise.resolve(new Blob()),
    };
  });
  pair.open();
  await pair.until(() => pair.a.offers.length + pair.b.offers.length === files.length);
  for (const offer of [...pair.a.offers, ...pair.b.offers]) {
    const file = files.find(({ index }) => index === offer.metadata);
    if (file) file.blob = offer.accept();
  }
  await pair.until(() => files.every(({ outgoing }) => outgoing.state === "done"));
  for (const { bytes, blob } of files) expect(await sameBytes(await blob, bytes)).toBe(true);
  const order = pair.a.channel.sent.filter((frame) => frame[0] === Kind.data).map((frame) => frame[4]);
  const turns = order.filter((id, index) => id !== order[index - 1]).length;
  expect(turns, "transfers alternate").toBeGreaterThan(new Set(order).size);
});

test("a slow sink slows the sender and is written in order", async () => {
  const pair = fresh();
  const bytes = randomBytes(12 * PIECE, random);
  const [outgoing, incoming] = await offered(pair, bytes);
  const written: Uint8Array<ArrayBuffer>[] = [];
  let release: (() => void) | undefined;
  const sink = new WritableStream<Uint8Array>({
    write(piece) {
      written.push(piece.slice());
      return new Promise((resolve) => {
        release = resolve;
      });
    },
  });
  const blob = incoming.accept({ sink });
  await pair.settle();
  const underway = pair.a.channel.sent.filter((frame) => frame[0] === Kind.data).length;
  expect(underway * 65_536).toBeLessThan(WINDOW + 2 * PIECE);
  await pair.until(() => {
    release?.();
    return outgoing.state === "done";
  });
  expect((await blob).size).toBe(0);
  expect(await sameBytes(new Blob(written), bytes)).toBe(true);
});

test("a sink that fails ends the transfer on both sides", async () => {
  const pair = fresh();
  const [outgoing, incoming] = await offered(pair, randomBytes(3 * PIECE, random));
  const sink = new WritableStream<Uint8Array>({
    write() {
      throw new Error("disk full");
    },
  });
  const result = incoming.accept({ sink });
  await pair.until(() => outgoing.state === "failed" && incoming.state === "failed");
  await expect(result).rejects.toMatchObject({ reason: "file_failed", cause: { message: "disk full" } });
  await expect(outgoing.done).rejects.toMatchObject({ reason: "file_failed" });
});

test("refused", async () => {
  const pair = fresh();
  const [outgoing, incoming] = await offered(pair, "text");
  incoming.refuse();
  expect(incoming.state).toBe("refused");
  await expect(incoming.accept()).rejects.toMatchObject({ reason: "file_refused" });
  await pair.until(() => outgoing.state === "refused");
  await expect(outgoing.done).rejects.toMatchObject({ reason: "file_refused", peer: { id: "b" } });
});

for (const who of ["sender", "receiver"] as const) {
  for (const when of ["before it is accepted", "in the middle"] as const) {
    test(`the ${who} cancels ${when}`, async () => {
      const pair = fresh();
      const [outgoing, incoming] = await offered(pair, randomBytes(9 * PIECE, random));
      let blob: Promise<Blob> | undefined;
      if (when === "in the middle") {
        blob = incoming.accept();
        await pair.until(() => incoming.bytes >= 2 * PIECE);
      }
      (who === "sender" ? outgoing : incoming).cancel();
      await pair.until(() => outgoing.state === "cancelled" && incoming.state === "cancelled");
      await expect(outgoing.done).rejects.toMatchObject({ reason: "file_cancelled" });
      if (blob) await expect(blob).rejects.toMatchObject({ reason: "file_cancelled" });
      await pair.settle();
      expect(pair.a.problems.concat(pair.b.problems), "what was under way is no mistake").toEqual([]);
      const [again] = await offered(pair, "another");
      pair.b.offers.at(-1)?.accept();
      expect(again.state).toBe("offered");
    });
  }
}

test("cancelled before the channel is open: the peer never hears of it", async () => {
  const pair = new Pair(random);
  const outgoing = pair.a.files.send(new Blob(["x"]), {});
  outgoing.cancel();
  pair.open();
  await pair.settle();
  expect(pair.a.channel.sent).toEqual([]);
});

test("one flipped bit anywhere is noticed", async () => {
  const pair = fresh();
  const [outgoing, incoming] = await offered(pair, randomBytes(2 * PIECE + 5, random));
  let flip = Math.floor(random() * 35);
  pair.a.channel.filter = (frame) => {
    if (frame[0] === Kind.data && flip-- === 0) {
      const index = 5 + Math.floor(random() * (frame.length - 5));
      frame[index] = (frame[index] ?? 0) ^ (1 << Math.floor(random() * 8));
    }
    return frame;
  };
  const blob = incoming.accept();
  await pair.until(() => outgoing.state === "failed" && incoming.state === "failed");
  await expect(blob).rejects.toMatchObject({ reason: "file_corrupt" });
  await expect(outgoing.done).rejects.toMatchObject({ reason: "file_corrupt" });
});

test("a file that cannot be read any more", async () => {
  const pair = fresh();
  const file = new Blob([randomBytes(3 * PIECE, random)]);
  const outgoing = pair.a.files.send(
    Object.assign(new Blob([file]), {
      slice: () => ({ arrayBuffer: () => Promise.reject(new DOMException("changed", "NotReadableError")) }),
    }),
    {},
  );
  await pair.until(() => pair.b.offers.length > 0);
  const blob = pair.b.offers[0]?.accept();
  await pair.until(() => outgoing.state === "failed");
  await expect(outgoing.done).rejects.toMatchObject({ reason: "file_unreadable" });
  await pair.until(() => pair.b.offers[0]?.state === "failed");
  await expect(blob).rejects.toMatchObject({ reason: "file_failed" });
});

test("the peer goes: all its transfers fail, and so do later ones", async () => {
  const pair = fresh();
  const [outgoing, incoming] = await offered(pair, randomBytes(9 * PIECE, random));
  const blob = incoming.accept();
  await pair.until(() => incoming.bytes > 0);
  for (const side of [pair.a, pair.b]) {
    side.channel.close();
    side.files.close();
  }
  await expect(blob).rejects.toMatchObject({ reason: "peer_gone" });
  await expect(outgoing.done).rejects.toMatchObject({ reason: "peer_gone", peer: { id: "b" } });
  expect(pair.a.files.send(new Blob(["x"]), {}).error).toMatchObject({ reason: "peer_gone" });
});

test("the channel closes and opens again: what was offered is lost, what waits goes then", async () => {
  const pair = fresh();
  const [lost] = await offered(pair, "one");
  for (const side of [pair.a, pair.b]) side.channel.close();
  expect(lost.state).toBe("failed");
  const waiting = pair.a.files.send(new Blob(["two"]), {});
  pair.open();
  await pair.until(() => pair.b.offers.length > 0);
  pair.b.offers[0]?.accept();
  await pair.until(() => waiting.state === "done");
  expect(pair.b.problems).toEqual([]);
});

test("nothing moves while the connection is interrupted, and goes on afterwards", async () => {
  const pair = fresh();
  const bytes = randomBytes(6 * PIECE, random);
  const [outgoing, incoming] = await offered(pair, bytes);
  const blob = incoming.accept();
  await pair.until(() => incoming.bytes > PIECE);
  // Nothing is delivered: turns of the event loop pass, the buffer fills to its mark and no further.
  for (let count = 0; count < 200; count++) await turn();
  expect(pair.a.channel.bufferedAmount).toBeLessThan(HIGH_WATER + 65_536);
  expect(outgoing.state).toBe("active");
  await pair.until(() => outgoing.state === "done");
  expect(await sameBytes(await blob, bytes)).toBe(true);
});

test("a listener that throws does not stop the transfer", async () => {
  const errors: unknown[] = [];
  const scope = globalThis as { reportError?: (error: unknown) => void };
  scope.reportError = (error) => errors.push(error);
  const pair = fresh();
  const [outgoing, incoming] = await offered(pair, "text");
  incoming.on("progress", () => {
    throw new Error("the page's mistake");
  });
  const blob = incoming.accept();
  await pair.until(() => outgoing.state === "done");
  expect(await (await blob).text()).toBe("text");
  expect(errors).toHaveLength(1);
});
