// A call between two browsers on the page `call.html`, and the path that it takes.
import assert from "node:assert/strict";
import { relayedBytes } from "./metrics.mjs";

/** Starts browsers of these kinds, one on each host. */
export function browseAll(hosts, kinds, options) {
  return Promise.all(kinds.map((kind, i) => hosts[i].browse(kind, options)));
}

/** Lets one page per browser join a room, and the newcomer call. Resolves when data and video have gone both ways. */
export async function call([first, second], { url, room = "a room", ...options }) {
  const pages = [await first.open("call.html"), await second.open("call.html")];
  for (const page of pages) {
    await page.run((...args) => window.call.join(...args), url, room, options);
  }
  await pages[0].until(() => window.call.events.includes("_offer"));
  for (const page of pages) {
    assert.equal(await page.run(() => window.call.echo()), 1, "one peer echoes");
    await page.until(async () => (await window.call.report()).framesDecoded > 5);
  }
  return pages;
}

async function reportsOf(pages) {
  const reports = [];
  for (const page of pages) reports.push(await page.run(() => window.call.report()));
  for (const { bytesReceived } of reports) assert.ok(bytesReceived > 0);
  return reports;
}

/** Checks that what the pages have received went through the server. */
async function assertPassed(server, reports) {
  const relayed = relayedBytes(await server.metrics());
  const received = reports.reduce((sum, { bytesReceived }) => sum + bytesReceived, 0);
  assert.ok(relayed >= received, `the pages received ${received} bytes, the server relayed ${relayed}`);
}

/**
 * Any transport: on a short path it is random which of its relayed addresses a browser gets first, and it may keep
 * that.
 */
const ANY_TRANSPORT = ["udp", "tcp", "tls"];

/** Checks that each end uses its own relayed address, over one of these transports. */
export async function assertBothRelayed(server, pages, transports = ANY_TRANSPORT) {
  const reports = await reportsOf(pages);
  for (const { local, relayProtocol } of reports) {
    assert.equal(local, "relay");
    assert.ok(transports.includes(relayProtocol), `over ${relayProtocol}, not ${transports.join(" or ")}`);
  }
  await assertPassed(server, reports);
}

/** Checks that the path uses the relayed address of at least one end; the other end may not need its own. */
export async function assertRelayed(server, pages, transports = ANY_TRANSPORT) {
  const reports = await reportsOf(pages);
  for (const { local, relayProtocol, remote } of reports) {
    assert.ok(local === "relay" || remote === "relay", `from ${local} to ${remote}`);
    if (local === "relay") assert.ok(transports.includes(relayProtocol), `over ${relayProtocol}`);
  }
  await assertPassed(server, reports);
}

/** Checks that the path uses no relayed address, perhaps after a while, because a worse path may have worked first. */
export async function assertDirect(pages) {
  for (const page of pages) {
    await page.until(async () => {
      const { local, remote } = await window.call.report();
      return [local, remote].every((type) => ["host", "srflx", "prflx"].includes(type));
    });
  }
}
