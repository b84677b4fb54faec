// A room without a server or connections: what the page's models see, played by a test.
import type {
  BimccRtcError,
  FileEvents,
  FileState,
  IncomingFile,
  OutgoingFile,
  Peer,
  PeerState,
  PeerStats,
  PublishedStream,
  RemoteStream,
  Room,
  RoomEvents,
  RoomState,
  SendFileOptions,
  SendOptions,
} from "bimcc-rtc";

type Listeners<Events> = { [K in keyof Events]?: Set<Events[K]> };

class FakeEmitter<Events extends { [K in keyof Events]: (...args: never[]) => void }> {
  readonly #listeners: Listeners<Events> = {};

  on<K extends keyof Events>(event: K, listener: Events[K]): () => void {
    const listeners = this.#listeners[event] ?? new Set<Events[K]>();
    this.#listeners[event] = listeners;
    listeners.add(listener);
    return () => this.off(event, listener);
  }

  off<K extends keyof Events>(event: K, listener: Events[K]): void {
    this.#listeners[event]?.delete(listener);
  }

  emit<K extends keyof Events>(event: K, ...args: Parameters<Events[K]>): void {
    for (const listener of [...(this.#listeners[event] ?? [])]) listener(...args);
  }

  listenerCount(): number {
    return Object.values<Set<unknown> | undefined>(this.#listeners).reduce((sum, set) => sum + (set?.size ?? 0), 0);
  }
}

export class FakePeer implements Peer {
  metadata: unknown;
  state: PeerState = "connected";
  isAway = false;
  streams: RemoteStream[] = [];

  constructor(
    readonly id: string,
    public name: string | undefined,
  ) {}

  get connection(): RTCPeerConnection {
    throw new Error("a fake peer has no connection");
  }
}

export class FakeRoom extends FakeEmitter<RoomEvents> implements Room {
  readonly id = "me";
  state: RoomState = "joined";
  metadata: unknown;
  readonly peers = new Map<string, FakePeer>();
  readonly streams: PublishedStream[] = [];
  readonly sent: { data: unknown; options: SendOptions | undefined }[] = [];
  readonly updates: { name?: string | null; metadata?: unknown }[] = [];
  readonly files: FakeFile[] = [];
  statistics: PeerStats[] = [];
  sendError: Error | undefined;

  constructor(
    readonly room = "a room",
    public name: string | undefined = undefined,
  ) {
    super();
  }

  /** Somebody comes in. */
  enter(id: string, name?: string, change: Partial<FakePeer> = {}): FakePeer {
    const peer = Object.assign(new FakePeer(id, name), change);
    this.peers.set(id, peer);
    this.emit("peer_joined", peer);
    return peer;
  }

  /** Somebody goes. */
  exit(peer: FakePeer): void {
    this.peers.delete(peer.id);
    this.emit("peer_left", peer, "closed");
  }

  become(state: RoomState, reason?: BimccRtcError): void {
    this.state = state;
    this.emit("state", state);
    if (state === "left") this.emit("left", reason);
  }

  publish(stream: MediaStream, { label }: { label?: string } = {}): PublishedStream {
    const known = this.streams.find((published) => published.stream === stream);
    if (known) return known;
    const published: PublishedStream = {
      stream,
      label,
      replaceTrack: async () => {},
      unpublish: () => {
        this.streams.splice(this.streams.indexOf(published), 1);
      },
    };
    this.streams.push(published);
    return published;
  }

  async send(data: unknown, options?: SendOptions): Promise<void> {
    if (this.sendError) throw this.sendError;
    this.sent.push({ data, options });
  }

  sendFile(file: Blob, options: SendFileOptions = {}): OutgoingFile[] {
    const name = options.name ?? (file instanceof File ? file.name : "file");
    const transfers = [...this.peers.values()].map((peer) => new FakeFile(peer, name, file.size));
    this.files.push(...transfers);
    return transfers;
  }

  update(change: { name?: string | null; metadata?: unknown }): void {
    this.updates.push(change);
  }

  async stats(): Promise<PeerStats[]> {
    return this.statistics;
  }

  leave(): void {
    if (this.state === "left") return;
    this.peers.clear();
    this.become("left");
  }
}

export class FakeFile extends FakeEmitter<FileEvents> implements IncomingFile, OutgoingFile {
  readonly type = "";
  readonly metadata: unknown = undefined;
  state: FileState = "offered";
  bytes = 0;
  error: BimccRtcError | undefined;
  readonly done: Promise<void>;
  readonly #received: Promise<Blob>;
  #finish: (blob: Blob) => void = () => {};
  #fail: (error: Error) => void = () => {};

  constructor(
    readonly peer: Peer,
    readonly name: string,
    readonly size: number,
  ) {
    super();
    this.#received = new Promise((resolve, reject) => {
      this.#finish = resolve;
      this.#fail = reject;
    });
    this.done = this.#received.then(() => {});
    this.done.catch(() => {});
  }

  advance(bytes: number): void {
    this.#become("active");
    this.bytes = bytes;
    this.emit("progress", bytes);
  }

  complete(content: Blob): void {
    this.bytes = this.size;
    this.#become("done");
    this.#finish(content);
  }

  fail(error: BimccRtcError): void {
    this.error = error;
    this.#become("failed");
    this.#fail(error);
  }

  accept(): Promise<Blob> {
    this.#become("active");
    return this.#received;
  }

  refuse(): void {
    this.#become("refused");
  }

  cancel(): void {
    this.#become("cancelled");
    this.#fail(new Error("cancelled"));
  }

  #become(state: FileState): void {
    if (this.state === state) return;
    this.state = state;
    this.emit("state", state);
  }
}
