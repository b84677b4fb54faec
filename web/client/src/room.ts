// A room as the application sees it: connects the server's events, the peers, and the published streams.

import { reportMistake, TypedEmitter } from "./emitter";
import { BimccRtcError } from "./errors";
import type { Content } from "./framing";
import { MAX_DROPPABLE_BYTES, MAX_ROOM_BYTES, MAX_UNSENT, RETURN_GRACE } from "./limits";
import { withoutSecrets } from "./log";
import { encode, unwrap, wrap } from "./messages";
import { watchNetwork } from "./network";
import { OWN_PARTS, type RoomParts } from "./parts";
import type { PeerOwner, RoomPeer } from "./peer";
import type { ClientEvent, ErrorData, JoinData, PeerInfo, PeersData, RoomEvent } from "./protocol";
import { fits } from "./send_queue";
import { Signaling, type SignalingOwner, type SignalingState } from "./signaling";
import { LocalStream, type LocalStreamOwner } from "./streams";
import { TokenBucket } from "./token_bucket";
import type {
  JoinOptions,
  Logger,
  OutgoingFile,
  Peer,
  PeerStats,
  PublishedStream,
  RemoteStream,
  Room,
  RoomEvents,
  RoomState,
  SendFileOptions,
  SendOptions,
} from "./types";

export const DEFAULT_MAX_MESSAGE_BYTES = 4_194_304;

/** Resolves when the room is joined. The signal ends the attempt. */
export async function createRoom(options: JoinOptions): Promise<Room> {
  // Without a name, the server would let strangers meet in the room that it has for old clients.
  if (!isRoomName(options?.room)) {
    throw new BimccRtcError("bad_room", "joinRoom needs `room`: 1 to 128 bytes without control characters");
  }
  return new Promise((resolve, reject) => {
    const room = new RoomImpl(options, OWN_PARTS, { joined: () => resolve(room), ended: reject });
    const { signal } = options;
    const abort = () => room.abort();
    if (signal?.aborted) abort();
    else room.connect();
    signal?.addEventListener("abort", abort);
  });
}

/** The outcome of the attempt to join: one of the two is called, once. */
interface Outcome {
  joined(): void;
  ended(error: BimccRtcError): void;
}

export class RoomImpl<P extends RoomPeer>
  extends TypedEmitter<RoomEvents>
  implements Room, PeerOwner, SignalingOwner, LocalStreamOwner
{
  readonly #options: JoinOptions;
  readonly #parts: RoomParts<P>;
  readonly #outcome: Outcome;
  id = "";
  room: string;
  state: RoomState = "reconnecting";
  name: string | undefined;
  metadata: unknown;
  readonly peers = new Map<string, P>();
  streams: readonly LocalStream[] = [];
  readonly maxMessageBytes: number;
  readonly #signaling = new Signaling(this);
  /** Less than what the server accepts from one connection. */
  readonly #serverMessages = new TokenBucket(60, 300);
  readonly #stopWatching: () => void;
  #iceServers: RTCIceServer[] = [];
  #unsent: ClientEvent[] = [];
  #isProfileUnsent = false;
  /** Whether one of the outcomes has been reported. */
  #isSettled = false;

  constructor(options: JoinOptions, parts: RoomParts<P>, outcome: Outcome) {
    super();
    this.#options = options;
    this.#parts = parts;
    this.#outcome = outcome;
    this.room = options.room;
    this.name = options.name;
    this.metadata = options.metadata;
    this.maxMessageBytes = options.maxMessageBytes ?? DEFAULT_MAX_MESSAGE_BYTES;
    this.#stopWatching = watchNetwork({
      changed: () => {
        this.log("debug", "network changed");
        this.#signaling.doubt();
        this.#forPeers((peer) => peer.keeper.handleNetworkChange());
      },
      awake: () => this.#signaling.doubt(),
      gone: () => this.leave(),
    });
  }

  log(level: keyof Logger, text: string): void {
    try {
      this.#options.logger?.[level](`bimcc-rtc: ${withoutSecrets(text)}`);
    } catch (error) {
      // A logger that throws does no harm.
      reportMistake(error);
    }
  }

  /** The events for the application are in the log under the same names. */
  override emit<K extends keyof RoomEvents>(event: K, ...args: Parameters<RoomEvents[K]>): void {
    if (event !== "message" && event !== "peer_updated") {
      this.log(event === "error" ? "warn" : "info", [event, ...args.map(inShort)].join(" "));
    }
    super.emit(event, ...args);
  }

  connect(): void {
    try {
      // A client that cannot make a connection must not become visible to the others. This connection is not used for a
      // peer: browsers decide when they make a connection whether it may show the host's addresses, and it may only
      // after the user has allowed the camera.
      new RTCPeerConnection(this.configuration()).close();
    } catch (cause) {
      this.#signaling.leave(notSupported(cause));
      return;
    }
    this.#signaling.connect();
  }

  publish(stream: MediaStream, { label }: { label?: string } = {}): PublishedStream {
    const known = this.streams.find((published) => published.stream === stream);
    const local = known ?? new LocalStream(stream, label, this);
    if (!known) this.streams = [...this.streams, local];
    local.sync();
    return local;
  }

  async send(data: unknown, { to, droppable }: SendOptions = {}): Promise<void> {
    const limit = this.maxMessageBytes;
    const content = encode(data, droppable ? Math.min(MAX_DROPPABLE_BYTES, limit) : limit);
    const targets = this.#targets(to);
    if (droppable) for (const peer of targets) peer.messages.sendDroppable(content);
    else if (to !== undefined) await targets[0]?.messages.send(content);
    else {
      const failed = (peer: RoomPeer) => (error: BimccRtcError) => {
        // A peer that leaves meanwhile misses nothing.
        const { reason = "browser_error", message } = error;
        if (reason !== "peer_gone") this.emit("error", new BimccRtcError(reason, message, peer));
      };
      await Promise.all(targets.map((peer) => peer.messages.send(content).catch(failed(peer))));
    }
  }

  sendFile(file: Blob, options: SendFileOptions = {}): OutgoingFile[] {
    const targets = this.#targets(options.to).filter(({ usesSdk }) => options.to !== undefined || usesSdk !== false);
    return targets.map((peer) => peer.files.send(file, options));
  }

  update(change: { name?: string | null; metadata?: unknown }): void {
    const { name, metadata } = change;
    // This throws if the change cannot be sent, before anything has changed.
    JSON.stringify(change);
    if (name !== undefined) this.name = name ?? undefined;
    if (metadata !== undefined) this.metadata = metadata ?? undefined;
    this.#isProfileUnsent = !this.#signaling.send({ eventName: "__update", data: change });
  }

  stats(): Promise<PeerStats[]> {
    return Promise.all([...this.peers.values()].map((peer) => peer.stats()));
  }

  leave(): void {
    this.#signaling.leave();
  }

  /** Ends the attempt to join; later it has no effect. */
  abort(): void {
    if (!this.#isSettled) this.leave();
  }

  #targets(to: Peer | string | undefined): RoomPeer[] {
    if (this.state === "left") throw new BimccRtcError("aborted", "left");
    if (to === undefined) return [...this.peers.values()];
    const peer = this.peers.get(typeof to === "string" ? to : to.id);
    if (!peer) throw new BimccRtcError("peer_gone", "no such peer");
    return [peer];
  }

  /** An error with one peer, for example because the page has closed its connection, does not concern the others. */
  #forPeers(action: (peer: RoomPeer) => void): void {
    for (const peer of [...this.peers.values()]) {
      try {
        action(peer);
      } catch (cause) {
        this.emit("error", new BimccRtcError("browser_error", `${cause}`, peer, { cause }));
      }
    }
  }

  // ---- For the streams ------------------------------------------------------------------------------------------------

  syncStream(stream: LocalStream): void {
    if (this.streams.includes(stream)) this.#forPeers((peer) => peer.senders.sync(stream));
  }

  async replaceTrack(stream: LocalStream, old: MediaStreamTrack, track: MediaStreamTrack): Promise<void> {
    await Promise.all([...this.peers.values()].map((peer) => peer.senders.replace(stream, old, track)));
  }

  unpublish(stream: LocalStream): void {
    this.streams = this.streams.filter((published) => published !== stream);
    this.#forPeers((peer) => peer.senders.remove(stream));
  }

  // ---- For signaling --------------------------------------------------------------------------------------------------

  socketUrl(): string {
    const page = globalThis.location;
    const url = new URL(this.#options.url ?? page.origin, page?.href);
    url.protocol = url.protocol.replace(/^http/, "ws");
    url.hash = "";
    return url.href;
  }

  openSocket(url: string, isCurrent: () => boolean): WebSocket {
    return this.#parts.openSocket(url, isCurrent);
  }

  async joinData(): Promise<Omit<JoinData, "resume">> {
    const { room, token } = this.#options;
    return {
      room,
      name: this.name,
      metadata: this.metadata,
      token: typeof token === "function" ? await token() : token,
    };
  }

  handleSignalingState(state: SignalingState): void {
    if (this.state !== "joined" || state === "joined" || state === "ended") return;
    this.#forPeers((peer) => void peer.keeper.notePath());
    this.#setState("reconnecting");
  }

  handleEnd(error = this.#isSettled ? undefined : new BimccRtcError("aborted", "given up")): void {
    this.#stopWatching();
    this.#forPeers((peer) => peer.close());
    this.peers.clear();
    this.#setState("left");
    if (error) this.log("error", inShort(error));
    if (this.#isSettled) this.emit("left", error);
    else if (error) {
      this.#isSettled = true;
      this.#outcome.ended(error);
    }
  }

  /**
   * Whatever the browser throws because of a message of the server or of a peer, the attempt to join must have an
   * outcome.
   */
  handleEvent(event: RoomEvent): void {
    try {
      this.#handleEvent(event);
    } catch (cause) {
      if (!this.#isSettled) this.#signaling.leave(notSupported(cause));
      else this.emit("error", new BimccRtcError("browser_error", `${event.eventName}: ${cause}`, undefined, { cause }));
    }
  }

  #handleEvent({ eventName, data }: RoomEvent): void {
    switch (eventName) {
      case "_peers":
        this.#handlePeers(data);
        return;
      case "_new_peer":
        this.#handlePresent(data, true, true, true);
        return;
      case "_error":
        this.#handleError(data);
        return;
      case "_ice_servers":
        this.#useIceServers(data.iceServers);
        return;
    }
    const peer = this.peers.get(data.socketId);
    if (!peer) return;
    if (eventName !== "_remove_peer") peer.handleAwaited(false);
    switch (eventName) {
      case "_remove_peer":
        if (data.reason === "disconnected" && peer.usesSdk) peer.keeper.handleMissing(0);
        else this.remove(peer, data.reason);
        return;
      case "_peer_updated":
        peer.describe(data);
        this.emit("peer_updated", peer);
        return;
      case "_offer":
      case "_answer":
        peer.handleDescription(data.sdp, data.sdk);
        return;
      case "_ice_candidate":
        peer.handleCandidate(data.candidate);
        return;
      case "_message":
        this.emit("message", peer, unwrap(data.data), { via: "server", droppable: false });
    }
  }

  #handlePeers(data: PeersData): void {
    const isFirst = this.id === "";
    if (data.you !== this.id) {
      // Nobody knows this member under the old id any more.
      this.#forPeers((peer) => this.remove(peer, "moved"));
      this.id = data.you;
    }
    this.room = data.room || this.room;
    this.log("info", `${data.resumed ? "resumed" : "joined"} as ${this.id} with ${data.connections}`);
    this.#useIceServers(data.iceServers);
    this.#sendUnsent();
    this.#setState("joined");
    const afresh = !data.resumed;
    // A member that is missing after a restart of the server may still come back. A server that did not restart has
    // already waited for the member.
    this.#forPeers((peer) => {
      if (!data.connections.includes(peer.id)) peer.keeper.handleMissing(afresh ? RETURN_GRACE : 0);
    });
    for (const socketId of data.connections) {
      const info = data.peers.find((peer) => peer.socketId === socketId);
      this.#handlePresent({ ...info, socketId }, afresh, false, !isFirst);
    }
    if (!isFirst) return;
    this.#isSettled = true;
    this.#outcome.joined();
  }

  #handlePresent(info: PeerInfo, afresh: boolean, waits: boolean, isNews: boolean): void {
    const known = this.peers.get(info.socketId);
    if (known) {
      const { name = null, metadata = null } = info;
      known.describe({ name, metadata });
      known.handleReachable(afresh);
      this.emit("peer_updated", known);
      return;
    }
    const peer = this.#parts.createPeer(this, info, waits);
    this.peers.set(peer.id, peer);
    if (isNews) this.emit("peer_joined", peer);
  }

  #handleError({ code, message, eventName, socketId }: ErrorData): void {
    const peer = this.peers.get(socketId ?? "");
    if (code === "peer_away") peer?.handleAwaited(true);
    // The peer is leaving or coming back, so the message will be repeated or is not needed.
    if (code === "peer_away" || code === "no_such_peer") return;
    this.emit("error", new BimccRtcError(code, `${eventName ?? "server"}: ${message}`, peer));
  }

  #useIceServers(iceServers: RTCIceServer[]): void {
    this.#iceServers = iceServers;
    this.log("debug", `iceServers ${iceServers.map(({ urls }) => urls)}`);
    this.#forPeers((peer) => peer.configure());
  }

  #sendUnsent(): void {
    for (const event of this.#unsent.splice(0)) this.#signaling.send(event);
    if (this.#isProfileUnsent) this.update({ name: this.name ?? null, metadata: this.metadata ?? null });
  }

  #setState(state: RoomState): void {
    if (state === this.state) return;
    this.state = state;
    if (this.id) this.emit("state", state);
  }

  // ---- For the peers --------------------------------------------------------------------------------------------------

  remove(peer: RoomPeer, reason: string): void {
    if (!this.peers.delete(peer.id)) return;
    peer.close();
    this.emit("peer_left", peer, reason);
  }

  isJoined(): boolean {
    return this.#signaling.state === "joined";
  }

  signal(event: ClientEvent): void {
    if (this.#signaling.send(event) || event.eventName !== "__ice_candidate") return;
    if (this.#unsent.length < MAX_UNSENT) this.#unsent.push(event);
  }

  configuration(): RTCConfiguration {
    const { rtcConfiguration: own } = this.#options;
    return {
      bundlePolicy: "max-bundle",
      rtcpMuxPolicy: "require",
      ...own,
      iceServers: [...this.#iceServers, ...(own?.iceServers ?? [])],
    };
  }

  async sendByServer(socketId: string, content: Content, isForeign: boolean): Promise<boolean> {
    const message = wrap(content);
    if (!message || !this.isJoined()) return false;
    await this.#serverMessages.taken(1 + content.bytes.length / 4096);
    const data = isForeign ? message.data : message;
    return this.#signaling.send({ eventName: "__message", data: { socketId, data } });
  }
}

function isRoomName(room: unknown): room is string {
  return typeof room === "string" && room !== "" && fits(room, MAX_ROOM_BYTES) && !/[\p{Cc}\p{Cs}]/u.test(room);
}

/** The part of an event's arguments that may be logged: the peer, the stream, the error. */
function inShort(value: unknown): string {
  const { reason, message, id, label } = Object(value) as Partial<BimccRtcError & Peer & RemoteStream>;
  return reason ? `${reason}: ${message}` : (id ?? label ?? (typeof value === "string" ? value : ""));
}

function notSupported(cause: unknown): BimccRtcError {
  const isMissing = typeof RTCPeerConnection === "undefined";
  const what = isMissing
    ? "there is no WebRTC here, or it is switched off"
    : "this browser makes no connection to peers";
  return new BimccRtcError("not_supported", `${what} (${cause})`, undefined, { cause });
}
