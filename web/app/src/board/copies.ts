// A drawing from a file is put on the board as copies. They get new ids where the board already knows the ids of the
// file, even of deleted elements, so that opening a file does not undo later changes to the originals.

import { isRecord } from "./protocol";
import { type Fields, isId } from "./read_fields";
import { newId, type Random, Renames, renameIds, textOfId } from "./renames";

export interface CopyOptions {
  random: Random;
  /** Whether an element of this id is, or was, on the board. */
  isKnown(id: string): boolean;
  /** The ids of the drawing's files, and the ids under which the board has them. */
  files: ReadonlyMap<string, string>;
}

/**
 * Entries that are not elements, or are deleted, are left out. If an id appears twice, references mean the first one.
 */
export function copiesOf(elements: readonly unknown[], { random, isKnown, files }: CopyOptions): Fields[] {
  const living = elements.filter((element) => isRecord(element)).filter(({ isDeleted }) => isDeleted !== true);
  const ids = living.map(({ id }) => textOfId(id));
  const mayKeep = new Set(ids).size === ids.length && living.every(({ id }) => isId(id) && !isKnown(id));
  const [elementIds, groupIds] = [new Renames(random), new Renames(random)];

  const given = new Set<string>();
  return living.map((element, i) => {
    const copy = withFile(element, files);
    if (mayKeep) return copy;
    const id = ids[i];
    // A reference to an element that is missing in the file must not bind a copy to an element of the board with that
    // id.
    const renamed = renameIds(copy, {
      element: (name) => elementIds.give(name),
      group: (name) => groupIds.give(name),
    });
    if (id !== undefined && !given.has(id)) {
      given.add(id);
      return renamed;
    }
    return { ...renamed, id: newId(random) };
  });
}

function withFile(element: Fields, files: ReadonlyMap<string, string>): Fields {
  const fileId = files.get(textOfId(element.fileId) ?? "");
  return fileId === undefined ? element : { ...element, fileId };
}
