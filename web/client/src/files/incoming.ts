import { BimccRtcError } from "../errors";
import type { IncomingFile } from "../types";
import { Checksum } from "./checksum";
import { encode, encodeGrant, encodeReason, Kind, PIECE, type Reason, WINDOW } from "./frames";
import { inertType } from "./offer";
import { Transfer } from "./transfer";

export class Incoming extends Transfer<Blob> implements IncomingFile {
  readonly #checksum = new Checksum();
  #writer: WritableStreamDefaultWriter<Uint8Array> | undefined;
  #parts: Blob[] = [];
  /** Buffers of stored pieces, for reuse. */
  #spare: Uint8Array<ArrayBuffer>[] = [];
  #piece: Uint8Array<ArrayBuffer> | undefined;
  #filled = 0;
  #received = 0;
  #granted = 0;
  #consumed = 0;
  #heardEnd = false;
  #storing: Promise<void> = Promise.resolve();

  accept({ sink }: { sink?: WritableStream<Uint8Array> } = {}): Promise<Blob> {
    if (this.state === "offered") {
      try {
        this.#writer = sink?.getWriter();
      } catch (error) {
        return Promise.reject(error);
      }
      this.activate();
      this.#grant();
    }
    return this.result;
  }

  refuse(): void {
    if (this.state === "offered") this.stop("refused", new BimccRtcError("file_refused", "refused"));
  }

  cancel(): void {
    this.stop("cancelled", new BimccRtcError("file_cancelled", "cancelled"));
  }

  /** Ends the transfer and tells the peer. */
  stop(reason: Reason, error: BimccRtcError): void {
    if (this.isOver) return;
    this.link.send(encodeReason(Kind.stop, this.id, reason));
    this.end(reason, error);
  }

  /** How many bytes may still come although nobody waits for them. */
  get outstanding(): number {
    return this.#granted - this.#received;
  }

  /** Returns what is wrong with the data, if anything is. */
  handleData(body: Uint8Array): string | undefined {
    if (this.state !== "active") return "early data";
    if (this.#heardEnd) return "late data";
    if (body.length === 0) return "no data";
    if (this.#received + body.length > this.size) return "more than announced";
    if (this.#received + body.length > this.#granted) return "more than asked for";
    while (body.length > 0) {
      this.#piece ??= this.#spare.pop() ?? new Uint8Array(Math.min(PIECE, this.size));
      const part = body.subarray(0, Math.min(PIECE, this.size) - this.#filled);
      this.#piece.set(part, this.#filled);
      this.#filled += part.length;
      this.#received += part.length;
      body = body.subarray(part.length);
      if (this.#filled === PIECE || this.#received === this.size) {
        this.#store(this.#piece, this.#filled);
        this.#piece = undefined;
        this.#filled = 0;
      }
    }
    return undefined;
  }

  handleEnd(body: Uint8Array): string | undefined {
    if (this.state !== "active" || this.#heardEnd) return "no end";
    if (this.#received !== this.size) return "early end";
    this.#heardEnd = true;
    const expected = body.slice();
    this.#queue(() => this.#conclude(expected));
    return undefined;
  }

  handleAbort(reason: Reason): void {
    this.endAs(reason === "refused" ? "cancelled" : reason);
  }

  protected release(error: BimccRtcError | undefined): void {
    if (error) this.#writer?.abort(error).catch(() => {});
    this.#piece = undefined;
    this.#parts = [];
    this.#spare = [];
  }

  /** Allows as much as can be held; bytes that are already stored no longer count. */
  #grant(): void {
    this.#granted = Math.min(this.#consumed + WINDOW, this.size);
    this.link.send(encodeGrant(this.id, this.#consumed, this.#granted));
  }

  #store(buffer: Uint8Array<ArrayBuffer>, length: number): void {
    const piece = buffer.subarray(0, length);
    this.#queue(async () => {
      this.#checksum.add(piece);
      if (this.#writer) {
        await this.#writer.write(piece);
      } else {
        this.#parts.push(new Blob([piece]));
        if (buffer.length === PIECE) this.#spare.push(buffer);
      }
      if (this.isOver) return;
      this.#consumed += length;
      this.progressTo(this.#consumed);
      if (this.#consumed < this.size && !this.isOver) this.#grant();
    });
  }

  async #conclude(expected: Uint8Array): Promise<void> {
    if (!this.#checksum.equals(expected)) {
      this.stop("corrupt", new BimccRtcError("file_corrupt", "not what was sent", this.peer));
      return;
    }
    await this.#writer?.close();
    if (this.isOver) return;
    this.link.send(encode(Kind.done, this.id));
    this.finish(new Blob(this.#parts, { type: inertType(this.type) }));
  }

  /** Runs the steps one after the other, however slow the sink is. */
  #queue(step: () => Promise<void>): void {
    this.#storing = this.#storing.then(async () => {
      if (this.isOver) return;
      try {
        await step();
      } catch (cause) {
        this.stop("failed", new BimccRtcError("file_failed", "cannot be stored", undefined, { cause }));
      }
    });
  }
}
