// This member's camera, microphone and screen: opened when the user asks for them, closed when they are switched off,
// so that the light of a camera tells the truth. The class knows no room: `onChange` tells the part that publishes.
//
// A browser may answer late or never, so every wait can be given up: each question is a `Request`, from which each kind
// can be withdrawn, and a track that comes for a withdrawn kind is stopped at once.
import { captureBoth, captureOne, type Devices, type Facing, type Wish } from "./capture";
import {
  goneInWords,
  type Kind,
  nameOfError,
  noAnswerAbout,
  problemOf,
  replacedInWords,
  whyNoScreen,
} from "./media_words";
import { preferences } from "./preferences";
import { Cell } from "./store";

export type { Devices } from "./capture";
export type { Kind } from "./media_words";

export type Switch = "off" | "starting" | "on";

export interface MediaState {
  /** Whether this page may ask for devices at all; browsers refuse this to pages over plain http. */
  supported: boolean;
  screenSupported: boolean;
  microphone: Switch;
  camera: Switch;
  screen: Switch;
  cameras: readonly MediaDeviceInfo[];
  microphones: readonly MediaDeviceInfo[];
  cameraId: string;
  microphoneId: string;
  /** Where the camera looks, if it belongs to a phone. */
  facing: Facing | undefined;
  /** Why the latest attempts failed. */
  problem: string | undefined;
  /** Counts changes of the tracks. */
  version: number;
}

const KINDS = ["audio", "video"] as const;
/** A device that takes longer than this probably hangs. */
const PATIENCE = 8_000;

/** A track may end this long before or after the browser's list of devices shows the reason. */
const LIST_LAGS = 5_000;

/** A device that went while it was in use. */
interface Gone {
  readonly id: string | undefined;
  readonly label: string;
  readonly at: number;
}

/** One request to the browser. */
class Request {
  readonly kinds: Set<Kind>;
  readonly isForBoth: boolean;
  /** Whether it has taken so long that the page says so. */
  isOverdue = false;
  /** Whether each of its kinds was also requested separately. */
  isSplit = false;
  /** Resolves when nobody waits for the answer any more. */
  readonly abandoned: Promise<undefined>;
  #abandon: () => void = () => {};

  constructor(kinds: readonly Kind[]) {
    this.kinds = new Set(kinds);
    this.isForBoth = kinds.length > 1;
    this.abandoned = new Promise((resolve) => {
      this.#abandon = () => resolve(undefined);
    });
  }

  withdraw(kind: Kind): void {
    this.kinds.delete(kind);
    if (this.kinds.size === 0) this.#abandon();
  }
}

export class LocalMedia {
  /** Camera and microphone. It is always the same object; only its tracks change. */
  readonly stream = new MediaStream();
  screenStream: MediaStream | undefined;
  readonly state: Cell<MediaState>;
  onChange: (what: "camera" | "screen") => void = () => {};
  /** A track shall replace the one of its kind. The part that publishes can do this without negotiation. */
  onReplace: (track: MediaStreamTrack) => void = () => {};
  #stopped = false;
  readonly #requests = new Set<Request>();
  readonly #failures = new Map<Kind, unknown>();
  readonly #wishes: Record<Kind, Wish>;
  /** The open request for a screen. */
  #screenRequest: object | undefined;
  readonly #gone = new Map<Kind, Gone>();
  #refreshes = 0;
  /** A remark that is shown in addition to the failures. */
  #remark: string | undefined;

  constructor(private readonly devices: Devices | undefined) {
    this.#wishes = { audio: { id: preferences.device("audio") }, video: { id: preferences.device("video") } };
    this.state = new Cell<MediaState>({
      supported: typeof devices?.getUserMedia === "function",
      screenSupported: typeof devices?.getDisplayMedia === "function",
      microphone: "off",
      camera: "off",
      screen: "off",
      cameras: [],
      microphones: [],
      cameraId: this.#wishes.video.id ?? "",
      microphoneId: this.#wishes.audio.id ?? "",
      facing: undefined,
      problem: undefined,
      version: 0,
    });
    devices?.addEventListener?.("devicechange", () => void this.refreshDevices());
  }

  /** Opens camera and microphone with one question, or the one of them that is available. */
  async openBoth(): Promise<void> {
    if (!this.#mayAsk()) return;
    for (const kind of KINDS) this.#giveUp(kind);
    this.#forget();
    const both = new Request(KINDS);
    const error = await this.#ask(both);
    if (error === undefined) return;
    // One of the two may be missing, in use or forbidden. If the user has closed the question, it is not asked again.
    if (both.isSplit || isDismissal(error)) this.#fail(both, error);
    else await this.#askForEach([...both.kinds]);
  }

  async setMicrophone(on: boolean): Promise<void> {
    const track = this.#track("audio");
    if (!track) return on ? this.#open("audio") : this.#giveUp("audio");
    // Muting keeps the device open, so that no syllable is lost after unmuting.
    track.enabled = on;
    this.#changed();
    this.onChange("camera");
  }

  async setCamera(on: boolean): Promise<void> {
    if (on) return this.#open("video");
    this.#giveUp("video");
    this.#drop("video");
    this.#changed();
    this.onChange("camera");
  }

  /** The action of a button: switches on or off, or stops waiting. */
  async toggle(kind: Kind): Promise<void> {
    const { microphone, camera } = this.state.get();
    const now = kind === "audio" ? microphone : camera;
    // A device that only waits because of the other one can be opened separately.
    const waitsAlone = [...this.#requests].some(({ kinds }) => kinds.has(kind) && kinds.size === 1);
    const on = now === "off" || (now === "starting" && !waitsAlone);
    await (kind === "audio" ? this.setMicrophone(on) : this.setCamera(on));
  }

  async chooseDevice(kind: Kind, id: string): Promise<void> {
    preferences.setDevice(kind, id);
    this.#changed(kind === "audio" ? { microphoneId: id } : { cameraId: id });
    await this.#change(kind, { id });
  }

  /** Changes between the front and the back camera of a phone. */
  async turnCamera(): Promise<void> {
    await this.#change("video", { facing: this.state.get().facing === "environment" ? "user" : "environment" });
  }

  async setScreen(on: boolean): Promise<void> {
    if (!on) return this.#endScreen();
    if (this.state.get().screen !== "off" || !this.devices?.getDisplayMedia) return;
    const request = {};
    this.#screenRequest = request;
    this.#remark = undefined;
    this.#changed({ screen: "starting" });
    try {
      const stream = await this.devices.getDisplayMedia({ video: true, audio: true });
      const [video] = stream.getVideoTracks();
      if (this.#screenRequest !== request || !video) stopAll(stream);
      if (this.#screenRequest !== request) return;
      if (!video) throw new DOMException("there is no picture in it", "NotFoundError");
      this.#screenRequest = undefined;
      // Text must stay sharp when the network is slow.
      video.contentHint = "detail";
      video.addEventListener("ended", () => this.screenStream === stream && this.#endScreen());
      this.screenStream = stream;
      this.#changed({ screen: "on" });
      this.onChange("screen");
    } catch (error) {
      if (this.#screenRequest !== request) return;
      this.#screenRequest = undefined;
      this.#remark = whyNoScreen(error);
      this.#changed({ screen: "off" });
    }
  }

  async refreshDevices(): Promise<void> {
    const refresh = ++this.#refreshes;
    let all: readonly MediaDeviceInfo[] = [];
    try {
      all = (await this.devices?.enumerateDevices()) ?? [];
    } catch {
      // If listing fails, there is nothing to choose from.
    }
    if (refresh !== this.#refreshes) return;
    // Before the user has given permission, browsers list devices without names or ids, so there is nothing to choose
    // from.
    const named = all.filter((device) => device.deviceId && device.label);
    const before = { audio: this.#listed("audio"), video: this.#listed("video") };
    this.#changed({
      cameras: named.filter((device) => device.kind === "videoinput"),
      microphones: named.filter((device) => device.kind === "audioinput"),
    });
    for (const kind of KINDS) {
      this.#endUnlisted(kind, before[kind]);
      void this.#replaceGone(kind);
    }
  }

  forgetProblem(): void {
    this.#forget();
    for (const request of this.#requests) request.isOverdue = false;
    this.#changed();
  }

  /** Stops waiting for any answer of the browser. */
  giveUp(): void {
    for (const kind of KINDS) this.#giveUp(kind);
    this.#forget();
    this.#changed();
  }

  /** Closes everything, also devices that are still being opened. */
  stop(): void {
    this.#stopped = true;
    this.giveUp();
    for (const kind of KINDS) this.#drop(kind);
    this.#screenRequest = undefined;
    if (this.screenStream) stopAll(this.screenStream);
    this.screenStream = undefined;
    this.#changed({ screen: "off" });
  }

  /** After `stop`: devices may be opened again. */
  start(): void {
    this.#stopped = false;
  }

  // ---- Questions to the browser ---------------------------------------------------------------------------------------

  #mayAsk(): boolean {
    return this.state.get().supported && !this.#stopped;
  }

  /** Requests one kind by the current wish. Earlier requests for this kind no longer count. */
  async #open(kind: Kind): Promise<void> {
    if (!this.#mayAsk()) return;
    this.#giveUp(kind);
    this.#forget();
    const request = new Request([kind]);
    const error = await this.#ask(request);
    if (error !== undefined) this.#fail(request, error);
  }

  /** Requests each kind separately, in addition to open requests. */
  async #askForEach(kinds: readonly Kind[]): Promise<void> {
    const requests = kinds.map((kind) => new Request([kind]));
    await Promise.all(
      requests.map(async (request) => {
        const error = await this.#ask(request);
        if (error !== undefined) this.#fail(request, error);
      }),
    );
  }

  /** Chooses another device of a kind, and opens it at once if one is in use. */
  async #change(kind: Kind, wish: Wish): Promise<void> {
    const before = this.#wishes[kind];
    this.#wishes[kind] = wish;
    const old = this.#track(kind);
    if (!old) return;
    await this.#open(kind);
    if (this.#track(kind) !== old || !isBusy(this.#failures.get(kind))) return;
    // Many phones can open only one camera at a time. The old track stays in the stream until another one replaces it.
    old.stop();
    await this.#open(kind);
    if (this.#track(kind) !== old || this.#isAsked(kind)) return;
    const failure = this.#failures.get(kind);
    this.#wishes[kind] = before;
    await this.#open(kind);
    if (this.#track(kind) === old) this.#drop(kind);
    if (failure !== undefined) this.#failures.set(kind, failure);
    this.#changed();
    this.onChange("camera");
  }

  /** Returns the error; undefined if there was none, or if nobody waits for the request any more. */
  async #ask(request: Request): Promise<unknown> {
    this.#requests.add(request);
    this.#changed();
    const timer = setTimeout(() => this.#handleSilence(request), PATIENCE);
    const answer = this.#answer(request).finally(() => {
      clearTimeout(timer);
      this.#requests.delete(request);
      this.#changed();
      void this.refreshDevices();
    });
    return Promise.race([answer, request.abandoned]);
  }

  async #answer(request: Request): Promise<unknown> {
    const { devices } = this;
    if (!devices) return undefined;
    try {
      const [kind] = request.kinds;
      const stream =
        kind && request.kinds.size === 1
          ? await captureOne(devices, kind, this.#wishes[kind], () => request.kinds.has(kind))
          : await captureBoth(devices, this.#wishes);
      const taken = stream.getTracks().filter((track) => this.#takeOrStop(request, track));
      if (taken.length > 0) this.onChange("camera");
      if (request.kinds.size > 0) throw new DOMException("the browser gave none", "NotFoundError");
      return undefined;
    } catch (error) {
      // The thrown value may be undefined.
      return request.kinds.size > 0 ? (error ?? new Error("")) : undefined;
    }
  }

  #takeOrStop(request: Request, track: MediaStreamTrack): boolean {
    const kind = track.kind as Kind;
    if (!request.kinds.has(kind) || track.readyState === "ended") {
      track.stop();
      return false;
    }
    for (const other of this.#requests) other.withdraw(kind);
    request.withdraw(kind);
    this.#failures.delete(kind);
    this.#take(track);
    return true;
  }

  #handleSilence(request: Request): void {
    request.isOverdue = true;
    this.#changed();
    // One of the two devices may hang.
    request.isSplit = request.kinds.size > 1;
    if (request.isSplit) void this.#askForEach([...request.kinds]);
  }

  #fail(request: Request, error: unknown): void {
    for (const kind of request.kinds) {
      // A kind that fails alone will not come from a request for both, either.
      if (!request.isForBoth) this.#giveUp(kind);
      if (!this.#isAsked(kind)) this.#failures.set(kind, error);
    }
    this.#changed();
  }

  #isAsked(kind: Kind): boolean {
    return [...this.#requests].some(({ kinds }) => kinds.has(kind));
  }

  #giveUp(kind: Kind): void {
    this.#gone.delete(kind);
    for (const request of this.#requests) request.withdraw(kind);
    this.#changed();
  }

  // ---- Tracks ---------------------------------------------------------------------------------------------------------

  #take(track: MediaStreamTrack): void {
    const kind = track.kind as Kind;
    const old = this.#track(kind);
    track.addEventListener("ended", () => this.#lost(track));
    if (old && old !== track) {
      // A muted member stays muted with another microphone.
      track.enabled = old.enabled;
      this.onReplace(track);
      this.stream.removeTrack(old);
      old.stop();
    }
    if (!this.stream.getTracks().includes(track)) this.stream.addTrack(track);
    const { deviceId, facingMode } = track.getSettings?.() ?? {};
    if (kind === "audio") {
      this.#changed({ ...(deviceId && { microphoneId: deviceId }) });
    } else {
      const facing = facingMode === "user" || facingMode === "environment" ? facingMode : this.#wishes.video.facing;
      this.#changed({ facing, ...(deviceId && { cameraId: deviceId }) });
    }
  }

  /** A device was unplugged, or the permission was revoked. */
  #lost(track: MediaStreamTrack): void {
    if (!this.stream.getTracks().includes(track)) return;
    this.stream.removeTrack(track);
    const kind = track.kind as Kind;
    // Some phones end one camera when the other is opened.
    if (!this.#isAsked(kind)) {
      this.#remark = goneInWords(kind);
      // A muted member needs no other microphone before unmuting.
      const { id, label } = { id: track.getSettings?.().deviceId, label: track.label ?? "" };
      if (track.enabled) this.#gone.set(kind, { id, label, at: performance.now() });
    }
    this.#changed();
    this.onChange("camera");
    void this.refreshDevices();
  }

  #listed(kind: Kind): readonly MediaDeviceInfo[] {
    const { cameras, microphones } = this.state.get();
    return kind === "audio" ? microphones : cameras;
  }

  /**
   * Not every browser ends the track of a device that is gone. If no device is listed, the reason may be a missing
   * permission.
   */
  #endUnlisted(kind: Kind, before: readonly MediaDeviceInfo[]): void {
    const track = this.#track(kind);
    const now = this.#listed(kind);
    const has = (list: readonly MediaDeviceInfo[]) =>
      list.some(({ deviceId }) => deviceId === track?.getSettings?.().deviceId);
    if (!track || now.length === 0 || !has(before) || has(now)) return;
    track.stop();
    this.#lost(track);
  }

  /**
   * Replaces a device that is gone by another one, but not if the permission was revoked: then the device is still
   * listed, or none is.
   */
  async #replaceGone(kind: Kind): Promise<void> {
    const gone = this.#gone.get(kind);
    if (!gone) return;
    const isRecent = performance.now() - gone.at < LIST_LAGS;
    const others = this.#listed(kind);
    // The entry for the default device keeps its id, but gets the name of another device.
    const isListed = others.some(({ deviceId, label }) => deviceId === gone.id && label === gone.label);
    if (isRecent && (others.length === 0 || isListed)) return;
    this.#gone.delete(kind);
    if (!isRecent || this.#track(kind) || this.#isAsked(kind) || !this.#mayAsk()) return;
    const request = new Request([kind]);
    const error = await this.#ask(request);
    const track = this.#track(kind);
    if (error !== undefined) this.#fail(request, error);
    else if (track) this.#remark = replacedInWords(kind, gone.label, track.label ?? "");
    this.#changed();
  }

  #drop(kind: Kind): void {
    const track = this.#track(kind);
    if (!track) return;
    this.stream.removeTrack(track);
    track.stop();
  }

  #endScreen(): void {
    const wasOn = this.screenStream !== undefined;
    this.#screenRequest = undefined;
    if (this.screenStream) stopAll(this.screenStream);
    this.screenStream = undefined;
    this.#changed({ screen: "off" });
    if (wasOn) this.onChange("screen");
  }

  #track(kind: Kind): MediaStreamTrack | undefined {
    return this.stream.getTracks().find((track) => track.kind === kind);
  }

  // ---- What is shown --------------------------------------------------------------------------------------------------

  #forget(): void {
    this.#failures.clear();
    this.#remark = undefined;
  }

  #changed(change: Partial<MediaState> = {}): void {
    const { version } = this.state.get();
    const [microphone, camera] = [this.#switchOf("audio"), this.#switchOf("video")];
    this.state.update({ microphone, camera, problem: this.#problem(), ...change, version: version + 1 });
  }

  #switchOf(kind: Kind): Switch {
    const track = this.#track(kind);
    if (track) return kind === "video" || track.enabled ? "on" : "off";
    return this.#isAsked(kind) ? "starting" : "off";
  }

  #problem(): string | undefined {
    const silent = KINDS.filter((kind) => [...this.#requests].some((one) => one.isOverdue && one.kinds.has(kind)));
    const sentences = [silent.length > 0 ? noAnswerAbout(silent) : "", problemOf(this.#failures), this.#remark];
    return sentences.filter(Boolean).join(" ") || undefined;
  }
}

/** Chromium gives this message if the user closed the question without an answer. */
function isDismissal(error: unknown): boolean {
  return error instanceof DOMException && error.message === "Permission dismissed";
}

/** Whether the error may go away when another device of the kind is closed. */
function isBusy(error: unknown): boolean {
  return ["NotReadableError", "AbortError"].includes(nameOfError(error));
}

function stopAll(stream: MediaStream): void {
  for (const track of stream.getTracks()) track.stop();
}
