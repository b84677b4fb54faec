// The description of a file before it is sent. It comes from a stranger, so each value is checked or made harmless.
import { BimccRtcError } from "../errors";
import { fromUtf8, utf8 } from "../utf8";
import { MAX_METADATA, MAX_NAME, MAX_OFFER, MAX_SIZE } from "./limits";

export interface Offer {
  name: string;
  type: string;
  size: number;
  metadata: unknown;
}

export function encodeOffer(offer: Offer): Uint8Array {
  const metadata = JSON.stringify(offer.metadata) ?? "null";
  if (utf8.encode(metadata).length > MAX_METADATA) {
    throw new BimccRtcError("too_large", `a file's metadata is at most ${MAX_METADATA} bytes`);
  }
  return utf8.encode(JSON.stringify(offer));
}

/** Returns undefined if it is not an offer. */
export function decodeOffer(body: Uint8Array): Offer | undefined {
  if (body.length > MAX_OFFER) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(fromUtf8.decode(body));
    if (typeof value !== "object" || value === null) return undefined;
    const { name, type, size, metadata } = value as Record<string, unknown>;
    if (typeof name !== "string" || typeof type !== "string") return undefined;
    if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 0 || size > MAX_SIZE) return undefined;
    if (utf8.encode(JSON.stringify(metadata) ?? "").length > MAX_METADATA) return undefined;
    return { name: safeName(name), type: safeType(type), size, metadata };
  } catch {
    return undefined;
  }
}

/** A bare file name of at most 255 bytes, without anything that a file system or a reader could misunderstand. */
export function safeName(name: string): string {
  const bare = (name.slice(-4096).split(/[/\\]/).pop() ?? "")
    // Control characters, and those that change the direction of text: a "gpj.exe" must not look like "exe.jpg".
    .replace(/[\p{Cc}\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/gu, "")
    .trim();
  const whole = shorten(bare, MAX_NAME);
  return whole === "" || /^\.+$/.test(whole) ? "file" : whole;
}

/** Keeps the extension, by which people and systems recognize the kind of a file. */
function shorten(name: string, bytes: number): string {
  const dot = name.lastIndexOf(".");
  const ending = dot > 0 && name.length - dot <= 16 ? name.slice(dot) : "";
  const stem = [...name.slice(0, name.length - ending.length)].slice(0, bytes);
  for (;;) {
    const whole = utf8.encode(stem.join("") + ending);
    if (whole.length <= bytes) return fromUtf8.decode(whole);
    stem.pop();
  }
}

function safeType(type: string): string {
  return /^[\w.+-]{1,127}\/[\w.+-]{1,127}$/.test(type) ? type.toLowerCase() : "";
}

/** The type for the Blob. A page that opens it as a URL must not run a stranger's text as its own code. */
export function inertType(type: string): string {
  return /html|xml|svg|script|multipart|message/.test(type) ? "application/octet-stream" : type;
}
