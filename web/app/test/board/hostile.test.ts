// What a hostile peer sends costs little, changes nothing for ever, and is known by its sender.
import { expect, test } from "vitest";
import { FINAL_VERSION, MAX_ELEMENTS, MESSAGES_BURST, MESSAGES_PER_SECOND } from "../../src/board/limits";
import { sanitizeElement } from "../../src/board/sanitize";
import { BoardSync, type Output } from "../../src/board/sync";
import { type Board, rectangle, seeded, World } from "./simulation";

function outputsOf(sync: BoardSync): Output[] {
  const outputs: Output[] = [];
  for (let output = sync.pollOutput(); output; output = sync.pollOutput()) outputs.push(output);
  return outputs;
}

function problemsOf(outputs: Output[]) {
  return outputs.flatMap((output) => (output.type === "problem" ? [`${output.peer}: ${output.reason}`] : []));
}

function receiving(...messages: unknown[]) {
  const sync = new BoardSync(0, seeded(1));
  sync.handlePeerJoined(0, "mallory");
  for (const message of messages) sync.handleMessage(0, "mallory", message);
  return { sync, problems: problemsOf(outputsOf(sync)) };
}

const update = (...elements: unknown[]) => ({ kind: "board/update", elements });
const points = (count: number) => Array.from({ length: count }, (_, i) => [i, i]);

test.each([
  ["a version beyond the last", { version: FINAL_VERSION + 1, isDeleted: true }, "version out of range"],
  ["the last version on something that lives", { version: FINAL_VERSION }, "version out of range"],
  ["2^31", { version: 2 ** 31 }, "version out of range"],
  ["a version that is no integer", { version: 1.5 }, "version out of range"],
  ["a negative version", { version: -1 }, "version out of range"],
  ["a version that is text", { version: "9" }, "version out of range"],
  ["a nonce that is none", { versionNonce: Number.NaN }, "versionNonce out of range"],
  ["NaN for a place", { x: Number.NaN }, "x out of range"],
  ["no place, as JSON has no NaN", { x: null }, "x out of range"],
  ["an endless width", { width: Number.POSITIVE_INFINITY }, "width out of range"],
  ["a place too far away", { y: 1e9 }, "y out of range"],
  ["an id that every object has", { id: "constructor" }, "an id that is none"],
  ["markup for an id", { id: "<img>" }, "an id that is none"],
  ["an index below which nothing fits", { index: `A${"0".repeat(26)}` }, "an index that is none"],
  ["an index with a zero at the end", { index: "a0V0" }, "an index that is none"],
  ["an index without its digits", { index: "d1" }, "an index that is none"],
  ["no index", { index: null }, "an index that is none"],
  ["another host's page", { type: "embeddable", link: "https://example.org" }, "type embeddable"],
  ["a page of its own", { type: "iframe", customData: { generationData: { html: "<script>" } } }, "type iframe"],
  ["a type nobody knows", { type: "x".repeat(1e5) }, `type ${"x".repeat(20)}`],
  ["no type", { type: undefined }, "no type"],
  ["too many points", { type: "freedraw", points: points(10_001) }, "too many points"],
  ["no points", { type: "line", points: [] }, "no points"],
  ["points that are none", { type: "line", points: [[0, 0], "x"] }, "a point that is none"],
  ["a text without end", { type: "text", text: "x".repeat(60_000) }, "text too long"],
  ["groups without end", { groupIds: points(100) }, "a list too long"],
  ["an image cut to nothing", { type: "image", crop: { x: 0, y: 0, width: 0, height: 1 } }, "width out of range"],
])("%s is refused and its sender named", (_, fields, reason) => {
  const { sync, problems } = receiving(update(rectangle("one", fields)));
  expect(problems).toEqual([`mallory: sent an element that is refused: ${reason}`]);
  expect(sync.elements()).toEqual([]);
});

test("what only looks odd is put right, by everybody alike", () => {
  const odd = rectangle("odd", {
    strokeColor: "url(https://example.org/x)",
    backgroundColor: { toString: "red" },
    link: "javascript:alert(1)",
    customData: { huge: "x" },
    opacity: 1e9,
    onclick: "alert(1)",
    width: 1e6,
    fillStyle: "hachure",
    strokeWidth: 0,
    boundElements: [{ id: "__proto__", type: "arrow" }, 7],
  });
  const sanitized = sanitizeElement(odd);
  if ("refused" in sanitized) throw new Error(sanitized.refused);
  expect(sanitized.element).toMatchObject({
    strokeColor: "#1e1e1e",
    backgroundColor: "transparent",
    link: null,
    opacity: 100,
    fillStyle: "solid",
    strokeWidth: 0.1,
    boundElements: [],
  });
  expect(Object.keys(sanitized.element)).not.toContain("customData");
  expect(Object.keys(sanitized.element)).not.toContain("onclick");
  expect(sanitizeElement(sanitized.element)).toEqual(sanitized);
});

test("text with markup stays text", () => {
  const text = "<img src=x onerror=alert(1)>";
  const { sync } = receiving(update(rectangle("t", { type: "text", text, originalText: text, fontFamily: "evil" })));
  expect(sync.elements()).toMatchObject([{ text, originalText: text, fontFamily: 5 }]);
});

test("an update of too many elements, or over 2 MB, is refused as a whole", () => {
  const many = Array.from({ length: MAX_ELEMENTS + 1 }, (_, i) => rectangle(`e${i}`));
  expect(receiving(update(...many)).sync.elements()).toEqual([]);
  const { sync, problems } = receiving({ ...update(rectangle("one")), filler: "x".repeat(2_200_000) });
  expect(sync.elements()).toEqual([]);
  expect(problems).toEqual(["mallory: sent a message that is refused: over 2 MB"]);
});

test("a board takes 20,000 elements, and no more", { timeout: 30_000 }, () => {
  const sync = new BoardSync(0, seeded(1));
  sync.handlePeerJoined(0, "mallory");
  for (let i = 0; i < 25_000; i += 500) {
    const elements = Array.from({ length: 500 }, (_, j) => rectangle(`e${i + j}`));
    sync.handleMessage(i * 10, "mallory", update(...elements));
  }
  expect(sync.elements().length).toBe(MAX_ELEMENTS);
  expect(problemsOf(outputsOf(sync))).toContain("mallory: sends more than the board can hold");
});

test("of 1000 messages a second few are looked at, and the sender is named once", () => {
  const sync = new BoardSync(0, seeded(1));
  sync.handlePeerJoined(0, "mallory");
  for (let i = 0; i < 5_000; i++) {
    sync.handleMessage(i, "mallory", update(rectangle("one", { version: i + 2, x: i })));
    sync.handleTimer(i);
  }
  const outputs = outputsOf(sync);
  const [element] = sync.elements();
  expect(element?.version).toBeGreaterThan(2);
  expect(problemsOf(outputs)).toEqual(["mallory: sends more than a board can take"]);
  expect(outputs.filter(({ type }) => type === "show").length).toBeLessThan(5_000 / 33 + 1);

  const taken = new BoardSync(0, seeded(1));
  taken.handlePeerJoined(0, "mallory");
  let looked = 0;
  for (let i = 0; i < 5_000; i++) if (taken.handleMessage(i, "mallory", update())) looked++;
  expect(looked).toBeLessThanOrEqual(MESSAGES_BURST + 5 * MESSAGES_PER_SECOND);
});

test("asking for the whole board again and again is answered now and then", () => {
  const sync = new BoardSync(0, seeded(1));
  sync.handlePeerJoined(0, "mallory");
  sync.handleLocalChange(0, [rectangle("t", { type: "text", text: "x".repeat(40_000) })]);
  for (let i = 0; i < 2_000; i++) sync.handleMessage(i, "mallory", { kind: "board/want", ids: "all" });
  const answers = outputsOf(sync).filter((output) => output.type === "send" && output.message.kind === "board/update");
  expect(answers.length).toBeGreaterThan(0);
  expect(answers.length).toBeLessThan(120);
});

/** An honest pair with an element each has, and a third who is hostile. */
function stage() {
  const world = new World(seeded(7));
  const [alice, bob] = [world.join("alice"), world.join("bob")];
  world.join("mallory");
  const { id } = alice.add({ groupIds: ["g"] });
  world.run(1_000);
  const attack = (board: Board, fields: Partial<Record<string, unknown>>) => {
    const current = board.living.find((element) => element.id === id) ?? rectangle(id);
    board.sync.handleMessage(board.now, "mallory", JSON.parse(JSON.stringify(update({ ...current, ...fields }))));
  };
  return { world, alice, bob, id, attack };
}

test.each([
  ["the highest version that is taken", { version: FINAL_VERSION - 1, versionNonce: 0, x: 666 }],
  ["one below", { version: FINAL_VERSION - 2, versionNonce: 0, x: 666 }],
  ["a large one", { version: 1_000_000, versionNonce: 0, x: 666 }],
])("an element with %s can still be changed by anybody", (_, fields) => {
  const { world, alice, bob, attack } = stage();
  for (const board of [alice, bob]) attack(board, fields);
  world.run(500);
  expect(bob.living).toMatchObject([{ x: 666 }]);

  for (const [board, x] of [
    [bob, 1],
    [alice, 2],
    [bob, 3],
  ] as const) {
    const [element] = board.living;
    board.change(element?.id ?? "", { x });
    world.run(1_500);
    for (const other of [alice, bob]) expect(other.living).toMatchObject([{ x, groupIds: ["g"] }]);
    expect(alice.living).toEqual(bob.living);
  }
  const [element] = bob.living;
  bob.change(element?.id ?? "", { isDeleted: true });
  world.run(1_500);
  expect([alice.living, bob.living]).toEqual([[], []]);
});

test("a drag that goes on under the old id makes no second copy", () => {
  const { world, alice, bob, id, attack } = stage();
  for (const board of [alice, bob]) attack(board, { version: FINAL_VERSION - 1, versionNonce: 0 });
  world.run(500);
  for (const x of [1, 2, 3]) alice.change(id, { x });
  world.run(1_500);
  expect(alice.living).toMatchObject([{ x: 3 }]);
  expect(bob.living).toEqual(alice.living);
});

test("what is deleted for good can be brought back by undoing", () => {
  const { world, alice, bob, id, attack } = stage();
  for (const board of [alice, bob]) attack(board, { version: FINAL_VERSION, versionNonce: 0, isDeleted: true });
  world.run(500);
  expect([alice.living, bob.living]).toEqual([[], []]);
  alice.change(id, { isDeleted: false, x: 5 });
  world.run(1_500);
  expect(alice.living).toMatchObject([{ x: 5 }]);
  expect(bob.living).toEqual(alice.living);
});

test("what speaks of an element goes along when its id is given up", () => {
  const world = new World(seeded(8));
  const [alice, bob] = [world.join("alice"), world.join("bob")];
  const box = alice.add({ boundElements: [{ id: "label", type: "text" }] });
  alice.add({ id: "label", type: "text", text: "hello", originalText: "hello", containerId: box.id });
  world.run(1_000);
  for (const board of [alice, bob]) {
    const poisoned = { ...box, version: FINAL_VERSION - 1, versionNonce: 0 };
    board.sync.handleMessage(board.now, "mallory", update(poisoned));
  }
  world.run(500);
  bob.change(box.id, { x: 9 });
  world.run(1_500);
  const moved = alice.living.find(({ type }) => type === "rectangle");
  expect(moved?.id).not.toBe(box.id);
  expect(alice.living.find(({ type }) => type === "text")).toMatchObject({ containerId: moved?.id });
  expect(bob.living).toEqual(alice.living);
});

test("the user's own stroke is made to fit", () => {
  const world = new World(seeded(9));
  const [alice, bob] = [world.join("alice"), world.join("bob")];
  alice.add({ type: "freedraw", points: points(25_000), pressures: [], simulatePressure: true });
  world.run(2_000);
  expect(bob.living).toEqual(alice.living);
  expect(bob.living[0]).toMatchObject({ type: "freedraw" });
  expect(alice.problems).toEqual([]);
});

test("the user's own that cannot be on a board is taken back, and said", () => {
  const world = new World(seeded(10));
  const [alice, bob] = [world.join("alice"), world.join("bob")];
  alice.add({ type: "embeddable", link: "https://example.org" });
  world.run(1_000);
  expect([alice.living, bob.living]).toEqual([[], []]);
  expect(alice.problems).toEqual([{ peer: undefined, reason: "Something was taken off the board: type embeddable." }]);
});

test("no message makes a board throw", () => {
  const seed = Math.floor(Math.random() * 2 ** 32);
  const random = seeded(seed);
  const pick = <T>(list: readonly T[]) => list[Math.floor(random() * list.length)];
  const odd = [undefined, null, 0, -1, 1e308, Number.NaN, "", "x", "__proto__", [], {}, [[]], true, [null], 2 ** 31];
  const kinds = ["update", "state", "compare", "want", "end", "pointer", "want-file", "no-file", "x"];
  const fieldNames = ["elements", "digests", "buckets", "stamps", "ids", "x", "id"];
  const value = (depth: number): unknown => {
    const roll = random();
    if (depth > 3 || roll < 0.4) return pick(odd);
    if (roll < 0.6) return Array.from({ length: Math.floor(random() * 5) }, () => value(depth + 1));
    const element = rectangle("e", { type: pick(["line", "arrow", "text", "image", "freedraw", "frame"]) });
    const target: Record<string, unknown> =
      roll < 0.9
        ? {
            ...element,
            points: [
              [0, 0],
              [1, 1],
            ],
          }
        : {};
    for (let i = 0; i < 3; i++) target[pick(Object.keys(element)) ?? "x"] = value(depth + 1);
    return target;
  };
  const sync = new BoardSync(0, random);
  try {
    for (let i = 0; i < 20_000; i++) {
      const message: Record<string, unknown> = { kind: `board/${pick(kinds)}` };
      for (let j = 0; j < 2; j++) message[pick(fieldNames) ?? "x"] = random() < 0.5 ? [value(0), value(0)] : value(0);
      sync.handleMessage(i * 20, `peer${i % 5}`, random() < 0.05 ? value(0) : message);
      sync.handleTimer(i * 20);
      outputsOf(sync);
    }
  } catch (error) {
    throw new Error(`failed with seed ${seed}`, { cause: error });
  }
});
