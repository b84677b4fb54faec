import { useEffect, useRef } from "react";
import type { Panel, Session, Visit } from "../model/session";
import { useSource } from "../model/store";
import { Boundary } from "./Boundary";
import { ChatPanel } from "./ChatPanel";
import { IconButton } from "./IconButton";
import { InvitePanel } from "./InvitePanel";
import { CloseIcon } from "./icons";
import { isPlainKey } from "./keys";
import { PeoplePanel } from "./PeoplePanel";

const TITLES: Record<Panel, string> = { chat: "Chat", people: "People", invite: "Invite others" };

const STOPPED: Record<Panel, string> = {
  chat: "The chat",
  people: "The list of people",
  invite: "The invitation",
};

export function SidePanel({ session, visit }: { session: Session; visit: Visit }) {
  const panel = useSource(session.panel);
  const element = useRef<HTMLElement>(null);
  const openedFrom = useRef<Element | null>(null);

  useEffect(() => {
    if (!panel) return;
    openedFrom.current = document.activeElement;
    if (panel !== "chat") element.current?.focus({ preventScroll: true });
  }, [panel]);

  if (!panel) return null;
  const close = () => {
    session.panel.set(undefined);
    // Moves the focus back to where it was. An element that is gone cannot get the focus and does not need it.
    if (openedFrom.current instanceof HTMLElement) openedFrom.current.focus();
  };
  return (
    <aside
      className="panel"
      id="panel"
      ref={element}
      tabIndex={-1}
      aria-label={TITLES[panel]}
      onKeyDown={(event) => {
        if (!isPlainKey("Escape", event.nativeEvent)) return;
        event.stopPropagation();
        close();
      }}
    >
      <header className="panel-head">
        <h2>{TITLES[panel]}</h2>
        <IconButton icon={CloseIcon} label="Close" onClick={close} id="close-panel" />
      </header>
      <div className="panel-body">
        <Boundary what={STOPPED[panel]} key={panel}>
          {panel === "chat" && <ChatPanel visit={visit} />}
          {panel === "people" && <PeoplePanel session={session} visit={visit} />}
          {panel === "invite" && <InvitePanel room={session.room} />}
        </Boundary>
      </div>
    </aside>
  );
}
