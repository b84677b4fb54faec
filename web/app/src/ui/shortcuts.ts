// Keys that work wherever the focus is. They are Alt with a letter, because the board uses letters alone and with Ctrl.
import { useEffect } from "react";
import type { Session } from "../model/session";

export const SHORTCUTS = {
  microphone: { code: "KeyM", keys: "Alt+M", does: "Microphone on or off" },
  camera: { code: "KeyK", keys: "Alt+K", does: "Camera on or off" },
  chat: { code: "KeyJ", keys: "Alt+J", does: "Open or close the chat" },
  people: { code: "KeyP", keys: "Alt+P", does: "Open or close the list of people" },
  invite: { code: "KeyI", keys: "Alt+I", does: "Open or close the invitation" },
} as const;

type Action = keyof typeof SHORTCUTS;

export function useShortcuts(session: Session): void {
  useEffect(() => {
    const { media } = session;
    const actions: Record<Action, () => void> = {
      microphone: () => media.state.get().supported && void media.toggle("audio"),
      camera: () => media.state.get().supported && void media.toggle("video"),
      chat: () => session.togglePanel("chat"),
      people: () => session.togglePanel("people"),
      invite: () => session.togglePanel("invite"),
    };
    const onKey = (event: KeyboardEvent) => {
      if (!event.altKey || event.ctrlKey || event.metaKey || event.shiftKey || event.repeat) return;
      // The position on the keyboard counts, because on some systems Alt changes the letter.
      const action = (Object.keys(SHORTCUTS) as Action[]).find((name) => SHORTCUTS[name].code === event.code);
      if (!action) return;
      event.preventDefault();
      event.stopPropagation();
      actions[action]();
    };
    // This listener must run before the board's.
    window.addEventListener("keydown", onKey, { capture: true });
    return () => window.removeEventListener("keydown", onKey, { capture: true });
  }, [session]);
}
