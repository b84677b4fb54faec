// The others in the room as the page shows them: names, streams, and how each is connected.
import type { Peer, PeerState, PeerStats, RemoteStream, Room } from "bimcc-rtc";
import { displayName } from "../logic/names";
import { type Rate, RateHistory } from "../logic/rates";
import { type Presence, presenceFromMetadata } from "./presence";
import { Derived } from "./store";

const STATS_EVERY = 2000;
/** Three minutes of rates. */
export const RATES_KEPT = 90;
/** How many streams of one peer are shown; more than a camera and a few screens is an attack on the page. */
const STREAMS_SHOWN = 4;
const RENDER_EVERY = 100;

export interface PersonStream {
  readonly id: string;
  readonly kind: "camera" | "screen";
  readonly stream: MediaStream;
}

export interface Person {
  readonly id: string;
  readonly name: string;
  readonly state: PeerState;
  readonly presence: Presence | undefined;
  readonly streams: readonly PersonStream[];
  readonly stats: PeerStats | undefined;
  readonly rates: readonly Rate[];
}

interface Watched {
  history: RateHistory;
  stats: PeerStats | undefined;
}

export class People {
  readonly list: Derived<readonly Person[]>;
  readonly #watched = new Map<string, Watched>();
  readonly #ends: (() => void)[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #disposed = false;

  constructor(private readonly room: Room) {
    this.list = new Derived(() => [...room.peers.values()].map((peer) => this.#person(peer)), RENDER_EVERY);
    const { changed } = this.list;
    this.#ends.push(
      room.on("peer_joined", changed),
      room.on("peer_updated", changed),
      room.on("stream", changed),
      room.on("stream_ended", changed),
      room.on("peer_left", (peer) => {
        this.#watched.delete(peer.id);
        changed();
      }),
    );
    void this.#poll();
  }

  dispose(): void {
    this.#disposed = true;
    clearTimeout(this.#timer);
    for (const end of this.#ends) end();
    this.list.dispose();
  }

  async #poll(): Promise<void> {
    // If this fails now, it may work the next time.
    const stats = await this.room.stats().catch(() => []);
    if (this.#disposed) return;
    for (const of of stats) {
      if (this.room.peers.get(of.peer.id) !== of.peer) continue;
      const watched = this.#watch(of.peer.id);
      watched.stats = of;
      const { bytesSent, bytesReceived } = of;
      watched.history.add({ time: performance.now(), bytesSent, bytesReceived });
    }
    this.list.changed();
    this.#timer = setTimeout(() => void this.#poll(), STATS_EVERY);
  }

  #watch(id: string): Watched {
    const known = this.#watched.get(id);
    if (known) return known;
    const watched = { history: new RateHistory(RATES_KEPT), stats: undefined };
    this.#watched.set(id, watched);
    return watched;
  }

  #person(peer: Peer): Person {
    const watched = this.#watched.get(peer.id);
    return {
      id: peer.id,
      name: displayName(peer),
      state: peer.state,
      presence: presenceFromMetadata(peer.metadata),
      streams: peer.streams.slice(0, STREAMS_SHOWN).map(toPersonStream),
      stats: peer.state === "connected" ? watched?.stats : undefined,
      rates: watched?.history.rates ?? [],
    };
  }
}

function toPersonStream({ stream, label }: RemoteStream): PersonStream {
  return { id: stream.id, kind: label === "screen" ? "screen" : "camera", stream };
}

/** How a person is connected, in two words. */
export function pathInWords({ state, stats }: Person): string {
  if (state === "connecting") return "connecting…";
  if (state === "reconnecting") return "reconnecting…";
  if (state === "failed") return "no connection";
  if (!stats?.path) return "connected";
  return stats.protocol ? `${stats.path}, ${stats.protocol.toUpperCase()}` : stats.path;
}
