// The image files of the board. The id of a file is the SHA-256 of its bytes, so it can be checked, whoever sends it. A
// board asks one peer after the other for a missing file, which then comes by `room.sendFile`. A peer that could not
// give a file when it was asked tells when it can.

import type { IncomingFile, Peer, Room } from "bimcc-rtc";
import { BOARD_FILE, IMAGE_TYPES, type ImageType, isBoardFile } from "./board_file";
import { MAX_FILE_BYTES, MAX_FILES, MAX_FILES_BYTES } from "./limits";
import { isRecord } from "./protocol";
import { sha256 } from "./sha256";

export interface ImageFile {
  readonly id: string;
  readonly mimeType: ImageType;
  readonly blob: Blob;
}

/** In milliseconds: how long to wait for a peer's answer, and for the next round of asking everybody. */
const ANSWER_TIME = 5_000;
const ROUND_TIME = 20_000;
const MAX_SERVING = 4;
/** How many images are remembered that one peer has asked for and could not get yet. */
const MAX_OWED = MAX_FILES;

interface Want {
  asked: Set<string>;
  /** The peers that have said that they have it. */
  readonly owners: Set<string>;
  from: string | undefined;
  /** Nothing must be done for it until then. */
  until: number;
}

export interface ImagesEvents {
  arrived(file: ImageFile): void;
  problem(peer: Peer, reason: string): void;
}

export function isContentId(id: unknown): id is string {
  return typeof id === "string" && /^[0-9a-f]{64}$/.test(id);
}

export class Images {
  readonly #files = new Map<string, ImageFile>();
  readonly #wants = new Map<string, Want>();
  readonly #serving = new Map<string, Set<string>>();
  /** For each peer: what it asked for and has not got. */
  readonly #owed = new Map<string, Set<string>>();
  #bytes = 0;
  #receivingBytes = 0;

  constructor(
    readonly room: Room,
    readonly events: ImagesEvents,
  ) {}

  has(id: string): boolean {
    return this.#files.has(id);
  }

  /** The images of these ids that are here. */
  among(ids: Iterable<string>): ImageFile[] {
    return [...new Set(ids)].map((id) => this.#files.get(id)).filter((file) => file !== undefined);
  }

  /** Adds an image that this user has put on the board. */
  add(file: ImageFile): void {
    if (this.#files.has(file.id)) return;
    this.#files.set(file.id, file);
    this.#bytes += file.blob.size;
    this.#wants.delete(file.id);
    for (const [peer, owed] of this.#owed) if (owed.has(file.id)) this.#tellOwned(peer);
  }

  /** These images are on the board. Asks others for those that are not here. */
  handleNeeded(now: number, ids: Iterable<string>): void {
    const needed = new Set<string>();
    for (const id of ids) if (isContentId(id) && !this.#files.has(id)) needed.add(id);
    for (const [id, want] of this.#wants) if (!needed.has(id) && want.from === undefined) this.#wants.delete(id);
    for (const id of needed) {
      if (this.#wants.size + this.#files.size >= MAX_FILES) break;
      if (!this.#wants.has(id)) {
        this.#wants.set(id, { asked: new Set(), owners: new Set(), from: undefined, until: now });
      }
    }
  }

  handleTimer(now: number): void {
    for (const [id, want] of this.#wants) {
      if (now < want.until) continue;
      const connected = [...this.room.peers.values()].filter((peer) => peer.state === "connected");
      const left = connected.filter((peer) => !want.asked.has(peer.id));
      const next = left.find((peer) => want.owners.has(peer.id)) ?? left[0];
      want.from = next?.id;
      if (!next) {
        want.asked.clear();
        want.until = now + ROUND_TIME;
        continue;
      }
      want.asked.add(next.id);
      want.until = now + ANSWER_TIME;
      this.#send(next, { kind: "board/want-file", id });
    }
  }

  /** When `handleTimer` must be called. */
  pollTimeout(): number {
    let at = Number.POSITIVE_INFINITY;
    for (const { until } of this.#wants.values()) at = Math.min(at, until);
    return at;
  }

  /** Returns true if the message was about files. */
  handleMessage(now: number, peer: Peer, data: Readonly<Record<string, unknown>>): boolean {
    const { kind, id } = data;
    if (kind === "board/want-file") {
      if (isContentId(id)) this.#serve(peer, id);
      return true;
    }
    if (kind !== "board/no-file" && kind !== "board/has-file") return false;
    const want = isContentId(id) ? this.#wants.get(id) : undefined;
    if (!want) return true;
    if (kind === "board/has-file") {
      want.owners.add(peer.id);
      want.asked.delete(peer.id);
    }
    const isWaiting = want.until !== Number.POSITIVE_INFINITY;
    if (isWaiting && (want.from === peer.id || want.from === undefined)) want.until = now;
    return true;
  }

  /** Returns true if the file was for the board. */
  handleFile(now: number, peer: Peer, file: IncomingFile): boolean {
    if (!isBoardFile(file)) return false;
    const metadata = isRecord(file.metadata) ? file.metadata : {};
    const { id } = metadata;
    const mimeType = IMAGE_TYPES.find((type) => type === metadata.mimeType);
    const want = isContentId(id) ? this.#wants.get(id) : undefined;
    if (!want || want.from !== peer.id || !isContentId(id)) {
      file.refuse();
      return true;
    }
    const room = MAX_FILES_BYTES - this.#bytes - this.#receivingBytes;
    if (!mimeType || !(file.size <= MAX_FILE_BYTES) || file.size > room) {
      file.refuse();
      want.until = now;
      this.events.problem(peer, mimeType ? "offers an image that is too large" : "offers an image of an unknown kind");
      return true;
    }
    // The transfer ends by itself in any case, and the want waits for that.
    want.until = Number.POSITIVE_INFINITY;
    void this.#receive(peer, file, { id, mimeType, want });
    return true;
  }

  handlePeerLeft(now: number, peer: string): void {
    this.#serving.delete(peer);
    this.#owed.delete(peer);
    for (const want of this.#wants.values()) {
      want.owners.delete(peer);
      if (want.from === peer && want.until !== Number.POSITIVE_INFINITY) want.until = now;
    }
  }

  async #receive(
    peer: Peer,
    file: IncomingFile,
    { id, mimeType, want }: Pick<ImageFile, "id" | "mimeType"> & { want: Want },
  ) {
    const size = file.size;
    this.#receivingBytes += size;
    try {
      const blob = await file.accept();
      if (blob.size > MAX_FILE_BYTES || (await sha256(new Uint8Array(await blob.arrayBuffer()))) !== id) {
        this.events.problem(peer, "sent another image than was asked for");
        want.until = 0;
        return;
      }
      const image = { id, mimeType, blob: new Blob([blob], { type: mimeType }) };
      this.add(image);
      this.events.arrived(image);
    } catch {
      // Somebody else may have it.
      want.until = 0;
    } finally {
      this.#receivingBytes -= size;
    }
  }

  #serve(peer: Peer, id: string): void {
    const image = this.#files.get(id);
    const serving = this.#serving.get(peer.id) ?? new Set();
    this.#serving.set(peer.id, serving);
    if (!image) this.#send(peer, { kind: "board/no-file", id });
    if (serving.has(id)) return;
    if (!image || serving.size >= MAX_SERVING) {
      this.#owe(peer.id, id);
      return;
    }
    this.#owed.get(peer.id)?.delete(id);
    serving.add(id);
    const metadata = { kind: BOARD_FILE, id, mimeType: image.mimeType };
    const ended = () => {
      serving.delete(id);
      if (this.#serving.get(peer.id) === serving) this.#tellOwned(peer.id);
    };
    try {
      const transfers = this.room.sendFile(image.blob, { to: peer, name: id.slice(0, 16), metadata });
      Promise.all(transfers.map(({ done }) => done)).then(ended, ended);
    } catch {
      ended();
    }
  }

  #owe(peer: string, id: string): void {
    const owed = this.#owed.get(peer) ?? new Set();
    this.#owed.set(peer, owed);
    if (owed.size < MAX_OWED) owed.add(id);
  }

  /**
   * Tells this peer which of the images that it asked for without success are here now: as many as may be on their way
   * to it at a time.
   */
  #tellOwned(id: string): void {
    const peer = this.room.peers.get(id);
    const owed = this.#owed.get(id);
    if (!peer || !owed) return;
    let free = MAX_SERVING - (this.#serving.get(id)?.size ?? 0);
    for (const file of owed) {
      if (free <= 0) return;
      if (!this.#files.has(file)) continue;
      free--;
      owed.delete(file);
      this.#send(peer, { kind: "board/has-file", id: file });
    }
  }

  #send(peer: Peer, message: unknown): void {
    // A question that gets lost is asked again.
    this.room.send(message, { to: peer }).catch(() => {});
  }
}
