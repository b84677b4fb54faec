// Files between this member and one peer, over one data channel. Each direction has its own ids; several transfers take
// turns. Incoming frames are checked here and in the transfers, because the peer is a stranger.
import type { FileChannel, FileTransferEvents, PeerFiles } from "../channels";
import { BimccRtcError } from "../errors";
import type { OutgoingFile, Peer, SendFileOptions } from "../types";
import {
  decode,
  decodeGrant,
  decodeReason,
  discard,
  encode,
  encodeReason,
  type Frame,
  Kind,
  MAX_FRAME,
} from "./frames";
import { Incoming } from "./incoming";
import { MAX_MISTAKES, MAX_PENDING, MAX_WITHDRAWN, MIN_FRAME } from "./limits";
import { decodeOffer, encodeOffer, type Offer, safeName } from "./offer";
import { Outgoing } from "./outgoing";
import type { Link } from "./transfer";

/** Data is sent until this much waits in the channel, and again when the channel says that it is ready. */
export const HIGH_WATER = 1_048_576;

export class FileTransfers implements PeerFiles {
  readonly #peer: Peer;
  readonly #channel: FileChannel;
  readonly #events: FileTransferEvents;
  readonly #outgoing = new Map<number, Outgoing>();
  readonly #incoming = new Map<number, Incoming>();
  /** Offers from before the channel was open. */
  readonly #unsent = new Map<number, Uint8Array<ArrayBuffer>>();
  readonly #link: Link;
  #lastOutgoingId = 0;
  #lastIncomingId = 0;
  /** How many bytes may still come for transfers that this side has ended. */
  #late = 0;
  #mistakes = 0;
  /** How many offers the peer has withdrawn in a row. */
  #withdrawn = 0;
  #waiting = false;
  /** Why nothing is sent or received any more, if so. */
  #closed: BimccRtcError | undefined;

  constructor(peer: Peer, channel: FileChannel, events: FileTransferEvents) {
    this.#peer = peer;
    this.#channel = channel;
    this.#events = events;
    this.#link = { send: (frame) => this.#send(frame), pump: () => this.#pump(), ended: () => {} };
    channel.onmessage = (message) => this.#handleMessage(message);
    channel.onclose = () => this.#handleClose();
  }

  send(file: Blob, options: SendFileOptions): OutgoingFile {
    const offer: Offer = {
      name: safeName(options.name ?? (file instanceof File ? file.name : "file")),
      type: file.type,
      size: file.size,
      metadata: options.metadata,
    };
    const description = encodeOffer(offer);
    const id = ++this.#lastOutgoingId;
    const link: Link = {
      ...this.#link,
      send: (frame) => {
        // If the peer has not heard of the offer, there is nothing to take back.
        if (!this.#unsent.has(id)) this.#send(frame);
      },
      ended: () => {
        this.#outgoing.delete(id);
        this.#unsent.delete(id);
      },
    };
    const transfer = new Outgoing(id, this.#peer, offer, link, file);
    if (this.#closed) {
      transfer.end("failed", this.#closed);
      return transfer;
    }
    this.#outgoing.set(id, transfer);
    this.#unsent.set(id, encode(Kind.offer, id, description));
    this.#pump();
    return transfer;
  }

  close(): void {
    this.#closed ??= this.#gone();
    this.#endAll(this.#closed);
  }

  /** Transfers on their way are lost; offers that were not sent yet wait until the channel opens again. */
  #handleClose(): void {
    this.#endAll(this.#gone(), (id) => !this.#unsent.has(id));
    this.#lastIncomingId = 0;
    this.#late = 0;
  }

  #endAll(error: BimccRtcError, applies: (outgoingId: number) => boolean = () => true): void {
    for (const transfer of [...this.#incoming.values()]) transfer.end("failed", error);
    for (const transfer of [...this.#outgoing.values()]) if (applies(transfer.id)) transfer.end("failed", error);
  }

  #handleMessage(message: Uint8Array<ArrayBuffer>): void {
    if (this.#closed) return;
    const frame = decode(message);
    const problem = frame ? this.#handleFrame(frame) : "no frame";
    if (problem) this.#handleMistake(problem);
    discard(message);
  }

  /** Returns what is wrong with the frame, if anything is. */
  #handleFrame(frame: Frame): string | undefined {
    switch (frame.kind) {
      case Kind.offer:
        return this.#handleOffer(frame);
      case Kind.data:
      case Kind.end:
      case Kind.abort:
        return this.#handleForIncoming(frame);
      case Kind.grant:
      case Kind.stop:
      case Kind.done:
        return this.#handleForOutgoing(frame);
      default:
        return "unknown kind";
    }
  }

  #handleOffer({ id, body }: Frame): string | undefined {
    if (id <= this.#lastIncomingId) return "old id";
    this.#lastIncomingId = id;
    const offer = decodeOffer(body);
    const pending = [...this.#incoming.values()].filter(({ state }) => state === "offered").length;
    if (!offer || pending >= MAX_PENDING) {
      this.#send(encodeReason(Kind.stop, id, "refused"));
      return offer ? "too many offers" : "bad offer";
    }
    const link: Link = {
      ...this.#link,
      ended: () => {
        this.#late += this.#incoming.get(id)?.outstanding ?? 0;
        this.#incoming.delete(id);
      },
    };
    const transfer = new Incoming(id, this.#peer, offer, link);
    this.#incoming.set(id, transfer);
    this.#events.offered(transfer);
    return undefined;
  }

  #handleForIncoming(frame: Frame): string | undefined {
    const transfer = this.#incoming.get(frame.id);
    if (!transfer) return this.#handleLate(frame);
    if (frame.kind === Kind.abort) {
      const wasOffered = transfer.state === "offered";
      transfer.handleAbort(decodeReason(frame));
      return wasOffered && ++this.#withdrawn > MAX_WITHDRAWN ? "offers withdrawn" : undefined;
    }
    this.#withdrawn = 0;
    const problem = frame.kind === Kind.data ? transfer.handleData(frame.body) : transfer.handleEnd(frame.body);
    if (problem) transfer.stop("failed", new BimccRtcError("bad_peer_message", problem, this.#peer));
    return problem;
  }

  /** Data that was on its way when this side ended a transfer is not a mistake, but its amount is limited. */
  #handleLate({ kind, id, body }: Frame): string | undefined {
    if (id > this.#lastIncomingId) return "never offered";
    if (kind !== Kind.data) return undefined;
    this.#late -= body.length;
    return this.#late < 0 ? "unwanted data" : undefined;
  }

  #handleForOutgoing(frame: Frame): string | undefined {
    const transfer = this.#outgoing.get(frame.id);
    if (!transfer || this.#unsent.has(frame.id)) {
      return transfer || frame.id > this.#lastOutgoingId ? "never offered" : undefined;
    }
    if (frame.kind === Kind.stop) {
      transfer.handleStop(decodeReason(frame));
      return undefined;
    }
    const grant = decodeGrant(frame);
    const sane = frame.kind === Kind.done ? transfer.handleDone() : grant !== undefined && transfer.handleGrant(grant);
    if (sane) return undefined;
    const problem = "bad answer";
    transfer.end("failed", new BimccRtcError("bad_peer_message", problem, this.#peer));
    this.#send(encodeReason(Kind.abort, frame.id, "failed"));
    return problem;
  }

  /** The error names the sender, but the sender cannot keep the page busy with its mistakes. */
  #handleMistake(problem: string): void {
    const error = new BimccRtcError("bad_peer_message", `file transfer: ${problem}`, this.#peer);
    if (++this.#mistakes >= MAX_MISTAKES) {
      this.#closed = error;
      this.#endAll(error);
    }
    this.#events.failed(error);
  }

  #gone(): BimccRtcError {
    return new BimccRtcError("peer_gone", "the peer has gone", this.#peer);
  }

  #send(frame: Uint8Array<ArrayBuffer>): void {
    const { readyState, maxMessageSize } = this.#channel;
    if (!this.#closed && readyState === "open" && frame.length <= maxMessageSize) this.#channel.send(frame);
  }

  #pump(): void {
    if (this.#waiting) return;
    this.#waiting = true;
    this.#channel
      .ready()
      .then(
        () => {
          this.#waiting = false;
          this.#sendMuch();
        },
        // The peer has gone, and `close` follows.
        () => {},
      )
      .catch((cause: unknown) =>
        this.#endAll(new BimccRtcError("file_failed", "cannot be sent", this.#peer, { cause })),
      );
  }

  #sendMuch(): void {
    const maxFrame = Math.min(this.#channel.maxMessageSize, MAX_FRAME);
    for (const [id, offer] of this.#unsent) {
      this.#unsent.delete(id);
      if (maxFrame >= Math.max(offer.length, MIN_FRAME)) this.#send(offer);
      else this.#outgoing.get(id)?.end("failed", new BimccRtcError("too_large", "the peer takes no such messages"));
    }
    for (let idle = false; !idle; ) {
      idle = true;
      for (const transfer of this.#outgoing.values()) {
        if (this.#channel.readyState !== "open" || this.#channel.bufferedAmount > HIGH_WATER) {
          this.#pump();
          return;
        }
        const frame = transfer.nextFrame(maxFrame);
        if (!frame) continue;
        this.#send(frame);
        discard(frame);
        idle = false;
      }
    }
  }
}
