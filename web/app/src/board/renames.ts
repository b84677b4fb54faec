// Ids that a board cannot use, and the ids under which their elements continue.

import type { Fields } from "./read_fields";
import { isId } from "./read_fields";

/** Returns a number from 0 to below 1. */
export type Random = () => number;

const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

export function newId(random: Random): string {
  let id = "";
  while (id.length < 21) id += ALPHABET[Math.floor(random() * ALPHABET.length)];
  return id;
}

/** Gives one new id for each id of a kind, always the same one. */
export class Renames {
  readonly #ids = new Map<string, string>();

  constructor(readonly random: Random) {}

  /** The new id for this one, if one was given. */
  known(id: string): string | undefined {
    return this.#ids.get(id);
  }

  give(id: string): string {
    const given = this.#ids.get(id) ?? newId(this.random);
    this.#ids.set(id, given);
    return given;
  }
}

export interface IdMaps {
  /** `undefined` means that the reference stays as it is. */
  element(id: string): string | undefined;
  group(id: string): string | undefined;
}

/**
 * The element with other ids for itself and for everything that it refers to; the element itself if nothing changes.
 */
export function renameIds<T extends Fields>(element: T, maps: IdMaps): T {
  const changed: Record<string, unknown> = {};
  const elementId = (id: unknown) => {
    const name = textOfId(id);
    return name === undefined ? id : (maps.element(name) ?? id);
  };
  const groupId = (id: unknown) => {
    const name = textOfId(id);
    return name === undefined ? id : (maps.group(name) ?? id);
  };
  const within = (value: unknown, field: string) => {
    if (typeof value !== "object" || value === null) return value;
    const old = (value as Fields)[field];
    const id = elementId(old);
    return id === old ? value : { ...value, [field]: id };
  };
  const each = (value: unknown, rename: (entry: unknown) => unknown) => {
    if (!Array.isArray(value)) return value;
    const renamed = value.map(rename);
    return renamed.some((entry, i) => entry !== value[i]) ? renamed : value;
  };
  const put = (field: string, value: unknown) => {
    if (value !== element[field]) changed[field] = value;
  };
  for (const field of ["id", "containerId", "frameId"]) put(field, elementId(element[field]));
  for (const field of ["startBinding", "endBinding"]) put(field, within(element[field], "elementId"));
  put(
    "boundElements",
    each(element.boundElements, (bound) => within(bound, "id")),
  );
  // Drawings from old versions have this field instead.
  put("boundElementIds", each(element.boundElementIds, elementId));
  put("groupIds", each(element.groupIds, groupId));
  return Object.keys(changed).length === 0 ? element : { ...element, ...changed };
}

/** Drawings of other programs may have a number or a text as an id; both mean the same. */
export function textOfId(id: unknown): string | undefined {
  return typeof id === "string" ? id : typeof id === "number" ? String(id) : undefined;
}

/** The element in a form that others can accept: each unusable id is replaced by the one that was given for it. */
export function withUsableIds<T extends Fields>(element: T, elements: Renames, groups: Renames): T {
  return renameIds(element, {
    element: (id) => (isId(id) ? undefined : elements.known(id)),
    group: (id) => (isId(id) ? undefined : groups.give(id)),
  });
}
