import { clockTime } from "../logic/format";
import { hueOf } from "../logic/names";
import type { ChatEntry } from "../model/chat";

/** Whose it is, and when it came. */
export function EntryHead({ entry }: { entry: ChatEntry }) {
  const { from, time } = entry;
  return (
    <div className="entry-head">
      {from ? (
        <bdi className="author" style={{ "--hue": hueOf(from.id) } as React.CSSProperties}>
          {from.name}
        </bdi>
      ) : (
        <span className="author own">You</span>
      )}
      <time>{clockTime(time)}</time>
    </div>
  );
}
