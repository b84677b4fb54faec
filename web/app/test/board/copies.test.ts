// A drawing from a file comes as copies that leave the originals alone and keep what belongs together.
import { expect, test } from "vitest";
import { type CopyOptions, copiesOf } from "../../src/board/copies";
import { rectangle, seeded } from "./simulation";

function copies(elements: readonly unknown[], options: Partial<CopyOptions> = {}) {
  return copiesOf(elements, { random: seeded(1), isKnown: () => false, files: new Map(), ...options });
}

const drawing = (box: unknown, text: unknown, group: unknown = "g") => [
  { ...rectangle(""), id: box, boundElements: [{ id: text, type: "text" }], groupIds: [group] },
  { ...rectangle(""), id: text, type: "text", containerId: box, groupIds: [group], frameId: "elsewhere" },
];

test("a drawing that the board does not know keeps its ids", () => {
  expect(copies(drawing("box", "text"))).toEqual(drawing("box", "text"));
});

test.each([
  ["one element is on the board, or was", drawing("box", "text"), { isKnown: (id: string) => id === "text" }],
  ["an id is none", drawing("a:b", "text"), {}],
  ["an id is empty", drawing("", "text"), {}],
  ["ids are numbers", drawing(1, 2), {}],
  ["an id is what every object has", drawing("__proto__", "text"), {}],
  ["an id comes twice", [...drawing("box", "text"), rectangle("box")], {}],
])("all of them are new if %s", (_, elements, options) => {
  const [box, text, ...others] = copies(elements, options);
  const ids = [box, text, ...others].map((element) => element?.id);
  expect(new Set(ids).size).toBe(elements.length);
  for (const id of ids) expect(id).toMatch(/^\w{21}$/);
  expect(ids).not.toContain("text");
  expect(box?.boundElements).toEqual([{ id: text?.id, type: "text" }]);
  expect(text?.containerId).toBe(box?.id);
  expect(text?.groupIds).toEqual(box?.groupIds);
  expect(text?.groupIds).not.toEqual(["g"]);
  // Not to what is on the board under the id of something that the file lacks.
  expect(text?.frameId).not.toBe("elsewhere");
});

test("what is deleted or no element is left out, and files get the ids that the board has for them", () => {
  const image = { ...rectangle("image"), type: "image", fileId: "f:1" };
  const files = new Map([["f:1", "0".repeat(64)]]);
  const odd = [null, 5, "x", [], { ...rectangle("gone"), isDeleted: true }];
  expect(copies([...odd, image], { files })).toEqual([{ ...image, fileId: "0".repeat(64) }]);
});
