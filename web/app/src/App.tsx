import { useEffect } from "react";
import type { Session } from "./model/session";
import { Boundary } from "./ui/Boundary";
import { Lobby } from "./ui/Lobby";
import { Rescue } from "./ui/Rescue";
import { RoomPage } from "./ui/RoomPage";

/** With a session, this is the page of its room, else the lobby. */
export function App({ session }: { session: Session | undefined }) {
  useEffect(() => {
    if (!session) {
      document.body.dataset.state = "lobby";
      return;
    }
    return keepTidy(session);
  }, [session]);
  return (
    <Boundary what="The page" instead={(retry) => <Rescue session={session} onRetry={retry} />}>
      {session ? <RoomPage session={session} /> : <Lobby />}
    </Boundary>
  );
}

/**
 * Leaves the room when the page goes, so that the others do not wait, and asks before a file would be lost by mistake.
 */
function keepTidy(session: Session): () => void {
  const onHide = () => {
    if (session.phase.get().name !== "entry") session.leave();
  };
  const onBeforeUnload = (event: BeforeUnloadEvent) => {
    if (session.visit?.chat.busy) event.preventDefault();
  };
  window.addEventListener("pagehide", onHide);
  window.addEventListener("beforeunload", onBeforeUnload);
  return () => {
    window.removeEventListener("pagehide", onHide);
    window.removeEventListener("beforeunload", onBeforeUnload);
  };
}
