import { createRoom } from "./room";
import type { JoinOptions, Room } from "./types";

export { BimccRtcError, type ErrorReason } from "./errors";
export { type CameraOptions, openCamera, openScreen } from "./media";
export type * from "./types";

/**
 * Enters a room. `room.peers` has the members that are already there; events report everything later, if listeners are
 * added as soon as the promise has resolved. Rejects with a `BimccRtcError`: `bad_room` without the name of a room,
 * `not_supported` if there is no WebRTC (it is switched off, or this is not a browser), with the server's code when it
 * refuses, `unreachable` when no server answers for about ten seconds (the message says the likely cause), `aborted` by
 * the signal.
 */
export function joinRoom(options: JoinOptions): Promise<Room> {
  return createRoom(options);
}
