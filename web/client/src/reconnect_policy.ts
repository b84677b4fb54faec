// When to try again after the connection was lost or a try failed. The function is pure: everything that matters is in
// its argument.

import { EARLY, EARLY_LIMIT, FIRST_DELAY, FIRST_JOIN_LIMIT, LATE_LIMIT, REFUSED_DELAY } from "./limits";

export interface ReconnectContext {
  /** Tries that failed since the room was last joined; 1 when it has just been lost. */
  attempt: number;
  /** Milliseconds since the room was lost, or since the first try. */
  elapsed: number;
  /** Whether this member has been in the room before. */
  hasJoined: boolean;
  /** How the socket closed, if it did. */
  closeCode?: number | undefined;
  /** The code by which the server refused `__join`, if it did. */
  refusal?: string | undefined;
  /** The delay in milliseconds that a closing server asked for. */
  reconnectAfter?: number | undefined;
  /** A random number from 0 to 1. */
  random: number;
}

export const CLOSED_REPLACED = 4001;
export const CLOSED_KICKED = 4002;

/** A member that comes back too late for its old place waits for another one. */
const WORTH_WAITING = ["room_full", "too_many_rooms"];

/** Milliseconds until the next try, or null to give up. */
export function reconnectDelay(context: ReconnectContext): number | null {
  const { attempt, elapsed, hasJoined, closeCode, refusal, reconnectAfter = 0, random } = context;
  if (closeCode === CLOSED_REPLACED || closeCode === CLOSED_KICKED) return null;
  if (refusal && refusal !== "rate_limited" && !(hasJoined && WORTH_WAITING.includes(refusal))) return null;
  if (!hasJoined && elapsed > FIRST_JOIN_LIMIT) return null;
  const limit = elapsed < EARLY ? EARLY_LIMIT : LATE_LIMIT;
  const first = refusal ? REFUSED_DELAY : FIRST_DELAY;
  const delay = Math.min(first * 2 ** Math.min(attempt - 1, 10), limit);
  return Math.max(delay * (0.5 + random / 2), reconnectAfter);
}
