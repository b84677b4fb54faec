import { type FormEvent, memo, useEffect, useRef, useState } from "react";
import { splitLinks } from "../logic/links";
import { type Chat, type ChatEntry, LONGEST_MESSAGE, surplusOf } from "../model/chat";
import type { Visit } from "../model/session";
import { useSource } from "../model/store";
import { Boundary, Broken } from "./Boundary";
import { EntryHead } from "./EntryHead";
import { FileEntry } from "./FileEntry";
import { AttachIcon, SendIcon } from "./icons";
import { isPlainKey } from "./keys";

export function ChatPanel({ visit }: { visit: Visit }) {
  const { chat } = visit;
  const entries = useSource(chat.entries);
  return (
    <div className="chat">
      <ChatLog entries={entries} chat={chat} />
      <Composer visit={visit} />
    </div>
  );
}

function ChatLog({ entries, chat }: { entries: readonly ChatEntry[]; chat: Chat }) {
  const log = useRef<HTMLDivElement>(null);
  const atEnd = useRef(true);

  // biome-ignore lint/correctness/useExhaustiveDependencies: what is new moves the end
  useEffect(() => {
    // The list does not scroll while the user reads further up.
    if (atEnd.current) log.current?.scrollTo({ top: log.current.scrollHeight });
  }, [entries]);

  return (
    <div
      className="chat-log"
      id="chat-log"
      ref={log}
      role="log"
      aria-live="polite"
      aria-label="Messages"
      // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be scrollable by keys
      tabIndex={0}
      onScroll={({ currentTarget: { scrollHeight, scrollTop, clientHeight } }) => {
        atEnd.current = scrollHeight - scrollTop - clientHeight < 40;
      }}
    >
      {entries.length === 0 && (
        <p className="hint">
          Write to everybody who is here now. Messages go from browser to browser and are kept nowhere: who comes later
          does not see them. Files can be dropped on the page.
        </p>
      )}
      <ol className="chat-entries">
        {entries.map((entry) => (
          // An entry of one peer that cannot be shown must not hide the messages of others.
          <Boundary key={entry.id} what="An entry" instead={(retry) => <BrokenLine entry={entry} onRetry={retry} />}>
            {entry.kind === "file" ? <FileEntry entry={entry} chat={chat} /> : <Line entry={entry} />}
          </Boundary>
        ))}
      </ol>
    </div>
  );
}

function BrokenLine({ entry, onRetry }: { entry: ChatEntry; onRetry: () => void }) {
  return (
    <li className="message">
      <Broken what={entry.from ? `An entry of ${entry.from.name}` : "An entry"} onRetry={onRetry} />
    </li>
  );
}

const Line = memo(function Line({ entry }: { entry: Exclude<ChatEntry, { kind: "file" }> }) {
  if (entry.kind === "event") {
    return (
      <li className="event">
        <bdi>{entry.from.name}</bdi> {entry.what}
      </li>
    );
  }
  return (
    <li className="message" data-own={entry.from === undefined}>
      <EntryHead entry={entry} />
      <p dir="auto">
        {splitLinks(entry.text).map(({ text, href }, index) =>
          href ? (
            // biome-ignore lint/suspicious/noArrayIndexKey: a message's pieces never change
            <a key={index} href={href} dir="ltr" target="_blank" rel="noopener noreferrer">
              {text}
            </a>
          ) : (
            text
          ),
        )}
      </p>
      {entry.leftOut > 0 && (
        <p className="hint left-out">
          {`${entry.leftOut.toLocaleString("en")} ${entry.leftOut === 1 ? "character" : "characters"} more: too long to be shown here`}
        </p>
      )}
      {entry.failed && <p className="failed">Not everybody got this.</p>}
    </li>
  );
});

function Composer({ visit }: { visit: Visit }) {
  const { chat } = visit;
  const people = useSource(visit.people.list);
  const [text, setText] = useState("");
  const surplus = surplusOf(text);
  const files = useRef<HTMLInputElement>(null);
  const field = useRef<HTMLTextAreaElement>(null);

  useEffect(() => field.current?.focus(), []);

  const send = (event?: FormEvent) => {
    event?.preventDefault();
    if (chat.say(text)) setText("");
  };

  return (
    <form className="composer" id="chat-form" onSubmit={send}>
      {people.length === 0 && <p className="hint">Nobody else is here to read it yet.</p>}
      {surplus > 0 && (
        <p className="problem" id="chat-problem">
          <span role="alert">
            {`Up to ${LONGEST_MESSAGE.toLocaleString("en")} characters fit. Shorten it, or send it as a file.`}
          </span>{" "}
          {`(${surplus.toLocaleString("en")} too many)`}
        </p>
      )}
      <div className="row">
        <button
          type="button"
          className="icon-button"
          id="attach"
          aria-label="Send files"
          title="Send files"
          onClick={() => files.current?.click()}
        >
          <AttachIcon />
        </button>
        <input
          ref={files}
          id="file-input"
          type="file"
          multiple
          hidden
          onChange={(event) => {
            chat.sendFiles([...(event.target.files ?? [])]);
            event.target.value = "";
          }}
        />
        <textarea
          ref={field}
          id="chat-text"
          rows={1}
          value={text}
          placeholder="Message"
          aria-label="Message to everybody"
          aria-invalid={surplus > 0}
          aria-describedby={surplus > 0 ? "chat-problem" : undefined}
          onChange={(event) => setText(event.target.value)}
          onKeyDown={(event) => {
            // Enter also confirms a choice in an input method, which must not send the message.
            if (isPlainKey("Enter", event.nativeEvent) && !event.shiftKey) send(event);
          }}
        />
        <button type="submit" className="icon-button" aria-label="Send" title="Send">
          <SendIcon />
        </button>
      </div>
    </form>
  );
}
