import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Notices } from "../src/model/notices";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("notices", () => {
  it("go by themselves", () => {
    const notices = new Notices();
    notices.say("hello");
    expect(notices.shown.get()).toHaveLength(1);
    vi.advanceTimersByTime(60_000);
    expect(notices.shown.get()).toEqual([]);
  });

  it("count up where they say the same, and are few", () => {
    const notices = new Notices();
    for (let i = 0; i < 10; i++) notices.say("again");
    expect(notices.shown.get()).toMatchObject([{ text: "again", times: 10 }]);
    for (let i = 0; i < 100; i++) notices.say(`number ${i}`);
    expect(notices.shown.get().map(({ text }) => text)).toEqual(["number 97", "number 98", "number 99"]);
  });

  it("are one line of bounded text", () => {
    const notices = new Notices();
    notices.say(`a\u202e\n${"b".repeat(10_000)}`);
    expect(notices.shown.get()[0]?.text.length).toBeLessThanOrEqual(240);
  });
});

describe("problems", () => {
  it("name who caused them, are announced once and all counted", () => {
    const notices = new Notices();
    const mallory = { id: "1", name: "Mallory" };
    for (let i = 0; i < 1000; i++) notices.problem("sent nonsense", mallory);
    notices.problem("sent nonsense", { id: "2", name: "Trudy" });
    expect(notices.problems.get()).toMatchObject([
      { who: "Trudy", times: 1 },
      { who: "Mallory", times: 1000 },
    ]);
    expect(notices.shown.get().map(({ text }) => text)).toEqual(["Mallory: sent nonsense", "Trudy: sent nonsense"]);
  });

  it("are bounded, however many kinds there are", () => {
    const notices = new Notices();
    for (let i = 0; i < 1000; i++) notices.problem(`kind ${i}`, { id: "1", name: "Mallory" });
    expect(notices.problems.get()).toHaveLength(30);
    expect(notices.problems.get()[0]?.reason).toBe("kind 999");
  });
});
