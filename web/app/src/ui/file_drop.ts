import { useEffect, useState } from "react";
import type { Chat } from "../model/chat";

/**
 * Files dropped on the page, or pasted outside of the board, go to everybody. The board keeps what it takes itself: images
 * and drawings dropped or pasted there. True while files are over the page.
 */
export function useFileDrop(chat: Chat): boolean {
  const [over, setOver] = useState(false);
  useEffect(() => {
    const isForBoard = (event: DragEvent) =>
      onBoard(event) && [...(event.dataTransfer?.items ?? [])].every((item) => isBoardType(item.type));
    const onOver = (event: DragEvent) => {
      if (!hasFiles(event) || isForBoard(event)) return setOver(false);
      // Without this the browser would leave the room to show the file.
      event.preventDefault();
      event.stopPropagation();
      setOver(true);
    };
    const onLeave = (event: DragEvent) => {
      if (event.relatedTarget === null) setOver(false);
    };
    const onDrop = (event: DragEvent) => {
      setOver(false);
      if (!hasFiles(event) || isForBoard(event)) return;
      event.preventDefault();
      event.stopPropagation();
      chat.sendFiles([...(event.dataTransfer?.files ?? [])]);
    };
    const onPaste = (event: ClipboardEvent) => {
      const files = [...(event.clipboardData?.files ?? [])];
      if (files.length === 0 || onBoard(event)) return;
      event.preventDefault();
      chat.sendFiles(files);
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
  }, [chat]);
  return over;
}

function hasFiles(event: DragEvent): boolean {
  return event.dataTransfer?.types.includes("Files") ?? false;
}

function onBoard(event: Event): boolean {
  const target = event.target;
  // A paste with nothing focused goes to the body, and the board listens there.
  if (event.type === "paste" && target === document.body) return true;
  return target instanceof Element && target.closest("#board") !== null;
}

/** While dragging only the type is known; drawings come without one. */
function isBoardType(type: string): boolean {
  return type === "" || type.startsWith("image/") || type === "application/json";
}
