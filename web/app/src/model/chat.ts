// The messages and file offers in the room since this member joined, limited in number whatever the others do. There is
// no history for members that join later, because a peer that sends one could invent what others had written.

import type { IncomingFile, Peer, Room } from "bimcc-rtc";
import { TokenBucket } from "bimcc-rtc/shared";
import { isBoardFile } from "../board/board_file";
import { cleanText, displayName } from "../logic/names";
import type { Notices } from "./notices";
import { Derived } from "./store";
import { type FileView, Incoming, Outgoing } from "./transfers";

export const ENTRIES_KEPT = 500;
export const LONGEST_MESSAGE = 4000;
const OPEN_OFFERS_OF_ONE_PEER = 10;
const RENDER_EVERY = 100;
/** A person types less than this; a program that writes more would fill everybody's screen. */
const BURST = 30;
const PER_SECOND = 4;

interface Author {
  readonly id: string;
  readonly name: string;
}

interface EntryBase {
  readonly id: number;
  readonly time: number;
  /** The author; undefined for this member. */
  readonly from: Author | undefined;
}

export type ChatEntry =
  | (EntryBase & { readonly kind: "text"; readonly text: string; readonly leftOut: number; readonly failed: boolean })
  | (EntryBase & { readonly kind: "event"; readonly from: Author; readonly what: "joined" | "left" })
  | (EntryBase & { readonly kind: "file"; readonly file: FileView });

type Kept = ChatEntry & { transfer?: Incoming | Outgoing };

export class Chat {
  readonly entries: Derived<readonly ChatEntry[]>;
  /** The number of messages and offers of others that came while the chat was not visible. */
  readonly unread: Derived<number>;
  readonly #ends: (() => void)[];
  readonly #buckets = new Map<string, TokenBucket>();
  readonly #comings = new TokenBucket(PER_SECOND, BURST);
  #kept: Kept[] = [];
  #unread = 0;
  #looking = false;
  #nextId = 1;

  constructor(
    private readonly room: Room,
    private readonly notices: Notices,
    /** Called for each message and offer of others. */
    private readonly onNews: (entry: ChatEntry) => void = () => {},
  ) {
    this.entries = new Derived(() => this.#kept.map(toEntry), RENDER_EVERY);
    this.unread = new Derived(() => this.#unread, RENDER_EVERY);
    this.#ends = [
      room.on("message", (peer, data) => this.#receive(peer, data)),
      room.on("file", (peer, file) => this.#offered(peer, file)),
      room.on("peer_joined", (peer) => this.#event(peer, "joined")),
      room.on("peer_left", (peer) => {
        this.#event(peer, "left");
        this.#buckets.delete(peer.id);
      }),
    ];
  }

  /** Tells whether the messages are visible, so that none is unread. */
  setLooking(looking: boolean): void {
    this.#looking = looking;
    if (looking) this.#unread = 0;
    this.unread.changed();
  }

  /** Returns false if the text is not sent because it is too long. */
  say(typed: string): boolean {
    if (surplusOf(typed) > 0) return false;
    const text = typed.trim();
    if (!text) return true;
    const entry = this.#add({ kind: "text", text, leftOut: 0, failed: false, from: undefined });
    // It is sent as a plain text, as pages on the old API and the first clients write and read it.
    this.room.send(text).catch(() => {
      this.#kept = this.#kept.map((kept) => (kept.id === entry.id ? { ...kept, failed: true } : kept));
      this.entries.changed();
    });
    this.entries.flush();
    return true;
  }

  sendFiles(files: Iterable<File>): void {
    for (const file of files) {
      try {
        const transfers = this.room.sendFile(file);
        if (transfers.length === 0) {
          this.notices.say("Nobody else is here to take a file. Try again when somebody has come.");
          return;
        }
        const transfer = new Outgoing(transfers, file.name, file.size, this.entries.changed);
        this.#add({ kind: "file", from: undefined, file: transfer.view(), transfer });
      } catch (error) {
        this.notices.problem(`The file could not be sent: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
  }

  accept(id: number): void {
    const transfer = this.#transfer(id);
    if (transfer instanceof Incoming) void transfer.accept();
  }

  refuse(id: number): void {
    const transfer = this.#transfer(id);
    if (transfer instanceof Incoming && transfer.file.state === "offered") transfer.file.refuse();
  }

  cancel(id: number): void {
    const transfer = this.#transfer(id);
    if (transfer instanceof Incoming) transfer.file.cancel();
    else transfer?.cancel();
  }

  /** Whether something would be lost if the page closed now. */
  get busy(): boolean {
    return this.#kept.some(({ transfer }) =>
      transfer instanceof Outgoing ? transfer.open : transfer?.file.state === "active",
    );
  }

  dispose(): void {
    for (const end of this.#ends) end();
    for (const { transfer } of this.#kept) transfer?.dispose();
    this.entries.dispose();
    this.unread.dispose();
  }

  #receive(peer: Peer, data: unknown): void {
    if (typeof data !== "string") return;
    if (!this.#maySpeak(peer, "messages")) return;
    const whole = data.trim();
    // The text must not be cut within a character.
    const text =
      whole.length > LONGEST_MESSAGE ? whole.slice(0, LONGEST_MESSAGE).replace(/[\ud800-\udbff]$/, "") : whole;
    const leftOut = whole.length - text.length;
    if (text) this.#news({ kind: "text", text, leftOut, failed: false, from: authorOf(peer) });
  }

  #offered(peer: Peer, file: IncomingFile): void {
    if (isBoardFile(file)) return;
    const open = this.#kept.filter(
      ({ transfer }) => transfer instanceof Incoming && transfer.file.peer.id === peer.id && transfer.open,
    );
    if (open.length >= OPEN_OFFERS_OF_ONE_PEER || !this.#maySpeak(peer, "file offers")) {
      file.refuse();
      this.notices.problem("offers too many files; some were refused.", authorOf(peer));
      return;
    }
    const transfer = new Incoming(file, this.entries.changed);
    this.#news({ kind: "file", from: authorOf(peer), file: transfer.view(), transfer });
  }

  #event(peer: Peer, what: "joined" | "left"): void {
    // There is one limit for all, because somebody who comes and goes all the time has another id each time.
    if (this.#comings.take(1)) this.#add({ kind: "event", what, from: authorOf(peer) });
  }

  #maySpeak(peer: Peer, what: string): boolean {
    const bucket = this.#buckets.get(peer.id) ?? new TokenBucket(PER_SECOND, BURST);
    this.#buckets.set(peer.id, bucket);
    if (bucket.take(1)) return true;
    this.notices.problem(`sends ${what} too fast; some were left out.`, authorOf(peer));
    return false;
  }

  #news(entry: NewEntry): void {
    const added = this.#add(entry);
    if (!this.#looking) {
      this.#unread++;
      this.unread.changed();
    }
    this.onNews(toEntry(added));
  }

  #add(entry: NewEntry): Kept {
    const added: Kept = { ...entry, id: this.#nextId++, time: Date.now() };
    this.#kept = [...this.#kept, added];
    if (this.#kept.length > ENTRIES_KEPT) {
      // Transfers in progress stay as long as there is something else to remove.
      const index = Math.max(
        0,
        this.#kept.findIndex(({ transfer }) => !transfer?.open),
      );
      this.#kept[index]?.transfer?.dispose();
      this.#kept = this.#kept.filter((_, i) => i !== index);
    }
    this.entries.changed();
    return added;
  }

  #transfer(id: number): Incoming | Outgoing | undefined {
    return this.#kept.find((entry) => entry.id === id)?.transfer;
  }
}

type NewEntry = Kept extends infer Each ? (Each extends Kept ? Omit<Each, "id" | "time"> : never) : never;

function toEntry({ transfer, ...entry }: Kept): ChatEntry {
  return entry.kind === "file" && transfer ? { ...entry, file: transfer.view() } : entry;
}

function authorOf(peer: Peer): Author {
  return { id: peer.id, name: displayName(peer) };
}

/** By how many characters a message is too long. */
export function surplusOf(typed: string): number {
  return Math.max(0, typed.trim().length - LONGEST_MESSAGE);
}

/** One line that describes an entry, for notices. */
export function entryInWords(entry: ChatEntry): string {
  const who = entry.from?.name ?? "You";
  if (entry.kind === "text") return `${who}: ${cleanText(entry.text, 80)}`;
  if (entry.kind === "file") return `${who} offers a file: ${entry.file.name}`;
  return `${who} ${entry.what}`;
}
