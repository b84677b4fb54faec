import type { Emitter } from "./types";

/**
 * Calls listeners in the order in which they were added. A listener that throws does not affect others: its error is
 * reported as uncaught.
 */
export class TypedEmitter<Events extends { [K in keyof Events]: (...args: never[]) => void }>
  implements Emitter<Events>
{
  readonly #listeners = new Map<keyof Events, Set<(...args: never[]) => void>>();

  on<K extends keyof Events>(event: K, listener: Events[K]): () => void {
    const listeners = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, listeners.add(listener));
    return () => this.off(event, listener);
  }

  off<K extends keyof Events>(event: K, listener: Events[K]): void {
    this.#listeners.get(event)?.delete(listener);
  }

  emit<K extends keyof Events>(event: K, ...args: Parameters<Events[K]>): void {
    for (const listener of [...(this.#listeners.get(event) ?? [])]) {
      try {
        (listener as (...args: Parameters<Events[K]>) => void)(...args);
      } catch (error) {
        reportMistake(error);
      }
    }
  }
}

/** Reports a mistake of the application, as an uncaught error if the browser supports that. */
export function reportMistake(error: unknown): void {
  (globalThis.reportError ?? console.error)(error);
}
