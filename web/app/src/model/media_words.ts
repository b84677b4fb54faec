// Explains in words why the browser refused camera, microphone or screen, and what to do about it.

export type Kind = "audio" | "video";

const WORDS: Record<Kind, string> = { audio: "microphone", video: "camera" };

/** Also works for errors that are not a DOMException, such as OverconstrainedError in some browsers. */
export function nameOfError(error: unknown): string {
  const name = typeof error === "object" && error !== null && "name" in error ? error.name : undefined;
  return typeof name === "string" ? name : "";
}

/** What went wrong with each kind, in as few sentences as possible. */
export function problemOf(failures: ReadonlyMap<Kind, unknown>): string | undefined {
  const inOrder = (["video", "audio"] as const).flatMap((kind) =>
    failures.has(kind) ? [[kind, failures.get(kind)] as const] : [],
  );
  const [[one, error] = [], [other, otherError] = []] = inOrder;
  if (!one) return undefined;
  if (!other) return whyNot(error, [one]);
  if (nameOfError(error) === nameOfError(otherError)) return whyNot(error, [one, other]);
  return `${whyNot(error, [one])} ${whyNot(otherError, [other])}`;
}

/** The devices of these kinds, in words. */
function named(kinds: readonly Kind[]): string {
  return kinds.length > 1 ? "camera and microphone" : WORDS[kinds[0] ?? "video"];
}

export function noAnswerAbout(kinds: readonly Kind[]): string {
  return `The browser has not answered about the ${named(kinds)}. It may be asking you, beside the address above.`;
}

function whyNot(error: unknown, kinds: readonly Kind[]): string {
  const what = named(kinds);
  const [it, one] = kinds.length > 1 ? ["them", "them"] : ["it", "one"];
  switch (nameOfError(error)) {
    case "NotAllowedError":
      return `This page may not use the ${what}. Allow ${it} beside the address above, then try again.`;
    case "SecurityError":
      return `This browser lets no page use the ${what}. Its settings say so, or those of this device.`;
    case "NotFoundError":
      return `No ${kinds.length > 1 ? "camera and no microphone were" : `${what} was`} found. Plug ${one} in and try again.`;
    case "OverconstrainedError":
      return `No ${what} was found that does what is asked here. Choose another in the settings.`;
    case "NotReadableError":
      return `The ${what} cannot be opened. Perhaps another program is using ${it}, or the system keeps ${it} from the browser.`;
    case "AbortError":
      return `The ${what} could not be started. Try again, or plug ${it} in anew.`;
    case "InvalidStateError":
      return `The browser opens the ${what} only for a page that is in front. Click on this page, then try again.`;
    default:
      return `The ${what} cannot be opened: ${messageOf(error)}.`;
  }
}

export function goneInWords(kind: Kind): string {
  return `The ${WORDS[kind]} is gone. It was unplugged, or may not be used any more.`;
}

/** `gone` and `now` are the devices' own names, which may be missing. */
export function replacedInWords(kind: Kind, gone: string, now: string): string {
  return `The ${WORDS[kind]}${gone && ` “${gone}”`} is gone. ${now ? `“${now}”` : "Another"} is used instead.`;
}

export function whyNoScreen(error: unknown): string {
  switch (nameOfError(error)) {
    case "NotAllowedError":
      return "No screen is shared: none was chosen, or the browser may not record it. On a Mac, the system's settings decide that.";
    case "SecurityError":
      return "This browser lets no page share a screen. Its settings say so, or those of this device.";
    case "NotFoundError":
      return "No screen or window was found that could be shared.";
    case "NotReadableError":
      return "The screen cannot be recorded. The system, or another program, keeps it from the browser.";
    case "AbortError":
      return "Sharing the screen was broken off. Try again.";
    case "InvalidStateError":
      return "The browser shares a screen only right after a click on a page that is in front. Try again.";
    case "OverconstrainedError":
    case "NotSupportedError":
      return "This browser cannot share a screen in the way that is asked here. Try another window or screen.";
    default:
      return `The screen cannot be shared: ${messageOf(error)}.`;
  }
}

function messageOf(error: unknown): string {
  const message = error instanceof Error ? error.message.replace(/\.+$/, "") : "";
  return message || "no reason was given";
}
