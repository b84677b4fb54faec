import { TypedEmitter } from "../emitter";
import { BimccRtcError } from "../errors";
import type { FileEvents, FileState, Peer } from "../types";
import type { Reason } from "./frames";
import type { Offer } from "./offer";

/** What a transfer may do with the channel that it shares with others. */
export interface Link {
  send(frame: Uint8Array<ArrayBuffer>): void;
  /** Tells the channel that there may be more to send now. */
  pump(): void;
  /** The transfer has ended, with or without success. */
  ended(id: number): void;
}

/** The common part of both directions of a transfer: description, state, progress, listeners. */
export abstract class Transfer<Result> extends TypedEmitter<FileEvents> {
  readonly name: string;
  readonly type: string;
  readonly size: number;
  readonly metadata: unknown;
  state: FileState = "offered";
  bytes = 0;
  error: BimccRtcError | undefined;
  protected readonly result: Promise<Result>;
  #resolve: (result: Result) => void = () => {};
  #reject: (error: BimccRtcError) => void = () => {};

  constructor(
    readonly id: number,
    readonly peer: Peer,
    { name, type, size, metadata }: Offer,
    protected readonly link: Link,
  ) {
    super();
    this.name = name;
    this.type = type;
    this.size = size;
    this.metadata = metadata;
    this.result = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // An application that only listens to events must not get an unhandled rejection as well.
    this.result.catch(() => {});
  }

  abstract cancel(): void;

  /** Ends the transfer without telling the peer. */
  end(reason: Reason, error: BimccRtcError): void {
    if (this.isOver) return;
    this.error = error;
    this.#become(reason === "corrupt" ? "failed" : reason);
    this.#reject(error);
    this.release(error);
  }

  /** Ends the transfer because the peer gave this reason. */
  protected endAs(reason: Reason): void {
    this.end(reason, new BimccRtcError(`file_${reason}`, `the peer says: ${reason}`, this.peer));
  }

  protected get isOver(): boolean {
    return this.state !== "offered" && this.state !== "active";
  }

  protected activate(): void {
    this.#become("active");
  }

  protected finish(result: Result): void {
    this.progressTo(this.size);
    this.#become("done");
    this.#resolve(result);
    this.release(undefined);
  }

  protected progressTo(bytes: number): void {
    if (bytes === this.bytes) return;
    this.bytes = bytes;
    this.emit("progress", bytes);
  }

  /** Frees what the transfer held. */
  protected abstract release(error: BimccRtcError | undefined): void;

  #become(state: FileState): void {
    this.state = state;
    if (this.isOver) this.link.ended(this.id);
    this.emit("state", state);
  }
}
