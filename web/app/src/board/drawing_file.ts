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

/** A drawing with its images in it. */
const MAX_DRAWING_BYTES = 2 * MAX_BOARD_WEIGHT;
/** Excalidraw makes images smaller that are larger than this, and takes none that then weigh more. */
const MAX_SIDE = 1440;
const MAX_IMAGE_BYTES = 4 * 1024 * 1024;
const OTHER: Content = { kind: "other" };

/** Names count where no type was given, as for most drawings. */
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

/** Pictures can have the drawing in them that they were made of. */
async function contentOfPicture(file: File): Promise<Content> {
  // To look for it the whole file is read, during which the page stands still.
  if (file.size > MAX_DRAWING_BYTES) return (await isShownHere(file)) ? { kind: "image" } : OTHER;
  try {
    const drawing = await loadFromBlob(file, null, null);
    return { kind: "drawing", drawing: { elements: drawing.elements, files: Object.values(drawing.files ?? {}) } };
  } catch (error) {
    // Excalidraw's name for a picture that is just one; any other error is a drawing that nobody can read.
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

/** Whether this browser can show it, and Excalidraw would take it. */
async function isShownHere(file: File): Promise<boolean> {
  const isVector = file.type === "image/svg+xml";
  const isSmall = file.size <= Math.min(MAX_IMAGE_BYTES, MAX_FILE_BYTES);
  // What is drawn anew at each size is never made smaller, and reading it takes long.
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
