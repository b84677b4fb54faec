import { BimccRtcError } from "bimcc-rtc";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Chat, type ChatEntry, ENTRIES_KEPT, LONGEST_MESSAGE } from "../src/model/chat";
import { Notices } from "../src/model/notices";
import { FakeFile, FakeRoom } from "./fake_room";

const via = { via: "peer", droppable: false } as const;

function visit() {
  const room = new FakeRoom();
  const notices = new Notices();
  const news: ChatEntry[] = [];
  const chat = new Chat(room, notices, (entry) => news.push(entry));
  const entries = () => {
    chat.entries.flush();
    return chat.entries.get();
  };
  const texts = () => entries().flatMap((entry) => (entry.kind === "text" ? entry.text : []));
  return { room, notices, chat, news, entries, texts };
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("messages", () => {
  it("go to all and come from all, as text", () => {
    const { room, chat, texts, news } = visit();
    const ada = room.enter("1", "Ada");
    chat.say("  is there <i>milk</i>?  ");
    expect(room.sent).toEqual([{ data: "is there <i>milk</i>?", options: undefined }]);
    room.emit("message", ada, "in the fridge", via);
    expect(texts()).toEqual(["is there <i>milk</i>?", "in the fridge"]);
    expect(news.map((entry) => entry.from?.name)).toEqual(["Ada"]);
  });

  it("that say nothing are not sent", () => {
    const { room, chat } = visit();
    chat.say(" \n ");
    expect(room.sent).toEqual([]);
  });

  it("that did not go out are marked", async () => {
    const { room, chat, entries } = visit();
    room.sendError = new Error("no way");
    chat.say("hello");
    await vi.advanceTimersByTimeAsync(0);
    expect(entries()[0]).toMatchObject({ text: "hello", failed: true });
  });

  it("of any other form are left to others", () => {
    const { room, entries } = visit();
    const ada = room.enter("1", "Ada");
    const before = entries().length;
    const garbage = [null, 5, [], {}, { kind: "chat/message" }, { text: "text" }];
    for (const data of [...garbage, { kind: "board/elements" }, new ArrayBuffer(8), " "]) {
      room.emit("message", ada, data, via);
    }
    expect(entries()).toHaveLength(before);
  });

  it("of others are cut where they are too long, and say by how much", () => {
    const { room, entries, texts } = visit();
    const ada = room.enter("1", "Ada");
    room.emit("message", ada, "x".repeat(10_000_000), via);
    room.emit("message", ada, `${"x".repeat(LONGEST_MESSAGE - 1)}😀`, via);
    room.emit("message", ada, "x".repeat(LONGEST_MESSAGE), via);
    expect(texts().map((text) => text.length)).toEqual([LONGEST_MESSAGE, LONGEST_MESSAGE - 1, LONGEST_MESSAGE]);
    expect(entries()).toMatchObject([{}, { leftOut: 9_996_000 }, { leftOut: 2 }, { leftOut: 0 }]);
    expect(texts()[1]).toBe("x".repeat(LONGEST_MESSAGE - 1));
  });

  it("of this member are sent whole, or not at all", () => {
    const { room, chat, texts } = visit();
    room.enter("1", "Ada");
    expect(chat.say("y".repeat(LONGEST_MESSAGE + 1))).toBe(false);
    expect(room.sent).toEqual([]);
    expect(texts()).toEqual([]);
    expect(chat.say(` ${"y".repeat(LONGEST_MESSAGE)}\n`)).toBe(true);
    expect(room.sent).toEqual([{ data: "y".repeat(LONGEST_MESSAGE), options: undefined }]);
  });

  it("come in no flood: what is too fast is left out, and its sender named", () => {
    const { room, texts, notices } = visit();
    const mallory = room.enter("1", "Mallory");
    const ada = room.enter("2", "Ada");
    for (let i = 0; i < 5000; i++) room.emit("message", mallory, `${i}`, via);
    room.emit("message", ada, "I am still heard", via);
    expect(texts()).toHaveLength(31);
    expect(texts().at(-1)).toBe("I am still heard");
    const problems = notices.problems.get();
    expect(problems).toMatchObject([{ who: "Mallory", times: 4970 }]);
    expect(notices.shown.get()).toHaveLength(1);
  });

  it("are kept up to a bound", () => {
    const { room, texts, entries } = visit();
    const ada = room.enter("1", "Ada");
    for (let i = 0; i < ENTRIES_KEPT + 100; i++) {
      vi.advanceTimersByTime(1000);
      room.emit("message", ada, `${i}`, via);
    }
    expect(entries()).toHaveLength(ENTRIES_KEPT);
    expect(texts().at(-1)).toBe(`${ENTRIES_KEPT + 99}`);
  });

  it("are unread while nobody looks", () => {
    const { room, chat } = visit();
    const ada = room.enter("1", "Ada");
    const say = () => room.emit("message", ada, "hello", via);
    const unread = () => {
      chat.unread.flush();
      return chat.unread.get();
    };
    say();
    say();
    expect(unread()).toBe(2);
    chat.setLooking(true);
    say();
    expect(unread()).toBe(0);
    chat.setLooking(false);
    say();
    expect(unread()).toBe(1);
  });

  it("keep the name their author had", () => {
    const { room, entries } = visit();
    const ada = room.enter("1", "Ada");
    room.emit("message", ada, "hello", via);
    ada.name = "Somebody else";
    expect(entries().at(-1)?.from?.name).toBe("Ada");
  });
});

describe("comings and goings", () => {
  it("are told, but without end by nobody", () => {
    const { room, entries } = visit();
    for (let i = 0; i < 500; i++) room.exit(room.enter(`${i}`, "Flapper"));
    expect(entries()).toHaveLength(30);
    expect(entries()[1]).toMatchObject({ kind: "event", what: "left", from: { name: "Flapper" } });
  });
});

describe("files", () => {
  const offer = (room: FakeRoom, peer = room.enter("1", "Ada"), name = "plan.pdf", size = 10) => {
    const file = new FakeFile(peer, name, size);
    room.emit("file", peer, file);
    return file;
  };
  const fileViews = (entries: readonly ChatEntry[]) =>
    entries.flatMap((entry) => (entry.kind === "file" ? { id: entry.id, ...entry.file } : []));

  it("that are offered wait for an answer", () => {
    const { room, chat, entries } = visit();
    const file = offer(room, undefined, "../../<b>plan</b>.pdf", 2000);
    const [view] = fileViews(entries());
    expect(view).toMatchObject({ direction: "in", name: "b_.pdf", size: 2000, state: "offered" });
    chat.refuse(view?.id ?? 0);
    expect(file.state).toBe("refused");
    expect(fileViews(entries())[0]?.state).toBe("refused");
  });

  it("go to each member, and say how far they are with all", () => {
    const { room, chat, entries } = visit();
    room.enter("1", "Ada");
    room.enter("2", "Bob");
    chat.sendFiles([new File(["0123456789"], "notes.txt")]);
    const [first, second] = room.files;
    const view = () => fileViews(entries())[0];
    expect(view()).toMatchObject({ direction: "out", state: "offered", receivers: 2, progress: 0 });
    expect(chat.busy).toBe(true);
    first?.advance(5);
    expect(view()).toMatchObject({ state: "active", progress: 0.5 });
    first?.complete(new Blob());
    second?.refuse();
    expect(view()).toMatchObject({ state: "done", done: 1, refused: 1, progress: 1 });
    expect(chat.busy).toBe(false);
  });

  it("go nowhere while nobody is here, which is said", () => {
    const { chat, entries, notices } = visit();
    chat.sendFiles([new File(["x"], "notes.txt")]);
    expect(fileViews(entries())).toEqual([]);
    expect(notices.shown.get()[0]?.text).toMatch(/Nobody else is here/);
  });

  it("can be called off by their sender", () => {
    const { room, chat, entries } = visit();
    room.enter("1", "Ada");
    chat.sendFiles([new File(["x"], "notes.txt")]);
    chat.cancel(fileViews(entries())[0]?.id ?? 0);
    expect(room.files[0]?.state).toBe("cancelled");
    expect(fileViews(entries())[0]?.state).toBe("cancelled");
  });

  it("that fail say why", async () => {
    const { room, chat, entries } = visit();
    const file = offer(room);
    chat.accept(fileViews(entries())[0]?.id ?? 0);
    file.fail(new BimccRtcError("file_corrupt", "the file is not what was sent"));
    await vi.advanceTimersByTimeAsync(200);
    expect(fileViews(entries())[0]).toMatchObject({ state: "failed", error: "the file is not what was sent" });
  });

  it("offered without end are refused, and their sender named", () => {
    const { room, notices, entries } = visit();
    const mallory = room.enter("1", "Mallory");
    const files = Array.from({ length: 50 }, () => offer(room, mallory));
    expect(files.filter((file) => file.state === "offered")).toHaveLength(10);
    expect(files.filter((file) => file.state === "refused")).toHaveLength(40);
    expect(fileViews(entries())).toHaveLength(10);
    expect(notices.problems.get().every(({ who }) => who === "Mallory")).toBe(true);
  });

  it("are given up with the room", () => {
    const { room, chat } = visit();
    const waiting = offer(room);
    const coming = offer(room, room.enter("2", "Bob"));
    coming.advance(3);
    chat.dispose();
    expect(waiting.state).toBe("refused");
    expect(coming.state).toBe("cancelled");
    expect(room.listenerCount()).toBe(0);
  });
});
