// Files between real browsers: whether they arrive unchanged, how fast, and how much memory a page needs.
import assert from "node:assert/strict";
import { test } from "node:test";
import { missing, setStage } from "./harness.mjs";

const LONG = process.env.BIMCC_RTC_LONG === "1";
const TIMEOUT = LONG ? 900_000 : 180_000;
const MB = 1_000_000;
/** The bytes of a frame that the SDK makes for browsers that accept 64 KiB. */
const CHUNK = 61_686;
const MOST_HELD = 32 * MB;

async function pair(t, kinds, options = {}, before = undefined) {
  const host = await (await setStage(t)).host();
  const server = await host.serve();
  const pages = [];
  for (const kind of kinds) {
    const args = kind === "chromium" ? ["--enable-precise-memory-info"] : [];
    const page = await (await host.browse(kind, { args })).open("files.html", { before });
    await page.until(() => window.files);
    await page.run((...args) => window.files.join(...args), server.wsUrl(), "files", options);
    pages.push(page);
  }
  for (const page of pages) await page.until(() => window.files.peer() !== undefined);
  return pages;
}

/** Sends the file that `make` has made, and waits for its end. Returns the rate in MB/s on the receiver's clock. */
async function transfer(from, to, size) {
  await to.run(() => {
    window.files.received = [];
  });
  await from.run(() => window.files.send());
  for (;;) {
    const done = await from.run(() =>
      Promise.race([
        window.files.outgoing.done.then(
          () => true,
          () => true,
        ),
        new Promise((r) => setTimeout(r, 30_000)),
      ]),
    );
    if (done) break;
  }
  assert.deepEqual(await from.run(() => [window.files.outgoing.state, window.files.outgoing.error?.message]), [
    "done",
    null,
  ]);
  await to.until(() => window.files.received[0]?.endedAt > 0);
  return (
    size / MB / ((await to.run(() => window.files.received[0].endedAt - window.files.received[0].startedAt)) / 1000)
  );
}

async function bareTransfer(from, to, size) {
  await to.run(() => {
    window.files.bareBytes = 0;
  });
  await from.run((...args) => window.files.sendBare(...args), size, CHUNK);
  await to.until((n) => window.files.bareBytes >= n, size);
  return size / MB / ((await to.run(() => window.files.bareEndedAt - window.files.bareStartedAt)) / 1000);
}

async function assertSame(from, to) {
  const sent = await from.run(() => window.files.digest(window.files.source));
  const came = await to.run(() => window.files.digest(window.files.received[0].blob));
  assert.equal(came, sent);
}

const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];
const rounded = (values) => values.map((value) => value.toFixed(1)).join(", ");

for (const kinds of [
  ["chromium", "chromium"],
  ["chromium", "firefox"],
  ["firefox", "chromium"],
]) {
  const [one, other] = kinds;
  const skip = missing(...new Set(kinds));
  const isLong = LONG && one === other;
  const size = (isLong ? 200 : 20) * MB;

  test(`${size / MB} MB from ${one} to ${other}`, { skip, timeout: TIMEOUT }, async (t) => {
    const [from, to] = await pair(t, kinds);
    await from.run((...args) => window.files.make(...args), size, "random.zip");
    for (const page of [from, to]) await page.run(() => window.files.openBare());
    for (const page of [from, to]) await page.until(() => window.files.bare.readyState === "open");
    // Code is slow when it runs for the first time, in both ways of sending.
    await bareTransfer(from, to, 2 * MB);
    for (const page of [from, to]) await page.run(() => window.files.watchMemory());
    const rates = { file: [], bare: [] };
    for (let round = 0; round < 3; round++) {
      rates.file.push(await transfer(from, to, size));
      if (round === 0) {
        for (const [index, page] of [from, to].entries()) {
          const { before, most } = await page.run(() => window.files.stopWatching());
          if (!before) continue;
          t.diagnostic(
            `${index ? "receiver" : "sender"}'s heap: ${(before / MB).toFixed(1)} MB, at most ${(most / MB).toFixed(1)} MB`,
          );
          assert.ok(most < MOST_HELD, `a page held ${most} bytes`);
        }
        await assertSame(from, to);
      }
      rates.bare.push(await bareTransfer(from, to, size));
    }
    const ratio = median(rates.file) / median(rates.bare);
    t.diagnostic(
      `MB/s: file ${rounded(rates.file)}; bare data channel ${rounded(rates.bare)}; ratio of medians ${ratio.toFixed(2)}`,
    );
    // A short transfer cannot be measured well on a busy machine.
    assert.ok(ratio >= (isLong ? 0.7 : 0.35), `a file takes ${ratio.toFixed(2)} of what the channel gives`);
    assert.deepEqual(await to.run(() => [window.files.received[0].file.name, window.files.received[0].blob.type]), [
      "random.zip",
      "application/zip",
    ]);
    for (const page of [from, to]) assert.deepEqual(await page.run(() => window.files.problems), []);
  });
}

/** Makes each side believe that the other one has announced this largest message. */
function pretending(attribute) {
  return `() => {
    const { setRemoteDescription } = RTCPeerConnection.prototype;
    RTCPeerConnection.prototype.setRemoteDescription = function ({ type, sdp }) {
      return setRemoteDescription.call(this, { type, sdp: sdp.replace(/a=max-message-size:\\d+\\r\\n/, ${JSON.stringify(attribute)}) });
    };
  }`;
}

for (const [said, limit] of [
  [undefined, 65_536],
  [65_535, 65_535],
  [20_000, 20_000],
  [0, 262_144],
]) {
  const attribute = said === undefined ? "" : `a=max-message-size:${said}\r\n`;
  test(`files and large messages keep to what a peer takes: ${said ?? "nothing is said"}`, {
    skip: missing("chromium", "firefox"),
    timeout: TIMEOUT,
  }, async (t) => {
    const [from, to] = await pair(t, ["chromium", "firefox"], {}, pretending(attribute));
    assert.equal(await from.run(() => window.files.peer().connection.sctp.maxMessageSize), limit);
    for (const page of [from, to]) {
      await page.run(() => window.files.room.on("message", (_peer, data) => (window.came = data.text.length)));
    }
    for (const [one, other] of [
      [from, to],
      [to, from],
    ]) {
      await one.run((...args) => window.files.make(...args), 3 * MB, "random.zip");
      await transfer(one, other, 3 * MB);
      await assertSame(one, other);
      await one.run(() => window.files.room.send({ text: "板".repeat(400_000) }));
      await other.until(() => window.came === 400_000);
    }
    for (const page of [from, to]) assert.deepEqual(await page.run(() => window.files.problems), []);
  });
}

test("refused, cancelled on either side, and a peer that closes its page", {
  skip: missing("chromium"),
  timeout: TIMEOUT,
}, async (t) => {
  const [from, to] = await pair(t, ["chromium", "chromium"], { accept: false });
  await from.run((...args) => window.files.make(...args), 30 * MB, "big.bin");
  const offer = async (index) => {
    await from.run(() => window.files.send());
    await to.until((n) => window.files.received.length > n, index);
  };
  const endsAs = (state) => from.until((wanted) => window.files.outgoing.state === wanted, state);

  await offer(0);
  await to.run(() => window.files.received[0].file.refuse());
  await endsAs("refused");

  await offer(1);
  await to.run(() => void window.files.accept(window.files.received[1]));
  await from.until(() => window.files.outgoing.bytes > 0);
  await from.run(() => window.files.outgoing.cancel());
  await to.until(() => window.files.received[1].error === "file_cancelled");

  await offer(2);
  await to.run(() => void window.files.accept(window.files.received[2]));
  await from.until(() => window.files.outgoing.bytes > 0);
  await to.run(() => window.files.received[2].file.cancel());
  await endsAs("cancelled");

  await offer(3);
  await to.run(() => void window.files.accept(window.files.received[3]));
  await from.until(() => window.files.outgoing.bytes > 0);
  await to.close();
  await endsAs("failed");
  assert.equal(await from.run(() => window.files.outgoing.error.reason), "peer_gone");
  assert.deepEqual(await from.run(() => window.files.problems), []);
});
