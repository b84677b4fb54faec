// Fonts come in pieces, each when a text first needs it. A text that was written before its piece was there has the measures
// of another font, and what goes beyond them is cut off, on the board and in exports. So it is measured again.

import { CaptureUpdateAction, restoreElements } from "@excalidraw/excalidraw";
import type { ExcalidrawTextElement } from "@excalidraw/excalidraw/element/types";
import type { ExcalidrawImperativeAPI } from "@excalidraw/excalidraw/types";

/** Less than this, in the board's own pixels, is not worth a new version. */
const TOLERANCE = 0.5;

export interface MeasureOptions {
  api: ExcalidrawImperativeAPI;
  /** Whether this user has written it. One page measures for all: others may have other fonts beside the board's. */
  isOwn(id: string): boolean;
  /** What the user is in the midst of changing is measured by Excalidraw when that ends. */
  held(): ReadonlySet<string>;
}

/** Returns what ends it. */
export function remeasureTexts(options: MeasureOptions, fonts: FontFaceSet = document.fonts): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  // After Excalidraw's own listener, which forgets what it knows of the font before.
  const onLoaded = () => {
    clearTimeout(timer);
    timer = setTimeout(() => measure(options));
  };
  fonts.addEventListener("loadingdone", onLoaded);
  return () => {
    clearTimeout(timer);
    fonts.removeEventListener("loadingdone", onLoaded);
  };
}

function measure({ api, isOwn, held }: MeasureOptions): void {
  const isHeld = held();
  let changed = false;
  const elements = api.getSceneElementsIncludingDeleted().map((element) => {
    // Where a text is bound to a shape, Excalidraw fits the one to the other.
    if (element.type !== "text" || element.isDeleted || element.containerId !== null) return element;
    if (isHeld.has(element.id) || !isOwn(element.id)) return element;
    const measured = measureText(element);
    if (!measured) return element;
    changed = true;
    const versionNonce = Math.floor(Math.random() * 2 ** 31);
    return { ...element, ...measured, version: element.version + 1, versionNonce, updated: Date.now() };
  });
  if (changed) api.updateScene({ elements, captureUpdate: CaptureUpdateAction.NEVER });
}

/** Undefined if it has the right measures. */
function measureText(element: ExcalidrawTextElement) {
  const options = { refreshDimensions: true, repairBindings: true };
  const [measured] = restoreElements([{ ...element, text: element.originalText }], null, options);
  if (measured?.type !== "text") return undefined;
  const { x, y, width, height, text } = measured;
  const isSame = Math.abs(width - element.width) < TOLERANCE && Math.abs(height - element.height) < TOLERANCE;
  return isSame && text === element.text ? undefined : { x, y, width, height, text };
}
