// The connection to the server: one socket at a time. It detects a dead socket and replaces it. It knows this member's
// identity there (the resume token, which is only in the memory of this object, so that a duplicated tab is another
// member), and nothing about peers and calls.
//
// The states are waiting -> connecting -> joining -> joined, and from each of these back to waiting when the socket is
// lost. The state is ended for good by `leave()`, by a server that refuses this client, or when the first join takes
// too long.

import { BimccRtcError } from "./errors";
import { PING_EVERY, PONG_LIMIT, QUICK_PONG_LIMIT, TRY_LIMIT, YOUNG_TRY } from "./limits";
import type { Log } from "./log";
import { type ClientEvent, type ErrorData, type JoinData, parseServerEvent, type RoomEvent } from "./protocol";
import { CLOSED_KICKED, CLOSED_REPLACED, reconnectDelay } from "./reconnect_policy";
import { whyUnreachable } from "./unreachable";

export type SignalingState = "waiting" | "connecting" | "joining" | "joined" | "ended";

/** The owner of the connection. */
export interface SignalingOwner {
  readonly log: Log;
  /** These are called again for each try. */
  socketUrl(): string;
  openSocket(url: string, isCurrent: () => boolean): WebSocket;
  joinData(): Promise<Omit<JoinData, "resume">>;
  handleSignalingState(state: SignalingState): void;
  /** `_peers` and what comes after it. */
  handleEvent(event: RoomEvent): void;
  /** Called once; there is no error if `leave()` was the cause. */
  handleEnd(error?: BimccRtcError): void;
}

export class Signaling {
  readonly #owner: SignalingOwner;
  #state: SignalingState = "waiting";
  #socket: WebSocket | undefined;
  #resume = "";
  #hasJoined = false;
  #hasOpened = false;
  #hasFailed = false;
  #url = "";
  #noJoinData: string | undefined;
  #attempt = 0;
  #lostAt = performance.now();
  #triedAt = 0;
  #reconnectAfter: number | undefined;
  /** The timer for the next try, or for the end of this one. */
  #tryTimer: ReturnType<typeof setTimeout> | undefined;
  #pingTimer: ReturnType<typeof setTimeout> | undefined;
  #pongTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(owner: SignalingOwner) {
    this.#owner = owner;
  }

  get state(): SignalingState {
    return this.#state;
  }

  /** Begins a try now. */
  connect(): void {
    if (this.#state === "ended") return;
    this.#dropSocket();
    this.#triedAt = performance.now();
    this.#setState("connecting");
    let socket: WebSocket;
    /** Messages of an abandoned socket are ignored. */
    const isCurrent = () => socket === this.#socket;
    try {
      this.#url = this.#owner.socketUrl();
      socket = this.#owner.openSocket(this.#url, isCurrent);
    } catch (cause) {
      this.#end(this.#whyNoSocket(cause));
      return;
    }
    this.#socket = socket;
    this.#tryTimer = setTimeout(() => this.#lost(), TRY_LIMIT);
    socket.onopen = () => {
      if (!isCurrent()) return;
      this.#hasOpened = true;
      void this.#join(socket);
    };
    socket.onmessage = ({ data }) => {
      if (isCurrent() && typeof data === "string") this.#heard(data, socket);
    };
    socket.onclose = ({ code }) => {
      if (!isCurrent()) return;
      this.#hasFailed = true;
      this.#lost(code);
    };
  }

  /** Sends if the room is joined, and returns whether it was. Otherwise the caller must repeat it later. */
  send(event: ClientEvent): boolean {
    if (this.#state !== "joined") return false;
    this.#write(event);
    return true;
  }

  /** The network may have changed, or the page has slept: checks at once whether the server is still there. */
  doubt(): void {
    if (this.#state === "joined") this.#ping(QUICK_PONG_LIMIT);
    else if (this.#state !== "ended" && (this.#state === "waiting" || performance.now() - this.#triedAt > YOUNG_TRY)) {
      this.#attempt = Math.min(this.#attempt, 1);
      this.connect();
    }
  }

  /** Leaves the room. With an error, the application cannot be in the room. */
  leave(error?: BimccRtcError): void {
    this.send({ eventName: "__leave", data: {} });
    this.#end(error);
  }

  async #join(socket: WebSocket): Promise<void> {
    this.#setState("joining");
    let data: Omit<JoinData, "resume">;
    try {
      data = await this.#owner.joinData();
    } catch (cause) {
      this.#noJoinData = `no token: ${cause}`;
      if (socket === this.#socket) this.#lost();
      return;
    }
    this.#noJoinData = undefined;
    if (socket !== this.#socket) return;
    try {
      this.#write({ eventName: "__join", data: { ...data, resume: this.#resume } });
    } catch (cause) {
      // The metadata is not JSON, so trying again does not help.
      this.#end(new BimccRtcError("bad_message", `cannot be sent: ${cause}`, undefined, { cause }));
    }
  }

  #heard(text: string, socket: WebSocket): void {
    clearTimeout(this.#pongTimer);
    const event = parseServerEvent(text);
    if (!event || event.eventName === "_pong") return;
    this.#trace("<", event);
    switch (event.eventName) {
      case "_peers":
        this.#joined(event.data.resume);
        break;
      case "_ice_servers":
        this.#resume = event.data.resume ?? this.#resume;
        break;
      case "_closing":
        this.#reconnectAfter = event.data.reconnectAfter;
        return;
      case "_error":
        if (event.data.eventName === "__join") {
          this.#refused(event.data, socket);
          return;
        }
    }
    if (this.#state === "joined") this.#owner.handleEvent(event);
  }

  #joined(resume: string): void {
    clearTimeout(this.#tryTimer);
    this.#resume = resume;
    this.#hasJoined = true;
    this.#attempt = 0;
    this.#reconnectAfter = undefined;
    this.#scheduleNextPing();
    this.#setState("joined");
  }

  #refused(error: ErrorData, socket: WebSocket): void {
    if (error.code === "bad_token" && this.#resume) {
      // This member was away for too long, or the server has lost its key: join as a new member.
      this.#resume = "";
      void this.#join(socket);
    } else {
      this.#lost(undefined, new BimccRtcError(error.code, error.message));
    }
  }

  #lost(closeCode?: number, refusal?: BimccRtcError): void {
    this.#dropSocket();
    if (this.#state === "joined") this.#lostAt = performance.now();
    this.#attempt += 1;
    const delay = reconnectDelay({
      closeCode,
      refusal: refusal?.reason,
      attempt: this.#attempt,
      elapsed: performance.now() - this.#lostAt,
      hasJoined: this.#hasJoined,
      reconnectAfter: this.#reconnectAfter,
      random: Math.random(),
    });
    this.#reconnectAfter = undefined;
    if (delay === null) {
      this.#end(refusal ?? this.#reasonOfClose(closeCode));
      return;
    }
    const why = refusal?.reason ?? this.#noJoinData ?? closeCode ?? "no answer";
    this.#owner.log("warn", `server lost: ${why}; next try in ${delay | 0} ms`);
    this.#tryTimer = setTimeout(() => this.connect(), delay);
    this.#setState("waiting");
  }

  #ping(limit: number): void {
    this.#scheduleNextPing();
    this.#write({ eventName: "__ping", data: {} });
    clearTimeout(this.#pongTimer);
    this.#pongTimer = setTimeout(() => this.#lost(), limit);
  }

  #scheduleNextPing(): void {
    clearTimeout(this.#pingTimer);
    this.#pingTimer = setTimeout(() => this.#ping(PONG_LIMIT), PING_EVERY);
  }

  /** Logs a message: its event and the member it concerns, and the type of a candidate. */
  #trace(way: string, { eventName, data }: { eventName: string; data: unknown }): void {
    const { socketId, code, candidate } = data as Record<string, unknown>;
    const type = /typ \w+/.exec(JSON.stringify(candidate) ?? "");
    this.#owner.log("debug", [way, eventName, socketId, code, type].filter(Boolean).join(" "));
  }

  #write(event: ClientEvent): void {
    this.#trace(">", event);
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(event));
  }

  #dropSocket(): void {
    for (const timer of [this.#tryTimer, this.#pingTimer, this.#pongTimer]) clearTimeout(timer);
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.close();
  }

  #whyNoSocket(cause: unknown): BimccRtcError {
    const isMissing = typeof WebSocket === "undefined";
    // An insecure socket on a secure page causes a special error.
    const isBlocked = (cause as Error).name === "SecurityError";
    const why = isBlocked ? this.#whyUnreachable() : isMissing ? "there is no WebSocket here" : "bad URL of the server";
    return new BimccRtcError(isMissing ? "not_supported" : "unreachable", `${why} (${cause})`, undefined, { cause });
  }

  #whyUnreachable(): string {
    const page = globalThis.location?.protocol;
    return (
      this.#noJoinData ??
      whyUnreachable({ url: this.#url, page, hasOpened: this.#hasOpened, hasFailed: this.#hasFailed })
    );
  }

  #reasonOfClose(code: number | undefined): BimccRtcError {
    if (code === CLOSED_REPLACED) return new BimccRtcError("replaced", "another connection has taken over");
    if (code === CLOSED_KICKED) return new BimccRtcError("kicked", "removed by the server's operator");
    return new BimccRtcError("unreachable", this.#whyUnreachable());
  }

  #end(error?: BimccRtcError): void {
    if (this.#state === "ended") return;
    this.#dropSocket();
    this.#setState("ended");
    this.#owner.handleEnd(error);
  }

  #setState(state: SignalingState): void {
    if (state === this.#state) return;
    this.#state = state;
    this.#owner.handleSignalingState(state);
  }
}
