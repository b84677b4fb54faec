// coturn's own tools against this server on loopback: nothing is lost, and nothing is refused except the first,
// unauthenticated request of each session (the tool repeats refused requests without notice, so the server's counters
// decide).
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { BINARY, freePorts, missing, setStage } from "./harness.mjs";
import { total, turnErrors } from "./metrics.mjs";

const SECRET = "a secret of the tests";
const SESSIONS = 20;
const TIMEOUT = 180_000;
const ATTEMPTS = 3;
/** The tool mostly waits, so several runs go at once. */
const AT_ONCE = 6;
const skip = missing("turnutils_uclient", "turnutils_peer");

/**
 * Without -c the tool asks for a second relayed address of each session, on the next port: EVEN-PORT with the R bit,
 * then RESERVATION-TOKEN. With -y clients are each other's peers, otherwise they send to -e.
 */
const MODES = [
  { flags: ["-c"], what: "channels" },
  { flags: ["-c", "-s"], what: "Send and Data" },
  { flags: ["-c", "-y"], what: "client to client" },
  { flags: ["-c", "-g"], what: "DONT-FRAGMENT" },
  { flags: ["-c", "-x"], what: "an IPv6 relayed address", address: "::1" },
  { flags: [], what: "reserved ports" },
  { flags: ["-s"], what: "reserved ports, Send and Data" },
  { flags: ["-y"], what: "reserved ports, client to client" },
  { flags: ["-x"], what: "reserved IPv6 ports", address: "::1" },
  { flags: ["-X"], what: "an IPv4 relayed address by name" },
  { flags: ["-X", "-y"], what: "an IPv4 relayed address by name, client to client" },
  { flags: ["-Z"], what: "both families in one allocation" },
  { flags: ["-Z", "-y"], what: "both families, client to client" },
  { flags: ["-c", "-t"], what: "TCP" },
  { flags: ["-c", "-t", "-s"], what: "TCP, Send and Data" },
  { flags: ["-c", "-t", "-y"], what: "TCP, client to client" },
  { flags: ["-t"], what: "TCP, reserved ports" },
  { flags: ["-t", "-Z"], what: "TCP, both families" },
  { flags: ["-c", "-t"], what: "TCP beside HTTP", port: "listen" },
  { flags: ["-c", "-t", "-S"], what: "TLS", tls: true },
  { flags: ["-t", "-S"], what: "TLS, reserved ports", tls: true },
  { flags: ["-t", "-S", "-Z"], what: "TLS, both families", tls: true },
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

/** The output of `bimcc-rtc mint`. */
async function mint(host) {
  const { code, stdout, stderr } = await host.exec(BINARY, [
    "mint",
    ...["--secret", SECRET, "--user", "turnutils", "--host", "127.0.0.1"],
  ]);
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
}

/** One run of the tool. Returns how it ended, its output, and what the server counted. */
async function run(t, { flags, address = "127.0.0.1", tls, port = "turn" }, credentials) {
  const { host, server } = await serve(t, tls);
  const { peer } = await freePorts("peer");
  await host.start("turnutils_peer", ["-L", address, "-p", String(peer)]);
  let identity = ["-u", "turnutils", "-W", SECRET];
  if (credentials !== "-W") {
    const { username, password } = await mint(host);
    identity = ["-u", username, "-w", password];
  }
  const { code, stdout, stderr } = await host.exec("turnutils_uclient", [
    ...flags,
    ...identity,
    ...["-m", String(SESSIONS), "-p", String(server.ports[port]), "-e", address, "-r", String(peer)],
    address,
  ]);
  const samples = await server.metrics();
  const count = (labels) => total(samples, "bimcc_rtc_turn_responses_total", { method: "allocate", ...labels });
  const { "allocate 401": challenges = 0, ...errors } = turnErrors(samples);
  const allocations = count({ code: "success" });
  const requests = total(samples, "bimcc_rtc_turn_requests_total", { method: "allocate" });
  await server.stop();
  return { code, output: stdout + stderr, errors, challenges, allocations, requests };
}

describe("turnutils_uclient", { concurrency: AT_ONCE }, () => {
  for (const mode of MODES) {
    for (const credentials of ["-W", "minted credentials"]) {
      const name = `turnutils_uclient ${mode.flags.join(" ")} (${mode.what}), ${credentials}`;
      test(name, { skip, timeout: TIMEOUT }, async (t) => {
        let result;
        for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
          result = await run(t, mode, credentials);
          // Each allocation takes a request that is challenged and one that is granted. More requests mean that the
          // tool did not run for a while and repeated some: it then reads the second challenge as the answer to a later
          // request. Such a run says nothing about the server.
          if (result.requests === 2 * result.allocations) break;
          t.diagnostic(`${result.requests} requests for ${result.allocations} allocations, attempt ${attempt}`);
        }
        const { code, output, errors, challenges, allocations } = result;
        assert.equal(code, 0, output);
        assert.match(output, /Total lost packets 0 \(0\.0+%\), total send dropped 0 /, output);
        assert.deepEqual(errors, {}, "no other errors");
        // A session may make more than one allocation, each after one challenge.
        assert.ok(allocations >= SESSIONS, `${allocations} allocations`);
        assert.equal(challenges, allocations, "each allocation is challenged once");
      });
    }
  }
});

test("turnutils_stunclient learns its address", { skip: missing("turnutils_stunclient"), timeout: TIMEOUT }, async (t) => {
  const { host, server } = await serve(t);
  const { stdout, stderr } = await host.exec("turnutils_stunclient", ["-p", String(server.ports.turn), "127.0.0.1"]);
  assert.match(stdout + stderr, /UDP reflexive addr: 127\.0\.0\.1:\d+/);
});
