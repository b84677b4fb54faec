// Unchanged clients from the beginning of the protocol: among themselves, and with current ones in one room.
import assert from "node:assert/strict";
import { test } from "node:test";
import { hears, inState, openRoom, say } from "./app.mjs";
import { missing, setStage } from "./harness.mjs";

const TIMEOUT = 180_000;

// Old clients use no server for ICE, so hosts must see each other's addresses: these pages ask for no camera, and then
// the browsers hide addresses behind mDNS names, which nobody resolves in a bare test network.
const OPEN_ADDRESSES = {
  args: ["--disable-features=WebRtcHideLocalIpsWithMdns"],
  preferences: { "media.peerconnection.ice.obfuscate_host_addresses": false },
};

/** Opens an old client, and resolves when the server has told it who is in the room. */
async function connect(browser, url, room) {
  const page = await browser.open("old-client.html");
  await page.run(
    (url, room) => {
      window.client = new window.OldClient();
      const connected = new Promise((resolve) => window.client.on("_peers", resolve));
      window.client.connect(url, room);
      return connected;
    },
    url,
    room,
  );
  return page;
}

/**
 * Sends a text over the old client's data channels and waits for it on the other side. The client sends to all its
 * channels, and fails if one of them is not open yet.
 */
async function assertMessagePasses(from, to, text) {
  const receiver = await to.run(() => window.client.me);
  await from.until((id) => {
    const { dataChannels } = window.client;
    return dataChannels[id] && Object.values(dataChannels).every(({ readyState }) => readyState === "open");
  }, receiver);
  await from.run((text) => window.client.broadcast(text), text);
  await to.until((text) => window.client.messages.some((message) => message.data === text), text);
}

for (const kinds of [
  ["chromium", "chromium"],
  ["firefox", "chromium"],
  ["chromium", "firefox"],
]) {
  for (const [form, url, room] of [
    ["?room= in the URL", (server) => `${server.wsUrl()}?room=room1`, undefined],
    ["?room= in the URL and in __join", (server) => `${server.wsUrl()}?room=room1`, "room1"],
    ["the path /wsapp", (server) => `${server.wsUrl()}/wsapp`, "room1"],
  ]) {
    const skip = missing(...new Set(kinds));
    test(`old ${kinds[1]} calls old ${kinds[0]}, ${form}`, { skip, timeout: TIMEOUT }, async (t) => {
      const host = await (await setStage(t)).host();
      const server = await host.serve();
      const pages = [];
      for (const kind of kinds) {
        const browser = await host.browse(kind, OPEN_ADDRESSES);
        pages.push(await connect(browser, url(server), room));
      }
      await assertMessagePasses(pages[0], pages[1], "from the first");
      await assertMessagePasses(pages[1], pages[0], "from the newcomer");
      for (const page of pages) {
        assert.deepEqual(await page.run(() => window.client.errors), []);
        assert.ok(await page.run(() => window.client.seen.includes("_ice_candidate")), "candidates were forwarded");
      }
      assert.deepEqual(
        await pages[0].run(() => window.client.seen.slice(0, 3)),
        ["_peers", "_new_peer", "_offer"],
        "a newcomer is announced before its offer",
      );

      await pages[1].close();
      await pages[0].until(() => window.client.seen.includes("_remove_peer"));
      assert.equal(await pages[0].run(() => Object.keys(window.client.peerConnections).length), 0);
    });
  }
}

test("three old clients, the first leaves, a fourth comes", { skip: missing("chromium"), timeout: TIMEOUT }, async (t) => {
  const host = await (await setStage(t)).host();
  const server = await host.serve();
  const browser = await host.browse("chromium", OPEN_ADDRESSES);
  const url = `${server.wsUrl()}?room=room1`;
  const [first, second, third] = [await connect(browser, url), await connect(browser, url), await connect(browser, url)];
  await assertMessagePasses(first, third, "to the third");
  await first.close();
  await second.until(() => window.client.seen.includes("_remove_peer"));
  const fourth = await connect(browser, url);
  assert.equal(await fourth.run(() => Array.isArray(window.client.connections)), true);
  assert.equal(await fourth.run(() => window.client.connections.length), 2);
  for (const page of [second, third]) await assertMessagePasses(fourth, page, "from the fourth");
});

// The app sends chat in the old clients' form, so that both kinds of client can talk, and its calls work.
for (const newcomer of ["old client", "app"]) {
  test(`the ${newcomer} comes to the other kind`, { skip: missing("chromium"), timeout: TIMEOUT }, async (t) => {
    const host = await (await setStage(t)).host();
    const server = await host.serve();
    const browser = await host.browse("chromium", OPEN_ADDRESSES);
    const openOld = () => connect(browser, `${server.wsUrl("127.0.0.1")}?room=mixed`, "mixed");
    const openApp = async () => {
      const page = await openRoom(browser, `${server.url("127.0.0.1")}/r/mixed`);
      await inState(page, "alone", "joined");
      return page;
    };
    const first = newcomer === "old client" ? await openApp() : undefined;
    const old = await openOld();
    const app = first ?? (await openApp());

    await old.until(() => Object.values(window.client.dataChannels).some((c) => c.readyState === "open"));
    await old.run(() => window.client.broadcast("an old greeting"));
    await hears(app, "an old greeting");
    await say(app, "a new greeting");
    await old.until(() => window.client.messages.some((message) => message.data === "a new greeting"));

    await old.until(async () => {
      const [connection] = Object.values(window.client.peerConnections);
      const stats = [...(await connection.getStats()).values()];
      return stats.some(({ type, kind, bytesReceived }) => type === "inbound-rtp" && kind === "video" && bytesReceived > 0);
    });
    assert.deepEqual(await old.run(() => window.client.errors), []);
  });
}
