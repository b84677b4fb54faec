// Hostile peers, with random and designed input: whatever they write, draw and offer, and whatever their names are, no
// page has an error, and its controls work. BIMCC_RTC_SEED repeats a run with a found seed.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";
import { hears, inState, openPanel, openRoom, say, sidewaysScroll } from "./app.mjs";
import { connected, draw, rectangle } from "./board.mjs";
import { missing, setStage } from "./harness.mjs";

const TIMEOUT = 240_000;
const skip = missing("chromium");
/** The number of rounds, each with a hundred messages, names and drawings. */
const ROUNDS = process.env.BIMCC_RTC_LONG === "1" ? 100 : 25;

/** Runs in the page: makes `window.hostile`, whose random values all come from one seed. */
function makeHostile(seed) {
  let state = seed;
  const random = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const upTo = (most) => Math.floor(random() * most);
  const pick = (list) => list[upTo(list.length)];
  const PIECES = [
    ...["https://", "http://", "www.", "https://a.b/", "https://[::1", "https://%", "HTTP://\u202e", "javascript:alert(1)//"],
    ...["(", ")", "[", "]", "'", '"', "<", ">", "&lt;", "&amp;", "{", "}", ".", ",", ":", ";", "!", "?", "/", "\\", "@", "#", "%ff"],
    ...["<img src=x onerror=document.title='broken'>", "</p><script>", "__proto__", "constructor", "toString", "NaN", "${0}"],
    ...["\0", "\u0007", "\u202e", "\u2066", "\u200f", "\ufeff", "\u2028", "\ud800", "\udc00", "\ud83d", "\uffff"],
    ...["e\u0301\u0301\u0301\u0301\u0301\u0301\u0301", "Z\u0335\u0336".repeat(30), "👩‍👩‍👧‍👦", "🇩🇪", "العربية", "עברית", "漢字，。", "ﷺ", "\t", "\n", " "],
    ...["a", "word", "x".repeat(200), "-".repeat(50), "1e999", "-0", "\u{10ffff}"],
  ];
  const text = () => {
    const pieces = Array.from({ length: 1 + upTo(12) }, () => pick(PIECES));
    return upTo(20) === 0 ? pieces.join("").repeat(40) : pieces.join("");
  };
  const value = (depth = 0) => {
    const simple = [null, true, false, 0, -1, 1e308, -1e308, 0.1, 2 ** 53, 2 ** 31, "", text(), text()];
    if (depth > 3 || upTo(3) > 0) return pick(simple);
    if (upTo(2) === 0) return Array.from({ length: upTo(5) }, () => value(depth + 1));
    const fields = Array.from({ length: upTo(5) }, () => [pick([text(), "microphone", "camera", "kind", "id", "then", "toJSON"]), value(depth + 1)]);
    return Object.fromEntries(fields);
  };
  /** The data as it would arrive from the network. */
  const sent = (data) => JSON.parse(JSON.stringify(data));
  const KINDS = ["update", "state", "compare", "want", "end", "pointer", "want-file", "no-file", "__proto__", ""];
  const FIELDS = ["elements", "digests", "contents", "buckets", "stamps", "hashes", "ids", "fileId", "x", "y", "selected", "button"];
  const TYPES = ["rectangle", "ellipse", "arrow", "line", "freedraw", "text", "image", "frame", "embeddable", "iframe", "selection"];
  const element = (base) => {
    const changed = { ...base, id: pick([text(), `e${upTo(40)}`]), type: pick(TYPES), version: 1 + upTo(1000), versionNonce: upTo(2 ** 31) };
    for (let i = upTo(6); i > 0; i--) changed[pick([...Object.keys(base), "points", "text", "fontSize", "containerId", "fileId", "scale", "startBinding"])] = value();
    return changed;
  };
  const drawing = (base) => {
    const message = { kind: `board/${pick(KINDS)}` };
    for (let i = upTo(4); i > 0; i--) message[pick(FIELDS)] = value();
    if (upTo(2) === 0) message.elements = Array.from({ length: 1 + upTo(5) }, () => (upTo(8) === 0 ? value() : element(base)));
    return message;
  };
  window.hostile = { text, value, sent, drawing, upTo };
}

/** The errors in the console, which no page may have. */
async function errorsOf(page) {
  const lines = await page.console();
  const broken = await page.run(() => [...document.querySelectorAll(".broken, .last-words")].map((e) => e.textContent));
  const title = await page.run(() => document.title);
  return [...lines.filter((line) => /^uncaught|The above error occurred|Error:/.test(line)), ...broken, ...(title === "broken" ? [title] : [])];
}

async function controlsLive(page, other, nonce) {
  await say(page, `still here ${nonce}`);
  await hears(other, `still here ${nonce}`);
  for (const panel of ["people", "invite", "chat"]) await openPanel(page, panel);
  for (const pressed of ["true", "false"]) {
    await page.click("#toggle-video");
    await page.until((pressed) => document.querySelector("#toggle-video").getAttribute("aria-pressed") === pressed, pressed);
  }
  assert.ok((await sidewaysScroll(page)) <= 0, "nothing widens the page");
}

async function stage(t) {
  const seed = Number(process.env.BIMCC_RTC_SEED ?? randomInt(2 ** 31));
  t.diagnostic(`BIMCC_RTC_SEED=${seed}`);
  const host = await (await setStage(t)).host();
  const server = await host.serve();
  const pages = [];
  for (const name of ["Mallory", "Bob"]) {
    const page = await openRoom(await host.browse("chromium"), `${server.url("127.0.0.1")}/r/x?name=${name}`, { camera: false });
    await page.run(`() => (${makeHostile})(${seed})`);
    pages.push(page);
  }
  for (const page of pages) {
    await connected(page, 1);
    await page.until(() => window.bimccRtc.board);
  }
  return pages;
}

test("hostile messages, names and drawings, as the client hands them to the page", { skip, timeout: TIMEOUT }, async (t) => {
  const [mallory, bob] = await stage(t);
  await openPanel(bob, "chat");
  for (let round = 0; round < ROUNDS; round++) {
    await bob.run(
      async (round, base) => {
        const { room } = window.bimccRtc;
        const { text, value, sent, drawing } = window.hostile;
        const [peer] = room.peers.values();
        const via = { via: "peer", droppable: false };
        for (let i = 0; i < 100; i++) {
          // Each author has its own limit, so that every message is shown.
          const author = { id: `${round} ${i}`, name: sent(text()), metadata: sent(value()), state: "connected", streams: [] };
          room.emit("message", author, sent(text()), via);
          room.emit("message", peer, sent(value()), via);
          if (i % 25 === 0) {
            room.emit("peer_joined", author);
            room.emit("peer_left", author, "closed");
          }
          Object.assign(peer, { name: sent(text()), metadata: sent(value()) });
          room.emit("peer_updated", peer);
          room.emit("message", peer, sent(drawing(base)), via);
        }
        // This is long enough for the page to render.
        await new Promise((resolve) => setTimeout(resolve, 120));
      },
      round,
      rectangle({}),
    );
    if (round % 10 === 0) await openPanel(bob, ["people", "chat"][(round / 10) % 2]);
  }
  assert.deepEqual(await errorsOf(bob), []);
  await openPanel(bob, "chat");
  const entries = await bob.run(() => document.querySelectorAll("#chat-log li").length);
  assert.ok(entries > 100 && entries <= 500, `${entries} entries`);
  await controlsLive(bob, mallory, 1);
  await bob.click("#close-panel");
  await draw(bob, "rectangle", [[0.4, 0.4], [0.5, 0.5], [0.6, 0.6]]);
  assert.deepEqual(await errorsOf(bob), []);
  await bob.click("#leave");
  await inState(bob, "left");
});

test("hostile messages, names, drawings and files through the network", { skip, timeout: TIMEOUT }, async (t) => {
  const [mallory, bob] = await stage(t);
  await openPanel(bob, "chat");
  await mallory.run(
    async (rounds, base) => {
      const { room } = window.bimccRtc;
      const { text, value, drawing, upTo } = window.hostile;
      const ignore = () => {};
      for (let round = 0; round < rounds; round++) {
        const files = [];
        for (let i = 0; i < 20; i++) {
          room.send(text()).catch(ignore);
          room.send(value(), { droppable: upTo(2) === 0 }).catch(ignore);
          room.send(drawing(base)).catch(ignore);
        }
        room.update({ name: text().slice(0, 60), metadata: value() });
        for (let i = 0; i < 3; i++) files.push(...room.sendFile(new Blob([text()]), { name: text(), type: text(), metadata: value() }));
        for (const file of files) {
          file.done.catch(ignore);
          if (upTo(2) === 0) file.cancel();
        }
        await new Promise((resolve) => setTimeout(resolve, 150));
      }
      for (const { id } of room.peers.values()) await room.send("that was all", { to: id });
    },
    ROUNDS,
    rectangle({}),
  );
  assert.deepEqual(await errorsOf(bob), []);
  await controlsLive(bob, mallory, 2);
  assert.deepEqual(await errorsOf(bob), []);
  await bob.click("#leave");
  await inState(bob, "left");
});
