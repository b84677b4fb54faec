// Excalidraw as a `SceneAccess`: the one place where its elements and the board's meet.

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

/** Excalidraw still measures an image that was put in less than this ago, in milliseconds. */
const REST = 700;

/** Excalidraw's. */
const LEAST_ZOOM = 0.1;

/** By Excalidraw's tools, at the edges of the board. */
const COVERED = { top: 70, bottom: 70, left: 16, right: 16 };

/** Which of the parts is seen of what is too large for the window. */
export interface Part {
  readonly number: number;
  readonly of: number;
}

export class ExcalidrawScene implements SceneAccess {
  /** Versions of image elements and since when they have them, to see which have come to rest. */
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
    // Those whose file is here get its right id by `adoptImages`.
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
    // Excalidraw changes elements in place, so it gets its own. They were sanitized, which makes them what it expects.
    const remote = shown.map((element) => ({ ...element }) as unknown as RemoteElement);
    this.api.updateScene({
      elements: reconcileElements(local, remote, this.api.getAppState()),
      // What others do is not this user's to undo.
      captureUpdate: CaptureUpdateAction.NEVER,
    });
  }

  fit(): void {
    // Nobody's pen is moved to another place in the midst of a stroke.
    if (this.#view() !== this.#firstView || this.api.getAppState().cursorButton === "down") return;
    this.lookAt(() => true);
  }

  /** Shows all of what is wanted, or a part if it is too large for the window. */
  lookAt(isWanted: (id: string) => boolean): void {
    this.#isWanted = isWanted;
    this.showPart(1);
  }

  /** Of what was looked at last. After the last part comes the first. */
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

  /** What is not covered, in the page's pixels. */
  #uncovered(): { width: number; height: number } {
    const { width, height } = this.api.getAppState();
    return { width: width - COVERED.left - COVERED.right, height: height - COVERED.top - COVERED.bottom };
  }

  #view(): string {
    const { scrollX, scrollY, zoom } = this.api.getAppState();
    return JSON.stringify([scrollX, scrollY, zoom.value]);
  }

  /** Puts elements on top of what is there; the user can undo it. */
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
   * Makes the user's images ready for others: their ids become the hash of their bytes. Excalidraw makes an image
   * smaller after it has given it an id, so this cannot be left to it. To be called now and then.
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
