import { type ReactNode, useEffect, useRef } from "react";
import { BASE_PATH } from "../logic/base_path";
import type { Ending, Remedy } from "../model/endings";
import type { Session } from "../model/session";
import { Brand } from "./icons";

/** One thing in the middle of the page. */
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
    </FullPage>
  );
}
