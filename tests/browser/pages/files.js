// A member that sends and accepts files with the built SDK, and measures the cost. Tests control it through
// `window.files`.

const { joinRoom } = await import("./client.js");

// Firefox 140 has streams up to 255, and always throws OperationError on channels above.
const BARE = { negotiated: true, id: 200 };
/** The same marks as in the SDK's channels. */
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

  /** Makes a file of random bytes, piece by piece, so that the page never has all of it. */
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

  /** Watches the size of the page's heap, including array buffers and garbage that is not collected yet. */
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

  /**
   * Returns whether the browser's buffer accepted the chunk. If the buffer is full far below the mark, `send` throws.
   */
  isTaken(chunk) {
    try {
      this.bare.send(chunk);
      return true;
    } catch (error) {
      if (error.name !== "OperationError") throw error;
      return false;
    }
  },

  /** Measures a data channel when nobody reads, checks or stores anything. */
  async sendBare(size, chunkSize) {
    const chunk = new Uint8Array(chunkSize);
    for (let sent = 0; sent < size; ) {
      while (sent < size && this.bare.bufferedAmount <= HIGH_WATER && this.isTaken(chunk)) sent += chunkSize;
      if (sent < size) {
        // If the buffer was full below the mark, the browser has no event for the moment when there is room again.
        const isFull = this.bare.bufferedAmount <= HIGH_WATER;
        await new Promise((resolve) => {
          this.bare.onbufferedamountlow = resolve;
          if (isFull) setTimeout(resolve, 10);
        });
      }
    }
  },
};
