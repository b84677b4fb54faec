// The data channels to one peer: agreed in advance (`negotiated`), with ids that the in-band channels of old clients do
// not reach. A channel outlives the RTCPeerConnection that carries it.

import { BimccRtcError } from "./errors";
import { LOW_WATER } from "./limits";
import { HIGH_WATER, maxMessageSizeOf, SendQueue } from "./send_queue";
import type { IncomingFile, OutgoingFile, Peer, SendFileOptions } from "./types";

/** The reliable, ordered, binary channel to one peer that carries files. */
export interface FileChannel {
  readonly readyState: RTCDataChannelState;
  /** Senders should stop when this exceeds HIGH_WATER (1 MiB). */
  readonly bufferedAmount: number;
  /** The largest message that both sides accept. */
  readonly maxMessageSize: number;
  /**
   * Resolves when the channel is open and little data waits in it. This may take as long as the peer needs to come
   * back. Rejects with `peer_gone`.
   */
  ready(): Promise<void>;
  /** Throws unless the channel is open and the frame is not larger than a message may be. */
  send(frame: Uint8Array<ArrayBuffer>): void;
  /** A text from the peer, which is not allowed here, comes as an empty frame. */
  onmessage: ((frame: Uint8Array<ArrayBuffer>) => void) | undefined;
  /** Everything that was on its way is lost. The channel may open again, unless the peer has gone. */
  onclose: (() => void) | undefined;
}

/** The type of `createPeerFiles`, which `src/files/index.ts` exports: makes the file transfers with one peer. */
export type CreatePeerFiles = (peer: Peer, channel: FileChannel, events: FileTransferEvents) => PeerFiles;

export interface FileTransferEvents {
  /** The peer offers a file. */
  offered(file: IncomingFile): void;
  /** The error goes to the room's `error` event. */
  failed(error: BimccRtcError): void;
}

export interface PeerFiles {
  send(file: Blob, options: SendFileOptions): OutgoingFile;
  /** The peer has gone for good; `channel.onclose` has been called before. */
  close(): void;
}

export class Channel implements FileChannel {
  readonly #label: string;
  readonly #init: RTCDataChannelInit & { id: number };
  readonly #onLost: () => void;
  #channel: RTCDataChannel | undefined;
  #queue: SendQueue | undefined;
  /** This is known when the channel opens. */
  maxMessageSize = 0;
  #isAllowed = false;
  #isGone = false;
  #waiting: (() => void)[] = [];
  /** How often data on its way has been lost. */
  losses = 0;
  onmessage: ((frame: Uint8Array<ArrayBuffer>) => void) | undefined;
  onclose: (() => void) | undefined;

  constructor(
    label: string,
    init: RTCDataChannelInit & { id: number },
    /** The channel has closed although its connection was not closed here. */
    onLost: () => void,
  ) {
    this.#label = label;
    this.#init = init;
    this.#onLost = onLost;
  }

  get readyState(): RTCDataChannelState {
    return (this.#isAllowed && this.#channel?.readyState) || "connecting";
  }

  get bufferedAmount(): number {
    const waiting = this.#queue?.bytes ?? 0;
    // If anything waits here, the browser has called its buffer full, so it counts as full however little is in it.
    return (this.#channel?.bufferedAmount ?? 0) + waiting + (waiting && HIGH_WATER);
  }

  /** Makes the channel on this connection. Both sides must do so before the first negotiation. */
  attach(connection: RTCPeerConnection): void {
    this.#detach();
    const channel = connection.createDataChannel(this.#label, { ...this.#init, negotiated: true });
    this.#channel = channel;
    this.#queue = new SendQueue(channel, () => this.wake());
    channel.binaryType = "arraybuffer";
    channel.bufferedAmountLowThreshold = LOW_WATER;
    channel.onopen = () => {
      this.maxMessageSize = maxMessageSizeOf(connection);
      this.wake();
    };
    channel.onbufferedamountlow = () => {
      this.#queue?.flush();
      this.wake();
    };
    channel.onmessage = ({ data }: MessageEvent<unknown>) =>
      this.onmessage?.(new Uint8Array(data instanceof ArrayBuffer ? data : new ArrayBuffer(0)));
    channel.onclose = () => {
      this.#detach();
      this.#onLost();
    };
  }

  /** The peer is known to have these channels too. Only then does "open" mean that somebody listens. */
  allow(): void {
    this.#isAllowed = true;
    this.wake();
  }

  async ready(): Promise<void> {
    while (this.readyState !== "open" || this.bufferedAmount > HIGH_WATER) await this.change();
  }

  /** Resolves when the channel may have opened, closed or become empty, or when `wake` is called. */
  async change(): Promise<void> {
    if (!this.#isGone) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    if (this.#isGone) throw new BimccRtcError("peer_gone", "the peer has gone");
  }

  wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  send(frame: Uint8Array<ArrayBuffer>): void {
    if (this.readyState !== "open" || !this.#queue) throw new BimccRtcError("unreachable", "not open");
    const { maxMessageSize } = this;
    if (frame.length > maxMessageSize) throw new BimccRtcError("too_large", `the peer takes ${maxMessageSize} bytes`);
    this.#queue.send(frame);
  }

  close(): void {
    this.#isGone = true;
    this.#detach();
  }

  #detach(): void {
    const channel = this.#channel;
    this.#channel = this.#queue = undefined;
    if (channel) {
      channel.onopen = channel.onbufferedamountlow = channel.onmessage = channel.onclose = null;
      this.losses += 1;
      this.onclose?.();
    }
    this.wake();
  }
}
