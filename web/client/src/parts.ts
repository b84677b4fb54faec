// The parts of a room that other code of this package may replace by its own: it passes them in when it makes the room.
// They are not exported from the package.

import { type PeerOwner, RoomPeer } from "./peer";
import type { PeerInfo } from "./protocol";

export interface RoomParts<P extends RoomPeer> {
  /**
   * Opens the socket of one try, and may listen to it before the room does. When `isCurrent()` is false, the room has
   * abandoned that socket, and its messages must be ignored.
   */
  openSocket(url: string, isCurrent: () => boolean): WebSocket;
  /** `waits`: the peer was told about this member, so the peer makes the first offer. */
  createPeer(room: PeerOwner, info: PeerInfo, waits: boolean): P;
}

export const OWN_PARTS: RoomParts<RoomPeer> = {
  openSocket: (url) => new WebSocket(url),
  createPeer: (room, info, waits) => new RoomPeer(room, info, waits),
};
