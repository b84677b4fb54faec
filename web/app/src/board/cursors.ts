// Where the others point, and what they have selected. Messages about this may be lost, and nothing of it is stored.

import { TokenBucket } from "bimcc-rtc/shared";
import { isRecord } from "./protocol";
import { isId } from "./read_fields";

export interface Cursor {
  readonly x: number;
  readonly y: number;
  readonly tool: "pointer" | "laser";
  readonly button: "up" | "down";
  readonly selected: readonly string[];
}

/** After this many milliseconds without a message, a peer's cursor disappears. */
const SILENT = 15_000;
const MAX_SELECTED = 50;
const FAR = 1e7;

export class Cursors {
  readonly #peers = new Map<string, { cursor: Cursor | undefined; at: number; limit: TokenBucket }>();
  #changed = false;

  handlePointer(now: number, peer: string, data: unknown): void {
    const state = this.#peers.get(peer) ?? { cursor: undefined, at: now, limit: new TokenBucket(40, 80, now) };
    this.#peers.set(peer, state);
    if (!state.limit.take(1, now)) return;
    const cursor = readCursor(data);
    if (!cursor) return;
    state.cursor = cursor;
    state.at = now;
    this.#changed = true;
  }

  handlePeerLeft(peer: string): void {
    if (this.#peers.delete(peer)) this.#changed = true;
  }

  handleTimer(now: number): void {
    for (const state of this.#peers.values()) {
      if (!state.cursor || now - state.at < SILENT) continue;
      state.cursor = undefined;
      this.#changed = true;
    }
  }

  /** The cursors by peer, if they have changed since the last call. */
  pollChange(): ReadonlyMap<string, Cursor> | undefined {
    if (!this.#changed) return undefined;
    this.#changed = false;
    const cursors = new Map<string, Cursor>();
    for (const [peer, { cursor }] of this.#peers) if (cursor) cursors.set(peer, cursor);
    return cursors;
  }
}

function readCursor(data: unknown): Cursor | undefined {
  if (!isRecord(data)) return undefined;
  const { x, y, tool, button, selected } = data;
  if (typeof x !== "number" || typeof y !== "number" || !(Math.abs(x) <= FAR) || !(Math.abs(y) <= FAR))
    return undefined;
  return {
    x,
    y,
    tool: tool === "laser" ? "laser" : "pointer",
    button: button === "down" ? "down" : "up",
    selected: Array.isArray(selected) ? selected.slice(0, MAX_SELECTED).filter(isId) : [],
  };
}
