import { clockTime } from "../logic/format";
import { hueOf } from "../logic/names";
import type { ChatEntry } from "../model/chat";

/** The author and the time of an entry. */
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
