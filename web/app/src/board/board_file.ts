import type { IncomingFile } from "bimcc-rtc";
import { isRecord } from "./protocol";

export const BOARD_FILE = "board-file";

export const IMAGE_TYPES = [
  "image/png",
  "image/jpeg",
  "image/gif",
  "image/webp",
  "image/svg+xml",
  "image/bmp",
  "image/x-icon",
  "image/avif",
  "image/jfif",
] as const;
export type ImageType = (typeof IMAGE_TYPES)[number];

/** Whether an offered file is an image for the board. No other part should accept or refuse it. */
export function isBoardFile(file: IncomingFile): boolean {
  return isRecord(file.metadata) && file.metadata.kind === BOARD_FILE;
}
