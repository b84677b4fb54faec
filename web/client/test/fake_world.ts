// A server and a network in memory, and browsers' objects on them: as much as calls between a few pages take. They know the
// names of the wire and of the browser as texts of their own, so what a build has renamed by mistake does not work here.

import { vi } from "vitest";

type Fields = Record<string, unknown>;

/** Also calls the handler that is set as `on…`. */
class Target extends EventTarget {
  fire(type: string, more: Fields = {}): void {
    const event = Object.assign(new Event(type), more);
    (this as unknown as Record<string, ((event: Event) => void) | null | undefined>)[`on${type}`]?.(event);
    this.dispatchEvent(event);
  }
}

// ---- Signaling --------------------------------------------------------------------------------------------------------

/** What there is in one world; who is left over from an earlier test stays in its own. */
class World {
  /** What members have said, in order. */
  readonly said: { eventName: string; data: Fields }[] = [];
  readonly members = new Map<string, { socket: Socket; info: Fields }>();
  readonly connections: Connection[] = [];
  /** Names of files that a page has been given to keep. */
  readonly downloads: string[] = [];
}

export let world = new World();

class Socket extends Target {
  static readonly OPEN = 1;
  readyState = 0;
  readonly #world = world;
  #id = "";

  constructor(readonly url: string) {
    super();
    setTimeout(() => {
      this.readyState = 1;
      this.fire("open");
    });
  }

  send(text: string): void {
    const event = JSON.parse(text);
    this.#world.said.push(event);
    setTimeout(() => this.#handle(event.eventName, event.data));
  }

  close(): void {
    this.readyState = 3;
    this.#world.members.delete(this.#id);
  }

  say(eventName: string, data: Fields): void {
    const text = JSON.stringify({ eventName, data });
    setTimeout(() => this.fire("message", { data: text }));
  }

  #others(eventName: string, data: Fields): void {
    for (const [id, { socket }] of this.#world.members)
      if (id !== this.#id) socket.say(eventName, { socketId: this.#id, ...data });
  }

  #handle(eventName: string, data: Fields): void {
    switch (eventName) {
      case "__join": {
        this.#id = `m-${this.#world.members.size + 1}`;
        const info = { socketId: this.#id, name: data.name, metadata: data.metadata };
        this.#others("_new_peer", info);
        this.say("_peers", {
          connections: [...this.#world.members.keys()],
          you: this.#id,
          peers: [...this.#world.members.values()].map((member) => member.info),
          iceServers: [{ urls: "stun:server.example" }],
          resume: "token",
          resumed: false,
          room: data.room,
          server: "fake",
        });
        this.#world.members.set(this.#id, { socket: this, info });
        return;
      }
      case "__ping":
        this.say("_pong", data);
        return;
      case "__update":
        this.#others("_peer_updated", data);
        return;
      case "__leave":
        this.#world.members.delete(this.#id);
        this.#others("_remove_peer", { reason: "left" });
        return;
      case "__offer":
      case "__answer":
      case "__ice_candidate":
      case "__message":
        this.#world.members.get(String(data.socketId))?.socket.say(eventName.slice(1), { ...data, socketId: this.#id });
    }
  }
}

// ---- Media ------------------------------------------------------------------------------------------------------------

export class Track extends Target {
  readyState = "live";
  readonly id = Math.random().toString(36);

  constructor(readonly kind: string) {
    super();
  }

  end(): void {
    this.readyState = "ended";
    this.fire("ended");
  }
}

export class Stream extends Target {
  readonly #tracks: Set<Track>;

  constructor(
    tracks: Track[] = [],
    readonly id = Math.random().toString(36),
  ) {
    super();
    this.#tracks = new Set(tracks);
  }

  getTracks(): Track[] {
    return [...this.#tracks];
  }

  addTrack(track: Track): void {
    this.#tracks.add(track);
  }

  removeTrack(track: Track): void {
    this.#tracks.delete(track);
  }

  /** What the browser does with a stream of the other side. */
  lose(track: Track): void {
    this.#tracks.delete(track);
    this.fire("removetrack", { track });
  }
}

// ---- Connections ------------------------------------------------------------------------------------------------------

class DataChannel extends Target {
  readyState = "connecting";
  bufferedAmount = 0;
  bufferedAmountLowThreshold = 0;
  binaryType = "blob";
  other: DataChannel | undefined;

  constructor(
    readonly label: string,
    readonly init: Fields = {},
  ) {
    super();
  }

  send(data: string | Uint8Array<ArrayBuffer>): void {
    if (this.readyState !== "open") throw new DOMException("not open", "InvalidStateError");
    const copy = typeof data === "string" ? data : data.slice().buffer;
    setTimeout(() => this.other?.fire("message", { data: copy }));
  }

  close(): void {
    for (const side of [this.other, this]) side?.end();
  }

  end(): void {
    if (this.readyState === "closed") return;
    this.readyState = "closed";
    setTimeout(() => this.fire("close"));
  }

  pair(other: DataChannel): void {
    this.other = other;
    other.other = this;
    for (const side of [this, other]) {
      setTimeout(() => {
        side.readyState = "open";
        side.fire("open");
      });
    }
  }
}

interface Description {
  type: "offer" | "answer";
  sdp: string;
}

interface Transceiver {
  sender: {
    track: Track | null;
    setStreams(stream: Stream): void;
    replaceTrack(track: Track | null): Promise<void>;
  };
  receiver: { track: { kind: string } };
  stream: string;
  currentDirection: string;
  direction: string;
}

/** Its description names it in the fingerprint, and what it sends. */
class Connection extends Target {
  signalingState = "stable";
  connectionState = "new";
  iceConnectionState = "new";
  localDescription: Description | null = null;
  remoteDescription: Description | null = null;
  readonly sctp = { maxMessageSize: 262_144 };
  readonly #world = world;
  readonly #name = `${this.#world.connections.push(this)}`;
  readonly #channels: DataChannel[] = [];
  readonly #transceivers: Transceiver[] = [];
  readonly #remote = new Map<string, Stream>();

  /** Also what it carries, a moment after itself. */
  get isOpen(): boolean {
    return this.connectionState === "connected" && this.#channels.every(({ readyState }) => readyState === "open");
  }

  get pendingLocalDescription(): Description | null {
    return this.signalingState === "have-local-offer" ? this.localDescription : null;
  }

  createDataChannel(label: string, init: Fields = {}): DataChannel {
    const channel = new DataChannel(label, init);
    this.#channels.push(channel);
    this.#ask();
    if (this.connectionState === "connected") setTimeout(() => this.#pairChannels());
    return channel;
  }

  addTrack(track: Track, stream: Stream): Transceiver["sender"] {
    const transceiver: Transceiver = {
      sender: {
        track,
        setStreams: ({ id }) => {
          transceiver.stream = id;
        },
        replaceTrack: async (other) => {
          transceiver.sender.track = other;
        },
      },
      receiver: { track: { kind: track.kind } },
      stream: stream.id,
      currentDirection: "sendrecv",
      direction: "sendrecv",
    };
    this.#transceivers.push(transceiver);
    this.#ask();
    return transceiver.sender;
  }

  removeTrack(sender: Transceiver["sender"]): void {
    sender.track = null;
    this.#ask();
  }

  getTransceivers(): Transceiver[] {
    return this.#transceivers;
  }

  async createOffer(): Promise<Description> {
    return this.#describe("offer");
  }

  async setLocalDescription(description?: Description): Promise<void> {
    const type = this.signalingState === "have-remote-offer" ? "answer" : "offer";
    this.localDescription = description ?? this.#describe(type);
    this.signalingState = type === "offer" ? "have-local-offer" : "stable";
    const candidate = { candidate: `candidate:1 1 udp 1 192.0.2.1 1 typ host`, sdpMid: "0", sdpMLineIndex: 0 };
    setTimeout(() => this.fire("icecandidate", { candidate }));
    if (type === "answer") this.#connect();
    this.#ask();
  }

  async setRemoteDescription(description: Description): Promise<void> {
    if (!description.sdp.startsWith("v=0")) throw new TypeError("no SDP");
    this.remoteDescription = { type: description.type, sdp: description.sdp };
    this.signalingState = description.type === "offer" ? "have-remote-offer" : "stable";
    this.#receive(description.sdp);
    if (description.type === "answer") this.#connect();
    this.#ask();
  }

  async addIceCandidate({ candidate }: { candidate: string }): Promise<void> {
    if (!candidate.startsWith("candidate:")) throw new TypeError("no candidate");
  }

  async getStats(): Promise<Map<string, Fields>> {
    const entries: (Fields & { id: string })[] = [
      { id: "t", type: "transport", selectedCandidatePairId: "p" },
      {
        id: "p",
        type: "candidate-pair",
        state: "succeeded",
        localCandidateId: "l",
        remoteCandidateId: "r",
        currentRoundTripTime: 0.25,
        bytesSent: 1000,
        bytesReceived: 2000,
      },
      { id: "l", type: "local-candidate", candidateType: "relay", relayProtocol: "tcp", protocol: "udp" },
      { id: "r", type: "remote-candidate", candidateType: "host" },
    ];
    return new Map(entries.map((entry) => [entry.id, entry]));
  }

  setConfiguration(configuration: { iceServers: { urls: string }[] }): void {
    if (configuration.iceServers[0]?.urls !== "stun:server.example") throw new TypeError("no iceServers");
  }

  restartIce(): void {}

  close(): void {
    this.connectionState = "closed";
    for (const channel of this.#channels) channel.close();
  }

  /** To be called after each change, also of what is agreed upon. */
  #ask(): void {
    setTimeout(() => {
      const isBehind = this.localDescription?.sdp !== this.#describe("offer").sdp;
      if (isBehind && this.signalingState === "stable") this.fire("negotiationneeded");
    });
  }

  #describe(type: "offer" | "answer"): Description {
    const sent = this.#transceivers.flatMap(({ sender: { track }, stream }) => (track ? [[stream, track.kind]] : []));
    const lines = [`a=fingerprint:sha-256 ${this.#name}`, "a=max-message-size:262144", `sends:${JSON.stringify(sent)}`];
    return { type, sdp: `v=0\r\n${lines.join("\r\n")}\r\n` };
  }

  #receive(sdp: string): void {
    const sent: [string, string][] = JSON.parse(/^sends:(.*)$/m.exec(sdp)?.[1] ?? "[]");
    for (const [id, stream] of this.#remote) {
      if (sent.some(([other]) => other === id)) continue;
      this.#remote.delete(id);
      for (const track of stream.getTracks()) stream.lose(track);
    }
    for (const [id, kind] of sent) {
      if (this.#remote.has(id)) continue;
      const track = new Track(kind);
      const stream = new Stream([track], id);
      this.#remote.set(id, stream);
      this.fire("track", { track, streams: [stream] });
    }
  }

  get #other(): Connection | undefined {
    const name = /fingerprint:sha-256 (\d+)/.exec(this.remoteDescription?.sdp ?? "")?.[1];
    return this.#world.connections[Number(name) - 1];
  }

  #connect(): void {
    if (this.connectionState !== "new") return;
    setTimeout(() => {
      if (this.connectionState !== "new") return;
      this.connectionState = this.iceConnectionState = "connected";
      this.fire("iceconnectionstatechange");
      this.fire("connectionstatechange");
      this.#pairChannels();
    });
  }

  #pairChannels(): void {
    const other = this.#other;
    if (other?.connectionState !== "connected") return;
    for (const [near, far] of [
      [this, other],
      [other, this],
    ] as const) {
      for (const channel of near.#channels) {
        if (channel.readyState !== "connecting" || channel.other) continue;
        const same = far.#channels.find(({ init }) => init.negotiated && init.id === channel.init.id);
        if (channel.init.negotiated) {
          if (same) channel.pair(same);
          continue;
        }
        const twin = new DataChannel(channel.label);
        far.#channels.push(twin);
        twin.other = channel;
        far.fire("datachannel", { channel: twin });
        channel.pair(twin);
      }
    }
  }
}

class MediaElement {
  srcObject: unknown = null;
  muted = false;
  #src = "";
  get src(): string {
    return this.#src;
  }
  set src(value: string) {
    this.#src = value;
  }
  setAttribute(): void {}
  removeAttribute(): void {}
  async play(): Promise<void> {}
}

/** Where two pages can meet. */
export function makeWorld(): void {
  world = new World();
  const { downloads } = world;
  vi.stubGlobal("WebSocket", Socket);
  vi.stubGlobal("RTCPeerConnection", Connection);
  vi.stubGlobal("MediaStream", Stream);
  vi.stubGlobal("HTMLMediaElement", MediaElement);
  vi.stubGlobal("HTMLVideoElement", MediaElement);
  vi.stubGlobal("location", { href: "http://page.example/", origin: "http://page.example", protocol: "http:" });
  vi.stubGlobal("navigator", {
    mediaDevices: { getUserMedia: async () => new Stream([new Track("audio"), new Track("video")]) },
  });
  vi.stubGlobal("document", {
    addEventListener() {},
    createElement() {
      const link = { href: "", download: "", click: () => downloads.push(link.download) };
      return link;
    },
  });
}
