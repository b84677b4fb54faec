// Cameras and microphones as far as the page's models use them.
import type { Devices } from "../src/model/media";

export class FakeTrack extends EventTarget {
  enabled = true;
  readyState: "live" | "ended" = "live";
  contentHint = "";

  constructor(
    readonly kind: "audio" | "video",
    private readonly settings: MediaTrackSettings = {},
    readonly label = "",
  ) {
    super();
  }

  getSettings(): MediaTrackSettings {
    return this.settings;
  }

  stop(): void {
    this.readyState = "ended";
  }
}

export class FakeMediaStream extends EventTarget {
  static #count = 0;
  readonly id = `stream ${FakeMediaStream.#count++}`;
  readonly #tracks: FakeTrack[];

  constructor(tracks: FakeTrack[] = []) {
    super();
    this.#tracks = tracks;
  }

  getTracks = () => [...this.#tracks];
  getAudioTracks = () => this.#tracks.filter(({ kind }) => kind === "audio");
  getVideoTracks = () => this.#tracks.filter(({ kind }) => kind === "video");

  addTrack(track: FakeTrack): void {
    this.#tracks.push(track);
  }

  removeTrack(track: FakeTrack): void {
    const index = this.#tracks.indexOf(track);
    if (index >= 0) this.#tracks.splice(index, 1);
  }
}

export class FakeDevices {
  readonly asked: MediaStreamConstraints[] = [];
  readonly missing = new Set<string>();
  refused = false;
  readonly #given: FakeTrack[] = [];
  #held: Promise<void> | undefined;
  #release: () => void = () => {};
  #screen: FakeTrack | undefined;

  asDevices(): Devices {
    return {
      enumerateDevices: async () => [],
      getUserMedia: async (constraints = {}) => {
        this.asked.push(constraints);
        await this.#held;
        if (this.refused) throw new DOMException("no", "NotAllowedError");
        const kinds = (["audio", "video"] as const).filter((kind) => constraints[kind]);
        if (kinds.some((kind) => this.missing.has(kind))) throw new DOMException("none", "NotFoundError");
        return this.#stream(kinds.map((kind) => new FakeTrack(kind)));
      },
      getDisplayMedia: async () => {
        this.#screen = new FakeTrack("video");
        return this.#stream([this.#screen]);
      },
    };
  }

  /** Kinds of the tracks that were given and not stopped since. */
  open(): string[] {
    return this.#given.filter(({ readyState }) => readyState === "live").map(({ kind }) => kind);
  }

  /** Lets whoever asks for a camera wait until `release`. */
  hold(): void {
    this.#held = new Promise((resolve) => {
      this.#release = resolve;
    });
  }

  release(): void {
    this.#release();
  }

  unplug(kind: string): void {
    for (const track of this.#given) {
      if (track.kind !== kind || track.readyState !== "live") continue;
      track.stop();
      track.dispatchEvent(new Event("ended"));
    }
  }

  endScreen(): void {
    this.#screen?.stop();
    this.#screen?.dispatchEvent(new Event("ended"));
  }

  #stream(tracks: FakeTrack[]): MediaStream {
    this.#given.push(...tracks);
    return new FakeMediaStream(tracks) as unknown as MediaStream;
  }
}
