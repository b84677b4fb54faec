// How tests use the app: they look at and press what a person would, by the page's own ids.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import jsQR from "jsqr";

/** Opens a room, and goes in unless told to wait at the door. */
export async function openRoom(browser, url, { camera = true, ...options } = {}) {
  const page = await browser.open(url, options);
  await enter(page, { camera });
  return page;
}

/** Goes through the entry page, with or without camera and microphone. */
export async function enter(page, { camera = true } = {}) {
  await inState(page, "entry");
  const canHaveCamera = await page.run(() => document.querySelector("#join-without") !== null);
  await page.click(camera || !canHaveCamera ? "#join" : "#join-without");
}

export function inState(page, ...states) {
  return page.until((states) => states.includes(document.body.dataset.state), states);
}

/** Puts text into a field as typing does. */
export async function fill(page, selector, text) {
  await page.until((selector) => document.querySelector(selector), selector);
  await page.run(
    (selector, text) => {
      const field = document.querySelector(selector);
      field.focus();
      // React only notices changes that it did not make itself; calling the setter of the prototype makes such a
      // change.
      Object.getOwnPropertyDescriptor(Object.getPrototypeOf(field), "value").set.call(field, text);
      field.dispatchEvent(new Event("input", { bubbles: true }));
    },
    selector,
    text,
  );
}

/** Opens a panel, if it is not open: "chat", "people" or "invite". */
export async function openPanel(page, panel) {
  const button = `#open-${panel}`;
  await page.until((button) => document.querySelector(button), button);
  const isOpen = (button) => document.querySelector(button).getAttribute("aria-expanded") === "true";
  if (!(await page.run(isOpen, button))) await page.click(button);
  await page.until(isOpen, button);
}

export async function rename(page, name) {
  await openPanel(page, "people");
  await fill(page, "#name", name);
  await page.press("Enter");
}

export async function say(page, text) {
  await openPanel(page, "chat");
  await fill(page, "#chat-text", text);
  await page.press("Enter");
}

export async function hears(page, text) {
  await openPanel(page, "chat");
  await page.until((text) => document.querySelector("#chat-log").textContent.includes(text), text);
}

/** Whether the page shows new frames of another's camera, or screen. */
export function showsFrames(page, kind = "camera") {
  return page.until((kind) => {
    const video = document.querySelector(`.tile[data-own="false"][data-kind="${kind}"] video:not([data-hidden="true"])`);
    if (!video) return false;
    return new Promise((resolve) => {
      video.requestVideoFrameCallback(() => resolve(true));
      setTimeout(() => resolve(false), 2000);
    });
  }, kind);
}

/** The texts of the others' camera tiles. */
export function tileTexts(page, part) {
  return page.run(
    (part) =>
      [...document.querySelectorAll(`.tile[data-own="false"][data-kind="camera"] ${part}`)].map((e) => e.textContent),
    part,
  );
}

/** Chooses files for sending, made of text that repeats. */
export async function offerFile(page, name, text, times) {
  await openPanel(page, "chat");
  await page.run(
    (name, text, times) => {
      const input = document.querySelector("#file-input");
      const files = new DataTransfer();
      files.items.add(new File([text.repeat(times)], name));
      input.files = files.files;
      input.dispatchEvent(new Event("change", { bubbles: true }));
    },
    name,
    text,
    times,
  );
}

/** Accepts an offered file, and returns the name, size and SHA-256 of what can then be saved. */
export async function takeFile(page, name) {
  await openPanel(page, "chat");
  const entry = (name) => [...document.querySelectorAll("#chat-log .file")].find((e) => e.textContent.includes(name));
  await page.until(entry, name);
  // The page may not fetch its own object URLs, so the data for saving is caught where it is made.
  await page.run(() => {
    window.madeForSaving ??= new Map();
    const make = URL.createObjectURL.bind(URL);
    URL.createObjectURL = (blob) => {
      const url = make(blob);
      window.madeForSaving.set(url, blob);
      return url;
    };
  });
  await page.click('#chat-log .file[data-state="offered"] .accept');
  return page.until(async (name) => {
    const link = [...document.querySelectorAll("#chat-log a[download]")].find((a) => a.download === name);
    if (!link) return undefined;
    const bytes = await window.madeForSaving.get(link.href).arrayBuffer();
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    const sha256 = [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    return { name: link.download, size: bytes.byteLength, sha256 };
  }, name);
}

/** What a phone reads from the QR code that the page shows. */
export async function readQrCode(page) {
  const { width, data } = await page.run(async () => {
    const svg = document.querySelector("svg.qr").cloneNode(true);
    const [, , width] = svg.getAttribute("viewBox").split(" ").map((side) => Number(side) * 4);
    svg.setAttribute("xmlns", "http://www.w3.org/2000/svg");
    svg.setAttribute("width", width);
    svg.setAttribute("height", width);
    const image = new Image();
    image.src = `data:image/svg+xml,${encodeURIComponent(svg.outerHTML)}`;
    await image.decode();
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = width;
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    return { width, data: [...context.getImageData(0, 0, width, width).data] };
  });
  return jsQR(Uint8ClampedArray.from(data), width, width)?.data;
}

const axeSource = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** The serious problems that axe-core finds, one per line. */
export async function seriousFindings(page) {
  await page.run({ toString: () => `() => { ${axeSource} }` });
  return page.run(async () => {
    const { violations } = await window.axe.run(document, { resultTypes: ["violations"] });
    return violations
      .filter(({ impact }) => impact === "serious" || impact === "critical")
      .flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html}\n${failureSummary}`));
  });
}

/** By how much the page is wider than its window, which makes phones scroll sideways. */
export function sidewaysScroll(page) {
  return page.run(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
}

/** Addresses that the page loaded anything from, other than its own. */
export function foreignRequests(page) {
  return page.run(() =>
    performance
      .getEntriesByType("resource")
      .map(({ name }) => name)
      .filter((name) => /^(https?|wss?):/.test(name) && new URL(name).host !== location.host),
  );
}

/** What the page's Content-Security-Policy has blocked, according to the console. */
export async function policyRefusals(page) {
  return (await page.console()).filter((line) => /Content.Security.Policy/i.test(line));
}
