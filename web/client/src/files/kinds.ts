// The kinds of frames. The offerer sends the kinds from offer to abort, the receiver those from grant to done.

/** JSON: an `Offer`. */
export const offer = 1;
/** Bytes of the file, in order. */
export const data = 2;
/** Everything has been sent. Contains the 8 bytes of the `Checksum`. */
export const end = 3;
/** One byte, an index of `REASONS`. */
export const abort = 4;
/** Two float64: the bytes consumed, and the bytes that may be sent in total. The first grant accepts the offer. */
export const grant = 5;
/** One byte, an index of `REASONS`. */
export const stop = 6;
/** The file has arrived and is what was sent. */
export const done = 7;
