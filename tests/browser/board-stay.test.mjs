// What is left of a board when people come, go and come back, in real browsers.
import assert from "node:assert/strict";
import { test } from "node:test";
import { inState } from "./app.mjs";
import { assertEqualBoards, bring, elementsOf, noise, openBoard, readyWith, rectangle } from "./board.mjs";
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

    // The reload is what counts: that nothing is left but what was kept.
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
    // What was saved can be opened by others.
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
  // And the one who was there keeps the view.
  assert.deepEqual(
    await page.run(() => {
      const { scrollX, scrollY } = window.bimccRtc.board.api.getAppState();
      return [scrollX, scrollY];
    }),
    [0, 0],
  );
});
