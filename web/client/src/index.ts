import { createRoom } from "./room";
import type { JoinOptions, Room } from "./types";

export { BimccRtcError, type ErrorReason } from "./errors";
export { type CameraOptions, openCamera, openScreen } from "./media";
export type * from "./types";

/**
 * Enters a room. Who is there already is in `room.peers`; events tell of everything later, if listeners are there when
 * the promise has resolved. Rejects with a `BimccRtcError`: `bad_room` without the name of a room, `not_supported` where
 * there is no WebRTC (switched off, or no browser), with the server's code when it refuses, `unreachable` when no server
 * answers for about ten seconds (the message says what is likely the matter), `aborted` by the signal.
 */
export function joinRoom(options: JoinOptions): Promise<Room> {
  return createRoom(options);
}
