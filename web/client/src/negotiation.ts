// Offers and answers with one peer: perfect negotiation as in the W3C's example, with all steps in one line, so that
// the only collision left is that of two offers on their way. Messages may be lost when a socket breaks, on either
// side and without a word: an offer is repeated until it is answered, an answer says which offer it is for.

import type { SdkMarker } from "./protocol";

/** What is used of an RTCPeerConnection. */
export type NegotiableConnection = Pick<
  RTCPeerConnection,
  | "signalingState"
  | "localDescription"
  | "remoteDescription"
  | "setLocalDescription"
  | "setRemoteDescription"
  | "addIceCandidate"
  | "onnegotiationneeded"
  | "onicecandidate"
>;

export interface NegotiationOwner {
  /** Whether the other side can be reached through the server at this moment. */
  isReachable(): boolean;
  sendDescription(description: RTCSessionDescription, offer: number | undefined): void;
  sendCandidate(candidate: RTCIceCandidate): void;
  /** The other side has a new connection: nothing of ours fits it. The description has not been used. */
  handleStranger(description: RTCSessionDescriptionInit, marker: SdkMarker | undefined): void;
  handleBadDescription(error: unknown): void;
}

const FIRST_REPEAT = 4_000;
const LAST_REPEAT = 30_000;
/** An offer that collides with one of ours older than this means that ours has been lost. */
const ON_ITS_WAY = 1_000;
const MAX_EARLY_CANDIDATES = 256;

export class Negotiation {
  readonly #connection: NegotiableConnection;
  readonly #owner: NegotiationOwner;
  readonly #isPolite: boolean;
  #line: Promise<void> = Promise.resolve();
  #isWaiting: boolean;
  #isNeeded = false;
  #isIgnoring = false;
  #isClosed = false;
  #offer = 0;
  #offeredAt = 0;
  #repeatDelay = FIRST_REPEAT;
  #repeatTimer: ReturnType<typeof setTimeout> | undefined;
  #earlyCandidates: RTCIceCandidateInit[] = [];

  /**
   * The polite side gives way when two offers collide; one of the two is. The newcomer offers first, as old clients
   * expect; who was there before `waits`, until `start()` at the latest.
   */
  constructor(connection: NegotiableConnection, owner: NegotiationOwner, polite: boolean, waits: boolean) {
    this.#connection = connection;
    this.#owner = owner;
    this.#isPolite = polite;
    this.#isWaiting = waits;
    connection.onnegotiationneeded = () => {
      this.#isNeeded = true;
      this.#enqueue(() => this.#makeOffer());
    };
    connection.onicecandidate = ({ candidate }) => {
      if (candidate?.candidate && !this.#isClosed) owner.sendCandidate(candidate);
    };
  }

  /** No more waiting for the first offer. */
  start(): void {
    this.#isWaiting = false;
    this.resync();
  }

  /** The other side can be reached again: says what is still to be said. */
  resync(): void {
    this.#repeatDelay = FIRST_REPEAT;
    this.#enqueue(async () => {
      if (this.#connection.signalingState === "have-local-offer") this.#sendOffer();
      else if (this.#isNeeded) await this.#makeOffer();
    });
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

  #enqueue(step: () => Promise<void>): void {
    this.#line = this.#line
      .then(() => (this.#isClosed ? undefined : step()))
      .catch((error: unknown) => {
        if (!this.#isClosed) this.#owner.handleBadDescription(error);
      });
  }

  async #makeOffer(): Promise<void> {
    // In any other state the browser asks again when it is stable.
    if (!this.#isNeeded || this.#connection.signalingState !== "stable") return;
    if (this.#isWaiting || !this.#owner.isReachable()) return;
    this.#isNeeded = false;
    await this.#connection.setLocalDescription();
    this.#offer += 1;
    this.#repeatDelay = FIRST_REPEAT;
    this.#sendOffer();
  }

  #sendOffer(): void {
    const { localDescription } = this.#connection;
    clearTimeout(this.#repeatTimer);
    if (this.#isClosed || localDescription?.type !== "offer") return;
    this.#offeredAt = performance.now();
    if (this.#owner.isReachable()) this.#owner.sendDescription(localDescription, this.#offer);
    this.#repeatTimer = setTimeout(() => this.#enqueue(async () => this.#sendOffer()), this.#repeatDelay);
    this.#repeatDelay = Math.min(this.#repeatDelay * 2, LAST_REPEAT);
  }

  async #handleOffer(description: RTCSessionDescriptionInit, marker?: SdkMarker): Promise<void> {
    const collides = this.#connection.signalingState === "have-local-offer";
    // Old clients do not know how to give way.
    this.#isIgnoring = collides && !this.#givesWayTo(description) && marker !== undefined;
    if (this.#isIgnoring) {
      if (performance.now() - this.#offeredAt > ON_ITS_WAY) this.#sendOffer();
      return;
    }
    if (this.#isFromStranger(description, marker)) return;
    await this.#connection.setRemoteDescription(description);
    clearTimeout(this.#repeatTimer);
    this.#isWaiting = false;
    // What we wanted goes into the answer, or the browser asks again after it.
    this.#isNeeded = false;
    await this.#addEarlyCandidates();
    await this.#connection.setLocalDescription();
    const { localDescription } = this.#connection;
    if (localDescription && !this.#isClosed) this.#owner.sendDescription(localDescription, marker?.offer);
  }

  /**
   * Between Firefox and another browser it is always Firefox: Chromium fails for good when it takes an offer of
   * Firefox's in the place of its own, because both number their header extensions differently.
   */
  #givesWayTo({ sdp }: RTCSessionDescriptionInit): boolean {
    const isFirefox = isOfFirefox(this.#connection.localDescription?.sdp);
    return isFirefox === isOfFirefox(sdp) ? this.#isPolite : isFirefox;
  }

  async #handleAnswer(description: RTCSessionDescriptionInit, marker?: SdkMarker): Promise<void> {
    if (this.#connection.signalingState !== "have-local-offer") return;
    if (marker?.offer !== undefined && marker.offer !== this.#offer) return;
    this.#isIgnoring = false;
    if (this.#isFromStranger(description, marker)) return;
    await this.#connection.setRemoteDescription(description);
    clearTimeout(this.#repeatTimer);
    await this.#addEarlyCandidates();
  }

  #isFromStranger(description: RTCSessionDescriptionInit, marker: SdkMarker | undefined): boolean {
    const known = fingerprint(this.#connection.remoteDescription);
    const isStranger = known !== undefined && known !== fingerprint(description);
    if (isStranger) this.#owner.handleStranger(description, marker);
    return isStranger;
  }

  async #addEarlyCandidates(): Promise<void> {
    for (const candidate of this.#earlyCandidates.splice(0)) await this.#addCandidate(candidate);
  }

  /** One that does not fit harms nothing: ICE does without it. */
  async #addCandidate(candidate: RTCIceCandidateInit): Promise<void> {
    await this.#connection.addIceCandidate(candidate).catch(() => {});
  }
}

/** By the name of the maker, which its session descriptions begin with. */
function isOfFirefox(sdp = ""): boolean {
  return sdp.includes("SDPARTA");
}

/** Of the other side's certificate: it is made with the RTCPeerConnection and ends with it. */
export function fingerprint(description: RTCSessionDescriptionInit | null): string | undefined {
  return /^a=fingerprint:(.+)$/m
    .exec(description?.sdp ?? "")?.[1]
    ?.trim()
    .toLowerCase();
}
