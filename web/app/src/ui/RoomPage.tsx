import { useEffect, useState } from "react";
import { BASE_PATH } from "../logic/base_path";
import type { Session, Visit } from "../model/session";
import { useSource } from "../model/store";
import { AloneCard } from "./AloneCard";
import { Banner } from "./Banner";
import { BoardArea } from "./BoardArea";
import { Boundary } from "./Boundary";
import { Controls, PlainControls } from "./Controls";
import { Entry } from "./Entry";
import { EndedPage, FullPage } from "./FullPage";
import { useFileDrop } from "./file_drop";
import { IconButton } from "./IconButton";
import { Brand, InviteIcon, SettingsIcon } from "./icons";
import { LargeView } from "./LargeView";
import { NoticeList } from "./NoticeList";
import { PanelButton } from "./PanelButton";
import { PlainHttpNote } from "./PlainHttpNote";
import { Settings } from "./Settings";
import { SidePanel } from "./SidePanel";
import { useShortcuts } from "./shortcuts";
import { Tiles } from "./Tiles";

export function RoomPage({ session }: { session: Session }) {
  const phase = useSource(session.phase);
  useEffect(() => {
    document.title = `${session.room} · bimcc-rtc`;
  }, [session]);
  switch (phase.name) {
    case "entry":
      return <EntryPage session={session} />;
    case "joining":
      return <JoiningPage session={session} />;
    case "inside":
      return <Inside session={session} visit={phase.visit} />;
    case "ended":
      return <Ended session={session} ending={phase.ending} />;
  }
}

/** Marks the state of the page, for styles and for tests. */
function useBodyState(state: string): void {
  useEffect(() => {
    document.body.dataset.state = state;
  }, [state]);
}

function EntryPage({ session }: { session: Session }) {
  useBodyState("entry");
  useShortcuts(session);
  return <Entry session={session} />;
}

function JoiningPage({ session }: { session: Session }) {
  useBodyState("joining");
  return (
    <FullPage title="Going in…">
      <p id="state" role="status">
        Connecting to the server.
      </p>
      <div className="row">
        <button type="button" className="button" onClick={() => session.cancel()}>
          Cancel
        </button>
      </div>
    </FullPage>
  );
}

function Ended({ session, ending }: { session: Session; ending: Parameters<typeof EndedPage>[0]["ending"] }) {
  const { reason } = ending;
  useBodyState(reason === "room_full" ? "full" : reason === "left" ? "left" : "refused");
  return <EndedPage session={session} ending={ending} />;
}

function Inside({ session, visit }: { session: Session; visit: Visit }) {
  const people = useSource(visit.people.list);
  const server = useSource(session.server);
  const panel = useSource(session.panel);
  const [settings, setSettings] = useState(false);
  const dropping = useFileDrop(visit.chat, session.notices);
  const alone = people.length === 0;
  // A user who has had company knows how to invite others; when a peer reloads, nothing must cover the board.
  const [hadCompany, setHadCompany] = useState(false);
  useEffect(() => {
    if (!alone) setHadCompany(true);
  }, [alone]);
  useBodyState(server === "reconnecting" ? "away" : alone ? "alone" : "joined");
  useShortcuts(session);

  return (
    <div className="room" id="room" data-panel={panel}>
      <header className="bar">
        <a className="brand" href={BASE_PATH} aria-label="bimcc-rtc, to the start" target="_blank" rel="noopener">
          <Brand />
        </a>
        <h1 id="title" dir="auto" title={session.room}>
          {session.room}
        </h1>
        <p id="state" role="status">
          {alone ? "Only you" : `${people.length + 1} people`}
        </p>
      </header>
      <Boundary what="The switches" instead={(retry) => <PlainControls session={session} onRetry={retry} />}>
        <Controls session={session} visit={visit} />
      </Boundary>
      <div className="tools">
        <PanelButton session={session} panel="invite" icon={InviteIcon} label="Invite others" />
        <IconButton id="open-settings" icon={SettingsIcon} label="Settings" onClick={() => setSettings(true)} />
      </div>
      <Boundary what="A notice">
        <Banners session={session} />
      </Boundary>
      <main className="stage">
        <Boundary what="The pictures">
          <Tiles session={session} visit={visit} />
        </Boundary>
        <div className="board-frame">
          <Boundary what="The whiteboard">
            <BoardArea session={session} room={visit.room} />
          </Boundary>
          <Boundary what="The large picture">
            <LargeView session={session} visit={visit} />
          </Boundary>
          <Boundary what="The invitation">
            {alone && !hadCompany && panel !== "invite" && <AloneCard session={session} />}
          </Boundary>
          {dropping && <div className="drop-here">Drop files to send them to everybody</div>}
        </div>
        <SidePanel session={session} visit={visit} />
      </main>
      <Boundary what="A notice">
        <NoticeList notices={session.notices} />
      </Boundary>
      <Boundary what="The settings" key={`settings ${settings}`}>
        <Settings session={session} open={settings} onClose={() => setSettings(false)} />
      </Boundary>
    </div>
  );
}

function Banners({ session }: { session: Session }) {
  const server = useSource(session.server);
  const { supported, problem } = useSource(session.media.state);
  const [noteRead, setNoteRead] = useState(false);
  return (
    <div className="banners">
      {server === "reconnecting" && (
        <Banner tone="warning" id="away">
          Reconnecting to the server… Calls, drawing and chat with the people who are here go on.
        </Banner>
      )}
      {!supported && !noteRead && (
        <Banner tone="info" onClose={() => setNoteRead(true)}>
          <PlainHttpNote />
        </Banner>
      )}
      {problem && (
        <Banner tone="warning" onClose={() => session.media.forgetProblem()}>
          {problem}
        </Banner>
      )}
    </div>
  );
}
