// Asks the browser for a camera and a microphone, and takes less where it cannot have what was wished for.
import { type Kind, nameOfError } from "./media_words";

export type Facing = "user" | "environment";

/** Which device it shall be; without either any will do. */
export interface Wish {
  readonly id?: string;
  readonly facing?: Facing;
}

/** What `navigator.mediaDevices` does here; tests give another. */
export type Devices = Pick<MediaDevices, "getUserMedia" | "enumerateDevices"> &
  Partial<Pick<MediaDevices, "getDisplayMedia" | "addEventListener">>;

const TASTES: Record<Kind, MediaTrackConstraints> = {
  audio: { echoCancellation: true, noiseSuppression: true },
  video: { width: { ideal: 960 }, height: { ideal: 540 } },
};

/** With one question, or none at all. */
export function captureBoth(devices: Devices, wishes: Record<Kind, Wish>): Promise<MediaStream> {
  return devices.getUserMedia({ audio: constraints("audio", wishes.audio), video: constraints("video", wishes.video) });
}

/** The wished device; if it is not there, another; if that cannot do what is asked, as it is. */
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

/** `ideal` would let the browser choose the one it likes better. */
function constraints(kind: Kind, { id, facing }: Wish): MediaTrackConstraints {
  return {
    ...(id ? { deviceId: { exact: id } } : facing && { facingMode: { exact: facing } }),
    ...TASTES[kind],
  };
}

function asksTooMuch(error: unknown): boolean {
  return ["OverconstrainedError", "NotFoundError", "TypeError", "NotSupportedError"].includes(nameOfError(error));
}
