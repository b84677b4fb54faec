// What an application sees of another member.

/** The state of the path to the peer. `reconnecting` and `failed` recover by themselves when the network does. */
export type PeerState = "connecting" | "connected" | "reconnecting" | "failed";

export interface Peer {
  readonly id: string;
  readonly name: string | undefined;
  readonly metadata: unknown;
  readonly state: PeerState;
  /**
   * Whether its connection to the server broke, there is no path to it, and the server waits some seconds for its
   * return. Messages to it wait as well. `peer_updated` reports each change.
   */
  readonly isAway: boolean;
  readonly streams: readonly RemoteStream[];
  /** For everything that this interface does not offer. The SDK takes care of negotiation. */
  readonly connection: RTCPeerConnection;
}

export interface RemoteStream {
  readonly stream: MediaStream;
  /** The label given to `publish`, for example "camera" or "screen". */
  readonly label: string | undefined;
}
