import { BimccRtcError } from "../errors";
import type { OutgoingFile, Peer } from "../types";
import { Checksum } from "./checksum";
import { discard, encode, encodeReason, HEADER, Kind, PIECE, type Reason } from "./frames";
import { READ_AHEAD } from "./limits";
import type { Offer } from "./offer";
import { type Link, Transfer } from "./transfer";

export class Outgoing extends Transfer<void> implements OutgoingFile {
  readonly #file: Blob;
  readonly #checksum = new Checksum();
  readonly #pieces: Uint8Array<ArrayBuffer>[] = [];
  #offset = 0;
  #read = 0;
  #reading = false;
  #sent = 0;
  #granted = 0;
  #saidEnd = false;

  constructor(id: number, peer: Peer, offer: Offer, link: Link, file: Blob) {
    super(id, peer, offer, link);
    this.#file = file;
  }

  get done(): Promise<void> {
    return this.result;
  }

  cancel(): void {
    if (this.isOver) return;
    this.link.send(encodeReason(Kind.abort, this.id, "cancelled"));
    this.end("cancelled", new BimccRtcError("file_cancelled", "cancelled"));
  }

  /** The next frame that can be sent now, if any. */
  nextFrame(maxFrame: number): Uint8Array<ArrayBuffer> | undefined {
    if (this.state !== "active" || this.#saidEnd) return undefined;
    if (this.#sent === this.size) {
      this.#saidEnd = true;
      return encode(Kind.end, this.id, this.#checksum.value);
    }
    const [piece] = this.#pieces;
    const room = this.#granted - this.#sent;
    if (!piece || room <= 0) return undefined;
    // A piece is divided into parts of the same length, not into full ones and a tiny rest.
    const parts = Math.ceil(PIECE / (maxFrame - HEADER));
    const length = Math.min(Math.ceil(PIECE / parts), piece.length - this.#offset, room);
    const frame = encode(Kind.data, this.id, piece.subarray(this.#offset, this.#offset + length));
    this.#sent += length;
    this.#offset += length;
    if (this.#offset === piece.length) {
      this.#offset = 0;
      this.#pieces.shift();
      discard(piece);
      void this.#readOn();
    }
    return frame;
  }

  /** Returns false for a grant that makes no sense. */
  handleGrant({ consumed, granted }: { consumed: number; granted: number }): boolean {
    const sane =
      consumed >= this.bytes && consumed <= this.#sent && granted >= this.#granted && Number.isFinite(granted);
    if (!sane) return false;
    if (this.state === "offered") this.activate();
    this.#granted = granted;
    this.progressTo(consumed);
    void this.#readOn();
    return true;
  }

  handleStop(reason: Reason): void {
    this.endAs(reason);
  }

  /** Returns false if not everything has been sent yet. */
  handleDone(): boolean {
    if (!this.#saidEnd) return false;
    this.finish();
    return true;
  }

  protected release(): void {
    this.#pieces.length = 0;
  }

  async #readOn(): Promise<void> {
    if (this.#reading) return;
    this.#reading = true;
    try {
      while (!this.isOver && this.#pieces.length < READ_AHEAD && this.#read < this.size) {
        const end = Math.min(this.#read + PIECE, this.size);
        const piece = new Uint8Array(await this.#file.slice(this.#read, end).arrayBuffer());
        if (piece.length !== end - this.#read) throw new Error("too short");
        this.#checksum.add(piece);
        if (this.isOver) return;
        this.#read = end;
        this.#pieces.push(piece);
        this.link.pump();
      }
    } catch (cause) {
      this.link.send(encodeReason(Kind.abort, this.id, "failed"));
      this.end("failed", new BimccRtcError("file_unreadable", "cannot be read", undefined, { cause }));
    } finally {
      this.#reading = false;
    }
    this.link.pump();
  }
}
