import { type ReactNode, useEffect, useRef, useState } from "react";
import { boardToSave, hasBoardToSave } from "../board/last_board";
import { BASE_PATH } from "../logic/base_path";
import { fileNameOf } from "../logic/names";
import type { Ending, Remedy } from "../model/endings";
import type { Session } from "../model/session";
import { download } from "../model/transfers";
import { Brand } from "./icons";

/** A page with one message in the middle. */
export function FullPage({ title, children }: { title: string; children: ReactNode }) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus(), []);
  return (
    <main className="full-page">
      <a className="brand" href={BASE_PATH} aria-label="bimcc-rtc, to the start">
        <Brand />
      </a>
      <h1 ref={heading} tabIndex={-1}>
        {title}
      </h1>
      {children}
    </main>
  );
}

const LABELS: Record<Remedy, string> = { again: "Try again", here: "Use it here", other_room: "Choose another room" };

export function EndedPage({ session, ending }: { session: Session; ending: Ending }) {
  useEffect(() => {
    if (ending.reason !== "unreachable") return;
    const again = () => void session.join();
    window.addEventListener("online", again);
    return () => window.removeEventListener("online", again);
  }, [session, ending]);

  return (
    <FullPage title={ending.title}>
      <p id="state" role="status">
        {ending.text}
      </p>
      <div className="row">
        {ending.remedies.map((remedy, index) => {
          const style = `button ${index === 0 ? "primary" : ""}`;
          const label = remedy === "again" && ending.reason === "left" ? "Join again" : LABELS[remedy];
          return remedy === "other_room" ? (
            <a key={remedy} className={style} href={BASE_PATH}>
              {label}
            </a>
          ) : (
            <button key={remedy} type="button" className={style} id="again" onClick={() => void session.join()}>
              {label}
            </button>
          );
        })}
      </div>
      {!ending.boardStays && <SaveBoard session={session} isAlone={ending.reason === "left"} />}
    </FullPage>
  );
}

/** For a user who was the only one with the board at the end. */
function SaveBoard({ session, isAlone }: { session: Session; isAlone: boolean }) {
  const [there, setThere] = useState(false);
  // The board stores itself when it is unmounted, and that is before the effects of this page run.
  useEffect(() => setThere(hasBoardToSave(session.room)), [session]);
  if (!there) return null;
  return (
    <>
      <p className="hint">
        {isAlone ? "The board is in this tab alone, and gone when you close it." : "The board is as you last saw it."}
      </p>
      <div className="row">
        <button type="button" className="button" id="save-board" onClick={() => void saveBoard(session.room)}>
          Save the board
        </button>
      </div>
    </>
  );
}

async function saveBoard(room: string): Promise<void> {
  const file = await boardToSave(room);
  if (!file) return;
  const href = URL.createObjectURL(file);
  download(href, fileNameOf(file.name));
  // The browser reads the URL only after the click.
  setTimeout(() => URL.revokeObjectURL(href), 60_000);
}
