// Short messages that appear and disappear by themselves, and a list of problems with the people who caused them.
import { cleanText } from "../logic/names";
import { Cell } from "./store";

export interface Notice {
  readonly id: number;
  readonly tone: "info" | "problem";
  readonly text: string;
  readonly times: number;
  readonly action: { label: string; run: () => void } | undefined;
  /** What the notice points to. A user who has found that no longer needs the notice. */
  readonly topic: string | undefined;
}

export interface Problem {
  readonly id: number;
  /** The person who caused it; undefined if nobody here did. */
  readonly who: string | undefined;
  readonly reason: string;
  readonly times: number;
  readonly latest: number;
}

const NOTICES_SHOWN = 3;
const NOTICE_LASTS = 7000;
const PROBLEMS_KEPT = 30;
const LONGEST = 240;

export class Notices {
  readonly shown = new Cell<readonly Notice[]>([]);
  readonly problems = new Cell<readonly Problem[]>([]);
  readonly #timers = new Map<number, ReturnType<typeof setTimeout>>();
  #nextId = 1;

  /** If the same text is already shown, its count goes up instead. */
  say(
    text: string,
    options: { tone?: Notice["tone"]; action?: NonNullable<Notice["action"]>; topic?: string } = {},
  ): void {
    const clean = cleanText(text, LONGEST);
    const shown = this.shown.get();
    const same = shown.find((notice) => notice.text === clean);
    const id = same?.id ?? this.#nextId++;
    const notice = {
      id,
      tone: options.tone ?? "info",
      text: clean,
      times: (same?.times ?? 0) + 1,
      action: options.action,
      topic: options.topic,
    };
    const all = same ? shown.map((other) => (other === same ? notice : other)) : [...shown, notice];
    for (const gone of all.slice(0, -NOTICES_SHOWN)) this.#forgetTimer(gone.id);
    this.shown.set(all.slice(-NOTICES_SHOWN));
    this.#forgetTimer(id);
    this.#timers.set(
      id,
      setTimeout(() => this.dismiss(id), options.action ? NOTICE_LASTS * 2 : NOTICE_LASTS),
    );
  }

  /**
   * Something went wrong, perhaps because of a peer. Only the first problem of a kind is announced; all are counted.
   */
  problem(reason: string, peer?: { id: string; name: string }): void {
    const who = peer?.name;
    const clean = cleanText(reason, LONGEST);
    const problems = this.problems.get();
    const same = problems.find((problem) => problem.who === who && problem.reason === clean);
    const problem = {
      id: same?.id ?? this.#nextId++,
      who,
      reason: clean,
      times: (same?.times ?? 0) + 1,
      latest: Date.now(),
    };
    this.problems.set([problem, ...problems.filter((other) => other !== same)].slice(0, PROBLEMS_KEPT));
    if (!same) this.say(who ? `${who}: ${clean}` : clean, { tone: "problem" });
  }

  dismiss(id: number): void {
    this.#forgetTimer(id);
    this.shown.set(this.shown.get().filter((notice) => notice.id !== id));
  }

  dismissTopic(topic: string): void {
    for (const notice of this.shown.get()) if (notice.topic === topic) this.dismiss(notice.id);
  }

  dispose(): void {
    for (const id of [...this.#timers.keys()]) this.#forgetTimer(id);
  }

  #forgetTimer(id: number): void {
    clearTimeout(this.#timers.get(id));
    this.#timers.delete(id);
  }
}
