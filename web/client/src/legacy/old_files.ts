// Files as the first clients send them: JSON texts with parts of a data: URL on the channel that the messages use. This
// is slow, but they understand nothing else. Incoming packets come from a stranger, so sizes and states are checked.
import { inertType, safeName } from "../files/offer";
import { queueOf } from "../send_queue";

/** What file transfer needs from the client. */
export interface OldFilesHost {
  channel(socketId: string): RTCDataChannel | undefined;
  emit(eventName: string, ...args: unknown[]): void;
}

export interface FileToSend {
  file: File;
  state: "ask" | "send" | "end" | "refused";
}

export interface FileToReceive {
  socketId: string;
  state: "ask" | "receive" | "end";
  name: string;
  size: number;
}

interface Receiving extends FileToReceive {
  /** The text that is not decoded yet: the head of the URL, or less than a group of base64. */
  rest: string;
  type: string | undefined;
  parts: Blob[];
  /** Decoded bytes that are not in `parts` yet. */
  loose: Uint8Array<ArrayBuffer>[];
  looseBytes: number;
  bytes: number;
}

/** How many characters a packet has in every client of this protocol. */
const PACKET = 1000;
/** How many bytes are read at once: whole groups of base64, enough for a few packets. */
const SLICE = 3 << 14;
const MAX_PENDING = 16;
const MAX_HEAD = 300;
const MAX_LOOSE = 1 << 20;

export class OldFiles {
  readonly fileChannels: Record<string, Record<string, FileToSend>> = Object.create(null);
  readonly receiveFiles: Record<string, FileToReceive> = Object.create(null);
  readonly #receiving = new Map<string, Receiving>();
  readonly #host: OldFilesHost;

  constructor(host: OldFilesHost) {
    this.#host = host;
  }

  /** Handles a `__file` packet. */
  handlePacket(packet: Record<string, unknown>, socketId: string): void {
    const { signal, sendId } = packet;
    if (typeof sendId !== "string" || sendId.length > 64) return;
    switch (signal) {
      case "ask":
        this.receiveFileAsk(sendId, packet.name, packet.size, socketId);
        return;
      case "accept":
        this.receiveFileAccept(sendId, socketId);
        return;
      case "refuse":
        this.receiveFileRefuse(sendId, socketId);
        return;
      case "chunk":
        this.receiveFileChunk(packet.data, sendId, socketId, packet.last, packet.percent);
    }
  }

  handlePeerGone(socketId: string): void {
    for (const [sendId, { file }] of Object.entries(this.fileChannels[socketId] ?? {})) {
      this.#sendError("Connection has been closed", socketId, sendId, file);
    }
    delete this.fileChannels[socketId];
    for (const [sendId, receiving] of this.#receiving) {
      if (receiving.socketId === socketId) this.#receiveError("Connection has been closed", sendId, socketId);
    }
  }

  // ---- Sending --------------------------------------------------------------------------------------------------------

  sendFile(dom: unknown, socketId: string): void {
    const input = typeof dom === "string" ? document.getElementById(dom) : dom;
    const file = input instanceof File ? input : (input as Partial<HTMLInputElement> | null)?.files?.[0];
    if (!input) {
      this.#host.emit("send_file_error", new Error("Can not find dom while sending file"), socketId);
    } else if (!file) {
      this.#host.emit("send_file_error", new Error("No file need to be sended"), socketId);
    } else {
      const sendId = this.getRandomString();
      const toSend: FileToSend = { file, state: "ask" };
      const files = this.fileChannels[socketId] ?? {};
      this.fileChannels[socketId] = files;
      files[sendId] = toSend;
      if (this.sendAsk(socketId, sendId, toSend)) this.#host.emit("send_file", sendId, socketId, file);
    }
  }

  getRandomString(): string {
    return crypto
      .getRandomValues(new Uint32Array(2))
      .reduce((text, word) => text + word.toString(36), "")
      .toUpperCase();
  }

  sendAsk(socketId: string, sendId: string, { file }: FileToSend): boolean {
    const ask = { name: file.name, size: file.size, sendId, type: "__file", signal: "ask" };
    const isSaid = this.#say(socketId, ask);
    if (!isSaid) this.#sendError("Channel has been closed", socketId, sendId, file);
    return isSaid;
  }

  receiveFileAccept(sendId: string, socketId: string): void {
    const toSend = this.fileChannels[socketId]?.[sendId];
    if (toSend?.state !== "ask") return;
    toSend.state = "send";
    this.#host.emit("send_file_accepted", sendId, socketId, toSend.file);
    void this.#sendChunks(toSend, sendId, socketId);
  }

  receiveFileRefuse(sendId: string, socketId: string): void {
    const toSend = this.fileChannels[socketId]?.[sendId];
    if (toSend?.state !== "ask") return;
    toSend.state = "refused";
    this.cleanSendFile(sendId, socketId);
    this.#host.emit("send_file_refused", sendId, socketId, toSend.file);
  }

  async #sendChunks(toSend: FileToSend, sendId: string, socketId: string): Promise<void> {
    const { file } = toSend;
    const head = `data:${file.type || "application/octet-stream"};base64,`;
    const packets = Math.max(Math.ceil((head.length + Math.ceil(file.size / 3) * 4) / PACKET), 1);
    let text = head;
    let sent = 0;
    try {
      for (let offset = 0; offset < file.size || sent < packets; offset += SLICE) {
        text += base64(new Uint8Array(await file.slice(offset, offset + SLICE).arrayBuffer()));
        const isAll = offset + SLICE >= file.size;
        while (text.length >= PACKET || (isAll && sent < packets)) {
          const channel = this.#host.channel(socketId);
          if (channel) await queueOf(channel).ready();
          if (toSend !== this.fileChannels[socketId]?.[sendId]) return;
          const last = ++sent === packets;
          const percent = (sent / packets) * 100;
          const chunk = { type: "__file", signal: "chunk", sendId, data: text.slice(0, PACKET), last };
          if (!this.#say(socketId, last ? chunk : { ...chunk, percent })) throw new Error("Channel has been destroyed");
          text = text.slice(PACKET);
          if (!last) this.#host.emit("send_file_chunk", sendId, socketId, percent, file);
        }
      }
      toSend.state = "end";
      this.cleanSendFile(sendId, socketId);
      this.#host.emit("sended_file", sendId, socketId, file);
    } catch (error) {
      if (toSend === this.fileChannels[socketId]?.[sendId]) this.#sendError(error, socketId, sendId, file);
    }
  }

  cleanSendFile(sendId: string, socketId: string): void {
    delete this.fileChannels[socketId]?.[sendId];
  }

  #sendError(cause: unknown, socketId: string, sendId: string, file: File): void {
    this.cleanSendFile(sendId, socketId);
    const error = cause instanceof Error ? cause : new Error(String(cause));
    this.#host.emit("send_file_error", error, socketId, sendId, file);
  }

  // ---- Receiving ------------------------------------------------------------------------------------------------------

  receiveFileAsk(sendId: string, name: unknown, size: unknown, socketId: string): void {
    const pending = [...this.#receiving.values()].filter((file) => file.socketId === socketId).length;
    // Senders choose the ids, and pages know files only by their ids. So a second file with the same id must be offered
    // again.
    const isGood = typeof name === "string" && typeof size === "number" && Number.isSafeInteger(size) && size >= 0;
    if (!isGood || pending >= MAX_PENDING || this.#receiving.has(sendId)) {
      this.#say(socketId, { type: "__file", signal: "refuse", sendId });
      return;
    }
    const file: Receiving = {
      socketId,
      state: "ask",
      name: safeName(name),
      size,
      rest: "",
      type: undefined,
      parts: [],
      loose: [],
      looseBytes: 0,
      bytes: 0,
    };
    this.#receiving.set(sendId, file);
    this.receiveFiles[sendId] = file;
    this.#host.emit("receive_file_ask", sendId, socketId, file.name, size);
  }

  sendFileAccept(sendId: string): void {
    const file = this.#receiving.get(sendId);
    if (file?.state !== "ask") return;
    file.state = "receive";
    if (!this.#say(file.socketId, { type: "__file", signal: "accept", sendId })) {
      this.#receiveError("Channel has been destroyed", sendId, file.socketId);
    }
  }

  sendFileRefuse(sendId: string): void {
    const file = this.#receiving.get(sendId);
    if (file?.state !== "ask") return;
    this.cleanReceiveFile(sendId);
    if (!this.#say(file.socketId, { type: "__file", signal: "refuse", sendId })) {
      this.#receiveError("Channel has been destroyed", sendId, file.socketId);
    }
  }

  receiveFileChunk(data: unknown, sendId: string, socketId: string, last: unknown, percent?: unknown): void {
    const file = this.#receiving.get(sendId);
    if (file?.socketId !== socketId || file.state !== "receive") return;
    try {
      if (typeof data !== "string") throw new Error("A part of the file is none");
      take(file, data);
    } catch (error) {
      this.#receiveError(error, sendId, socketId);
      return;
    }
    if (last) this.getTransferedFile(sendId);
    else this.#host.emit("receive_file_chunk", sendId, socketId, file.name, percent);
  }

  /** Pages call this when the last part has come. */
  getTransferedFile(sendId: string): void {
    const file = this.#receiving.get(sendId);
    if (file?.state !== "receive") return;
    const { socketId, name } = file;
    if (file.rest !== "" || file.bytes !== file.size) {
      this.#receiveError("The file has not arrived whole", sendId, socketId);
      return;
    }
    file.state = "end";
    this.cleanReceiveFile(sendId);
    const blob = new Blob([...file.parts, ...file.loose], { type: inertType(file.type ?? "") });
    download(blob, name);
    this.#host.emit("receive_file", sendId, socketId, name, blob);
  }

  cleanReceiveFile(sendId: string): void {
    this.#receiving.delete(sendId);
    delete this.receiveFiles[sendId];
  }

  #receiveError(cause: unknown, sendId: string, socketId: string): void {
    this.cleanReceiveFile(sendId);
    const error = cause instanceof Error ? cause : new Error(String(cause));
    this.#host.emit("receive_file_error", error, sendId, socketId);
  }

  #say(socketId: string, packet: object): boolean {
    const channel = this.#host.channel(socketId);
    if (channel?.readyState !== "open") return false;
    try {
      queueOf(channel).send(JSON.stringify(packet));
      return true;
    } catch {
      return false;
    }
  }
}

/**
 * Decodes what can be decoded, and puts it into Blobs, which the browser may keep out of memory. Throws if it is not a
 * file.
 */
function take(file: Receiving, data: string): void {
  file.rest += data;
  if (file.type === undefined) {
    const comma = file.rest.indexOf(",");
    if (comma < 0) {
      // In some browsers an empty file is only "data:".
      if (file.rest === "data:") file.rest = "";
      if (file.rest.length > MAX_HEAD) throw new Error("The file is not in the form of a data: URL");
      return;
    }
    const head = /^data:([\w.+/-]*)[^,]*;base64$/.exec(file.rest.slice(0, comma));
    if (!head) throw new Error("The file is not in the form of a data: URL");
    file.type = (head[1] ?? "").toLowerCase();
    file.rest = file.rest.slice(comma + 1);
  }
  const whole = file.rest.length - (file.rest.length % 4);
  const bytes = Uint8Array.from(atob(file.rest.slice(0, whole)), (character) => character.charCodeAt(0));
  file.rest = file.rest.slice(whole);
  file.bytes += bytes.length;
  if (file.bytes > file.size) throw new Error("The file is larger than it was said to be");
  file.loose.push(bytes);
  file.looseBytes += bytes.length;
  if (file.looseBytes >= MAX_LOOSE) {
    file.parts.push(new Blob(file.loose.splice(0)));
    file.looseBytes = 0;
  }
}

function base64(bytes: Uint8Array): string {
  let text = "";
  for (let offset = 0; offset < bytes.length; offset += 8192) {
    text += String.fromCharCode(...bytes.subarray(offset, offset + 8192));
  }
  return btoa(text);
}

function download(blob: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  // By then the download has begun, and it holds the data itself.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
