// A member of a room with the built SDK. It counts the RTCPeerConnections that are made for peers, which are those with
// data channels, and records the events of the room. The tests control it through `window.member`.

const Native = window.RTCPeerConnection;
const constructed = new Set();
/** The data channels that the SDK has made, by label. */
const channels = {};
window.RTCPeerConnection = class extends Native {
  createDataChannel(label, ...rest) {
    constructed.add(this);
    channels[label] = super.createDataChannel(label, ...rest);
    return channels[label];
  }
};

const { joinRoom, openCamera, BimccRtcError } = await import("./client.js");

class Member {
  room;
  events = [];
  errors = [];
  messages = [];
  /** What the SDK has logged. */
  log = [];
  /** For each sender: the numbers that it has sent as ticks, and when the last one came. */
  ticks = {};
  #published = {};
  #videos = {};
  #connections = new Map();
  #ticker;

  get constructed() {
    return constructed.size;
  }

  /** Joins, and returns this member's id. */
  async join(url, room, { policy = "all", camera = false, name = "a member" } = {}) {
    const tell = (level) => (text) => this.log.push(`${level} ${text}`);
    const logger = { debug: tell("debug"), info: tell("info"), warn: tell("warn"), error: tell("error") };
    this.room = await joinRoom({ url, room, name, rtcConfiguration: { iceTransportPolicy: policy }, logger });
    for (const event of ["state", "left", "peer_joined", "peer_left", "stream", "stream_ended"]) {
      this.room.on(event, (...args) => this.events.push([event, ...args.map(plain)]));
    }
    this.room.on("error", (error) => this.errors.push({ reason: error.reason, message: error.message, peer: error.peer?.id }));
    this.room.on("message", (peer, data, how) => this.#receive(peer, data, how));
    this.room.on("stream", (peer, { stream, label = "camera" }) => {
      this.#videos[`${label} of ${peer.id}`] = show(stream);
    });
    if (camera) await this.publish("camera");
    return this.room.id;
  }

  async publish(label) {
    this.#published[label] = this.room.publish(await openCamera(), { label });
  }

  unpublish(label) {
    this.#published[label].unpublish();
  }

  async replaceVideo(label) {
    const stream = await openCamera({ audio: false });
    await this.#published[label].replaceTrack(stream.getVideoTracks()[0]);
  }

  /** Sends a number that counts up, again and again. */
  startTicking(every = 50, options = {}) {
    let tick = 0;
    this.#ticker = setInterval(() => this.room.send({ tick: ++tick }, options), every);
  }

  stopTicking() {
    clearInterval(this.#ticker);
  }

  #receive(peer, data, how) {
    if (data?.tick === undefined) {
      const binary = data instanceof ArrayBuffer ? [...new Uint8Array(data.slice(0, 16)), data.byteLength] : undefined;
      this.messages.push({ from: peer.id, ...(binary ? { binary } : { data }), ...how });
      return;
    }
    const ticks = (this.ticks[peer.id] ??= { numbers: [], longestGap: 0, at: performance.now() });
    ticks.numbers.push(data.tick);
    ticks.longestGap = Math.max(ticks.longestGap, performance.now() - ticks.at);
    ticks.at = performance.now();
  }

  peerIds() {
    return [...this.room.peers.keys()].sort();
  }

  states() {
    return [...this.room.peers.values()].map((peer) => peer.state);
  }

  async paths() {
    const stats = await this.room.stats();
    return stats.map(({ peer, ...rest }) => ({ id: peer.id, ...rest }));
  }

  /** For each peer: whether its connection is still the first one, its certificates, and the bytes of its channels. */
  async identities() {
    const identities = {};
    for (const { id, connection } of this.room.peers.values()) {
      if (!this.#connections.has(id)) this.#connections.set(id, connection);
      const report = [...(await connection.getStats()).values()];
      const channels = report.filter(({ type }) => type === "data-channel");
      identities[id] = {
        same: this.#connections.get(id) === connection,
        local: fingerprint(connection.localDescription),
        remote: fingerprint(connection.remoteDescription),
        received: channels.reduce((sum, { bytesReceived }) => sum + bytesReceived, 0),
        ufrag: /a=ice-ufrag:(\S+)/.exec(connection.localDescription.sdp)[1],
      };
    }
    return identities;
  }

  /** How many frames of a peer's stream were shown; a browser may decode frames without showing them. */
  framesShown(id, label = "camera") {
    return this.#videos[`${label} of ${id}`]?.() ?? 0;
  }

  /** The kinds of candidates and the error codes of a new connection with these servers and only relays. */
  async gather(iceServers) {
    const connection = new Native({ iceServers, iceTransportPolicy: "relay" });
    const result = { candidates: [], errors: [] };
    connection.onicecandidateerror = ({ errorCode }) => result.errors.push(errorCode);
    connection.createDataChannel("any");
    await new Promise((resolve) => {
      connection.onicecandidate = ({ candidate }) => {
        if (candidate?.candidate) result.candidates.push(candidate.type);
        else if (!candidate) resolve();
      };
      void connection.setLocalDescription();
    });
    connection.close();
    return result;
  }

  iceServers() {
    return this.room.peers.values().next().value.connection.getConfiguration().iceServers;
  }

  restartIce() {
    for (const { connection } of this.room.peers.values()) connection.restartIce();
  }

  /** Sends a frame (text or bytes) without the SDK, this many times. */
  async sendRaw(label, frame, times = 1) {
    if (channels[label].readyState !== "open") await new Promise((resolve) => (channels[label].onopen = resolve));
    for (let i = 0; i < times; i++) {
      while (channels[label].bufferedAmount > 1 << 20) await new Promise((resolve) => setTimeout(resolve, 5));
      channels[label].send(typeof frame === "string" ? frame : new Uint8Array(frame));
    }
  }

  async joinFails(url, room) {
    const started = performance.now();
    try {
      await joinRoom({ url, room });
    } catch (error) {
      const { reason, message } = error;
      return { isOurs: error instanceof BimccRtcError, reason, message, after: performance.now() - started };
    }
    return undefined;
  }
}

function fingerprint(description) {
  return /a=fingerprint:(.+)/.exec(description?.sdp ?? "")?.[1];
}

function plain(value) {
  if (value?.connection) return value.id;
  if (value?.stream) return { label: value.label, tracks: value.stream.getTracks().map(({ kind }) => kind) };
  return value instanceof Error ? value.reason : value;
}

/** Plays a stream, and returns a function that tells how many frames were shown. */
function show(stream) {
  const video = document.createElement("video");
  video.muted = video.autoplay = video.playsInline = true;
  video.srcObject = stream;
  document.body.append(video);
  let shown = 0;
  const count = () => {
    shown += 1;
    video.requestVideoFrameCallback(count);
  };
  video.requestVideoFrameCallback(count);
  // Firefox's playback quality does not count frames of streams, and Chromium makes no callbacks in a tab behind
  // another one.
  return () => Math.max(shown, video.getVideoPlaybackQuality().totalVideoFrames);
}

window.member = new Member();
