// Puts files on the board: drawings as copies next to the existing elements, images at the place where they were
// dropped.

import { getCommonBounds, restoreElements } from "@excalidraw/excalidraw";
import type { OrderedExcalidrawElement } from "@excalidraw/excalidraw/element/types";
import type { BinaryFileData, ExcalidrawImperativeAPI } from "@excalidraw/excalidraw/types";
import { type CopyOptions, copiesOf } from "./copies";
import { dataUrlToBytes } from "./data_url";
import { contentOf, type Drawing } from "./drawing_file";
import type { ExcalidrawScene } from "./excalidraw_scene";
import { sha256 } from "./sha256";
import { handedOn, type Point } from "./way_in";

/** The gap between a drawing and its neighbours, and between images that come together. */
const GAP = 40;

export interface IntakeOptions {
  api: ExcalidrawImperativeAPI;
  scene: ExcalidrawScene;
  isKnown: CopyOptions["isKnown"];
  /** Called with files that are not for the board. */
  onOther(files: File[]): void;
  onProblem(sentence: string): void;
}

export class Intake {
  constructor(readonly options: IntakeOptions) {}

  async take(files: readonly File[], at?: Point): Promise<void> {
    const others: File[] = [];
    let images = 0;
    for (const file of files) {
      const content = await contentOf(file);
      if (content.kind === "drawing") await this.#addDrawing(file.name, content.drawing, at);
      else if (content.kind === "image") this.#addImage(file, at ?? this.#middle(), GAP * images++);
      else others.push(file);
    }
    if (others.length > 0) this.options.onOther(others);
  }

  async #addDrawing(name: string, drawing: Drawing, at: Point | undefined): Promise<void> {
    const { api, scene, isKnown, onProblem } = this.options;
    try {
      const files = await withContentIds(drawing.files);
      const ids = new Map([...files].map(([id, file]) => [id, file.id]));
      const copies = copiesOf(drawing.elements, { random: Math.random, isKnown, files: ids });
      // The copies go on top of the existing elements, in the order of the file.
      const restored = restoreElements(copies as unknown as OrderedExcalidrawElement[], null, { repairBindings: true });
      if (restored.length === 0) return onProblem(`“${name}” is a drawing with nothing on it.`);
      const [dx, dy] = this.#placeFor(restored, at);
      const placed = restored.map(
        (element) => ({ ...element, x: element.x + dx, y: element.y + dy, index: null }) as unknown,
      ) as OrderedExcalidrawElement[];
      api.addFiles([...files.values()]);
      scene.add(placed);
      const added = new Set(placed.map(({ id }) => id));
      scene.lookAt((id) => added.has(id));
    } catch {
      onProblem(`“${name}” holds no drawing that can be read.`);
    }
  }

  /** How far a drawing is moved: to the place where it was dropped, or next to what it would cover. */
  #placeFor(drawing: readonly OrderedExcalidrawElement[], at: Point | undefined): [number, number] {
    const { api } = this.options;
    const [left, top, right, bottom] = getCommonBounds(drawing);
    if (at) {
      const { offsetLeft, offsetTop, scrollX, scrollY, zoom } = api.getAppState();
      const x = (at.clientX - offsetLeft) / zoom.value - scrollX;
      const y = (at.clientY - offsetTop) / zoom.value - scrollY;
      return [x - (left + right) / 2, y - (top + bottom) / 2];
    }
    const present = api.getSceneElements();
    if (present.length === 0) return [0, 0];
    const [minX, minY, maxX, maxY] = getCommonBounds(present);
    const covers = left < maxX + GAP && right > minX - GAP && top < maxY + GAP && bottom > minY - GAP;
    return covers ? [maxX + GAP - left, 0] : [0, 0];
  }

  /** Excalidraw measures, shrinks and inserts the image, as if it had been dropped on it. */
  #addImage(file: File, { clientX, clientY }: Point, shift: number): void {
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(file);
    const at = { clientX: clientX + shift, clientY: clientY + shift, bubbles: true, cancelable: true };
    const drop = new DragEvent("drop", { ...at, dataTransfer });
    handedOn.add(drop);
    document.querySelector(".whiteboard .excalidraw canvas.interactive")?.dispatchEvent(drop);
  }

  #middle(): Point {
    const { offsetLeft, offsetTop, width, height } = this.options.api.getAppState();
    return { clientX: offsetLeft + width / 2, clientY: offsetTop + height / 2 };
  }
}

/** Maps the former id of each file to the file under the hash of its bytes. Files without data are left out. */
async function withContentIds(files: readonly BinaryFileData[]): Promise<Map<string, BinaryFileData>> {
  const found = new Map<string, BinaryFileData>();
  for (const file of files) {
    const bytes = dataUrlToBytes(file.dataURL);
    if (bytes) found.set(file.id, { ...file, id: (await sha256(bytes)) as BinaryFileData["id"] });
  }
  return found;
}
