// Camera, microphone and screen, with errors that say what is wrong.

import { BimccRtcError } from "./errors";

export interface CameraOptions {
  audio?: boolean | MediaTrackConstraints;
  video?: boolean | MediaTrackConstraints;
}

/**
 * Opens camera and microphone. Rejects with a `BimccRtcError`: `not_supported` (the page is not secure), `denied`,
 * `no_device` or `in_use`.
 */
export function openCamera({ audio = true, video = true }: CameraOptions = {}): Promise<MediaStream> {
  return open("camera and microphone", devices()?.getUserMedia, { audio, video });
}

/** Lets the user choose a screen, window or tab to share. Rejects as `openCamera` does. */
export function openScreen(options: DisplayMediaStreamOptions = { video: true, audio: true }): Promise<MediaStream> {
  return open("screen sharing", devices()?.getDisplayMedia, options);
}

/** There are no media devices on pages that are not secure, and outside of pages. */
function devices(): MediaDevices | undefined {
  return globalThis.navigator?.mediaDevices;
}

async function open<T>(
  what: string,
  method: ((this: MediaDevices, options: T) => Promise<MediaStream>) | undefined,
  options: T,
): Promise<MediaStream> {
  if (!method) {
    const remedy = globalThis.isSecureContext
      ? "this browser has none"
      : "browsers give it to secure pages only: use https (start the server with --tls) or localhost";
    throw new BimccRtcError("not_supported", `no ${what}: ${remedy}`);
  }
  try {
    return await method.call(navigator.mediaDevices, options);
  } catch (cause) {
    const reason = (cause instanceof Error && REASONS[cause.name]) || "not_supported";
    throw new BimccRtcError(reason, `no ${what}: ${cause}`, undefined, { cause });
  }
}

const REASONS: Record<string, string> = {
  NotAllowedError: "denied",
  NotFoundError: "no_device",
  OverconstrainedError: "no_device",
  NotReadableError: "in_use",
  AbortError: "in_use",
};
