// Offers and answers with one peer: perfect negotiation as in the W3C's example, with all steps in one queue, so that
// the only possible collision is that of two offers on their way. Messages may be lost without notice when a socket
// breaks, on either side. So an offer is repeated until it is answered, and an answer says which offer it is for.
//
// It differs from the example in one point: except for the first one, an offer is not applied before it is answered.
// - In the example, giving way means a rollback. After a rollback, Chromium (seen with 156) decodes the peer's video
//   but never shows a frame of it again. An offer that is not applied can simply be forgotten.
// - When ICE is restarted, Chromium connects its new addresses with the peer's old ones until there are others, and may
//   then stay with them. Firefox answers its checks there, but discards everything else, so one side hears and sees
//   nothing for a minute or for ever. If the offer is applied together with its answer, new addresses are only
//   connected with new ones.

import { FIRST_REPEAT, LAST_REPEAT, MAX_EARLY_CANDIDATES, ON_ITS_WAY } from "./limits";
import type { Log } from "./log";
import type { SdkMarker } from "./protocol";

/** The part of an RTCPeerConnection that is used here. */
export type NegotiableConnection = Pick<
  RTCPeerConnection,
  | "signalingState"
  | "localDescription"
  | "pendingLocalDescription"
  | "remoteDescription"
  | "createOffer"
  | "setLocalDescription"
  | "setRemoteDescription"
  | "addIceCandidate"
  | "onnegotiationneeded"
  | "onicecandidate"
>;

export interface NegotiationOwner {
  readonly log: Log;
  /** Whether the other side can be reached through the server at this moment. */
  isReachable(): boolean;
  /** `offer` is the number of the offer, or of the offer that is answered. */
  sendDescription(type: "offer" | "answer", sdp: string, offer: number | undefined): void;
  sendCandidate(candidate: RTCIceCandidate): void;
  /**
   * The description fits no connection of this side, so a new connection is needed. The description has not been used.
   */
  handleStranger(description: RTCSessionDescriptionInit, marker: SdkMarker | undefined): void;
  handleBadDescription(error: unknown): void;
}

export class Negotiation {
  readonly #connection: NegotiableConnection;
  readonly #owner: NegotiationOwner;
  readonly #isPolite: boolean;
  #line: Promise<void> = Promise.resolve();
  #isWaiting: boolean;
  #isNeeded = false;
  #isIgnoring = false;
  #isClosed = false;
  /** The own offer while it is not applied. */
  #held: RTCSessionDescriptionInit | undefined;
  #offer = 0;
  #offeredAt = 0;
  #repeatDelay = FIRST_REPEAT;
  #repeatTimer: ReturnType<typeof setTimeout> | undefined;
  #earlyCandidates: RTCIceCandidateInit[] = [];

  /**
   * The polite side gives way when two offers collide; one of the two is. The newcomer offers first, as old clients
   * expect; a member that was there before `waits` for that, until `start()` at the latest.
   */
  constructor(connection: NegotiableConnection, owner: NegotiationOwner, polite: boolean, waits: boolean) {
    this.#connection = connection;
    this.#owner = owner;
    this.#isPolite = polite;
    this.#isWaiting = waits;
    connection.onnegotiationneeded = () => {
      this.#isNeeded = true;
      // An offer that is already made is not repeated here: it may already be answered, and would undo an offer of the
      // other side.
      this.#enqueue(this.#makeOffer);
    };
    connection.onicecandidate = ({ candidate }) => {
      if (candidate?.candidate && !this.#isClosed) owner.sendCandidate(candidate);
    };
  }

  /** Stops waiting for the first offer. */
  start(): void {
    this.#isWaiting = false;
    this.resync();
  }

  /** The other side can be reached again: sends what is still to be sent. */
  resync(): void {
    this.#repeatDelay = FIRST_REPEAT;
    this.#enqueue(this.#goOn);
  }

  handleDescription(description: RTCSessionDescriptionInit, marker?: SdkMarker): void {
    this.#enqueue(() =>
      description.type === "offer" ? this.#handleOffer(description, marker) : this.#handleAnswer(description, marker),
    );
  }

  handleCandidate(candidate: RTCIceCandidateInit): void {
    this.#enqueue(async () => {
      if (this.#isIgnoring) return;
      if (this.#connection.remoteDescription) await this.#addCandidate(candidate);
      else if (this.#earlyCandidates.length < MAX_EARLY_CANDIDATES) this.#earlyCandidates.push(candidate);
    });
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#repeatTimer);
    this.#connection.onnegotiationneeded = null;
    this.#connection.onicecandidate = null;
  }

  /** The own offer that has no answer yet. */
  get #pending(): RTCSessionDescriptionInit | null {
    return this.#held ?? this.#connection.pendingLocalDescription;
  }

  /** Makes an offer if one is needed, or repeats the pending one. */
  #goOn = async (): Promise<void> => (this.#pending ? this.#sendOffer() : this.#makeOffer());

  #enqueue(step: () => Promise<void>): void {
    this.#line = this.#line
      .then(() => (this.#isClosed ? undefined : step()))
      .catch((error: unknown) => {
        if (!this.#isClosed) this.#owner.handleBadDescription(error);
      });
  }

  #makeOffer = async (): Promise<void> => {
    // In any other state the browser asks again when it is stable and nothing is pending.
    if (!this.#isNeeded || this.#held || this.#connection.signalingState !== "stable") return;
    if (this.#isWaiting || !this.#owner.isReachable()) return;
    // The first offer is applied at once, so that candidates are gathered. A collision is rare at that time, and only
    // costs another connection.
    try {
      if (this.#connection.remoteDescription) this.#held = await this.#connection.createOffer();
      else {
        this.#isNeeded = false;
        await this.#connection.setLocalDescription();
      }
    } catch (error) {
      // The browser does not ask again.
      this.#isNeeded = true;
      this.#repeatLater();
      throw error;
    }
    this.#offer += 1;
    this.#repeatDelay = FIRST_REPEAT;
    this.#sendOffer();
  };

  #sendOffer(): void {
    const pending = this.#pending;
    clearTimeout(this.#repeatTimer);
    if (this.#isClosed || !pending) return;
    this.#offeredAt = performance.now();
    let { sdp = "" } = pending;
    // Firefox answers each restart of ICE as the DTLS client, so it must be the client from the beginning.
    if (!this.#connection.remoteDescription && sdp.includes("SDPARTA")) sdp = sdp.replaceAll("actpass", "active");
    if (this.#owner.isReachable()) this.#owner.sendDescription("offer", sdp, this.#offer);
    this.#repeatLater();
  }

  #repeatLater(): void {
    clearTimeout(this.#repeatTimer);
    this.#repeatTimer = setTimeout(() => this.#enqueue(this.#goOn), this.#repeatDelay);
    this.#repeatDelay = Math.min(this.#repeatDelay * 2, LAST_REPEAT);
  }

  async #handleOffer(description: RTCSessionDescriptionInit, marker?: SdkMarker): Promise<void> {
    // Old clients cannot give way and do not know of a second connection, so with them a rollback is used.
    this.#isIgnoring = !!this.#pending && !this.#isPolite && marker !== undefined;
    if (this.#isIgnoring) {
      this.#owner.log("debug", "ignores its offer");
      if (performance.now() - this.#offeredAt > ON_ITS_WAY) this.#sendOffer();
      return;
    }
    if ((marker && this.#connection.pendingLocalDescription) || this.#isOfStranger(description)) {
      return this.#owner.handleStranger(description, marker);
    }
    await this.#connection.setRemoteDescription(description);
    this.#held = undefined;
    clearTimeout(this.#repeatTimer);
    this.#isWaiting = false;
    // The wanted changes go into the answer, or the browser asks again after it.
    this.#isNeeded = false;
    await this.#addEarlyCandidates();
    await this.#connection.setLocalDescription();
    if (this.#isClosed) return;
    this.#owner.sendDescription("answer", this.#connection.localDescription?.sdp ?? "", marker?.offer);
  }

  async #handleAnswer(description: RTCSessionDescriptionInit, marker?: SdkMarker): Promise<void> {
    if (!this.#pending) return;
    if (marker?.offer !== undefined && marker.offer !== this.#offer) return;
    this.#isIgnoring = false;
    if (this.#isOfStranger(description)) return this.#owner.handleStranger(description, marker);
    const held = this.#held;
    this.#held = undefined;
    // The browser does one after the other, and nothing may come in between. It only accepts the last offer that it
    // made; if the page has asked for another one, an offer is needed again.
    await Promise.all([
      held && this.#connection.setLocalDescription(held).then(() => (this.#isNeeded = false)),
      this.#connection.setRemoteDescription(description),
    ]);
    clearTimeout(this.#repeatTimer);
    await this.#addEarlyCandidates();
  }

  #isOfStranger(description: RTCSessionDescriptionInit): boolean {
    const known = fingerprint(this.#connection.remoteDescription);
    return known !== undefined && known !== fingerprint(description);
  }

  async #addEarlyCandidates(): Promise<void> {
    for (const candidate of this.#earlyCandidates.splice(0)) await this.#addCandidate(candidate);
  }

  /** A candidate that does not fit does no harm: ICE works without it. */
  async #addCandidate(candidate: RTCIceCandidateInit): Promise<void> {
    await this.#connection.addIceCandidate(candidate).catch(() => {});
  }
}

/** The fingerprint of a side's certificate, which is made with the RTCPeerConnection and ends with it. */
export function fingerprint(description: RTCSessionDescriptionInit | null): string | undefined {
  return /^a=fingerprint:(.+)$/m
    .exec(description?.sdp ?? "")?.[1]
    ?.trim()
    .toLowerCase();
}
