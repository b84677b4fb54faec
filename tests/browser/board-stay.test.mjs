// What remains of a board when people come, leave and come back, in real browsers.
import assert from "node:assert/strict";
import { test } from "node:test";
import { inState, seriousFindings } from "./app.mjs";
import { assertEqualBoards, bring, drawingFile, elementsOf, noise, openBoard, readyWith, rectangle } from "./board.mjs";
import { missing, setStage } from "./harness.mjs";

const TIMEOUT = 240_000;

async function room(t) {
  const host = await (await setStage(t)).host();
  const server = await host.serve();
  return { host, url: `${server.url("127.0.0.1")}/r/board` };
}

const text = (page) => page.run(() => document.querySelector("#state").textContent);

for (const kind of ["chromium", "firefox"]) {
  test(`all leave, and the same tab comes back: the images are there, and who left last could save all of it: ${kind}`, {
    skip: missing(kind, "chromium"),
    timeout: TIMEOUT,
  }, async (t) => {
    const { host, url } = await room(t);
    const page = await openBoard(await host.browse(kind), url);
    const other = await openBoard(await host.browse("chromium"), url);
    for (const each of [page, other]) await readyWith(each, 1);
    for (const name of ["one.png", "two.png"]) {
      await bring(page, "drop", { name, type: "image/png", base64: await noise(page, 50, 50) });
    }
    await other.until(() => window.bimccRtc.board.files().length === 2);
    const before = await assertEqualBoards([page, other], (elements) => elements.length === 2);

    await other.click("#leave");
    await inState(other, "left");
    assert.match(await text(other), /One other person is still there\.$/);
    assert.equal(await other.run(() => document.querySelector("#save-board")), null);
    await page.until(() => window.bimccRtc.room.peers.size === 0);
    assert.equal(await page.run(() => document.querySelector(".alone")), null, "the board is not covered");

    // The reload matters, because afterwards only the stored data is left.
    const kept = () => page.run(async () => {
      const database = await new Promise((resolve) => {
        const request = indexedDB.open("bimcc-rtc.board-images");
        request.onsuccess = () => resolve(request.result);
      });
      const count = await new Promise((resolve) => {
        const request = database.transaction("images").objectStore("images").count();
        request.onsuccess = () => resolve(request.result);
      });
      database.close();
      return count;
    });
    while ((await kept()) < 2) await new Promise((resolve) => setTimeout(resolve, 100));
    await page.click("#leave");
    await inState(page, "left");
    assert.match(await text(page), /Nobody else is in the room\.$/);
    await page.until(() => document.querySelector("#save-board"));
    await page.run(() => {
      const original = URL.createObjectURL;
      URL.createObjectURL = (blob) => original.call(URL, (window.saved = blob));
      HTMLAnchorElement.prototype.click = function () {
        window.savedAs = this.download;
      };
    });
    await page.click("#save-board");
    await page.until(() => window.savedAs);
    const saved = await page.run(async () => ({ name: window.savedAs, drawing: JSON.parse(await window.saved.text()) }));
    assert.equal(saved.name, "board.excalidraw");
    assert.equal(saved.drawing.elements.length, 2);
    assert.deepEqual(Object.keys(saved.drawing.files).sort(), before.map(({ fileId }) => fileId).sort());

    await page.navigate(() => location.reload());
    await page.click("#join-without, #join");
    await page.until(() => window.bimccRtc?.board?.files().length === 2);
    assert.deepEqual(await elementsOf(page), before);
    // Others can open the saved file.
    const late = await openBoard(await host.browse("chromium"), url.replace("board", "elsewhere"));
    await bring(late, "choose", { name: saved.name, type: "", text: JSON.stringify(saved.drawing) });
    await late.until(() => window.bimccRtc.board.files().length === 2 && window.bimccRtc.board.elements().length === 2);
  });
}

test("whoever comes late sees all of the board", { skip: missing("chromium"), timeout: TIMEOUT }, async (t) => {
  const { host, url } = await room(t);
  const page = await openBoard(await host.browse("chromium"), url);
  await page.run(
    (elements) => window.bimccRtc.board.api.updateScene({ elements }),
    [rectangle({ id: "near", x: 20_000, y: 9_000 }), rectangle({ id: "far", x: 23_000, y: 12_000, index: "a6" })],
  );
  const late = await openBoard(await host.browse("chromium"), url);
  await assertEqualBoards([page, late], (elements) => elements.length === 2);
  await late.until(() => {
    const { scrollX, scrollY, zoom, width, height } = window.bimccRtc.board.api.getAppState();
    return window.bimccRtc.board.elements().every((element) => {
      const [left, top] = [(element.x + scrollX) * zoom.value, (element.y + scrollY) * zoom.value];
      const [right, bottom] = [left + element.width * zoom.value, top + element.height * zoom.value];
      return left >= 0 && top >= 0 && right <= width && bottom <= height;
    });
  });
  // The person who was there keeps the view.
  assert.deepEqual(
    await page.run(() => {
      const { scrollX, scrollY } = window.bimccRtc.board.api.getAppState();
      return [scrollX, scrollY];
    }),
    [0, 0],
  );
});

test("whoever comes late to a board larger than a window can show sees where most is, and is led to the rest", {
  skip: missing("chromium"),
  timeout: TIMEOUT,
}, async (t) => {
  const { host, url } = await room(t);
  const page = await openBoard(await host.browse("chromium"), url);
  const crowd = [0, 1, 2, 3].map((i) => rectangle({ id: `near-${i}`, x: 400_000 + i * 200, y: 90_000, index: `a${i}` }));
  const frame = rectangle({ id: "around", x: -60_000, y: -60_000, width: 500_000, height: 200_000, backgroundColor: "transparent", index: "a8" });
  await page.run(
    (elements) => window.bimccRtc.board.api.updateScene({ elements }),
    [...crowd, rectangle({ id: "far", x: 0, y: 0, index: "a6" }), frame],
  );
  // The elements in the middle of the board, where nothing covers them; of the frame, only its border counts.
  const seen = (page) =>
    page.run(() => {
      const { scrollX, scrollY, zoom, width, height } = window.bimccRtc.board.api.getAppState();
      const [left, top] = [16 / zoom.value - scrollX, 70 / zoom.value - scrollY];
      const [right, bottom] = [(width - 16) / zoom.value - scrollX, (height - 70) / zoom.value - scrollY];
      return window.bimccRtc.board
        .elements()
        .filter((element) => {
          const [x2, y2] = [element.x + element.width, element.y + element.height];
          const touches = element.x < right && x2 > left && element.y < bottom && y2 > top;
          const surrounds = element.x < left && x2 > right && element.y < top && y2 > bottom;
          return touches && !surrounds;
        })
        .map(({ id }) => id);
    });
  const note = () => document.querySelector(".whiteboard-part p")?.textContent;

  for (const viewport of [{ width: 1280, height: 800 }, { width: 390, height: 844, isMobile: true, hasTouch: true }]) {
    const late = await openBoard(await host.browse("chromium"), url, { viewport });
    await assertEqualBoards([page, late], (elements) => elements.length === 6);
    await late.until(() => document.querySelector(".whiteboard-part"));
    assert.deepEqual(await seen(late), ["near-0", "near-1", "near-2", "near-3"]);
    assert.match(await late.run(note), /part 1 of 3/);
    assert.deepEqual(await seriousFindings(late), []);
    if (process.env.SHOTS) await late.screenshot(`${process.env.SHOTS}/part-${viewport.width}.png`);
    const others = [];
    for (const part of [2, 3]) {
      await late.click("#next-part");
      await late.until((part) => document.querySelector(".whiteboard-part p").textContent.includes(`part ${part} of`), part);
      others.push(...(await seen(late)));
    }
    assert.deepEqual(others.sort(), ["around", "far"]);
    await late.click("#next-part");
    await late.until(() => document.querySelector(".whiteboard-part p").textContent.includes("part 1 of"));
    assert.equal((await seen(late)).length, 4);
    await late.click("#close-part");
    assert.equal(await late.run(note), undefined);
    assert.ok((await late.run(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)) <= 0);
    await late.close();
    await readyWith(page, 0);
  }

  // A drawing from a file is shown in the same way, wherever it is.
  const brought = drawingFile("wide.excalidraw", [
    ...[0, 1, 2].map((i) => rectangle({ id: `brought-${i}`, x: 2_000_000 + 200 * i, y: 0, index: `a${i}` })),
    rectangle({ id: "brought-far", x: 2_500_000, y: 300_000, index: "a5" }),
  ]);
  await bring(page, "choose", brought);
  await page.until(() => window.bimccRtc.board.elements().length === 10);
  await page.until(() => /part 1 of 2/.test(document.querySelector(".whiteboard-part p")?.textContent));
  assert.deepEqual(await seen(page), ["brought-0", "brought-1", "brought-2"]);
});
