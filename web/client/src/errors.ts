import type { Peer } from "./peer_types";

/**
 * What went wrong, for programs. Errors from the server have its code: `bad_room`, `bad_token`, `room_full`,
 * `too_many_rooms`, `rate_limited`, `too_large`, … (docs/PROTOCOL.md); other errors have one of those below.
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
    /** The peer that caused it, if one did. */
    readonly peer?: Peer,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
