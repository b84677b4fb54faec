// Explains the findings in words for the person who runs the server. The module is pure: findings in, rows out.
import type { CandidateError, Gathered, Looped, Row, ServerUrl } from "./types";
import { familyOf, isLoopback } from "./urls";

/** The place where the page runs. */
export interface Place {
  host: string;
  port: number;
  isSecureContext: boolean;
  hasTls: boolean;
  isFirefox: boolean;
}

/** If gathering took this long without an address, it waited for an answer that never came. */
const NO_ANSWER_AFTER = 4_000;

const NAMES = { udp: "UDP", tcp: "TCP", tls: "TLS" };

/** A name for a server URL, with its host only if that differs from the page's host. */
export function nameOf({ kind, transport, host, port }: ServerUrl, place: Place): string {
  return `${kind.toUpperCase()} over ${NAMES[transport]} (${host === place.host ? "" : `${host}:`}${port})`;
}

export function judgeSecureContext(place: Place): Row {
  const row = { id: "secure", what: "Camera and microphone" };
  if (place.isSecureContext) return { ...row, verdict: "ok", details: "This browser would offer them to this page." };
  return {
    ...row,
    verdict: "warning",
    details: "Browsers give them to https pages and to localhost only. The board, chat and receiving work.",
    advice: "Start the server with --tls and open the https:// address.",
  };
}

export function judgeSignaling(place: Place, outcome: { opened: number; joined: number } | Error): Row {
  const row = { id: "websocket", what: `WebSocket (TCP ${place.port})` };
  if (!(outcome instanceof Error)) {
    const details = `Open after ${show(outcome.opened)}, in a room after ${show(outcome.joined)}.`;
    return { ...row, verdict: "ok", time: outcome.joined, details };
  }
  return {
    ...row,
    verdict: "failed",
    details: `It does not work: ${outcome.message}.`,
    advice:
      "If a reverse proxy stands in between, it must pass WebSocket upgrades on (docs/OPERATIONS.md has an example). " +
      "If --origin is set, it must name this page's address. Some company proxies and virus scanners block " +
      `WebSockets without TLS${place.hasTls ? "" : ": --tls helps there"}.`,
  };
}

export function judgeStun(server: ServerUrl, found: Gathered, place: Place): Row {
  const row = { id: server.url, what: nameOf(server, place) };
  if (found.time !== undefined) {
    return { ...row, verdict: "ok", time: found.time, details: `Seen from there as ${found.addresses.join(" and ")}.` };
  }
  const isUnreached = found.errors.length > 0 || !found.isComplete || found.took > NO_ANSWER_AFTER;
  if (!isUnreached) {
    // Browsers do not report an address that they have already reported.
    return { ...row, verdict: "ok", time: found.took, details: "No router changes this device's address on the way." };
  }
  return {
    ...row,
    verdict: "failed",
    details: "No answer came.",
    advice: `${openPort("UDP", server.port)} Without it people can reach each other directly only on the same network.`,
  };
}

export function judgeTurn(server: ServerUrl, found: Looped, place: Place): Row {
  const row = { id: server.url, what: nameOf(server, place) };
  if (found.allocated === undefined) {
    if (place.isFirefox && isLoopback(server.host)) {
      const details = "Firefox uses no TURN server on this same machine by its loopback address.";
      return { ...row, verdict: "note", details: `${details} For other devices this tells nothing.` };
    }
    if (place.isFirefox && server.transport === "tls" && familyOf(server.host)) {
      const details = "Firefox uses TURN over TLS by a name only, and this page was opened by an address.";
      return { ...row, verdict: "note", details, advice: "Give the server a name that its certificate has." };
    }
    return { ...row, verdict: "failed", ...whyNoRelay(server, found.errors) };
  }
  if (found.roundTrip === undefined) {
    return {
      ...row,
      verdict: "failed",
      time: found.allocated,
      details: "The server gave a relayed address, but nothing came through it.",
      advice: "The server's log at --log debug says what it refused; --deny-peer may name its own public address.",
    };
  }
  const at = found.address ? ` at ${found.address}` : "";
  const details = `Relayed${at} after ${show(found.allocated)}; there and back in ${show(found.roundTrip)}.`;
  return { ...row, verdict: "ok", time: found.connected ?? found.allocated, details };
}

/** Whether the server was reached over a family, as far as a browser lets a page know. */
export function judgeFamily(family: "IPv4" | "IPv6", servers: ServerUrl[], reflexive: Gathered[]): Row {
  const row = { id: family, what: family };
  const address = reflexive.flatMap(({ addresses }) => addresses).find((address) => familyOf(address) === family);
  if (address) return { ...row, verdict: "ok", details: `Reached the server from ${address}.` };
  const families = new Set(servers.filter(({ kind }) => kind === "stun").map(({ host }) => familyOf(host)));
  if (families.size === 1 && !families.has(undefined)) {
    const isOther = !families.has(family);
    const details = isOther
      ? `Not tested: the page was opened by an address of the other kind. A name that has both tests both.`
      : reflexive.some(({ errors, isComplete, took }) => isComplete && errors.length === 0 && took < NO_ANSWER_AFTER)
        ? "Reached the server; no router changes this device's address on the way."
        : "Not reached over UDP (see above).";
    return { ...row, verdict: isOther || details.startsWith("Not") ? "note" : "ok", details };
  }
  return {
    ...row,
    verdict: "note",
    details: `No sign of it: this device or the server's name has no ${family}. One of the two kinds is enough.`,
  };
}

/** One sentence for all rows. */
export function summarize(rows: Row[]): { verdict: Row["verdict"]; text: string } {
  const failed = rows.filter(({ verdict }) => verdict === "failed");
  if (rows.some(({ verdict }) => verdict === "running")) return { verdict: "running", text: "Testing…" };
  if (failed.some(({ id }) => id === "websocket" || id === "webrtc")) {
    return { verdict: "failed", text: "This browser cannot use the server. See the failed test." };
  }
  const relays = rows.filter(({ id }) => id.startsWith("turn"));
  const isRelayed = relays.some(({ verdict }) => verdict === "ok");
  if (!isRelayed && relays.some(({ verdict }) => verdict === "failed")) {
    return {
      verdict: "failed",
      text: "Rooms, chat and board work, but calls work only with people on the same or an open network: no relay is reached.",
    };
  }
  if (failed.length > 0) {
    return { verdict: "warning", text: "Calls work from here, but not every way is open. See the failed tests." };
  }
  if (rows.some(({ verdict }) => verdict === "warning")) {
    return { verdict: "warning", text: "Everything can be reached from here. See the remark." };
  }
  return { verdict: "ok", text: "Everything works from here." };
}

/** The results as text, for a message to somebody who helps. */
export function asText(rows: Row[], about: { url: string; browser: string; time: string }): string {
  const marks = { running: "...", ok: "ok", warning: "remark", failed: "FAILED", note: "note" };
  const lines = rows.map(({ what, verdict, time, details, advice }) => {
    const took = time === undefined ? "" : `, ${show(time)}`;
    return `[${marks[verdict]}${took}] ${what}: ${details}${advice ? `\n    ${advice}` : ""}`;
  });
  const head = [`Connection test of ${about.url}`, about.time, about.browser, summarize(rows).text];
  return `${[...head, "", ...lines].join("\n")}\n`;
}

/** Milliseconds, for people. */
export function show(milliseconds: number): string {
  if (milliseconds < 10) return `${milliseconds.toFixed(1)} ms`;
  return milliseconds < 1000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
}

function whyNoRelay(server: ServerUrl, errors: CandidateError[]): { details: string; advice: string } {
  const error = errors.find(({ code }) => code >= 300 && code < 700);
  const details = error ? `The server refused: ${error.code} ${error.text}.` : "No relay was reached.";
  switch (error?.code) {
    case 401:
      return {
        details,
        advice:
          "The credentials are not good there: does another program listen on this port, " +
          "or several servers with different secrets behind one name?",
      };
    case 403:
      return { details, advice: "The server forbids it; its log at --log debug says why." };
    case 486:
      return { details, advice: "This member has too many relayed addresses: --max-allocations-per-user." };
    case 508:
      return {
        details,
        advice: "The server has no relay port or no memory left: see --relay-ports and --max-allocations.",
      };
  }
  if (error) return { details, advice: "The server's log at --log debug says more." };
  if (server.transport === "udp") return { details, advice: openPort("UDP", server.port) };
  if (server.transport === "tcp") return { details, advice: openPort("TCP", server.port) };
  const trust =
    "Browsers check the certificate of TURN over TLS too, and an exception made for the page does not count.";
  return {
    details,
    advice: `${openPort("TCP", server.port)} ${trust} A CA of your own must be trusted on this device.`,
  };
}

function openPort(protocol: "UDP" | "TCP", port: number): string {
  const start = `Open ${protocol} ${port} to the server: in the provider's firewall and in the machine's own (ufw, nftables).`;
  return protocol === "UDP" ? `${start} If it is open, this network blocks UDP.` : start;
}
