// The pages of examples/web, served from another place than the server that they use.
import assert from "node:assert/strict";
import { test } from "node:test";
import { missing, setStage } from "./harness.mjs";

const TIMEOUT = 180_000;

async function open(t, kinds, page, { room = "examples", before } = {}) {
  const host = await (await setStage(t)).host();
  const server = await host.serve();
  const pages = [];
  for (const [index, kind] of kinds.entries()) {
    const query = new URLSearchParams({ server: server.url(), room, name: `person ${index}` });
    pages.push(await (await host.browse(kind)).open(host.pageUrl(`examples/${page}?${query}`), { before }));
  }
  return { host, pages };
}

for (const kinds of [
  ["chromium", "chromium"],
  ["firefox", "chromium"],
]) {
  const skip = missing(...new Set(kinds));
  const names = kinds.join(" and ");

  test(`chat.html in ${names}`, { skip, timeout: TIMEOUT }, async (t) => {
    const { pages } = await open(t, kinds, "chat.html");
    for (const [index, page] of pages.entries()) {
      await page.until(
        (other) => document.querySelector("#status").textContent.includes(`${other} (connected)`),
        `person ${1 - index}`,
      );
    }
    for (const [from, to, index] of [
      [pages[0], pages[1], 0],
      [pages[1], pages[0], 1],
    ]) {
      const text = `<img src=x onerror=alert(1)> from ${index}`;
      await from.run((message) => {
        document.querySelector("#text").value = message;
        document.querySelector("form").requestSubmit();
      }, text);
      await to.until(
        (line) => [...document.querySelectorAll("#log li")].some((li) => li.textContent === line),
        `person ${index}${text}`,
      );
      assert.equal(await to.run(() => document.querySelectorAll("#log img").length), 0);
    }
  });

  test(`video.html in ${names}`, { skip, timeout: TIMEOUT }, async (t) => {
    const { pages } = await open(t, kinds, "video.html");
    const isPlaying = () => {
      const videos = [...document.querySelectorAll("video")];
      return videos.length === 2 && videos.every((video) => video.videoWidth > 0 && video.currentTime > 0.3);
    };
    for (const page of pages) await page.until(isPlaying);
    await pages[0].run(() => document.querySelector("#mute").click());
    assert.equal(await pages[0].run(() => document.querySelector("#mute").getAttribute("aria-pressed")), "true");
    await pages[0].run(() => document.querySelector("#leave").click());
    await pages[1].until(() => document.querySelectorAll("video").length === 1);
  });

  test(`legacy.html in ${names}`, { skip, timeout: TIMEOUT }, async (t) => {
    const { pages } = await open(t, kinds, "legacy.html");
    const isPlaying = () => {
      const videos = [...document.querySelectorAll("video")];
      return videos.length === 2 && videos.every((video) => video.videoWidth > 0 && video.currentTime > 0.3);
    };
    for (const page of pages) await page.until(isPlaying);
    await pages[0].run(() => {
      const notes = document.querySelector("#notes");
      notes.value = "milk, bread";
      notes.dispatchEvent(new Event("input"));
    });
    await pages[1].until(() => document.querySelector("#notes").value === "milk, bread");
    await pages[1].close();
    await pages[0].until(() => document.querySelectorAll("video").length === 1);
  });
}

/** A camera that opens later than the pictures of others can arrive. */
function slowCamera() {
  const devices = navigator.mediaDevices;
  const real = devices.getUserMedia.bind(devices);
  devices.getUserMedia = async (constraints) => {
    await new Promise((resolve) => setTimeout(resolve, 4_000));
    return real(constraints);
  };
}

test("video.html plays what comes however slowly the camera opens", { skip: missing("chromium"), timeout: TIMEOUT }, async (t) => {
  const { pages } = await open(t, ["chromium", "chromium"], "video.html", { before: slowCamera });
  const isPlaying = () => {
    const videos = [...document.querySelectorAll("video")];
    return videos.length === 2 && videos.every((video) => video.videoWidth > 0 && video.currentTime > 0.3);
  };
  for (const page of pages) await page.until(isPlaying);
});

test("a page whose server is not there says so", { skip: missing("chromium"), timeout: TIMEOUT }, async (t) => {
  const host = await (await setStage(t)).host();
  const browser = await host.browse("chromium");
  for (const page of ["chat.html", "video.html", "legacy.html"]) {
    const opened = await browser.open(host.pageUrl(`examples/${page}?server=http://127.0.0.1:1`));
    await opened.until(() => !document.querySelector("#status").textContent.startsWith("Connecting"));
    await opened.close();
  }
});
