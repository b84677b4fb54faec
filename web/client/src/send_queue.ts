// Sends on one RTCDataChannel, in order, what the browser's buffer does not accept at once. `send` may throw three
// errors (W3C WebRTC, 6.2). The caller must avoid InvalidStateError (the channel is not open) and TypeError (the
// message is larger than the other side accepts). OperationError means that the buffer is full; this queue waits until
// it is not. Each browser has its own limit (16 MiB in Chromium). Firefox 140 also throws it for a channel with an id
// above 255, which is open but never accepts anything; such a channel is closed.

import { DEFAULT_MAX_MESSAGE, MAX_REFUSALS, RETRY } from "./limits";
import { utf8 } from "./utf8";

/** Less than what browsers can hold, more than what a fast path sends between two events. */
export const HIGH_WATER = 1_048_576;

export class SendQueue {
  readonly #channel: RTCDataChannel;
  readonly #onEmpty: (() => void) | undefined;
  #waiting: (string | Uint8Array<ArrayBuffer>)[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #refusals = 0;
  /** Approximately how many bytes wait here. */
  bytes = 0;

  constructor(channel: RTCDataChannel, onEmpty?: () => void) {
    this.#channel = channel;
    this.#onEmpty = onEmpty;
  }

  /** Throws like the channel, except if the buffer is full. Waiting data is a copy. */
  send(data: string | Uint8Array<ArrayBuffer>): void {
    if (this.bytes === 0 && this.#take(data)) return;
    this.#waiting.push(typeof data === "string" ? data : data.slice());
    this.bytes += data.length;
    this.#timer ??= setTimeout(() => this.flush(), RETRY);
  }

  /**
   * There may be room in the buffer again. The queue also checks this by itself now and then, because not every browser
   * reports it.
   */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.bytes === 0) return;
    let done = 0;
    try {
      while (done < this.#waiting.length && this.#take(this.#waiting[done] as string)) done += 1;
    } catch {
      // The channel has ended, or accepts nothing. Everything that waits ends with it.
      done = this.#waiting.length;
      this.#channel.close();
    }
    for (const { length } of this.#waiting.splice(0, done)) this.bytes -= length;
    if (this.bytes > 0) this.#timer = setTimeout(() => this.flush(), RETRY);
    else this.#onEmpty?.();
  }

  /** Resolves when little data waits, or when the channel is not open. */
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

/** The queue of a channel, shared by all who send on it. */
export function queueOf(channel: RTCDataChannel): SendQueue {
  const queue = queues.get(channel) ?? new SendQueue(channel);
  queues.set(channel, queue);
  return queue;
}

/**
 * The largest message in bytes that both sides accept: the smaller of this browser's limit and the limit in the other
 * side's description (RFC 8841, 6.1: without the attribute it is 64 KiB, and 0 means no limit). Some browsers do not
 * check the latter.
 */
export function maxMessageSizeOf({ sctp, remoteDescription }: RTCPeerConnection): number {
  const said = /^a=max-message-size:(\d+)/m.exec(remoteDescription?.sdp ?? "")?.[1];
  const theirs = Number(said ?? DEFAULT_MAX_MESSAGE) || Number.POSITIVE_INFINITY;
  return Math.min(theirs, sctp?.maxMessageSize ?? DEFAULT_MAX_MESSAGE);
}

/** Whether a text has at most this many bytes in UTF-8. */
export function fits(text: string, maxBytes: number): boolean {
  if (text.length > maxBytes) return false;
  return text.length * 3 <= maxBytes || utf8.encode(text).length <= maxBytes;
}
