import type { Room } from "bimcc-rtc";

/**
 * `window.bimccRtc`: for inspecting a running page from the console, and for tests. The page never reads it, so
 * changing it has no effect.
 */
export interface DebugHandle {
  /** The room, while this page is in one. */
  room?: Room;
  /** Access to the board, once it is there. */
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
