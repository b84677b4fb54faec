// Times, counts and sizes: milliseconds and bytes, unless a name says otherwise. They are in one file because the
// bundler inlines a number only if it comes from another module.

// The connection to the server.

/** From opening the socket to being joined. */
export const TRY_LIMIT = 8_000;
export const PING_EVERY = 15_000;
export const PONG_LIMIT = 5_000;
/** The limit when there is reason to doubt the connection: a change of network, a page that wakes up. */
export const QUICK_PONG_LIMIT = 4_000;
/** Such a hint does not restart a try that is younger than this. */
export const YOUNG_TRY = 1_000;

// Coming back.

export const FIRST_DELAY = 300;
/**
 * A server that restarts is back soon, and calls that went through it wait. So the client tries often at first, and
 * more rarely later.
 */
export const EARLY_LIMIT = 3_000;
export const EARLY = 120_000;
export const LATE_LIMIT = 15_000;
export const REFUSED_DELAY = 2_000;
/** How long the first join may take before it fails. */
export const FIRST_JOIN_LIMIT = 10_000;

// A room.

export const MAX_ROOM_BYTES = 128;
/** The content of one frame on the droppable channel. */
export const MAX_DROPPABLE_BYTES = 16_383;
/** After a restart of the server, the others come back as soon as they notice it. */
export const RETURN_GRACE = 30_000;
/** How many candidates are kept while the server is away. */
export const MAX_UNSENT = 512;

// A peer.

/** Ids of in-band channels count up from 0; every browser supports these higher ids. */
export const FIRST_CHANNEL_ID = 100;
export const MARKER_VERSION = 1;
/** A peer that misbehaves is reported at most this often. */
export const REPORT_EVERY = 5_000;

// Negotiation.

export const FIRST_REPEAT = 4_000;
export const LAST_REPEAT = 30_000;
/** If an offer of the peer collides with an own offer older than this, the own offer has been lost. */
export const ON_ITS_WAY = 1_000;
export const MAX_EARLY_CANDIDATES = 256;

// The path to a peer.

/** "disconnected" often recovers by itself, sooner than this. */
export const DISCONNECTED_LIMIT = 4_000;
/** When an ICE restart counts as failed. */
export const RESTART_LIMIT = 15_000;
/** A page that goes also closes its channels; then the path ends as well. */
export const CHANNEL_LIMIT = 8_000;

// Messages.

/** How many frames may wait for their turn: a network that stood still for a while delivers many at once. */
export const MAX_WAITING = 1000;
/** A droppable message that would wait behind more bytes than this would be too late. */
export const MAX_DROPPABLE_BUFFER = 65_536;
/** The largest message that goes through the server, in bytes. */
export const MAX_ENVELOPE = 49_152;

// Data channels.

export const LOW_WATER = 262_144;
export const RETRY = 50;
/** How many refusals in a row with an empty buffer are accepted: at least 30 seconds. */
export const MAX_REFUSALS = 600;
export const DEFAULT_MAX_MESSAGE = 65_536;
