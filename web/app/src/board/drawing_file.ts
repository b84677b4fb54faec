// What a file is to the board: a drawing, an image, or neither.

import { loadFromBlob } from "@excalidraw/excalidraw";
import type { BinaryFileData } from "@excalidraw/excalidraw/types";
import { IMAGE_TYPES } from "./board_file";
import { MAX_BOARD_WEIGHT, MAX_FILE_BYTES } from "./limits";
import { isRecord } from "./protocol";

export interface Drawing {
  readonly elements: readonly unknown[];
  readonly files: readonly BinaryFileData[];
}

export type Content = { kind: "drawing"; drawing: Drawing } | { kind: "image" } | { kind: "other" };

/** The largest drawing, with the images that it contains. */
const MAX_DRAWING_BYTES = 2 * MAX_BOARD_WEIGHT;
/** Excalidraw shrinks images that are larger than this side, and refuses those that then have more bytes. */
const MAX_SIDE = 1440;
const MAX_IMAGE_BYTES = 4 * 1024 * 1024;
const OTHER: Content = { kind: "other" };

/** If no type is given, as for most drawings, the name counts. */
export async function contentOf(file: File): Promise<Content> {
  const { type } = file;
  if (type === "image/png" || type === "image/svg+xml") return contentOfPicture(file);
  if (IMAGE_TYPES.some((known) => known === type)) return (await isShownHere(file)) ? { kind: "image" } : OTHER;
  const isText = type === "application/json" || /\.(excalidraw|json)$/i.test(file.name);
  if (!isText || file.size > MAX_DRAWING_BYTES) return OTHER;
  try {
    const drawing = drawingOf(JSON.parse(await file.text()));
    return drawing ? { kind: "drawing", drawing } : OTHER;
  } catch {
    return OTHER;
  }
}

/** A picture can contain the drawing from which it was made. */
async function contentOfPicture(file: File): Promise<Content> {
  // To look for the drawing, the whole file is read, and the page cannot react meanwhile.
  if (file.size > MAX_DRAWING_BYTES) return (await isShownHere(file)) ? { kind: "image" } : OTHER;
  try {
    const drawing = await loadFromBlob(file, null, null);
    return { kind: "drawing", drawing: { elements: drawing.elements, files: Object.values(drawing.files ?? {}) } };
  } catch (error) {
    // Excalidraw throws this error for a picture without a drawing. Any other error means a drawing that cannot be
    // read.
    const isPicture = error instanceof Error && error.name === "EncodingError";
    return isPicture && (await isShownHere(file)) ? { kind: "image" } : OTHER;
  }
}

function drawingOf(data: unknown): Drawing | undefined {
  if (!isRecord(data) || data.type !== "excalidraw" || !Array.isArray(data.elements)) return undefined;
  const files = isRecord(data.files) ? Object.entries(data.files) : [];
  const usable = files.flatMap(([id, file]) =>
    isRecord(file) && typeof file.dataURL === "string" ? [{ ...file, id } as unknown as BinaryFileData] : [],
  );
  return { elements: data.elements, files: usable };
}

/** Whether this browser can show the image, and Excalidraw would accept it. */
async function isShownHere(file: File): Promise<boolean> {
  const isVector = file.type === "image/svg+xml";
  const isSmall = file.size <= Math.min(MAX_IMAGE_BYTES, MAX_FILE_BYTES);
  // A vector image is never shrunk, and reading a large one takes long.
  if (isVector && !isSmall) return false;
  const image = new Image();
  const url = URL.createObjectURL(file);
  try {
    image.src = url;
    await image.decode();
  } catch {
    return false;
  } finally {
    URL.revokeObjectURL(url);
  }
  const isMadeSmaller = !isVector && Math.max(image.naturalWidth, image.naturalHeight) > MAX_SIDE;
  return isMadeSmaller || isSmall;
}
