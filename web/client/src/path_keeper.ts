// Keeps the path to one peer alive: decides when to restart ICE, when to make a new connection, and when to give up. It
// never acts while the peer cannot be reached through the server, and remembers until then what it must do.

import { CHANNEL_LIMIT, DISCONNECTED_LIMIT, RESTART_LIMIT } from "./limits";
import type { Log } from "./log";
import { currentPath } from "./stats";

export interface PathOwner {
  readonly log: Log;
  readonly connection: RTCPeerConnection;
  /** Whether the peer can be reached through the server. */
  isReachable(): boolean;
  /** Replaces the connection by a new one: the data channels of the old one have ended and cannot be opened again. */
  open(): void;
  /** The server has lost the peer, and there is no path to it either. */
  giveUp(): void;
}

export class PathKeeper {
  /** Whether the server does not know the peer at this moment. */
  isMissing = false;
  readonly #owner: PathOwner;
  #isRelayed = false;
  #restartTimer: ReturnType<typeof setTimeout> | undefined;
  #channelTimer: ReturnType<typeof setTimeout> | undefined;
  #graceTimer: ReturnType<typeof setTimeout> | undefined;
  #graceIsOver = false;
  #isSuspect = false;

  constructor(owner: PathOwner) {
    this.#owner = owner;
  }

  handleState(): void {
    const state = this.#owner.connection.connectionState;
    if (state === "connected") {
      clearTimeout(this.#restartTimer);
      this.#isSuspect = false;
      void this.notePath();
    } else if (this.#isBroken()) {
      this.#restartIn(state === "failed" || this.#isSuspect ? 0 : DISCONNECTED_LIMIT);
    }
    this.#reconsider();
  }

  /** When the server forgets a member, its relayed addresses end, so it matters later how the peer was connected. */
  async notePath(): Promise<void> {
    const { path, protocol } = await currentPath(this.#owner.connection);
    if (!path) return;
    this.#isRelayed = path === "relayed";
    this.#owner.log("info", `${path}, ${protocol}`);
  }

  async handleReachable(afresh: boolean): Promise<void> {
    this.isMissing = this.#graceIsOver = false;
    clearTimeout(this.#graceTimer);
    if (afresh) await this.notePath();
    if ((afresh && this.#isRelayed) || this.#isBroken()) this.#restartIn(0);
  }

  handleNetworkChange(): void {
    // From now on, "disconnected" no longer counts as a short disturbance.
    this.#isSuspect = true;
    if (this.#isBroken()) this.#restartIn(0);
  }

  handleChannelLost(): void {
    this.#owner.log("warn", "data channel lost");
    clearTimeout(this.#channelTimer);
    this.#channelTimer = setTimeout(() => {
      if (this.#owner.isReachable() && this.#isHealthy()) this.#owner.open();
    }, CHANNEL_LIMIT);
  }

  /**
   * The server does not know the peer any more. It may come back within `grace` milliseconds, or it may only have lost
   * the server, so it stays as long as the path to it works.
   */
  handleMissing(grace: number): void {
    if (this.isMissing && grace > 0) return;
    this.isMissing = true;
    clearTimeout(this.#graceTimer);
    this.#graceTimer = setTimeout(() => {
      this.#graceIsOver = true;
      this.#reconsider();
    }, grace);
  }

  /** Ends the path keeper, or makes it ready for another connection. */
  reset(): void {
    for (const timer of [this.#restartTimer, this.#channelTimer, this.#graceTimer]) clearTimeout(timer);
    this.#isRelayed = false;
  }

  #reconsider(): void {
    if (this.#graceIsOver && !this.#isHealthy()) this.#owner.giveUp();
  }

  #restartIn(delay: number): void {
    clearTimeout(this.#restartTimer);
    this.#restartTimer = setTimeout(() => {
      // Without the server nothing can be done; `handleReachable` is called when it is back.
      if (!this.#owner.isReachable()) return;
      // An offer on its way is repeated anyway; a second restart would only disturb it.
      const { connection } = this.#owner;
      this.#owner.log("warn", "restarts ICE");
      if (connection.signalingState === "stable") connection.restartIce();
      this.#restartTimer = setTimeout(() => this.#isBroken() && this.#restartIn(0), RESTART_LIMIT);
    }, delay);
  }

  #isHealthy(): boolean {
    return this.#owner.connection.connectionState === "connected";
  }

  #isBroken(): boolean {
    return ["disconnected", "failed"].includes(this.#owner.connection.connectionState);
  }
}
