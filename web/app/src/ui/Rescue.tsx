import type { Session } from "../model/session";
import { useSource } from "../model/store";
import { Boundary } from "./Boundary";
import { MediaSwitches } from "./Controls";
import { FullPage } from "./FullPage";

interface RescueProps {
  session: Session | undefined;
  onRetry: () => void;
}

/**
 * Shown instead of a page that cannot be shown. The user may still be in a room, and must be able to mute and to leave.
 */
export function Rescue({ session, onRetry }: RescueProps) {
  return (
    <FullPage title="This page has stopped">
      <p id="state" role="alert">
        Something on it could not be shown.
      </p>
      {session && <Call session={session} />}
      <div className="row">
        <button type="button" className="button primary retry" onClick={onRetry}>
          Try again
        </button>
        <button type="button" className="button" onClick={() => location.reload()}>
          Load the page anew
        </button>
      </div>
    </FullPage>
  );
}

function Call({ session }: { session: Session }) {
  const phase = useSource(session.phase);
  if (phase.name !== "inside") return null;
  return (
    <>
      <p>You are still in the room. The others see and hear what is on.</p>
      <Boundary what="The switches" instead={() => <LeaveButton session={session} />}>
        <div className="row" role="toolbar" aria-label="Call">
          <MediaSwitches session={session} />
          <LeaveButton session={session} />
        </div>
      </Boundary>
    </>
  );
}

function LeaveButton({ session }: { session: Session }) {
  return (
    <button type="button" className="button" id="leave" onClick={() => session.leave()}>
      Leave the room
    </button>
  );
}
