import type { Room } from "bimcc-rtc";

/**
 * `window.bimccRtc`: for looking into a running page from the console, and for tests. Nothing here reads it back, so it
 * may be looked at and called but changes nothing by being changed.
 */
export interface DebugHandle {
  /** The room while this page is in one. */
  room?: Room;
  /** What the board shows of itself, once it is there. */
  board?: unknown;
}

declare global {
  interface Window {
    bimccRtc?: DebugHandle;
  }
}

export function expose(part: DebugHandle): void {
  window.bimccRtc = Object.assign(window.bimccRtc ?? {}, part);
}

export function conceal(part: keyof DebugHandle): void {
  delete window.bimccRtc?.[part];
}
