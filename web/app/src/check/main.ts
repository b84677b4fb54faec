// The connection test page: runs the probes one server URL at a time, and shows each result as soon as it is known.
import "./check.css";
import { BASE_PATH } from "../logic/base_path";
import {
  asText,
  judgeFamily,
  judgeSecureContext,
  judgeSignaling,
  judgeStun,
  judgeTurn,
  nameOf,
  type Place,
  show,
  summarize,
} from "./judge";
import { gatherReflexive, loopThroughRelay } from "./probes";
import { joinThrowAwayRoom, type Session } from "./session";
import type { Gathered, Row, ServerUrl } from "./types";
import { parseServerUrl } from "./urls";

const MARKS = { running: "…", ok: "works", warning: "remark", failed: "fails", note: "note" };

const hasTls = location.protocol === "https:";
const place: Place = {
  host: location.hostname,
  port: Number(location.port) || (hasTls ? 443 : 80),
  isSecureContext: window.isSecureContext,
  hasTls,
  isFirefox: /firefox/i.test(navigator.userAgent),
};

/** The rows, in the order in which they are shown. */
let rows: Row[] = [];

function element<T extends HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found as T;
}

const again = element<HTMLButtonElement>("again");
const copied = element("copied");
const report = element<HTMLTextAreaElement>("report");

async function run(): Promise<void> {
  again.disabled = true;
  report.hidden = true;
  copied.textContent = "";
  document.body.dataset.state = "running";
  rows = [judgeSecureContext(place)];
  let session: Session | undefined;
  try {
    // This also throws if WebRTC is switched off.
    new RTCPeerConnection().close();
    session = await testSignaling();
    if (session) await testServers(session);
  } catch (error) {
    put({
      id: "webrtc",
      what: "WebRTC",
      verdict: "failed",
      details: `This browser has no WebRTC, or it is switched off (${error}).`,
      advice: "Use another browser, or allow WebRTC in it.",
    });
  }
  session?.leave();
  again.disabled = false;
  document.body.dataset.state = "done";
}

async function testSignaling(): Promise<Session | undefined> {
  const url = `${hasTls ? "wss" : "ws"}://${location.host}${BASE_PATH}`;
  put({ id: "websocket", what: "WebSocket", verdict: "running", details: "" });
  try {
    const session = await joinThrowAwayRoom(url);
    put(judgeSignaling(place, session));
    return session;
  } catch (error) {
    put(judgeSignaling(place, error instanceof Error ? error : new Error(String(error))));
    return undefined;
  }
}

/** All servers are tested at once, because it takes ten seconds to find that one cannot be reached. */
async function testServers({ iceServers }: Session): Promise<void> {
  const reflexive: Gathered[] = [];
  const servers: ServerUrl[] = [];
  const tests: Promise<void>[] = [];
  for (const { urls, ...credentials } of iceServers) {
    for (const url of [urls].flat()) {
      const server = parseServerUrl(url);
      if (!server) continue;
      servers.push(server);
      put({ id: url, what: nameOf(server, place), verdict: "running", details: url });
      tests.push(
        (async () => {
          if (server.kind === "stun") {
            const found = await gatherReflexive({ urls: url });
            reflexive.push(found);
            put(judgeStun(server, found, place));
          } else {
            put(judgeTurn(server, await loopThroughRelay({ urls: url, ...credentials }), place));
          }
        })(),
      );
    }
  }
  await Promise.all(tests);
  put(judgeFamily("IPv4", servers, reflexive));
  put(judgeFamily("IPv6", servers, reflexive));
}

/** Shows a row, in the same place if it is already shown. */
function put(row: Row): void {
  const index = rows.findIndex(({ id }) => id === row.id);
  if (index < 0) rows.push(row);
  else rows[index] = row;
  element("rows").replaceChildren(...rows.map(shown));
  const { verdict, text } = summarize(rows);
  const summary = element("summary");
  summary.className = `summary ${verdict}`;
  if (summary.textContent !== text) summary.textContent = text;
}

function shown(row: Row): HTMLTableRowElement {
  const tr = document.createElement("tr");
  tr.setAttribute("role", "row");
  tr.dataset.test = row.id;
  tr.dataset.verdict = row.verdict;
  const what = cell("th", row.what);
  what.scope = "row";
  const details = cell("td", row.details);
  if (row.advice) {
    const advice = document.createElement("p");
    advice.textContent = row.advice;
    details.append(advice);
  }
  const verdict = cell("td", MARKS[row.verdict]);
  verdict.className = "verdict";
  tr.append(what, verdict, cell("td", row.time === undefined ? "" : show(row.time)), details);
  return tr;
}

function cell(kind: "td" | "th", text: string): HTMLTableCellElement {
  const cell = document.createElement(kind);
  cell.setAttribute("role", kind === "th" ? "rowheader" : "cell");
  cell.textContent = text;
  return cell;
}

async function copy(): Promise<void> {
  const about = { url: location.href, browser: navigator.userAgent, time: new Date().toISOString() };
  report.value = asText(rows, about);
  try {
    await navigator.clipboard.writeText(report.value);
    copied.textContent = "Copied.";
  } catch {
    // Pages without https cannot use the clipboard.
    report.hidden = false;
    report.select();
    copied.textContent = "Here it is; copy it from the field.";
  }
}

/** The narrow layout shows rows as grids, and then browsers no longer treat the elements as a table by themselves. */
function nameRoles(): void {
  for (const [selector, role] of [
    ["table", "table"],
    ["thead, tbody", "rowgroup"],
    ["thead tr", "row"],
    ["thead th", "columnheader"],
  ] as const) {
    for (const found of document.querySelectorAll(selector)) found.setAttribute("role", role);
  }
}

nameRoles();
element("server").textContent = location.host;
again.onclick = () => void run();
element("copy").onclick = () => void copy();
void run();
