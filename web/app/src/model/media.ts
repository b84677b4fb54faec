// This member's camera, microphone and screen: opened when somebody asks for them, closed when they are switched off, so
// that a camera's light says the truth. Knows no room: `onChange` tells whoever publishes.
import { preferences } from "./preferences";
import { Cell } from "./store";

export type Switch = "off" | "starting" | "on";
export type Kind = "audio" | "video";

export interface MediaState {
  /** Whether this page may ask for them at all; browsers refuse pages that came over plain http. */
  supported: boolean;
  screenSupported: boolean;
  microphone: Switch;
  camera: Switch;
  screen: Switch;
  cameras: readonly MediaDeviceInfo[];
  microphones: readonly MediaDeviceInfo[];
  cameraId: string;
  microphoneId: string;
  /** Why the latest attempt came to nothing. */
  problem: string | undefined;
  /** Counts changes of the streams' tracks. */
  version: number;
}

/** What `navigator.mediaDevices` does here; tests give another. */
export type Devices = Pick<MediaDevices, "getUserMedia" | "enumerateDevices"> &
  Partial<Pick<MediaDevices, "getDisplayMedia">>;

export class LocalMedia {
  /** Camera and microphone: the same object for ever, its tracks come and go. */
  readonly stream = new MediaStream();
  screenStream: MediaStream | undefined;
  readonly state: Cell<MediaState>;
  onChange: (what: "camera" | "screen") => void = () => {};
  /** A track is to take the place of the one of its kind: whoever publishes may do it without negotiation. */
  onReplace: (track: MediaStreamTrack) => void = () => {};
  #stopped = false;
  /** Asking for both at once would show two questions. */
  #asking: Promise<void> = Promise.resolve();

  constructor(private readonly devices: Devices | undefined) {
    this.state = new Cell<MediaState>({
      supported: devices !== undefined,
      screenSupported: devices?.getDisplayMedia !== undefined,
      microphone: "off",
      camera: "off",
      screen: "off",
      cameras: [],
      microphones: [],
      cameraId: preferences.device("video"),
      microphoneId: preferences.device("audio"),
      problem: undefined,
      version: 0,
    });
  }

  /** Camera and microphone with one question; what there is of them. */
  async openBoth(): Promise<void> {
    await this.#open(["audio", "video"]);
    const { microphone, camera } = this.state.get();
    // A computer without a camera may have a microphone, and the other way round.
    if (microphone === "off" && camera === "off" && this.#lastFailure === "NotFoundError") {
      await this.#open(["audio"]);
      if (this.state.get().microphone === "off") await this.#open(["video"]);
    }
  }

  async setMicrophone(on: boolean): Promise<void> {
    const track = this.#track("audio");
    if (!track) return on ? this.#open(["audio"]) : undefined;
    // Muting keeps the device, so that unmuting cuts off no syllable.
    track.enabled = on;
    this.#changed({ microphone: on ? "on" : "off" });
    this.onChange("camera");
  }

  async setCamera(on: boolean): Promise<void> {
    if (on) return this.#open(["video"]);
    this.#drop("video");
    this.#changed({ camera: "off" });
    this.onChange("camera");
  }

  async chooseDevice(kind: Kind, id: string): Promise<void> {
    preferences.setDevice(kind, id);
    this.#changed(kind === "audio" ? { microphoneId: id } : { cameraId: id });
    if (this.#track(kind)) await this.#open([kind]);
  }

  async setScreen(on: boolean): Promise<void> {
    if (!on) return this.#endScreen();
    if (this.state.get().screen !== "off" || !this.devices?.getDisplayMedia) return;
    this.#changed({ screen: "starting", problem: undefined });
    try {
      const stream = await this.devices.getDisplayMedia({ video: true, audio: true });
      if (this.#stopped) return stopAll(stream);
      const [video] = stream.getVideoTracks();
      // Text shall stay sharp when the network gets slow.
      if (video) video.contentHint = "detail";
      video?.addEventListener("ended", () => this.screenStream === stream && this.#endScreen());
      this.screenStream = stream;
      this.#changed({ screen: "on" });
      this.onChange("screen");
    } catch (error) {
      const changedMind = error instanceof DOMException && error.name === "NotAllowedError";
      this.#changed({ screen: "off", problem: changedMind ? undefined : whyNot(error, ["video"]) });
    }
  }

  async refreshDevices(): Promise<void> {
    const all = (await this.devices?.enumerateDevices().catch(() => [])) ?? [];
    // Before leave is given, browsers list devices without names or ids, which is nothing to choose from.
    const named = all.filter((device) => device.deviceId && device.label);
    this.#changed({
      cameras: named.filter((device) => device.kind === "videoinput"),
      microphones: named.filter((device) => device.kind === "audioinput"),
    });
  }

  forgetProblem(): void {
    this.#changed({ problem: undefined });
  }

  /** Closes everything, also what is still being opened. */
  stop(): void {
    this.#stopped = true;
    this.#drop("audio");
    this.#drop("video");
    if (this.screenStream) stopAll(this.screenStream);
    this.screenStream = undefined;
    this.#changed({ microphone: "off", camera: "off", screen: "off" });
  }

  /** After `stop`: devices may be opened again. */
  start(): void {
    this.#stopped = false;
  }

  #lastFailure: string | undefined;

  #open(kinds: Kind[]): Promise<void> {
    this.#asking = this.#asking.then(() => this.#openNow(kinds));
    return this.#asking;
  }

  async #openNow(kinds: Kind[]): Promise<void> {
    if (!this.devices || this.#stopped) return;
    const before = this.state.get();
    this.#changed({ ...switches(kinds, "starting"), problem: undefined });
    this.#lastFailure = undefined;
    try {
      const stream = await this.devices.getUserMedia(this.#wanted(kinds));
      if (this.#stopped) return stopAll(stream);
      for (const track of stream.getTracks()) this.#take(track);
      this.#changed({
        ...switches(kinds, "on"),
        ...(this.#track("audio")?.enabled === false && { microphone: "off" }),
      });
      this.onChange("camera");
    } catch (error) {
      this.#lastFailure = error instanceof DOMException ? error.name : "";
      // Where only another device was wanted, the one in use goes on.
      const camera = this.#track("video") ? before.camera : "off";
      const microphone = this.#track("audio") ? before.microphone : "off";
      this.#changed({ camera, microphone, problem: whyNot(error, kinds) });
    }
    void this.refreshDevices();
  }

  #wanted(kinds: Kind[]): MediaStreamConstraints {
    const { cameraId, microphoneId } = this.state.get();
    // Not `exact`: a device that was unplugged since is no reason to have none.
    const device = (id: string) => (id ? { deviceId: { ideal: id } } : {});
    return {
      audio: kinds.includes("audio") && { ...device(microphoneId), echoCancellation: true, noiseSuppression: true },
      video: kinds.includes("video") && { ...device(cameraId), width: { ideal: 960 }, height: { ideal: 540 } },
    };
  }

  #take(track: MediaStreamTrack): void {
    const old = this.stream.getTracks().find((other) => other.kind === track.kind);
    track.addEventListener("ended", () => this.#lost(track));
    if (old) {
      // Who was muted stays so with another microphone.
      track.enabled = old.enabled;
      this.onReplace(track);
      this.stream.removeTrack(old);
      old.stop();
    }
    if (!this.stream.getTracks().includes(track)) this.stream.addTrack(track);
  }

  /** A device was unplugged, or leave was taken back. */
  #lost(track: MediaStreamTrack): void {
    if (!this.stream.getTracks().includes(track)) return;
    this.stream.removeTrack(track);
    const what = track.kind === "audio" ? "microphone" : "camera";
    this.#changed({
      ...switches([track.kind as Kind], "off"),
      problem: `The ${what} is gone. Is it still plugged in?`,
    });
    this.onChange("camera");
    void this.refreshDevices();
  }

  #drop(kind: Kind): void {
    const track = this.#track(kind);
    if (!track) return;
    this.stream.removeTrack(track);
    track.stop();
  }

  #endScreen(): void {
    if (!this.screenStream) return;
    stopAll(this.screenStream);
    this.screenStream = undefined;
    this.#changed({ screen: "off" });
    this.onChange("screen");
  }

  #track(kind: Kind): MediaStreamTrack | undefined {
    return this.stream.getTracks().find((track) => track.kind === kind);
  }

  #changed(change: Partial<MediaState>): void {
    this.state.update({ ...change, version: this.state.get().version + 1 });
  }
}

function switches(kinds: Kind[], to: Switch): Partial<MediaState> {
  return { ...(kinds.includes("audio") && { microphone: to }), ...(kinds.includes("video") && { camera: to }) };
}

function stopAll(stream: MediaStream): void {
  for (const track of stream.getTracks()) track.stop();
}

/** What went wrong, and what to do about it. */
export function whyNot(error: unknown, kinds: readonly Kind[]): string {
  const what = kinds.length > 1 ? "camera and microphone" : kinds[0] === "audio" ? "microphone" : "camera";
  switch (error instanceof DOMException ? error.name : "") {
    case "NotAllowedError":
    case "SecurityError":
      return `This page may not use the ${what}. Allow it beside the address above, then try again.`;
    case "NotFoundError":
    case "OverconstrainedError":
      return `No ${what} was found. Plug one in and try again.`;
    case "NotReadableError":
    case "AbortError":
      return `The ${what} cannot be opened. Perhaps another program is using it.`;
    default:
      return `The ${what} cannot be opened: ${error instanceof Error ? error.message : "no reason was given"}.`;
  }
}
