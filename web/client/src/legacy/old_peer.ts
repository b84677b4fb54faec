// A member for the old API: nobody is called before the page is ready, and the channels that the first clients open
// belong to the page.

import { type PeerOwner, RoomPeer } from "../peer";
import type { PeerInfo, SdkMarker } from "../protocol";

export interface OldPeerOwner {
  /** An RTCPeerConnection has been made; nothing has been negotiated on it. */
  handleConnection(peer: OldPeer): void;
  /** The other side has opened a channel in band. */
  handleChannel(peer: OldPeer, channel: RTCDataChannel): void;
}

export class OldPeer extends RoomPeer {
  readonly #client: OldPeerOwner;
  #isStarted = false;
  #beforeStart: (() => void)[] = [];
  /**
   * Whether the peer's page uses this API with this SDK, which opens a channel of its own when it makes the first offer; known
   * together with `usesSdk`.
   */
  usesOldApi = false;
  /** Whether it takes large messages in parts on that channel. */
  takesParts = false;

  constructor(room: PeerOwner, info: PeerInfo, waits: boolean, client: OldPeerOwner) {
    super(room, info, waits);
    this.#client = client;
    client.handleConnection(this);
  }

  /** Before this is called, no offer is made or answered. Messages that come meanwhile wait. */
  start(): void {
    if (this.#isStarted) return;
    this.#isStarted = true;
    for (const step of this.#beforeStart.splice(0)) step();
    this.resync();
  }

  override isReachable(): boolean {
    return this.#isStarted && super.isReachable();
  }

  override handleDescription(description: RTCSessionDescriptionInit, marker?: SdkMarker): void {
    this.#whenStarted(() => {
      if (marker) {
        this.usesOldApi = marker.old === true;
        this.takesParts = marker.parts === true;
      }
      super.handleDescription(description, marker);
    });
  }

  override handleCandidate(candidate: RTCIceCandidateInit): void {
    this.#whenStarted(() => super.handleCandidate(candidate));
  }

  override marker(offer: number | undefined): SdkMarker {
    return { ...super.marker(offer), old: true, parts: true };
  }

  override open(): void {
    super.open();
    this.#client.handleConnection(this);
  }

  override handleForeignChannel(channel: RTCDataChannel): void {
    this.#client.handleChannel(this, channel);
  }

  /** The page has opened a channel when it called. */
  override openForeignChannel(): void {}

  #whenStarted(step: () => void): void {
    if (this.#isStarted) step();
    else this.#beforeStart.push(step);
  }
}
