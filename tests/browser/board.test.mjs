// The whiteboard in real browsers: several people draw at once and get the same board, and a hostile peer does no harm.
import assert from "node:assert/strict";
import { test } from "node:test";
import { policyRefusals, seriousFindings } from "./app.mjs";
import {
  assertEqualBoards,
  deleteSelected,
  draw,
  elementsOf,
  onBoard,
  openBoard,
  problemsOf,
  readyWith,
  rectangle,
  sendRaw,
  wave,
} from "./board.mjs";
import { missing, setStage } from "./harness.mjs";

const TIMEOUT = 240_000;
const LONG = process.env.BIMCC_RTC_LONG === "1";

/** A clock that is ten minutes ahead. */
function clockAhead() {
  const Real = Date;
  const ahead = 600_000;
  window.Date = class extends Real {
    constructor(...args) {
      super(...(args.length > 0 ? args : [Real.now() + ahead]));
    }
    static now() {
      return Real.now() + ahead;
    }
  };
}

async function room(t) {
  const host = await (await setStage(t)).host();
  const server = await host.serve();
  return { host, server, url: `${server.url("127.0.0.1")}/r/board` };
}

/** Pages in separate browsers, so that all of them render frames at the same time, connected with each other. */
async function boards(host, url, kinds, options = []) {
  const pages = await Promise.all(
    kinds.map(async (kind, i) => openBoard(await host.browse(kind), url, options[i] ?? {})),
  );
  for (const page of pages) await readyWith(page, pages.length - 1);
  return pages;
}

/** Draws strokes and shapes, and moves or deletes some of them again. */
async function drawMuch(page, i) {
  const y = 0.25 + 0.15 * i;
  await draw(page, "freedraw", wave(0.3, y));
  await draw(page, "rectangle", [[0.55, y], [0.58, y + 0.04], [0.62, y + 0.08]]);
  await draw(page, "ellipse", [[0.7, y], [0.72, y + 0.04], [0.76, y + 0.08]]);
  await deleteSelected(page, "ellipse", [0.7, y]);
  await draw(page, "arrow", [[0.7, y], [0.75, y + 0.05], [0.8, y + 0.02]]);
  // Moves the rectangle, by its border, to another place.
  await page.click('[data-testid="toolbar-selection"]');
  await page.drag(await onBoard(page, [[0.55, y + 0.03], [0.56, y + 0.04], [0.57, y + 0.06]]));
}

for (const { kinds, late } of [
  { kinds: ["chromium", "chromium"], late: "chromium" },
  { kinds: ["chromium", "chromium", "chromium", "chromium"], late: "chromium" },
  { kinds: ["firefox", "chromium"], late: "firefox" },
]) {
  const skip = missing(...new Set([...kinds, late]));
  test(`${kinds.join(", ")} draw at once, one with another clock`, { skip, timeout: TIMEOUT }, async (t) => {
    const { host, url } = await room(t);
    const pages = await boards(host, url, kinds, [{ before: clockAhead }]);
    const skew = await pages[0].run((now) => Date.now() - now, Date.now());
    assert.ok(skew > 500_000, `the first clock is ${skew} ms ahead`);

    await Promise.all(pages.map(drawMuch));
    const board = await assertEqualBoards(pages, (elements) => elements.length === 3 * kinds.length);
    const count = (type) => board.filter((element) => element.type === type).length;
    for (const type of ["freedraw", "rectangle", "arrow"]) assert.equal(count(type), kinds.length, type);
    // A busy browser joins several moves of the mouse into one.
    assert.ok(board.filter(({ type }) => type === "freedraw").every(({ points }) => points.length > 2));

    const newcomer = await openBoard(await host.browse(late), url);
    await assertEqualBoards([newcomer, ...pages], (elements) => elements.length === board.length);
    for (const page of [newcomer, ...pages]) assert.deepEqual(await problemsOf(page), []);
  });
}

test("the server is killed while two draw: they go on, and find each other again", {
  skip: missing("chromium"),
  timeout: TIMEOUT,
}, async (t) => {
  const { host, server, url } = await room(t);
  const pages = await boards(host, url, ["chromium", "chromium"]);
  const id = (page) => page.run(() => window.bimccRtc.room.id);
  const ids = await Promise.all(pages.map(id));
  await server.kill();
  await Promise.all(pages.map(drawMuch));
  for (const page of pages) await page.until(() => window.bimccRtc.room.state === "reconnecting");
  const apart = await assertEqualBoards(pages, (elements) => elements.length >= 4);
  await new Promise((resolve) => setTimeout(resolve, LONG ? 10_000 : 1_000));
  await server.restart();
  for (const page of pages) await page.until(() => window.bimccRtc.room.state === "joined");
  assert.deepEqual(await Promise.all(pages.map(id)), ids);
  await draw(pages[1], "freedraw", wave(0.3, 0.7));
  await assertEqualBoards(pages, (elements) => elements.length === apart.length + 1);
});

test("one whose network was cut gets what was drawn meanwhile, and gives what it drew", {
  skip: missing("chromium", "namespaces", "nft"),
  timeout: TIMEOUT,
}, async (t) => {
  const { server: host, alice, bob } = await (await setStage(t)).lan("server", "alice", "bob");
  const server = await host.serve();
  const pages = [];
  for (const client of [alice, bob]) pages.push(await openBoard(await client.browse("chromium"), `${server.url()}/r/board`));
  for (const page of pages) await readyWith(page, 1);
  await drawMuch(pages[0], 0);
  const before = await assertEqualBoards(pages, (elements) => elements.length >= 2);
  const restore = await alice.cutOff();
  for (const page of pages) await draw(page, "freedraw", wave(0.3, 0.6));
  await new Promise((resolve) => setTimeout(resolve, LONG ? 60_000 : 6_000));
  for (const page of pages) assert.equal((await elementsOf(page)).length, before.length + 1);
  await restore();
  await assertEqualBoards(pages, (elements) => elements.length === before.length + 2);
});

test("what another draws is seen while it is drawn, and so is the pointer", { skip: missing("chromium"), timeout: TIMEOUT }, async (t) => {
  const { host, url } = await room(t);
  const [first, second] = await boards(host, url, ["chromium", "chromium"]);
  await draw(first, "freedraw", wave(0.3, 0.3, 60));
  await second.until(() => window.bimccRtc.board.elements().length === 1);
  const lengths = second.run(async () => {
    const seen = new Set();
    for (let i = 0; i < 600 && seen.size < 4; i++) {
      for (const { points } of window.bimccRtc.board.elements()) seen.add(points.length);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    return seen.size;
  });
  await first.drag(await onBoard(first, wave(0.3, 0.6, 400).map(([x, y]) => [0.3 + ((x - 0.3) % 0.4), y])));
  assert.ok((await lengths) >= 4, "the stroke grows before the other's eyes");
  const id = await first.run(() => window.bimccRtc.room.id);
  await second.until((id) => window.bimccRtc.board.api.getAppState().collaborators.get(id)?.pointer, id);

  await first.close();
  await second.until((id) => !window.bimccRtc.board.api.getAppState().collaborators.has(id), id);
});

test("images come as files; fonts, also Chinese ones, and exports need no other host", { skip: missing("chromium"), timeout: TIMEOUT }, async (t) => {
  const { host, url } = await room(t);
  const [first, second] = await boards(host, url, ["chromium", "chromium"]);
  await first.run(async () => {
    const canvas = new OffscreenCanvas(2000, 1000);
    const context = canvas.getContext("2d");
    context.fillStyle = "teal";
    context.fillRect(100, 100, 1500, 500);
    const file = new File([await canvas.convertToBlob({ type: "image/png" })], "teal.png", { type: "image/png" });
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(file);
    const at = { clientX: 500, clientY: 400, bubbles: true, cancelable: true };
    document.querySelector(".excalidraw canvas.interactive").dispatchEvent(new DragEvent("drop", { ...at, dataTransfer }));
  });
  await second.until(() => {
    const [image] = window.bimccRtc.board.elements();
    return window.bimccRtc.board.files().includes(image?.fileId);
  });
  const [{ fileId }] = await assertEqualBoards([first, second]);
  assert.match(fileId, /^[0-9a-f]{64}$/);
  const bytes = (page) => page.run((id) => window.bimccRtc.board.api.getFiles()[id].dataURL, fileId);
  assert.equal(await bytes(second), await bytes(first));

  await first.click('[data-testid="toolbar-text"]');
  await first.drag(await onBoard(first, [[0.3, 0.8], [0.3, 0.8]]));
  await first.type("早上好 good morning");
  await first.press("Escape");
  await assertEqualBoards([first, second], (elements) => elements.some(({ text }) => text === "早上好 good morning"));
  for (const page of [first, second]) {
    await page.until(() => performance.getEntriesByType("resource").some(({ name }) => name.includes("/Xiaolai/")));
  }
  // This makes subsets of the fonts, in a worker with WebAssembly.
  await second.click('[data-testid="main-menu-trigger"]');
  await second.click('[data-testid="image-export-button"]');
  await second.click('.ImageExportModal button[aria-label="Export to SVG"]');
  await second.until(() => performance.getEntriesByType("resource").some(({ name }) => name.includes("subset-worker")));

  const hosts = new Set();
  for (const page of [first, second]) {
    for (const request of await page.requests()) {
      if (/^(https?|wss?):/.test(request)) hosts.add(new URL(request).host);
    }
    assert.deepEqual(await policyRefusals(page), []);
  }
  assert.deepEqual([...hosts], [new URL(url).host]);
});

for (const colorScheme of ["light", "dark"]) {
  test(`nothing on the board hinders people, by axe-core: ${colorScheme}`, { skip: missing("chromium"), timeout: TIMEOUT }, async (t) => {
    const { host, url } = await room(t);
    const browser = await host.browse("chromium");
    for (const viewport of [{ width: 1280, height: 800 }, { width: 390, height: 844, isMobile: true, hasTouch: true }]) {
      const page = await openBoard(browser, url, { viewport, colorScheme });
      const look = async (where) => assert.deepEqual(await seriousFindings(page), [], `${where}, ${viewport.width} wide`);
      await look("empty");
      await draw(page, "rectangle", [[0.2, 0.3], [0.3, 0.35], [0.4, 0.4]]);
      await look("a shape is chosen");
      await page.click('[data-testid="toolbar-text"]');
      await page.drag(await onBoard(page, [[0.5, 0.6], [0.5, 0.6]]));
      await page.type("text");
      await look("text is written");
      await page.press("Escape");
      await look("a text is chosen");
      await page.click('[data-testid="main-menu-trigger"]');
      await look("menu");
      await page.click('[data-testid="image-export-button"]');
      await page.until(() => document.querySelector(".ImageExportModal"));
      await look("export");
      const isSwitch = () => {
        const switches = [...document.querySelectorAll(".ImageExportModal .Switch")];
        return switches.length > 0 && switches.every((e) => e.querySelector("input").offsetHeight <= e.offsetHeight + 2);
      };
      assert.ok(await page.run(isSwitch), "the page's own styles leave the board's fields alone");
      await page.press("Escape");
      await page.press("Shift+Slash");
      await look("help");
      await page.close();
    }
  });
}

for (const [how, text] of [["typed", "龘靐齉爩鱻麤"], ["typed", "早上好早上好"], ["pasted", "驫鬱籲灣"]]) {
  test(`a text in a font that comes late is measured by it: ${text}, ${how}`, { skip: missing("chromium"), timeout: TIMEOUT }, async (t) => {
    const { host, url } = await room(t);
    const [page, other] = await boards(host, url, ["chromium", "chromium"]);
    const isHeld = await page.hold("/Xiaolai/");
    if (how === "typed") {
      await page.click('[data-testid="toolbar-text"]');
      await page.drag(await onBoard(page, [[0.3, 0.5], [0.3, 0.5]]));
      await page.type(text);
      await page.press("Escape");
    } else {
      await page.drag(await onBoard(page, [[0.5, 0.6], [0.5, 0.6]]));
      await page.run((text) => {
        const event = new ClipboardEvent("paste", { bubbles: true, cancelable: true, clipboardData: new DataTransfer() });
        event.clipboardData.setData("text/plain", text);
        document.dispatchEvent(event);
      }, text);
    }
    await page.until(() => window.bimccRtc.board.elements().length === 1);
    const release = await isHeld();
    const [before] = await elementsOf(page);
    await release();
    await page.until(() => document.fonts.status === "loaded");
    const width = () => {
      const [{ text, fontSize, width }] = window.bimccRtc.board.elements();
      const context = document.createElement("canvas").getContext("2d");
      context.font = `${fontSize}px Excalifont, Xiaolai, sans-serif, "Segoe UI Emoji"`;
      return Math.abs(context.measureText(text).width - width) < 1 && width;
    };
    const after = await page.until(width);
    t.diagnostic(`${before.width} wide before, ${after} after`);
    await assertEqualBoards([page, other], ([element]) => element.width === after);
  });
}

test("every stop of the Tab key is seen", { skip: missing("chromium"), timeout: TIMEOUT }, async (t) => {
  const { host, url } = await room(t);
  const page = await openBoard(await host.browse("chromium"), url);
  await page.run(() => document.querySelector("#board").querySelector("input, button").focus());
  const stops = [];
  for (let i = 0; i < 60; i++) {
    const stop = await page.run(() => {
      const element = document.activeElement;
      if (!element?.closest("#board")) return undefined;
      // Inputs of buttons are invisible inside their labels.
      const seen = element.closest("label") ?? element;
      const { width, height } = seen.getBoundingClientRect();
      const name = element.getAttribute("aria-label") ?? element.title ?? element.textContent;
      return { name, isSeen: width > 1 && height > 1 && seen.checkVisibility({ opacityProperty: true }) };
    });
    if (stop) stops.push(stop);
    else if (stops.length > 0) break;
    await page.press("Tab");
  }
  assert.ok(stops.length >= 5, JSON.stringify(stops));
  assert.deepEqual(stops.filter(({ isSeen }) => !isSeen), []);
  assert.deepEqual(stops.filter(({ name }) => name === "Library"), []);
});

test("a board that breaks leaves the rest of the page alone", { skip: missing("chromium"), timeout: TIMEOUT }, async (t) => {
  const { host, url } = await room(t);
  const page = await openBoard(await host.browse("chromium"), url);
  await draw(page, "rectangle", [[0.4, 0.4], [0.5, 0.5], [0.6, 0.6]]);
  await page.run(() => {
    try {
      window.bimccRtc.board.api.updateScene({ appState: { activeTool: null } });
    } catch {
      // Excalidraw may notice at once.
    }
  });
  await page.until(() => document.querySelector(".whiteboard [role=alert] button"));
  assert.equal(await page.run(() => document.body.dataset.state), "alone");
});

test("the board of one who is alone survives a reload, and takes a file in", { skip: missing("chromium"), timeout: TIMEOUT }, async (t) => {
  const { host, url } = await room(t);
  const page = await openBoard(await host.browse("chromium"), url);
  await draw(page, "rectangle", [[0.4, 0.4], [0.5, 0.5], [0.6, 0.6]]);
  const before = await elementsOf(page);
  assert.equal(before.length, 1);
  await page.navigate(() => location.reload());
  await page.click("#join-without, #join");
  await page.until(() => window.bimccRtc?.board?.elements().length === 1);
  assert.deepEqual(await elementsOf(page), before);

  await page.run((elements) => {
    const drawing = JSON.stringify({ type: "excalidraw", version: 2, elements, appState: {}, files: {} });
    const chosen = new DataTransfer();
    chosen.items.add(new File([drawing], "one.excalidraw"));
    const input = document.querySelector(".whiteboard input[type=file]");
    input.files = chosen.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  }, [rectangle({ id: "from-file" })]);
  await page.until(() => window.bimccRtc.board.elements().length === 2);
  await page.click('.excalidraw button[aria-label="Undo"]');
  await page.until(() => window.bimccRtc.board.elements().length === 1);
  assert.deepEqual(await problemsOf(page), []);
});

test("a hostile peer is refused and named, and pins nothing", { skip: missing("chromium"), timeout: TIMEOUT }, async (t) => {
  const { host, url } = await room(t);
  const [honest, hostile, other] = await boards(host, url, ["chromium", "chromium", "chromium"]);
  const id = await hostile.run(() => window.bimccRtc.room.id);
  await draw(honest, "rectangle", [[0.4, 0.4], [0.5, 0.5], [0.6, 0.6]]);
  const [drawn] = await assertEqualBoards([honest, hostile, other], (elements) => elements.length === 1);

  const update = (...elements) => sendRaw(hostile, { kind: "board/update", elements });
  const named = (reason) =>
    honest.until(
      (id, reason) => window.bimccRtc.board.problems().some((text) => text.startsWith(id) && text.endsWith(reason)),
      id,
      reason,
    );
  await update({ ...drawn, version: 2 ** 31 - 1, isDeleted: true });
  await named("version out of range");
  await update({ ...drawn, version: 1e300 }, { ...drawn, version: Number.MAX_SAFE_INTEGER });
  await update(rectangle({ id: "far", x: 1e300 }));
  await named("x out of range");
  await update(rectangle({ id: "page", type: "embeddable", link: "https://example.org/" }));
  await named("type embeddable");
  await update(rectangle({ id: "frame", type: "iframe", customData: { generationData: { status: "done", html: "<script>" } } }));
  await named("type iframe");
  await update(...Array.from({ length: 20_001 }, (_, i) => ({ id: `n${i}` })));
  await named("refused: too many elements");
  await sendRaw(hostile, { kind: "board/update", elements: [], filler: "x".repeat(2_200_000) });
  await named("over 2 MB");
  await update(rectangle({ id: "link", link: "javascript:alert(1)" }));
  await honest.until(() => window.bimccRtc.board.elements().some(({ id, link }) => id === "link" && link === null));

  // The highest version that is accepted: a person who moves the element next still moves it for everybody.
  await update({ ...drawn, version: 2 ** 24 - 1 });
  await honest.until(() => window.bimccRtc.board.elements().some(({ version }) => version === 2 ** 24 - 1));
  await honest.click('[data-testid="toolbar-selection"]');
  await honest.drag(await onBoard(honest, [[0.4, 0.45], [0.35, 0.45], [0.3, 0.45]]));
  await assertEqualBoards([honest, other, hostile], (elements) =>
    elements.some((element) => element.id !== drawn.id && element.width === drawn.width && element.x < drawn.x - 10),
  );

  // A thousand messages a second: the page still draws, and stays equal to the third page.
  const flood = hostile.run(async (element) => {
    for (let second = 0; second < 4; second++) {
      for (let i = 0; i < 1000; i++) {
        const version = second * 1000 + i + 2;
        void window.bimccRtc.room.send({ kind: "board/update", elements: [{ ...element, version, x: i }] });
        if (i % 50 === 49) await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }, rectangle({ id: "flood" }));
  await draw(honest, "freedraw", wave(0.3, 0.7));
  await named("sends more than a board can take");
  await flood;
  await assertEqualBoards([honest, other], (elements) => elements.some(({ type }) => type === "freedraw"));
});
