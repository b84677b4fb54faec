// Finds the addresses of pages in a text that somebody wrote. linkify-it decides which part of the text belongs to an
// address; this module decides where an address begins and what may be opened.
import { linkifyit } from "linkify-it";
import { INVISIBLE } from "./names";

export interface Piece {
  text: string;
  /** The target, if this piece is the address of a page. */
  href?: string;
}

/** User names and passwords are included, so that the part after them is recognized as the host. */
const linkify = linkifyit({ fuzzyEmail: false, urlAuth: true });

// In scripts without spaces, an address directly follows a word, so any other letter may precede it.
const BEGINNING = /(^|[^a-z0-9])(https?:)(?=\/\/)|(^|[^a-z0-9@/.:_-])(?=www\.[^\s.])/giu;
// Characters that an address may contain but seldom ends with; at the end they belong to the sentence.
const SENTENCE_END = /[.,:;!?]+$/u;
// For text that was copied from the source of a page.
const ENTITY = /&(?:gt|lt|quot|apos|nbsp|#39|#x27)$/iu;

/** Finds the addresses of pages in a text. Only http and https can become links. */
export function splitLinks(text: string): Piece[] {
  const pieces: Piece[] = [];
  let end = 0;
  for (const match of text.matchAll(BEGINNING)) {
    const [, before, scheme = "", beforeWww] = match;
    const start = match.index + (before ?? beforeWww ?? "").length;
    if (start < end) continue;
    const address = addressAt(text, start, scheme);
    const href = scheme ? address : `https://${address}`;
    // "www." followed only by the end of a sentence is not the name of a host.
    if (!address || (!scheme && !address.includes(".")) || !mayBeOpened(href)) continue;
    if (start > end) pieces.push({ text: text.slice(end, start) });
    pieces.push({ text: visible(address), href });
    end = start + address.length;
  }
  if (end < text.length) pieces.push({ text: text.slice(end) });
  return pieces;
}

/** Returns an empty text if there is no address. */
function addressAt(text: string, start: number, scheme: string): string {
  const rest = scheme ? text.slice(start + scheme.length) : `//${text.slice(start)}`;
  const length = linkify.testSchemaAt(rest, "http:", 0);
  if (length === 0) return "";
  const found = scheme + rest.slice(scheme ? 0 : 2, length);
  const isEntity = rest[length] === ";";
  const trimmed = (isEntity ? found.replace(ENTITY, "") : found).replace(SENTENCE_END, "");
  const emphasis = /[*_~]+$/u.exec(text.slice(0, start))?.[0];
  return emphasis && trimmed.endsWith(emphasis) ? trimmed.slice(0, -emphasis.length) : trimmed;
}

function mayBeOpened(address: string): boolean {
  try {
    const { protocol, username, password } = new URL(address);
    // People who read "https://bank.example@elsewhere.example" believe that the first part is the host.
    return /^https?:$/.test(protocol) && !username && !password;
  } catch {
    return false;
  }
}

/** Escapes invisible characters, and those that change the direction of text, as an address bar does. */
function visible(address: string): string {
  return address.replace(INVISIBLE, (letter) => encodeURIComponent(letter));
}
