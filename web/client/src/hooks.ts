// What the old API needs of the core beyond the public face. Not exported from the package.

import type { Peer } from "./types";

/** The build of the ES module makes this false, and what only the old API needs is left out there. */
export const OLD_API: boolean = true;

export interface RoomHooks {
  /**
   * False: nobody is made an offer, nor answered, until `InternalRoom.start(id)` is called for that peer. What comes
   * from it meanwhile waits.
   */
  autoStart?: boolean;
  /** Tells the others that this page uses the old API. */
  isOldApi?: boolean;
  /** A WebSocket has been made, has been opened, has failed, has ended. It is a new one after each reconnect. */
  onSocket?(event: "new" | "open" | "error" | "close", socket: WebSocket, detail?: Event): void;
  /** Each message of the server as it came, before the room acts on it. */
  onServerMessage?(message: unknown, socket: WebSocket): void;
  /** An RTCPeerConnection has been made; nothing has been negotiated on it. `peer_joined` comes after it. */
  onConnection?(peer: InternalPeer): void;
  /** An in-band data channel of the peer has come; the SDK itself uses none. */
  onDataChannel?(peer: InternalPeer, channel: RTCDataChannel): void;
}

export interface InternalPeer extends Peer {
  /** Whether the peer's page uses this SDK; undefined until its first description came. */
  readonly usesSdk: boolean | undefined;
  /** Whether the peer's page uses the old API with this SDK; known together with `usesSdk`. */
  readonly usesOldApi: boolean;
  /** Whether it takes large messages in parts on the channel of the old API. */
  readonly takesParts: boolean;
  /** With `autoStart: false`: negotiates with this peer from now on. */
  start(): void;
}
