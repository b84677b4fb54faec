// One peer's board, sans I/O: no React, no network, no clock.
//
//   1. Report what happens: `handleLocalChange`, `handleMessage`, `handlePeer…`, `handleTimer`. 2. Perform
//      `pollOutput()` until it is undefined. 3. Call `handleTimer` when `pollTimeout()` has come.
//
// Merging: the highest version of an element wins, and between equal versions the lowest nonce (`element.ts`). A change
// of the user always gets a version above the known one. Versions end at FINAL_VERSION, which only a deleted element
// may have: a change that would reach it deletes the id for good, and the element continues under a new id. So nobody
// can freeze an element by giving it a version that nobody may exceed.
//
// Repair: live changes may get lost. Now and then each peer sends a digest of its board, and a peer with another digest
// exchanges the versions of the buckets that differ. The clocks of two peers are never compared.

import { comparisons, differences, differingBuckets, stateOf } from "./compare";
import { type BoardElement, differsInPlaceOnly, sameVersion, weightOf } from "./element";
import { ElementStore } from "./element_store";
import {
  LIVE_WEIGHT_PER_SECOND,
  MAX_BOARD_WEIGHT,
  MAX_MESSAGE_WEIGHT,
  PIECE_WEIGHT,
  TIMING,
  type Timing,
} from "./limits";
import { adoptLocalEdit, hasVersion, waitsForFile, withdrawn } from "./local_edits";
import { PeerState } from "./peer_state";
import { type BoardMessage, isBoardMessage, readMessage, weighMessage } from "./protocol";
import { isId } from "./read_fields";
import { type Random, Renames, withUsableIds } from "./renames";
import { sanitizeElement } from "./sanitize";

export type Output =
  | { type: "send"; to: string | undefined; message: BoardMessage }
  /** These replace the elements with the same ids in the user's scene, except those that the user holds. */
  | { type: "show"; elements: BoardElement[] }
  /** Something was refused. With a `peer`, the reason says what the peer did; without one, what happened. */
  | { type: "problem"; peer: string | undefined; reason: string };

const NOBODY: ReadonlySet<string> = new Set();
const NEVER = Number.POSITIVE_INFINITY;
/**
 * The version of no element: the scene's element with that id is checked again, and counts as missing if it is gone.
 */
const LOOK_ANEW = { version: -1, versionNonce: -1 };

export class BoardSync {
  readonly #store = new ElementStore();
  readonly #timing: Timing;
  readonly #random: Random;
  readonly #peers = new Map<string, PeerState>();
  readonly #outputs: Output[] = [];
  readonly #toldUser: PeerState;

  /** The versions that the user's scene had when it was last checked. */
  readonly #seen = new Map<string, { version: number; versionNonce: number }>();
  /** The ids of elements that are merged but not yet in the user's scene. */
  readonly #stale = new Set<string>();
  /** The ids of elements whose version is this user's edit. */
  readonly #own = new Set<string>();
  /**
   * The ids of elements of others that the user's scene has moved because their index was not unique. They are shown
   * again with the next elements.
   */
  readonly #moved = new Set<string>();
  #showAt = NEVER;

  readonly #successors = new Map<string, string>();
  /** New ids for those in the user's scene that others do not accept. */
  readonly #elementIds: Renames;
  readonly #groupIds: Renames;
  /** The elements that must be removed from the user's scene; `isShown` once the scene was told. */
  readonly #withdrawals = new Map<string, { raw: BoardElement; isShown: boolean }>();
  /** What was removed from the user's elements since the last report. */
  readonly #taken = new Set<string>();

  readonly #unsent = new Set<string>();
  #sendAt = NEVER;
  #maySendAt = 0;

  #compareAt: number;
  /** When to compare with only one peer, after somebody has just connected. */
  #settleAt = NEVER;

  #loading: { from: string; until: number; hasPart?: true } | undefined;
  #loaded = true;
  /** Until then a peer that is still connecting is not asked for the board. */
  readonly #preferConnectedUntil: number;

  constructor(now: number, random: Random, timing: Partial<Timing> = {}) {
    this.#timing = { ...TIMING, ...timing };
    this.#random = random;
    this.#elementIds = new Renames(random);
    this.#groupIds = new Renames(random);
    this.#toldUser = new PeerState(now);
    this.#compareAt = now + this.#untilNextComparison();
    this.#preferConnectedUntil = now + this.#timing.load / 2;
  }

  /** Whether the earlier board is here and in the user's scene. */
  get settled(): boolean {
    return this.#loaded && !this.#loading && this.#stale.size === 0;
  }

  isOwn(id: string): boolean {
    return this.#own.has(id);
  }

  /** Whether this user made the current version of anything on the board. */
  get hasOwn(): boolean {
    return this.#own.size > 0;
  }

  /** The visible elements, in their order. */
  elements(): BoardElement[] {
    return this.#store.scene();
  }

  /** The elements to be kept: the visible ones, and the deleted ones that must not come back. */
  snapshot(): BoardElement[] {
    return [...this.#store.all()];
  }

  /** Whether an element of this id is or was here. */
  knows(id: string): boolean {
    return this.#store.get(id) !== undefined || this.#seen.has(id);
  }

  /** Whether the board is still to come from a peer. */
  get loading(): boolean {
    return this.#loading !== undefined;
  }

  /**
   * The user's scene as it is now, deleted elements included. Must be called after each change of it, also after a
   * change caused by a `show`; then with `isShown`, and before the user can change anything. `held` has the ids of
   * elements that the user is just changing.
   *
   * If two elements have the same index, Excalidraw moves one of them on every page that shows both, and makes a new
   * version of it. Only the page whose user made the element's version sends this to the others. If all pages did, they
   * would supersede what a user did to the element meanwhile.
   */
  handleLocalChange(now: number, scene: readonly unknown[], held: ReadonlySet<string> = NOBODY, isShown = false): void {
    // How many of the elements seen before are still there.
    let inScene = 0;
    const changed = scene.filter((raw): raw is BoardElement => {
      const seen = hasVersion(raw) ? this.#seen.get(raw.id) : undefined;
      if (seen) inScene++;
      return hasVersion(raw) && !(seen && sameVersion(seen, raw));
    });
    // All new ids are given before the first reference is handled.
    for (const raw of changed) if (!isId(raw.id) && !raw.isDeleted) this.#elementIds.give(raw.id);
    for (const raw of changed) {
      const known = this.#store.get(raw.id);
      if (known && sameVersion(known, raw)) {
        // If the element is held, another content with the same version has not been shown yet.
        if (!isShown || !held.has(raw.id)) this.#stale.delete(raw.id);
        this.#moved.delete(raw.id);
      } else if (isShown && known && !this.#own.has(raw.id) && differsInPlaceOnly(raw, known)) {
        this.#stale.delete(raw.id);
        this.#moved.add(raw.id);
      } else if (!this.#handleChanged(now, raw, held.has(raw.id))) {
        continue;
      }
      if (!this.#seen.has(raw.id)) inScene++;
      this.#seen.set(raw.id, { version: raw.version, versionNonce: raw.versionNonce });
    }
    this.#tellTaken(now);
    if (inScene < this.#seen.size) this.#showMissing(now, scene);
  }

  /** Merges what was kept from an earlier visit, like elements from a peer. */
  handleKept(now: number, elements: readonly unknown[]): void {
    for (const element of elements) this.#merge(now, undefined, element);
  }

  /** The peers that have joined until now were here before, so one of them has the board. */
  handleStart(): void {
    this.#loaded = this.#peers.size === 0;
  }

  handlePeerJoined(now: number, peer: string): void {
    this.#peer(now, peer);
  }

  /** The peer can be reached directly, for the first time or again. */
  handlePeerConnected(now: number, peer: string): void {
    this.#peer(now, peer).connected = true;
    this.#scheduleSettling(now);
    this.#scheduleLoad(now);
  }

  /** A peer that got no live changes because too many messages waited for it can get them again. */
  handleCaughtUp(now: number): void {
    this.#scheduleSettling(now);
  }

  handlePeerDisconnected(now: number, peer: string): void {
    const state = this.#peers.get(peer);
    if (state) state.connected = false;
    if (this.#loading?.from === peer) this.#loadFromNext(now);
  }

  handlePeerLeft(now: number, peer: string): void {
    this.#peers.delete(peer);
    if (this.#loading?.from === peer) this.#loadFromNext(now);
  }

  /**
   * Whether the server waits for the peer's return. A peer that is away is not asked for the board; another one is
   * asked at once.
   */
  handlePeerAway(now: number, peer: string, isAway: boolean): void {
    const state = this.#peers.get(peer);
    if (state) state.away = isAway;
    if (isAway && this.#loading?.from === peer) this.#loadFromNext(now);
  }

  /**
   * Handles any message of the room, and ignores those that are not for the board. Never throws. Returns false if other
   * parts must ignore the message too, because its sender sends too much.
   */
  handleMessage(now: number, peer: string, data: unknown): boolean {
    if (!isBoardMessage(data)) return true;
    const state = this.#peer(now, peer);
    const weight = weighMessage(data, MAX_MESSAGE_WEIGHT);
    const verdict = state.receive(now, Math.min(weight, MAX_MESSAGE_WEIGHT));
    if (verdict === "flooding") this.#problem(now, peer, "sends more than a board can take");
    if (verdict !== "fine") return false;
    const message = weight > MAX_MESSAGE_WEIGHT ? { refused: "over 2 MB" } : readMessage(data);
    if (!message) return true;
    if ("refused" in message) {
      this.#problem(now, peer, `sent a message that is refused: ${message.refused}`);
      return false;
    }
    switch (message.kind) {
      case "board/update":
        for (const element of message.elements) this.#merge(now, peer, element);
        if (this.#loading?.from === peer) this.#loading.until = now + this.#timing.load;
        break;
      case "board/state":
        this.#answerState(now, peer, message);
        break;
      case "board/compare":
        this.#answerCompare(now, peer, message);
        break;
      case "board/want":
        this.#answerWant(now, peer, message.ids);
        break;
      case "board/end":
        if (this.#loading?.from !== peer) break;
        if (!message.more || this.#loading.hasPart) this.#finishLoading(now);
        else this.#loading = { from: peer, until: now + this.#timing.load, hasPart: true };
        break;
    }
    return true;
  }

  handleTimer(now: number): void {
    if (this.#loading && now >= this.#loading.until) this.#loadFromNext(now);
    else if (!this.#loading) this.#scheduleLoad(now);
    if (now >= this.#sendAt) this.#sendChanges(now);
    if (now >= this.#showAt) this.#show(now);
    if (now >= this.#settleAt) {
      this.#settleAt = NEVER;
      // Only one peer at first; otherwise a peer that was away for long would get the same from everybody.
      const connected = [...this.#peers].filter(([, state]) => state.connected);
      const one = connected[Math.floor(this.#random() * connected.length)];
      if (one) {
        this.#send(one[0], stateOf(this.#store));
        this.#compareAt = Math.min(this.#compareAt, now + this.#timing.settle * (4 + this.#random()));
      }
    }
    if (now >= this.#compareAt) {
      this.#compareAt = now + this.#untilNextComparison();
      this.#adoptMoved();
      if (this.#peers.size > 0) this.#send(undefined, stateOf(this.#store));
    }
  }

  /** When `handleTimer` must be called. */
  pollTimeout(): number {
    const loadAt =
      this.#loading?.until ?? (this.#loaded || this.#peers.size === 0 ? NEVER : this.#preferConnectedUntil);
    return Math.min(this.#sendAt, this.#showAt, this.#settleAt, this.#compareAt, loadAt);
  }

  pollOutput(): Output | undefined {
    return this.#outputs.shift();
  }

  // The user's edits.

  /** Returns false if the element must be checked again. */
  #handleChanged(now: number, raw: BoardElement, isHeld: boolean): boolean {
    const withdrawal = this.#withdrawals.get(raw.id);
    if (raw.isDeleted && withdrawal?.isShown) {
      this.#stale.delete(raw.id);
      return true;
    }
    const usable = withUsableIds(raw, this.#elementIds, this.#groupIds);
    if (raw.isDeleted && !this.#store.get(usable.id)) return true;
    if (isHeld && waitsForFile(raw)) return false;
    this.#withdrawals.delete(raw.id);
    if (!this.#handleLocalEdit(now, raw, usable, isHeld)) return false;
    if (usable.id !== raw.id) this.#withdraw(now, raw);
    return true;
  }

  /** Returns false if the element must be checked again. */
  #handleLocalEdit(now: number, raw: BoardElement, usable: BoardElement, isHeld: boolean): boolean {
    const edit = adoptLocalEdit(usable, this.#store, this.#random, this.#successors);
    if ("refused" in edit) {
      if (isHeld) return false;
      const what = this.#store.get(usable.id) ? "A change was taken back" : "Something was taken off the board";
      this.#problem(now, undefined, `${what}: ${edit.refused}.`);
      this.#takeBack(now, raw);
      return true;
    }
    const differs = edit.differs || usable !== raw;
    for (const element of edit.elements) {
      const result = this.#store.merge(element);
      if (result === "full") {
        this.#problem(now, undefined, "The board is full: what was added is not on it.");
        this.#takeBack(now, raw);
      }
      if (result !== "taken") continue;
      this.#stale.delete(element.id);
      this.#moved.delete(element.id);
      this.#own.add(element.id);
      this.#unsent.add(element.id);
      this.#sendAt = Math.min(this.#sendAt, Math.max(now, this.#maySendAt));
      if (differs) this.#markStale(now, element.id);
    }
    for (const name of edit.taken) this.#taken.add(name);
    // Nothing is sent for an id that had ended before, but the scene shows it.
    if (differs) this.#markStale(now, raw.id);
    this.#prune();
    return true;
  }

  /** Restores in the scene what the board has. */
  #takeBack(now: number, raw: BoardElement): void {
    if (this.#store.get(raw.id)) this.#markStale(now, raw.id);
    else this.#withdraw(now, raw);
  }

  #withdraw(now: number, raw: BoardElement): void {
    this.#withdrawals.set(raw.id, { raw, isShown: false });
    this.#markStale(now, raw.id);
  }

  #tellTaken(now: number): void {
    if (this.#taken.size === 0) return;
    const names = [...this.#taken].sort().join(", ");
    this.#taken.clear();
    this.#problem(now, undefined, `Changed, so that everybody sees the same: ${names}.`);
  }

  /** For example, opening a file must not remove what others have drawn. */
  #showMissing(now: number, scene: readonly unknown[]): void {
    const present = new Set(scene.map((raw) => (hasVersion(raw) ? raw.id : undefined)));
    for (const id of this.#seen.keys()) {
      if (present.has(id)) continue;
      this.#seen.delete(id);
      if (this.#store.get(id)?.isDeleted === false) this.#markStale(now, id);
    }
  }

  #sendChanges(now: number): void {
    this.#sendAt = NEVER;
    const changed = [...this.#unsent].map((id) => this.#store.get(id)).filter((element) => element !== undefined);
    this.#unsent.clear();
    if (this.#peers.size === 0 || changed.length === 0) return;
    const weight = this.#sendElements(undefined, changed);
    this.#maySendAt = now + Math.max(this.#timing.send, (weight * 1000) / LIVE_WEIGHT_PER_SECOND);
  }

  // Merges an element that comes from others.

  #merge(now: number, peer: string | undefined, value: unknown): void {
    const sanitized = sanitizeElement(value);
    if ("refused" in sanitized) {
      this.#problem(now, peer, `sent an element that is refused: ${sanitized.refused}`);
      return;
    }
    const { element } = sanitized;
    const result = this.#store.merge(element);
    if (result === "full") this.#problem(now, peer, "sends more than the board can hold");
    if (result !== "taken") return;
    this.#own.delete(element.id);
    this.#moved.delete(element.id);
    this.#markStale(now, element.id);
    if (element.isDeleted) this.#prune();
  }

  #markStale(now: number, id: string): void {
    this.#stale.add(id);
    // The larger the board, the longer it takes to show it.
    this.#showAt = Math.min(this.#showAt, now + this.#timing.show + this.#store.size / 100);
  }

  #show(now: number): void {
    const elements: BoardElement[] = [];
    for (const id of this.#stale) {
      const element = this.#store.get(id);
      const withdrawal = this.#withdrawals.get(id);
      const seen = this.#seen.get(id);
      // This is another content with the version that the scene has, so the scene is checked again when it shows it.
      if (element && seen && sameVersion(element, seen)) this.#seen.set(id, LOOK_ANEW);
      if (element && (!element.isDeleted || seen)) elements.push(element);
      else if (!element && withdrawal) {
        withdrawal.isShown = true;
        elements.push(withdrawn(withdrawal.raw));
      } else this.#stale.delete(id);
    }
    // Elements that the user holds are not replaced; they are offered again until they can be.
    this.#showAt = elements.length > 0 ? now + this.#timing.show * 8 : NEVER;
    if (elements.length === 0) return;
    // So the order depends only on what was merged, not on when it came.
    for (const id of this.#moved) {
      const element = this.#store.get(id);
      if (element && !this.#stale.has(id)) elements.push(element);
    }
    this.#outputs.push({ type: "show", elements });
  }

  /**
   * The page that should have sent the new places has gone, so the next check of the scene treats them as edits of this
   * user.
   */
  #adoptMoved(): void {
    for (const id of this.#moved) this.#seen.set(id, LOOK_ANEW);
    this.#moved.clear();
  }

  #prune(): void {
    for (const id of this.#store.prune()) {
      this.#stale.delete(id);
      this.#unsent.delete(id);
      this.#own.delete(id);
      this.#moved.delete(id);
    }
  }

  // Comparing boards.

  #answerState(now: number, peer: string, message: Extract<BoardMessage, { kind: "board/state" }>): void {
    const state = this.#peers.get(peer);
    if (this.#loading || !state) return;
    const found = differingBuckets(this.#store, state, message);
    if (found.buckets.length === 0 || !state.mayAnswer(now, 20_000 + this.#store.size * 60)) return;
    for (const compare of comparisons(this.#store, found)) this.#send(peer, compare);
  }

  #answerCompare(now: number, peer: string, message: Extract<BoardMessage, { kind: "board/compare" }>): void {
    if (!this.#peers.get(peer)?.mayAnswer(now, 1_000 + this.#store.size * 20)) return;
    const { lacking, wanted } = differences(this.#store, message);
    this.#answerWith(now, peer, lacking);
    while (wanted.length > 0) this.#send(peer, { kind: "board/want", ids: wanted.splice(0, 4_000) });
  }

  #answerWant(now: number, peer: string, ids: readonly string[] | "all"): void {
    if (ids !== "all") {
      const elements = [...new Set(ids)].map((id) => this.#store.get(id)).filter((element) => element !== undefined);
      this.#answerWith(now, peer, elements);
      return;
    }
    const state = this.#peers.get(peer);
    if (!state || !this.#answerWith(now, peer, [...this.#store.all()])) return;
    // If two peers ask each other, both have everything that there is.
    state.awaitsRest = !this.#loaded && this.#loading?.from !== peer;
    this.#send(peer, state.awaitsRest ? { kind: "board/end", more: true } : { kind: "board/end" });
  }

  /** Returns false if this peer has asked for too much. */
  #answerWith(now: number, peer: string, elements: readonly BoardElement[]): boolean {
    const weight = 1_000 + elements.reduce((sum, element) => sum + weightOf(element), 0);
    // It must be possible to send the whole board once, however large it is.
    const charged = Math.min(weight, WHOLE_BOARD_CHARGE);
    if (!this.#peers.get(peer)?.mayAnswer(now, charged)) return false;
    this.#sendElements(peer, elements);
    return true;
  }

  // Loading the whole board, for a peer that comes late.

  #scheduleLoad(now: number): void {
    if (this.#loaded || this.#loading || this.#peers.size === 0) return;
    const connected = [...this.#peers.values()].some((state) => state.connected);
    if (connected || now >= this.#preferConnectedUntil) this.#loadFromNext(now);
  }

  #loadFromNext(now: number): void {
    this.#loading = undefined;
    const candidates = [...this.#peers].filter(([, state]) => !state.asked && (state.connected || !state.away));
    const next = candidates.find(([, state]) => state.connected) ?? candidates[0];
    if (!next) {
      this.#finishLoading(now);
      return;
    }
    const [peer, state] = next;
    state.asked = true;
    state.expect(now, MAX_BOARD_WEIGHT);
    this.#loading = { from: peer, until: now + this.#timing.load };
    this.#send(peer, { kind: "board/want", ids: "all" });
  }

  #finishLoading(now: number): void {
    this.#loading = undefined;
    this.#loaded = true;
    this.#compareAt = Math.min(this.#compareAt, now + this.#timing.settle);
    for (const [peer, state] of this.#peers) if (state.awaitsRest) this.#answerWant(now, peer, "all");
  }

  // Helpers.

  /** Sends elements in pieces, and returns their weight. */
  #sendElements(to: string | undefined, elements: readonly BoardElement[]): number {
    let total = 0;
    let piece: BoardElement[] = [];
    let weight = 0;
    for (const element of elements) {
      const more = weightOf(element);
      if (piece.length > 0 && weight + more > PIECE_WEIGHT) {
        this.#send(to, { kind: "board/update", elements: piece });
        piece = [];
        weight = 0;
      }
      piece.push(element);
      weight += more;
      total += more;
    }
    if (piece.length > 0) this.#send(to, { kind: "board/update", elements: piece });
    return total;
  }

  #send(to: string | undefined, message: BoardMessage): void {
    this.#outputs.push({ type: "send", to, message });
  }

  #problem(now: number, peer: string | undefined, reason: string): void {
    const state = peer === undefined ? this.#toldUser : this.#peers.get(peer);
    if (state?.tell(now, reason)) this.#outputs.push({ type: "problem", peer, reason });
  }

  #peer(now: number, peer: string): PeerState {
    let state = this.#peers.get(peer);
    if (!state) {
      state = new PeerState(now);
      this.#peers.set(peer, state);
    }
    return state;
  }

  #scheduleSettling(now: number): void {
    this.#settleAt = Math.min(this.#settleAt, now + this.#timing.settle * (0.5 + this.#random()));
  }

  #untilNextComparison(): number {
    return this.#timing.compare * (0.8 + 0.4 * this.#random());
  }
}

/** A peer can get the whole board once, and again only after a while. */
const WHOLE_BOARD_CHARGE = 8 * 1024 * 1024;
