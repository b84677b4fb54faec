// The connection test page: it finds what works, and says what to open if something does not.
import assert from "node:assert/strict";
import { test } from "node:test";
import { seriousFindings } from "./app.mjs";
import { findProgram, missing, setStage } from "./harness.mjs";
import { total } from "./metrics.mjs";

const TIMEOUT = 180_000;

const isDone = () => document.body.dataset.state === "done";

/** All rows by their tests: `{ [test]: { verdict, text } }`. */
const readRows = () =>
  Object.fromEntries(
    [...document.querySelectorAll("#rows tr")].map((tr) => [
      tr.dataset.test.replace(/:.*\?transport=/, "/").replace(/^stun:.*/, "stun"),
      { verdict: tr.dataset.verdict, text: tr.textContent },
    ]),
  );

async function check(browser, url, options) {
  const page = await browser.open(`${url}/check`, options);
  await page.until(isDone);
  return page;
}

for (const kind of ["chromium", "firefox"]) {
  const skip = missing(kind, "namespaces");

  test(`${kind} finds all ways open on a LAN`, { skip, timeout: TIMEOUT }, async (t) => {
    const { server: host, client } = await (await setStage(t)).lan("server", "client");
    const server = await host.serve();
    const page = await check(await client.browse(kind), server.url());
    const rows = await page.run(readRows);
    for (const id of ["websocket", "stun", "turn/udp", "turn/tcp", "IPv4"])
      assert.equal(rows[id]?.verdict, "ok", JSON.stringify(rows));
    assert.equal(rows.secure.verdict, "warning");
    assert.match(rows.secure.text, /--tls/);
    assert.match(rows["turn/udp"].text, /Relayed at 10\.77\.0\.1/);
    assert.match(await page.run(() => document.querySelector("#summary").textContent), /^Everything can be reached/);
    // The temporary member is gone, and so is its relay.
    for (const gauge of ["bimcc_rtc_members", "bimcc_rtc_turn_allocations"]) {
      while (total(await server.metrics(), gauge) !== 0);
    }
  });

  const lacking = skip ?? missing("nft");
  test(`${kind} is told which port to open where UDP is blocked`, { skip: lacking, timeout: TIMEOUT }, async (t) => {
    const { server: host, client } = await (await setStage(t)).lan("server", "client");
    const server = await host.serve();
    for (const command of [
      "add table inet wall",
      "add chain inet wall input { type filter hook input priority 0 ; }",
      "add rule inet wall input udp dport 3478 drop",
    ]) {
      const { code, stderr } = await host.exec(findProgram("nft"), command.split(" "));
      assert.equal(code, 0, stderr);
    }
    const page = await check(await client.browse(kind), server.url());
    const rows = await page.run(readRows);
    assert.equal(rows.websocket.verdict, "ok");
    for (const id of ["stun", "turn/udp"]) {
      assert.equal(rows[id].verdict, "failed", JSON.stringify(rows));
      assert.match(rows[id].text, /Open UDP 3478/);
    }
    assert.equal(rows["turn/tcp"].verdict, "ok", JSON.stringify(rows));
    assert.match(await page.run(() => document.querySelector("#summary").textContent), /not every way is open/);
  });

  const untrusting = skip ?? missing("certutil");
  test(`${kind} relays over TLS where it trusts the certificate`, { skip: untrusting, timeout: TIMEOUT }, async (t) => {
    const { server: host, client } = await (await setStage(t)).lan("server", "client");
    const server = await host.serve({ tls: true });
    const page = await check(await client.browse(kind, { ca: server.ca }), server.url());
    const rows = await page.run(readRows);
    for (const id of ["secure", "websocket", "turn/udp"]) {
      assert.equal(rows[id]?.verdict, "ok", JSON.stringify(rows));
    }
    // Firefox requires a name there, and these hosts only have addresses.
    assert.equal(rows["turns/tcp"]?.verdict, kind === "firefox" ? "note" : "ok", JSON.stringify(rows));
    assert.equal(await page.run(() => document.querySelector("#summary").textContent), "Everything works from here.");
  });
}

test("results can be copied, tried again, and nothing is asked of other hosts", {
  skip: missing("chromium"),
  timeout: TIMEOUT,
}, async (t) => {
  const host = await (await setStage(t)).host();
  const server = await host.serve();
  const page = await check(await host.browse("chromium"), server.url("127.0.0.1"));
  const urls = await page.run(() => performance.getEntriesByType("resource").map(({ name }) => name));
  assert.ok(urls.length > 0);
  for (const url of urls) assert.ok(url.startsWith(server.url("127.0.0.1")), url);
  assert.deepEqual(
    (await page.console()).filter((line) => /Content.Security.Policy/i.test(line)),
    [],
  );

  const copied = await page
    .run(() => {
      Object.defineProperty(navigator, "clipboard", {
        value: { writeText: async (text) => (window.copiedText = text) },
      });
      document.querySelector("#copy").click();
    })
    .then(() => page.until(() => window.copiedText));
  assert.match(copied, /^Connection test of http.*\/check\n/);
  assert.match(copied, /\[ok, .*\] WebSocket \(TCP \d+\)/);
  assert.equal(await page.run(() => document.querySelector("#report").hidden), true);
  await page.run(() => {
    navigator.clipboard.writeText = () => Promise.reject(new Error("no"));
    document.querySelector("#copy").click();
  });
  await page.until(() => !document.querySelector("#report").hidden);

  assert.deepEqual(await seriousFindings(page), [], "all is well");

  await server.stop();
  await page.run(() => document.querySelector("#again").click());
  await page.until(isDone);
  assert.deepEqual(await seriousFindings(page), [], "something is not");
  const rows = await page.run(readRows);
  assert.equal(rows.websocket.verdict, "failed");
  assert.equal(rows["turn/udp"], undefined, "without credentials there is nothing to test");
  await server.restart();
  await page.run(() => document.querySelector("#again").click());
  await page.until(isDone);
  assert.equal((await page.run(readRows))["turn/udp"].verdict, "ok");
});
