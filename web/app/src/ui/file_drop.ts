import { useEffect, useState } from "react";
import { IMAGE_TYPES } from "../board/board_file";
import { handedOn, takeToBoard } from "../board/way_in";
import type { Chat } from "../model/chat";
import type { Notices } from "../model/notices";

/**
 * Files that are dropped or pasted on the board are for the board; elsewhere on the page they are sent to everybody.
 * Returns true while files that the board cannot take are dragged over the page.
 */
export function useFileDrop(chat: Chat, notices: Notices): boolean {
  const [over, setOver] = useState(false);
  useEffect(() => {
    const bring = (transfer: DataTransfer, event: DragEvent | ClipboardEvent) => {
      const { files, folders } = contentOf(transfer);
      for (const name of folders) notices.say(folderSentence(name), { tone: "problem" });
      const at = event instanceof DragEvent ? { clientX: event.clientX, clientY: event.clientY } : undefined;
      if (files.length > 0 && !(onBoard(event) && takeToBoard(files, at))) chat.sendFiles(files);
    };
    const onOver = (event: DragEvent) => {
      if (!hasFiles(event)) return setOver(false);
      // Without this the browser would leave the room to show the file.
      event.preventDefault();
      event.stopPropagation();
      const items = [...(event.dataTransfer?.items ?? [])];
      setOver(!(onBoard(event) && items.every(({ type }) => mayBeForBoard(type))));
    };
    const onLeave = (event: DragEvent) => {
      if (event.relatedTarget === null) setOver(false);
    };
    const onDrop = (event: DragEvent) => {
      setOver(false);
      if (!event.dataTransfer || !hasFiles(event) || handedOn.has(event)) return;
      event.preventDefault();
      event.stopPropagation();
      bring(event.dataTransfer, event);
    };
    const onPaste = (event: ClipboardEvent) => {
      const transfer = event.clipboardData;
      if (!transfer || transfer.files.length === 0) return;
      // A picture with text is a part of a page or a table, from which Excalidraw makes more than an image.
      const hasText = transfer.types.some((type) => type.startsWith("text/"));
      if (onBoard(event) && hasText && [...transfer.files].every(isImage)) return;
      event.preventDefault();
      event.stopPropagation();
      bring(transfer, event);
    };
    const capture = { capture: true };
    window.addEventListener("dragover", onOver, capture);
    window.addEventListener("dragleave", onLeave, capture);
    window.addEventListener("drop", onDrop, capture);
    window.addEventListener("paste", onPaste, capture);
    return () => {
      window.removeEventListener("dragover", onOver, capture);
      window.removeEventListener("dragleave", onLeave, capture);
      window.removeEventListener("drop", onDrop, capture);
      window.removeEventListener("paste", onPaste, capture);
    };
  }, [chat, notices]);
  return over;
}

function hasFiles(event: DragEvent): boolean {
  return event.dataTransfer?.types.includes("Files") ?? false;
}

/** Must be called while the event is handled, because the browser empties it afterwards. */
function contentOf(transfer: DataTransfer): { files: File[]; folders: string[] } {
  const [files, folders]: [File[], string[]] = [[], []];
  for (const item of transfer.items) {
    if (item.kind !== "file") continue;
    const entry = item.webkitGetAsEntry?.();
    const file = item.getAsFile();
    if (entry?.isDirectory) folders.push(entry.name);
    else if (file) files.push(file);
  }
  return { files, folders };
}

function folderSentence(name: string): string {
  return `“${name}” is a folder, and only files can be sent. Put it into one file first, a ZIP for example.`;
}

function onBoard(event: Event): boolean {
  const target = event.target;
  // A paste without a focused element goes to the body, where the board listens.
  if (event.type === "paste" && target === document.body) return true;
  return target instanceof Element && target.closest("#board") !== null;
}

/** While dragging, only the type is known, and drawings have none. */
function mayBeForBoard(type: string): boolean {
  return type === "" || type === "application/json" || isImage({ type });
}

function isImage({ type }: { type: string }): boolean {
  return IMAGE_TYPES.some((known) => known === type);
}
