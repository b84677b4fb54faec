// The board's merging is Excalidraw's.
import { expect, test } from "vitest";
import { type BoardElement, compareOrder } from "../../src/board/element";
import { ElementStore } from "../../src/board/element_store";
import { BoardSync } from "../../src/board/sync";
import { reconcile, rectangle, seeded } from "./simulation";

test("the store keeps what Excalidraw's own rule keeps, in its order", () => {
  const random = seeded(3);
  const below = (limit: number) => Math.floor(random() * limit);
  for (let round = 0; round < 300; round++) {
    // Every version has its own index, so that Excalidraw finds none to put right.
    const index = () => `a${below(9)}${below(1e9)}V`;
    const versions: BoardElement[] = Array.from({ length: 30 }, () =>
      rectangle(`e${below(8)}`, {
        version: 1 + below(4),
        versionNonce: below(1e6),
        index: index(),
        isDeleted: below(4) === 0,
      }),
    );
    const store = new ElementStore();
    let scene: BoardElement[] = [];
    for (const version of versions) {
      store.merge(version);
      scene = reconcile(scene, [{ ...version }], { editingTextElement: null });
    }
    expect([...store.all()].sort(compareOrder)).toEqual(scene);
  }
});

test("the digest is the same whatever the order of arrival", () => {
  const elements = [1, 2, 3].flatMap((version) =>
    ["a", "b", "c"].map((id) => rectangle(id, { version, isDeleted: id === "c" && version === 3 })),
  );
  const [forwards, backwards] = [new ElementStore(), new ElementStore()];
  for (const element of elements) forwards.merge(element);
  for (const element of [...elements].reverse()) backwards.merge(element);
  expect(forwards.digests()).toEqual(backwards.digests());
  expect(forwards.living).toBe(2);
  backwards.merge(rectangle("a", { version: 4 }));
  expect(forwards.digests()).not.toEqual(backwards.digests());
});

test("who gives another's element an index of its own does not overtake what that other does to it", () => {
  const sync = new BoardSync(0, seeded(1));
  const sent = () => {
    const ids: string[] = [];
    for (let output = sync.pollOutput(); output; output = sync.pollOutput()) {
      if (output.type === "send" && output.message.kind === "board/update") {
        ids.push(...output.message.elements.map(({ id }) => id));
      }
    }
    return ids;
  };
  const update = (...elements: BoardElement[]) => sync.handleMessage(0, "ada", { kind: "board/update", elements });
  sync.handlePeerJoined(0, "ada");
  const mine = rectangle("mine");
  sync.handleLocalChange(0, [mine]);
  sync.handleTimer(100);
  expect(sent()).toEqual(["mine"]);
  update(rectangle("hers"));
  sync.handleTimer(200);

  // What Excalidraw makes of two elements at one place, on this page and on hers.
  const moved = { version: 2, index: "a1" };
  sync.handleLocalChange(200, [mine, rectangle("hers", { ...moved, versionNonce: 1 })], undefined, true);
  sync.handleTimer(300);
  expect(sent()).toEqual([]);
  update(rectangle("hers", { ...moved, versionNonce: 9, isDeleted: true }));
  expect(sync.elements()).toEqual([mine]);

  // An element of this page is put right by this page.
  const put = { ...mine, ...moved };
  sync.handleLocalChange(400, [put], undefined, true);
  sync.handleTimer(500);
  expect(sent()).toEqual(["mine"]);
});
