// The messages between boards, over `room.send`. Every message is an object whose `kind` begins with "board/".
//
//   board/update   elements that the sender changed, or that the receiver lacks
//   board/state    two digests per bucket of elements, over versions and over contents; a peer with others answers with
//                  board/compare for those buckets
//   board/compare  the versions of all elements in some buckets, and hashes of their contents if those differ: the
//                  receiver sends what is newer here, wants what is newer there
//   board/want     asks for elements by id, or for the whole board
//   board/end      the whole board has been sent; or, with `more`, what the sender has of it until its own comes
//   board/pointer  where the sender's pointer is and what it has selected; droppable
//   board/want-file, board/no-file   asks for an image (it comes by `room.sendFile`); it is not here

import type { BoardElement } from "./element";
import { BUCKETS, MAX_ELEMENTS, MAX_TOMBSTONES } from "./limits";

/** Id, version, nonce, and 1 if it is deleted. */
export type Stamp = [id: string, version: number, versionNonce: number, deleted: 0 | 1];

export type BoardMessage =
  | { kind: "board/update"; elements: readonly BoardElement[] }
  /** Older pages do not send `contents`, and ignore it. */
  | { kind: "board/state"; digests: readonly number[]; contents?: readonly number[] }
  /** `hashes` has one for each stamp. */
  | { kind: "board/compare"; buckets: readonly number[]; stamps: readonly Stamp[]; hashes?: readonly number[] }
  | { kind: "board/want"; ids: readonly string[] | "all" }
  | { kind: "board/end"; more?: true };

/** A received message: its form is checked, the elements are not. */
export type ReceivedMessage =
  | { kind: "board/update"; elements: readonly unknown[] }
  | Exclude<BoardMessage, { kind: "board/update" }>;

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Whether a message is for the board at all; others may share the channel. */
export function isBoardMessage(data: unknown): data is { kind: string } {
  return isRecord(data) && typeof data.kind === "string" && data.kind.startsWith("board/");
}

/** The message, or why it is refused. `undefined` means that `BoardSync` does not handle this kind. */
export function readMessage(data: { kind: string }): ReceivedMessage | { refused: string } | undefined {
  const message: Record<string, unknown> & { kind: string } = { ...data };
  switch (message.kind) {
    case "board/update": {
      const { elements } = message;
      if (!Array.isArray(elements)) return { refused: "no elements" };
      if (elements.length > MAX_ELEMENTS) return { refused: "too many elements" };
      return { kind: "board/update", elements };
    }
    case "board/state": {
      const { digests, contents } = message;
      if (!isDigests(digests) || !(contents === undefined || isDigests(contents))) return { refused: "no digests" };
      return contents ? { kind: "board/state", digests, contents } : { kind: "board/state", digests };
    }
    case "board/compare": {
      const { buckets, stamps, hashes } = message;
      if (!Array.isArray(buckets) || buckets.length > BUCKETS || !buckets.every((b) => isCount(b) && b < BUCKETS)) {
        return { refused: "no buckets" };
      }
      if (!Array.isArray(stamps) || stamps.length > MAX_ELEMENTS + MAX_TOMBSTONES || !stamps.every(isStamp)) {
        return { refused: "no stamps" };
      }
      if (hashes === undefined) return { kind: "board/compare", buckets, stamps };
      if (!Array.isArray(hashes) || hashes.length !== stamps.length || !hashes.every(isCount)) {
        return { refused: "no hashes" };
      }
      return { kind: "board/compare", buckets, stamps, hashes };
    }
    case "board/want": {
      const { ids } = message;
      if (ids === "all") return { kind: "board/want", ids };
      if (!Array.isArray(ids) || ids.length > MAX_ELEMENTS || !ids.every((id) => typeof id === "string")) {
        return { refused: "no ids" };
      }
      return { kind: "board/want", ids };
    }
    case "board/end":
      return message.more === true ? { kind: "board/end", more: true } : { kind: "board/end" };
    default:
      return undefined;
  }
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isDigests(value: unknown): value is number[] {
  return Array.isArray(value) && value.length === BUCKETS && value.every(isCount);
}

function isStamp(value: unknown): value is Stamp {
  return (
    Array.isArray(value) &&
    value.length === 4 &&
    typeof value[0] === "string" &&
    isCount(value[1]) &&
    isCount(value[2]) &&
    (value[3] === 0 || value[3] === 1)
  );
}

/** Approximately the bytes of a message as JSON. Stops counting above `limit` and returns Infinity. */
export function weighMessage(data: unknown, limit: number): number {
  let weight = 0;
  const open: unknown[] = [data];
  while (open.length > 0) {
    const value = open.pop();
    if (typeof value === "string") weight += value.length + 2;
    else if (typeof value !== "object" || value === null) weight += 8;
    else if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) weight += value.byteLength;
    else if (Array.isArray(value)) {
      weight += 2 + value.length;
      if (weight > limit) return Number.POSITIVE_INFINITY;
      for (const item of value) open.push(item);
    } else {
      for (const [key, item] of Object.entries(value)) {
        weight += key.length + 4;
        open.push(item);
      }
    }
    if (weight > limit) return Number.POSITIVE_INFINITY;
  }
  return weight;
}
