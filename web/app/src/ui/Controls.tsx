import type { MediaState, Switch } from "../model/media";
import type { Session, Visit } from "../model/session";
import { useSource } from "../model/store";
import { IconButton } from "./IconButton";
import {
  CameraIcon,
  CameraOffIcon,
  ChatIcon,
  LeaveIcon,
  MicrophoneIcon,
  MicrophoneOffIcon,
  PeopleIcon,
  ScreenIcon,
  TurnIcon,
} from "./icons";
import { PanelButton } from "./PanelButton";
import { SHORTCUTS } from "./shortcuts";

/** Switches for camera and microphone, in the room and before joining. */
export function MediaSwitches({ session }: { session: Session }) {
  const { media } = session;
  const state = useSource(media.state);
  const { microphone, camera, supported } = state;
  return (
    <>
      <IconButton
        id="toggle-audio"
        icon={microphone === "on" ? MicrophoneIcon : MicrophoneOffIcon}
        label={labelOf("microphone", microphone)}
        pressed={microphone === "on"}
        busy={microphone === "starting"}
        disabled={!supported}
        shortcut={SHORTCUTS.microphone.keys}
        className="switch"
        onClick={() => void media.toggle("audio")}
      />
      <IconButton
        id="toggle-video"
        icon={camera === "on" ? CameraIcon : CameraOffIcon}
        label={labelOf("camera", camera)}
        pressed={camera === "on"}
        busy={camera === "starting"}
        disabled={!supported}
        shortcut={SHORTCUTS.camera.keys}
        className="switch"
        onClick={() => void media.toggle("video")}
      />
      {canTurn(state) && (
        <IconButton
          id="turn-camera"
          icon={TurnIcon}
          label={state.facing === "environment" ? "To the front camera" : "To the rear camera"}
          className="switch quiet"
          onClick={() => void media.turnCamera()}
        />
      )}
    </>
  );
}

function labelOf(what: string, now: Switch): string {
  if (now === "starting") return `Stop waiting for the ${what}`;
  return now === "on" ? `Turn ${what} off` : `Turn ${what} on`;
}

/** True on phones: a camera that reports where it looks, or several cameras and a touch screen. */
function canTurn({ camera, cameras, facing }: MediaState): boolean {
  return camera === "on" && (facing !== undefined || (cameras.length > 1 && matchMedia("(pointer: coarse)").matches));
}

/** Controls with text only, for the case that the others cannot be shown. */
export function PlainControls({ session, onRetry }: { session: Session; onRetry: () => void }) {
  return (
    <div className="controls" role="toolbar" aria-label="Call">
      <button type="button" className="button small" onClick={() => void session.media.toggle("audio")}>
        Microphone
      </button>
      <button type="button" className="button small" onClick={() => void session.media.toggle("video")}>
        Camera
      </button>
      <button type="button" className="button small retry" onClick={onRetry}>
        All switches
      </button>
      <button type="button" className="button small" id="leave" onClick={() => session.leave()}>
        Leave
      </button>
    </div>
  );
}

const SCREEN_LABELS: Record<Switch, string> = {
  off: "Share a screen",
  starting: "Stop waiting for a screen",
  on: "Stop sharing the screen",
};

export function Controls({ session, visit }: { session: Session; visit: Visit }) {
  const { media } = session;
  const { screen, screenSupported } = useSource(media.state);
  const unread = useSource(visit.chat.unread);
  return (
    <div className="controls" role="toolbar" aria-label="Call">
      <MediaSwitches session={session} />
      {screenSupported && (
        <IconButton
          id="toggle-screen"
          icon={ScreenIcon}
          label={SCREEN_LABELS[screen]}
          pressed={screen === "on"}
          busy={screen === "starting"}
          className="switch quiet"
          onClick={() => void media.setScreen(screen === "off")}
        />
      )}
      <span className="gap" />
      <PanelButton session={session} panel="people" icon={PeopleIcon} label="People" />
      <PanelButton session={session} panel="chat" icon={ChatIcon} label="Chat" badge={unread} />
      <span className="gap" />
      <IconButton
        id="leave"
        icon={LeaveIcon}
        label="Leave the room"
        className="leave"
        onClick={() => session.leave()}
      />
    </div>
  );
}
