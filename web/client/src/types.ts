// The types for applications. Times are in seconds, rates in bits per second, sizes in bytes, unless a name says
// otherwise.

import type { BimccRtcError } from "./errors";
import type { Peer, RemoteStream } from "./peer_types";

export type * from "./peer_types";

export interface JoinOptions {
  /** The server: `https:`, `http:`, `wss:` or `ws:`. Default: the server of the page. */
  url?: string | URL;
  /** The name of the room: 1 to 128 bytes, no control characters. */
  room: string;
  /** The name that others see; at most 1024 bytes. */
  name?: string;
  /** Any JSON for the others about this member; at most 16 KiB. */
  metadata?: unknown;
  /** A token, for servers whose rooms require one. */
  token?: string | (() => string | Promise<string>);
  /** Added to the configuration of each RTCPeerConnection. Its `iceServers` come after those of the server. */
  rtcConfiguration?: RTCConfiguration;
  /** The largest message to and from a peer, in bytes; it must be the same for all in a room. Default: 4 MiB. */
  maxMessageBytes?: number;
  /** Ends the attempt to join; has no effect later. */
  signal?: AbortSignal;
  /** Gets messages that help when a call fails; `console` is a logger. Default: none. */
  logger?: Logger;
}

/**
 * `error`: the room has ended. `warn`: something failed, and is tried again if that can help. `info`: who is in the
 * room, and how each peer is connected. `debug`: the steps in between. The texts are for people and may change; they
 * contain no secrets and no messages.
 */
export interface Logger {
  debug(text: string): void;
  info(text: string): void;
  warn(text: string): void;
  error(text: string): void;
}

/**
 * `joined`: the server is connected. `reconnecting`: the server is not connected; calls continue meanwhile, and the
 * room comes back by itself. `left`: the room has ended, by `leave()` or by the server (the `left` event has the
 * reason).
 */
export type RoomState = "joined" | "reconnecting" | "left";

export interface RoomEvents {
  state: (state: RoomState) => void;
  left: (reason: BimccRtcError | undefined) => void;
  peer_joined: (peer: Peer) => void;
  /** The name, metadata or state of a peer has changed. */
  peer_updated: (peer: Peer) => void;
  peer_left: (peer: Peer, reason: string) => void;
  stream: (peer: Peer, stream: RemoteStream) => void;
  stream_ended: (peer: Peer, stream: RemoteStream) => void;
  message: (peer: Peer, data: unknown, how: { via: "peer" | "server"; droppable: boolean }) => void;
  /** Somebody offers a file: `accept` or `refuse` it. */
  file: (peer: Peer, file: IncomingFile) => void;
  /** Something failed that did not end the room. `error.peer` is the peer that caused it, if one did. */
  error: (error: BimccRtcError) => void;
}

export interface Emitter<Events extends { [K in keyof Events]: (...args: never[]) => void }> {
  /** Returns a function that removes the listener. */
  on<K extends keyof Events>(event: K, listener: Events[K]): () => void;
  off<K extends keyof Events>(event: K, listener: Events[K]): void;
}

export interface Room extends Emitter<RoomEvents> {
  /** This member's id. It stays the same when the connection breaks and comes back. */
  readonly id: string;
  readonly room: string;
  readonly state: RoomState;
  readonly name: string | undefined;
  readonly metadata: unknown;
  /** The others, by id. */
  readonly peers: ReadonlyMap<string, Peer>;
  /** The streams that this member publishes. */
  readonly streams: readonly PublishedStream[];

  /**
   * Sends a stream to everybody, also to members that join later. If the stream is already published, this updates its
   * tracks.
   */
  publish(stream: MediaStream, options?: { label?: string }): PublishedStream;
  /**
   * Sends data (JSON, ArrayBuffer or a view) to everybody or to one member, in order. Resolves when it is on its way to
   * all. While there is no path to a peer, small messages go through the server, larger ones wait. Rejects with
   * `peer_gone` (to one only) or `too_large`.
   */
  send(data: unknown, options?: SendOptions): Promise<void>;
  /** Offers a file to everybody or to one member, with one transfer for each. */
  sendFile(file: Blob, options?: SendFileOptions): OutgoingFile[];
  /** Changes what others see. `undefined` keeps a value, `null` removes it. */
  update(change: { name?: string | null; metadata?: unknown }): void;
  /** How each peer is connected at this moment. */
  stats(): Promise<PeerStats[]>;
  leave(): void;
}

export interface SendOptions {
  /** One peer or its id; default: everybody. */
  to?: Peer | string;
  /**
   * The message may be lost or overtaken (for example a cursor position): it never waits and never goes through the
   * server.
   */
  droppable?: boolean;
}

export interface PublishedStream extends RemoteStream {
  /** Replaces the track of the same kind, without negotiation if possible. */
  replaceTrack(track: MediaStreamTrack): Promise<void>;
  /** Stops sending. The tracks themselves do not end. */
  unpublish(): void;
}

export interface SendFileOptions {
  to?: Peer | string;
  /** Default: the name of the File, else "file". */
  name?: string;
  /** Any JSON of at most 16 KiB, sent with the offer. */
  metadata?: unknown;
}

export type FileState = "offered" | "active" | "done" | "refused" | "cancelled" | "failed";

export interface FileEvents {
  state: (state: FileState) => void;
  progress: (bytes: number) => void;
}

export interface FileTransfer extends Emitter<FileEvents> {
  readonly peer: Peer;
  readonly name: string;
  readonly type: string;
  readonly size: number;
  readonly metadata: unknown;
  readonly state: FileState;
  readonly bytes: number;
  readonly error: BimccRtcError | undefined;
  cancel(): void;
}

export interface OutgoingFile extends FileTransfer {
  /** Resolves when the peer has the whole file and has checked it; rejects with a BimccRtcError. */
  readonly done: Promise<void>;
}

export interface IncomingFile extends FileTransfer {
  /**
   * Accepts the file. Without a `sink` it becomes a Blob, which browsers keep out of the page's memory. With a `sink`
   * (for example a stream to a file on disk), each piece is written to it in order, and the Blob is empty.
   */
  accept(options?: { sink?: WritableStream<Uint8Array> }): Promise<Blob>;
  refuse(): void;
}

export interface PeerStats {
  peer: Peer;
  /** `direct`: no relay on either side as far as this browser can tell. Undefined while not connected. */
  path: "direct" | "relayed" | undefined;
  /** The protocol between this browser and its relay, or the peer. */
  protocol: "udp" | "tcp" | "tls" | undefined;
  roundTripTime: number | undefined;
  /** Since the previous call of `stats()`, undefined in the first. */
  sendRate: number | undefined;
  receiveRate: number | undefined;
  bytesSent: number;
  bytesReceived: number;
  /** The fraction of media packets lost since the previous call, from 0 to 1. */
  packetLoss: number | undefined;
}
