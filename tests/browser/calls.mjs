// A call between two browsers on the page `call.html`, and which path it went.
import assert from "node:assert/strict";
import { relayedBytes } from "./metrics.mjs";

/** Starts browsers of these kinds, one on each host. */
export function browseAll(hosts, kinds, options) {
  return Promise.all(kinds.map((kind, i) => hosts[i].browse(kind, options)));
}

/** Has one page per browser join a room, and the newcomer call; resolves when data and video went both ways. */
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

/** What the pages have received went through the server. */
async function assertPassed(server, reports) {
  const relayed = relayedBytes(await server.metrics());
  const received = reports.reduce((sum, { bytesReceived }) => sum + bytesReceived, 0);
  assert.ok(relayed >= received, `the pages received ${received} bytes, the server relayed ${relayed}`);
}

/** Over any: on a short way it is chance which of its relayed addresses a browser has first, and it may stay with that. */
const ANY_TRANSPORT = ["udp", "tcp", "tls"];

/** Each end uses its own relayed address, over one of these transports. */
export async function assertBothRelayed(server, pages, transports = ANY_TRANSPORT) {
  const reports = await reportsOf(pages);
  for (const { local, relayProtocol } of reports) {
    assert.equal(local, "relay");
    assert.ok(transports.includes(relayProtocol), `over ${relayProtocol}, not ${transports.join(" or ")}`);
  }
  await assertPassed(server, reports);
}

/** The path leads over the relayed address of one end at least: the other one may do without its own. */
export async function assertRelayed(server, pages, transports = ANY_TRANSPORT) {
  const reports = await reportsOf(pages);
  for (const { local, relayProtocol, remote } of reports) {
    assert.ok(local === "relay" || remote === "relay", `from ${local} to ${remote}`);
    if (local === "relay") assert.ok(transports.includes(relayProtocol), `over ${relayProtocol}`);
  }
  await assertPassed(server, reports);
}

/** The path leads over no relayed address, if need be after a while: a worse one may have worked first. */
export async function assertDirect(pages) {
  for (const page of pages) {
    await page.until(async () => {
      const { local, remote } = await window.call.report();
      return [local, remote].every((type) => ["host", "srflx", "prflx"].includes(type));
    });
  }
}
