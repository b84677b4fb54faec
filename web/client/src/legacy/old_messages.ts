// Messages on a channel of the old API: texts of the old protocol if they fit into one message, and larger ones in
// parts if the peer has this script, too (docs/PROTOCOL.md, section 11). Parts are binary frames, which the old
// protocol does not have. They use the same channel, so that everything stays in order.
import { BimccRtcError } from "../errors";
import { cut, Reassembler } from "../framing";
import { fits, queueOf } from "../send_queue";

/** How much may wait for a channel. A page that keeps sending a whole canvas at each stroke gets an error. */
const MAX_WAITING = 67_108_864;
/** A longer text is cut even if both browsers accept it as a whole, because it would delay all others. */
const MAX_WHOLE = 65_536;
/** How long to wait after the latest part. A path that breaks and recovers takes less. */
const PARTS_LIMIT = 120_000;

const utf8 = new TextEncoder();
const fromUtf8 = new TextDecoder("utf-8", { fatal: true });

export interface Limits {
  /** The limit of one message to this peer, in bytes. */
  maxMessageSize: number;
  /** The limit of a message in parts, in bytes; undefined if the peer does not accept parts. */
  maxInParts: number | undefined;
}

/** Sends a text of the old protocol. Throws a BimccRtcError if it cannot be sent; then the channel is unchanged. */
export function sendText(channel: RTCDataChannel, text: string, { maxMessageSize, maxInParts }: Limits): void {
  const queue = queueOf(channel);
  if (queue.bytes + text.length > MAX_WAITING) {
    throw new BimccRtcError("too_much", "the peer does not take messages as fast as they are sent");
  }
  if (fits(text, maxInParts === undefined ? maxMessageSize : Math.min(maxMessageSize, MAX_WHOLE))) {
    queue.send(text);
    return;
  }
  if (maxInParts === undefined || !fits(text, maxInParts)) {
    throw new BimccRtcError("too_large", `this peer takes messages of ${maxInParts ?? maxMessageSize} bytes`);
  }
  for (const part of cut({ isBinary: false, bytes: utf8.encode(text) })) queue.send(part);
}

/** Joins the parts of one channel. */
export class PartsReader {
  readonly #reassembler: Reassembler;
  readonly #onLate: () => void;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** `onLate` is called if the rest of a message does not come; the parts so far are forgotten. */
  constructor(maxBytes: number, onLate: () => void) {
    this.#reassembler = new Reassembler(maxBytes);
    this.#onLate = onLate;
  }

  /** Returns the text that is complete with this part, if any. Throws if it is not a text. */
  push(part: ArrayBuffer): string | undefined {
    clearTimeout(this.#timer);
    const content = this.#reassembler.push(new Uint8Array(part));
    if (content?.isBinary) throw new TypeError("no text");
    if (content) return fromUtf8.decode(content.bytes);
    this.#timer = setTimeout(() => {
      this.#reassembler.reset();
      this.#onLate();
    }, PARTS_LIMIT);
    return undefined;
  }

  reset(): void {
    clearTimeout(this.#timer);
    this.#reassembler.reset();
  }
}
