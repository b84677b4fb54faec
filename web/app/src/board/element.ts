// What merging needs to know of an element. The rest of its fields are Excalidraw's; `sanitize.ts` knows them.

export interface BoardElement {
  readonly id: string;
  readonly type: string;
  readonly version: number;
  readonly versionNonce: number;
  /** Fractional index: the order on the board. */
  readonly index: string;
  readonly isDeleted: boolean;
  readonly [field: string]: unknown;
}

type Versioned = Pick<BoardElement, "version" | "versionNonce">;

export function sameVersion(a: Versioned, b: Versioned): boolean {
  return a.version === b.version && a.versionNonce === b.versionNonce;
}

/**
 * Excalidraw's rule: the higher version wins, and between equal versions the lower nonce. This is a total order of all
 * changes of one element, so everybody ends with the same element, whatever the order in which changes arrive.
 */
export function supersedes(a: Versioned, b: Versioned): boolean {
  return a.version > b.version || (a.version === b.version && a.versionNonce < b.versionNonce);
}

/**
 * Decides between two contents with the same version. Like `supersedes`, it is a total order, so everybody ends with
 * the same content. Both were sanitized, so their fields have the same order.
 */
export function supersedesByContent(a: BoardElement, b: BoardElement): boolean {
  return sameVersion(a, b) && contentOf(a) < contentOf(b);
}

export function hashOfContent(element: BoardElement): number {
  return hashText(contentOf(element));
}

/** `updated` is the time on the clock of the person who changed it, which is not visible. */
function contentOf(element: BoardElement): string {
  return JSON.stringify({ ...element, updated: 0 });
}

/** The order on the board. The id decides between two elements that got the same index at the same time. */
export function compareOrder(a: BoardElement, b: BoardElement): number {
  if (a.index !== b.index) return a.index < b.index ? -1 : 1;
  return a.id < b.id ? -1 : a.id > b.id ? 1 : 0;
}

const PLACE: ReadonlySet<string> = new Set(["index", "version", "versionNonce", "updated"]);

/** Whether two versions of an element differ only in their place in the order. */
export function differsInPlaceOnly(a: BoardElement, b: BoardElement): boolean {
  const fields = Object.keys({ ...a, ...b }).filter((field) => !PLACE.has(field));
  return fields.every((field) => JSON.stringify(a[field]) === JSON.stringify(b[field]));
}

/** A hash of 32 bits of a text (FNV-1a with a final mix). */
export function hashText(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/**
 * Approximately the bytes of an element as JSON. It may be too high, but even for numbers with many digits it is never
 * much too low.
 */
export function weightOf(element: BoardElement): number {
  let weight = 900;
  for (const field of ["text", "originalText", "name", "link"]) {
    const text = element[field];
    if (typeof text === "string") weight += text.length * 3;
  }
  for (const [field, each] of [
    ["points", 40],
    ["pressures", 20],
    ["boundElements", 60],
    ["groupIds", 40],
    ["fixedSegments", 120],
  ] as const) {
    const list = element[field];
    if (Array.isArray(list)) weight += list.length * each;
  }
  return weight;
}
