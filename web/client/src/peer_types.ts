// What an application sees of another member.

/** Of the path to the peer: `reconnecting` and `failed` heal by themselves when the network does. */
export type PeerState = "connecting" | "connected" | "reconnecting" | "failed";

export interface Peer {
  readonly id: string;
  readonly name: string | undefined;
  readonly metadata: unknown;
  readonly state: PeerState;
  /**
   * Its connection to the server broke, there is no path to it, and the server waits some seconds for its return: what is sent to
   * it waits as well. `peer_updated` tells of each change.
   */
  readonly isAway: boolean;
  readonly streams: readonly RemoteStream[];
  /** For what this interface does not offer; negotiation is taken care of. */
  readonly connection: RTCPeerConnection;
}

export interface RemoteStream {
  readonly stream: MediaStream;
  /** As given to `publish`, for instance "camera" or "screen". */
  readonly label: string | undefined;
}
