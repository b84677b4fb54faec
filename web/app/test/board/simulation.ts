// Boards, each with a scene that is kept by Excalidraw's own rule, joined by a bad network, in virtual time. Everything
// random comes from one seed.

import "./browser_globals";
import { reconcileElements } from "@excalidraw/excalidraw";
import type { BoardElement } from "../../src/board/element";
import type { Timing } from "../../src/board/limits";
import { BoardSync } from "../../src/board/sync";

export type Random = () => number;

/** The same numbers for the same seed (mulberry32). */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export const FAST: Timing = { send: 40, show: 33, compare: 500, settle: 60, load: 400 };
const STEP = 10;

type Reconcile = (
  local: readonly BoardElement[],
  remote: readonly BoardElement[],
  state: { editingTextElement: { id: string } | null },
) => BoardElement[];
// Excalidraw's types name every kind of element; the rule needs only what BoardElement has.
export const reconcile = reconcileElements as unknown as Reconcile;

export function rectangle(id: string, fields: Partial<Record<string, unknown>> = {}): BoardElement {
  return {
    id,
    type: "rectangle",
    x: 0,
    y: 0,
    width: 10,
    height: 10,
    angle: 0,
    strokeColor: "#1e1e1e",
    backgroundColor: "transparent",
    fillStyle: "solid",
    strokeWidth: 2,
    strokeStyle: "solid",
    roundness: null,
    roughness: 1,
    opacity: 100,
    seed: 1,
    version: 1,
    versionNonce: 1,
    index: "a0",
    isDeleted: false,
    groupIds: [],
    frameId: null,
    boundElements: null,
    updated: 1,
    link: null,
    locked: false,
    ...fields,
  };
}

export class Board {
  readonly sync: BoardSync;
  readonly clockOffset: number;
  scene: BoardElement[] = [];
  held: string | undefined;
  readonly problems: { peer: string | undefined; reason: string }[] = [];
  #ids = 0;

  constructor(
    readonly id: string,
    readonly world: World,
    clockOffset: number,
  ) {
    this.clockOffset = Math.round(clockOffset);
    this.sync = new BoardSync(this.now, world.random, FAST);
  }

  get now(): number {
    return this.world.time + this.clockOffset;
  }

  get living(): BoardElement[] {
    return this.scene.filter((element) => !element.isDeleted);
  }

  add(fields: Partial<Record<string, unknown>> = {}): BoardElement {
    const last = this.living.at(-1)?.index;
    const index = last === undefined ? "a0" : `${last}V`;
    const id = `${this.id}-${this.world.time}-${++this.#ids}`;
    const element = rectangle(id, { index, updated: this.now, versionNonce: this.#nonce(), ...fields });
    this.scene = reconcile([...this.scene, element], [], { editingTextElement: null });
    this.#changed();
    return element;
  }

  /** Changes an element in place, as Excalidraw does. */
  change(id: string, fields: Partial<Record<string, unknown>>): void {
    const element = this.scene.find((candidate) => candidate.id === id);
    if (!element) throw new Error(`no element ${id}`);
    Object.assign(element, fields, {
      version: element.version + 1,
      versionNonce: this.#nonce(),
      updated: this.now,
    });
    if ("index" in fields) this.scene = reconcile(this.scene, [], { editingTextElement: null });
    this.#changed();
  }

  /** All others vanish from the scene, as when a file is opened. */
  open(elements: BoardElement[]): void {
    this.scene = reconcile(elements, [], { editingTextElement: null });
    this.#changed();
  }

  tick(): void {
    if (this.now >= this.sync.pollTimeout()) {
      this.#changed();
      this.sync.handleTimer(this.now);
    }
    this.perform();
  }

  perform(): void {
    for (let output = this.sync.pollOutput(); output; output = this.sync.pollOutput()) {
      if (output.type === "send") this.world.send(this, output.to, output.message);
      else if (output.type === "problem") this.problems.push({ peer: output.peer, reason: output.reason });
      else this.#show(output.elements);
    }
  }

  #show(elements: readonly BoardElement[]): void {
    const replaced = new Set(elements.map(({ id }) => id));
    const local = this.scene.filter(({ id }) => id === this.held || !replaced.has(id));
    const editingTextElement = this.held === undefined ? null : { id: this.held };
    this.scene = reconcile(
      local,
      elements.map((element) => ({ ...element })),
      { editingTextElement },
    );
    this.#changed(true);
  }

  #changed(isShown = false): void {
    const held = new Set(this.held === undefined ? [] : [this.held]);
    this.sync.handleLocalChange(this.now, this.scene, held, isShown);
  }

  #nonce(): number {
    return Math.floor(this.world.random() * 2 ** 31);
  }
}

export class World {
  time = 1_000_000;
  loss = 0;
  duplication = 0;
  maxDelay = 0;
  readonly boards = new Map<string, Board>();
  readonly #cut = new Set<string>();
  #inFlight: { at: number; from: string; to: string; json: string }[] = [];

  constructor(readonly random: Random) {}

  pick<T>(list: readonly T[]): T | undefined {
    return list[Math.floor(this.random() * list.length)];
  }

  join(id: string, clockOffset = 0): Board {
    const board = new Board(id, this, clockOffset);
    for (const other of this.boards.values()) {
      other.sync.handlePeerJoined(other.now, id);
      board.sync.handlePeerJoined(board.now, other.id);
    }
    board.sync.handleStart();
    this.boards.set(id, board);
    this.#connect(id);
    return board;
  }

  leave(id: string): void {
    this.boards.delete(id);
    this.#cut.delete(id);
    for (const other of this.boards.values()) other.sync.handlePeerLeft(other.now, id);
  }

  cut(id: string): void {
    this.#cut.add(id);
    const board = this.boards.get(id);
    for (const other of this.boards.values()) {
      if (other.id === id) continue;
      other.sync.handlePeerDisconnected(other.now, id);
      board?.sync.handlePeerDisconnected(board.now, other.id);
    }
  }

  mend(id: string): void {
    if (this.#cut.delete(id)) this.#connect(id);
  }

  isCut(id: string): boolean {
    return this.#cut.has(id);
  }

  send(from: Board, to: string | undefined, message: unknown): void {
    const json = JSON.stringify(message);
    const receivers = to === undefined ? [...this.boards.keys()] : [to];
    for (const receiver of receivers) {
      if (receiver === from.id) continue;
      const copies = this.random() < this.loss ? 0 : this.random() < this.duplication ? 2 : 1;
      for (let i = 0; i < copies; i++) {
        const at = this.time + STEP + this.random() * this.maxDelay;
        this.#inFlight.push({ at, from: from.id, to: receiver, json });
      }
    }
  }

  run(duration: number): void {
    const end = this.time + duration;
    while (this.time < end) {
      this.time += STEP;
      const due = this.#inFlight.filter(({ at }) => at <= this.time).sort((a, b) => a.at - b.at);
      this.#inFlight = this.#inFlight.filter(({ at }) => at > this.time);
      for (const { from, to, json } of due) {
        const board = this.boards.get(to);
        if (!board || !this.boards.has(from) || this.#cut.has(from) || this.#cut.has(to)) continue;
        board.sync.handleMessage(board.now, from, JSON.parse(json));
        board.perform();
      }
      for (const board of this.boards.values()) board.tick();
    }
  }

  #connect(id: string): void {
    const board = this.boards.get(id);
    for (const other of this.boards.values()) {
      if (other.id === id || this.#cut.has(other.id)) continue;
      other.sync.handlePeerConnected(other.now, id);
      board?.sync.handlePeerConnected(board.now, other.id);
    }
  }
}
