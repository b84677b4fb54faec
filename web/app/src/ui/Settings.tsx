import { useEffect, useRef } from "react";
import type { LocalMedia } from "../model/media";
import type { ThemeChoice } from "../model/preferences";
import type { Session } from "../model/session";
import { useSource } from "../model/store";
import { chooseTheme, theme } from "../model/theme";
import { IconButton } from "./IconButton";
import { CloseIcon } from "./icons";
import { NameField } from "./NameField";
import { SHORTCUTS } from "./shortcuts";

interface SettingsProps {
  session: Session;
  open: boolean;
  onClose: () => void;
}

export function Settings({ session, open, onClose }: SettingsProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (!open) return dialog.current?.close();
    void session.media.refreshDevices();
    dialog.current?.showModal();
  }, [open, session]);

  return (
    <dialog ref={dialog} className="settings" aria-labelledby="settings-title" onClose={onClose}>
      {open && (
        <>
          <header className="panel-head">
            <h2 id="settings-title">Settings</h2>
            <IconButton icon={CloseIcon} label="Close" onClick={onClose} />
          </header>
          <NameField session={session} id="settings-name" />
          <DeviceChoices media={session.media} />
          <MediaProblem media={session.media} />
          <ThemeChoices />
          <h3>Keyboard</h3>
          <dl className="shortcuts">
            {Object.values(SHORTCUTS).map(({ keys, does }) => (
              <div className="shortcut" key={keys}>
                <dt>
                  <kbd>{keys}</kbd>
                </dt>
                <dd>{does}</dd>
              </div>
            ))}
            <div className="shortcut">
              <dt>
                <kbd>Escape</kbd>
              </dt>
              <dd>Close what is open</dd>
            </div>
          </dl>
          <p className="hint">The board has keys of its own: press ? on it.</p>
        </>
      )}
    </dialog>
  );
}

export function DeviceChoices({ media }: { media: LocalMedia }) {
  const { supported, cameras, microphones, cameraId, microphoneId, camera, microphone } = useSource(media.state);
  if (!supported) return null;
  return (
    <>
      <DeviceChoice
        id="camera-choice"
        label="Camera"
        devices={cameras}
        chosen={cameraId}
        isOff={camera === "off"}
        onChoose={(id) => void media.chooseDevice("video", id)}
      />
      <DeviceChoice
        id="microphone-choice"
        label="Microphone"
        devices={microphones}
        chosen={microphoneId}
        isOff={microphone === "off"}
        onChoose={(id) => void media.chooseDevice("audio", id)}
      />
    </>
  );
}

/** Shows the problem in a dialog that covers the page's own message. */
function MediaProblem({ media }: { media: LocalMedia }) {
  const { problem } = useSource(media.state);
  return problem ? (
    <p className="problem" role="alert">
      {problem}
    </p>
  ) : null;
}

interface DeviceChoiceProps {
  id: string;
  label: string;
  devices: readonly MediaDeviceInfo[];
  chosen: string;
  isOff: boolean;
  onChoose: (id: string) => void;
}

function DeviceChoice({ id, label, devices, chosen, isOff, onChoose }: DeviceChoiceProps) {
  const known = devices.some((device) => device.deviceId === chosen);
  const isAway = isOff && !known && chosen !== "" && devices.length > 0;
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      <select
        id={id}
        value={known ? chosen : (devices[0]?.deviceId ?? "")}
        disabled={devices.length === 0}
        onChange={(event) => onChoose(event.target.value)}
      >
        {devices.length === 0 && <option value="">Turn it on once to choose</option>}
        {devices.map((device) => (
          <option key={device.deviceId} value={device.deviceId}>
            {device.label}
          </option>
        ))}
      </select>
      {isAway && <p className="hint">The one used last is not there.</p>}
    </div>
  );
}

const THEMES: Record<ThemeChoice, string> = { system: "As the system", light: "Light", dark: "Dark" };

export function ThemeChoices() {
  const { choice } = useSource(theme);
  return (
    <fieldset className="field choices">
      <legend>Appearance</legend>
      {(Object.keys(THEMES) as ThemeChoice[]).map((value) => (
        <label key={value}>
          <input type="radio" name="theme" checked={choice === value} onChange={() => chooseTheme(value)} />
          <span>{THEMES[value]}</span>
        </label>
      ))}
    </fieldset>
  );
}
