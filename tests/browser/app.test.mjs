// What people do in a room besides drawing: see and hear each other, share screens and files, invite, change their
// names; on a phone, by keyboard, and with a hostile member.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import {
  enter,
  fill,
  foreignRequests,
  hears,
  inState,
  offerFile,
  openPanel,
  openRoom,
  policyRefusals,
  readQrCode,
  say,
  seriousFindings,
  showsFrames,
  sidewaysScroll,
  takeFile,
} from "./app.mjs";
import { missing, setStage } from "./harness.mjs";

const TIMEOUT = 180_000;
const skip = missing("chromium");
const DESKTOP = { width: 1280, height: 800 };
const PHONES = [
  { width: 390, height: 844, isMobile: true, hasTouch: true },
  { width: 360, height: 640, isMobile: true, hasTouch: true },
];

async function serve(t, options) {
  const host = await (await setStage(t)).host();
  const server = await host.serve(options);
  return { host, server, url: (path) => server.url("127.0.0.1") + path };
}

/** Two people in one room, each in a separate browser. */
async function twoPeople(t, kinds = ["chromium", "chromium"], options = {}) {
  const { host, server, url } = await serve(t);
  const pages = [];
  for (const [i, kind] of kinds.entries()) {
    pages.push(await openRoom(await host.browse(kind), url(`/r/x?name=${["Ada", "Bob"][i]}`), options));
  }
  for (const page of pages) await inState(page, "joined");
  return { host, server, url, pages };
}

const repeated = (text, times) => createHash("sha256").update(text.repeat(times)).digest("hex");

for (const kinds of [
  ["chromium", "chromium"],
  ["firefox", "chromium"],
  ["chromium", "firefox"],
]) {
  test(`${kinds.join(" and ")}: pictures, mute, files both ways`, { skip: missing(...kinds), timeout: TIMEOUT }, async (t) => {
    const { pages } = await twoPeople(t, kinds);
    const [ada, bob] = pages;
    for (const page of pages) await showsFrames(page);

    await ada.click("#toggle-audio");
    await bob.until(() => document.querySelector('.tile[data-own="false"][data-muted="true"]'));
    await ada.click("#toggle-audio");
    await bob.until(() => document.querySelector('.tile[data-own="false"][data-muted="false"]'));

    await ada.click("#toggle-video");
    await bob.until(() => document.querySelector('.tile[data-own="false"] .avatar'));
    const live = await ada.run(() => document.querySelectorAll('#self video:not([data-hidden="true"])').length);
    assert.equal(live, 0, "a camera that is off shows nothing here either");
    await ada.click("#toggle-video");
    await showsFrames(bob);

    await offerFile(ada, "plan <b>of</b> the house.txt", "0123456789abcdef", 100_000);
    // The name is the part after the last slash, without characters that file systems do not allow.
    const taken = await takeFile(bob, "b_ the house.txt");
    assert.equal(taken.size, 1_600_000);
    assert.equal(taken.sha256, repeated("0123456789abcdef", 100_000));
    await offerFile(bob, "answer.bin", "yes", 7);
    assert.deepEqual(await takeFile(ada, "answer.bin"), { name: "answer.bin", size: 21, sha256: repeated("yes", 7) });
    await bob.until(() =>
      [...document.querySelectorAll('.file[data-own="true"]')].some((e) => /arrived/.test(e.textContent)),
    );
    for (const page of pages) {
      assert.deepEqual(await foreignRequests(page), []);
      assert.deepEqual(await policyRefusals(page), []);
    }
  });
}

test("a file that is refused, and one that is called off", { skip, timeout: TIMEOUT }, async (t) => {
  const { pages } = await twoPeople(t, undefined, { camera: false });
  const [ada, bob] = pages;
  await offerFile(ada, "first.txt", "x", 10);
  await openPanel(bob, "chat");
  await bob.click(".file .refuse");
  await ada.until(() => /refused/.test(document.querySelector(".file .file-state").textContent));
  await offerFile(ada, "second.txt", "x", 10);
  await bob.until(() => document.querySelector('.file[data-state="offered"] .accept'));
  await ada.click('.file[data-state="offered"] .cancel');
  await bob.until(() => document.querySelectorAll('.file[data-state="cancelled"]').length === 1);
});

test("a screen is shared, shown large, and ended", { skip, timeout: TIMEOUT }, async (t) => {
  const { pages } = await twoPeople(t);
  const [ada, bob] = pages;
  await ada.click("#toggle-screen");
  await showsFrames(bob, "screen");
  await bob.click('.tile[data-kind="screen"] .enlarge');
  await bob.until(() => document.querySelector(".large video")?.videoWidth > 0);
  await bob.press("Escape");
  await bob.until(() => !document.querySelector(".large"));
  await bob.click('.tile[data-kind="screen"] .enlarge');
  await ada.click("#toggle-screen");
  await bob.until(() => !document.querySelector('.tile[data-kind="screen"]') && !document.querySelector(".large"));
  await showsFrames(bob);
});

test("the invitation leads into the room, also by its QR code", { skip, timeout: TIMEOUT }, async (t) => {
  const { host, url } = await serve(t);
  const browser = await host.browse("chromium");
  const room = encodeURIComponent("tea & 点心");
  const page = await openRoom(browser, url(`/r/${room}?name=Ada&token=secret`), { camera: false });
  await inState(page, "alone");
  const link = url(`/r/${room}`);
  assert.equal(await page.run(() => document.querySelector("#alone-link").textContent), link);
  assert.equal(await readQrCode(page), link, "the card of who is alone");
  await openPanel(page, "invite");
  assert.equal(await page.run(() => document.querySelector("#invite").value), link);
  assert.equal(await readQrCode(page), link, "the panel");
  const guest = await openRoom(await host.browse("chromium"), link, { camera: false });
  await inState(guest, "joined");
});

test("nothing is asked of the browser before a click, and no camera means none", { skip, timeout: TIMEOUT }, async (t) => {
  const { host, url } = await serve(t);
  const page = await (await host.browse("chromium")).open(url("/r/x"));
  await inState(page, "entry");
  await page.run(() => {
    window.asked = 0;
    const { mediaDevices } = navigator;
    const open = mediaDevices.getUserMedia.bind(mediaDevices);
    mediaDevices.getUserMedia = (constraints) => {
      window.asked++;
      return open(constraints);
    };
  });
  await enter(page, { camera: false });
  await inState(page, "alone");
  assert.equal(await page.run(() => window.asked), 0);
  await page.click("#toggle-video");
  await page.until(() => document.querySelector("#self video"));
  assert.equal(await page.run(() => window.asked), 1);
  await page.click("#leave");
  await inState(page, "left");
});

test("the name is remembered, and asked for once", { skip, timeout: TIMEOUT }, async (t) => {
  const { host, url } = await serve(t);
  const browser = await host.browse("chromium");
  const page = await browser.open(url("/"));
  await inState(page, "lobby");
  await fill(page, "#lobby-name", "Ada");
  await fill(page, "#room-name", "tea");
  await page.navigate(() => document.querySelector("#lobby-form").requestSubmit());
  await inState(page, "entry");
  assert.equal(await page.run(() => document.querySelector("#entry-name").value), "Ada");
  await enter(page, { camera: false });
  await inState(page, "alone");
  const lobby = await browser.open(url("/"));
  await lobby.until(() => document.querySelector('.recent a[href="/r/tea"]'));
});

test("by keyboard: into the room, microphone, chat, and out of it", { skip, timeout: TIMEOUT }, async (t) => {
  const { pages } = await twoPeople(t);
  const [ada, bob] = pages;
  const pressed = (page, expected) =>
    page.until((e) => document.querySelector("#toggle-audio").getAttribute("aria-pressed") === e, expected);
  await pressed(ada, "true");
  await ada.press("Alt+KeyM");
  await pressed(ada, "false");
  await ada.press("Alt+KeyM");
  await pressed(ada, "true");
  await ada.press("Alt+KeyJ");
  await ada.until(() => document.activeElement?.id === "chat-text");
  await fill(ada, "#chat-text", "by keys alone");
  await ada.press("Enter");
  await hears(bob, "by keys alone");
  await ada.press("Escape");
  await ada.until(() => !document.querySelector("#panel"));
});

test("a window that is closed is gone for the others at once", { skip, timeout: TIMEOUT }, async (t) => {
  const { pages } = await twoPeople(t, undefined, { camera: false });
  await pages[1].close();
  await inState(pages[0], "alone");
  await hears(pages[0], "Bob left");
});

test("somebody floods the room: the page stays usable, and names who it is", { skip, timeout: TIMEOUT }, async (t) => {
  const { pages } = await twoPeople(t, undefined, { camera: false });
  const [mallory, bob] = pages;
  await mallory.run(async () => {
    const { room } = window.bimccRtc;
    room.update({ name: "<b>Mallory</b>".padEnd(1000, "x"), metadata: ["garbage", { microphone: "<img src=x>" }] });
    for (let i = 0; i < 3000; i++) {
      const text = `${i} <img src=x onerror="document.title='broken'">`;
      room.send(i % 100 === 0 ? text.repeat(500) : text).catch(() => {});
      room.send({ text: { toString: i } }).catch(() => {});
      if (i % 100 === 0) await new Promise((resolve) => setTimeout(resolve, 10));
    }
    for (let i = 0; i < 50; i++) room.sendFile(new Blob(["x"]), { name: `../../<img src=x>${i}.exe` });
  });
  await bob.until(() => document.querySelector('.notice-card[data-tone="problem"]')?.textContent.includes("Mallory"));
  await say(bob, "I can still write");
  await openPanel(bob, "people");
  await bob.until(() => document.querySelector(".problems .who")?.textContent.startsWith("<b>Mallory</b>"));
  await openPanel(bob, "chat");
  const seen = await bob.run(() => ({
    entries: document.querySelectorAll("#chat-log li").length,
    images: document.querySelectorAll("#room img[src='x']").length,
    notices: document.querySelectorAll(".notice-card").length,
    title: document.title,
  }));
  assert.ok(seen.entries <= 500, `${seen.entries} entries`);
  assert.ok(seen.notices <= 3, `${seen.notices} notices`);
  assert.equal(seen.images, 0);
  assert.notEqual(seen.title, "broken");
  assert.ok((await sidewaysScroll(bob)) <= 0, "a long name does not widen the page");
  await hears(mallory, "I can still write");
});

for (const colorScheme of ["light", "dark"]) {
  test(`nothing hinders people, by axe-core: ${colorScheme}`, { skip, timeout: TIMEOUT }, async (t) => {
    const { host, url } = await serve(t);
    const browser = await host.browse("chromium");
    const look = async (page, where) => assert.deepEqual(await seriousFindings(page), [], where);

    const lobby = await browser.open(url("/"), { viewport: DESKTOP, colorScheme });
    await inState(lobby, "lobby");
    await look(lobby, "lobby");

    const page = await browser.open(url("/r/x?name=Ada"), { viewport: DESKTOP, colorScheme });
    await inState(page, "entry");
    await look(page, "entry");
    await enter(page);
    await inState(page, "alone");
    await look(page, "alone");

    const other = await openRoom(await host.browse("chromium"), url("/r/x?name=Bob"), { viewport: PHONES[0], colorScheme });
    await showsFrames(page);
    await look(page, "two people");
    await look(other, "two people, phone");
    for (const panel of ["chat", "people", "invite"]) {
      await say(other, `about ${panel}: https://example.org`);
      await openPanel(page, panel);
      await page.until((panel) => document.querySelector(`#open-${panel}[aria-expanded="true"]`), panel);
      await look(page, panel);
      await openPanel(other, panel);
      await look(other, `${panel}, phone`);
    }
    await offerFile(page, "plan.pdf", "x", 10);
    await other.click("#open-chat");
    await other.until(() => document.querySelector(".file .accept"));
    await look(other, "a file is offered");
    await page.click("#open-settings");
    await page.until(() => document.querySelector("dialog[open]"));
    await look(page, "settings");
    await other.click("#leave");
    await inState(other, "left");
    await look(other, "left");
  });
}

for (const viewport of PHONES) {
  test(`a phone ${viewport.width} wide never scrolls sideways`, { skip, timeout: TIMEOUT }, async (t) => {
    const { host, url } = await serve(t);
    const browser = await host.browse("chromium");
    const long = encodeURIComponent("a room with a very long name ".repeat(4).trim());
    const fits = async (page, where) => assert.ok((await sidewaysScroll(page)) <= 0, where);

    const page = await browser.open(url("/"), { viewport });
    await inState(page, "lobby");
    await fits(page, "lobby");
    const guest = await browser.open(url(`/r/${long}?name=${"Wolfeschlegelsteinhausenbergerdorff".repeat(2)}`), { viewport });
    await inState(guest, "entry");
    await fits(guest, "entry");
    await enter(guest);
    await inState(guest, "alone");
    await fits(guest, "alone");
    const other = await openRoom(await host.browse("chromium"), url(`/r/${long}?name=Bob`), { viewport });
    await inState(guest, "joined");
    await fits(guest, "two people");
    await say(other, "https://example.org/".padEnd(600, "x"));
    await offerFile(other, `${"long".repeat(60)}.txt`, "x", 10);
    for (const panel of ["chat", "people", "invite"]) {
      await openPanel(guest, panel);
      await fits(guest, panel);
    }
    for (const selector of ["#toggle-audio", "#toggle-video", "#open-chat", "#open-people", "#leave", "#open-settings"]) {
      const inside = await guest.run((selector) => {
        const { left, right, top, bottom } = document.querySelector(selector).getBoundingClientRect();
        return left >= 0 && top >= 0 && right <= window.innerWidth && bottom <= window.innerHeight;
      }, selector);
      assert.ok(inside, `${selector} is on the screen`);
    }
  });
}
