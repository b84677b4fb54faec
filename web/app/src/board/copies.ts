// A drawing from a file is put on the board as copies: they have ids of their own wherever the board knows those of the
// file, deleted ones too, so that nothing is undone that somebody has done to the originals since.

import { isRecord } from "./protocol";
import { type Fields, isId } from "./read_fields";
import { newId, type Random, Renames, renameIds, textOfId } from "./renames";

export interface CopyOptions {
  random: Random;
  /** Whether an element of this id is, or was, on the board. */
  isKnown(id: string): boolean;
  /** Ids of the drawing's files, and those under which the board has them. */
  files: ReadonlyMap<string, string>;
}

/** What is no element, or deleted, is left out. Where an id comes twice, references mean the first. */
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
    // Nothing may be bound to an element of the board because it has the id of one that is missing in the file.
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
