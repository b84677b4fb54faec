// The board's merging is Excalidraw's.
import { expect, test } from "vitest";
import { type BoardElement, compareOrder } from "../../src/board/element";
import { ElementStore } from "../../src/board/element_store";
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
  for (const element of elements.toReversed()) backwards.merge(element);
  expect(forwards.digests()).toEqual(backwards.digests());
  expect(forwards.living).toBe(2);
  backwards.merge(rectangle("a", { version: 4 }));
  expect(forwards.digests()).not.toEqual(backwards.digests());
});
