// `BimccMultiRTC()` and `SkyRTC()` as pages for the first clients know them: their methods, events and properties, on
// top of a room of the current client. The room reconnects and resumes, so such a page does not notice when the server
// is away.

import type { BimccRtcError } from "../errors";
import { openCamera } from "../media";
import { isObject, parseJson } from "../protocol";
import { DEFAULT_MAX_MESSAGE_BYTES, RoomImpl } from "../room";
import { maxMessageSizeOf } from "../send_queue";
import { TokenBucket } from "../token_bucket";
import type { PublishedStream } from "../types";
import { play } from "./media_urls";
import { OldEmitter } from "./old_emitter";
import { type FileToSend, OldFiles } from "./old_files";
import { PartsReader, sendText } from "./old_messages";
import { OldPeer } from "./old_peer";

/** Streams that the page has made with this script. They are played without sound. */
const ownStreams = new WeakSet<MediaStream>();

/** How many messages of one peer are accepted per second, and at once; more are dropped. */
const MESSAGES = [200, 1000] as const;
const REPORT_EVERY = 5_000;

export function isOwnStream(stream: MediaStream): boolean {
  return ownStreams.has(stream);
}

export class OldClient extends OldEmitter {
  room = "";
  socket: WebSocket | null = null;
  me: string | null = null;
  connections: string[] = [];
  peerConnections: Record<string, RTCPeerConnection> = {};
  dataChannels: Record<string, RTCDataChannel> = {};
  localMediaStream: MediaStream | null = null;
  numStreams = 0;
  initializedStreams = 0;
  fileData: Record<string, unknown> = {};
  readonly fileChannels: OldFiles["fileChannels"];
  readonly receiveFiles: OldFiles["receiveFiles"];
  readonly #defaultRoom: string;
  readonly #files = new OldFiles({
    channel: (socketId) => this.dataChannels[socketId],
    emit: (eventName, ...args) => this.emit(eventName, ...args),
  });
  /** The members that were there first. This side makes them the offer, and opens the channel. */
  readonly #toCall = new Set<string>();
  readonly #called = new Set<string>();
  readonly #opened = new WeakSet<RTCPeerConnection>();
  /** The largest message of each channel, kept because descriptions are slow to read. */
  readonly #maxMessageSizes = new WeakMap<RTCDataChannel, number>();
  readonly #published: { stream: MediaStream; handle: PublishedStream | undefined }[] = [];
  #inner: RoomImpl<OldPeer> | undefined;
  #wasOpened = false;
  #isReady = false;
  #reportedAt = -REPORT_EVERY;

  constructor(defaultRoom: string) {
    super();
    this.#defaultRoom = defaultRoom;
    this.fileChannels = this.#files.fileChannels;
    this.receiveFiles = this.#files.receiveFiles;
    // Pages may emit this event themselves.
    this.on("ready", () => this.#start());
  }

  // ---- The server -----------------------------------------------------------------------------------------------------

  connect(server: string, room?: string): void {
    this.#inner?.leave();
    this.room = room || roomOf(server) || this.#defaultRoom;
    const inner = new RoomImpl(
      { url: server, room: this.room },
      {
        openSocket: (url, isCurrent) => this.#openSocket(url, isCurrent),
        createPeer: (...about) =>
          new OldPeer(...about, {
            handleConnection: (peer) => this.#handleConnection(peer),
            handleChannel: (peer, channel) => {
              this.addDataChannel(peer.id, channel);
              this.emit("pc_add_data_channel", channel, peer.id, peer.connection);
            },
          }),
      },
      { joined: () => this.#handleJoined(), ended: (error) => this.#handleFailed(error) },
    );
    this.#inner = inner;
    inner.on("peer_joined", ({ id }) => {
      this.connections.push(id);
      this.emit("new_peer", id);
      inner.peers.get(id)?.start();
    });
    inner.on("peer_left", ({ id }) => this.#handlePeerLeft(id));
    inner.on("peer_updated", ({ id }) => this.#openChannelIfNeeded(id));
    inner.on("stream", (peer, { stream }) => this.emit("pc_add_stream", stream, peer.id, peer.connection));
    inner.on("message", ({ id }, data) => this.emit("data_channel_message", this.dataChannels[id], id, data));
    inner.on("error", (error) => console.warn(error.message));
    inner.on("left", () => this.#handleEnd());
    this.addStreams();
    inner.connect();
  }

  /** The page is ready, so the others are called now, with or without a stream. */
  allReadyComplete(): void {
    this.emit("ready");
  }

  /** There is a new socket after each reconnect. Pages get its messages before the room handles them. */
  #openSocket(url: string, isCurrent: () => boolean): WebSocket {
    const socket = new WebSocket(url);
    this.socket = socket;
    socket.addEventListener("open", () => {
      if (!isCurrent() || this.#wasOpened) return;
      this.#wasOpened = true;
      this.emit("socket_opened", socket);
    });
    socket.addEventListener("message", ({ data }: MessageEvent<unknown>) => {
      if (isCurrent() && typeof data === "string") this.#handleServerMessage(parseJson(data), socket);
    });
    socket.addEventListener("error", (event) => {
      if (isCurrent()) this.emit("socket_error", event, socket);
    });
    return socket;
  }

  #handleServerMessage(message: unknown, socket: WebSocket): void {
    const { eventName, data } = isObject(message) ? message : {};
    if (typeof eventName !== "string") this.emit("socket_receive_message", socket, message);
    // Event names without the underscore are those of this client.
    else if (eventName.startsWith("_")) this.emit(eventName, data);
    if (eventName === "_offer") this.emit("get_offer", data);
    else if (eventName === "_answer") this.emit("get_answer", data);
    else if (eventName === "_ice_candidate") this.emit("get_ice_candidate", candidateOf(data));
  }

  #handleJoined(): void {
    if (!this.#inner) return;
    this.me = this.#inner.id;
    this.connections = [...this.#inner.peers.keys()];
    for (const id of this.connections) this.#toCall.add(id);
    this.emit("get_peers", this.connections);
    this.emit("connected", this.socket);
    if (this.#isReady) this.#start();
  }

  #handleFailed(error: BimccRtcError): void {
    console.warn(error.message);
    // If there was a socket, it has already reported an error.
    if (!this.socket) this.emit("socket_error", error, null);
    this.#handleEnd();
  }

  #handleEnd(): void {
    for (const id of [...this.connections]) this.#handlePeerLeft(id);
    const { socket } = this;
    this.#inner = undefined;
    this.#wasOpened = false;
    this.#isReady = false;
    this.#toCall.clear();
    this.#called.clear();
    this.socket = null;
    this.peerConnections = {};
    this.dataChannels = {};
    this.connections = [];
    for (const published of this.#published) published.handle = undefined;
    this.emit("socket_closed", socket);
  }

  #handlePeerLeft(id: string): void {
    this.connections = this.connections.filter((other) => other !== id);
    this.#toCall.delete(id);
    this.#called.delete(id);
    this.#files.handlePeerGone(id);
    delete this.peerConnections[id];
    delete this.dataChannels[id];
    this.emit("remove_peer", id);
  }

  // ---- Streams --------------------------------------------------------------------------------------------------------

  /**
   * The stream is sent to everybody as soon as it exists; then the others are called, if they were not called before.
   */
  createStream(
    options: { video?: boolean | MediaTrackConstraints; audio?: boolean | MediaTrackConstraints } = {},
  ): void {
    const { video = false, audio = false } = options;
    this.numStreams += 1;
    openCamera({ video, audio }).then(
      (stream) => {
        ownStreams.add(stream);
        this.localMediaStream = stream;
        this.initializedStreams += 1;
        this.#published.push({ stream, handle: undefined });
        this.addStreams();
        this.emit("stream_created", stream);
        if (this.initializedStreams === this.numStreams) this.emit("ready");
      },
      (error: unknown) => {
        this.numStreams -= 1;
        this.emit("stream_create_error", error);
        // The documentation of the old API describes this.
        this.emit("stream_created_error", error);
      },
    );
  }

  addStreams(): void {
    for (const published of this.#published) published.handle ??= this.#inner?.publish(published.stream);
  }

  attachStream(stream: MediaStream, domId: string): void {
    const element = document.getElementById(domId);
    if (element instanceof HTMLMediaElement) play(element, stream, isOwnStream(stream));
  }

  // ---- Connections ----------------------------------------------------------------------------------------------------

  createPeerConnections(): void {
    for (const id of this.connections) this.createPeerConnection(id);
  }

  /** The connection exists as soon as the peer is known. */
  createPeerConnection(socketId: string): RTCPeerConnection | undefined {
    return this.peerConnections[socketId];
  }

  closePeerConnection(pc?: RTCPeerConnection): void {
    pc?.close();
  }

  sendOffers(): void {
    for (const peer of this.#inner?.peers.values() ?? []) peer.start();
  }

  receiveOffer(socketId: string, sdp: RTCSessionDescriptionInit): void {
    this.#inner?.peers.get(socketId)?.handleDescription(sdp);
  }

  sendAnswer(socketId: string, sdp: RTCSessionDescriptionInit): void {
    this.receiveOffer(socketId, sdp);
  }

  receiveAnswer(socketId: string, sdp: RTCSessionDescriptionInit): void {
    this.#inner?.peers.get(socketId)?.handleDescription(sdp);
  }

  #start(): void {
    this.#isReady = true;
    if (!this.me) return;
    this.addStreams();
    for (const id of this.#toCall) {
      this.#toCall.delete(id);
      this.#called.add(id);
      this.createDataChannel(id);
      this.#inner?.peers.get(id)?.start();
    }
  }

  #handleConnection(peer: OldPeer): void {
    const { id, connection } = peer;
    this.peerConnections[id] = connection;
    connection.addEventListener("icecandidate", ({ candidate }) =>
      this.emit("pc_get_ice_candidate", candidate, id, connection),
    );
    connection.addEventListener("connectionstatechange", () => {
      if (connection.connectionState !== "connected" || this.#opened.has(connection)) return;
      this.#opened.add(connection);
      this.emit("pc_opened", id, connection);
    });
    // The connection replaces one that could not be repaired.
    if (this.#called.has(id)) this.createDataChannel(id);
  }

  /**
   * A peer that called without opening a channel uses the current API. It has other channels, which are used instead,
   * but a page expects to see one that opens.
   */
  #openChannelIfNeeded(id: string): void {
    const peer = this.#inner?.peers.get(id);
    if (peer?.state === "connected" && peer.usesSdk && !peer.usesOldApi && !this.dataChannels[id]) {
      this.createDataChannel(id);
    }
  }

  // ---- Data channels --------------------------------------------------------------------------------------------------

  broadcast(message: unknown): void {
    for (const id of Object.keys(this.dataChannels)) this.sendMessage(message, id);
  }

  sendMessage(message: unknown, socketId: string): void {
    const channel = this.dataChannels[socketId];
    if (channel?.readyState !== "open") return;
    const peer = this.#inner?.peers.get(socketId);
    if (peer?.usesSdk && !peer.usesOldApi) {
      this.#sendByClient(message, socketId);
      return;
    }
    const text = JSON.stringify({ type: "__msg", data: message });
    const maxInParts = peer?.takesParts ? this.#inner?.maxMessageBytes : undefined;
    try {
      sendText(channel, text, { maxMessageSize: this.#maxMessageSize(channel, socketId), maxInParts });
    } catch (error) {
      // A page with an older build of this script does not know parts, but it has the channels of the current API.
      if (peer?.usesSdk && !peer.takesParts) this.#sendByClient(message, socketId);
      else this.emit("data_channel_error", channel, socketId, error);
    }
  }

  #maxMessageSize(channel: RTCDataChannel, socketId: string): number {
    const connection = this.peerConnections[socketId];
    const known = this.#maxMessageSizes.get(channel) ?? (connection ? maxMessageSizeOf(connection) : 0);
    this.#maxMessageSizes.set(channel, known);
    return known;
  }

  #sendByClient(message: unknown, socketId: string): void {
    this.#inner?.send(message, { to: socketId }).catch((error: unknown) => {
      this.emit("data_channel_error", this.dataChannels[socketId], socketId, error);
    });
  }

  addDataChannels(): void {
    for (const id of Object.keys(this.peerConnections)) if (!this.dataChannels[id]) this.createDataChannel(id);
  }

  createDataChannel(socketId: string, label = "messages"): RTCDataChannel | undefined {
    const fail = (error: unknown) => this.emit("data_channel_create_error", socketId, error);
    const connection = this.peerConnections[socketId];
    if (!socketId) fail(new Error("attempt to create data channel without socket id"));
    else if (!connection) fail(new Error("attempt to create data channel without peerConnection"));
    else {
      try {
        return this.addDataChannel(socketId, connection.createDataChannel(label));
      } catch (error) {
        fail(error);
      }
    }
    return undefined;
  }

  addDataChannel(socketId: string, channel: RTCDataChannel): RTCDataChannel {
    const opened = () => this.emit("data_channel_opened", channel, socketId);
    // A channel of the other side may already be open when it is announced.
    if (channel.readyState === "open") queueMicrotask(opened);
    else channel.onopen = opened;
    const report = (what: string) => this.#report(channel, socketId, what);
    const parts = new PartsReader(DEFAULT_MAX_MESSAGE_BYTES, () => report("the rest of a message does not come"));
    channel.onclose = () => {
      parts.reset();
      if (this.dataChannels[socketId] === channel) delete this.dataChannels[socketId];
      this.emit("data_channel_closed", channel, socketId);
    };
    const intake = new TokenBucket(...MESSAGES);
    channel.binaryType = "arraybuffer";
    channel.onmessage = ({ data }: MessageEvent<unknown>) => {
      let text: unknown = data;
      try {
        if (data instanceof ArrayBuffer) text = parts.push(data);
      } catch (error) {
        report(`parts that are none: ${error}`);
      }
      const message = parse(text);
      if (!message) return;
      if (message.type === "__file") this.#files.handlePacket(message, socketId);
      else if (intake.take(1)) this.emit("data_channel_message", channel, socketId, message.data);
      else report("too many messages");
    };
    channel.onerror = (error) => this.emit("data_channel_error", channel, socketId, error);
    this.dataChannels[socketId] = channel;
    return channel;
  }

  /** Reports the peer, but not more often than somebody can read it. */
  #report(channel: RTCDataChannel, socketId: string, what: string): void {
    const now = performance.now();
    if (now - this.#reportedAt < REPORT_EVERY) return;
    this.#reportedAt = now;
    this.emit("data_channel_error", channel, socketId, new Error(`${what}, from ${socketId}`));
  }

  // ---- Files ----------------------------------------------------------------------------------------------------------

  /** `dom` is an input of type file, or its id. */
  shareFile(dom: unknown): void {
    for (const id of Object.keys(this.dataChannels)) this.sendFile(dom, id);
  }

  sendFile(dom: unknown, socketId: string): void {
    this.#files.sendFile(dom, socketId);
  }

  sendFileAccept(sendId: string): void {
    this.#files.sendFileAccept(sendId);
  }

  sendFileRefuse(sendId: string): void {
    this.#files.sendFileRefuse(sendId);
  }

  cleanSendFile(sendId: string, socketId: string): void {
    this.#files.cleanSendFile(sendId, socketId);
  }

  cleanReceiveFile(sendId: string): void {
    this.#files.cleanReceiveFile(sendId);
  }

  parseFilePacket(packet: Record<string, unknown>, socketId: string): void {
    this.#files.handlePacket(packet, socketId);
  }

  getRandomString(): string {
    return this.#files.getRandomString();
  }

  sendAsk(socketId: string, sendId: string, fileToSend: FileToSend): void {
    this.#files.sendAsk(socketId, sendId, fileToSend);
  }

  /** Does nothing: an accepted file is sent as fast as the channel takes it. */
  sendFileChunks(): void {}

  sendFileChunk(_socketId: string, _sendId: string): void {}

  receiveFileAsk(sendId: string, fileName: string, fileSize: number, socketId: string): void {
    this.#files.receiveFileAsk(sendId, fileName, fileSize, socketId);
  }

  receiveFileAccept(sendId: string, socketId: string): void {
    this.#files.receiveFileAccept(sendId, socketId);
  }

  receiveFileRefuse(sendId: string, socketId: string): void {
    this.#files.receiveFileRefuse(sendId, socketId);
  }

  receiveFileChunk(data: string, sendId: string, socketId: string, last: boolean, percent?: number): void {
    this.#files.receiveFileChunk(data, sendId, socketId, last, percent);
  }

  getTransferedFile(sendId: string): void {
    this.#files.getTransferedFile(sendId);
  }
}

function parse(text: unknown): Record<string, unknown> | undefined {
  try {
    const message: unknown = typeof text === "string" ? JSON.parse(text) : undefined;
    return isObject(message) ? message : undefined;
  } catch {
    return undefined;
  }
}

function roomOf(server: string): string {
  try {
    return new URL(server, location.href).searchParams.get("room") ?? "";
  } catch {
    return "";
  }
}

function candidateOf(data: unknown): unknown {
  try {
    return new RTCIceCandidate(data as RTCIceCandidateInit);
  } catch {
    return data;
  }
}
