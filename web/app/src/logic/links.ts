// The addresses of pages in a text that somebody wrote. What of the text belongs to an address is decided by linkify-it;
// where one begins, and what may be opened, is decided here.
import { linkifyit } from "linkify-it";
import { INVISIBLE } from "./names";

export interface Piece {
  text: string;
  /** Where it leads, if this piece is the address of a page. */
  href?: string;
}

/** With names and passwords, so that what stands behind them is taken for the host, and not they. */
const linkify = linkifyit({ fuzzyEmail: false, urlAuth: true });

// Scripts without spaces write an address right behind a word, so any other letter may stand before it.
const BEGINNING = /(^|[^a-z0-9])(https?:)(?=\/\/)|(^|[^a-z0-9@/.:_-])(?=www\.[^\s.])/giu;
// What an address may hold, but seldom ends with: here it belongs to the sentence.
const SENTENCE_END = /[.,:;!?]+$/u;
// A text that was copied out of a page's source.
const ENTITY = /&(?:gt|lt|quot|apos|nbsp|#39|#x27)$/iu;

/** Finds the addresses of pages in a text. Nothing but http and https can become a link. */
export function splitLinks(text: string): Piece[] {
  const pieces: Piece[] = [];
  let end = 0;
  for (const match of text.matchAll(BEGINNING)) {
    const [, before, scheme = "", beforeWww] = match;
    const start = match.index + (before ?? beforeWww ?? "").length;
    if (start < end) continue;
    const address = addressAt(text, start, scheme);
    const href = scheme ? address : `https://${address}`;
    // A "www." with nothing behind it but the end of a sentence is no name of a host.
    if (!address || (!scheme && !address.includes(".")) || !mayBeOpened(href)) continue;
    if (start > end) pieces.push({ text: text.slice(end, start) });
    pieces.push({ text: visible(address), href });
    end = start + address.length;
  }
  if (end < text.length) pieces.push({ text: text.slice(end) });
  return pieces;
}

/** Empty if there is none. */
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
    // Who reads "https://bank.example@elsewhere.example" takes the first part for the host.
    return /^https?:$/.test(protocol) && !username && !password;
  } catch {
    return false;
  }
}

/** As an address bar writes what nobody could see, or what would turn the letters around it. */
function visible(address: string): string {
  return address.replace(INVISIBLE, (letter) => encodeURIComponent(letter));
}
