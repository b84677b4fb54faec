// What one board, one message and one peer may cost. Every peer applies the same numbers, so that all of them keep and
// refuse the same elements.

/** Elements of a board that are not deleted. */
export const MAX_ELEMENTS = 20_000;

/** Deleted elements that are remembered, so that an old copy does not bring them back. */
export const MAX_TOMBSTONES = 5_000;

/** Of all elements together, in the unit of `weightOf`: about bytes of JSON. */
export const MAX_BOARD_WEIGHT = 48 * 1024 * 1024;

/**
 * No living element may reach this version; only the deleted form of an element may carry it, and then for good.
 * Someone who draws for 77 hours at 60 changes a second does not get there. See `BoardSync` for what happens to the
 * change that would.
 */
export const FINAL_VERSION = 2 ** 24;

export const MAX_NONCE = 2 ** 32;

export const MAX_POINTS = 10_000;
export const MAX_TEXT = 50_000;
export const MAX_INDEX_LENGTH = 256;

/** Larger messages are refused unread. */
export const MAX_MESSAGE_WEIGHT = 2 * 1024 * 1024;

/** What a message is filled up to; one element alone may be more. */
export const PIECE_WEIGHT = 192 * 1024;

/** Of one image, and of all images that a board takes from others. */
export const MAX_FILE_BYTES = 8 * 1024 * 1024;
export const MAX_FILES_BYTES = 64 * 1024 * 1024;
export const MAX_FILES = 500;

/** Groups of elements that are compared as one. */
export const BUCKETS = 64;

/** Times in milliseconds; tests scale them. */
export interface Timing {
  /** Between two messages with live changes. */
  send: number;
  /** Between two changes of the shown scene. */
  show: number;
  /** Between two comparisons with everybody, give or take a fifth. */
  compare: number;
  /** From a peer's (re)connecting to the comparison with it. */
  settle: number;
  /** How long a peer may be silent while it owes the whole board. */
  load: number;
}

export const TIMING: Timing = { send: 40, show: 33, compare: 25_000, settle: 400, load: 5_000 };

/** What a peer may send: a second's worth, and what it may save up. */
export const MESSAGES_PER_SECOND = 120;
export const MESSAGES_BURST = 400;
export const WEIGHT_PER_SECOND = 2 * 1024 * 1024;
export const WEIGHT_BURST = 16 * 1024 * 1024;

/** Live changes leave no faster than this, whatever the size of what is drawn. */
export const LIVE_WEIGHT_PER_SECOND = 512 * 1024;
