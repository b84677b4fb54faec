// One side of a call with the current protocol: the newcomer offers audio, video and a data channel with its
// iceServers. The tests control it through `window.call`.

const candidateName = ({ candidateType, relayProtocol, protocol, address, port } = {}) =>
  `${candidateType}/${relayProtocol ?? protocol} ${address}:${port}`;

const pick = (stats, names) =>
  names
    .split(" ")
    .filter((name) => stats[name] !== undefined)
    .map((name) => `${name} ${stats[name]}`)
    .join(", ");

class Call {
  #socket;
  #config;
  #transports;
  #media;
  #peers = new Map();
  #echoes = new Map();
  events = [];

  /** Joins the room; resolves with the answer `_peers`. */
  async join(url, room, { policy = "all", media = true, transports } = {}) {
    this.#transports = transports;
    this.#config = { iceTransportPolicy: policy, bundlePolicy: "max-bundle" };
    this.#media = media ? await navigator.mediaDevices.getUserMedia({ audio: true, video: true }) : undefined;
    this.#socket = new WebSocket(url);
    const joined = new Promise((resolve, reject) => {
      this.#socket.onclose = ({ code }) => reject(new Error(`WebSocket closed with ${code}`));
      this.#socket.onmessage = async ({ data: text }) => {
        const { eventName, data } = JSON.parse(text);
        this.events.push(eventName);
        try {
          await this.#handle(eventName, data, resolve);
        } catch (error) {
          console.error(`${eventName}: ${error}`);
          reject(error);
        }
      };
    });
    await new Promise((resolve) => (this.#socket.onopen = resolve));
    this.#send("__join", { room, name: "a test page" });
    return joined;
  }

  async #handle(eventName, data, joined) {
    if (eventName === "_peers") {
      this.#config.iceServers = data.iceServers.map((server) => this.#narrowed(server));
      joined(data);
      for (const id of data.connections) await this.#offer(id);
    } else if (eventName === "_offer") {
      const pc = this.#peer(data.socketId).pc;
      await pc.setRemoteDescription(data.sdp);
      this.#addMedia(pc);
      await pc.setLocalDescription();
      this.#send("__answer", { socketId: data.socketId, sdp: pc.localDescription });
    } else if (eventName === "_answer") {
      await this.#peer(data.socketId).pc.setRemoteDescription(data.sdp);
    } else if (eventName === "_ice_candidate") {
      const { candidate, sdpMLineIndex, sdpMid } = data;
      await this.#peer(data.socketId).pc.addIceCandidate({ candidate, sdpMLineIndex, sdpMid });
    } else if (eventName === "_error") {
      console.error(`_error ${data.code}: ${data.message}`);
    }
  }

  /** The server with only the TURN URLs over the transports that the test wants. */
  #narrowed(server) {
    const isWanted = (url) =>
      !this.#transports || this.#transports.includes(/\?transport=(\w+)/.exec(url)?.[1] ?? "udp");
    return { ...server, urls: [server.urls].flat().filter(isWanted) };
  }

  async #offer(id) {
    const peer = this.#peer(id);
    this.#addMedia(peer.pc);
    this.#useChannel(peer, peer.pc.createDataChannel("echo"), { isOurs: true });
    await peer.pc.setLocalDescription();
    this.#send("__offer", { socketId: id, sdp: peer.pc.localDescription });
  }

  #peer(id) {
    let peer = this.#peers.get(id);
    if (peer) return peer;
    const pc = new RTCPeerConnection(this.#config);
    peer = { pc };
    peer.channelOpen = new Promise((resolve) => (peer.openChannel = resolve));
    this.#peers.set(id, peer);
    pc.onicecandidate = ({ candidate }) => {
      if (!candidate) return;
      this.#send("__ice_candidate", {
        socketId: id,
        label: candidate.sdpMLineIndex,
        candidate: candidate.candidate,
        sdpMid: candidate.sdpMid,
      });
    };
    pc.onicecandidateerror = ({ url, errorCode, errorText }) => console.log(`ICE: ${url} ${errorCode} ${errorText}`);
    pc.onconnectionstatechange = () => console.log(`connection: ${pc.connectionState}`);
    pc.ondatachannel = ({ channel }) => this.#useChannel(peer, channel, { isOurs: false });
    pc.ontrack = ({ track, streams }) => {
      if (track.kind !== "video") return;
      const video = document.createElement("video");
      video.muted = video.autoplay = video.playsInline = true;
      video.srcObject = streams[0];
      document.body.append(video);
    };
    return peer;
  }

  #addMedia(pc) {
    for (const track of this.#media?.getTracks() ?? []) pc.addTrack(track, this.#media);
  }

  #useChannel(peer, channel, { isOurs }) {
    peer.channel = channel;
    console.log(`channel: ${channel.readyState}`);
    for (const event of ["open", "closing", "close", "error"]) {
      channel.addEventListener(event, () => console.log(`channel: event ${event}`));
    }
    // Only the side that made the channel knows when it is open: Chromium reports it to the other side too early, and
    // data that this side sends at once is sometimes lost. So it waits for a message from the first side.
    channel.onopen = () => {
      if (!isOurs) return;
      this.#say(channel, "hello");
      peer.openChannel();
    };
    channel.onmessage = ({ data }) => {
      const { type, text } = JSON.parse(data);
      console.log(`channel: ${type} received`);
      peer.openChannel();
      if (type === "echo") this.#say(channel, "echoed", text);
      else if (type === "echoed") this.#echoes.get(text)?.();
    };
  }

  #say(channel, type, text) {
    channel.send(JSON.stringify({ type, text }));
  }

  #send(eventName, data) {
    this.#socket.send(JSON.stringify({ eventName, data }));
  }

  /** Lets every peer send a text back, and resolves with the number of peers. */
  async echo() {
    for (const peer of this.#peers.values()) {
      await peer.channelOpen;
      const text = crypto.randomUUID();
      await new Promise((resolve) => {
        this.#echoes.set(text, resolve);
        this.#say(peer.channel, "echo", text);
      });
    }
    return this.#peers.size;
  }

  /** Information about a call that does not work: states, and the statistics that show where data gets lost. */
  async describe() {
    const lines = [`signaling: ${this.events.join(" ")}`];
    for (const { pc, channel } of this.#peers.values()) {
      const { signalingState, iceConnectionState, connectionState, sctp } = pc;
      lines.push(`states: ${signalingState}, ICE ${iceConnectionState}, ${connectionState}, SCTP ${sctp?.state}`);
      if (channel) lines.push(`channel: ${channel.readyState}, ${channel.bufferedAmount} bytes wait to be sent`);
      const stats = [...(await pc.getStats()).values()];
      const byId = new Map(stats.map((s) => [s.id, s]));
      for (const s of stats) {
        if (s.type === "candidate-pair" && (s.state === "succeeded" || s.bytesSent > 0 || s.bytesReceived > 0)) {
          const [local, remote] = [byId.get(s.localCandidateId), byId.get(s.remoteCandidateId)];
          const name = `${candidateName(local)} to ${candidateName(remote)}`;
          lines.push(`pair ${name}: ${pick(s, "state nominated selected bytesSent bytesReceived")}`);
        } else if (s.type === "data-channel") {
          lines.push(`data channel: ${pick(s, "state messagesSent messagesReceived bytesSent bytesReceived")}`);
        } else if (s.type === "inbound-rtp") {
          lines.push(
            `${s.kind}: ${pick(s, "packetsReceived packetsLost framesReceived framesDecoded keyFramesDecoded")}`,
          );
        }
      }
    }
    return lines;
  }

  /** What getStats reports about the connection to the only peer. */
  async report() {
    const [{ pc }] = this.#peers.values();
    const stats = [...(await pc.getStats()).values()];
    const byId = new Map(stats.map((s) => [s.id, s]));
    const transport = stats.find((s) => s.type === "transport" && s.selectedCandidatePairId);
    const pair =
      byId.get(transport?.selectedCandidatePairId) ??
      stats.find((s) => s.type === "candidate-pair" && (s.selected || (s.nominated && s.state === "succeeded")));
    const local = byId.get(pair?.localCandidateId);
    const video = stats.find((s) => s.type === "inbound-rtp" && s.kind === "video");
    return {
      local: local?.candidateType,
      relayProtocol: local?.relayProtocol,
      remote: byId.get(pair?.remoteCandidateId)?.candidateType,
      bytesReceived: pair?.bytesReceived,
      framesDecoded: video?.framesDecoded ?? 0,
    };
  }
}

window.call = new Call();
