// Excalidraw as a `SceneAccess`: the only place that converts between its elements and those of the board.

import { CaptureUpdateAction, mutateElement, reconcileElements } from "@excalidraw/excalidraw";
import type { ExcalidrawImageElement, OrderedExcalidrawElement } from "@excalidraw/excalidraw/element/types";
import type {
  BinaryFileData,
  Collaborator,
  ExcalidrawImperativeAPI,
  NormalizedZoomValue,
  SocketId,
} from "@excalidraw/excalidraw/types";
import type { Room } from "bimcc-rtc";
import { displayName } from "../logic/names";
import { IMAGE_TYPES } from "./board_file";
import type { Cursor } from "./cursors";
import { blobToDataUrl, dataUrlToBytes } from "./data_url";
import type { BoardElement } from "./element";
import type { ImageFile, Images } from "./images";
import { waitsForFile } from "./local_edits";
import type { SceneAccess } from "./session";
import { sha256 } from "./sha256";
import { viewsOf } from "./views";

type RemoteElement = Parameters<typeof reconcileElements>[1][number];

/** For this many milliseconds after an image was inserted, Excalidraw may still be measuring it. */
const REST = 700;

/** Excalidraw's smallest zoom. */
const LEAST_ZOOM = 0.1;

/** The pixels that Excalidraw's tools cover at the edges of the board. */
const COVERED = { top: 70, bottom: 70, left: 16, right: 16 };

/** The visible part of a scene that is too large for the window. */
export interface Part {
  readonly number: number;
  readonly of: number;
}

export class ExcalidrawScene implements SceneAccess {
  /** The versions of image elements, and since when they have them, to see which no longer change. */
  readonly #resting = new Map<string, { version: number; since: number }>();
  readonly #hashes = new WeakMap<BinaryFileData, string>();
  readonly #unreadable = new WeakSet<BinaryFileData>();
  readonly #firstView: string;
  #isWanted: (id: string) => boolean = () => true;
  #adopting = false;

  constructor(
    readonly api: ExcalidrawImperativeAPI,
    readonly room: Room,
    readonly onPart: (part: Part | undefined) => void = () => {},
  ) {
    this.#firstView = this.#view();
  }

  elements(): readonly OrderedExcalidrawElement[] {
    return this.api.getSceneElementsIncludingDeleted();
  }

  held(): ReadonlySet<string> {
    const { editingTextElement, resizingElement, newElement, multiElement, pendingImageElementId } =
      this.api.getAppState();
    const ids = [editingTextElement?.id, resizingElement?.id, newElement?.id, multiElement?.id, pendingImageElementId];
    const held = new Set(ids.filter((id) => typeof id === "string"));
    // Images whose file is here get the right id by `adoptImages`.
    const files = this.api.getFiles();
    for (const element of this.elements()) {
      if (element.type !== "image" || element.fileId === null || !waitsForFile(element)) continue;
      const file = files[element.fileId];
      if (file && !this.#unreadable.has(file)) held.add(element.id);
    }
    return held;
  }

  show(elements: readonly BoardElement[]): void {
    const held = this.held();
    const shown = elements.filter(({ id }) => !held.has(id));
    if (shown.length === 0) return;
    const replaced = new Set(shown.map(({ id }) => id));
    const local = this.elements().filter(({ id }) => !replaced.has(id));
    // Excalidraw changes elements in place, so it gets copies. They were sanitized, so they have the form that it
    // expects.
    const remote = shown.map((element) => ({ ...element }) as unknown as RemoteElement);
    this.api.updateScene({
      elements: reconcileElements(local, remote, this.api.getAppState()),
      // This user cannot undo what others do.
      captureUpdate: CaptureUpdateAction.NEVER,
    });
  }

  fit(): void {
    // The view must not move while the user draws a stroke.
    if (this.#view() !== this.#firstView || this.api.getAppState().cursorButton === "down") return;
    this.lookAt(() => true);
  }

  /** Shows all wanted elements, or a part if they are too large for the window. */
  lookAt(isWanted: (id: string) => boolean): void {
    this.#isWanted = isWanted;
    this.showPart(1);
  }

  /** Shows a part of the elements that were last looked at. The first part follows the last one. */
  showPart(number: number): void {
    const { width, height } = this.#uncovered();
    const shapes = this.api.getSceneElements().filter(({ id }) => this.#isWanted(id));
    const views = viewsOf(shapes, { width: width / LEAST_ZOOM, height: height / LEAST_ZOOM });
    const index = views.length > 0 ? (number - 1) % views.length : 0;
    const view = views[index];
    if (!view || views.length === 1) {
      this.api.scrollToContent(shapes, { fitToContent: true, animate: false, canvasOffsets: COVERED });
      this.onPart(undefined);
      return;
    }
    const fitting = Math.min(width / (view.right - view.left), height / (view.bottom - view.top));
    const zoom = Math.min(1, Math.max(LEAST_ZOOM, Math.floor(fitting * 10) / 10));
    this.api.updateScene({
      appState: {
        scrollX: (COVERED.left + width / 2) / zoom - (view.left + view.right) / 2,
        scrollY: (COVERED.top + height / 2) / zoom - (view.top + view.bottom) / 2,
        zoom: { value: zoom as NormalizedZoomValue },
      },
      captureUpdate: CaptureUpdateAction.NEVER,
    });
    this.onPart({ number: index + 1, of: views.length });
  }

  /** The size of the uncovered area, in pixels of the page. */
  #uncovered(): { width: number; height: number } {
    const { width, height } = this.api.getAppState();
    return { width: width - COVERED.left - COVERED.right, height: height - COVERED.top - COVERED.bottom };
  }

  #view(): string {
    const { scrollX, scrollY, zoom } = this.api.getAppState();
    return JSON.stringify([scrollX, scrollY, zoom.value]);
  }

  /** Puts elements on top of the existing ones; the user can undo this. */
  add(elements: readonly OrderedExcalidrawElement[]): void {
    this.api.updateScene({
      elements: [...this.elements(), ...elements],
      captureUpdate: CaptureUpdateAction.IMMEDIATELY,
    });
  }

  showCursors(cursors: ReadonlyMap<string, Cursor>): void {
    const collaborators = new Map<SocketId, Collaborator>();
    for (const [id, { x, y, tool, button, selected }] of cursors) {
      const peer = this.room.peers.get(id);
      if (!peer) continue;
      const socketId = id as SocketId;
      collaborators.set(socketId, {
        id,
        socketId,
        username: displayName(peer),
        pointer: { x, y, tool },
        button,
        selectedElementIds: Object.fromEntries(selected.map((element) => [element, true as const])),
      });
    }
    this.api.updateScene({ collaborators });
  }

  showImage({ id, mimeType, blob }: ImageFile): void {
    void blobToDataUrl(blob).then((dataURL) => {
      this.api.addFiles([{ id, mimeType, dataURL, created: Date.now() } as BinaryFileData]);
    });
  }

  /**
   * Prepares the user's images for others: their ids become the hash of their bytes. Excalidraw cannot do this, because
   * it shrinks an image after it has given it an id. Must be called now and then.
   */
  async adoptImages(images: Images): Promise<void> {
    if (this.#adopting) return;
    this.#adopting = true;
    try {
      const held = this.held();
      const files = this.api.getFiles();
      for (const element of this.elements()) {
        if (element.type !== "image" || element.isDeleted || element.fileId === null) continue;
        const file = files[element.fileId];
        if (!file || images.has(element.fileId)) continue;
        const { version, since } = this.#resting.get(element.id) ?? { version: -1, since: 0 };
        const now = performance.now();
        if (version !== element.version) this.#resting.set(element.id, { version: element.version, since: now });
        const rests = version === element.version && now - since >= REST;
        await this.#adoptImage(images, element, file, rests && (!held.has(element.id) || waitsForFile(element)));
      }
    } finally {
      this.#adopting = false;
    }
  }

  async #adoptImage(images: Images, element: ExcalidrawImageElement, file: BinaryFileData, mayRename: boolean) {
    const known = this.#hashes.get(file);
    const hasRightId = known === undefined || known === element.fileId;
    const mimeType = IMAGE_TYPES.find((type) => type === file.mimeType);
    if (!hasRightId && !mayRename) return;
    const bytes = dataUrlToBytes(file.dataURL);
    if (!bytes || !mimeType) {
      this.#unreadable.add(file);
      return;
    }
    const id = known ?? (await sha256(bytes));
    this.#hashes.set(file, id);
    if (id !== element.fileId && !mayRename) return;
    images.add({ id, mimeType, blob: new Blob([bytes], { type: mimeType }) });
    if (id === element.fileId) return;
    const fileId = id as BinaryFileData["id"];
    mutateElement(element, { fileId }, false);
    this.api.addFiles([{ ...file, id: fileId }]);
  }
}
