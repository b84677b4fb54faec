import type { NegotiableConnection } from "../src/negotiation";

type Description = RTCSessionDescription;

/**
 * An RTCPeerConnection as far as negotiation goes: signaling states with rollback, what was offered and answered, and
 * candidates that fit one ICE generation only. What shall be negotiated are numbered wishes, as tracks would be.
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
  #wish = 0;
  #generation = 0;
  #stable: [Description | null, Description | null] = [null, null];
  #offered = 0;

  constructor(
    readonly name: string,
    private readonly pause: () => Promise<void>,
  ) {}

  /** As adding a track would. */
  want(): void {
    this.#wish += 1;
    this.#ask();
  }

  setLocalDescription = async (): Promise<void> => {
    await this.pause();
    if (this.signalingState === "have-local-offer") throw new DOMException("twice", "InvalidStateError");
    const type = this.signalingState === "stable" ? "offer" : "answer";
    this.#generation += 1;
    this.localDescription = this.#description(type);
    if (type === "offer") {
      this.#offered = this.#wish;
      this.signalingState = "have-local-offer";
    } else {
      this.agreed = { mine: this.#wish, theirs: wishOf(this.remoteDescription) };
      this.#settle();
    }
    const candidate = { candidate: `${this.name}${this.#generation}`, sdpMid: "0", sdpMLineIndex: 0 };
    setTimeout(() => {
      this.onicecandidate?.call(this as unknown as RTCPeerConnection, { candidate } as RTCPeerConnectionIceEvent);
    });
  };

  setRemoteDescription = async (description: RTCSessionDescriptionInit): Promise<void> => {
    await this.pause();
    if (description.type === "offer") {
      if (this.signalingState === "have-local-offer" && !this.isFirefox && /SDPARTA/.test(description.sdp ?? "")) {
        throw new DOMException("header extensions collide", "InvalidAccessError");
      }
      if (this.signalingState === "have-local-offer") [this.localDescription, this.remoteDescription] = this.#stable;
      this.remoteDescription = description as Description;
      this.signalingState = "have-remote-offer";
    } else {
      if (this.signalingState !== "have-local-offer") throw new DOMException("no offer", "InvalidStateError");
      this.remoteDescription = description as Description;
      this.agreed = { mine: this.#offered, theirs: wishOf(description) };
      this.#settle();
    }
  };

  addIceCandidate = async (candidate?: RTCIceCandidateInit | null): Promise<void> => {
    await this.pause();
    if (!this.remoteDescription) throw new DOMException("no description", "InvalidStateError");
    this.addedCandidates.push(candidate?.candidate ?? "");
  };

  #description(type: "offer" | "answer"): Description {
    const origin = this.isFirefox ? "o=mozilla...THIS_IS_SDPARTA-99.0 1 0 IN IP4 0.0.0.0\r\n" : "";
    const sdp = `v=0\r\n${origin}a=fingerprint:sha-256 ${this.name}\r\nwish:${this.#wish}\r\ngeneration:${this.#generation}\r\n`;
    return { type, sdp } as Description;
  }

  #settle(): void {
    this.signalingState = "stable";
    this.#stable = [this.localDescription, this.remoteDescription];
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
