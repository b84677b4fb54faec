// Limits on what a peer may do in file transfers, and on what this side does at once. Sizes are in bytes.

export const MAX_METADATA = 16_384;
export const MAX_OFFER = 20_480;
export const MAX_NAME = 255;
export const MAX_SIZE = 1_099_511_627_776;
/** Pieces in memory: the one that is being sent, and the next one. */
export const READ_AHEAD = 2;
/** How many offers of one peer may wait for an answer. */
export const MAX_PENDING = 16;
export const MAX_WITHDRAWN = 32;
/** Nothing is sent to a peer that accepts no messages of this size; no browser is like that. */
export const MIN_FRAME = 1024;
/** After this many mistakes, everything from the peer is ignored. */
export const MAX_MISTAKES = 10;
