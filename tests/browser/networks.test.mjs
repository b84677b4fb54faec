// Calls between browsers in different networks, behind NATs and firewalls or with IPv6 only: which path they find.
import assert from "node:assert/strict";
import { test } from "node:test";
import { assertBothRelayed, assertDirect, assertRelayed, browseAll, call } from "./calls.mjs";
import { missing, setStage } from "./harness.mjs";
import { SERVER_NAME } from "./netns.mjs";

const TIMEOUT = 180_000;

/** A host for the server, and two for browsers, each behind its own router. */
async function connect(t, alice, bob = alice) {
  const hosts = await (await setStage(t)).internet({ alice, bob });
  return { host: hosts.server, clients: [hosts.alice, hosts.bob] };
}

/** Offers the browsers TURN over UDP only, because otherwise it is random what they use: see `calls.mjs`. */
const OVER_UDP = { transports: ["udp"] };
const RELAYED = { policy: "relay", room: "another room" };

for (const kinds of [
  ["chromium", "chromium"],
  ["firefox", "chromium"],
]) {
  const names = kinds.join(" and ");
  const options = { skip: missing(...new Set(kinds), "namespaces", "nft"), timeout: TIMEOUT };

  test(`${names} behind endpoint-independent NATs: direct`, options, async (t) => {
    const { host, clients } = await connect(t, "endpoint-independent NAT");
    const server = await host.serve();
    await assertDirect(await call(await browseAll(clients, kinds), { url: server.wsUrl() }));
  });

  test(`${names} behind symmetric NATs: relayed over UDP`, options, async (t) => {
    const { host, clients } = await connect(t, "symmetric NAT");
    const server = await host.serve();
    const browsers = await browseAll(clients, kinds);
    await assertRelayed(server, await call(browsers, { url: server.wsUrl(), ...OVER_UDP }), ["udp"]);
    const pages = await call(browsers, { url: server.wsUrl(), ...OVER_UDP, ...RELAYED });
    await assertBothRelayed(server, pages, ["udp"]);
  });

  test(`${names} without UDP: relayed over TCP`, options, async (t) => {
    const { host, clients } = await connect(t, "no UDP");
    const server = await host.serve();
    const pages = await call(await browseAll(clients, kinds), { url: server.wsUrl() });
    await assertBothRelayed(server, pages, ["tcp"]);
  });

  const withTls = { ...options, skip: options.skip ?? missing("certutil") };
  test(`${names} with TCP port 443 only: page, WebSocket and relay go through it`, withTls, async (t) => {
    const { host, clients } = await connect(t, "TCP port 443 only");
    // The server is used by name, because Firefox accepts no address in a turns: URL.
    const server = await host.serve({ tls: true, ports: { listen: 443 }, args: ["--public-host", SERVER_NAME] });
    const browsers = await browseAll(clients, kinds, { ca: server.ca });
    for (const browser of browsers) {
      const page = await browser.open(server.url(SERVER_NAME));
      assert.match(await page.run(() => document.title), /./);
      await page.close();
    }
    const pages = await call(browsers, { url: server.wsUrl(SERVER_NAME) });
    await assertBothRelayed(server, pages, ["tls"]);
  });

  test(`${names} with IPv6 only: direct, and relayed where the page wants it`, options, async (t) => {
    const { host, clients } = await connect(t, "IPv6 only");
    const server = await host.serve();
    const browsers = await browseAll(clients, kinds);
    await assertDirect(await call(browsers, { url: server.wsUrl() }));
    const pages = await call(browsers, { url: server.wsUrl(), ...RELAYED });
    await assertBothRelayed(server, pages);
  });
}

const chromium = { skip: missing("chromium", "namespaces", "nft"), timeout: TIMEOUT };

test("chromium with IPv4 and chromium with IPv6 only: relayed", chromium, async (t) => {
  const { host, clients } = await connect(t, "endpoint-independent NAT", "IPv6 only");
  const server = await host.serve();
  const browsers = await browseAll(clients, ["chromium", "chromium"]);
  const pages = await call(browsers, { url: server.wsUrl(SERVER_NAME) });
  await assertRelayed(server, pages);
});

// Without TLS, the port of the WebSocket also serves TURN.
test("chromium with TCP port 80 only: relayed over TCP", chromium, async (t) => {
  const { host, clients } = await connect(t, "TCP port 80 only");
  const server = await host.serve({ ports: { listen: 80 } });
  const pages = await call(await browseAll(clients, ["chromium", "chromium"]), { url: server.wsUrl() });
  await assertBothRelayed(server, pages, ["tcp"]);
});
