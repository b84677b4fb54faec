// The frames that two members exchange on their "files" channel. They are binary: one byte for the kind, four for the
// id of the transfer, and the rest. The offerer chooses ids and counts them up, so the kind of frame shows whose
// transfer is meant.

import * as Kind from "./kinds";

export { Kind };

export const REASONS = ["refused", "cancelled", "corrupt", "failed"] as const;
export type Reason = (typeof REASONS)[number];

export const HEADER = 5;
/** A piece is read, summed up and stored at once. Both sides cut a file into the same pieces. */
export const PIECE = 1_048_576;
/** How many bytes of a transfer may be on their way or not yet stored by the receiver. */
export const WINDOW = 4_194_304;
/** Some browsers do not understand larger messages. */
export const MAX_FRAME = 65_536;

export interface Frame {
  kind: number;
  id: number;
  body: Uint8Array<ArrayBuffer>;
}

export function encode(kind: number, id: number, body?: Uint8Array): Uint8Array<ArrayBuffer> {
  const frame = new Uint8Array(HEADER + (body?.length ?? 0));
  frame[0] = kind;
  new DataView(frame.buffer).setUint32(1, id);
  if (body) frame.set(body, HEADER);
  return frame;
}

export function decode(frame: Uint8Array<ArrayBuffer>): Frame | undefined {
  if (frame.length < HEADER || frame.length > MAX_FRAME) return undefined;
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  return { kind: view.getUint8(0), id: view.getUint32(1), body: frame.subarray(HEADER) };
}

/**
 * Frees the memory of what has been read, if the browser can do so. Some browsers would otherwise collect it only after
 * hundreds of megabytes.
 */
export function discard(bytes: Uint8Array<ArrayBuffer>): void {
  (bytes.buffer as ArrayBuffer & { transfer?: (length: number) => ArrayBuffer }).transfer?.(0);
}

export function encodeGrant(id: number, consumed: number, granted: number): Uint8Array<ArrayBuffer> {
  const body = new DataView(new ArrayBuffer(16));
  body.setFloat64(0, consumed);
  body.setFloat64(8, granted);
  return encode(Kind.grant, id, new Uint8Array(body.buffer));
}

export function decodeGrant({ body }: Frame): { consumed: number; granted: number } | undefined {
  if (body.length !== 16) return undefined;
  const view = new DataView(body.buffer, body.byteOffset);
  return { consumed: view.getFloat64(0), granted: view.getFloat64(8) };
}

export function encodeReason(kind: number, id: number, reason: Reason): Uint8Array<ArrayBuffer> {
  return encode(kind, id, Uint8Array.of(REASONS.indexOf(reason)));
}

export function decodeReason({ body }: Frame): Reason {
  return REASONS[body[0] ?? 3] ?? "failed";
}
