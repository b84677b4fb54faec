// The page that the server itself serves: two people meet there, and the page shows each of its states correctly.
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  enter,
  fill,
  foreignRequests,
  hears,
  inState,
  openRoom,
  policyRefusals,
  rename,
  say,
  seriousFindings,
  showsFrames,
  tileTexts,
} from "./app.mjs";
import { missing, setStage } from "./harness.mjs";

const TIMEOUT = 180_000;
const skip = missing("chromium");

const tiles = () => document.querySelectorAll("#tiles .tile").length;

/** Whether two tiles overlap, which they must not do in a window of any height. */
const tilesOverlap = () => {
  const boxes = [...document.querySelectorAll("#tiles .tile")].map((tile) => tile.getBoundingClientRect());
  const touch = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1;
  return boxes.some((a, i) => boxes.slice(i + 1).some((b) => touch(a, b)));
};

async function assertTheySeeEachOther(pages) {
  for (const page of pages) {
    await showsFrames(page);
    assert.equal(await page.run(tilesOverlap), false);
    await page.until(() => {
      const path = document.querySelector('#tiles .tile[data-own="false"] .path');
      return path && /^relayed, (UDP|TCP|TLS)$/.test(path.textContent);
    });
  }
}

for (const { kinds = ["chromium", "chromium"], tls = false } of [
  {},
  { tls: true },
  // At 127.0.0.1 Firefox uses no TURN server, so it needs the additional URL.
  { kinds: ["firefox", "chromium"] },
  { kinds: ["firefox", "chromium"], tls: true },
  { kinds: ["chromium", "firefox"], tls: true },
]) {
  const name = `${kinds.join(" and ")} meet on the room page, relay only${tls ? ", with --tls" : ""}`;
  const lacking = missing(...kinds, ...(tls ? ["certutil"] : []));
  test(name, { skip: lacking, timeout: TIMEOUT }, async (t) => {
    const host = await (await setStage(t)).host();
    const server = await host.serve({ tls });
    const url = `${server.url(tls ? host.address : "127.0.0.1")}/r/${encodeURIComponent("tea & <b>cake</b>")}?relay=1`;
    const pages = [];
    for (const kind of kinds) pages.push(await openRoom(await host.browse(kind, { ca: server.ca }), url));
    await assertTheySeeEachOther(pages);

    assert.equal(await pages[0].run(() => document.querySelector("#title").textContent), "tea & <b>cake</b>");
    await rename(pages[0], "<img src=x>");
    await pages[1].until(
      () => document.querySelector('#tiles .tile[data-own="false"] .name').textContent === "<img src=x>",
    );
    assert.equal(await pages[1].run(() => document.querySelectorAll("#tiles img").length), 0, "a name is text");

    await say(pages[0], "is there <i>milk</i>?");
    await hears(pages[1], "is there <i>milk</i>?");
    await say(pages[1], "in the fridge");
    await hears(pages[0], "in the fridge");
    assert.equal(await pages[1].run(() => document.querySelectorAll("#chat-log i").length), 0, "a message is text");

    await pages[1].close();
    await inState(pages[0], "alone");
    assert.deepEqual(await tileTexts(pages[0], ".name"), []);
  });
}

test("the page loads nothing from elsewhere, and its policy allows no more", { skip, timeout: TIMEOUT }, async (t) => {
  const host = await (await setStage(t)).host();
  const server = await host.serve();
  const browser = await host.browse("chromium");
  for (const path of ["/", "/r/somewhere"]) {
    const page = await browser.open(`${server.url("127.0.0.1")}${path}`);
    await inState(page, "lobby", "entry");
    if (path !== "/") {
      await enter(page);
      await inState(page, "alone");
      await page.until(() => document.querySelector("#board :is(canvas, .board-state)"));
    }
    assert.deepEqual(await foreignRequests(page), []);
    assert.deepEqual(await policyRefusals(page), []);
    const inline = await page.run(() => {
      const script = document.createElement("script");
      script.textContent = "window.inlineRan = true";
      document.body.append(script);
      return window.inlineRan === true;
    });
    assert.equal(inline, false, "a script in the page itself does not run");
  }
});

test("from the lobby into a room nobody guesses", { skip, timeout: TIMEOUT }, async (t) => {
  const host = await (await setStage(t)).host();
  const server = await host.serve();
  const page = await (await host.browse("chromium")).open(server.url("127.0.0.1"));
  await inState(page, "lobby");
  await page.navigate(() => document.querySelector("#lobby-form").requestSubmit());
  await enter(page, { camera: false });
  await inState(page, "alone");
  assert.match(await page.run(() => location.pathname), /^\/r\/[a-z]{3}-[a-z]{3}-[a-z]{3}$/);
});

test("texts that are too long stay where they were put, with a word, and are not cut", { skip, timeout: TIMEOUT }, async (t) => {
  const host = await (await setStage(t)).host();
  const server = await host.serve();
  const browser = await host.browse("chromium");
  const room = `${server.url("127.0.0.1")}/r/x`;
  const other = await openRoom(browser, room, { camera: false });
  const valueOf = (page, selector) => page.run((selector) => document.querySelector(selector).value, selector);
  /** Waits for the text next to a field, and returns it. */
  const toldOf = (page, selector, isRefused) =>
    page.until(
      (selector, isRefused) => {
        const field = document.querySelector(selector);
        const note = document.getElementById(field.getAttribute("aria-describedby") ?? "");
        return field.getAttribute("aria-invalid") === String(isRefused) && note?.checkVisibility() && note.textContent;
      },
      selector,
      isRefused,
    );

  const longName = `${"Ada ".repeat(16)}Lovelace`;
  const longerName = "Ada".repeat(400);
  const page = await browser.open(`${room}?name=${longerName}`);
  await inState(page, "entry");
  assert.equal(await valueOf(page, "#entry-name"), longerName);
  assert.match(await toldOf(page, "#entry-name", true), /too long/);
  for (const button of ["#join-without", "#join"]) {
    await page.click(button);
    assert.equal(await page.run(() => document.body.dataset.state), "entry");
  }
  await fill(page, "#entry-name", longName);
  assert.match(await toldOf(page, "#entry-name", false), /first 59 letters/);
  await enter(page, { camera: false });
  await inState(page, "joined");
  assert.equal(await page.run(() => window.bimccRtc.room.name), longName);
  await other.until(() => /^Ada .*…$/.test(document.querySelector('.tile[data-own="false"] .name')?.textContent));
  await rename(page, longerName);
  await toldOf(page, "#name", true);
  assert.equal(await valueOf(page, "#name"), longerName);
  assert.equal(await page.run(() => window.bimccRtc.room.name), longName);

  const text = `${"long ".repeat(800)}end`;
  await say(page, text);
  assert.match(await toldOf(page, "#chat-text", true), /Up to 4,000 characters fit.*3 too many/);
  assert.equal(await valueOf(page, "#chat-text"), text);
  assert.deepEqual(await seriousFindings(page), []);
  if (process.env.SHOTS) await page.screenshot(`${process.env.SHOTS}/too-long.png`);
  assert.equal(await page.run(() => document.querySelectorAll("#chat-log .message").length), 0);
  await say(page, text.slice(5));
  assert.equal(await valueOf(page, "#chat-text"), "");
  await hears(other, text.slice(5));
  // Other pages may send more.
  await page.run((text) => window.bimccRtc.room.send(text), `${"x".repeat(4000)}${text}`);
  await hears(other, "4,003 characters more");
});

test("without https the page says why there is no camera, and receives", { skip, timeout: TIMEOUT }, async (t) => {
  const host = await (await setStage(t)).host();
  if (host.address === "127.0.0.1") return t.skip("this machine has loopback only, which is a secure context");
  const server = await host.serve();
  const open = async (address) => openRoom(await host.browse("chromium"), `${server.url(address)}/r/x?relay=1`);
  const watcher = await open(host.address);
  await inState(watcher, "alone");
  assert.match(await watcher.run(() => document.querySelector("#notice").textContent), /--tls/);
  assert.deepEqual(await seriousFindings(watcher), []);
  const other = await open("127.0.0.1");
  await showsFrames(watcher);
  await say(watcher, "I can see you");
  await hears(other, "I can see you");
});

test("a full room is said to be full, and can be tried again", { skip, timeout: TIMEOUT }, async (t) => {
  const host = await (await setStage(t)).host();
  const server = await host.serve({ args: ["--max-peers-per-room", "2"] });
  const browser = await host.browse("chromium");
  const pages = [];
  for (const state of ["alone", "joined", "full"]) {
    pages.push(await openRoom(browser, `${server.url("127.0.0.1")}/r/small`, { camera: state !== "alone" }));
    await inState(pages.at(-1), state);
  }
  assert.deepEqual(await seriousFindings(pages[2]), []);
  assert.equal(await pages[0].run(tiles), 2);
  await pages[1].click("#leave");
  await inState(pages[1], "left");
  await inState(pages[0], "alone");
  await pages[2].click("#again");
  await inState(pages[2], "joined");
});

test("when the server comes back, so does the call", { skip, timeout: TIMEOUT }, async (t) => {
  const host = await (await setStage(t)).host();
  const server = await host.serve();
  const pages = [];
  for (let i = 0; i < 2; i++) {
    pages.push(await openRoom(await host.browse("chromium"), `${server.url("127.0.0.1")}/r/x?relay=1`));
  }
  await assertTheySeeEachOther(pages);
  const { code } = await server.stop();
  assert.equal(code, 0, "SIGTERM is a clean end");
  for (const page of pages) {
    await inState(page, "away");
    assert.match(await page.run(() => document.querySelector("#away").textContent), /Reconnecting/);
    assert.deepEqual(await seriousFindings(page), []);
  }
  await server.restart();
  for (const page of pages) {
    await inState(page, "joined");
    assert.equal(await page.run(() => document.querySelector("#away")), null);
  }
  const joinedAt = Date.now();
  await assertTheySeeEachOther(pages);
  t.diagnostic(`they see each other ${Date.now() - joinedAt} ms after they are joined again`);
});

for (const { kind, how, ...options } of [
  { kind: "firefox", how: "switched off", browse: { preferences: { "media.peerconnection.enabled": false } } },
  { kind: "chromium", how: "taken away", before: () => delete window.RTCPeerConnection },
  {
    kind: "chromium",
    how: "blocked",
    before: () => {
      window.RTCPeerConnection = class {
        constructor() {
          throw new Error("blocked");
        }
      };
    },
  },
]) {
  test(`with WebRTC ${how} the page says so, ${kind}`, { skip: missing(kind), timeout: TIMEOUT }, async (t) => {
    const host = await (await setStage(t)).host();
    const server = await host.serve();
    const { browse, ...open } = options;
    const browser = await host.browse(kind, browse);
    const page = await browser.open(`${server.url("127.0.0.1")}/r/x`, open);
    await inState(page, "entry");
    const note = () => document.querySelector("#no-webrtc")?.textContent ?? "";
    if (how !== "blocked") assert.match(await page.run(note), /WebRTC/);
    await enter(page, { camera: false });
    await inState(page, "refused");
    assert.match(await page.run(() => document.querySelector("#state").textContent), /WebRTC/);
    const check = await browser.open(`${server.url("127.0.0.1")}/check`, open);
    await check.until(() => document.body.dataset.state === "done");
    assert.equal(await check.run(() => document.querySelector('[data-test="webrtc"]').dataset.verdict), "failed");
    const { value } = (await server.metrics()).find(({ name }) => name === "bimcc_rtc_members") ?? { value: 0 };
    assert.equal(value, 0);
  });
}
