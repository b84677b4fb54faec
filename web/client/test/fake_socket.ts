import { vi } from "vitest";
import type { ClientEvent } from "../src/protocol";

/** The WebSockets that are opened, and the server's side of them. */
export class FakeSocket {
  static all: FakeSocket[] = [];
  static readonly OPEN = 1;
  readyState = 0;
  onopen: ((event: Event) => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onerror: ((event: Event) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;
  sent: ClientEvent[] = [];

  constructor(readonly url: string) {
    FakeSocket.all.push(this);
  }

  static get last(): FakeSocket {
    const last = FakeSocket.all.at(-1);
    if (!last) throw new Error("no socket has been opened");
    return last;
  }

  send(text: string): void {
    this.sent.push(JSON.parse(text));
  }

  /** A real one says so much later, if the network is dead. */
  close(): void {
    this.readyState = 2;
  }

  async open(): Promise<void> {
    this.readyState = 1;
    this.onopen?.(new Event("open"));
    await vi.advanceTimersByTimeAsync(0);
  }

  say(eventName: string, data: unknown): void {
    this.onmessage?.({ data: JSON.stringify({ eventName, data }) });
  }

  end(code: number): void {
    this.readyState = 3;
    this.onclose?.({ code });
  }

  /** What was sent under this name. */
  sentAs(eventName: string): unknown[] {
    return this.sent.filter((event) => event.eventName === eventName).map(({ data }) => data);
  }
}
