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
  addEventListener("online", () => listener.changed(), { signal });
  // Not in every browser, and not in TypeScript's idea of one.
  const { connection } = navigator as { connection?: EventTarget };
  connection?.addEventListener("change", () => listener.changed(), { signal });
  document.addEventListener("visibilitychange", () => document.hidden || listener.awake(), { signal });
  addEventListener("pageshow", ({ persisted }) => persisted && listener.awake(), { signal });
  // A page that is kept for the back button may go on; the server's grace covers it until then.
  addEventListener("pagehide", ({ persisted }) => persisted || listener.gone(), { signal });
  return () => ending.abort();
}
