// How tests use the board: they draw with the mouse, and read the elements from the page.
import assert from "node:assert/strict";
import { openRoom } from "./app.mjs";

/** Opens a room, without a camera, and waits until its board is loaded. */
export async function openBoard(browser, url, options = {}) {
  const page = await openRoom(browser, url, { camera: false, ...options });
  await page.until(() => window.bimccRtc?.board);
  return page;
}

/** Waits until the page is connected with this many peers. */
export function connected(page, count) {
  return page.until((count) => {
    const peers = [...window.bimccRtc.room.peers.values()];
    return peers.length === count && peers.every(({ state }) => state === "connected");
  }, count);
}

/**
 * The same, and waits until nothing moves the view and no earlier elements arrive any more. Then strokes are where the
 * mouse was.
 */
export async function readyWith(page, count) {
  await connected(page, count);
  await page.until(() => window.bimccRtc.board.settled());
}

/** Draws with a tool: "freedraw", "rectangle", "arrow", … The points are shares of the board's width and height. */
export async function draw(page, tool, points) {
  await page.click(`[data-testid="toolbar-${tool}"]`);
  await page.drag(await onBoard(page, points));
}

/** Where these shares of the board's width and height are on the page. */
export function onBoard(page, points) {
  return page.run((points) => {
    const { left, top, width, height } = document.querySelector(".excalidraw canvas").getBoundingClientRect();
    return points.map(([x, y]) => [Math.round(left + x * width), Math.round(top + y * height)]);
  }, points);
}

/**
 * Deletes the selected shape of a type that begins at a point: like a person, who presses the key again if the page was
 * too busy to select it.
 */
export async function deleteSelected(page, type, [x, y]) {
  const isThere = () =>
    page.run(
      (type, x, y) => {
        const { width, height } = document.querySelector(".excalidraw canvas").getBoundingClientRect();
        const isNear = (element) => Math.abs(element.x - x * width) < 5 && Math.abs(element.y - y * height) < 5;
        return window.bimccRtc.board.elements().some((element) => element.type === type && isNear(element));
      },
      type,
      x,
      y,
    );
  let wasThere = false;
  for (let attempt = 0; attempt < 100; attempt++) {
    const is = await isThere();
    if (wasThere && !is) return;
    wasThere ||= is;
    if (is) await page.press("Delete");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const state = await page.run(() => {
    const { selectedElementIds, activeTool } = window.bimccRtc.board.api.getAppState();
    const { tagName, className } = document.activeElement;
    return JSON.stringify({ selectedElementIds, tool: activeTool.type, focus: `${tagName} ${className}` });
  });
  assert.fail(`the ${type} cannot be deleted: ${state}`);
}

/** A wave beginning at a point, in shares of the board. */
export function wave(x, y, length = 24) {
  return Array.from({ length }, (_, i) => [x + i * 0.008, y + 0.04 * Math.sin(i / 3)]);
}

export function elementsOf(page) {
  return page.run(() => window.bimccRtc.board.elements());
}

/** Waits until all boards have the same elements, in the same order and equal in every field, and returns them. */
export async function assertEqualBoards(pages, isDone = () => true) {
  let boards = [];
  for (let attempt = 0; attempt < 150; attempt++) {
    boards = await Promise.all(pages.map(elementsOf));
    const [first, ...others] = boards.map(sorted);
    if (isDone(boards[0]) && others.every((other) => other === first)) return boards[0];
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  for (const board of boards.slice(1)) assert.deepEqual(board, boards[0]);
  assert.fail(`the boards are equal, but not done: ${JSON.stringify(boards[0])}`);
}

/** The value as JSON, with the names of the fields sorted. */
function sorted(value) {
  return JSON.stringify(value, (_, field) =>
    field && typeof field === "object" && !Array.isArray(field)
      ? Object.fromEntries(Object.entries(field).sort(([a], [b]) => (a < b ? -1 : 1)))
      : field,
  );
}

export function problemsOf(page) {
  return page.run(() => window.bimccRtc.board.problems());
}

/** An element as Excalidraw makes it, for tests that send elements directly. */
export function rectangle(fields) {
  return {
    ...{ id: "rectangle", type: "rectangle", x: 300, y: 300, width: 80, height: 50, angle: 0, index: "a5" },
    ...{ strokeColor: "#1e1e1e", backgroundColor: "#a5d8ff", fillStyle: "solid", strokeWidth: 2 },
    ...{ strokeStyle: "solid", roundness: null, roughness: 1, opacity: 100, seed: 1, version: 1, versionNonce: 1 },
    ...{ isDeleted: false, groupIds: [], frameId: null, boundElements: null, updated: 1, link: null, locked: false },
    ...fields,
  };
}

/** Sends a message to all others, like a peer with another page. */
export function sendRaw(page, message) {
  return page.run((message) => window.bimccRtc.room.send(message), message);
}

/** Brings files to the board: "drop", "paste", or "choose" in its menu. Each is `{ name, type, text | base64 }`. */
export function bring(page, how, ...files) {
  return page.run(
    (how, files) => {
      const transfer = new DataTransfer();
      for (const { name, type, text, base64 } of files) {
        const content = base64 === undefined ? text : Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
        transfer.items.add(new File([content], name, { type }));
      }
      if (how === "choose") {
        const input = document.querySelector(".whiteboard input[type=file]");
        input.files = transfer.files;
        input.dispatchEvent(new Event("change", { bubbles: true }));
        return;
      }
      const at = { clientX: 500, clientY: 400, bubbles: true, cancelable: true };
      const event =
        how === "drop" ? new DragEvent("drop", { ...at, dataTransfer: transfer }) : new ClipboardEvent("paste", at);
      // Firefox accepts no files in an event made by a script, so this sets the property.
      if (how === "paste") Object.defineProperty(event, "clipboardData", { value: transfer });
      const target = how === "drop" ? document.querySelector(".excalidraw canvas.interactive") : document.body;
      target.dispatchEvent(event);
    },
    how,
    files,
  );
}

/** An image of noise, as base64. */
export function noise(page, width, height, type = "image/png") {
  return page.run(
    async (width, height, type) => {
      const canvas = new OffscreenCanvas(width, height);
      const context = canvas.getContext("2d");
      const pixels = context.createImageData(width, height);
      for (let i = 0; i < pixels.data.length; i++) pixels.data[i] = i % 4 === 3 ? 255 : Math.random() * 256;
      context.putImageData(pixels, 0, 0);
      const bytes = new Uint8Array(await (await canvas.convertToBlob({ type })).arrayBuffer());
      return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
    },
    width,
    height,
    type,
  );
}

export function drawingFile(name, elements, files = {}) {
  const appState = { viewBackgroundColor: "#ff0000", gridModeEnabled: true };
  return { name, type: "", text: JSON.stringify({ type: "excalidraw", version: 2, elements, appState, files }) };
}
