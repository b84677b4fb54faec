// The user's own scene: it becomes what was sent, whatever was in it before, and so is the same as everybody else's.
import { expect, test } from "vitest";
import type { BoardElement } from "../../src/board/element";
import { linkOf } from "../../src/board/read_fields";
import { type Board, reconcile, rectangle, seeded, World } from "./simulation";

function three(seed: number) {
  const world = new World(seeded(seed));
  const boards = ["alice", "bob", "carol"].map((id) => world.join(id));
  const [alice, bob, carol] = boards as [Board, Board, Board];
  return { world, boards, alice, bob, carol };
}

/** Puts elements into a scene without asking the board, as a paste or an undo of Excalidraw could. */
function put(board: Board, elements: readonly BoardElement[]): void {
  board.open(reconcile([...board.scene, ...elements], [], { editingTextElement: null }));
}

function one<T>(list: readonly T[]): T {
  expect(list).toHaveLength(1);
  return list[0] as T;
}

const arrow = (id: string, from: string, to: string, fields = {}) =>
  rectangle(id, {
    type: "arrow",
    points: [
      [0, 0],
      [9, 0],
    ],
    lastCommittedPoint: null,
    startBinding: { elementId: from, focus: 0, gap: 1 },
    endBinding: { elementId: to, focus: 0, gap: 1 },
    startArrowhead: null,
    endArrowhead: "arrow",
    elbowed: false,
    ...fields,
  });

const label = (id: string, containerId: string | null, fields = {}) =>
  rectangle(id, {
    type: "text",
    text: id,
    originalText: "hello",
    fontSize: 20,
    fontFamily: 5,
    textAlign: "center",
    verticalAlign: "middle",
    containerId,
    autoResize: true,
    lineHeight: 1.25,
    ...fields,
  });

/** Two boxes, one with a label, and an arrow from one to the other; in a frame and a group. */
function drawing(name: (part: string) => string): BoardElement[] {
  const [box, other, text, edge, frame, group] = ["box", "other", "text", "edge", "frame", "group"].map(name) as [
    string,
    string,
    string,
    string,
    string,
    string,
  ];
  const bound = { boundElements: [{ id: edge, type: "arrow" }], groupIds: [group], frameId: frame };
  return [
    rectangle(box, { ...bound, boundElements: [...bound.boundElements, { id: text, type: "text" }], index: "a1" }),
    rectangle(other, { ...bound, index: "a2", x: 300 }),
    label(text, box, { index: "a3", groupIds: [group], frameId: frame }),
    arrow(edge, box, other, { index: "a4" }),
    rectangle(frame, { type: "frame", name: null, index: "a5" }),
  ];
}

function assertIntact(elements: readonly BoardElement[]): void {
  expect(elements).toHaveLength(5);
  const of = (type: string) => elements.filter((element) => element.type === type);
  const [text, edge, frame] = [one(of("text")), one(of("arrow")), one(of("frame"))];
  const [box, other] = of("rectangle").sort((a, b) => Number(a.x) - Number(b.x)) as [BoardElement, BoardElement];
  expect(text.containerId).toBe(box.id);
  expect(edge).toMatchObject({ startBinding: { elementId: box.id }, endBinding: { elementId: other.id } });
  expect(box.boundElements).toEqual([
    { id: edge.id, type: "arrow" },
    { id: text.id, type: "text" },
  ]);
  expect(other.boundElements).toEqual([{ id: edge.id, type: "arrow" }]);
  const groups = [box, other, text].map(({ groupIds }) => groupIds);
  expect(new Set(groups.map((ids) => JSON.stringify(ids))).size).toBe(1);
  expect(groups[0]).toHaveLength(1);
  for (const { frameId } of [box, other, text]) expect(frameId).toBe(frame.id);
  for (const { id } of elements) expect(id).toMatch(/^[\w-]{1,64}$/);
}

const ODD_IDS: [string, (part: string) => string][] = [
  ["with colons and arrows", (part) => `${part}:1->2`],
  ["with spaces", (part) => `my ${part}`],
  ["too long", (part) => "x".repeat(65) + part],
  ["the same in their first 64 letters", (part) => `${"y".repeat(100)}${part}${"y".repeat(100)}`],
  ["in Chinese", (part) => `元素${part}`],
  ["of letters outside of the plane", (part) => `𝒳${part}`],
  ["of half a character", (part) => `\ud800${part}`],
  [
    "that every object has",
    (part) => ({ box: "__proto__", other: "constructor", text: "toString" })[part] ?? `${part}.`,
  ],
  ["with quotes and backslashes", (part) => `"${part}\\"`],
  ["with invisible characters", (part) => `${part}\u200b\n`],
  ["like regular expressions", (part) => `$&${part}.*`],
  ["empty", (part) => (part === "box" ? "" : `${part}/`)],
];

test.each(ODD_IDS)("ids %s: one new id for each, on three boards that all move it", (_, name) => {
  const { world, boards, alice } = three(11);
  put(alice, drawing(name));
  world.run(1_500);
  const before = alice.living.map(({ id }) => id);
  for (const board of boards) assertIntact(board.living);
  for (const [i, board] of boards.entries()) {
    for (const { id } of board.living) board.change(id, { y: i + 1 });
    world.run(1_000);
  }
  for (const board of boards) {
    assertIntact(board.living);
    expect(board.living).toEqual(alice.living);
    expect(board.problems).toEqual([]);
  }
  expect(alice.living.map(({ id }) => id)).toEqual(before);
  // Who comes late, and who keeps the board over a reload.
  const late = world.join("dave");
  const kept = new World(seeded(12)).join("alice");
  kept.sync.handleKept(kept.now, JSON.parse(JSON.stringify(alice.sync.snapshot())));
  world.run(1_500);
  kept.world.run(500);
  expect(late.living).toEqual(alice.living);
  expect(kept.living).toEqual(alice.living);
});

test("three boards at once, each with odd ids of its own, and all of it moved by all", () => {
  const { world, boards } = three(13);
  world.maxDelay = 60;
  for (const [i, board] of boards.entries()) {
    put(
      board,
      drawing((part) => `${i}/${part}`).map((element) => ({ ...element, y: i })),
    );
  }
  world.run(2_000);
  for (const board of boards) {
    for (const { id } of board.living) board.change(id, { x: world.random() });
    world.run(50);
  }
  world.run(3_000);
  for (const board of boards) {
    expect(board.living).toHaveLength(15);
    expect(board.living).toEqual(boards[0]?.living);
  }
});

test("what is dragged, edited or deleted under its odd id before it has another one is the same element", () => {
  const { world, alice, bob } = three(14);
  put(alice, [rectangle("a:b", { x: 1 }), rectangle("c:d", { x: 2, index: "a1" })]);
  for (const x of [3, 4, 5]) alice.change("a:b", { x });
  alice.change("c:d", { isDeleted: true });
  world.run(1_000);
  expect(alice.living).toMatchObject([{ x: 5 }]);
  expect(bob.living).toEqual(alice.living);
});

test("what is held under its odd id is replaced when it is let go of, and brought back it is still one", () => {
  const { world, alice, bob } = three(15);
  alice.held = "a:b";
  put(alice, [rectangle("a:b", { x: 1 })]);
  world.run(1_000);
  expect(bob.living).toHaveLength(1);
  alice.change("a:b", { x: 2 });
  alice.held = undefined;
  world.run(1_000);
  expect(alice.living).toMatchObject([{ x: 2 }]);
  expect(bob.living).toEqual(alice.living);
  // By an undo, say.
  alice.change("a:b", { isDeleted: false, x: 3 });
  world.run(1_000);
  expect(alice.living).toMatchObject([{ x: 3 }]);
  expect(bob.living).toEqual(alice.living);
});

test("an element of an odd id that nobody takes is withdrawn, not doubled", () => {
  const { world, alice, bob } = three(16);
  put(alice, [rectangle("a:b", { type: "embeddable" }), rectangle("fine", { index: "a1" })]);
  world.run(1_000);
  expect(alice.living.map(({ id }) => id)).toEqual(["fine"]);
  expect(bob.living).toEqual(alice.living);
});

test("an image whose file has an odd id waits, while it is held, until the file has a better one", () => {
  const { world, alice, bob } = three(17);
  alice.held = "image";
  put(alice, [rectangle("image", { type: "image", fileId: "file:1", status: "saved", scale: [1, 1], crop: null })]);
  world.run(1_000);
  expect([alice.living.length, bob.living.length]).toEqual([1, 0]);
  alice.held = undefined;
  alice.change("image", { fileId: "f".repeat(64) });
  world.run(1_000);
  expect(bob.living).toMatchObject([{ fileId: "f".repeat(64) }]);
  expect(alice.living).toEqual(bob.living);
});

test.each([
  ["a link that is none", { link: "javascript:alert(1)" }, { link: null }, "link"],
  ["a link of another kind", { link: "ftp://example.org" }, { link: null }, "link"],
  ["a color that is none", { strokeColor: "var(--x)" }, { strokeColor: "#1e1e1e" }, "color"],
  ["a new kind of color", { backgroundColor: "oklch(0.7 0.1 200)" }, { backgroundColor: "transparent" }, "color"],
  ["widths and opacity", { strokeWidth: 500, opacity: 150 }, { strokeWidth: 200, opacity: 100 }, "line width, opacity"],
  ["an angle without end", { angle: 1e9 }, { angle: 100 }, "angle"],
  ["a fill that nobody knows", { fillStyle: "dots" }, { fillStyle: "solid" }, "fill"],
])("%s: the author's board becomes what was sent, and says what was taken", (_, fields, after, names) => {
  const { world, boards, alice } = three(18);
  put(alice, [rectangle("e", { version: 3, versionNonce: 77, ...fields })]);
  world.run(1_000);
  for (const board of boards) expect(board.living).toMatchObject([after]);
  for (const board of boards) expect(board.living).toEqual(alice.living);
  expect(alice.problems).toEqual([{ peer: undefined, reason: `Changed, so that everybody sees the same: ${names}.` }]);
  alice.change("e", { x: 9 });
  world.run(1_000);
  for (const board of boards) expect(board.living).toMatchObject([{ x: 9, ...after }]);
  expect(alice.problems).toHaveLength(1);
});

test("a text that grows too long goes back to what all have, and one that comes too long is taken off: both are said", () => {
  const { world, boards, alice } = three(20);
  put(alice, [label("e", null, { text: "fits", originalText: "fits" })]);
  world.run(1_000);
  alice.change("e", { text: "x".repeat(50_001), originalText: "x".repeat(50_001) });
  world.run(1_000);
  for (const board of boards) expect(board.living).toMatchObject([{ text: "fits", originalText: "fits" }]);
  put(alice, [label("f", null, { text: "x".repeat(50_001), originalText: "x".repeat(50_001) })]);
  world.run(1_000);
  for (const board of boards) expect(board.living).toMatchObject([{ id: "e" }]);
  expect(alice.problems.map(({ reason }) => reason)).toEqual([
    "A change was taken back: text too long.",
    "Something was taken off the board: text too long.",
  ]);
  put(alice, [label("g", null, { text: "x".repeat(50_000), originalText: "x".repeat(50_000) })]);
  world.run(3_000);
  for (const board of boards) expect(board.living.map(({ text }) => String(text).length).sort()).toEqual([4, 50_000]);
});

test("what nobody sees is taken from the author's board too, without a word", () => {
  const { world, alice, bob } = three(19);
  put(alice, [rectangle("e", { customData: { secret: 1 }, seed: -5 })]);
  world.run(1_000);
  expect(alice.living[0]).not.toHaveProperty("customData");
  expect(bob.living).toEqual(alice.living);
  expect(alice.problems).toEqual([]);
});

test.each([
  "https://en.wikipedia.org/wiki/Ohm's_law",
  "https://example.org/a b",
  "https://例え.jp/パス",
  "http://[::1]:3000/x",
  'https://example.org/?q="x"',
  "https://example.org/`code`?<b>#\\",
  "HTTPS://EXAMPLE.ORG",
  "mailto:ada@example.org",
])("a good link stays as it was written: %s", (link) => {
  const { world, alice, bob } = three(20);
  put(alice, [rectangle("e", { link })]);
  world.run(500);
  for (const board of [alice, bob]) expect(board.living).toMatchObject([{ link }]);
  expect(alice.problems).toEqual([]);
});

test.each([
  "javascript:alert(1)",
  "java\nscript:alert(1)",
  " javascript:alert(1)",
  "https:javascript",
  "https://",
  "http://[::1",
  "https://example.org/\u202egpj.exe",
  "https://a\nb.org",
  "data:text/html,<script>",
  "blob:https://example.org/1",
  `https://example.org/${"x".repeat(2048)}`,
  5,
  { toString: () => "https://example.org" },
])("a link that may harm is taken away: %s", (link) => {
  expect(linkOf(link)).toBe(null);
});

test("two contents under one version become one, the same on all boards, and are shown", () => {
  const { world, boards, alice, bob, carol } = three(21);
  alice.add({ id: "e", x: 1 });
  world.run(500);
  const [element] = alice.living;
  // As pages of other versions, which take away other things, can have it.
  for (const [i, board] of boards.entries()) {
    const link = `https://example.org/${i}`;
    const message = { kind: "board/update", elements: [{ ...element, version: 7, versionNonce: 7, link }] };
    board.sync.handleMessage(board.now, board === bob ? "carol" : "bob", message);
    board.perform();
  }
  const links = [alice, bob, carol].map(({ sync }) => sync.elements()[0]?.link);
  expect(new Set(links).size).toBe(3);
  world.run(5_000);
  for (const board of boards) expect(board.living).toMatchObject([{ link: "https://example.org/0", version: 7 }]);
  for (const board of boards) expect(board.sync.elements()).toEqual(alice.living);
});

test("a page that does not know of contents is not asked about them again and again", () => {
  const { world, alice } = three(22);
  alice.add({ id: "e" });
  world.run(500);
  const old = alice.sync;
  const sent = () => {
    const kinds: string[] = [];
    for (let output = old.pollOutput(); output; output = old.pollOutput()) {
      if (output.type === "send" && output.to === "bob") kinds.push(output.message.kind);
    }
    return kinds;
  };
  const state = { kind: "board/state", digests: digestsOf(alice) };
  // Without contents, as older pages say it, equal versions are equal boards.
  old.handleMessage(alice.now, "bob", state);
  expect(sent()).toEqual([]);
  const unlike = { ...state, contents: state.digests.map(() => 1) };
  old.handleMessage(alice.now, "bob", unlike);
  expect(sent()).toEqual(["board/compare"]);
  for (let i = 0; i < 5; i++) old.handleMessage(alice.now, "bob", unlike);
  expect(sent()).toEqual([]);
});

function digestsOf(board: Board): number[] {
  const digests: number[][] = [];
  board.sync.handlePeerConnected(board.now, "bob");
  for (let now = board.now; digests.length === 0; now += 100) {
    board.sync.handleTimer(now);
    for (let output = board.sync.pollOutput(); output; output = board.sync.pollOutput()) {
      if (output.type === "send" && output.message.kind === "board/state") digests.push([...output.message.digests]);
    }
  }
  return digests[0] ?? [];
}
