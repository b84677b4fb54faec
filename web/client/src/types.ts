// What an application sees. Times are in seconds, rates in bits per second, sizes in bytes, unless a name says otherwise.

import type { BimccRtcError } from "./errors";
import type { Peer, RemoteStream } from "./peer_types";

export type * from "./peer_types";

export interface JoinOptions {
  /** The server: `https:`, `http:`, `wss:` or `ws:`. Default: where the page came from. */
  url?: string | URL;
  /** 1 to 128 bytes, no control characters. */
  room: string;
  /** What others see; at most 1024 bytes. */
  name?: string;
  /** Anything JSON that others may know about this member; at most 16 KiB. */
  metadata?: unknown;
  /** For servers whose rooms need one. */
  token?: string | (() => string | Promise<string>);
  /** Added to each RTCPeerConnection's configuration; its `iceServers` come after the server's. */
  rtcConfiguration?: RTCConfiguration;
  /** The largest message to and from a peer, in bytes; the same for all in a room. Default: 4 MiB. */
  maxMessageBytes?: number;
  /** Ends the attempt to join; has no effect later. */
  signal?: AbortSignal;
  /** Is told what goes on, for when a call fails; `console` is one. Default: nobody. */
  logger?: Logger;
}

/**
 * `error`: it is over. `warn`: something failed, and is tried again if that is of use. `info`: who is there, and how each is
 * connected. `debug`: how that came about. Texts are for people and may change; no secrets and no messages are in them.
 */
export interface Logger {
  debug(text: string): void;
  info(text: string): void;
  warn(text: string): void;
  error(text: string): void;
}

/**
 * `joined`: the server is there. `reconnecting`: it is not, calls go on meanwhile and the room comes back by itself.
 * `left`: for good, by `leave()`, or because the server said so (the `left` event has the reason).
 */
export type RoomState = "joined" | "reconnecting" | "left";

export interface RoomEvents {
  state: (state: RoomState) => void;
  left: (reason: BimccRtcError | undefined) => void;
  peer_joined: (peer: Peer) => void;
  /** The name, metadata or state of a peer is another now. */
  peer_updated: (peer: Peer) => void;
  peer_left: (peer: Peer, reason: string) => void;
  stream: (peer: Peer, stream: RemoteStream) => void;
  stream_ended: (peer: Peer, stream: RemoteStream) => void;
  message: (peer: Peer, data: unknown, how: { via: "peer" | "server"; droppable: boolean }) => void;
  /** Somebody offers a file: `accept` or `refuse` it. */
  file: (peer: Peer, file: IncomingFile) => void;
  /** Something went wrong that did not end the room: `error.peer` names who caused it, if somebody did. */
  error: (error: BimccRtcError) => void;
}

export interface Emitter<Events extends { [K in keyof Events]: (...args: never[]) => void }> {
  /** Returns what takes the listener away again. */
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
  /** What this member publishes. */
  readonly streams: readonly PublishedStream[];

  /** Sends a stream to everybody, also to those who come later. The same stream again: its tracks as they are now. */
  publish(stream: MediaStream, options?: { label?: string }): PublishedStream;
  /**
   * Sends data (JSON, ArrayBuffer or a view) to everybody or to one, in order. Resolves when it is on its way to all.
   * While there is no path to a peer, small messages go through the server, larger ones wait. Rejects with `peer_gone`
   * (to one only) or `too_large`.
   */
  send(data: unknown, options?: SendOptions): Promise<void>;
  /** Offers a file to everybody or to one: a transfer for each. */
  sendFile(file: Blob, options?: SendFileOptions): OutgoingFile[];
  /** Changes what others see. `undefined` leaves a value, `null` takes it away. */
  update(change: { name?: string | null; metadata?: unknown }): void;
  /** How each peer is connected at this moment. */
  stats(): Promise<PeerStats[]>;
  leave(): void;
}

export interface SendOptions {
  /** One peer or its id; default: everybody. */
  to?: Peer | string;
  /** May be lost and overtaken (cursors): never waits, never goes through the server. */
  droppable?: boolean;
}

export interface PublishedStream extends RemoteStream {
  /** Puts another track in the place of the one of the same kind, without negotiation where that is possible. */
  replaceTrack(track: MediaStreamTrack): Promise<void>;
  /** Ends sending; the tracks go on. */
  unpublish(): void;
}

export interface SendFileOptions {
  to?: Peer | string;
  /** Default: the File's own name, else "file". */
  name?: string;
  /** Anything JSON of at most 16 KiB, told with the offer. */
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
   * Takes the file. Without a `sink` it becomes a Blob, which browsers keep out of the page's memory; with one each
   * piece is written to it in order (a stream to a file on disk, say), and the Blob is empty.
   */
  accept(options?: { sink?: WritableStream<Uint8Array> }): Promise<Blob>;
  refuse(): void;
}

export interface PeerStats {
  peer: Peer;
  /** `direct`: no relay on either side as far as this browser can tell. Undefined while not connected. */
  path: "direct" | "relayed" | undefined;
  /** Between this browser and its relay, or the peer. */
  protocol: "udp" | "tcp" | "tls" | undefined;
  roundTripTime: number | undefined;
  /** Since the previous call of `stats()`, undefined in the first. */
  sendRate: number | undefined;
  receiveRate: number | undefined;
  bytesSent: number;
  bytesReceived: number;
  /** Of the media packets since the previous call: 0 to 1. */
  packetLoss: number | undefined;
}
