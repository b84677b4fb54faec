// Boards become equal, whatever the network and the people do. `BOARD_SEED=n` runs one seed, `BOARD_RUNS=n` more of them.
import { expect, test } from "vitest";
import { type Board, type Random, seeded, World } from "./simulation";

const TEN_MINUTES = 600_000;

/** Boards differed once: a page opened a file between giving up another's place for an element and looking at its scene. */
const FOUND_SEEDS = [1088884218, 2345856547];

declare const process: { env: Record<string, string | undefined> };

function assertEqual(world: World): void {
  const [first, ...others] = [...world.boards.values()];
  if (!first) return;
  for (const board of others) expect(board.living, `${board.id} against ${first.id}`).toEqual(first.living);
  for (const board of world.boards.values()) {
    expect(board.sync.elements(), `what ${board.id} merged against what it shows`).toEqual(board.living);
    expect(board.problems, `problems of ${board.id}`).toEqual([]);
  }
}

function act(world: World, board: Board, random: Random): void {
  const element = world.pick(board.living);
  const roll = random();
  if (!element || roll < 0.25) board.add({ x: Math.floor(random() * 500) });
  else if (roll < 0.6) board.change(element.id, { x: Math.floor(random() * 500) });
  else if (roll < 0.7) board.change(element.id, { isDeleted: true });
  else if (roll < 0.76) {
    const deleted = world.pick(board.scene.filter(({ isDeleted }) => isDeleted));
    if (deleted) board.change(deleted.id, { isDeleted: false });
  } else if (roll < 0.86) {
    const neighbour = world.pick(board.living);
    // Often the very index of another, as when two people put something in the same place at once.
    if (neighbour) board.change(element.id, { index: random() < 0.5 ? neighbour.index : `${neighbour.index}V` });
  } else if (roll < 0.92) board.held = element.id;
  else if (roll < 0.97) board.held = undefined;
  else board.open(board.living.slice(0, 3));
}

function disturb(world: World, random: Random, names: string[]): void {
  const board = world.pick([...world.boards.values()]);
  if (!board) return;
  const roll = random();
  const name = names[0];
  if (roll < 0.3 && name !== undefined) {
    names.shift();
    world.join(name, (random() - 0.5) * 2 * TEN_MINUTES);
  } else if (roll < 0.55) world.cut(board.id);
  else if (roll < 0.85) {
    const cut = [...world.boards.keys()].filter((id) => world.isCut(id));
    const mended = world.pick(cut);
    if (mended !== undefined) world.mend(mended);
  } else if (world.boards.size > 2) {
    // Reloads the page, with what it had kept.
    const kept = board.sync.snapshot();
    const wasCut = world.isCut(board.id);
    world.leave(board.id);
    const again = world.join(board.id, board.clockOffset);
    again.sync.handleKept(again.now, JSON.parse(JSON.stringify(kept)));
    if (wasCut) world.cut(board.id);
  }
}

function runOnce(seed: number): void {
  const random = seeded(seed);
  const world = new World(random);
  world.loss = random() < 0.3 ? 0 : random() * 0.4;
  world.duplication = random() * 0.3;
  world.maxDelay = random() * 400;
  const names = ["a", "b", "c", "d", "e"].slice(0, 2 + Math.floor(random() * 4));
  for (const name of names.splice(0, 2)) world.join(name, (random() - 0.5) * 2 * TEN_MINUTES);
  for (let i = 0; i < 150; i++) {
    const board = world.pick([...world.boards.values()]);
    if (board) act(world, board, random);
    if (random() < 0.06) disturb(world, random, names);
    if (random() < 0.6) world.run(Math.floor(random() * 80));
  }

  world.loss = 0;
  for (const board of world.boards.values()) board.held = undefined;
  for (const id of world.boards.keys()) world.mend(id);
  for (const name of names) world.join(name);
  world.run(8_000);
  assertEqual(world);
}

test("all boards become equal", { timeout: 300_000 }, () => {
  const given = process.env.BOARD_SEED;
  const runs = given === undefined ? Number(process.env.BOARD_RUNS ?? 60) : 1;
  for (let run = 0; run < runs; run++) {
    const seed = given === undefined ? (FOUND_SEEDS[run] ?? Math.floor(Math.random() * 2 ** 32)) : Number(given);
    try {
      runOnce(seed);
    } catch (error) {
      throw new Error(`failed with BOARD_SEED=${seed}`, { cause: error });
    }
  }
});
