import { useEffect, useState } from "react";
import { CheckIcon, CopyIcon, ShareIcon } from "./icons";
import { copyText, inviteLink, isLinkForOthers } from "./invite_link";
import { QrCode } from "./QrCode";

export function InvitePanel({ room }: { room: string }) {
  const link = inviteLink(room);
  return (
    <div className="invite">
      <p>Whoever opens this link joins. On a phone, point the camera at the code.</p>
      <QrCode text={link} />
      <label htmlFor="invite" className="visually-hidden">
        Link to this room
      </label>
      <input id="invite" className="link" readOnly value={link} onFocus={(event) => event.target.select()} />
      <div className="row">
        <CopyButton text={link} id="copy" />
        <ShareButton link={link} room={room} />
      </div>
      {!isLinkForOthers() && (
        <p className="hint">
          This link is good on this machine only. For others, open the page by an address that the server printed when
          it was started, and invite from there.
        </p>
      )}
    </div>
  );
}

export function CopyButton({ text, id }: { text: string; id?: string }) {
  const [copied, setCopied] = useState<boolean>();
  useEffect(() => {
    if (copied === undefined) return;
    const timer = setTimeout(() => setCopied(undefined), 2500);
    return () => clearTimeout(timer);
  }, [copied]);
  return (
    <button type="button" id={id} className="button primary" onClick={() => void copyText(text).then(setCopied)}>
      {copied ? <CheckIcon /> : <CopyIcon />}
      <span aria-live="polite">{copied === undefined ? "Copy link" : copied ? "Copied" : "Select and copy it"}</span>
    </button>
  );
}

export function ShareButton({ link, room }: { link: string; room: string }) {
  if (typeof navigator.share !== "function") return null;
  return (
    <button
      type="button"
      className="button"
      onClick={() => {
        // The user may close the system's share sheet, which is no error.
        navigator.share({ title: room, url: link }).catch(() => {});
      }}
    >
      <ShareIcon />
      Share
    </button>
  );
}
