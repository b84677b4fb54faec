// Limits on one board, one message and one peer. Every peer applies the same numbers, so that all of them keep and
// refuse the same elements.

/** How many elements of a board may be there without deleted ones. */
export const MAX_ELEMENTS = 20_000;

/** How many deleted elements are remembered, so that an old copy does not bring them back. */
export const MAX_TOMBSTONES = 5_000;

/** The weight of all elements together, in the unit of `weightOf` (approximately bytes of JSON). */
export const MAX_BOARD_WEIGHT = 48 * 1024 * 1024;

/**
 * An element that is not deleted must stay below this version; only the deleted form of an element may have it, and
 * then for good. Drawing for 77 hours at 60 changes a second does not reach it. `BoardSync` describes what happens to a
 * change that would.
 */
export const FINAL_VERSION = 2 ** 24;

export const MAX_NONCE = 2 ** 32;

export const MAX_POINTS = 10_000;
export const MAX_TEXT = 50_000;
export const MAX_INDEX_LENGTH = 256;

/** Larger messages are refused without reading them. */
export const MAX_MESSAGE_WEIGHT = 2 * 1024 * 1024;

/** The weight up to which a message is filled; a single element may have more. */
export const PIECE_WEIGHT = 192 * 1024;

/** The bytes of one image, and of all images that a board accepts from others. */
export const MAX_FILE_BYTES = 8 * 1024 * 1024;
export const MAX_FILES_BYTES = 64 * 1024 * 1024;
export const MAX_FILES = 500;

/** The number of groups of elements that are compared as one. */
export const BUCKETS = 64;

/** Times in milliseconds, which tests can scale. */
export interface Timing {
  /** Between two messages with live changes. */
  send: number;
  /** Between two changes of the shown scene. */
  show: number;
  /** Between two comparisons with everybody, plus or minus a fifth. */
  compare: number;
  /** From the (re)connection of a peer to the comparison with it. */
  settle: number;
  /** How long a peer may be silent while it owes the whole board. */
  load: number;
}

export const TIMING: Timing = { send: 40, show: 33, compare: 25_000, settle: 400, load: 5_000 };

/** How much a peer may send per second, and how much it can save up. */
export const MESSAGES_PER_SECOND = 120;
export const MESSAGES_BURST = 400;
export const WEIGHT_PER_SECOND = 2 * 1024 * 1024;
export const WEIGHT_BURST = 16 * 1024 * 1024;

/** Live changes are not sent faster than this, whatever their size. */
export const LIVE_WEIGHT_PER_SECOND = 512 * 1024;
