// The board as this peer has merged it: sanitized elements by id, deleted ones too, with limits on both, and a digest.

import {
  type BoardElement,
  compareOrder,
  hashOfContent,
  hashText,
  supersedes,
  supersedesByContent,
  weightOf,
} from "./element";
import { BUCKETS, MAX_BOARD_WEIGHT, MAX_ELEMENTS, MAX_TOMBSTONES } from "./limits";

export type MergeResult = "taken" | "older" | "full";

export function bucketOf(id: string): number {
  return hashText(id) % BUCKETS;
}

export class ElementStore {
  readonly #elements = new Map<string, BoardElement>();
  /** The ids of deleted elements; the one that was deleted first comes first. */
  readonly #tombstones = new Set<string>();
  readonly #digests = new Array<number>(BUCKETS).fill(0);
  /** Elements are replaced, never changed, so each is hashed once. */
  readonly #contents = new WeakMap<BoardElement, number>();
  #weight = 0;

  get(id: string): BoardElement | undefined {
    return this.#elements.get(id);
  }

  get size(): number {
    return this.#elements.size;
  }

  get living(): number {
    return this.#elements.size - this.#tombstones.size;
  }

  /** Everything, deleted elements too, in no order. */
  all(): Iterable<BoardElement> {
    return this.#elements.values();
  }

  /** The visible elements, in their order. */
  scene(): BoardElement[] {
    return [...this.#elements.values()].filter((element) => !element.isDeleted).sort(compareOrder);
  }

  /**
   * One number for each bucket of ids, over the elements that are not deleted, because pages may remember different
   * deleted ones.
   */
  digests(): number[] {
    return [...this.#digests];
  }

  /**
   * The same over the contents of the elements, because two pages may have different contents with the same version.
   */
  contentDigests(): number[] {
    const digests = new Array<number>(BUCKETS).fill(0);
    for (const element of this.#elements.values()) {
      if (element.isDeleted) continue;
      const bucket = bucketOf(element.id);
      digests[bucket] = ((digests[bucket] ?? 0) ^ this.contentHash(element)) >>> 0;
    }
    return digests;
  }

  contentHash(element: BoardElement): number {
    const hash = this.#contents.get(element) ?? hashOfContent(element);
    this.#contents.set(element, hash);
    return hash;
  }

  merge(element: BoardElement): MergeResult {
    const known = this.#elements.get(element.id);
    if (known && !supersedes(element, known) && !supersedesByContent(element, known)) return "older";
    const weight = weightOf(element) - (known ? weightOf(known) : 0);
    const revives = !element.isDeleted && (!known || known.isDeleted);
    if (revives && this.living >= MAX_ELEMENTS) return "full";
    if (weight > 0 && this.#weight + weight > MAX_BOARD_WEIGHT) return "full";

    if (known && !known.isDeleted) this.#toggleDigest(known);
    if (!element.isDeleted) this.#toggleDigest(element);
    this.#tombstones.delete(element.id);
    if (element.isDeleted) this.#tombstones.add(element.id);
    this.#elements.set(element.id, element);
    this.#weight += weight;
    return "taken";
  }

  /** Forgets deleted elements beyond the limit, the oldest first, and returns their ids. */
  prune(): string[] {
    const forgotten: string[] = [];
    for (const id of this.#tombstones) {
      if (this.#tombstones.size <= MAX_TOMBSTONES && this.#weight <= MAX_BOARD_WEIGHT * 0.75) break;
      const element = this.#elements.get(id);
      if (element) this.#weight -= weightOf(element);
      this.#elements.delete(id);
      this.#tombstones.delete(id);
      forgotten.push(id);
    }
    return forgotten;
  }

  #toggleDigest(element: BoardElement): void {
    const bucket = bucketOf(element.id);
    const hash = hashText(`${element.id}:${element.version}:${element.versionNonce}`);
    this.#digests[bucket] = ((this.#digests[bucket] ?? 0) ^ hash) >>> 0;
  }
}
