// Browsers that refuse camera, microphone and screen in every way that the specifications know, or never answer: the
// page says what is wrong, and uses what works. The browser's answers are simulated, the pages are real.
import assert from "node:assert/strict";
import { test } from "node:test";
import { enter, inState, openRoom, showsFrames } from "./app.mjs";
import { missing, setStage } from "./harness.mjs";

const TIMEOUT = 240_000;
const skip = missing("chromium");
const LONG = process.env.BIMCC_RTC_LONG === "1";

async function serve(t, options) {
  const host = await (await setStage(t)).host();
  const server = await host.serve();
  return { host, browser: await host.browse("chromium", options), url: `${server.url("127.0.0.1")}/r/devices` };
}

/**
 * Runs before the page. `window.refusals` says what is not given: for "audio", "video" and "screen" the name of an
 * error, "never", or "late" (until `window.release()`). A question for both is refused like its first refused part.
 */
function stubDevices() {
  window.refusals = {};
  window.questions = [];
  window.given = [];
  let release;
  const released = new Promise((resolve) => {
    release = resolve;
  });
  window.release = release;
  const devices = MediaDevices.prototype;
  const errors = { TypeError: () => new TypeError("the page's wish makes no sense") };
  const answer = async (kinds, ask) => {
    window.questions.push(kinds.join("+"));
    const refusal = kinds.map((kind) => window.refusals[kind]).find(Boolean);
    if (refusal === "never") return new Promise(() => {});
    if (refusal === "late") await released;
    else if (refusal) throw errors[refusal]?.() ?? new DOMException("as played", refusal);
    const stream = await ask();
    window.given.push(...stream.getTracks());
    return stream;
  };
  const { getUserMedia, getDisplayMedia } = devices;
  devices.getUserMedia = function (constraints) {
    const kinds = ["audio", "video"].filter((kind) => constraints[kind]);
    return answer(kinds, () => getUserMedia.call(this, constraints));
  };
  devices.getDisplayMedia = function (constraints) {
    return answer(["screen"], () => getDisplayMedia.call(this, constraints));
  };
}

const REFUSALS = {
  NotAllowedError: /may not use the X/,
  NotFoundError: /No X was found/,
  NotReadableError: /The X cannot be opened/,
  OverconstrainedError: /No X was found/,
  AbortError: /The X could not be started/,
  SecurityError: /no page use the X/,
  InvalidStateError: /opens the X only for a page that is in front/,
  TypeError: /The X cannot be opened: the page's wish makes no sense/,
  never: /has not answered about the X/,
};

const speaksOf = (name, what) => new RegExp(REFUSALS[name].source.replace("X", what));

const refuse = (page, refusals) =>
  page.run((refusals) => {
    window.refusals = refusals;
  }, refusals);

const isOn = (page, device, on = true) =>
  page.until(
    (id, on) => document.querySelector(id)?.getAttribute("aria-pressed") === on,
    `#toggle-${device === "camera" ? "video" : "audio"}`,
    String(on),
  );

/** Waits until the page shows these words. */
const says = (page, words) =>
  page.until((source) => {
    const texts = [...document.querySelectorAll(".problem, .banner")].map((element) => element.textContent);
    return texts.some((text) => new RegExp(source).test(text));
  }, words.source);

const uncaught = async (page) => (await page.console()).filter((line) => /^uncaught/.test(line));

const lights = (page) => page.run(() => window.given.filter(({ readyState }) => readyState === "live").length);

/** One page from the entry to the end, where one of the two devices is refused. */
async function comeInWithOne(browser, url, name, [bad, word, good]) {
  const page = await browser.open(url, { before: stubDevices });
  await inState(page, "entry");
  await refuse(page, { [bad]: name });
  await page.click("#join");
  if (name === "never") {
    // Nobody has to wait for ever: the user may go in at once without devices, or with a device as soon as it works.
    assert.ok(await page.run(() => !document.querySelector("#join-without").disabled));
    await isOn(page, good);
    await says(page, speaksOf(name, word));
    await page.click("#join");
  }
  await inState(page, "alone");
  await isOn(page, good);
  await says(page, speaksOf(name, word));
  // When it works again, so does the button.
  await refuse(page, {});
  const button = word === "camera" ? "#toggle-video" : "#toggle-audio";
  if (name === "never") await page.click(button);
  await isOn(page, word, false);
  await page.click(button);
  await isOn(page, word);
  await page.until(() => !document.querySelector(".banner"));
  await page.click("#leave");
  await inState(page, "left");
  assert.equal(await lights(page), 0);
  assert.deepEqual(await uncaught(page), [], name);
  await page.close();
}

for (const devices of [
  ["video", "camera", "microphone"],
  ["audio", "microphone", "camera"],
]) {
  const [, word, good] = devices;
  test(`each refusal of the ${word} at the door: in with the ${good}`, { skip, timeout: TIMEOUT }, async (t) => {
    const { browser, url } = await serve(t);
    for (const name of Object.keys(REFUSALS)) await comeInWithOne(browser, url, name, devices);
  });
}

test("a refusal of both, at the door and inside, is told of both, and all is usable", { skip, timeout: TIMEOUT }, async (t) => {
  const { browser, url } = await serve(t);
  const few = ["NotAllowedError", "NotFoundError", "NotReadableError", "never"];
  for (const name of LONG ? Object.keys(REFUSALS) : few) {
    const page = await browser.open(url, { before: stubDevices });
    await inState(page, "entry");
    await refuse(page, { audio: name, video: name });
    await page.click("#join");
    await says(page, name === "NotFoundError" ? /No camera and no microphone were/ : /camera and microphone/);
    assert.equal(await page.run(() => document.body.dataset.state), "entry", name);
    await page.click("#join-without");
    await inState(page, "alone");
    for (const [button, word] of [["#toggle-video", "camera"], ["#toggle-audio", "microphone"]]) {
      await page.click(button);
      await says(page, speaksOf(name, word));
      if (name === "never") await page.click(button);
      await isOn(page, word, false);
    }
    await refuse(page, {});
    await page.click("#toggle-audio");
    await isOn(page, "microphone");
    assert.deepEqual(await uncaught(page), [], name);
    await page.close();
  }
});

test("each refusal of a screen speaks of the screen", { skip, timeout: TIMEOUT }, async (t) => {
  const { browser, url } = await serve(t);
  const page = await openRoom(browser, url, { camera: false, before: stubDevices });
  await inState(page, "alone");
  for (const name of Object.keys(REFUSALS)) {
    await refuse(page, { screen: name });
    await page.click("#toggle-screen");
    if (name === "never") {
      await page.until(() => document.querySelector("#toggle-screen").getAttribute("aria-busy") === "true");
      await page.click("#toggle-screen");
    } else {
      await says(page, /[Ss]creen/);
      const text = await page.run(() => document.querySelector(".banner").textContent);
      assert.doesNotMatch(text, /camera|microphone/, name);
      await page.click(".banner .icon-button");
    }
    await page.until(() => document.querySelector("#toggle-screen").getAttribute("aria-busy") === null);
  }
  await refuse(page, {});
  await page.click("#toggle-screen");
  await page.until(() => document.querySelector("#toggle-screen").getAttribute("aria-pressed") === "true");
  assert.deepEqual(await uncaught(page), []);
});

test("what comes after one has gone in without, or has left, is switched off", { skip, timeout: TIMEOUT }, async (t) => {
  const { browser, url } = await serve(t);
  for (const way of ["without", "left"]) {
    const page = await browser.open(url, { before: stubDevices });
    await inState(page, "entry");
    if (way === "without") {
      await refuse(page, { audio: "late", video: "late" });
      await page.click("#join");
      await page.click("#join-without");
      await inState(page, "alone");
    } else {
      await enter(page, { camera: false });
      await inState(page, "alone");
      await refuse(page, { audio: "late", video: "late", screen: "late" });
      for (const button of ["#toggle-video", "#toggle-audio", "#toggle-screen"]) await page.click(button);
      await page.click("#leave");
      await inState(page, "left");
    }
    const expected = way === "without" ? 2 : 3;
    await page.run(() => window.release());
    await page.until((expected) => window.given.length >= expected, expected);
    await page.until(() => window.given.every(({ readyState }) => readyState === "ended"));
    assert.equal(await page.run(() => window.bimccRtc?.room?.streams.length ?? 0), 0);
    assert.deepEqual(await uncaught(page), []);
    await page.close();
  }
});

test("a late yes at the door still leads in", { skip, timeout: TIMEOUT }, async (t) => {
  const { browser, url } = await serve(t);
  const page = await browser.open(url, { before: stubDevices });
  await inState(page, "entry");
  await refuse(page, { audio: "late", video: "late" });
  await page.click("#join");
  await page.until(() => window.questions.length > 0);
  await page.run(() => window.release());
  await inState(page, "alone");
  await isOn(page, "camera");
  await isOn(page, "microphone");
});

test("the chosen camera is the one that is used, now and the next time", { skip, timeout: TIMEOUT }, async (t) => {
  const { browser, url } = await serve(t, { args: ["--use-fake-device-for-media-stream=device-count=3"] });
  const page = await openRoom(browser, url, { before: stubDevices });
  await inState(page, "alone");
  await isOn(page, "camera");
  const inUse = () => window.given.findLast((track) => track.kind === "video" && track.readyState === "live")?.getSettings().deviceId;
  await page.click("#open-settings");
  await page.until(() => document.querySelectorAll("#camera-choice option").length === 3);
  const ids = await page.run(() => [...document.querySelectorAll("#camera-choice option")].map(({ value }) => value));
  const first = await page.run(inUse);
  assert.equal(await page.run(() => document.querySelector("#camera-choice").value), first);
  const other = ids.findLast((id) => id !== first);
  await page.run((id) => {
    const select = document.querySelector("#camera-choice");
    Object.getOwnPropertyDescriptor(HTMLSelectElement.prototype, "value").set.call(select, id);
    select.dispatchEvent(new Event("change", { bubbles: true }));
  }, other);
  await page.until(`(id) => (${inUse})() === id`, other);
  assert.equal(await page.run(() => document.querySelector("#camera-choice").value), other);
  await page.close();
  const again = await openRoom(browser, url, { before: stubDevices });
  await inState(again, "alone");
  await isOn(again, "camera");
  assert.equal(await again.run(inUse), other);
});

/**
 * Runs before the page. `window.unplug(id)` and `window.plugIn(id)` do what browsers do: they update the list of
 * devices, end tracks, and do not open missing devices.
 */
function stubPlugs() {
  const away = new Set();
  const tracks = [];
  const devices = MediaDevices.prototype;
  const { enumerateDevices, getUserMedia } = devices;
  devices.enumerateDevices = async function () {
    const all = await enumerateDevices.call(this);
    // Chromium's second fake camera has a format that Chromium does not send.
    return all.filter(({ deviceId, label }) => !away.has(deviceId) && !label.startsWith("fake_device_1"));
  };
  devices.getUserMedia = async function (constraints) {
    const there = await this.enumerateDevices();
    for (const [kind, listed] of [["audio", "audioinput"], ["video", "videoinput"]]) {
      if (!constraints[kind]) continue;
      const exact = constraints[kind].deviceId?.exact;
      if (away.has(exact)) throw new DOMException("as played", "OverconstrainedError");
      const other = there.find((device) => device.kind === listed);
      if (!other) throw new DOMException("as played", "NotFoundError");
      if (!exact && other.deviceId) constraints = { ...constraints, [kind]: { deviceId: { exact: other.deviceId } } };
    }
    const stream = await getUserMedia.call(this, constraints);
    tracks.push(...stream.getTracks());
    return stream;
  };
  const change = () => navigator.mediaDevices.dispatchEvent(new Event("devicechange"));
  window.unplug = (id) => {
    away.add(id);
    for (const track of tracks.filter((one) => one.readyState === "live" && one.getSettings().deviceId === id)) {
      track.stop();
      track.dispatchEvent(new Event("ended"));
    }
    change();
  };
  window.plugIn = (id) => {
    away.delete(id);
    change();
  };
  window.inUse = (kind) => tracks.find((one) => one.kind === kind && one.readyState === "live")?.getSettings().deviceId;
}

test("devices that come and go are seen in the settings, and others take their place", {
  skip,
  timeout: TIMEOUT,
}, async (t) => {
  const { host, browser, url } = await serve(t, { args: ["--use-fake-device-for-media-stream=device-count=4"] });
  const other = await openRoom(await host.browse("chromium"), url, { camera: false });
  const page = await openRoom(browser, url, { before: stubPlugs });
  await inState(page, "joined");
  await isOn(page, "camera");
  await showsFrames(other);
  await page.click("#open-settings");
  const choices = (kind) =>
    page.run((kind) => [...document.querySelectorAll(`#${kind}-choice option`)].map(({ value }) => value), kind);
  const listed = (kind, ids) =>
    page.until(
      (kind, ids) =>
        JSON.stringify([...document.querySelectorAll(`#${kind}-choice option`)].map(({ value }) => value)) === ids,
      kind,
      JSON.stringify(ids),
    );
  await page.until(() => document.querySelectorAll("#camera-choice option").length === 3);

  for (const [kind, device] of [["camera", "video"], ["microphone", "audio"]]) {
    const all = await choices(kind);
    const used = await page.run((device) => window.inUse(device), device);
    assert.ok(all.length > 1 && all.includes(used), `${used} of ${all}`);
    const rest = all.filter((id) => id !== used);
    const nameOf = (id) => page.run((id) => document.querySelector(`option[value="${id}"]`).textContent, id);
    const [gone, next] = [await nameOf(used), await nameOf(rest[0])];
    await page.run((id) => window.unplug(id), used);
    await listed(kind, rest);
    await page.until((device, id) => window.inUse(device) === id, device, rest[0]);
    const sentence = `The ${kind} “${gone}” is gone. “${next}” is used instead.`;
    for (const place of ["dialog.settings", ".banners"]) {
      await page.until((place, text) => document.querySelector(place).textContent.includes(text), place, sentence);
    }
    assert.equal(await page.run((kind) => document.querySelector(`#${kind}-choice`).value, kind), rest[0]);
    if (process.env.SHOTS) await page.screenshot(`${process.env.SHOTS}/gone-${kind}.png`);
    // The device is in the list again, but it is not used without being asked for.
    await page.run((id) => window.plugIn(id), used);
    await listed(kind, all);
    assert.equal(await page.run((device) => window.inUse(device), device), rest[0]);
    await showsFrames(other);
  }
  // Without any camera left, the camera is off, and stays off when one comes.
  const used = await page.run(() => window.inUse("video"));
  for (const id of (await choices("camera")).filter((id) => id !== used)) await page.run((id) => window.unplug(id), id);
  await page.run((id) => window.unplug(id), used);
  await isOn(page, "camera", false);
  await says(page, /The camera is gone/);
  await page.run((id) => window.plugIn(id), used);
  await listed("camera", [used]);
  await page.press("Escape");
  await isOn(page, "camera", false);
  await page.click("#toggle-video");
  await isOn(page, "camera");
  await isOn(page, "microphone");
  assert.deepEqual(await uncaught(page), []);
});

test("a phone turns from its front camera to the rear one", { skip, timeout: TIMEOUT }, async (t) => {
  const { browser, url } = await serve(t);
  const page = await openRoom(browser, url, {
    viewport: { width: 360, height: 640, isMobile: true, hasTouch: true },
    before: () => {
      const { getUserMedia } = MediaDevices.prototype;
      const { getSettings } = MediaStreamTrack.prototype;
      const facings = new WeakMap();
      MediaDevices.prototype.getUserMedia = async function (constraints) {
        const facing = constraints.video?.facingMode?.exact ?? "user";
        if (constraints.video) delete constraints.video.facingMode;
        const stream = await getUserMedia.call(this, constraints);
        for (const track of stream.getVideoTracks()) facings.set(track, facing);
        return stream;
      };
      MediaStreamTrack.prototype.getSettings = function () {
        const facingMode = facings.get(this);
        return { ...getSettings.call(this), ...(facingMode && { facingMode }) };
      };
    },
  });
  await inState(page, "alone");
  await isOn(page, "camera");
  const label = () => page.run(() => document.querySelector("#turn-camera").getAttribute("aria-label"));
  await page.until(() => document.querySelector("#turn-camera"));
  assert.equal(await label(), "To the rear camera");
  await page.click("#turn-camera");
  await page.until(() => /front/.test(document.querySelector("#turn-camera").getAttribute("aria-label")));
  await page.until(() => document.querySelector("#self video")?.dataset.mirrored === "false");
  const fits = () => document.documentElement.scrollWidth <= document.documentElement.clientWidth;
  assert.ok(await page.run(fits));
  if (process.env.SHOTS) await page.screenshot(`${process.env.SHOTS}/phone-turn.png`);
  await page.click("#turn-camera");
  await page.until(() => document.querySelector("#self video")?.dataset.mirrored === "true");
});

test("a browser without devices says so, and lets one in", { skip, timeout: TIMEOUT }, async (t) => {
  const { browser, url } = await serve(t);
  for (const before of [
    () => delete Navigator.prototype.mediaDevices,
    () => delete MediaDevices.prototype.getUserMedia,
  ]) {
    const page = await browser.open(url, { before });
    await inState(page, "entry");
    await page.until(() => /offers no camera/.test(document.querySelector("#notice")?.textContent));
    await page.click("#join");
    await inState(page, "alone");
    assert.deepEqual(await uncaught(page), []);
    await page.close();
  }
});
