// How long, how often and how much: milliseconds and bytes, unless a name says otherwise. They stand together because the
// bundler writes a number where it is used only if it comes from another module.

// The connection to the server.

/** From opening the socket to being joined. */
export const TRY_LIMIT = 8_000;
export const PING_EVERY = 15_000;
export const PONG_LIMIT = 5_000;
/** When there is reason to doubt: a change of network, a page that wakes up. */
export const QUICK_PONG_LIMIT = 4_000;
/** A try younger than this is not begun anew by such a hint. */
export const YOUNG_TRY = 1_000;

// Coming back.

export const FIRST_DELAY = 300;
/** A server that restarts is back soon, and calls that went through it wait: so patience comes late. */
export const EARLY_LIMIT = 3_000;
export const EARLY = 120_000;
export const LATE_LIMIT = 15_000;
export const REFUSED_DELAY = 2_000;
/** How long somebody who joins for the first time is left in the dark. */
export const FIRST_JOIN_LIMIT = 10_000;

// A room.

export const MAX_ROOM_BYTES = 128;
/** One frame's content on the droppable channel. */
export const MAX_DROPPABLE_BYTES = 16_383;
/** After a restart of the server the others come back when they notice it. */
export const RETURN_GRACE = 30_000;
/** Candidates found while the server is away. */
export const MAX_UNSENT = 512;

// A peer.

/** Ids of in-band channels count up from 0; every browser has these. */
export const FIRST_CHANNEL_ID = 100;
export const MARKER_VERSION = 1;
/** A peer that misbehaves is reported at most so often. */
export const REPORT_EVERY = 5_000;

// Negotiation.

export const FIRST_REPEAT = 4_000;
export const LAST_REPEAT = 30_000;
/** An offer that collides with one of ours older than this means that ours has been lost. */
export const ON_ITS_WAY = 1_000;
export const MAX_EARLY_CANDIDATES = 256;

// The path to a peer.

/** Disconnected often heals by itself, sooner than this. */
export const DISCONNECTED_LIMIT = 4_000;
/** A restart that has led to nothing. */
export const RESTART_LIMIT = 15_000;
/** A page that goes closes its channels, too; then the path dies as well. */
export const CHANNEL_LIMIT = 8_000;

// Messages.

/** Frames that wait for their turn: what a network that stood still for a while brings at once. */
export const MAX_WAITING = 1000;
/** A droppable message that would wait behind more than this is late already. */
export const MAX_DROPPABLE_BUFFER = 65_536;
/** The largest message that goes through the server, in bytes. */
export const MAX_ENVELOPE = 49_152;

// Data channels.

export const LOW_WATER = 262_144;
export const RETRY = 50;
/** Refusals in a row with nothing in the buffer: at least 30 seconds. */
export const MAX_REFUSALS = 600;
export const DEFAULT_MAX_MESSAGE = 65_536;
