// Calls between two browsers with the current protocol: what they report, and what the server has counted.
import assert from "node:assert/strict";
import { test } from "node:test";
import { assertBothRelayed, assertDirect, browseAll, call } from "./calls.mjs";
import { missing, setStage } from "./harness.mjs";
import { relayedBytes } from "./metrics.mjs";

const TIMEOUT = 180_000;

/**
 * Relays over UDP only, because with several transports it is random on a short path which one a browser gets first and
 * keeps.
 */
const BY_UDP = { policy: "relay", transports: ["udp"] };

for (const kinds of [
  ["chromium", "chromium"],
  ["firefox", "chromium"],
  ["chromium", "firefox"],
]) {
  const names = `${kinds[1]} calls ${kinds[0]}`;
  const here = missing(...new Set(kinds));
  const inNamespaces = missing(...new Set(kinds), "namespaces");

  test(`${names}, relay only`, { skip: here, timeout: TIMEOUT }, async (t) => {
    const host = await (await setStage(t)).host();
    const server = await host.serve();
    const before = relayedBytes(await server.metrics());
    assert.equal(before, 0, "nothing is relayed before the call");
    const pages = await call(await browseAll([host, host], kinds), { url: server.wsUrl(), ...BY_UDP });
    await assertBothRelayed(server, pages, BY_UDP.transports);
  });

  const withTls = missing(...new Set(kinds), "certutil");
  test(`${names}, relay only, with --tls`, { skip: withTls, timeout: TIMEOUT }, async (t) => {
    const host = await (await setStage(t)).host();
    const server = await host.serve({ tls: true });
    const browsers = await browseAll([host, host], kinds, { ca: server.ca });
    const pages = await call(browsers, { url: server.wsUrl(), policy: "relay" });
    await assertBothRelayed(server, pages);
  });

  test(`${names}, one network without a default route`, { skip: inNamespaces, timeout: TIMEOUT }, async (t) => {
    const { server: host, alice, bob } = await (await setStage(t)).lan("server", "alice", "bob");
    const server = await host.serve();
    const pages = await call(await browseAll([alice, bob], kinds), { url: server.wsUrl(), ...BY_UDP });
    await assertBothRelayed(server, pages, BY_UDP.transports);
  });

  test(`${names}, everything on one host without a default route`, {
    skip: inNamespaces,
    timeout: TIMEOUT,
  }, async (t) => {
    const { server: host } = await (await setStage(t)).lan("server");
    const server = await host.serve();
    const pages = await call(await browseAll([host, host], kinds), { url: server.wsUrl(), ...BY_UDP });
    await assertBothRelayed(server, pages, BY_UDP.transports);
  });

  test(`${names}, --public-ip that no interface has`, { skip: inNamespaces, timeout: TIMEOUT }, async (t) => {
    const { server: host, alice, bob } = await (await setStage(t)).lan("server", "alice", "bob");
    const server = await host.serve({ args: ["--public-ip", "203.0.113.7"] });
    const pages = await call(await browseAll([alice, bob], kinds), { url: server.wsUrl(), ...BY_UDP });
    await assertBothRelayed(server, pages, BY_UDP.transports);
  });

  test(`${names}, any path, on one network`, { skip: inNamespaces, timeout: TIMEOUT }, async (t) => {
    const { server: host, alice, bob } = await (await setStage(t)).lan("server", "alice", "bob");
    const server = await host.serve();
    const pages = await call(await browseAll([alice, bob], kinds), { url: server.wsUrl(), policy: "all" });
    await assertDirect(pages);
  });
}
