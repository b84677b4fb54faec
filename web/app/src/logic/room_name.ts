// Room names: which ones the server accepts, and how a name appears in the page's address.
import { BASE_PATH, withinBase } from "./base_path";
import { wellFormed } from "./names";

const LETTERS = "abcdefghjkmnpqrstuvwxyz";
const LONGEST = 128;

/** Nine letters without look-alikes, about 40 bits: easy to say, hard to guess. */
export function randomRoomName(random: (count: number) => Uint32Array = randomNumbers): string {
  const picks = [...random(9)].map((number) => LETTERS[number % LETTERS.length]);
  return [0, 3, 6].map((start) => picks.slice(start, start + 3).join("")).join("-");
}

function randomNumbers(count: number): Uint32Array {
  return crypto.getRandomValues(new Uint32Array(count));
}

/** The room that a typed text names. */
export function roomNameOf(typed: string): string {
  return composed(typed).trim();
}

/** The same word from two keyboards is one room, however they compose letters, as on the server. */
function composed(name: string): string {
  return wellFormed(name).normalize("NFC");
}

/** Why the server or the address bar would not accept a name; undefined if they would. */
export function roomNameProblem(name: string): string | undefined {
  const bytes = new TextEncoder().encode(name).length;
  if (bytes === 0) return "A room needs a name.";
  if (bytes > LONGEST) return "This name is too long. Up to 128 letters fit, fewer of some scripts.";
  if (/\p{Cc}/u.test(name)) return "This name has characters that cannot be seen. Please type it again.";
  // Addresses cannot carry these: browsers read them as "this folder" and "the folder above".
  if (name === "." || name === "..") return "A room needs a name with more than dots.";
  return undefined;
}

export function roomPath(name: string, base = BASE_PATH): string {
  return `${base}r/${encodeURIComponent(composed(name))}`;
}

/** The room in a path, undefined for the lobby's. */
export function roomInPath(path: string, base = BASE_PATH): string | undefined {
  const encoded = /^\/r\/([^/]+)\/?$/.exec(withinBase(path, base))?.[1];
  if (encoded === undefined) return undefined;
  try {
    return composed(decodeURIComponent(encoded));
  } catch {
    return encoded;
  }
}
