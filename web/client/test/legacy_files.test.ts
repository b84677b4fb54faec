import { beforeAll, expect, test } from "vitest";
import { OldFiles } from "../src/legacy/old_files";
import { newSeed, randomBytes, sameBytes, seeded, turn } from "./files_pair";

const random = seeded(newSeed());
const downloads: string[] = [];

beforeAll(() => {
  const document = {
    createElement: () => {
      const link = { href: "", download: "", click: () => downloads.push(link.download) };
      return link;
    },
  };
  Object.assign(globalThis, { document });
});

type Packet = Record<string, unknown>;

/** One page: what it says to its peer waits in `said`. */
class Page {
  readonly said: Packet[] = [];
  readonly events: unknown[][] = [];
  isOpen = true;
  readonly files: OldFiles;

  constructor(readonly peer: string) {
    const send = (text: string) => this.said.push(JSON.parse(text));
    const page = this;
    const channel = {
      bufferedAmount: 0,
      send,
      get readyState() {
        return page.isOpen ? "open" : "closed";
      },
    } as unknown as RTCDataChannel;
    this.files = new OldFiles({
      channel: (id) => (id === this.peer ? channel : undefined),
      emit: (...event) => this.events.push(event),
    });
  }

  has(name: string): unknown[] | undefined {
    return this.events.find(([event]) => event === name);
  }

  hear(packet: Packet, from = this.peer): void {
    this.files.handlePacket({ type: "__file", ...packet }, from);
  }
}

async function talk(a: Page, b: Page, until: () => boolean): Promise<void> {
  for (let quiet = 0; !until(); quiet++) {
    for (const packet of a.said.splice(0)) b.hear(packet);
    for (const packet of b.said.splice(0)) a.hear(packet);
    await turn();
    if (quiet > 2000) throw new Error("nothing moves any more");
  }
}

for (const size of [0, 1, 2, 3, 700, 749, 750, 751, 49_152, 200_000 + Math.floor(random() * 3000)]) {
  test(`${size} bytes arrive, in packets of at most 1000 characters`, async () => {
    const [a, b] = [new Page("b"), new Page("a")];
    const bytes = randomBytes(size, random);
    a.files.sendFile(new File([bytes], "x.bin"), "b");
    await talk(a, b, () => b.has("receive_file_ask") !== undefined);
    const [, sendId, from, name, announced] = b.has("receive_file_ask") ?? [];
    expect([from, name, announced]).toEqual(["a", "x.bin", size]);
    const lengths: number[] = [];
    const push = a.said.push.bind(a.said);
    a.said.push = (packet) => {
      if (packet.signal === "chunk") lengths.push(String(packet.data).length);
      return push(packet);
    };
    b.files.sendFileAccept(String(sendId));
    await talk(a, b, () => b.has("receive_file") !== undefined);
    const blob = b.has("receive_file")?.[4] as Blob;
    expect(await sameBytes(blob, bytes)).toBe(true);
    expect(Math.max(...lengths)).toBeLessThanOrEqual(1000);
    expect(lengths.slice(0, -1).every((length) => length === 1000)).toBe(true);
    expect(a.has("sended_file")?.slice(1, 3)).toEqual([sendId, "b"]);
    expect(downloads.at(-1)).toBe("x.bin");
    expect([b.files.receiveFiles, a.files.fileChannels.b]).toEqual([{}, {}]);
  });
}

/** A page that has accepted a file of ten bytes. */
function receiving(): Page {
  const page = new Page("a");
  page.hear({ signal: "ask", sendId: "ID", name: "n", size: 10 });
  page.files.sendFileAccept("ID");
  return page;
}

const HEAD = "data:text/plain;base64,";

for (const [what, chunk] of [
  ["more than announced", { data: HEAD + btoa("x".repeat(11)), last: true }],
  ["less than announced", { data: HEAD + btoa("x".repeat(9)), last: true }],
  ["no base64", { data: `${HEAD}????`, last: false }],
  ["no data: URL", { data: `javascript:alert(1)${"x".repeat(400)}`, last: false }],
  ["a head that is none", { data: "data:text/html,<script>", last: false }],
  ["no text", { data: 5, last: false }],
] as const) {
  test(`${what}: the file is given up with an error`, () => {
    const page = receiving();
    page.hear({ signal: "chunk", sendId: "ID", ...chunk });
    expect(page.has("receive_file_error")?.slice(2)).toEqual(["ID", "a"]);
    expect(page.has("receive_file")).toBeUndefined();
    expect(page.files.receiveFiles).toEqual({});
  });
}

test("chunks of another peer, of no file, or before it was accepted have no effect", () => {
  const page = receiving();
  page.hear({ signal: "chunk", sendId: "ID", data: HEAD, last: false }, "b");
  page.hear({ signal: "chunk", sendId: "OTHER", data: HEAD, last: false });
  page.hear({ signal: "ask", sendId: "NEXT", name: "n", size: 10 });
  page.hear({ signal: "chunk", sendId: "NEXT", data: HEAD, last: true });
  expect(page.events.map(([name]) => name)).toEqual(["receive_file_ask", "receive_file_ask"]);
});

test("asks without end, bad ones, and ids that are taken are refused", () => {
  const page = new Page("a");
  for (let i = 0; i < 500; i++) page.hear({ signal: "ask", sendId: `ID${i}`, name: "n", size: 1 });
  expect(page.events).toHaveLength(16);
  const other = new Page("a");
  for (const bad of [{ size: -1 }, { size: null }, { size: "1" }, { size: 2 ** 60 }, { name: 5, size: 1 }]) {
    other.hear({ signal: "ask", sendId: "ID", name: "n", ...bad });
  }
  expect(other.events).toEqual([]);
  expect(other.said).toHaveLength(5);
  other.hear({ signal: "ask", sendId: "ID", name: "../../<b>x</b>", size: 1 });
  other.hear({ signal: "ask", sendId: "ID", name: "n", size: 1 }, "b");
  expect(other.events).toEqual([["receive_file_ask", "ID", "a", "b>", 1]]);
});

test("answers that nobody asked for have no effect", async () => {
  const page = new Page("b");
  page.files.sendFile(new File(["text"], "n"), "b");
  const sendId = page.said[0]?.sendId;
  page.hear({ signal: "accept", sendId: "OTHER" });
  page.hear({ signal: "accept", sendId }, "c");
  page.hear({ signal: "refuse", sendId }, "c");
  page.hear({ signal: "accept", sendId: 7 });
  await turn();
  expect(page.events.map(([name]) => name)).toEqual(["send_file"]);
  page.hear({ signal: "refuse", sendId });
  page.hear({ signal: "accept", sendId });
  await turn();
  expect(page.events.map(([name]) => name)).toEqual(["send_file", "send_file_refused"]);
});

test("the peer goes in the middle", () => {
  const page = receiving();
  page.files.sendFile(new File(["text"], "n"), "a");
  page.isOpen = false;
  page.files.handlePeerGone("a");
  expect(page.has("send_file_error")?.[2]).toBe("a");
  expect(page.has("receive_file_error")?.slice(2)).toEqual(["ID", "a"]);
  page.files.sendFile(new File(["text"], "n"), "a");
  expect(page.events.filter(([name]) => name === "send_file_error")).toHaveLength(2);
});
