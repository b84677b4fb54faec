// Hints of the browser that a connection may be lost, and the end of the page.

export interface NetworkListener {
  /** The network may have changed. */
  changed(): void;
  /** The page is visible again, or has woken up. */
  awake(): void;
  /** The page ends and does not come back. */
  gone(): void;
}

/** Returns a function that ends the watch. */
export function watchNetwork(listener: NetworkListener): () => void {
  const ending = new AbortController();
  const { signal } = ending;
  // Outside of a page there are no such events.
  const on = (target: EventTarget | undefined, name: string, heard: (event: Event) => void) =>
    target?.addEventListener?.(name, heard, { signal });
  const wasKept = (event: Event) => (event as PageTransitionEvent).persisted;
  on(globalThis, "online", () => listener.changed());
  // Not every browser has this, and TypeScript does not know it.
  on((globalThis.navigator as { connection?: EventTarget } | undefined)?.connection, "change", () =>
    listener.changed(),
  );
  on(globalThis.document, "visibilitychange", () => document.hidden || listener.awake());
  on(globalThis, "pageshow", (event) => wasKept(event) && listener.awake());
  // A page that is kept for the back button may continue; until then the server's grace period keeps its place.
  on(globalThis, "pagehide", (event) => wasKept(event) || listener.gone());
  return () => ending.abort();
}
