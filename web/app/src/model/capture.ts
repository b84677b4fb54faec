// Asks the browser for a camera and a microphone, and accepts less if the wished device is not available.
import { type Kind, nameOfError } from "./media_words";

export type Facing = "user" | "environment";

/** The wished device; without either field, any device will do. */
export interface Wish {
  readonly id?: string;
  readonly facing?: Facing;
}

/** The part of `navigator.mediaDevices` that is used; tests replace it. */
export type Devices = Pick<MediaDevices, "getUserMedia" | "enumerateDevices"> &
  Partial<Pick<MediaDevices, "getDisplayMedia" | "addEventListener">>;

const TASTES: Record<Kind, MediaTrackConstraints> = {
  audio: { echoCancellation: true, noiseSuppression: true },
  video: { width: { ideal: 960 }, height: { ideal: 540 } },
};

/** Asks the user once, or not at all. */
export function captureBoth(devices: Devices, wishes: Record<Kind, Wish>): Promise<MediaStream> {
  return devices.getUserMedia({ audio: constraints("audio", wishes.audio), video: constraints("video", wishes.video) });
}

/**
 * Opens the wished device; if it is missing, another one; and if that cannot do what is asked, without these
 * conditions.
 */
export async function captureOne(
  devices: Devices,
  kind: Kind,
  wish: Wish,
  isWanted: () => boolean,
): Promise<MediaStream> {
  const ladder: (MediaTrackConstraints | true)[] = [constraints(kind, {}), true];
  if (wish.id || wish.facing) ladder.unshift(constraints(kind, wish));
  for (;;) {
    const step = ladder.shift() ?? true;
    try {
      return await devices.getUserMedia({ [kind]: step });
    } catch (error) {
      if (ladder.length === 0 || !isWanted() || !asksTooMuch(error)) throw error;
    }
  }
}

/** With `ideal`, the browser could choose another device. */
function constraints(kind: Kind, { id, facing }: Wish): MediaTrackConstraints {
  return {
    ...(id ? { deviceId: { exact: id } } : facing && { facingMode: { exact: facing } }),
    ...TASTES[kind],
  };
}

function asksTooMuch(error: unknown): boolean {
  return ["OverconstrainedError", "NotFoundError", "TypeError", "NotSupportedError"].includes(nameOfError(error));
}
