// coturn's own tools against this server on loopback: nothing lost, and nothing refused but the first, unauthenticated
// request of each session (the tool repeats refused requests without a word, so the server's counters are the judge).
import assert from "node:assert/strict";
import { test } from "node:test";
import { BINARY, missing, setStage } from "./harness.mjs";
import { total, turnErrors } from "./metrics.mjs";

const SECRET = "a secret of the tests";
const SESSIONS = 20;
const PEER_PORT = "13480";
const TIMEOUT = 180_000;
const skip = missing("turnutils_uclient", "turnutils_peer");

const MODES = [
  { flags: ["-c"], what: "channels" },
  { flags: ["-c", "-s"], what: "Send and Data" },
  { flags: ["-c", "-y"], what: "client to client" },
  { flags: ["-c", "-g"], what: "DONT-FRAGMENT" },
  { flags: ["-c", "-x"], what: "an IPv6 relayed address", address: "::1" },
  { flags: ["-c", "-t"], what: "TCP" },
  { flags: ["-c", "-t", "-s"], what: "TCP, Send and Data" },
  { flags: ["-c", "-t", "-y"], what: "TCP, client to client" },
  { flags: ["-c", "-t"], what: "TCP beside HTTP", port: "listen" },
  { flags: ["-c", "-t", "-S"], what: "TLS", tls: true },
  { flags: ["-c", "-t", "-S", "-y"], what: "TLS beside HTTPS, client to client", tls: true, port: "listen" },
];

async function serve(t, tls = false) {
  const host = await (await setStage(t)).host();
  const server = await host.serve({
    tls,
    args: ({ turn }) => [
      ...["--secret", SECRET],
      ...["--turn-listen", `[::1]:${turn}`],
      ...["--public-ip", "127.0.0.1", "--public-ip", "::1"],
      "--dangerously-allow-loopback-peers",
    ],
  });
  return { host, server };
}

/** What `bimcc-rtc mint` prints. */
async function mint(host) {
  const { code, stdout, stderr } = await host.exec(BINARY, [
    "mint",
    ...["--secret", SECRET, "--user", "turnutils", "--host", "127.0.0.1"],
  ]);
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
}

for (const { flags, what, address = "127.0.0.1", tls, port = "turn" } of MODES) {
  for (const credentials of ["-W", "minted credentials"]) {
    test(`turnutils_uclient ${flags.join(" ")} (${what}), ${credentials}`, { skip, timeout: TIMEOUT }, async (t) => {
      const { host, server } = await serve(t, tls);
      await host.start("turnutils_peer", ["-L", address, "-p", PEER_PORT]);
      let identity = ["-u", "turnutils", "-W", SECRET];
      if (credentials !== "-W") {
        const { username, password } = await mint(host);
        identity = ["-u", username, "-w", password];
      }
      const { code, stdout, stderr } = await host.exec("turnutils_uclient", [
        ...flags,
        ...identity,
        ...["-m", String(SESSIONS), "-p", String(server.ports[port]), "-e", address, "-r", PEER_PORT],
        address,
      ]);
      const output = stdout + stderr;
      assert.equal(code, 0, output);
      assert.match(output, /Total lost packets 0 \(0\.0+%\), total send dropped 0 /, output);

      const samples = await server.metrics();
      const { "allocate 401": challenges, ...others } = turnErrors(samples);
      assert.deepEqual(others, {}, "no other errors");
      // A session may make more than one allocation, each after one challenge.
      const success = { method: "allocate", code: "success" };
      const allocations = total(samples, "bimcc_rtc_turn_responses_total", success);
      assert.ok(allocations >= SESSIONS, `${allocations} allocations`);
      assert.equal(challenges, allocations, "each allocation is challenged once");
    });
  }
}

test("turnutils_stunclient learns its address", { skip: missing("turnutils_stunclient"), timeout: TIMEOUT }, async (t) => {
  const { host, server } = await serve(t);
  const { stdout, stderr } = await host.exec("turnutils_stunclient", ["-p", String(server.ports.turn), "127.0.0.1"]);
  assert.match(stdout + stderr, /UDP reflexive addr: 127\.0\.0\.1:\d+/);
});
