import { WarningIcon } from "./icons";

/** Explains why there is no camera on a page that was not loaded over https. */
export function PlainHttpNote() {
  const secure = window.isSecureContext;
  return (
    <div className="note" id="notice" role="note">
      <WarningIcon />
      {secure ? (
        <p>This browser offers no camera or microphone to pages. You can draw, watch, listen, write and share files.</p>
      ) : (
        <p>
          Browsers give camera and microphone only to pages that came over <b>https</b>. You can draw, watch, listen,
          write and share files all the same. To be seen and heard, have the server started with <code>--tls</code> and
          open its https:// address.
        </p>
      )}
    </div>
  );
}
