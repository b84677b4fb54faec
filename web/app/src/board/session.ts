// Connects a board to a room and to a scene: performs what `BoardSync`, `Cursors` and `Images` ask for. It does not
// know React or Excalidraw; the scene comes as `SceneAccess`.

import type { Peer, Room } from "bimcc-rtc";
import { type Cursor, Cursors } from "./cursors";
import type { BoardElement } from "./element";
import { type ImageFile, Images } from "./images";
import { keepBoard, loadKeptBoard } from "./kept_board";
import { keptImages } from "./kept_images";
import { rememberBoard } from "./last_board";
import type { Timing } from "./limits";
import { isBoardMessage } from "./protocol";
import { sha256 } from "./sha256";
import { BoardSync } from "./sync";

export interface SceneAccess {
  /** Everything in the scene, deleted elements too. */
  elements(): readonly unknown[];
  /** The ids of the elements that the user is just changing. */
  held(): ReadonlySet<string>;
  /** Replaces the elements with the same ids, except those that are held. */
  show(elements: readonly BoardElement[]): void;
  /** Shows everything at once, unless the user has chosen what to look at. */
  fit(): void;
  showCursors(cursors: ReadonlyMap<string, Cursor>): void;
  showImage(file: ImageFile): void;
}

export interface SessionOptions {
  room: Room;
  scene: SceneAccess;
  /** If `peer` is undefined, the problem came from the user. */
  onProblem(peer: Peer | undefined, reason: string): void;
  timing?: Partial<Timing>;
}

/** The time between two messages about the own pointer, in milliseconds. */
const POINTER_INTERVAL = 50;
const KEEP_INTERVAL = 3_000;
/** A peer for which this many messages wait gets no live changes until they are sent; then the boards are compared. */
const MAX_PENDING = 12;
/** Timers do not wait longer than this, so that changes of measured values in between are not missed. */
const LONGEST_WAIT = 5_000;

export class BoardSession {
  readonly images: Images;
  readonly #options: SessionOptions;
  readonly #sync: BoardSync;
  readonly #cursors = new Cursors();
  readonly #listeners: (() => void)[] = [];
  readonly #connected = new Set<string>();
  readonly #pageHidden = () => this.#keep();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #timerAt = Number.POSITIVE_INFINITY;
  #performing = false;
  /** For each peer, the number of messages that wait to be sent. */
  readonly #pending = new Map<string, number>();
  readonly #behind = new Set<string>();
  #pointer: Cursor | undefined;
  #pointerSentAt = 0;
  #keepAt = Number.POSITIVE_INFINITY;
  #fitted = true;
  #ended = false;

  constructor(options: SessionOptions) {
    this.#options = options;
    const { room } = options;
    const now = this.#now();
    this.#sync = new BoardSync(now, Math.random, options.timing);
    this.images = new Images(room, {
      arrived: (file) => options.scene.showImage(file),
      problem: (peer, reason) => options.onProblem(peer, reason),
    });
    rememberBoard(undefined);
    this.#sync.handleKept(now, loadKeptBoard(room.room));
    void this.#findKeptImages();
    for (const peer of room.peers.values()) this.#addPeer(now, peer);
    this.#sync.handleStart();
    this.#fitted = false;
    this.#listeners.push(
      room.on("peer_joined", (peer) => this.#addPeer(this.#now(), peer)),
      room.on("peer_updated", (peer) => this.#updatePeer(peer)),
      room.on("peer_left", (peer) => this.#removePeer(peer)),
      room.on("message", (peer, data) => this.#receive(peer, data)),
      room.on("file", (peer, file) => void this.images.handleFile(this.#now(), peer, file)),
    );
    globalThis.addEventListener?.("pagehide", this.#pageHidden);
    this.handleSceneChange();
  }

  /** Whether the board is still to come from a peer. */
  get loading(): boolean {
    return this.#sync.loading;
  }

  /** Whether the earlier board is in the scene, with everything that was merged since. */
  get settled(): boolean {
    return this.#sync.settled;
  }

  /** The visible elements, as they were merged. */
  elements(): BoardElement[] {
    return this.#sync.elements();
  }

  /** Whether an element of this id is or was on the board, or may be because the board is still to come. */
  mayKnow(id: string): boolean {
    return this.#sync.loading || this.#sync.knows(id);
  }

  /** Whether its latest version was made by this user. */
  isOwn(id: string): boolean {
    return this.#sync.isOwn(id);
  }

  /** Must be called after each change of the scene. */
  handleSceneChange(): void {
    if (this.#ended || this.#performing) return;
    const now = this.#now();
    this.#readScene(now);
    this.#keepAt = Math.min(this.#keepAt, now + KEEP_INTERVAL);
    this.#perform(now);
  }

  handlePointer(pointer: Cursor): void {
    this.#pointer = pointer;
    this.#schedule(this.#pointerSentAt + POINTER_INTERVAL);
  }

  end(): void {
    if (this.#ended) return;
    this.#keep();
    const elements = this.elements();
    rememberBoard({ room: this.#options.room.room, elements, images: this.images.among(this.#imageIds()) });
    this.#ended = true;
    clearTimeout(this.#timer);
    globalThis.removeEventListener?.("pagehide", this.#pageHidden);
    for (const stop of this.#listeners) stop();
  }

  /** This clock is never set. */
  #now(): number {
    return performance.now();
  }

  #readScene(now: number, isShown = false): void {
    const { scene } = this.#options;
    this.#sync.handleLocalChange(now, scene.elements(), scene.held(), isShown);
  }

  #addPeer(now: number, peer: Peer): void {
    this.#sync.handlePeerJoined(now, peer.id);
    this.#connected.delete(peer.id);
    this.#updatePeer(peer);
  }

  #updatePeer(peer: Peer): void {
    const now = this.#now();
    this.#sync.handlePeerAway(now, peer.id, peer.isAway);
    const connected = peer.state === "connected";
    if (connected !== this.#connected.has(peer.id)) {
      if (connected) {
        this.#connected.add(peer.id);
        this.#sync.handlePeerConnected(now, peer.id);
      } else {
        this.#connected.delete(peer.id);
        this.#sync.handlePeerDisconnected(now, peer.id);
      }
    }
    this.#perform(now);
  }

  #removePeer(peer: Peer): void {
    const now = this.#now();
    this.#connected.delete(peer.id);
    this.#behind.delete(peer.id);
    this.#sync.handlePeerLeft(now, peer.id);
    this.#cursors.handlePeerLeft(peer.id);
    this.images.handlePeerLeft(now, peer.id);
    this.#perform(now);
  }

  #receive(peer: Peer, data: unknown): void {
    if (this.#ended || !isBoardMessage(data)) return;
    const now = this.#now();
    if (data.kind === "board/pointer") this.#cursors.handlePointer(now, peer.id, data);
    else {
      if (this.#sync.handleMessage(now, peer.id, data)) this.images.handleMessage(now, peer, data);
    }
    this.#perform(now, false);
  }

  #tick(): void {
    this.#timerAt = Number.POSITIVE_INFINITY;
    const now = this.#now();
    this.#readScene(now);
    this.#sync.handleTimer(now);
    this.#cursors.handleTimer(now);
    const imageIds = this.#imageIds();
    this.images.handleNeeded(now, imageIds);
    void keptImages.keep(this.images.among(imageIds));
    this.images.handleTimer(now);
    if (this.#pointer && now - this.#pointerSentAt >= POINTER_INTERVAL) this.#sendPointer(now, this.#pointer);
    if (now >= this.#keepAt) this.#keep();
    this.#perform(now);
  }

  /** Performs what is asked for and sets the timer. If only a message came, cursors wait for the timer. */
  #perform(now: number, withCursors = true): void {
    if (this.#ended || this.#performing) return;
    this.#performing = true;
    for (let output = this.#sync.pollOutput(); output; output = this.#sync.pollOutput()) {
      if (output.type === "send") this.#send(output.to, output.message);
      else if (output.type === "problem") this.#problem(output.peer, output.reason);
      else {
        this.#options.scene.show(output.elements);
        this.#readScene(now, true);
      }
    }
    const cursors = withCursors ? this.#cursors.pollChange() : undefined;
    if (cursors) this.#options.scene.showCursors(cursors);
    this.#fitOnce();
    this.#performing = false;

    const pointerAt = this.#pointer ? this.#pointerSentAt + POINTER_INTERVAL : Number.POSITIVE_INFINITY;
    const cursorsAt = withCursors ? Number.POSITIVE_INFINITY : now + POINTER_INTERVAL;
    const wakeups = [this.#sync.pollTimeout(), this.images.pollTimeout(), pointerAt, cursorsAt, this.#keepAt];
    this.#schedule(Math.min(...wakeups, now + LONGEST_WAIT));
  }

  /** Fits the view once, when the earlier board is in the scene. */
  #fitOnce(): void {
    if (this.#fitted || !this.#sync.settled) return;
    this.#fitted = true;
    if (this.#sync.elements().length > 0 && !this.#sync.hasOwn) this.#options.scene.fit();
  }

  #schedule(at: number): void {
    if (this.#ended || at >= this.#timerAt) return;
    clearTimeout(this.#timer);
    this.#timerAt = at;
    this.#timer = setTimeout(() => this.#tick(), Math.max(0, at - this.#now()));
  }

  /**
   * Sends to each peer separately, because the room's own broadcast only resolves when the slowest peer has the
   * message.
   */
  #send(to: string | undefined, message: unknown): void {
    if (to !== undefined) {
      this.#sendTo(to, message);
      return;
    }
    for (const id of this.#options.room.peers.keys()) {
      if ((this.#pending.get(id) ?? 0) < MAX_PENDING) this.#sendTo(id, message);
      else this.#behind.add(id);
    }
  }

  #sendTo(id: string, message: unknown): void {
    this.#pending.set(id, (this.#pending.get(id) ?? 0) + 1);
    const settled = () => {
      const left = (this.#pending.get(id) ?? 1) - 1;
      if (left > 0) this.#pending.set(id, left);
      else this.#pending.delete(id);
      if (left > 0 || !this.#behind.delete(id)) return;
      const now = this.#now();
      this.#sync.handleCaughtUp(now);
      this.#perform(now);
    };
    // Whatever is lost comes with the next comparison.
    this.#options.room.send(message, { to: id }).then(settled, settled);
  }

  #sendPointer(now: number, pointer: Cursor): void {
    this.#pointer = undefined;
    this.#pointerSentAt = now;
    if (this.#options.room.peers.size === 0) return;
    this.#options.room.send({ kind: "board/pointer", ...pointer }, { droppable: true }).catch(() => {});
  }

  #problem(peer: string | undefined, reason: string): void {
    const who = peer === undefined ? undefined : this.#options.room.peers.get(peer);
    if (peer === undefined || who) this.#options.onProblem(who, reason);
  }

  #imageIds(): string[] {
    const ids: string[] = [];
    for (const { type, fileId, isDeleted } of this.#sync.snapshot()) {
      if (!isDeleted && type === "image" && typeof fileId === "string") ids.push(fileId);
    }
    return ids;
  }

  async #findKeptImages(): Promise<void> {
    for (const file of await keptImages.find(this.#imageIds())) {
      if (this.#ended || this.images.has(file.id)) continue;
      if ((await sha256(new Uint8Array(await file.blob.arrayBuffer()))) !== file.id) continue;
      this.images.add(file);
      this.#options.scene.showImage(file);
    }
  }

  #keep(): void {
    this.#keepAt = Number.POSITIVE_INFINITY;
    keepBoard(this.#options.room.room, this.#sync.snapshot());
  }
}
