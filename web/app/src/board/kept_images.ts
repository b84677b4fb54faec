// The images of boards in this browser's IndexedDB, so that they are still there when everybody has left and somebody
// comes back. They are stored by the hash of their bytes, for all rooms together, and deleted a day after they were
// last on a board.

import { IMAGE_TYPES } from "./board_file";
import type { ImageFile } from "./images";
import { MAX_FILES_BYTES } from "./limits";
import { isRecord } from "./protocol";

const DATABASE = "bimcc-rtc.board-images";
const STORE = "images";
/** In milliseconds. */
const KEPT_FOR = 24 * 60 * 60 * 1000;

interface Row {
  readonly id: string;
  readonly mimeType: string;
  readonly bytes: ArrayBuffer;
  readonly usedAt: number;
}

class KeptImages {
  #database: Promise<IDBDatabase> | undefined;
  readonly #kept = new Set<string>();

  /** Adds images to those that are kept. This never fails: boards also work without storage. */
  async keep(images: readonly ImageFile[]): Promise<void> {
    const fresh = images.filter(({ id }) => !this.#kept.has(id));
    for (const { id } of fresh) this.#kept.add(id);
    try {
      for (const { id, mimeType, blob } of fresh) {
        const row: Row = { id, mimeType, bytes: await blob.arrayBuffer(), usedAt: Date.now() };
        const database = await this.#open();
        await done(database.transaction(STORE, "readwrite").objectStore(STORE).put(row));
      }
    } catch {
      // Storage may be full or forbidden.
    }
  }

  /** The kept images of these ids. The caller must check that their content is right. */
  async find(ids: readonly string[]): Promise<ImageFile[]> {
    const found: ImageFile[] = [];
    try {
      for (const id of ids) {
        const database = await this.#open();
        const row: unknown = await done(database.transaction(STORE).objectStore(STORE).get(id));
        const mimeType = isRecord(row) ? IMAGE_TYPES.find((type) => type === row.mimeType) : undefined;
        if (!isRecord(row) || !(row.bytes instanceof ArrayBuffer) || !mimeType) continue;
        found.push({ id, mimeType, blob: new Blob([row.bytes], { type: mimeType }) });
      }
    } catch {
      // Storage may be forbidden.
    }
    return found;
  }

  #open(): Promise<IDBDatabase> {
    this.#database ??= open().then(async (database) => {
      await forgetOld(database);
      return database;
    });
    return this.#database;
  }
}

/** There is one for the page, so that an image kept in one visit to a room is not stored again in the next one. */
export const keptImages = new KeptImages();

async function open(): Promise<IDBDatabase> {
  const request = indexedDB.open(DATABASE, 1);
  request.onupgradeneeded = () => {
    request.result.createObjectStore(STORE, { keyPath: "id" });
  };
  return done(request);
}

/** Deletes all images that are too old, and the oldest ones beyond the limit. */
async function forgetOld(database: IDBDatabase): Promise<void> {
  const store = database.transaction(STORE, "readwrite").objectStore(STORE);
  const rows: { id: string; usedAt: number; size: number }[] = [];
  await new Promise<void>((resolve, reject) => {
    const cursor = store.openCursor();
    cursor.onerror = () => reject(cursor.error);
    cursor.onsuccess = () => {
      if (!cursor.result) return resolve();
      const { id, usedAt, bytes }: Row = cursor.result.value;
      rows.push({ id, usedAt, size: bytes.byteLength });
      cursor.result.continue();
    };
  });
  const newest = rows.sort((a, b) => b.usedAt - a.usedAt);
  const now = Date.now();
  let size = 0;
  for (const row of newest) {
    size += row.size;
    // If the clock was set back, no image counts as too old.
    if (size > MAX_FILES_BYTES || now - row.usedAt > KEPT_FOR) store.delete(row.id);
  }
}

function done<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
