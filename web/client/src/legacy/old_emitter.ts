import { reportMistake } from "../emitter";

export type OldListener = (...args: never[]) => void;

/** `on` and `emit` as in the first clients; pages emit events themselves, too. */
export class OldEmitter {
  events: Record<string, OldListener[]> = Object.create(null);

  on(eventName: string, callback: OldListener): void {
    const listeners = this.events[eventName] ?? [];
    this.events[eventName] = listeners;
    listeners.push(callback);
  }

  emit(eventName: string, ...args: unknown[]): void {
    for (const listener of [...(this.events[eventName] ?? [])]) {
      try {
        listener.apply(null, args as never[]);
      } catch (error) {
        // A mistake of the page must not prevent a call.
        reportMistake(error);
      }
    }
  }
}
