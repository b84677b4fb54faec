// Sends on one RTCDataChannel, in order, what its browser's buffer does not take at once. What `send` may throw, by the
// W3C's WebRTC 6.2: InvalidStateError where the channel is not open and TypeError where the message is larger than the
// other side takes are for the caller to avoid. OperationError, the buffer is full, is waited out here: where "full"
// begins is each browser's own affair (16 MiB in Chromium). Firefox 140 throws it for a channel with an id above 255,
// too, which is open but never takes anything: such a channel is closed.

import { DEFAULT_MAX_MESSAGE, MAX_REFUSALS, RETRY } from "./limits";
import { utf8 } from "./utf8";

/** Below what browsers hold, above what a fast path empties between two events. */
export const HIGH_WATER = 1_048_576;

export class SendQueue {
  readonly #channel: RTCDataChannel;
  readonly #onEmpty: (() => void) | undefined;
  #waiting: (string | Uint8Array<ArrayBuffer>)[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #refusals = 0;
  /** What waits here, about. */
  bytes = 0;

  constructor(channel: RTCDataChannel, onEmpty?: () => void) {
    this.#channel = channel;
    this.#onEmpty = onEmpty;
  }

  /** Throws as the channel does, but not for a buffer that is full. What waits is a copy. */
  send(data: string | Uint8Array<ArrayBuffer>): void {
    if (this.bytes === 0 && this.#take(data)) return;
    this.#waiting.push(typeof data === "string" ? data : data.slice());
    this.bytes += data.length;
    this.#timer ??= setTimeout(() => this.flush(), RETRY);
  }

  /** There may be room in the buffer again. The queue looks now and then itself, since not every browser says so. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.bytes === 0) return;
    let done = 0;
    try {
      while (done < this.#waiting.length && this.#take(this.#waiting[done] as string)) done += 1;
    } catch {
      // The channel has ended, or takes nothing. What was on its way ends with it.
      done = this.#waiting.length;
      this.#channel.close();
    }
    for (const { length } of this.#waiting.splice(0, done)) this.bytes -= length;
    if (this.bytes > 0) this.#timer = setTimeout(() => this.flush(), RETRY);
    else this.#onEmpty?.();
  }

  /** Resolves when little waits to be sent, or the channel is not open. */
  async ready(): Promise<void> {
    while (this.#channel.readyState === "open" && this.bytes + this.#channel.bufferedAmount > HIGH_WATER) {
      await new Promise((resolve) => setTimeout(resolve, RETRY));
    }
  }

  #take(data: string | Uint8Array<ArrayBuffer>): boolean {
    try {
      this.#channel.send(data as string);
      this.#refusals = 0;
      return true;
    } catch (error) {
      const { readyState, bufferedAmount } = this.#channel;
      if ((error as Error).name !== "OperationError" || readyState !== "open") throw error;
      this.#refusals = bufferedAmount > 0 ? 0 : this.#refusals + 1;
      if (this.#refusals > MAX_REFUSALS) throw error;
      return false;
    }
  }
}

const queues = new WeakMap<RTCDataChannel, SendQueue>();

/** The one queue of a channel that several send on. */
export function queueOf(channel: RTCDataChannel): SendQueue {
  const queue = queues.get(channel) ?? new SendQueue(channel);
  queues.set(channel, queue);
  return queue;
}

/**
 * The largest message in bytes that both sides take: what this browser says, and what the other side's description says
 * (RFC 8841, 6.1: without the attribute it is 64 KiB, and 0 is no limit), since browsers do not all heed that.
 */
export function maxMessageSizeOf({ sctp, remoteDescription }: RTCPeerConnection): number {
  const said = /^a=max-message-size:(\d+)/m.exec(remoteDescription?.sdp ?? "")?.[1];
  const theirs = Number(said ?? DEFAULT_MAX_MESSAGE) || Number.POSITIVE_INFINITY;
  return Math.min(theirs, sctp?.maxMessageSize ?? DEFAULT_MAX_MESSAGE);
}

/** Whether a text has at most so many bytes in UTF-8. */
export function fits(text: string, maxBytes: number): boolean {
  if (text.length > maxBytes) return false;
  return text.length * 3 <= maxBytes || utf8.encode(text).length <= maxBytes;
}
