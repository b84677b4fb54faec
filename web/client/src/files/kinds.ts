// The kinds of frames. The offerer sends those from offer to abort, the receiver those from grant to done.

/** JSON: an `Offer`. */
export const offer = 1;
/** Bytes of the file, in order. */
export const data = 2;
/** All has been sent; the 8 bytes of its `Checksum`. */
export const end = 3;
/** One byte, an index of `REASONS`. */
export const abort = 4;
/** Two float64: bytes consumed, and bytes that may be sent in all. The first one accepts. */
export const grant = 5;
/** One byte, an index of `REASONS`. */
export const stop = 6;
/** The file has come and is what was sent. */
export const done = 7;
