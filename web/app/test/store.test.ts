import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Cell, Derived } from "../src/model/store";

describe("a derived value", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it("is told at once, then no more often than agreed, the latest always", () => {
    let value = 0;
    const derived = new Derived(() => value, 100);
    const seen: number[] = [];
    derived.subscribe(() => seen.push(derived.get()));
    for (let i = 1; i <= 1000; i++) {
      value = i;
      derived.changed();
    }
    expect(seen).toEqual([1]);
    vi.advanceTimersByTime(100);
    expect(seen).toEqual([1, 1000]);
    vi.advanceTimersByTime(1000);
    expect(seen).toEqual([1, 1000]);
    value = 7;
    derived.changed();
    expect(seen).toEqual([1, 1000, 7]);
  });

  it("is the same object until it is told", () => {
    const list: number[] = [];
    const derived = new Derived(() => [...list], 100);
    const before = derived.get();
    list.push(1);
    expect(derived.get()).toBe(before);
    derived.flush();
    expect(derived.get()).toEqual([1]);
  });

  it("tells nobody after it was disposed of", () => {
    const derived = new Derived(() => 1, 100);
    const listener = vi.fn();
    derived.subscribe(listener);
    derived.changed();
    derived.changed();
    derived.dispose();
    vi.advanceTimersByTime(1000);
    expect(listener).toHaveBeenCalledTimes(1);
  });
});

describe("a cell", () => {
  it("tells of changes only", () => {
    const cell = new Cell({ a: 1, b: 2 });
    const listener = vi.fn();
    const end = cell.subscribe(listener);
    const same = cell.get();
    cell.set(same);
    expect(listener).not.toHaveBeenCalled();
    cell.update({ b: 3 });
    expect(cell.get()).toEqual({ a: 1, b: 3 });
    end();
    cell.set(same);
    expect(listener).toHaveBeenCalledTimes(1);
  });
});
