// Calls out of networks whose firewalls let no UDP through: over what the browsers are relayed then.
import assert from "node:assert/strict";
import { test } from "node:test";
import { missing, setStage } from "./harness.mjs";
import { relayedBytes } from "./metrics.mjs";

const TIMEOUT = 180_000;

/** What a host gets answers from. Nothing comes in unasked. */
const FIREWALLS = {
  "no UDP": { rule: "meta l4proto tcp ct state established accept", protocols: ["tcp", "tls"] },
  "TCP port 443 only": { rule: "tcp sport 443 ct state established accept", protocols: ["tls"] },
};

/** Two pages in one room, the newcomer calls; data and video both ways. */
async function call(server, browsers) {
  const pages = [];
  for (const browser of browsers) {
    const page = await browser.open("call.html");
    await page.run((...args) => window.call.join(...args), server.wsUrl(), "a room", { policy: "all" });
    pages.push(page);
  }
  await pages[0].until(() => window.call.events.includes("_offer"));
  for (const page of pages) {
    assert.equal(await page.run(() => window.call.echo()), 1, "one peer echoes");
    await page.until(async () => (await window.call.report()).framesDecoded > 5);
  }
  return pages;
}

for (const kinds of [
  ["chromium", "chromium"],
  ["firefox", "chromium"],
]) {
  const skip = missing(...new Set(kinds), "namespaces", "nft", "certutil");
  for (const [name, { rule, protocols }] of Object.entries(FIREWALLS)) {
    const isNameless = kinds.includes("firefox") && protocols.length === 1;
    const why = skip || (isNameless && "Firefox takes no address in a turns: URL, and these hosts have no names");
    test(`${kinds.join(" and ")} behind firewalls: ${name}`, { skip: why, timeout: TIMEOUT }, async (t) => {
      const { server: host, alice, bob } = await (await setStage(t)).lan("server", "alice", "bob");
      const server = await host.serve({ tls: true, ports: { listen: 443 } });
      for (const client of [alice, bob]) await client.firewall(rule);
      const browsers = await Promise.all(
        [alice, bob].map((client, i) => client.browse(kinds[i], { ca: server.ca })),
      );
      // The page itself comes through the same port.
      const page = await browsers[0].open(`${server.url()}/`);
      assert.match(await page.run(() => document.title), /./);
      await page.close();
      const pages = await call(server, browsers);
      const before = relayedBytes(await server.metrics());
      for (const page of pages) {
        const report = await page.run(() => window.call.report());
        assert.equal(report.local, "relay");
        assert.ok(protocols.includes(report.relayProtocol), `over ${report.relayProtocol}, not ${protocols}`);
        assert.ok(report.bytesReceived > 0);
      }
      assert.ok(before > 0, "it went through the server");
    });
  }
}

// Without TLS the port of the WebSocket is TURN's, too.
test("chromium behind firewalls: TCP port 80 only", {
  skip: missing("chromium", "namespaces", "nft"),
  timeout: TIMEOUT,
}, async (t) => {
  const { server: host, alice, bob } = await (await setStage(t)).lan("server", "alice", "bob");
  const server = await host.serve({ ports: { listen: 80 } });
  for (const client of [alice, bob]) await client.firewall("tcp sport 80 ct state established accept");
  const browsers = await Promise.all([alice, bob].map((client) => client.browse("chromium")));
  for (const page of await call(server, browsers)) {
    const report = await page.run(() => window.call.report());
    assert.deepEqual([report.local, report.relayProtocol], ["relay", "tcp"]);
  }
});
