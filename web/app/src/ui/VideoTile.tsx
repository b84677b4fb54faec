import { type ReactNode, useEffect, useRef, useState } from "react";
import { Avatar } from "./Avatar";
import { Boundary, Broken } from "./Boundary";
import { LargeIcon, MicrophoneOffIcon } from "./icons";

interface VideoTileProps {
  id: string;
  name: string;
  /** A text that the tile shows instead of the name. */
  label?: string;
  stream: MediaStream | undefined;
  kind: "camera" | "screen";
  /** Whether it is this member's own tile: without sound, and the camera mirrored. */
  own?: boolean;
  /** The back camera of a phone is not mirrored. */
  facesAway?: boolean;
  muted?: boolean;
  /** Whether the camera is known to be off. */
  cameraOff?: boolean;
  /** How the member is connected, or why not. */
  path?: string;
  trouble?: boolean;
  onEnlarge: ((id: string) => void) | undefined;
}

/** If one tile cannot be shown, the others stay. */
export function VideoTile(props: VideoTileProps) {
  const instead = (retry: () => void) => (
    <li className="tile" data-peer={props.id}>
      <Broken what={`The picture of ${props.name}`} onRetry={retry} />
    </li>
  );
  return (
    <Boundary what={props.name} instead={instead}>
      <Tile {...props} />
    </Boundary>
  );
}

function Tile(props: VideoTileProps) {
  const { id, name, stream, kind, own = false } = props;
  const hasVideo = useHasVideo(stream) && !props.cameraOff;
  const label = props.label ?? (kind === "screen" ? `${name}, screen` : name);
  const enlarge = props.onEnlarge;
  return (
    <li
      className="tile"
      id={own && kind === "camera" ? "self" : undefined}
      data-kind={kind}
      data-own={own}
      data-peer={id}
      data-muted={props.muted ?? false}
      data-trouble={props.trouble ?? false}
    >
      {stream && (
        <Video
          stream={stream}
          silent={own}
          mirrored={own && kind === "camera" && !props.facesAway}
          hidden={!hasVideo}
        />
      )}
      {!hasVideo && <Avatar id={id} name={name} />}
      <div className="caption">
        {props.muted && (
          <span className="muted" role="img" aria-label="microphone off" title="Microphone off">
            <MicrophoneOffIcon />
          </span>
        )}
        <span className="name" dir="auto" title={label}>
          {label}
        </span>
        {props.path && <span className="path">{props.path}</span>}
      </div>
      {hasVideo && enlarge && stream && (
        <button
          type="button"
          className="enlarge"
          aria-label={`Show ${label} large`}
          title="Show large"
          onClick={() => enlarge(stream.id)}
        >
          <LargeIcon />
        </button>
      )}
    </li>
  );
}

interface VideoProps {
  stream: MediaStream;
  silent: boolean;
  mirrored?: boolean;
  hidden?: boolean;
}

/** Plays a stream. If the browser allows no sound without a click, there is a button to click. */
export function Video({ stream, silent, mirrored = false, hidden = false }: VideoProps) {
  const ref = useRef<HTMLVideoElement>(null);
  const [blocked, setBlocked] = useState(false);

  useEffect(() => {
    const video = ref.current;
    if (!video) return;
    video.srcObject = stream;
    play(video, setBlocked);
    return () => {
      video.srcObject = null;
    };
  }, [stream]);

  return (
    <>
      <video
        ref={ref}
        autoPlay
        playsInline
        muted={silent}
        data-mirrored={mirrored}
        data-hidden={hidden}
        tabIndex={-1}
      />
      {blocked && !silent && (
        <Unblock
          onClick={() => {
            const video = ref.current;
            if (!video) return;
            video.muted = false;
            play(video, setBlocked);
          }}
        >
          Turn on sound
        </Unblock>
      )}
    </>
  );
}

function Unblock({ onClick, children }: { onClick: () => void; children: ReactNode }) {
  return (
    <button type="button" className="unblock" onClick={onClick}>
      {children}
    </button>
  );
}

/** The picture does not have to wait for the click that sound needs. */
function play(video: HTMLVideoElement, setBlocked: (blocked: boolean) => void): void {
  setBlocked(false);
  video.play().catch((error) => {
    if (!(error instanceof DOMException) || error.name !== "NotAllowedError") return;
    setBlocked(true);
    video.muted = true;
    video.play().catch(() => {});
  });
}

/** Whether a stream has a picture now; tracks come and go, and a remote one may be without frames for a while. */
export function useHasVideo(stream: MediaStream | undefined): boolean {
  const [has, setHas] = useState(() => hasVideo(stream));
  useEffect(() => {
    const look = () => setHas(hasVideo(stream));
    look();
    if (!stream) return;
    stream.addEventListener("addtrack", look);
    stream.addEventListener("removetrack", look);
    // The stream has no events for tracks that the page itself adds or removes.
    const timer = setInterval(look, 1000);
    return () => {
      stream.removeEventListener("addtrack", look);
      stream.removeEventListener("removetrack", look);
      clearInterval(timer);
    };
  }, [stream]);
  return has;
}

function hasVideo(stream: MediaStream | undefined): boolean {
  return stream?.getVideoTracks().some((track) => track.readyState === "live") ?? false;
}
