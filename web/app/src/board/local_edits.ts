// Turns the user's change of an element into a version that others accept: one that supersedes the known version, stays
// within the limits, and has an id that can still be changed.

import { type BoardElement, supersedes } from "./element";
import type { ElementStore } from "./element_store";
import { FINAL_VERSION, MAX_INDEX_LENGTH, MAX_NONCE, MAX_POINTS } from "./limits";
import { changedFields, namesOfTaken } from "./own_changes";
import { isRecord } from "./protocol";
import { isFractionalIndex, isId } from "./read_fields";
import { newId, type Random, renameIds } from "./renames";
import { sanitizeElement } from "./sanitize";

export interface LocalEdit {
  /** The elements to be merged and sent. There is more than one if the element had to get another id. */
  elements: BoardElement[];
  /** Whether the user's scene differs from `elements`. */
  differs: boolean;
  /** The parts that were removed from it, in words for people. */
  taken: readonly string[];
}

/**
 * `raw` must have an id that others accept. `successors` maps an id that was given up to the id under which the element
 * continues; this function keeps it up to date.
 */
export function adoptLocalEdit(
  raw: BoardElement,
  store: ElementStore,
  random: Random,
  successors: Map<string, string>,
): LocalEdit | { refused: string } {
  const nonce = () => Math.floor(random() * 2 ** 31);
  const known = store.get(raw.id);
  const fitted = fit(raw, store);

  // The version is corrected only below, so a rule about versions must not reject the user's edit here.
  const stamp = { version: 1, versionNonce: nonce() };
  const sanitized = sanitizeElement({ ...fitted, ...stamp });
  if ("refused" in sanitized) return sanitized;
  const clean = sanitized.element;
  const changed = changedFields(fitted, clean);
  const taken = namesOfTaken(fitted, changed);

  const own = { version: Math.trunc(Number(raw.version)) || 1, versionNonce: raw.versionNonce };
  const usable = Number.isSafeInteger(own.versionNonce) && own.versionNonce >= 0 && own.versionNonce <= MAX_NONCE;
  // A version must never have two contents, not even on one page.
  const wins = usable && own.version > 0 && changed.length === 0 && (!known || supersedes(own, known));
  const version = wins ? own.version : Math.max(own.version + Math.sign(changed.length), (known?.version ?? 0) + 1);
  const element = { ...clean, version, versionNonce: wins ? own.versionNonce : stamp.versionNonce };
  const differs = !wins || fitted !== raw;
  if (version < FINAL_VERSION) return { elements: [element], differs, taken };

  // Nobody accepts a higher version of this id, so the element continues under another id.
  const elements: BoardElement[] = [];
  if (!(known?.isDeleted && known.version === FINAL_VERSION)) {
    elements.push({ ...element, version: FINAL_VERSION, versionNonce: stamp.versionNonce, isDeleted: true });
  }
  if (!element.isDeleted) {
    // While the user drags the element, the scene changes the old id until it shows the new one.
    const earlier = store.get(successors.get(raw.id) ?? "");
    if (earlier && !earlier.isDeleted && earlier.version + 1 < FINAL_VERSION) {
      const { id, index, version } = earlier;
      return {
        elements: [{ ...element, id, index, version: version + 1, versionNonce: nonce() }],
        differs: true,
        taken,
      };
    }
    const renamed = { ...element, id: newId(random), version: 1, versionNonce: nonce() };
    successors.set(raw.id, renamed.id);
    elements.push(renamed, ...redirect(store, raw.id, renamed.id, nonce));
  }
  return { elements, differs: true, taken };
}

/** The elements that refer to `from`, changed to refer to `to`. */
function redirect(store: ElementStore, from: string, to: string, nonce: () => number): BoardElement[] {
  const changed: BoardElement[] = [];
  for (const element of store.all()) {
    if (element.isDeleted || element.id === from || element.version + 1 >= FINAL_VERSION) continue;
    const renamed = renameIds(element, { element: (id) => (id === from ? to : undefined), group: () => undefined });
    if (renamed !== element) changed.push({ ...renamed, version: element.version + 1, versionNonce: nonce() });
  }
  return changed;
}

/** The element itself, or a copy that others accept: with fewer points, or an index that leaves room for more. */
function fit(raw: BoardElement, store: ElementStore): BoardElement {
  let fitted = raw;
  while (Array.isArray(fitted.points) && fitted.points.length > MAX_POINTS) {
    const last = fitted.points.length - 1;
    const everyOther = (list: unknown) =>
      Array.isArray(list) ? list.filter((_, i) => i % 2 === 0 || i === last) : list;
    fitted = { ...fitted, points: everyOther(fitted.points), pressures: everyOther(fitted.pressures) };
  }
  if (!isFractionalIndex(fitted.index)) fitted = { ...fitted, index: usableIndex(fitted.index, store) };
  return fitted;
}

/** An index near the place of `index`: at the very bottom or at the top. */
function usableIndex(index: unknown, store: ElementStore): string {
  const scene = store.scene();
  const wasLow = typeof index === "string" && index < "C";
  const neighbour = (wasLow ? scene[0] : scene.at(-1))?.index ?? "a0";
  return neighbour.length < MAX_INDEX_LENGTH ? `${neighbour}V` : neighbour;
}

/** The form that removes an element from the user's scene if it cannot be on the board. */
export function withdrawn(raw: BoardElement): BoardElement {
  const version = Number.isSafeInteger(raw.version) ? raw.version + 1 : FINAL_VERSION;
  return { ...raw, isDeleted: true, version };
}

/**
 * Whether the file of an image must still get an id that others accept. Until then the image must stay with the user.
 */
export function waitsForFile({ type, fileId }: BoardElement): boolean {
  return type === "image" && typeof fileId === "string" && !isId(fileId);
}

export function hasVersion(value: unknown): value is BoardElement {
  return isRecord(value) && typeof value.id === "string" && typeof value.version === "number";
}
