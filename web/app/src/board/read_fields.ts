// Small readers for values that came from outside: each returns a usable value or refuses. A refusal is thrown as
// `Refused` and caught in `sanitizeElement`, nowhere else.

import { MAX_INDEX_LENGTH, MAX_POINTS } from "./limits";

export class Refused extends Error {}

export type Fields = Readonly<Record<string, unknown>>;

export function requireNumber(fields: Fields, name: string, limit: number): number {
  const value = fields[name];
  if (typeof value !== "number" || !(Math.abs(value) <= limit)) throw new Refused(`${name} out of range`);
  return value;
}

export function requireCount(fields: Fields, name: string, limit: number): number {
  const value = requireNumber(fields, name, limit);
  if (!Number.isSafeInteger(value) || value < 0) throw new Refused(`${name} out of range`);
  return value;
}

/** For values that only change the appearance: returns the nearest allowed value, or the usual one. */
export function clampNumber(value: unknown, low: number, high: number, usual: number): number {
  if (typeof value !== "number" || Number.isNaN(value)) return usual;
  return Math.min(high, Math.max(low, value));
}

export function oneOf<const T extends string | number | null>(value: unknown, allowed: readonly T[], usual: T): T {
  return allowed.find((candidate) => candidate === value) ?? usual;
}

export function textOf(value: unknown, limit: number, name: string): string {
  if (typeof value !== "string") return "";
  if (value.length > limit) throw new Refused(`${name} too long`);
  return value;
}

/** Excalidraw uses ids as keys of plain objects, so names that every object has are not allowed. */
export function isId(value: unknown): value is string {
  return typeof value === "string" && /^[\w-]{1,64}$/.test(value) && !(value in Object.prototype);
}

export function idOrNull(value: unknown): string | null {
  return isId(value) ? value : null;
}

const COLOR = /^(?:#[0-9a-f]{3,8}|[a-z]{3,24}|(?:rgb|hsl)a?\([\d\s.,%/deg-]{1,48}\))$/i;

export function colorOf(value: unknown, usual: string): string {
  return typeof value === "string" && COLOR.test(value) ? value : usual;
}

/** No control characters, and none that changes the direction of text. */
const LINK = /^(?:https?:\/\/|mailto:)[^\p{Cc}\u200e\u200f\u202a-\u202e\u2066-\u2069]+$/iu;

/** Keeps only links that a page may open without harm, as they were written; others are removed. */
export function linkOf(value: unknown): string | null {
  if (typeof value !== "string" || value.length > 2048 || !LINK.test(value)) return null;
  try {
    const { protocol, host } = new URL(value);
    return protocol === "mailto:" || (/^https?:$/.test(protocol) && host !== "") ? value : null;
  } catch {
    return null;
  }
}

export function pointOf(value: unknown, limit: number): [number, number] {
  if (!Array.isArray(value)) throw new Refused("a point that is none");
  const [x, y] = value;
  if (typeof x !== "number" || typeof y !== "number" || !(Math.abs(x) <= limit) || !(Math.abs(y) <= limit)) {
    throw new Refused("a point out of range");
  }
  return [x, y];
}

export function pointsOf(value: unknown, limit: number): [number, number][] {
  if (!Array.isArray(value) || value.length === 0) throw new Refused("no points");
  if (value.length > MAX_POINTS) throw new Refused("too many points");
  return value.map((point) => pointOf(point, limit));
}

/** At most `limit` usable entries; a value that is not a list has none. */
export function listOf<T>(value: unknown, limit: number, read: (entry: unknown) => T | undefined): T[] {
  if (!Array.isArray(value)) return [];
  if (value.length > limit) throw new Refused("a list too long");
  return value.map(read).filter((entry) => entry !== undefined);
}

/**
 * Whether Excalidraw can make more keys next to this one: a head that gives the length of the integer part, base-62
 * digits, and no zero at the end. The two longest negative heads are not allowed, because no key can be made below
 * them.
 */
export function isFractionalIndex(value: unknown): value is string {
  if (typeof value !== "string" || value.length > MAX_INDEX_LENGTH || !/^[C-Za-z][0-9A-Za-z]+$/.test(value))
    return false;
  const head = value.charCodeAt(0);
  const integer = head >= 97 ? head - 97 + 2 : 90 - head + 2;
  return value.length === integer || (value.length > integer && !value.endsWith("0"));
}
