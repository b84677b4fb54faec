// Prepares names that others chose for display: any script is allowed, but nothing that could disguise the text around
// them.

export const LONGEST_NAME = 60;
/** The limit of the protocol. */
const MOST_BYTES = 1_024;
const LONGEST_FILE_NAME = 120;

// Characters that change the direction of text, which make "gpj.exe" look like "exe.jpg", and invisible ones.
export const INVISIBLE = /[\p{Cc}\p{Zl}\p{Zp}\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/gu;
// More marks on a letter than any script needs would be painted over other lines.
const PILED_MARKS = /(\p{M}{4})\p{M}+/gu;

interface Named {
  readonly id: string;
  readonly name: string | undefined;
}

/** The text without unpaired surrogates, which many browser functions refuse. */
export function wellFormed(text: string): string {
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(new TextEncoder().encode(text));
}

/** One line of visible text. */
export function cleanText(text: string, longest: number): string {
  // The rest would be cut off anyway, so it is not processed.
  const visible = wellFormed(text.slice(0, longest * 8))
    .replace(INVISIBLE, " ")
    .replace(PILED_MARKS, "$1")
    .replace(/\s+/gu, " ")
    .trim();
  const letters = [...visible];
  return letters.length <= longest ? visible : `${letters.slice(0, longest - 1).join("")}…`;
}

/** Why the server would not accept somebody's own name; undefined if it would. */
export function nameProblem(name: string): string | undefined {
  const fits = new TextEncoder().encode(name.trim()).length <= MOST_BYTES;
  return fits ? undefined : `This name is too long. Up to ${LONGEST_NAME} letters are shown.`;
}

/** Tells that others will not see the whole name; undefined if they will. */
export function nameNote(name: string): string | undefined {
  const fits = [...wellFormed(name.trim())].length <= LONGEST_NAME;
  return fits ? undefined : `Others are shown the first ${LONGEST_NAME - 1} letters of it.`;
}

/** The name that is shown for a member. Members without a name are distinguished by their ids. */
export function displayName({ id, name }: Named): string {
  return (typeof name === "string" && cleanText(name, LONGEST_NAME)) || `guest ${cleanText(String(id).slice(-4), 4)}`;
}

/** One or two letters that stand for a name where there is no picture. */
export function initials(name: string): string {
  const words = name.split(" ").filter((word) => /[\p{L}\p{N}]/u.test(word));
  const first = (word: string | undefined) => word?.match(/[\p{L}\p{N}]/u)?.[0] ?? "";
  const letters = first(words[0]) + (words.length > 1 ? first(words.at(-1)) : "");
  return letters.toLocaleUpperCase() || ([...name][0] ?? "?");
}

/** A hue of 0 to 359 that belongs to an id. */
export function hueOf(id: string): number {
  let hash = 7;
  for (let i = 0; i < Math.min(id.length, 64); i++) hash = (hash * 31 + id.charCodeAt(i)) >>> 0;
  return (hash * 137) % 360;
}

/**
 * A name under which a browser may save a file that somebody sent: without folders, not hidden, and with its extension.
 */
export function fileNameOf(name: unknown): string {
  if (typeof name !== "string") return "file";
  const base = name.slice(-1024).split(/[/\\]/).at(-1) ?? "";
  const clean = cleanText(base.replace(/[<>:"|?*]/g, "_"), 1024)
    .replace(/^\.+/, "")
    .replace(/[. ]+$/, "");
  if (!clean) return "file";
  const letters = [...clean];
  if (letters.length <= LONGEST_FILE_NAME) return notReserved(clean);
  const ending = /\.[\p{L}\p{N}]{1,10}$/u.exec(clean)?.[0] ?? "";
  return notReserved(`${letters.slice(0, LONGEST_FILE_NAME - ending.length - 1).join("")}…${ending}`);
}

/** Windows treats these names as devices, whatever their extension. */
function notReserved(name: string): string {
  return /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i.test(name) ? `_${name}` : name;
}
