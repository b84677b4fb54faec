// Excalidraw as a `SceneAccess`: the one place where its elements and the board's meet.

import { CaptureUpdateAction, mutateElement, reconcileElements } from "@excalidraw/excalidraw";
import type { OrderedExcalidrawElement } from "@excalidraw/excalidraw/element/types";
import type { BinaryFileData, Collaborator, ExcalidrawImperativeAPI, SocketId } from "@excalidraw/excalidraw/types";
import type { Room } from "bimcc-rtc";
import { displayName } from "../logic/names";
import type { Cursor } from "./cursors";
import { blobToDataUrl, dataUrlToBytes } from "./data_url";
import type { BoardElement } from "./element";
import { IMAGE_TYPES, type ImageFile, type Images, isContentId } from "./images";
import type { SceneAccess } from "./session";
import { sha256 } from "./sha256";

type RemoteElement = Parameters<typeof reconcileElements>[1][number];

export class ExcalidrawScene implements SceneAccess {
  /** Versions of image elements at the last look, to see which have come to rest. */
  readonly #resting = new Map<string, number>();

  constructor(
    readonly api: ExcalidrawImperativeAPI,
    readonly room: Room,
  ) {}

  elements(): readonly OrderedExcalidrawElement[] {
    return this.api.getSceneElementsIncludingDeleted();
  }

  held(): ReadonlySet<string> {
    const { editingTextElement, resizingElement, newElement, multiElement, pendingImageElementId } =
      this.api.getAppState();
    const ids = [editingTextElement?.id, resizingElement?.id, newElement?.id, multiElement?.id, pendingImageElementId];
    return new Set(ids.filter((id) => typeof id === "string"));
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

  /** Puts a drawing from a file beside what is there; the user can undo it. */
  add(elements: readonly OrderedExcalidrawElement[]): void {
    const state = this.api.getAppState();
    this.api.updateScene({
      elements: reconcileElements(this.elements(), elements as readonly RemoteElement[], state),
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
    const held = this.held();
    const files = this.api.getFiles();
    for (const element of this.elements()) {
      if (element.type !== "image" || element.isDeleted || element.fileId === null || held.has(element.id)) continue;
      const file = files[element.fileId];
      if (!file || images.has(element.fileId)) continue;
      // Excalidraw still measures an image that was just put in.
      const rests = this.#resting.get(element.id) === element.version;
      this.#resting.set(element.id, element.version);
      const mimeType = IMAGE_TYPES.find((type) => type === file.mimeType);
      const bytes = rests ? dataUrlToBytes(file.dataURL) : undefined;
      if (!bytes || !mimeType) continue;

      const id = await sha256(bytes);
      images.add({ id, mimeType, blob: new Blob([bytes], { type: mimeType }) });
      if (isContentId(element.fileId) && element.fileId === id) continue;
      const fileId = id as BinaryFileData["id"];
      mutateElement(element, { fileId }, false);
      this.api.addFiles([{ ...file, id: fileId }]);
    }
  }
}
