// The images of boards in this browser's IndexedDB, so that they are there when everybody has left and somebody comes back.
// By the hash of their bytes, whatever the room; a day after they were last on a board, they are gone.

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

  /** Puts them beside those that are kept. Never fails: without storage, boards work without. */
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
      // It may be full or forbidden.
    }
  }

  /** Those of these that are kept; whether they are what they should be is for the caller to see. */
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
      // As above.
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

/** One for the page: what was kept in one visit to a room need not be kept again in the next. */
export const keptImages = new KeptImages();

async function open(): Promise<IDBDatabase> {
  const request = indexedDB.open(DATABASE, 1);
  request.onupgradeneeded = () => {
    request.result.createObjectStore(STORE, { keyPath: "id" });
  };
  return done(request);
}

/** All that is too old, and the oldest of what is too much. */
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
    // A clock that was set back makes nothing too old.
    if (size > MAX_FILES_BYTES || now - row.usedAt > KEPT_FOR) store.delete(row.id);
  }
}

function done<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
