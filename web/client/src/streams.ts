// Media of both directions on one connection. Streams are distinguished by the id in the SDP (msid); their labels are
// sent in addition.

import type { PublishedStream, RemoteStream } from "./types";

export interface LocalStreamOwner {
  /** The stream has other tracks now. */
  syncStream(stream: LocalStream): void;
  replaceTrack(stream: LocalStream, old: MediaStreamTrack, track: MediaStreamTrack): Promise<void>;
  unpublish(stream: LocalStream): void;
}

/** A stream that this member publishes. */
export class LocalStream implements PublishedStream {
  readonly #owner: LocalStreamOwner;
  readonly #watched = new WeakSet<MediaStreamTrack>();

  constructor(
    readonly stream: MediaStream,
    readonly label: string | undefined,
    owner: LocalStreamOwner,
  ) {
    this.#owner = owner;
  }

  /**
   * Takes over the current tracks. When all tracks have ended (a camera was unplugged, a screen is no longer shared),
   * the stream is unpublished.
   */
  sync(): void {
    for (const track of this.stream.getTracks()) {
      if (this.#watched.has(track)) continue;
      this.#watched.add(track);
      track.addEventListener("ended", () => {
        if (this.stream.getTracks().every(({ readyState }) => readyState === "ended")) this.unpublish();
      });
    }
    this.#owner.syncStream(this);
  }

  async replaceTrack(track: MediaStreamTrack): Promise<void> {
    const old = this.stream.getTracks().find(({ kind }) => kind === track.kind);
    if (old === track) return;
    this.stream.addTrack(track);
    if (old) {
      this.stream.removeTrack(old);
      await this.#owner.replaceTrack(this, old, track);
    }
    this.sync();
  }

  unpublish(): void {
    this.#owner.unpublish(this);
  }
}

/** The senders of one connection. */
export class Senders {
  readonly #connection: RTCPeerConnection;
  readonly #byStream = new Map<LocalStream, Map<MediaStreamTrack, RTCRtpSender>>();
  /** Senders that are free for reuse, because a media section in the SDP cannot be removed. */
  readonly #idle = new Set<RTCRtpSender>();

  constructor(connection: RTCPeerConnection) {
    this.#connection = connection;
  }

  /** Makes the connection send exactly these tracks of the stream. */
  sync(local: LocalStream, tracks: MediaStreamTrack[] = local.stream.getTracks()): void {
    const senders = this.#byStream.get(local) ?? new Map<MediaStreamTrack, RTCRtpSender>();
    this.#byStream.set(local, senders);
    for (const [track, sender] of senders) {
      if (tracks.includes(track)) continue;
      senders.delete(track);
      this.#connection.removeTrack(sender);
      this.#idle.add(sender);
    }
    for (const track of tracks) if (!senders.has(track)) senders.set(track, this.#send(track, local.stream));
  }

  async replace(local: LocalStream, old: MediaStreamTrack, track: MediaStreamTrack): Promise<void> {
    const senders = this.#byStream.get(local);
    const sender = senders?.get(old);
    try {
      await sender?.replaceTrack(track);
    } catch {
      // The track cannot be sent as the old one was negotiated, so the next `sync` adds another sender.
      return;
    }
    if (!sender) return;
    senders?.delete(old);
    senders?.set(track, sender);
  }

  remove(local: LocalStream): void {
    this.sync(local, []);
    this.#byStream.delete(local);
  }

  #send(track: MediaStreamTrack, stream: MediaStream): RTCRtpSender {
    const transceivers = this.#connection.getTransceivers();
    const idle = transceivers.find(
      ({ sender, receiver, currentDirection }) =>
        this.#idle.has(sender) && currentDirection !== "stopped" && receiver.track.kind === track.kind,
    );
    if (idle) {
      this.#idle.delete(idle.sender);
      idle.sender.setStreams(stream);
      // The track is of the same kind, so this fails only if the connection is closed.
      idle.sender.replaceTrack(track).catch(() => {});
      idle.direction = "sendrecv";
      return idle.sender;
    }
    // A track may be in several streams, but addTrack accepts it only once.
    return transceivers.some(({ sender }) => sender.track === track)
      ? this.#connection.addTransceiver(track, { streams: [stream] }).sender
      : this.#connection.addTrack(track, stream);
  }
}

/** The streams that the peer publishes. */
export class RemoteStreams {
  readonly #tell: (event: "stream" | "stream_ended", stream: RemoteStream) => void;
  readonly #streams = new Map<string, RemoteStream>();
  /** The labels that the peer has sent, by the id of the stream. */
  labels: Record<string, string> = {};

  constructor(tell: (event: "stream" | "stream_ended", stream: RemoteStream) => void) {
    this.#tell = tell;
  }

  get all(): readonly RemoteStream[] {
    return [...this.#streams.values()];
  }

  handleTrack({ track, streams }: RTCTrackEvent): void {
    for (const stream of streams.length > 0 ? streams : [new MediaStream([track])]) {
      if (this.#streams.get(stream.id)?.stream === stream) continue;
      this.#end(stream.id);
      const remote = { stream, label: this.labels[stream.id] };
      this.#streams.set(stream.id, remote);
      stream.addEventListener("removetrack", () => {
        if (stream.getTracks().length === 0 && this.#streams.get(stream.id) === remote) this.#end(stream.id);
      });
      this.#tell("stream", remote);
    }
  }

  close(): void {
    for (const id of [...this.#streams.keys()]) this.#end(id);
  }

  #end(id: string): void {
    const remote = this.#streams.get(id);
    if (!remote) return;
    this.#streams.delete(id);
    this.#tell("stream_ended", remote);
  }
}
