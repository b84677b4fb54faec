// What a peer may do in transfers of files, and what this side does at once. Sizes are in bytes.

export const MAX_METADATA = 16_384;
export const MAX_OFFER = 20_480;
export const MAX_NAME = 255;
export const MAX_SIZE = 1_099_511_627_776;
/** Pieces in memory: the one that is being sent and the next. */
export const READ_AHEAD = 2;
/** Offers of one peer that wait for an answer. */
export const MAX_PENDING = 16;
export const MAX_WITHDRAWN = 32;
/** To a peer that takes no larger messages nothing is sent: no browser is like that. */
export const MIN_FRAME = 1024;
/** Mistakes after which nothing is heard from the peer any more. */
export const MAX_MISTAKES = 10;
