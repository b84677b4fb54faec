// How a peer is connected, from the browser's statistics about the candidate pair in use.

import type { Peer, PeerStats } from "./types";

type Path = Pick<PeerStats, "path" | "protocol">;
type Entry = Record<string, unknown> & { id: string; type: string };

interface Counters {
  at: number;
  sent: number;
  received: number;
  lost: number;
  packets: number;
}

/** The stats of one peer over time. */
export class PathStats {
  #pair: { id: string; sent: number; received: number } | undefined;
  #before: Counters | undefined;
  #bytesSent = 0;
  #bytesReceived = 0;

  async read(peer: Peer): Promise<PeerStats> {
    const report = await reportOf(peer.connection);
    const pair = selectedPair(report);
    this.#count(pair);
    const inbound = [...report.values()].filter(({ type }) => type === "inbound-rtp");
    const sum = (key: string) => inbound.reduce((all, entry) => all + number(entry[key]), 0);
    const now: Counters = {
      at: performance.now(),
      sent: this.#bytesSent,
      received: this.#bytesReceived,
      lost: sum("packetsLost"),
      packets: sum("packetsReceived"),
    };
    const before = this.#before;
    this.#before = now;
    const seconds = before && (now.at - before.at) / 1000;
    const rate = (key: "sent" | "received") => (seconds ? (8 * (now[key] - before[key])) / seconds : undefined);
    const lost = Math.max(0, now.lost - (before?.lost ?? 0));
    const packets = lost + now.packets - (before?.packets ?? 0);
    return {
      peer,
      ...pathOf(report, pair),
      roundTripTime: pair?.currentRoundTripTime as number | undefined,
      sendRate: rate("sent"),
      receiveRate: rate("received"),
      bytesSent: this.#bytesSent,
      bytesReceived: this.#bytesReceived,
      packetLoss: before && packets > 0 ? lost / packets : undefined,
    };
  }

  /** Another pair counts from zero, but the totals here continue. */
  #count(pair: Entry | undefined): void {
    if (!pair) return;
    const sent = number(pair.bytesSent);
    const received = number(pair.bytesReceived);
    const known = this.#pair?.id === pair.id ? this.#pair : { sent: 0, received: 0 };
    this.#bytesSent += Math.max(0, sent - known.sent);
    this.#bytesReceived += Math.max(0, received - known.received);
    this.#pair = { id: pair.id, sent, received };
  }
}

/** The path in use at this moment. The fields are undefined if there is none. */
export async function currentPath(connection: RTCPeerConnection): Promise<Path> {
  const report = await reportOf(connection);
  return pathOf(report, selectedPair(report));
}

async function reportOf(connection: RTCPeerConnection): Promise<Map<string, Entry>> {
  try {
    return (await connection.getStats()) as unknown as Map<string, Entry>;
  } catch {
    // Code that waits for the result must not fail.
    return new Map();
  }
}

function selectedPair(report: Map<string, Entry>): Entry | undefined {
  const all = [...report.values()];
  const transport = all.find(({ type, selectedCandidatePairId }) => type === "transport" && selectedCandidatePairId);
  const named = report.get(String(transport?.selectedCandidatePairId));
  // Firefox reports no transport, but marks the pair.
  const pairs = all.filter(({ type, state }) => type === "candidate-pair" && state === "succeeded");
  return named ?? pairs.find(({ selected }) => selected) ?? pairs.find(({ nominated }) => nominated);
}

function pathOf(report: Map<string, Entry>, pair: Entry | undefined): Path {
  const local = report.get(String(pair?.localCandidateId));
  const remote = report.get(String(pair?.remoteCandidateId));
  if (!local) return { path: undefined, protocol: undefined };
  const isRelay = local.candidateType === "relay";
  const protocol = String((isRelay && local.relayProtocol) || local.protocol).toLowerCase() as Path["protocol"];
  return {
    path: isRelay || remote?.candidateType === "relay" ? "relayed" : "direct",
    protocol,
  };
}

function number(value: unknown): number {
  return typeof value === "number" ? value : 0;
}
