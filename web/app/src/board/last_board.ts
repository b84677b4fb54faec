// The board that was left last, kept as long as the page, so that the last one to leave can still save it.

import { blobToDataUrl } from "./data_url";
import type { BoardElement } from "./element";
import type { ImageFile } from "./images";

interface LastBoard {
  readonly room: string;
  readonly elements: readonly BoardElement[];
  readonly images: readonly ImageFile[];
}

let last: LastBoard | undefined;

export function rememberBoard(board: LastBoard | undefined): void {
  last = board;
}

export function hasBoardToSave(room: string): boolean {
  return last?.room === room && last.elements.length > 0;
}

/** The board with its images, as a file that Excalidraw and this board can open. */
export async function boardToSave(room: string): Promise<File | undefined> {
  if (!last || !hasBoardToSave(room)) return undefined;
  const { elements, images } = last;
  const files: Record<string, unknown> = {};
  for (const { id, mimeType, blob } of images) {
    files[id] = { id, mimeType, dataURL: await blobToDataUrl(blob), created: Date.now() };
  }
  const drawing = { type: "excalidraw", version: 2, source: location.origin, elements, appState: {}, files };
  return new File([JSON.stringify(drawing)], `${room}.excalidraw`, { type: "application/vnd.excalidraw+json" });
}
