import { useEffect, useRef } from "react";
import type { Session, Visit } from "../model/session";
import { useSource } from "../model/store";
import { IconButton } from "./IconButton";
import { SmallIcon } from "./icons";
import { Video } from "./VideoTile";

interface LargeViewProps {
  session: Session;
  visit: Visit;
}

/** One picture over the board. Its sound continues in the strip. */
export function LargeView({ session, visit }: LargeViewProps) {
  const large = useSource(session.large);
  const people = useSource(visit.people.list);
  useSource(session.media.state);
  const view = useRef<HTMLElement>(null);
  const shown = large === undefined ? undefined : find(session, people, large);

  useEffect(() => {
    if (shown?.stream) view.current?.focus();
  }, [shown?.stream]);

  if (!shown) return null;
  const close = () => session.large.set(undefined);
  return (
    <section
      className="large"
      ref={view}
      tabIndex={-1}
      aria-label={`${shown.name}, large`}
      onKeyDown={(event) => {
        if (event.key !== "Escape") return;
        event.stopPropagation();
        close();
      }}
    >
      <Video stream={shown.stream} silent mirrored={shown.mirrored} />
      <div className="large-bar">
        <span className="name" dir="auto">
          {shown.name}
        </span>
        <IconButton icon={SmallIcon} label="Back to the board" shortcut="Escape" onClick={close} />
      </div>
    </section>
  );
}

function find(session: Session, people: ReturnType<Visit["people"]["list"]["get"]>, id: string) {
  const { stream, screenStream, state } = session.media;
  if (id === stream.id) return { stream, name: "You", mirrored: state.get().facing !== "environment" };
  if (screenStream && id === screenStream.id) return { stream: screenStream, name: "Your screen", mirrored: false };
  for (const person of people) {
    const found = person.streams.find((candidate) => candidate.id === id);
    if (!found) continue;
    const name = found.kind === "screen" ? `${person.name}, screen` : person.name;
    return { stream: found.stream, name, mirrored: false };
  }
  return undefined;
}
