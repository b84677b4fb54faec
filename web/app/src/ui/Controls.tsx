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
} from "./icons";
import { PanelButton } from "./PanelButton";
import { SHORTCUTS } from "./shortcuts";

/** Switches for camera and microphone, here and before one joins. */
export function MediaSwitches({ session }: { session: Session }) {
  const { media } = session;
  const { microphone, camera, supported } = useSource(media.state);
  return (
    <>
      <IconButton
        id="toggle-audio"
        icon={microphone === "on" ? MicrophoneIcon : MicrophoneOffIcon}
        label={microphone === "on" ? "Turn microphone off" : "Turn microphone on"}
        pressed={microphone === "on"}
        busy={microphone === "starting"}
        disabled={!supported}
        shortcut={SHORTCUTS.microphone.keys}
        className="switch"
        onClick={() => void media.setMicrophone(microphone !== "on")}
      />
      <IconButton
        id="toggle-video"
        icon={camera === "on" ? CameraIcon : CameraOffIcon}
        label={camera === "on" ? "Turn camera off" : "Turn camera on"}
        pressed={camera === "on"}
        busy={camera === "starting"}
        disabled={!supported}
        shortcut={SHORTCUTS.camera.keys}
        className="switch"
        onClick={() => void media.setCamera(camera !== "on")}
      />
    </>
  );
}

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
          label={screen === "on" ? "Stop sharing the screen" : "Share a screen"}
          pressed={screen === "on"}
          busy={screen === "starting"}
          className="switch quiet"
          onClick={() => void media.setScreen(screen !== "on")}
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
