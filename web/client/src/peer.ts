// One other member: the RTCPeerConnection to it with everything that runs over it. The room passes on what the server
// says.

import { Channel, type PeerFiles } from "./channels";
import { BimccRtcError } from "./errors";
import { createPeerFiles } from "./files";
import type { Content } from "./framing";
import { FIRST_CHANNEL_ID, MARKER_VERSION, REPORT_EVERY } from "./limits";
import type { Log } from "./log";
import { decode, PeerMessages } from "./messages";
import { Negotiation } from "./negotiation";
import { PathKeeper } from "./path_keeper";
import { type ClientEvent, isObject, type PeerInfo, parseJson, type SdkMarker } from "./protocol";
import { fits, maxMessageSizeOf, queueOf } from "./send_queue";
import { PathStats } from "./stats";
import { type LocalStream, RemoteStreams, Senders } from "./streams";
import { TokenBucket } from "./token_bucket";
import type { Logger, Peer, PeerState, PeerStats, RemoteStream, RoomEvents } from "./types";

/** What a peer needs from its room. */
export interface PeerOwner {
  readonly id: string;
  readonly log: Log;
  readonly maxMessageBytes: number;
  readonly streams: readonly LocalStream[];
  configuration(): RTCConfiguration;
  isJoined(): boolean;
  signal(event: ClientEvent): void;
  /** Sends through the server; resolves with false if that is not possible, now or ever. */
  sendByServer(to: string, content: Content, isForeign: boolean): Promise<boolean>;
  emit<K extends keyof RoomEvents>(event: K, ...args: Parameters<RoomEvents[K]>): void;
  remove(peer: RoomPeer, reason: string): void;
}

/** A connection, and everything that ends with it. */
interface Link {
  connection: RTCPeerConnection;
  senders: Senders;
  negotiation: Negotiation;
}

export class RoomPeer implements Peer {
  readonly id: string;
  name: string | undefined;
  metadata: unknown;
  /** Whether the peer's page uses this SDK; undefined until its first description has come. */
  usesSdk: boolean | undefined;
  state: PeerState = "connecting";
  readonly files: PeerFiles;
  readonly messages: PeerMessages;
  readonly keeper = new PathKeeper(this);
  readonly #room: PeerOwner;
  readonly #streams = new RemoteStreams((event, stream) => this.#room.emit(event, this, stream));
  readonly #channels: readonly Channel[];
  readonly #stats = new PathStats();
  readonly #foreignMessages = new TokenBucket(200, 500);
  #foreignChannel: RTCDataChannel | undefined;
  readonly #strangers = new TokenBucket(0.1, 5);
  #link: Link;
  #isAwaited = false;
  #reportedAt = -REPORT_EVERY;

  /** `waits`: the peer was told about this member, so the peer makes the first offer. */
  constructor(room: PeerOwner, info: PeerInfo, waits: boolean) {
    this.#room = room;
    this.id = info.socketId;
    this.describe(info);
    const onLost = () => this.keeper.handleChannelLost();
    const messages = new Channel("messages", { id: FIRST_CHANNEL_ID }, onLost);
    const droppable = new Channel("droppable", { id: FIRST_CHANNEL_ID + 1, ordered: false, maxRetransmits: 0 }, onLost);
    const files = new Channel("files", { id: FIRST_CHANNEL_ID + 2 }, onLost);
    this.#channels = [messages, droppable, files];
    this.messages = new PeerMessages(this, messages, droppable, room.maxMessageBytes);
    this.files = createPeerFiles(this, files, {
      offered: (file) => room.emit("file", this, file),
      failed: (error) => room.emit("error", error),
    });
    this.#link = this.#linkOver(this.#connect(), waits);
  }

  log(level: keyof Logger, text: string): void {
    this.#room.log(level, `${this.id}: ${text}`);
  }

  get connection(): RTCPeerConnection {
    return this.#link.connection;
  }

  get senders(): Senders {
    return this.#link.senders;
  }

  get streams(): readonly RemoteStream[] {
    return this.#streams.all;
  }

  get isAway(): boolean {
    return this.#isAwaited && this.state !== "connected";
  }

  /**
   * The server has refused a message because it awaits the peer's return, or it has passed on a message of the peer.
   */
  handleAwaited(isAwaited: boolean): void {
    const before = this.isAway;
    this.#isAwaited = isAwaited;
    if (!isAwaited) this.messages.reliable.wake();
    if (this.isAway !== before) this.#room.emit("peer_updated", this);
  }

  /** Takes over the description of the peer. */
  describe({ name, metadata }: Omit<PeerInfo, "socketId">): void {
    if (name !== undefined) this.name = name ?? undefined;
    if (metadata !== undefined) this.metadata = metadata ?? undefined;
  }

  handleDescription(description: RTCSessionDescriptionInit, marker?: SdkMarker): void {
    this.usesSdk ||= marker !== undefined;
    if (marker) {
      for (const channel of this.#channels) channel.allow();
      this.#streams.labels = marker.streams;
    }
    if (!this.usesSdk && description.type === "answer") this.openForeignChannel();
    this.#link.negotiation.handleDescription(description, marker);
  }

  handleCandidate(candidate: RTCIceCandidateInit): void {
    this.#link.negotiation.handleCandidate(candidate);
  }

  /**
   * Peer and server can both be reached again after one of them could not. `afresh`: the server has meanwhile forgotten
   * one of the two members, so relayed addresses are gone.
   */
  handleReachable(afresh: boolean): void {
    this.#isAwaited = false;
    void this.keeper.handleReachable(afresh);
    this.messages.reliable.wake();
    // A first offer may have been lost, so this side no longer waits for it.
    if (!this.connection.remoteDescription && !afresh) this.#link.negotiation.start();
    else this.resync();
  }

  /** Sends what is still to be sent, if the peer can be reached. */
  resync(): void {
    this.#link.negotiation.resync();
  }

  handleMessage(data: unknown, droppable: boolean): void {
    this.#room.emit("message", this, data, { via: "peer", droppable });
  }

  configure(): void {
    this.connection.setConfiguration(this.#room.configuration());
  }

  stats(): Promise<PeerStats> {
    return this.#stats.read(this);
  }

  report(what: string): void {
    const now = performance.now();
    if (now - this.#reportedAt < REPORT_EVERY) return;
    this.#reportedAt = now;
    this.#room.emit("error", new BimccRtcError("bad_peer_message", `refused from ${this.id}: ${what}`, this));
  }

  isReachable(): boolean {
    return this.#room.isJoined() && !this.keeper.isMissing;
  }

  giveUp(): void {
    this.#room.remove(this, "disconnected");
  }

  close(): void {
    this.#closeLink();
    for (const channel of this.#channels) channel.close();
    this.files.close();
  }

  #closeLink(): void {
    const { connection, negotiation } = this.#link;
    this.keeper.reset();
    negotiation.close();
    connection.onconnectionstatechange = null;
    connection.close();
    this.#streams.close();
  }

  /** Starts again with another connection. */
  open(): void {
    // This comes first, because it may throw.
    const connection = this.#connect();
    this.#closeLink();
    this.#link = this.#linkOver(connection, false);
  }

  #connect(): RTCPeerConnection {
    return new RTCPeerConnection(this.#room.configuration());
  }

  #linkOver(connection: RTCPeerConnection, waits: boolean): Link {
    const senders = new Senders(connection);
    const negotiation = new Negotiation(connection, this, this.#room.id < this.id, waits);
    connection.ontrack = (event) => this.#streams.handleTrack(event);
    connection.ondatachannel = ({ channel }) => this.handleForeignChannel(channel);
    connection.onconnectionstatechange = () => this.#handleState();
    connection.oniceconnectionstatechange = () => this.log("debug", `ICE ${connection.iceConnectionState}`);
    connection.onicecandidateerror = ({ errorCode, errorText, url }) =>
      this.log("debug", `${url}: ${errorCode} ${errorText}`);
    for (const channel of this.#channels) channel.attach(connection);
    for (const stream of this.#room.streams) senders.sync(stream);
    return { connection, senders, negotiation };
  }

  #handleState(): void {
    const { connectionState } = this.connection;
    const before = this.state;
    this.log(connectionState === "failed" ? "warn" : "info", connectionState);
    if (connectionState === "connected" || connectionState === "failed") this.state = connectionState;
    else if (before !== "connecting") this.state = "reconnecting";
    if (this.state !== before) this.#room.emit("peer_updated", this);
    this.keeper.handleState();
  }

  // ---- What negotiation has to say ------------------------------------------------------------------------------------

  sendDescription(type: "offer" | "answer", sdp: string, offer: number | undefined): void {
    this.#room.signal({
      eventName: `__${type}`,
      data: { socketId: this.id, sdp: { type, sdp }, sdk: this.marker(offer) },
    });
  }

  /** What is sent with a description. */
  marker(offer: number | undefined): SdkMarker {
    const streams: Record<string, string> = {};
    for (const { stream, label } of this.#room.streams) if (label !== undefined) streams[stream.id] = label;
    return { v: MARKER_VERSION, offer, streams };
  }

  sendCandidate({ candidate, sdpMid, sdpMLineIndex }: RTCIceCandidate): void {
    const label = sdpMLineIndex ?? 0;
    const data = { socketId: this.id, label, candidate, sdpMid, sdpMLineIndex: label };
    this.#room.signal({ eventName: "__ice_candidate", data });
  }

  /**
   * The other side has started again, or the first offer of this side must give way. So this side starts again, too.
   */
  handleStranger(description: RTCSessionDescriptionInit, marker: SdkMarker | undefined): void {
    if (!this.#strangers.take(1)) {
      this.report("too many connections");
      return;
    }
    this.log("info", "begins anew");
    this.open();
    if (description.type === "offer") this.#link.negotiation.handleDescription(description, marker);
  }

  handleBadDescription(error: unknown): void {
    this.report(`description: ${error}`);
  }

  // ---- Clients without this SDK ---------------------------------------------------------------------------------------

  /** They open a channel when they call, and expect one when they are called. */
  openForeignChannel(): void {
    if (!this.#foreignChannel) this.handleForeignChannel(this.connection.createDataChannel("old"));
  }

  /** A channel that was opened in band. This SDK opens none to clients of its own kind. */
  handleForeignChannel(channel: RTCDataChannel): void {
    this.#foreignChannel = channel;
    channel.onopen = () => this.messages.reliable.wake();
    channel.onmessage = ({ data }: MessageEvent<unknown>) => {
      const isFine =
        typeof data === "string" && data.length <= this.#room.maxMessageBytes && this.#foreignMessages.take(1);
      const message = isFine && parseJson(data);
      if (!isObject(message)) this.report("no message, or too many");
      else if (message.type === "__msg") this.handleMessage(message.data, false);
    };
  }

  async #sendAsForeign(channel: RTCDataChannel, content: Content): Promise<boolean> {
    const queue = queueOf(channel);
    await queue.ready();
    if (channel.readyState !== "open") return false;
    const text = JSON.stringify({ type: "__msg", data: decode(content) });
    const limit = maxMessageSizeOf(this.connection);
    if (!fits(text, limit)) throw new BimccRtcError("too_large", `this old client takes ${limit} bytes`, this);
    queue.send(text);
    return true;
  }

  async bypass(content: Content): Promise<boolean> {
    const isForeign = this.usesSdk === false;
    if (isForeign && content.isBinary) throw new BimccRtcError("not_supported", "old clients take no bytes", this);
    if (isForeign && this.#foreignChannel) return this.#sendAsForeign(this.#foreignChannel, content);
    return !this.keeper.isMissing && !this.#isAwaited && this.#room.sendByServer(this.id, content, isForeign);
  }
}
