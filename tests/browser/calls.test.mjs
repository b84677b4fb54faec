// Calls between two browsers by today's protocol: what they report, and what the server counted.
import assert from "node:assert/strict";
import { test } from "node:test";
import { missing, setStage } from "./harness.mjs";
import { relayedBytes } from "./metrics.mjs";

const TIMEOUT = 180_000;

/** Has one page per browser join a room, and the newcomer call; resolves when data and video went both ways. */
async function call(server, [first, second], { policy, room = "a room" }) {
  const url = server.wsUrl();
  const pages = [await first.open("call.html"), await second.open("call.html")];
  for (const page of pages) {
    await page.run((...args) => window.call.join(...args), url, room, { policy });
  }
  await pages[0].until(() => window.call.events.includes("_offer"));
  for (const page of pages) {
    assert.equal(await page.run(() => window.call.echo()), 1, "one peer echoes");
    await page.until(async () => (await window.call.report()).framesDecoded > 5);
  }
  return pages;
}

/** Both ends use their own relayed address over UDP, and what they received went through the server. */
async function assertRelayed(server, pages) {
  const reports = [];
  for (const page of pages) reports.push(await page.run(() => window.call.report()));
  const relayed = relayedBytes(await server.metrics());
  for (const report of reports) {
    assert.equal(report.local, "relay");
    assert.equal(report.relayProtocol, "udp");
    assert.ok(report.bytesReceived > 0);
  }
  const received = reports.reduce((sum, report) => sum + report.bytesReceived, 0);
  assert.ok(relayed >= received, `the pages received ${received} bytes, the server relayed ${relayed}`);
}

function twoBrowsers(hosts, kinds, options) {
  return Promise.all(kinds.map((kind, i) => hosts[i].browse(kind, options)));
}

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
    const pages = await call(server, await twoBrowsers([host, host], kinds), { policy: "relay" });
    await assertRelayed(server, pages);
  });

  const withTls = missing(...new Set(kinds), "certutil");
  test(`${names}, relay only, with --tls`, { skip: withTls, timeout: TIMEOUT }, async (t) => {
    const host = await (await setStage(t)).host();
    const server = await host.serve({ tls: true });
    const browsers = await twoBrowsers([host, host], kinds, { ca: server.ca });
    const pages = await call(server, browsers, { policy: "relay" });
    await assertRelayed(server, pages);
  });

  test(`${names}, one network without a default route`, { skip: inNamespaces, timeout: TIMEOUT }, async (t) => {
    const { server: host, alice, bob } = await (await setStage(t)).lan("server", "alice", "bob");
    const server = await host.serve();
    const pages = await call(server, await twoBrowsers([alice, bob], kinds), { policy: "relay" });
    await assertRelayed(server, pages);
  });

  test(`${names}, everything on one host without a default route`, { skip: inNamespaces, timeout: TIMEOUT }, async (t) => {
    const { server: host } = await (await setStage(t)).lan("server");
    const server = await host.serve();
    const pages = await call(server, await twoBrowsers([host, host], kinds), { policy: "relay" });
    await assertRelayed(server, pages);
  });

  test(`${names}, --public-ip that no interface has`, { skip: inNamespaces, timeout: TIMEOUT }, async (t) => {
    const { server: host, alice, bob } = await (await setStage(t)).lan("server", "alice", "bob");
    const server = await host.serve({ args: ["--public-ip", "203.0.113.7"] });
    const pages = await call(server, await twoBrowsers([alice, bob], kinds), { policy: "relay" });
    await assertRelayed(server, pages);
  });

  test(`${names}, any path, on one network`, { skip: inNamespaces, timeout: TIMEOUT }, async (t) => {
    const { server: host, alice, bob } = await (await setStage(t)).lan("server", "alice", "bob");
    const server = await host.serve();
    const pages = await call(server, await twoBrowsers([alice, bob], kinds), { policy: "all" });
    for (const page of pages) {
      const { local } = await page.run(() => window.call.report());
      assert.ok(["host", "prflx", "srflx"].includes(local), `they reach each other directly, not by ${local}`);
    }
  });
}
