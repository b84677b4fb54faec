import { type FormEvent, useEffect, useRef, useState } from "react";
import { preferences } from "../model/preferences";
import type { Session } from "../model/session";
import { useSource } from "../model/store";
import { MediaSwitches } from "./Controls";
import { Brand } from "./icons";
import { NameInput } from "./NameField";
import { PlainHttpNote } from "./PlainHttpNote";
import { DeviceChoices } from "./Settings";
import { useHasVideo, Video } from "./VideoTile";

/** The step before a room: who one is, and whether with camera. Nothing is asked of the browser before a click. */
export function Entry({ session }: { session: Session }) {
  const { media } = session;
  const state = useSource(media.state);
  const [name, setName] = useState(session.name.get());
  const field = useRef<HTMLInputElement>(null);
  const usesDevices = state.camera !== "off" || state.microphone !== "off";
  const starting = state.camera === "starting" || state.microphone === "starting";

  useEffect(() => {
    if (!preferences.name) field.current?.focus();
  }, []);

  const join = () => {
    const clean = name.trim();
    if (clean !== session.name.get()) session.rename(clean);
    void session.join();
  };
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    if (state.supported && !usesDevices) {
      await media.openBoth();
      // The reason is on the page now; one can go in without.
      if (media.state.get().problem) return;
    }
    join();
  };

  return (
    <main className="entry">
      <header>
        <a className="brand" href="/" aria-label="bimcc-rtc, to the start">
          <Brand />
        </a>
        <h1 id="title" dir="auto" title={session.room}>
          {session.room}
        </h1>
      </header>
      {!state.supported && <PlainHttpNote />}
      <form id="entry-form" onSubmit={(event) => void submit(event)}>
        {state.supported && (
          <div className="preview">
            <Preview session={session} />
            <div className="preview-switches">
              <MediaSwitches session={session} />
            </div>
          </div>
        )}
        <NameInput id="entry-name" ref={field} value={name} onChange={setName} />
        {usesDevices && <DeviceChoices media={media} />}
        {state.problem && (
          <p className="problem" role="alert">
            {state.problem} Or join without: that can be changed inside.
          </p>
        )}
        <div className="row join-row">
          <button type="submit" className="button primary" id="join" disabled={starting}>
            {!state.supported || usesDevices ? "Join" : "Join with camera and microphone"}
          </button>
          {state.supported && !usesDevices && (
            <button type="button" className="button" id="join-without" onClick={join}>
              Join without
            </button>
          )}
        </div>
      </form>
    </main>
  );
}

function Preview({ session }: { session: Session }) {
  const { camera, microphone, version } = useSource(session.media.state);
  const hasVideo = useHasVideo(session.media.stream) && camera === "on";
  if (camera === "on" && (hasVideo || version > 0)) return <Video stream={session.media.stream} silent mirrored />;
  if (camera === "starting" || microphone === "starting") return <p>Waiting for your leave…</p>;
  return <p>{microphone === "on" ? "Camera is off, microphone is on" : "Camera and microphone are off"}</p>;
}
