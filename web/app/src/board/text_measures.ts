// Fonts are loaded in pieces, each when a text first needs it. A text that was written before its piece was loaded has
// the measures of another font, and everything beyond these is cut off, on the board and in exports. So it is measured
// again.

import { CaptureUpdateAction, restoreElements } from "@excalidraw/excalidraw";
import type { ExcalidrawTextElement } from "@excalidraw/excalidraw/element/types";
import type { ExcalidrawImperativeAPI } from "@excalidraw/excalidraw/types";

/** A smaller difference, in pixels of the board, is not worth a new version. */
const TOLERANCE = 0.5;

export interface MeasureOptions {
  api: ExcalidrawImperativeAPI;
  /**
   * Whether this user has written it. Only one page measures for all, because others may have other fonts besides those
   * of the board.
   */
  isOwn(id: string): boolean;
  /** The elements that the user is just changing; Excalidraw measures them afterwards. */
  held(): ReadonlySet<string>;
}

/** Returns a function that ends it. */
export function remeasureTexts(options: MeasureOptions, fonts: FontFaceSet = document.fonts): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  // This runs after Excalidraw's own listener, which first forgets what it knows about the font.
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
    // If a text is bound to a shape, Excalidraw fits one to the other.
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

/** Returns undefined if the element already has the right measures. */
function measureText(element: ExcalidrawTextElement) {
  const options = { refreshDimensions: true, repairBindings: true };
  const [measured] = restoreElements([{ ...element, text: element.originalText }], null, options);
  if (measured?.type !== "text") return undefined;
  const { x, y, width, height, text } = measured;
  const isSame = Math.abs(width - element.width) < TOLERANCE && Math.abs(height - element.height) < TOLERANCE;
  return isSame && text === element.text ? undefined : { x, y, width, height, text };
}
