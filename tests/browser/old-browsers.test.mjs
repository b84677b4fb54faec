// Browsers that lack what newer ones have, and parts of the page that break: people in a call stay in it, and can leave
// it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { enter, fill, hears, inState, offerFile, openPanel, openRoom, say, takeFile } from "./app.mjs";
import { draw } from "./board.mjs";
import { missing, setStage } from "./harness.mjs";

const TIMEOUT = 180_000;
const LONG = process.env.BIMCC_RTC_LONG === "1";
const skip = missing("chromium");

async function serve(t) {
  const host = await (await setStage(t)).host();
  const server = await host.serve();
  return { host, url: `${server.url("127.0.0.1")}/r/old` };
}

/** A function that runs before the page's own scripts, made from a statement. */
const before = (statement) => ({ toString: () => `() => { ${statement} }` });

async function pageErrors(page) {
  return (await page.console()).filter((line) => /^uncaught|could not be shown|has stopped/.test(line));
}

/** Features that are removed in the page, so that no code can use them. */
const NEW = [
  "URL.canParse",
  "Array.prototype.toSpliced",
  "Promise.withResolvers",
  "structuredClone",
  "crypto.randomUUID",
  "Array.prototype.findLast",
  "AbortSignal.any",
  "ResizeObserver",
];
const MORE_NEW = [
  "URL.parse",
  "Array.prototype.toSorted",
  "Array.prototype.at",
  "Object.groupBy",
  "Object.hasOwn",
  "AbortSignal.timeout",
  "String.prototype.isWellFormed",
  "String.prototype.replaceAll",
  "Set.prototype.union",
  "ArrayBuffer.prototype.transfer",
  "queueMicrotask",
  "reportError",
  "requestIdleCallback",
  "navigator.permissions",
  "navigator.clipboard",
];

function without(name) {
  const path = name.split(".");
  const holder = ["globalThis", ...path.slice(0, -1)].join("?.");
  return before(`
    const last = ${JSON.stringify(path.at(-1))};
    for (let holder = ${holder}; holder; holder = Object.getPrototypeOf(holder)) delete holder[last];
    if (${holder}?.[last] !== undefined) console.log("uncaught: still there");
  `);
}

/** Joins, chats with links, draws, sends a file and leaves. */
async function mainPath(page, other, name) {
  await inState(page, "joined");
  await say(page, `from ${name}: https://example.org/a_(b), www.example.org`);
  await hears(other, `from ${name}: https://example.org/a_(b)`);
  await say(other, `to ${name}: https://example.org/c`);
  await page.until(() => document.querySelector('#chat-log a[href="https://example.org/c"]'));
  await offerFile(other, `${name}.txt`, "x", 1000);
  assert.equal((await takeFile(page, `${name}.txt`)).size, 1000);
  await page.click("#close-panel");
  // A board that does not start says so, and the call continues.
  const board = await page.until(() =>
    window.bimccRtc?.board ? "there" : /whiteboard has stopped/i.test(document.querySelector("#board")?.textContent) && "gone",
  );
  if (board === "there") {
    await draw(page, "rectangle", [[0.3, 0.3], [0.4, 0.4], [0.5, 0.5]]);
    await page.until(() => window.bimccRtc.board.elements().length > 0);
  }
  await page.click("#toggle-audio");
  await page.click("#leave");
  await inState(page, "left");
  return board;
}

// Two people for all cases: one keeps the browser, the other one comes again and again without one of the features.
test("what newer browsers have is not needed: room, links, board, file, leaving", { skip, timeout: TIMEOUT * 3 }, async (t) => {
  const { host, url } = await serve(t);
  const other = await openRoom(await host.browse("chromium"), `${url}?name=Bob`, { camera: false });
  await inState(other, "alone");
  const browser = await host.browse("chromium");
  for (const name of LONG ? [...NEW, ...MORE_NEW] : NEW) {
    const page = await openRoom(browser, `${url}?name=${name}`, { before: without(name) });
    const board = await mainPath(page, other, name);
    assert.deepEqual(await pageErrors(page), [], name);
    t.diagnostic(`without ${name} the board is ${board}`);
    assert.equal(board, "there", name);
    await page.close();
    await inState(other, "alone");
    await other.run(() => window.bimccRtc.board.api.updateScene({ elements: [] }));
  }
});

test("a browser that cannot even begin is told so", { skip, timeout: TIMEOUT }, async (t) => {
  const { host, url } = await serve(t);
  const browser = await host.browse("chromium");
  const page = await browser.open(url, { before: without("MediaStream") });
  await inState(page, "broken");
  assert.match(await page.run(() => document.body.textContent), /Chrome, Edge, Firefox and Safari/);
  // A browser that cannot run the program at all.
  const older = await browser.open(url, { before: without("matchMedia") });
  await older.until(() => getComputedStyle(document.querySelector(".start")).visibility === "visible");
  assert.match(await older.run(() => document.querySelector(".start").textContent), /too old/);
});

test("an entry that cannot be shown leaves the others, and names whose it is", { skip, timeout: TIMEOUT }, async (t) => {
  const { host, url } = await serve(t);
  const bob = await openRoom(await host.browse("chromium"), `${url}?name=Bob`, { camera: false });
  const ada = await openRoom(await host.browse("chromium"), `${url}?name=Ada`, {
    camera: false,
    before: before(`
      const show = RegExp.prototype[Symbol.matchAll];
      RegExp.prototype[Symbol.matchAll] = function (text) {
        if (window.breaks && String(text).includes("break")) throw new Error("as if it could not be shown");
        return show.call(this, text);
      };
      window.breaks = true;
    `),
  });
  await inState(ada, "joined");
  await openPanel(ada, "chat");
  await say(bob, "before");
  await say(bob, "break this");
  await say(bob, "after");
  await ada.until(() => document.querySelector("#chat-log .broken")?.textContent.includes("Bob"));
  await hears(ada, "before");
  await hears(ada, "after");
  await ada.run(() => {
    window.breaks = false;
  });
  await ada.click("#chat-log .broken .retry");
  await hears(ada, "break this");
  await say(ada, "I am still here");
  await hears(bob, "I am still here");
});

test("a panel and a picture that break leave the call, and can be tried again", { skip, timeout: TIMEOUT }, async (t) => {
  const { host, url } = await serve(t);
  const ada = await openRoom(await host.browse("chromium"), `${url}?name=Ada`);
  const bob = await openRoom(await host.browse("chromium"), `${url}?name=Bob`);
  for (const page of [ada, bob]) await inState(page, "joined");
  await ada.run(() => {
    const show = Element.prototype.scrollTo;
    window.mend = () => {
      Element.prototype.scrollTo = show;
    };
    Element.prototype.scrollTo = () => {
      throw new Error("as if it could not be shown");
    };
  });
  await openPanel(ada, "chat");
  await ada.until(() => document.querySelector("#panel .broken"));
  await ada.click("#toggle-audio");
  await bob.until(() => document.querySelector('.tile[data-own="false"][data-muted="true"]'));
  await ada.run(() => window.mend());
  await ada.click("#panel .broken .retry");
  await say(ada, "the chat is back");
  await hears(bob, "the chat is back");

  await bob.run(() => {
    const { srcObject } = Object.getOwnPropertyDescriptors(HTMLMediaElement.prototype);
    window.mend = () => {
      Object.defineProperty(HTMLMediaElement.prototype, "srcObject", srcObject);
    };
    const refuse = () => {
      throw new Error("as if it could not be shown");
    };
    Object.defineProperty(HTMLMediaElement.prototype, "srcObject", { ...srcObject, set: refuse });
  });
  // The camera, which was off, gives a new picture.
  await ada.click("#toggle-screen");
  await bob.until(() => document.querySelector(".tile .broken"));
  await bob.run(() => window.mend());
  await bob.click(".tile .broken .retry");
  await bob.until(() => !document.querySelector(".tile .broken") && document.querySelector('.tile[data-kind="screen"] video'));
  await bob.click("#leave");
  await inState(bob, "left");
});

test("a page that breaks as a whole keeps mute, camera and leave", { skip, timeout: TIMEOUT }, async (t) => {
  const { host, url } = await serve(t);
  const ada = await openRoom(await host.browse("chromium"), `${url}?name=Ada`);
  await inState(ada, "alone");
  await ada.run(() => {
    const { body } = document;
    window.mend = () => delete body.dataset;
    Object.defineProperty(body, "dataset", {
      configurable: true,
      get() {
        throw new Error("as if it could not be shown");
      },
    });
  });
  const bob = await openRoom(await host.browse("chromium"), `${url}?name=Bob`);
  await ada.until(() => document.querySelector("h1")?.textContent === "This page has stopped");
  await bob.until(() => document.querySelector('.tile[data-own="false"][data-muted="false"]'));
  await ada.click("#toggle-audio");
  await bob.until(() => document.querySelector('.tile[data-own="false"][data-muted="true"]'));
  await ada.click("#toggle-video");
  await bob.until(() => document.querySelector('.tile[data-own="false"] .avatar'));
  await ada.run(() => window.mend());
  await ada.click(".retry");
  await ada.until(() => document.querySelector("#board"));
  await say(ada, "the page is back");
  await hears(bob, "the page is back");
  await ada.run(() => {
    Object.defineProperty(document.body, "dataset", {
      configurable: true,
      get() {
        throw new Error("as if it could not be shown");
      },
    });
  });
  await bob.close();
  await ada.until(() => document.querySelector("h1")?.textContent === "This page has stopped");
  await ada.click("#leave");
  const tracks = await ada.until(() => !window.bimccRtc?.room && "none");
  assert.equal(tracks, "none");
});

test("Enter that ends a composition sends nothing, whatever the browser calls it", { skip, timeout: TIMEOUT }, async (t) => {
  const { host, url } = await serve(t);
  const page = await openRoom(await host.browse("chromium"), `${url}?name=Ada`, { camera: false });
  await inState(page, "alone");
  await openPanel(page, "chat");
  const press = (selector, options) =>
    page.run(
      (selector, options) => {
        const field = document.querySelector(selector);
        field.dispatchEvent(new KeyboardEvent("keydown", { bubbles: true, cancelable: true, key: "Enter", ...options }));
        return field.value;
      },
      selector,
      options,
    );
  await fill(page, "#chat-text", "にほ");
  for (const options of [{ keyCode: 229 }, { keyCode: 229, isComposing: true }, { keyCode: 13, isComposing: true }]) {
    assert.equal(await press("#chat-text", options), "にほ", JSON.stringify(options));
  }
  await page.until(() => document.querySelectorAll("#chat-log .message").length === 0);
  await press("#chat-text", { keyCode: 13 });
  await page.until(() => document.querySelector("#chat-text").value === "");
  await hears(page, "にほ");
  await openPanel(page, "people");
  await fill(page, "#name", "あだ");
  await press("#name", { keyCode: 229 });
  assert.equal(await page.run(() => window.bimccRtc.room.name), "Ada");
  await press("#name", { keyCode: 13 });
  await page.until(() => window.bimccRtc.room.name === "あだ");
});

test("a name that no room can have is refused while it is typed, and at its door", { skip, timeout: TIMEOUT }, async (t) => {
  const { host, url } = await serve(t);
  const browser = await host.browse("chromium");
  const lobby = await browser.open(new URL("/", url).href);
  await inState(lobby, "lobby");
  for (const [name, words] of [
    ["x".repeat(129), "too long"],
    ["教".repeat(43), "too long"],
    ["a\u0007b", "cannot be seen"],
  ]) {
    await fill(lobby, "#room-name", name);
    await lobby.until((words) => document.querySelector('#room-hint[role="alert"]')?.textContent.includes(words), words);
    await lobby.press("Enter");
    assert.equal(await lobby.run(() => document.body.dataset.state), "lobby");
    const room = await browser.open(new URL(`/r/${encodeURIComponent(name)}`, url).href);
    await inState(room, "refused");
    await room.until((words) => document.querySelector("#state").textContent.includes(words), words);
    await room.close();
  }
  await fill(lobby, "#room-name", ` ${"x".repeat(128)} `);
  await lobby.until(() => !document.querySelector('#room-hint[role="alert"]'));
  await lobby.navigate(() => document.querySelector("#lobby-form").requestSubmit());
  await enter(lobby, { camera: false });
  await inState(lobby, "alone");
});
