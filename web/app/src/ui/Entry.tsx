import { type FormEvent, useEffect, useRef, useState } from "react";
import { BASE_PATH } from "../logic/base_path";
import { nameProblem } from "../logic/names";
import { NO_WEBRTC } from "../model/endings";
import type { MediaState } from "../model/media";
import { preferences } from "../model/preferences";
import type { Session } from "../model/session";
import { useSource } from "../model/store";
import { Boundary } from "./Boundary";
import { MediaSwitches } from "./Controls";
import { Brand } from "./icons";
import { keepForInputMethod } from "./keys";
import { NameInput } from "./NameField";
import { PlainHttpNote } from "./PlainHttpNote";
import { DeviceChoices } from "./Settings";
import { useHasVideo, Video } from "./VideoTile";

/**
 * The step before a room: the user's name, and whether to use the camera. The browser is asked for nothing before a
 * click.
 */
export function Entry({ session }: { session: Session }) {
  const { media } = session;
  const state = useSource(media.state);
  const [name, setName] = useState(session.name.get());
  const field = useRef<HTMLInputElement>(null);
  const usesDevices = isOn(state);
  const starting = state.camera === "starting" || state.microphone === "starting";
  const latestName = useRef(name);
  latestName.current = name;
  /** Counts the attempts to go in; only the last one is valid. */
  const wishes = useRef(0);

  useEffect(() => {
    if (!preferences.name) field.current?.focus();
  }, []);

  const join = () => {
    wishes.current++;
    const clean = latestName.current.trim();
    if (nameProblem(clean)) return field.current?.focus();
    if (clean !== session.name.get()) session.rename(clean);
    void session.join();
  };
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    if (nameProblem(latestName.current)) return field.current?.focus();
    if (state.supported && !usesDevices) {
      const wish = ++wishes.current;
      await media.openBoth();
      // If no device could be opened, the user stays here. The page now shows the reason, and the user can join without
      // devices.
      if (wish !== wishes.current || !isOn(media.state.get())) return;
    }
    join();
  };
  const joinWithout = () => {
    if (nameProblem(latestName.current)) return field.current?.focus();
    // The browser may answer very late or never.
    media.giveUp();
    join();
  };

  return (
    <main className="entry">
      <header>
        <a className="brand" href={BASE_PATH} aria-label="bimcc-rtc, to the start">
          <Brand />
        </a>
        <h1 id="title" dir="auto" title={session.room}>
          {session.room}
        </h1>
      </header>
      {!state.supported && <PlainHttpNote />}
      {typeof RTCPeerConnection === "undefined" && (
        <p className="problem" id="no-webrtc" role="alert">
          This browser cannot make calls. {NO_WEBRTC}
        </p>
      )}
      <form id="entry-form" onSubmit={(event) => void submit(event)} onKeyDown={keepForInputMethod}>
        {state.supported && (
          <div className="preview">
            <Boundary what="Your picture">
              <Preview session={session} />
            </Boundary>
            <div className="preview-switches">
              <MediaSwitches session={session} />
            </div>
          </div>
        )}
        <NameInput id="entry-name" ref={field} value={name} onChange={setName} />
        <Boundary what="The choice of devices">{usesDevices && <DeviceChoices media={media} />}</Boundary>
        {state.problem && (
          <p className="problem" role="alert">
            {state.problem} {!usesDevices && "Or join without: that can be changed inside."}
          </p>
        )}
        <div className="row join-row">
          <button type="submit" className="button primary" id="join" disabled={starting && !usesDevices}>
            {!state.supported || usesDevices ? "Join" : "Join with camera and microphone"}
          </button>
          {state.supported && !usesDevices && (
            <button type="button" className="button" id="join-without" onClick={joinWithout}>
              Join without
            </button>
          )}
        </div>
      </form>
    </main>
  );
}

/** Whether the others would see or hear this member. */
function isOn({ camera, microphone }: MediaState): boolean {
  return camera === "on" || microphone === "on";
}

function Preview({ session }: { session: Session }) {
  const { camera, microphone, version, facing } = useSource(session.media.state);
  const hasVideo = useHasVideo(session.media.stream) && camera === "on";
  if (camera === "on" && (hasVideo || version > 0)) {
    return <Video stream={session.media.stream} silent mirrored={facing !== "environment"} />;
  }
  if (microphone !== "on" && (camera === "starting" || microphone === "starting"))
    return <p>Waiting for your leave…</p>;
  return <p>{microphone === "on" ? "Camera is off, microphone is on" : "Camera and microphone are off"}</p>;
}
