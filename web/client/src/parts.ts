// Where other code of this package may put something of its own in the place of the room's: it hands these in when it
// makes the room. Not exported from the package.

import { type PeerOwner, RoomPeer } from "./peer";
import type { PeerInfo } from "./protocol";

export interface RoomParts<P extends RoomPeer> {
  /**
   * Opens the socket of one try, and may listen to it before the room does. When `isCurrent()` is false, the room has left
   * that socket behind, and what it says counts for nothing.
   */
  openSocket(url: string, isCurrent: () => boolean): WebSocket;
  /** `waits`: it was told of us, so the first offer is its. */
  createPeer(room: PeerOwner, info: PeerInfo, waits: boolean): P;
}

export const OWN_PARTS: RoomParts<RoomPeer> = {
  openSocket: (url) => new WebSocket(url),
  createPeer: (room, info, waits) => new RoomPeer(room, info, waits),
};
