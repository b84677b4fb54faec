// The signaling messages of docs/PROTOCOL.md. Shared samples keep this file equal to the server's
// src/signaling/wire.rs. Reading is strict about the types of the fields that are used here and ignores everything
// else, so that a newer server may send more.

/** In `_peer_updated`, an absent field is unchanged, and null removes it. */
export interface PeerInfo {
  socketId: string;
  name?: string | null | undefined;
  metadata?: unknown;
}

/** What the SDK adds to its offers and answers; the server forwards it, others ignore it. */
export interface SdkMarker {
  v: number;
  /** Counts this member's offers to the peer; an answer carries the number of the offer that it answers. */
  offer?: number | undefined;
  /** The labels of the streams, by their ids in the SDP. */
  streams: Record<string, string>;
  /** Other fields are allowed, and ignored here. */
  [more: string]: unknown;
}

export interface PeersData {
  connections: string[];
  you: string;
  iceServers: RTCIceServer[];
  expiresAt?: number | undefined;
  peers: PeerInfo[];
  resume: string;
  resumed: boolean;
  room: string;
  server: string;
}

export interface DescriptionData {
  socketId: string;
  sdp: RTCSessionDescriptionInit;
  sdk?: SdkMarker | undefined;
}

/** An empty `candidate` means that there will be no more. */
export interface CandidateData {
  socketId: string;
  candidate: RTCIceCandidateInit;
}

export interface ErrorData {
  code: string;
  message: string;
  eventName?: string | undefined;
  socketId?: string | undefined;
}

export type ServerEvent =
  | { eventName: "_peers"; data: PeersData }
  | { eventName: "_new_peer"; data: PeerInfo }
  | { eventName: "_remove_peer"; data: { socketId: string; reason: string } }
  | { eventName: "_peer_updated"; data: PeerInfo }
  | { eventName: "_offer" | "_answer"; data: DescriptionData }
  | { eventName: "_ice_candidate"; data: CandidateData }
  | { eventName: "_message"; data: { socketId: string; data: unknown } }
  | {
      eventName: "_ice_servers";
      data: { iceServers: RTCIceServer[]; expiresAt?: number | undefined; resume?: string | undefined };
    }
  | { eventName: "_pong"; data: unknown }
  | { eventName: "_error"; data: ErrorData }
  | { eventName: "_closing"; data: { reconnectAfter: number } };

/** The events about the room, not about the connection. */
export type RoomEvent = Exclude<ServerEvent, { eventName: "_pong" | "_closing" }>;

export interface JoinData {
  room: string;
  name?: string | undefined;
  metadata?: unknown;
  token?: string | undefined;
  /**
   * Empty: the server shall keep the place of this member, which has no token yet. Absent: the server does not keep its
   * place.
   */
  resume?: string | undefined;
}

export type ClientEvent =
  | { eventName: "__join"; data: JoinData }
  | { eventName: "__offer" | "__answer"; data: DescriptionData }
  | {
      eventName: "__ice_candidate";
      /** `label` is the first clients' name for `sdpMLineIndex`. */
      data: { socketId: string; label: number; candidate: string; sdpMid: string | null; sdpMLineIndex: number };
    }
  | { eventName: "__message"; data: { data: unknown; socketId?: string } }
  | { eventName: "__update"; data: { name?: string | null; metadata?: unknown } }
  | { eventName: "__ping"; data: unknown }
  | { eventName: "__ice_servers" | "__leave"; data: Record<string, never> };

type Fields = Record<string, unknown>;

export function isObject(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Returns undefined if it is not an event of this protocol, or lacks a required field. */
export function parseServerEvent(text: string): ServerEvent | undefined {
  const message = parseJson(text);
  if (!isObject(message)) return undefined;
  const { eventName, data = null } = message;
  if (eventName === "_pong") return { eventName, data };
  return isObject(data) ? readEvent(eventName, data) : undefined;
}

function readEvent(eventName: unknown, data: Fields): ServerEvent | undefined {
  const { socketId, sdp } = data;
  switch (eventName) {
    case "_peers":
      return isText(data.you) ? { eventName, data: readPeers(data.you, data) } : undefined;
    case "_ice_servers":
      return { eventName, data: { ...readIceServers(data), resume: text(data.resume) } };
    case "_error":
      return {
        eventName,
        data: {
          code: text(data.code) ?? "unknown",
          message: text(data.message) ?? "",
          eventName: text(data.eventName),
          socketId: text(socketId),
        },
      };
    case "_closing":
      return { eventName, data: { reconnectAfter: number(data.reconnectAfter) ?? 0 } };
  }
  if (!isText(socketId)) return undefined;
  switch (eventName) {
    case "_new_peer":
    case "_peer_updated":
      return { eventName, data: readPeer(socketId, data) };
    case "_remove_peer":
      return { eventName, data: { socketId, reason: text(data.reason) ?? "left" } };
    case "_message":
      return "data" in data ? { eventName, data: { socketId, data: data.data } } : undefined;
    case "_offer":
    case "_answer": {
      const type = eventName === "_offer" ? "offer" : "answer";
      // Clients may send the SDP as a text.
      const whole = isObject(sdp) ? { type, ...sdp } : { type, sdp };
      return whole.type === type && isText(whole.sdp)
        ? { eventName, data: { socketId, sdp: { type, sdp: whole.sdp }, sdk: readMarker(data.sdk) } }
        : undefined;
    }
    case "_ice_candidate": {
      const whole = isObject(data.candidate) ? { ...data, ...data.candidate } : data;
      const { candidate, sdpMid, sdpMLineIndex } = whole;
      if (candidate !== null && !isText(candidate)) return undefined;
      const parts = { sdpMid: text(sdpMid) ?? null, sdpMLineIndex: number(sdpMLineIndex) ?? null };
      return { eventName, data: { socketId, candidate: { candidate: candidate ?? "", ...parts } } };
    }
  }
  return undefined;
}

function readPeers(you: string, data: Fields): PeersData {
  return {
    ...readIceServers(data),
    connections: list(data.connections, isText),
    you,
    peers: list(data.peers, isObject).flatMap((peer) => (isText(peer.socketId) ? readPeer(peer.socketId, peer) : [])),
    resume: text(data.resume) ?? "",
    resumed: data.resumed === true,
    room: text(data.room) ?? "",
    server: text(data.server) ?? "",
  };
}

function readIceServers(data: Fields): Pick<PeersData, "iceServers" | "expiresAt"> {
  return {
    iceServers: list(data.iceServers, isObject) as unknown as RTCIceServer[],
    expiresAt: number(data.expiresAt),
  };
}

function readPeer(socketId: string, { name, metadata }: Fields): PeerInfo {
  return { socketId, name: name === null ? name : text(name), metadata };
}

function readMarker(sdk: unknown): SdkMarker | undefined {
  if (!isObject(sdk) || typeof sdk.v !== "number") return undefined;
  const streams: Record<string, string> = {};
  for (const [id, label] of Object.entries(sdk.streams ?? {}).slice(0, 64)) if (isText(label)) streams[id] = label;
  return { ...sdk, v: sdk.v, offer: number(sdk.offer), streams };
}

function isText(value: unknown): value is string {
  return typeof value === "string";
}

function text(value: unknown): string | undefined {
  return isText(value) ? value : undefined;
}

function number(value: unknown): number | undefined {
  return typeof value === "number" ? value : undefined;
}

function list<T>(value: unknown, isGood: (item: unknown) => item is T): T[] {
  return Array.isArray(value) ? value.filter(isGood) : [];
}
