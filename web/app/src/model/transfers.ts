// File transfers, as the chat shows them.
import { BimccRtcError, type FileState, type IncomingFile, type OutgoingFile } from "bimcc-rtc";
import { fileNameOf } from "../logic/names";

export interface FileView {
  readonly direction: "in" | "out";
  readonly name: string;
  readonly size: number;
  /** The common state of all receivers. */
  readonly state: FileState;
  /** 0 to 1. */
  readonly progress: number;
  /** How many members it was offered to; `done` says how many have it. */
  readonly receivers: number;
  readonly done: number;
  readonly refused: number;
  /** The URL of the received file, if it is kept in the browser. */
  readonly href: string | undefined;
  readonly savedToDisk: boolean;
  readonly error: string | undefined;
}

/** From this size on, the user is asked where to save a file before it comes. */
export const STREAM_TO_DISK_FROM = 64_000_000;

type SaveFilePicker = (options: {
  suggestedName: string;
}) => Promise<{ createWritable(): Promise<WritableStream<Uint8Array>> }>;

function saveFilePicker(): SaveFilePicker | undefined {
  const picker = (globalThis as { showSaveFilePicker?: unknown }).showSaveFilePicker;
  return typeof picker === "function" ? (picker.bind(globalThis) as SaveFilePicker) : undefined;
}

export class Incoming {
  #href: string | undefined;
  #savedToDisk = false;
  #error: string | undefined;
  #choosing = false;
  readonly #ends: (() => void)[];

  constructor(
    readonly file: IncomingFile,
    private readonly changed: () => void,
  ) {
    this.#ends = [file.on("state", changed), file.on("progress", changed)];
  }

  get open(): boolean {
    return this.file.state === "offered" || this.file.state === "active";
  }

  /** Call this from a click, because only then browsers let the page ask for a place on the disk. */
  async accept(): Promise<void> {
    if (this.file.state !== "offered" || this.#choosing) return;
    const name = fileNameOf(this.file.name);
    try {
      const picker = this.file.size >= STREAM_TO_DISK_FROM ? saveFilePicker() : undefined;
      if (picker) {
        this.#choosing = true;
        const sink = await chooseSink(picker, name);
        this.#choosing = false;
        if (sink === "cancelled") return;
        if (sink) {
          await this.file.accept({ sink });
          this.#savedToDisk = true;
          return this.changed();
        }
      }
      const blob = await this.file.accept();
      // The type does not come from the sender: opened in a tab, the file must not become a page of this site.
      this.#href = URL.createObjectURL(new Blob([blob], { type: "application/octet-stream" }));
      this.changed();
      download(this.#href, name);
    } catch (error) {
      if (!(error instanceof BimccRtcError && error.reason === "file_cancelled"))
        this.#error = error instanceof Error ? error.message : String(error);
      this.changed();
    }
  }

  view(): FileView {
    const { file } = this;
    return {
      direction: "in",
      name: fileNameOf(file.name),
      size: file.size,
      state: file.state,
      progress: file.size > 0 ? Math.min(1, file.bytes / file.size) : Number(file.state === "done"),
      receivers: 1,
      done: Number(file.state === "done"),
      refused: Number(file.state === "refused"),
      href: this.#href,
      savedToDisk: this.#savedToDisk,
      error: this.#error ?? file.error?.message,
    };
  }

  dispose(): void {
    for (const end of this.#ends) end();
    if (this.file.state === "offered") this.file.refuse();
    else if (this.file.state === "active") this.file.cancel();
    if (this.#href) URL.revokeObjectURL(this.#href);
  }
}

async function chooseSink(
  picker: SaveFilePicker,
  suggestedName: string,
): Promise<WritableStream<Uint8Array> | "cancelled" | undefined> {
  try {
    return await (await picker({ suggestedName })).createWritable();
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") return "cancelled";
    return undefined; // No permission to write there, so the browser's own download is used.
  }
}

export function download(href: string, name: string): void {
  const link = document.createElement("a");
  link.href = href;
  link.download = name;
  link.click();
}

export class Outgoing {
  readonly #ends: (() => void)[] = [];

  constructor(
    readonly files: readonly OutgoingFile[],
    private readonly name: string,
    private readonly size: number,
    changed: () => void,
  ) {
    for (const file of files) {
      this.#ends.push(file.on("state", changed), file.on("progress", changed));
      file.done.catch(changed);
    }
  }

  get open(): boolean {
    return this.files.some((file) => file.state === "offered" || file.state === "active");
  }

  cancel(): void {
    for (const file of this.files) if (file.state === "offered" || file.state === "active") file.cancel();
  }

  view(): FileView {
    const { files, size } = this;
    const count = (state: FileState) => files.filter((file) => file.state === state).length;
    const taken = files.filter((file) => file.state === "active" || file.state === "done");
    const bytes = taken.reduce((sum, file) => sum + file.bytes, 0);
    const failed = files.find((file) => file.state === "failed");
    return {
      direction: "out",
      name: fileNameOf(this.name),
      size,
      state: this.#state(count),
      progress: size > 0 && taken.length ? Math.min(1, bytes / (size * taken.length)) : 0,
      receivers: files.length,
      done: count("done"),
      refused: count("refused"),
      href: undefined,
      savedToDisk: false,
      error: failed?.error?.message,
    };
  }

  #state(count: (state: FileState) => number): FileState {
    const order: FileState[] = ["active", "offered", "done", "failed", "refused", "cancelled"];
    return order.find((state) => count(state) > 0) ?? "cancelled";
  }

  dispose(): void {
    this.cancel();
    for (const end of this.#ends) end();
  }
}
