// Messages on data channels, cut into frames of one byte of flags and then content. Every browser passes on such a
// frame as a whole, and it does not delay other messages for long. All frames of a message except the last are full, so
// a sender cannot make the receiver keep many small ones.

const LAST = 1;
const BINARY = 2;

export const MAX_FRAME = 16_384;
const MAX_CONTENT = MAX_FRAME - 1;

export interface Content {
  /** If not, it is JSON in UTF-8. */
  isBinary: boolean;
  bytes: Uint8Array<ArrayBuffer>;
}

export function* cut({ isBinary, bytes }: Content): Generator<Uint8Array<ArrayBuffer>> {
  let at = 0;
  do {
    const content = bytes.subarray(at, at + MAX_CONTENT);
    at += MAX_CONTENT;
    const frame = new Uint8Array(content.length + 1);
    frame[0] = (isBinary ? BINARY : 0) | (at < bytes.length ? 0 : LAST);
    frame.set(content, 1);
    yield frame;
  } while (at < bytes.length);
}

/** Puts frames of one channel together again. It never keeps more than one message of the largest size. */
export class Reassembler {
  readonly #maxBytes: number;
  #pieces: Uint8Array<ArrayBuffer>[] = [];
  #length = 0;
  /** Whether the current message is invalid; then the rest of it is ignored. */
  #isBad = false;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Returns the message that is complete with this frame, if any. Throws if a message turns out to be invalid. */
  push(frame: Uint8Array<ArrayBuffer>): Content | undefined {
    const flags = frame[0] ?? 255;
    const isLast = (flags & LAST) !== 0;
    const wasBad = this.#isBad;
    this.#pieces.push(frame.subarray(1));
    this.#length += frame.length - 1;
    const isLegal = flags <= (LAST | BINARY) && (isLast ? frame.length <= MAX_FRAME : frame.length === MAX_FRAME);
    if (wasBad || !isLegal || this.#length > this.#maxBytes) {
      this.reset();
      this.#isBad = !isLast;
      if (wasBad) return undefined;
      throw new RangeError("no message, or too large");
    }
    if (!isLast) return undefined;
    const bytes = new Uint8Array(this.#length);
    let at = 0;
    for (const piece of this.#pieces) {
      bytes.set(piece, at);
      at += piece.length;
    }
    this.reset();
    return { isBinary: (flags & BINARY) !== 0, bytes };
  }

  reset(): void {
    this.#pieces = [];
    this.#length = 0;
    this.#isBad = false;
  }
}
