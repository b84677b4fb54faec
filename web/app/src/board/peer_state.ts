// What a board remembers about one peer: what it may still send, what it may still ask for, and what was reported about
// it.

import { TokenBucket } from "bimcc-rtc/shared";
import { MESSAGES_BURST, MESSAGES_PER_SECOND, WEIGHT_BURST, WEIGHT_PER_SECOND } from "./limits";

/** A reason is reported again after this time, in milliseconds. */
const TELL_AGAIN = 10_000;
const MAX_REASONS = 20;
/** This many messages over the limit within a while are a flood; a few only mean that a tab was asleep. */
const FLOOD = 200;

export class PeerState {
  connected = false;
  /** The peer is away, so it cannot answer. */
  away = false;
  /** Whether it was asked for the whole board. */
  asked = false;
  /** Whether it asked for the whole board before this page had it. */
  awaitsRest = false;

  /** For each bucket: the contents of both sides when they were last compared. */
  readonly #compared = new Map<number, string>();
  #messages: TokenBucket;
  #received: TokenBucket;
  readonly #answered: TokenBucket;
  readonly #toldAt = new Map<string, number>();
  #dropped = 0;
  #droppedSince = 0;

  constructor(now: number) {
    this.#messages = new TokenBucket(MESSAGES_PER_SECOND, MESSAGES_BURST, now);
    this.#received = new TokenBucket(WEIGHT_PER_SECOND, WEIGHT_BURST, now);
    this.#answered = new TokenBucket(WEIGHT_PER_SECOND, WEIGHT_BURST, now);
  }

  /** `flooding` means that the message is dropped, and that this should be reported. */
  receive(now: number, weight: number): "fine" | "dropped" | "flooding" {
    if (this.#messages.take(1, now) && this.#received.take(weight, now)) return "fine";
    if (now - this.#droppedSince > TELL_AGAIN) {
      this.#dropped = 0;
      this.#droppedSince = now;
    }
    return ++this.#dropped >= FLOOD ? "flooding" : "dropped";
  }

  /** The peer was asked for this much, which is more than it may otherwise send at once. */
  expect(now: number, weight: number): void {
    this.#received = new TokenBucket(WEIGHT_PER_SECOND, WEIGHT_BURST, now, weight);
    this.#messages = new TokenBucket(MESSAGES_PER_SECOND, MESSAGES_BURST, now, weight / (64 * 1024));
  }

  mayAnswer(now: number, weight: number): boolean {
    return this.#answered.take(weight, now);
  }

  /**
   * Whether these contents of a bucket have not been compared before: otherwise pages that sanitize differently would
   * send each other the same elements for ever.
   */
  mayCompareContents(bucket: number, ours: number | undefined, theirs: number | undefined): boolean {
    const both = `${ours} ${theirs}`;
    if (this.#compared.get(bucket) === both) return false;
    this.#compared.set(bucket, both);
    return true;
  }

  /** Whether this reason was not reported recently. */
  tell(now: number, reason: string): boolean {
    const told = this.#toldAt.get(reason);
    if (told !== undefined && now - told < TELL_AGAIN) return false;
    if (this.#toldAt.size >= MAX_REASONS) this.#toldAt.clear();
    this.#toldAt.set(reason, now);
    return true;
  }
}
