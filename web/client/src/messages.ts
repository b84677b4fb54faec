// Messages to and from one peer: in order on the reliable channel, immediately or never on the droppable one. A sender
// stays below the rate that the receiver accepts, so a peer that sends more does not use this client.

import type { Channel } from "./channels";
import { BimccRtcError } from "./errors";
import { type Content, cut, MAX_FRAME, Reassembler } from "./framing";
import { MAX_DROPPABLE_BUFFER, MAX_ENVELOPE, MAX_WAITING } from "./limits";
import { isObject, parseJson } from "./protocol";
import { TokenBucket } from "./token_bucket";
import { fromUtf8, utf8 } from "./utf8";

export interface MessagesOwner {
  /** Another way to send while the channel is not open. Resolves with whether it was accepted. */
  bypass(content: Content): Promise<boolean>;
  handleMessage(data: unknown, droppable: boolean): void;
  /** Reports the peer because it sends what this client never sends. */
  report(what: string): void;
}

const TOO_MANY = "too many messages";

const cost = (frame: Uint8Array) => 1 + frame.length / MAX_FRAME;

export class PeerMessages {
  readonly #owner: MessagesOwner;
  readonly #droppable: Channel;
  readonly #single = new Reassembler(MAX_FRAME);
  // Frames per second, and frames at once; a full frame counts double.
  readonly #sendReliable = new TokenBucket(250, 500);
  readonly #sendDroppable = new TokenBucket(100, 200);
  readonly #receiveReliable = new TokenBucket(500, 1000);
  readonly #receiveDroppable = new TokenBucket(200, 500);
  readonly #reassembler: Reassembler;
  #line: Promise<void> = Promise.resolve();
  #waiting: Uint8Array<ArrayBuffer>[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    owner: MessagesOwner,
    readonly reliable: Channel,
    droppable: Channel,
    maxBytes: number,
  ) {
    this.#owner = owner;
    this.#droppable = droppable;
    this.#reassembler = new Reassembler(maxBytes);
    reliable.onmessage = (frame) => this.#receive(frame);
    droppable.onmessage = (frame) => {
      if (this.#receiveDroppable.take(1)) this.#handle(this.#single, frame, true);
      else owner.report(TOO_MANY);
    };
    // The rest of a message that was on its way does not come any more.
    reliable.onclose = () => {
      clearTimeout(this.#timer);
      this.#waiting = [];
      this.#reassembler.reset();
    };
  }

  /** Resolves when the whole message is on its way. Rejects with `peer_gone`. */
  send(content: Content): Promise<void> {
    const sent = this.#line.then(() => this.#send(content));
    this.#line = sent.catch(() => {});
    return sent;
  }

  sendDroppable(content: Content): void {
    const droppable = this.#droppable;
    if (droppable.readyState !== "open" || droppable.bufferedAmount > MAX_DROPPABLE_BUFFER) return;
    if (content.bytes.length >= droppable.maxMessageSize || !this.#sendDroppable.take(1)) return;
    for (const frame of cut(content)) droppable.send(frame);
  }

  async #send(content: Content): Promise<void> {
    for (;;) {
      if (this.reliable.readyState === "open") {
        if (await this.#sendFrames(content)) return;
      } else if (await this.#owner.bypass(content)) {
        return;
      } else {
        await this.reliable.change();
      }
    }
  }

  /** Returns false if the channel was lost meanwhile; then the other side has forgotten the beginning. */
  async #sendFrames(content: Content): Promise<boolean> {
    const { reliable } = this;
    const losses = reliable.losses;
    for (const frame of cut(content)) {
      await this.#sendReliable.taken(cost(frame));
      await reliable.ready();
      if (reliable.losses !== losses) return false;
      reliable.send(frame);
    }
    return true;
  }

  #receive(frame: Uint8Array<ArrayBuffer>): void {
    if (this.#waiting.length === 0 && this.#receiveReliable.take(cost(frame))) {
      this.#handle(this.#reassembler, frame, false);
    } else if (this.#waiting.length < MAX_WAITING && frame.length <= MAX_FRAME) {
      this.#waiting.push(frame);
      if (this.#waiting.length === 1) this.#scheduleWaiting(frame);
    } else {
      this.#owner.report(TOO_MANY);
    }
  }

  #scheduleWaiting(next: Uint8Array): void {
    this.#timer = setTimeout(() => this.#handleWaiting(), this.#receiveReliable.wait(cost(next)));
  }

  #handleWaiting(): void {
    let done = 0;
    for (const frame of this.#waiting) {
      if (!this.#receiveReliable.take(cost(frame))) break;
      done += 1;
      this.#handle(this.#reassembler, frame, false);
    }
    this.#waiting.splice(0, done);
    const [next] = this.#waiting;
    if (next) this.#scheduleWaiting(next);
  }

  #handle(reassembler: Reassembler, frame: Uint8Array<ArrayBuffer>, droppable: boolean): void {
    let data: unknown;
    try {
      const content = reassembler.push(frame);
      if (!content) return;
      data = decode(content);
    } catch (error) {
      this.#owner.report(String(error));
      return;
    }
    this.#owner.handleMessage(data, droppable);
  }
}

/** Takes a copy, so later changes of `data` do not matter. */
export function encode(data: unknown, maxBytes: number): Content {
  const buffer = ArrayBuffer.isView(data) ? data.buffer : data;
  const isBinary = buffer instanceof ArrayBuffer;
  const { byteOffset = 0, byteLength } = (data ?? {}) as ArrayBufferView;
  const bytes = isBinary
    ? new Uint8Array(buffer, byteOffset, byteLength).slice()
    : utf8.encode(JSON.stringify(data) ?? "null");
  if (bytes.length > maxBytes) throw new BimccRtcError("too_large", `a message has at most ${maxBytes} bytes`);
  return { isBinary, bytes };
}

export function decode({ isBinary, bytes }: Content): unknown {
  if (isBinary) return bytes.slice().buffer;
  const data = parseJson(fromUtf8.decode(bytes));
  // The browser's own message would quote the text, and could get into logs.
  if (data === undefined) throw new SyntaxError("no JSON");
  return data;
}

/** The content for the server's `__message`, or undefined if it is too large for that or not JSON. */
export function wrap(content: Content): { sdk: 1; data: unknown } | undefined {
  return content.isBinary || content.bytes.length > MAX_ENVELOPE ? undefined : { sdk: 1, data: decode(content) };
}

/** If another client sent the `__message`, its data is the message itself. */
export function unwrap(message: unknown): unknown {
  return isObject(message) && message.sdk === 1 ? message.data : message;
}
