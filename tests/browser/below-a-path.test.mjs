// The pages behind an nginx that serves them below a path and removes the path, as people with only one host name do.
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { test } from "node:test";
import { enter, fill, hears, inState, openPanel, openRoom, policyRefusals, readQrCode, say } from "./app.mjs";
import { missing, setStage } from "./harness.mjs";

const TIMEOUT = 240_000;

/** nginx before the server, at `/rtc/` and at `/r/`, which is also the beginning of the paths of rooms. */
async function proxy(host, server, port) {
  const directory = host.stage.path("nginx");
  const file = host.stage.path("nginx.conf");
  const location = (path) => `
    location ${path} {
      proxy_pass http://127.0.0.1:${server.ports.listen}/;
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection "upgrade";
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Host $http_host;
    }`;
  await writeFile(
    file,
    `daemon off; pid ${directory}.pid; error_log stderr;
    events {}
    http {
      access_log off;
      ${["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((kind) => `${kind}_temp_path ${directory}-${kind};`).join(" ")}
      server { listen 127.0.0.1:${port}; ${location("/rtc/")} ${location("/r/")} location / { return 404; } }
    }`,
  );
  const nginx = await host.start("nginx", ["-c", file, "-e", "stderr"]);
  const url = `http://127.0.0.1:${port}`;
  for (let attempt = 0; ; attempt++) {
    const answer = await fetch(`${url}/rtc/readyz`).catch((error) => error);
    if (answer.status === 200) return url;
    if (attempt === 100) throw new Error(`nginx does not serve: ${answer}\n${JSON.stringify(await nginx.output())}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function stage(t) {
  const host = await (await setStage(t)).host();
  const port = 20_000 + Math.floor(Math.random() * 10_000);
  const server = await host.serve({ args: ["--trusted-proxy", "127.0.0.1"] });
  return { host, server, url: await proxy(host, server, port) };
}

/** Checks that nothing was requested outside the path, and that nothing was refused. */
async function assertStaysBelow(page, base) {
  const outside = (await page.requests()).filter((url) => /^https?:/.test(url) && !url.startsWith(base));
  assert.deepEqual(outside, []);
  assert.deepEqual(await policyRefusals(page), []);
}

for (const kind of ["chromium", "firefox"]) {
  const skip = missing(kind, "nginx");
  test(`${kind}: lobby, room and board work below a path`, { skip, timeout: TIMEOUT }, async (t) => {
    const { host, url } = await stage(t);
    const base = `${url}/rtc/`;
    const browser = await host.browse(kind);

    const lobby = await browser.open(base);
    await fill(lobby, "#room-name", "tea & cake");
    await lobby.navigate(() => document.querySelector("#lobby-form").requestSubmit());
    assert.equal(await lobby.run(() => location.href), `${base}r/tea%20%26%20cake`);
    await enter(lobby, { camera: false });
    await inState(lobby, "alone");

    // The other person comes by the invitation, with the slash that some programs add to links.
    await openPanel(lobby, "invite");
    const link = await lobby.until(() => document.querySelector("#invite")?.value);
    assert.equal(link, `${base}r/tea%20%26%20cake`);
    assert.equal(await readQrCode(lobby), link);
    const other = await openRoom(browser, `${link}/`, { camera: false });
    await inState(lobby, "joined");
    await inState(other, "joined");
    await say(other, "good afternoon");
    await hears(lobby, "good afternoon");

    for (const page of [lobby, other]) {
      await page.until(() => window.bimccRtc?.board);
      // A font is loaded when it is needed.
      await page.until(async (path) => {
        const found = await fetch(`${window.EXCALIDRAW_ASSET_PATH}fonts/Cascadia/CascadiaCode-Regular.woff2`);
        return found.ok && new URL(found.url).pathname.startsWith(path);
      }, "/rtc/");
      assert.equal(await page.run(() => document.querySelector(".brand").pathname), "/rtc/");
      await assertStaysBelow(page, base);
    }
  });

  test(`${kind}: the connection test works below a path`, { skip, timeout: TIMEOUT }, async (t) => {
    const { host, url } = await stage(t);
    const browser = await host.browse(kind);
    for (const path of ["/rtc/check", "/rtc/check/", "/r/check"]) {
      const page = await browser.open(`${url}${path}`);
      await inState(page, "done");
      const websocket = await page.run(() => document.querySelector("#rows").textContent);
      assert.match(websocket, /WebSocket \(TCP \d+\)works/);
      const rooms = await page.run(() => document.querySelector(".buttons a").pathname);
      assert.equal(rooms, path.startsWith("/rtc") ? "/rtc/" : "/r/");
      await assertStaysBelow(page, `${url}${rooms}`);
      await page.close();
    }
  });
}

const skip = missing("chromium", "nginx");
test("a room below a path that rooms begin with themselves", { skip, timeout: TIMEOUT }, async (t) => {
  const { host, url } = await stage(t);
  const browser = await host.browse("chromium");
  const lobby = await browser.open(`${url}/r/`);
  await lobby.until(() => document.querySelector("#lobby-form"));
  const room = await openRoom(browser, `${url}/r/r/r`, { camera: false });
  await inState(room, "alone");
  assert.equal(await room.run(() => document.querySelector("#title").textContent), "r");
});

test("the client joins below a path that its page is not at", { skip, timeout: TIMEOUT }, async (t) => {
  const { host, url } = await stage(t);
  const browser = await host.browse("chromium");
  const page = await browser.open(`${url}/rtc/check`);
  const id = await page.run(async (url) => {
    const { joinRoom } = await import(`${url}client.js`);
    const room = await joinRoom({ url, room: "tea" });
    const { id } = room;
    room.leave();
    return id;
  }, `${url}/rtc/`);
  assert.match(id, /^m-/);
});
