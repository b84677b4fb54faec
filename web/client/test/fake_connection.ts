import type { NegotiableConnection } from "../src/negotiation";

type Description = RTCSessionDescription;

/**
 * An RTCPeerConnection as far as negotiation goes: signaling states, what was offered and answered, and candidates that
 * fit one ICE generation only. What shall be negotiated are numbered wishes, as tracks would be. Rollback is an error
 * where it is not expected: video does not outlive it in Chromium. So is an answer that changes the DTLS role, which
 * Firefox does if it is let.
 */
export class FakeConnection implements NegotiableConnection {
  signalingState: RTCSignalingState = "stable";
  localDescription: Description | null = null;
  remoteDescription: Description | null = null;
  onnegotiationneeded: NegotiableConnection["onnegotiationneeded"] = null;
  onicecandidate: NegotiableConnection["onicecandidate"] = null;
  /** Highest wish of each side that both have agreed upon. */
  agreed = { mine: 0, theirs: 0 };
  addedCandidates: string[] = [];
  isFirefox = false;
  mayRollBack = false;
  #wish: number;
  #generation = 0;
  #created: Description | undefined;
  /** What it was told to do, one after the other. */
  #operations: Promise<unknown> = Promise.resolve();
  /** Of DTLS, once that is settled. */
  #isClient: boolean | undefined;

  /** `wishes`: what shall be negotiated from the beginning. */
  constructor(
    readonly name: string,
    private readonly pause: () => Promise<void>,
    wishes = 0,
  ) {
    this.#wish = wishes;
    if (wishes > 0) this.#ask();
  }

  get wishes(): number {
    return this.#wish;
  }

  /** As adding a track would. */
  want(): void {
    this.#wish += 1;
    this.#ask();
  }

  get pendingLocalDescription(): Description | null {
    return this.signalingState === "have-local-offer" ? this.localDescription : null;
  }

  // biome-ignore lint/suspicious/noExplicitAny: its declared type has a form with callbacks, too.
  createOffer = (): Promise<any> => this.#chain(() => this.#createOffer());

  setLocalDescription = (description?: RTCLocalSessionDescriptionInit): Promise<void> =>
    this.#chain(() => this.#setLocalDescription(description));

  setRemoteDescription = (description: RTCSessionDescriptionInit): Promise<void> =>
    this.#chain(() => this.#setRemoteDescription(description));

  #chain<T>(operation: () => Promise<T>): Promise<T> {
    const done = this.#operations.then(operation, operation);
    this.#operations = done;
    return done;
  }

  async #createOffer(): Promise<Description> {
    await this.pause();
    this.#generation += 1;
    this.#created = this.#description("offer");
    return this.#created;
  }

  async #setLocalDescription(description?: RTCLocalSessionDescriptionInit): Promise<void> {
    await this.pause();
    if (this.signalingState === "have-local-offer") throw new DOMException("twice", "InvalidStateError");
    const type = this.signalingState === "stable" ? "offer" : "answer";
    if (description && (type !== "offer" || description !== this.#created)) {
      throw new DOMException("not the last one created", "InvalidModificationError");
    }
    if (!description) this.#generation += 1;
    if (type === "answer") this.#isClient ??= this.isFirefox || !/setup:active/.test(this.remoteDescription?.sdp ?? "");
    this.localDescription = (description as Description) ?? this.#description(type);
    this.#created = undefined;
    if (type === "offer") {
      this.signalingState = "have-local-offer";
    } else {
      this.agreed = { mine: this.#wish, theirs: wishOf(this.remoteDescription) };
      this.#settle();
    }
    const candidate = { candidate: `${this.name}${this.#generation}`, sdpMid: "0", sdpMLineIndex: 0 };
    setTimeout(() => {
      this.onicecandidate?.call(this as unknown as RTCPeerConnection, { candidate } as RTCPeerConnectionIceEvent);
    });
  }

  async #setRemoteDescription(description: RTCSessionDescriptionInit): Promise<void> {
    await this.pause();
    if (description.type === "offer") {
      if (this.signalingState === "have-local-offer" && !this.mayRollBack) throw new Error("rolled back");
      this.remoteDescription = description as Description;
      this.signalingState = "have-remote-offer";
    } else {
      if (this.signalingState !== "have-local-offer") throw new DOMException("no offer", "InvalidStateError");
      const isServer = /setup:active/.test(description.sdp ?? "");
      this.#isClient ??= !isServer;
      if (this.#isClient === isServer) throw new DOMException("another role", "InvalidAccessError");
      this.remoteDescription = description as Description;
      this.agreed = { mine: wishOf(this.localDescription), theirs: wishOf(description) };
      this.#settle();
    }
  }

  addIceCandidate = async (candidate?: RTCIceCandidateInit | null): Promise<void> => {
    await this.pause();
    if (!this.remoteDescription) throw new DOMException("no description", "InvalidStateError");
    this.addedCandidates.push(candidate?.candidate ?? "");
  };

  #description(type: "offer" | "answer"): Description {
    const origin = this.isFirefox ? "o=mozilla...THIS_IS_SDPARTA-99.0 1 0 IN IP4 0.0.0.0\r\n" : "";
    const role = this.#isClient || this.isFirefox ? "active" : "passive";
    const setup = `a=setup:${type === "offer" ? "actpass" : role}\r\n`;
    const sdp = `v=0\r\n${origin}${setup}a=fingerprint:sha-256 ${this.name}\r\nwish:${this.#wish}\r\ngeneration:${this.#generation}\r\n`;
    return { type, sdp } as Description;
  }

  #settle(): void {
    this.signalingState = "stable";
    if (this.agreed.mine < this.#wish) this.#ask();
  }

  #ask(): void {
    if (this.signalingState !== "stable") return;
    queueMicrotask(() => {
      if (this.signalingState !== "stable" || this.agreed.mine >= this.#wish) return;
      this.onnegotiationneeded?.call(this as unknown as RTCPeerConnection, new Event("negotiationneeded"));
    });
  }
}

function wishOf(description: RTCSessionDescriptionInit | null): number {
  return Number(/wish:(\d+)/.exec(description?.sdp ?? "")?.[1] ?? 0);
}
