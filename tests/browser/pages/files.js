// A member that sends and takes files by the built SDK, and measures what it costs. `window.files` is driven by tests.

const { joinRoom } = await import("./client.js");

// Firefox 140 has streams up to 255, and throws OperationError for ever on channels above.
const BARE = { negotiated: true, id: 200 };
/** As the SDK's channels have it. */
const HIGH_WATER = 1 << 20;
const LOW_WATER = 1 << 18;

window.files = {
  problems: [],
  received: [],

  async join(url, room, { accept = true } = {}) {
    this.room = await joinRoom({ url, room });
    this.room.on("error", (error) => this.problems.push(`${error.reason}: ${error.message}`));
    this.room.on("file", (_peer, file) => {
      const entry = { file, startedAt: 0, endedAt: 0 };
      this.received.push(entry);
      if (accept) void this.accept(entry);
    });
  },

  async accept(entry) {
    entry.startedAt = performance.now();
    try {
      entry.blob = await entry.file.accept();
    } catch (error) {
      entry.error = error.reason;
    }
    entry.endedAt = performance.now();
  },

  peer() {
    return [...this.room.peers.values()].find((peer) => peer.state === "connected");
  },

  /** Makes a file of random bytes, piece by piece, so that the page never has it. */
  make(size, name) {
    const parts = [];
    const bytes = new Uint8Array(65_536);
    for (let left = size; left > 0; left -= bytes.length) {
      parts.push(new Blob([crypto.getRandomValues(bytes).subarray(0, left)]));
    }
    this.source = new File(parts, name, { type: "application/zip" });
  },

  send(options) {
    [this.outgoing] = this.room.sendFile(this.source, options);
    this.outgoing.done.catch(() => {});
  },

  async digest(blob) {
    const bytes = new Uint8Array(await crypto.subtle.digest("SHA-256", await blob.arrayBuffer()));
    return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  },

  /** Watches what the page's heap holds, array buffers and what nobody has collected yet included. */
  watchMemory() {
    this.heap = { before: performance.memory?.usedJSHeapSize, most: 0 };
    this.watcher = setInterval(() => {
      this.heap.most = Math.max(this.heap.most, performance.memory?.usedJSHeapSize ?? 0);
    }, 50);
  },

  stopWatching() {
    clearInterval(this.watcher);
    return this.heap;
  },

  openBare() {
    this.bare = this.peer().connection.createDataChannel("bare", BARE);
    this.bare.binaryType = "arraybuffer";
    this.bare.bufferedAmountLowThreshold = LOW_WATER;
    this.bareBytes = 0;
    this.bare.onmessage = ({ data }) => {
      if (this.bareBytes === 0) this.bareStartedAt = performance.now();
      this.bareBytes += data.byteLength;
      this.bareEndedAt = performance.now();
    };
  },

  /** Whether the browser's buffer took it; where that is full far below the mark, `send` throws. */
  isTaken(chunk) {
    try {
      this.bare.send(chunk);
      return true;
    } catch (error) {
      if (error.name !== "OperationError") throw error;
      return false;
    }
  },

  /** What a data channel does when nobody reads, checks or stores anything. */
  async sendBare(size, chunkSize) {
    const chunk = new Uint8Array(chunkSize);
    for (let sent = 0; sent < size; ) {
      while (sent < size && this.bare.bufferedAmount <= HIGH_WATER && this.isTaken(chunk)) sent += chunkSize;
      if (sent < size) {
        // A browser whose buffer was full below the mark has no event for when it is not any more.
        const isFull = this.bare.bufferedAmount <= HIGH_WATER;
        await new Promise((resolve) => {
          this.bare.onbufferedamountlow = resolve;
          if (isFull) setTimeout(resolve, 10);
        });
      }
    }
  },
};
