// State for components: something with a value, and a way to learn that the value has changed.
import { useSyncExternalStore } from "react";

export interface Source<T> {
  get(): T;
  subscribe(listener: () => void): () => void;
}

export function useSource<T>(source: Source<T>): T {
  return useSyncExternalStore(source.subscribe, source.get);
}

/**
 * A value that is computed when listeners are told: at once after a pause, else at most every `interval` milliseconds,
 * however often `changed` is called. So a flood of events costs a fixed number of renderings.
 */
export class Derived<T> implements Source<T> {
  readonly #listeners = new Set<() => void>();
  #value: T;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #published = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly read: () => T,
    private readonly interval: number,
  ) {
    this.#value = read();
  }

  readonly get = (): T => this.#value;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  readonly changed = (): void => {
    if (this.#timer !== undefined) return;
    const wait = this.#published + this.interval - performance.now();
    if (wait <= 0) this.flush();
    else this.#timer = setTimeout(this.flush, wait);
  };

  readonly flush = (): void => {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#published = performance.now();
    this.#value = this.read();
    for (const listener of [...this.#listeners]) listener();
  };

  dispose(): void {
    clearTimeout(this.#timer);
    this.#listeners.clear();
  }
}

/** A plain value. */
export class Cell<T> implements Source<T> {
  readonly #listeners = new Set<() => void>();
  #value: T;

  constructor(initial: T) {
    this.#value = initial;
  }

  readonly get = (): T => this.#value;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  set(value: T): void {
    if (Object.is(value, this.#value)) return;
    this.#value = value;
    for (const listener of [...this.#listeners]) listener();
  }

  update(change: Partial<T>): void {
    this.set({ ...this.#value, ...change });
  }
}
