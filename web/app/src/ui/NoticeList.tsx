import type { Notices } from "../model/notices";
import { useSource } from "../model/store";
import { IconButton } from "./IconButton";
import { CloseIcon } from "./icons";

export function NoticeList({ notices }: { notices: Notices }) {
  const shown = useSource(notices.shown);
  return (
    <div className="notices" role="status" aria-live="polite" aria-label="Notices">
      {shown.map(({ id, tone, text, times, action }) => (
        <div className="notice-card" data-tone={tone} key={id}>
          <p>
            <bdi>{text}</bdi>
            {times > 1 && <span className="times"> ({times} times)</span>}
          </p>
          {action && (
            <button
              type="button"
              className="button small"
              onClick={() => {
                action.run();
                notices.dismiss(id);
              }}
            >
              {action.label}
            </button>
          )}
          <IconButton icon={CloseIcon} label="Dismiss" onClick={() => notices.dismiss(id)} />
        </div>
      ))}
    </div>
  );
}
