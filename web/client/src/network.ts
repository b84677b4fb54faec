// Hints of the browser that what was connected may not be any more, and the end of the page.

export interface NetworkListener {
  /** The network may be another now. */
  changed(): void;
  /** The page is looked at again, or has been woken up. */
  awake(): void;
  /** The page goes and does not come back. */
  gone(): void;
}

/** Returns what ends it. */
export function watchNetwork(listener: NetworkListener): () => void {
  const ending = new AbortController();
  const { signal } = ending;
  // Where there is no page there is nothing to hear.
  const on = (target: EventTarget | undefined, name: string, heard: (event: Event) => void) =>
    target?.addEventListener?.(name, heard, { signal });
  const wasKept = (event: Event) => (event as PageTransitionEvent).persisted;
  on(globalThis, "online", () => listener.changed());
  // Not in every browser, and not in TypeScript's idea of one.
  on((globalThis.navigator as { connection?: EventTarget } | undefined)?.connection, "change", () =>
    listener.changed(),
  );
  on(globalThis.document, "visibilitychange", () => document.hidden || listener.awake());
  on(globalThis, "pageshow", (event) => wasKept(event) && listener.awake());
  // A page that is kept for the back button may go on; the server's grace covers it until then.
  on(globalThis, "pagehide", (event) => wasKept(event) || listener.gone());
  return () => ending.abort();
}
