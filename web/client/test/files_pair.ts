// Two members' file transfers joined by a fake data channel: messages take their time, in an order that a seed decides,
// and can be looked at, changed or made up on their way.
import type { FileChannel } from "../src/channels";
import type { BimccRtcError } from "../src/errors";
import { FileTransfers } from "../src/files/transfers";
import type { IncomingFile, Peer } from "../src/types";

/** A small seeded generator (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Prints the seed of a run; `SEED` in the environment repeats it. */
export function newSeed(): number {
  const { process } = globalThis as { process?: { env: Record<string, string | undefined> } };
  const seed = Number(process?.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
  console.log(`SEED=${seed}`);
  return seed;
}

/** What else waits gets its turn: reading blobs, digests. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve));
}

export function equalBytes(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && one.every((byte, index) => byte === other[index]);
}

const LOW = 1 << 18;

export class FakeChannel implements FileChannel {
  readyState: RTCDataChannelState = "connecting";
  maxMessageSize = 65_536;
  onmessage: ((frame: Uint8Array<ArrayBuffer>) => void) | undefined;
  onclose: (() => void) | undefined;
  /** Sees, and may change or drop, what is sent. */
  filter: (frame: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer> | undefined = (frame) => frame;
  readonly queue: Uint8Array<ArrayBuffer>[] = [];
  readonly sent: Uint8Array<ArrayBuffer>[] = [];
  bufferedAmount = 0;
  mostBuffered = 0;
  #waiting: { resolve: () => void; reject: (error: Error) => void }[] = [];

  ready(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.settle();
    });
  }

  send(frame: Uint8Array<ArrayBuffer>): void {
    if (this.readyState !== "open") throw new Error("not open");
    if (frame.length > this.maxMessageSize) throw new TypeError("too large");
    const passed = this.filter(frame.slice());
    if (!passed) return;
    this.sent.push(passed.subarray(0, 64));
    this.queue.push(passed);
    this.bufferedAmount += passed.length;
    this.mostBuffered = Math.max(this.mostBuffered, this.bufferedAmount);
  }

  open(): void {
    this.readyState = "open";
    this.settle();
  }

  close(): void {
    this.readyState = "closed";
    this.queue.length = 0;
    this.bufferedAmount = 0;
    this.onclose?.();
  }

  settle(): void {
    if (this.readyState !== "open" || this.bufferedAmount > LOW) return;
    for (const { resolve } of this.#waiting.splice(0)) resolve();
  }
}

export class Side {
  readonly channel = new FakeChannel();
  readonly offers: IncomingFile[] = [];
  readonly problems: BimccRtcError[] = [];
  readonly files: FileTransfers;

  constructor(readonly peer: Peer) {
    this.files = new FileTransfers(peer, this.channel, {
      offered: (file) => this.offers.push(file),
      failed: (error) => this.problems.push(error),
    });
  }

  /** What the peer would hear next, if it hears anything. */
  deliverTo(other: Side): boolean {
    const frame = this.channel.queue.shift();
    if (!frame) return false;
    this.channel.bufferedAmount -= frame.length;
    this.channel.settle();
    other.channel.onmessage?.(frame);
    return true;
  }
}

export class Pair {
  readonly a = new Side(fakePeer("b"));
  readonly b = new Side(fakePeer("a"));

  constructor(readonly random: () => number) {}

  open(): this {
    this.a.channel.open();
    this.b.channel.open();
    return this;
  }

  /** Lets time pass until the condition holds; an error if nothing moves any more. */
  async until(condition: () => boolean): Promise<void> {
    for (let quiet = 0; !condition(); ) {
      const moved = this.random() < 0.5 ? this.a.deliverTo(this.b) : this.b.deliverTo(this.a);
      if (!moved || this.random() < 0.1) await turn();
      quiet = moved ? 0 : quiet + 1;
      if (quiet > 3000) throw new Error("nothing moves any more");
    }
  }

  /** Until nothing has moved for a while. */
  async settle(): Promise<void> {
    for (let quiet = 0; quiet < 50; ) {
      const moved = this.a.deliverTo(this.b) || this.b.deliverTo(this.a);
      await turn();
      quiet = moved ? 0 : quiet + 1;
    }
  }
}

function fakePeer(id: string): Peer {
  return { id, name: id, metadata: undefined, state: "connected", streams: [] } as Partial<Peer> as Peer;
}

export function randomBytes(length: number, random: () => number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = random() * 256;
  return bytes;
}

export async function sameBytes(blob: Blob, bytes: Uint8Array): Promise<boolean> {
  return equalBytes(new Uint8Array(await blob.arrayBuffer()), bytes);
}
