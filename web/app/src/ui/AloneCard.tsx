import { useState } from "react";
import type { Session } from "../model/session";
import { IconButton } from "./IconButton";
import { CopyButton, ShareButton } from "./InvitePanel";
import { CloseIcon } from "./icons";
import { inviteLink, isLinkForOthers } from "./invite_link";
import { QrCode } from "./QrCode";

/** For a user who is alone: how to invite somebody. The card covers a corner of the board, which works meanwhile. */
export function AloneCard({ session }: { session: Session }) {
  const [closed, setClosed] = useState(false);
  if (closed) return null;
  const link = inviteLink(session.room);
  return (
    <section className="alone" aria-labelledby="alone-title">
      <header>
        <h2 id="alone-title">Nobody else is here yet</h2>
        <IconButton icon={CloseIcon} label="Close" onClick={() => setClosed(true)} />
      </header>
      <div className="alone-body">
        <QrCode text={link} />
        <div>
          <p>Send the link, or let a phone look at the code.</p>
          <p className="link" id="alone-link">
            {link}
          </p>
          <div className="row">
            <CopyButton text={link} />
            <ShareButton link={link} room={session.room} />
          </div>
        </div>
      </div>
      {!isLinkForOthers() && (
        <p className="hint">
          This link is good on this machine only. For others, open the page by an address that the server printed.
        </p>
      )}
    </section>
  );
}
