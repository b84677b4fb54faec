import type { Peer } from "./peer_types";

/**
 * What went wrong, for programs. From the server, with its code: `bad_room`, `bad_token`, `room_full`,
 * `too_many_rooms`, `rate_limited`, `too_large`, … (docs/PROTOCOL.md); else one of those below.
 */
export type ErrorReason =
  | "unreachable"
  | "replaced"
  | "kicked"
  | "aborted"
  | "not_supported"
  | "browser_error"
  | "bad_peer_message"
  | "file_refused"
  | "file_cancelled"
  | "file_corrupt"
  | "peer_gone"
  | (string & {});

export class BimccRtcError extends Error {
  override readonly name = "BimccRtcError";

  constructor(
    readonly reason: ErrorReason,
    message: string,
    /** Who caused it, if a peer did. */
    readonly peer?: Peer,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
