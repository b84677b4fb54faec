import { bytesInWords, count } from "../logic/format";
import type { Chat, ChatEntry } from "../model/chat";
import type { FileView } from "../model/transfers";
import { EntryHead } from "./EntryHead";
import { FileIcon } from "./icons";

interface FileEntryProps {
  entry: Extract<ChatEntry, { kind: "file" }>;
  chat: Chat;
}

/** A file that another member offers, or that this member sends. */
export function FileEntry({ entry, chat }: FileEntryProps) {
  const { file, id } = entry;
  const incoming = file.direction === "in";
  const open = file.state === "offered" || file.state === "active";
  return (
    <li className="message file" data-own={!incoming} data-state={file.state}>
      <EntryHead entry={entry} />
      <div className="file-body">
        <FileIcon />
        <div className="file-what">
          <bdi className="file-name" title={file.name}>
            {file.name}
          </bdi>
          <span className="file-state">
            {bytesInWords(file.size)} · {stateInWords(file)}
          </span>
        </div>
      </div>
      {file.state === "active" && (
        <progress max={1} value={file.progress} aria-label={`${file.name}: ${Math.floor(file.progress * 100)} %`} />
      )}
      <div className="row actions">
        {incoming && file.state === "offered" && (
          <>
            <button type="button" className="button primary small accept" onClick={() => chat.accept(id)}>
              Save
            </button>
            <button type="button" className="button small refuse" onClick={() => chat.refuse(id)}>
              Refuse
            </button>
          </>
        )}
        {open && (!incoming || file.state === "active") && (
          <button type="button" className="button small cancel" onClick={() => chat.cancel(id)}>
            Cancel
          </button>
        )}
        {file.href && (
          <a className="button small saved" href={file.href} download={file.name}>
            Save again
          </a>
        )}
      </div>
    </li>
  );
}

function stateInWords(file: FileView): string {
  const percent = `${Math.floor(file.progress * 100)} %`;
  if (file.direction === "in") {
    switch (file.state) {
      case "offered":
        return "offered to you";
      case "active":
        return percent;
      case "done":
        return file.savedToDisk ? "saved and checked" : "received and checked";
      case "refused":
        return "refused";
      case "cancelled":
        return "cancelled";
      case "failed":
        return `failed: ${file.error ?? "no reason was given"}`;
    }
  }
  const done = file.receivers > 1 ? `${file.done} of ${file.receivers} have it` : "arrived";
  switch (file.state) {
    case "offered":
      return file.done > 0 ? done : `offered to ${count(file.receivers, "person", "people")}`;
    case "active":
      return file.done > 0 ? `${percent}, ${done}` : percent;
    case "done":
      return done;
    case "refused":
      return "refused";
    case "cancelled":
      return "cancelled";
    case "failed":
      return file.done > 0 ? `${done}, failed for others` : `failed: ${file.error ?? "no reason was given"}`;
  }
}
