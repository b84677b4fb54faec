// Messages on a channel of the old API: the texts of that time as far as one message goes, and larger ones in parts
// where the peer has this script, too (docs/PROTOCOL.md, section 11). Parts are binary frames, which that protocol does
// not have, on the same channel, so that all stays in order.
import { BimccRtcError } from "../errors";
import { cut, Reassembler } from "../framing";
import { fits, queueOf } from "../send_queue";

/** What may wait for a channel. A page that goes on sending a whole canvas at each stroke is told. */
const MAX_WAITING = 67_108_864;
/** Above this a text is cut even where both browsers take it whole, or it would hold up all others. */
const MAX_WHOLE = 65_536;
/** After the last part that came. A path that breaks and heals takes less. */
const PARTS_LIMIT = 120_000;

const utf8 = new TextEncoder();
const fromUtf8 = new TextDecoder("utf-8", { fatal: true });

export interface Limits {
  /** Of one message to this peer, in bytes. */
  maxMessageSize: number;
  /** Of a message in parts, in bytes; undefined where the peer does not take parts. */
  maxInParts: number | undefined;
}

/** Sends a text of the old protocol. Throws a BimccRtcError if it cannot go; the channel is as it was then. */
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

/** Puts the parts of one channel together. */
export class PartsReader {
  readonly #reassembler: Reassembler;
  readonly #onLate: () => void;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** `onLate`: the rest of a message does not come; what there was is forgotten. */
  constructor(maxBytes: number, onLate: () => void) {
    this.#reassembler = new Reassembler(maxBytes);
    this.#onLate = onLate;
  }

  /** The text that is whole with this part. Throws where it is none. */
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
