import { expect, test } from "vitest";
import {
  asText,
  judgeFamily,
  judgeSecureContext,
  judgeSignaling,
  judgeStun,
  judgeTurn,
  type Place,
  summarize,
} from "../../src/check/judge";
import type { Gathered, Looped, Row, ServerUrl } from "../../src/check/types";
import { familyOf, isLoopback, parseServerUrl } from "../../src/check/urls";

const PLACE: Place = { host: "rtc.example", port: 3000, isSecureContext: true, hasTls: false, isFirefox: false };

function server(url: string): ServerUrl {
  const parsed = parseServerUrl(url);
  if (!parsed) throw new Error(`${url} is no URL of a server`);
  return parsed;
}

function gathered(found: Partial<Gathered>): Gathered {
  return { addresses: [], took: 100, isComplete: true, errors: [], ...found };
}

const unreached: Looped = { errors: [{ code: 701, text: "timed out" }] };

test("URLs of servers are taken apart", () => {
  expect(parseServerUrl("stun:rtc.example:3478")).toEqual({
    url: "stun:rtc.example:3478",
    kind: "stun",
    transport: "udp",
    host: "rtc.example",
    port: 3478,
  });
  expect(server("turn:[2001:db8::1]:99?transport=tcp")).toMatchObject({
    kind: "turn",
    transport: "tcp",
    host: "[2001:db8::1]",
    port: 99,
  });
  expect(server("turns:h?transport=tcp")).toMatchObject({ transport: "tls", port: 5349 });
  expect(server("turn:h")).toMatchObject({ transport: "udp", port: 3478 });
  for (const url of ["", "http://h", "turn:", "turn:h:x", "stun:a:1:2"]) expect(parseServerUrl(url)).toBeUndefined();
});

test("addresses are told from names", () => {
  expect(["192.0.2.1", "::1", "[2001:db8::1]", "a.example", "abc", "1.2.3"].map(familyOf)).toEqual([
    "IPv4",
    "IPv6",
    "IPv6",
    undefined,
    undefined,
    undefined,
  ]);
  expect(["localhost", "127.0.0.1", "127.9.9.9", "[::1]", "10.0.0.1", "127.example"].map(isLoopback)).toEqual([
    true,
    true,
    true,
    true,
    false,
    false,
  ]);
});

test("a page without https is told what to do about the camera", () => {
  expect(judgeSecureContext(PLACE).verdict).toBe("ok");
  const row = judgeSecureContext({ ...PLACE, isSecureContext: false });
  expect(row.verdict).toBe("warning");
  expect(row.advice).toContain("--tls");
});

test("a WebSocket that fails is explained", () => {
  expect(judgeSignaling(PLACE, { opened: 5, joined: 9 })).toMatchObject({ verdict: "ok", time: 9 });
  const row = judgeSignaling(PLACE, new Error("no answer came"));
  expect(row).toMatchObject({ verdict: "failed", what: "WebSocket (TCP 3000)" });
  expect(row.details).toContain("no answer came");
  expect(row.advice).toMatch(/proxy.*--origin.*--tls/);
  expect(judgeSignaling({ ...PLACE, hasTls: true }, new Error("x")).advice).not.toContain("--tls");
});

test("STUN: answered with an address, answered without news, not answered", () => {
  const stun = server("stun:rtc.example:4000");
  const seen = judgeStun(stun, gathered({ addresses: ["203.0.113.5"], time: 12 }), PLACE);
  expect(seen).toMatchObject({ verdict: "ok", time: 12, what: "STUN over UDP (4000)" });
  expect(seen.details).toContain("203.0.113.5");
  expect(judgeStun(stun, gathered({}), PLACE).verdict).toBe("ok");
  for (const silence of [
    gathered({ errors: [{ code: 701, text: "" }] }),
    gathered({ took: 9_500 }),
    gathered({ isComplete: false, took: 12_000 }),
  ]) {
    const row = judgeStun(stun, silence, PLACE);
    expect(row.verdict).toBe("failed");
    expect(row.advice).toContain("Open UDP 4000");
  }
});

test("TURN that is not reached names the port and protocol to open", () => {
  const advice = (url: string) => judgeTurn(server(url), unreached, PLACE);
  expect(advice("turn:rtc.example:3478?transport=udp").advice).toContain("Open UDP 3478");
  expect(advice("turn:rtc.example:3478?transport=tcp").advice).toContain("Open TCP 3478");
  expect(advice("turns:rtc.example:5349?transport=tcp").advice).toMatch(/Open TCP 5349.*certificate/);
  expect(advice("turn:other.example:1").what).toBe("TURN over UDP (other.example:1)");
  expect(advice("turn:rtc.example:1").what).toBe("TURN over UDP (1)");
});

test("TURN that refuses is told by its code", () => {
  const turn = server("turn:rtc.example:3478");
  const row = (code: number) =>
    judgeTurn(
      turn,
      {
        errors: [
          { code: 701, text: "" },
          { code, text: "why" },
        ],
      },
      PLACE,
    );
  for (const [code, word] of [
    [401, "secret"],
    [486, "--max-allocations-per-user"],
    [508, "--relay-ports"],
    [403, "--log debug"],
    [500, "--log debug"],
  ] as const) {
    expect(row(code).advice, String(code)).toContain(word);
    expect(row(code).details).toContain(`${code} why`);
  }
});

test("TURN that relays shows address and round trip; one that relays nothing fails", () => {
  const turn = server("turn:rtc.example:3478");
  const whole = { address: "203.0.113.1", allocated: 20, connected: 50, roundTrip: 1.25, errors: [] };
  expect(judgeTurn(turn, whole, PLACE)).toMatchObject({ verdict: "ok", time: 50 });
  expect(judgeTurn(turn, whole, PLACE).details).toMatch(/203\.0\.113\.1.*1\.3 ms/);
  expect(judgeTurn(turn, { allocated: 20, errors: [] }, PLACE).verdict).toBe("failed");
});

test("that Firefox uses no relay on loopback is no fault", () => {
  const loopback = server("turn:127.0.0.1:3478");
  expect(judgeTurn(loopback, unreached, { ...PLACE, isFirefox: true }).verdict).toBe("note");
  expect(judgeTurn(loopback, unreached, PLACE).verdict).toBe("failed");
});

test("that Firefox wants a name for TURN over TLS is no fault of the network", () => {
  const byAddress = server("turns:203.0.113.1:443?transport=tcp");
  expect(judgeTurn(byAddress, unreached, { ...PLACE, isFirefox: true }).verdict).toBe("note");
  expect(judgeTurn(byAddress, unreached, PLACE).verdict).toBe("failed");
  const byName = server("turns:rtc.example:443?transport=tcp");
  expect(judgeTurn(byName, unreached, { ...PLACE, isFirefox: true }).verdict).toBe("failed");
});

test("families are what STUN has seen, or what the address of the page allows", () => {
  const named = [server("stun:rtc.example:1")];
  const both = [gathered({ addresses: ["203.0.113.5", "2001:db8::5"], time: 1 })];
  expect(judgeFamily("IPv4", named, both)).toMatchObject({ verdict: "ok" });
  expect(judgeFamily("IPv6", named, both).details).toContain("2001:db8::5");
  expect(judgeFamily("IPv6", named, [gathered({ addresses: ["203.0.113.5"] })]).verdict).toBe("note");
  const literal = [server("stun:10.0.0.1:1")];
  expect(judgeFamily("IPv4", literal, [gathered({})]).verdict).toBe("ok");
  expect(judgeFamily("IPv4", literal, [gathered({ errors: [{ code: 701, text: "" }] })]).verdict).toBe("note");
  expect(judgeFamily("IPv6", literal, [gathered({})]).details).toContain("Not tested");
});

const ROW: Row = { id: "x", what: "X", verdict: "ok", details: "fine" };

test("the summary is as good as the worst that matters", () => {
  const verdict = (...rows: Partial<Row>[]) => summarize(rows.map((row) => ({ ...ROW, ...row }))).verdict;
  expect(verdict({}, { verdict: "note" })).toBe("ok");
  expect(verdict({}, { verdict: "running" })).toBe("running");
  expect(verdict({ verdict: "warning" })).toBe("warning");
  expect(verdict({ id: "websocket", verdict: "failed" })).toBe("failed");
  expect(verdict({ id: "turn:a", verdict: "failed" })).toBe("failed");
  expect(verdict({ id: "turn:a", verdict: "failed" }, { id: "turn:b" })).toBe("warning");
  expect(verdict({ id: "stun:a", verdict: "failed" }, { id: "turn:b" })).toBe("warning");
});

test("the text for whoever helps has everything", () => {
  const rows: Row[] = [
    { ...ROW, time: 12 },
    { ...ROW, verdict: "failed", details: "no", advice: "Open UDP 1." },
  ];
  const text = asText(rows, { url: "http://h/check", browser: "B/1", time: "now" });
  expect(text).toContain("Connection test of http://h/check\nnow\nB/1\n");
  expect(text).toContain("[ok, 12 ms] X: fine\n[FAILED] X: no\n    Open UDP 1.\n");
});
