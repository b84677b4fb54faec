// How two boards find out in what they differ: first by digests of buckets, then by the versions in buckets that
// differ.

import { type BoardElement, sameVersion, supersedes } from "./element";
import { bucketOf, type ElementStore } from "./element_store";
import { BUCKETS, FINAL_VERSION, PIECE_WEIGHT } from "./limits";
import type { PeerState } from "./peer_state";
import type { BoardMessage, Stamp } from "./protocol";

type Message<K extends BoardMessage["kind"]> = Extract<BoardMessage, { kind: K }>;

interface DifferingBuckets {
  buckets: readonly number[];
  /** The buckets whose versions are equal but whose contents differ. */
  unlike: ReadonlySet<number>;
}

export function stateOf(store: ElementStore): Message<"board/state"> {
  return { kind: "board/state", digests: store.digests(), contents: store.contentDigests() };
}

export function differingBuckets(
  store: ElementStore,
  peer: PeerState,
  { digests, contents }: Message<"board/state">,
): DifferingBuckets {
  const own = store.digests();
  const ownContents = contents ? store.contentDigests() : [];
  const buckets: number[] = [];
  const unlike = new Set<number>();
  for (const bucket of own.keys()) {
    if (own[bucket] !== digests[bucket]) buckets.push(bucket);
    else if (contents && contents[bucket] !== ownContents[bucket]) {
      if (!peer.mayCompareContents(bucket, ownContents[bucket], contents[bucket])) continue;
      buckets.push(bucket);
      unlike.add(bucket);
    }
  }
  return { buckets, unlike };
}

/** The versions in these buckets, in messages that are not too large. */
export function* comparisons(
  store: ElementStore,
  { buckets, unlike }: DifferingBuckets,
): Generator<Message<"board/compare">> {
  const elements: BoardElement[][] = Array.from({ length: BUCKETS }, () => []);
  for (const element of store.all()) elements[bucketOf(element.id)]?.push(element);
  // Buckets with hashes go into separate messages, so that there is one hash for each stamp.
  for (const withHashes of [false, true]) {
    const ofThisKind = buckets.filter((bucket) => unlike.has(bucket) === withHashes);
    for (let piece: BoardElement[] = [], from = 0, i = 0; i < ofThisKind.length; i++) {
      piece.push(...(elements[ofThisKind[i] ?? 0] ?? []));
      if (piece.length * 60 < PIECE_WEIGHT && i + 1 < ofThisKind.length) continue;
      yield comparison(store, ofThisKind.slice(from, i + 1), piece, withHashes);
      [piece, from] = [[], i + 1];
    }
  }
}

function comparison(
  store: ElementStore,
  buckets: readonly number[],
  elements: readonly BoardElement[],
  withHashes: boolean,
): Message<"board/compare"> {
  const stamps = elements.map(
    ({ id, version, versionNonce, isDeleted }): Stamp => [id, version, versionNonce, isDeleted ? 1 : 0],
  );
  if (!withHashes) return { kind: "board/compare", buckets, stamps };
  return { kind: "board/compare", buckets, stamps, hashes: elements.map((element) => store.contentHash(element)) };
}

/** The elements that the other side lacks, and the ids of those that this side wants. */
export function differences(
  store: ElementStore,
  { buckets, stamps, hashes }: Message<"board/compare">,
): { lacking: BoardElement[]; wanted: string[] } {
  const theirs = new Map(stamps.map(([id, ...rest]) => [id, rest] as const));
  const theirContents = new Map(hashes?.map((hash, i) => [stamps[i]?.[0], hash] as const));
  const lacking: BoardElement[] = [];
  const wanted: string[] = [];
  const compared = new Set(buckets);
  for (const element of store.all()) {
    if (!compared.has(bucketOf(element.id))) continue;
    const [version, versionNonce] = theirs.get(element.id) ?? [];
    theirs.delete(element.id);
    if (version === undefined || versionNonce === undefined) {
      if (!element.isDeleted) lacking.push(element);
    } else if (supersedes(element, { version, versionNonce })) {
      lacking.push(element);
    } else if (!sameVersion(element, { version, versionNonce })) {
      if (version <= FINAL_VERSION) wanted.push(element.id);
    } else if (hashes && theirContents.get(element.id) !== store.contentHash(element)) {
      // A hash does not tell which of two contents wins.
      lacking.push(element);
      wanted.push(element.id);
    }
  }
  for (const [id, [, , deleted]] of theirs) if (deleted === 0) wanted.push(id);
  return { lacking, wanted };
}
