// joinRoom always has an outcome, and whoever cannot be in a room does not enter it.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { BimccRtcError } from "../src/errors";
import { joinRoom } from "../src/index";
import type { JoinOptions, Room } from "../src/types";
import { FakeChannels } from "./fake_channel";
import { FakeSocket } from "./fake_socket";

let made: FakePeerConnection[] = [];
let failAt = Number.POSITIVE_INFINITY;

class FakePeerConnection extends FakeChannels {
  isClosed = false;
  connectionState = "new";
  signalingState = "stable";
  configuration: RTCConfiguration;

  constructor(configuration: RTCConfiguration) {
    super();
    if (made.length >= failAt) throw new DOMException("Cannot create so many PeerConnections", "UnknownError");
    this.configuration = configuration;
    this.#check();
    made.push(this);
  }

  #check(): void {
    if (this.configuration.iceServers?.some(({ urls }) => urls === "nonsense"))
      throw new DOMException("no URL", "SyntaxError");
  }

  setConfiguration(configuration: RTCConfiguration): void {
    if (this.isClosed) throw new DOMException("closed", "InvalidStateError");
    this.configuration = configuration;
    this.#check();
  }

  getStats(): Promise<never> {
    return Promise.reject(new DOMException("closed", "InvalidStateError"));
  }

  addTrack(): never {
    throw new DOMException("closed", "InvalidStateError");
  }

  getTransceivers(): unknown[] {
    return [];
  }

  close(): void {
    this.isClosed = true;
  }
}

const URL_OF_SERVER = "ws://server.example";

/** Its outcome, once there is one. */
function join(options: Partial<JoinOptions> = {}): { room?: Room; error?: BimccRtcError } {
  const outcome: { room?: Room; error?: BimccRtcError } = {};
  joinRoom({ url: URL_OF_SERVER, room: "r", ...options } as JoinOptions).then(
    (room) => {
      outcome.room = room;
    },
    (error) => {
      outcome.error = error;
    },
  );
  return outcome;
}

const settle = () => vi.advanceTimersByTimeAsync(0);

const peers = (others: string[] = [], more = {}) => ({
  connections: others,
  peers: others.map((socketId) => ({ socketId })),
  you: "me",
  iceServers: [],
  resume: "token",
  resumed: false,
  server: "s",
  ...more,
});

async function joined(others: string[] = []): Promise<Room> {
  const outcome = join();
  await FakeSocket.last.open();
  FakeSocket.last.say("_peers", peers(others));
  await settle();
  if (!outcome.room) throw outcome.error ?? new Error("not joined");
  return outcome.room;
}

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("WebSocket", FakeSocket);
  vi.stubGlobal("RTCPeerConnection", FakePeerConnection);
  FakeSocket.all = [];
  made = [];
  failAt = Number.POSITIVE_INFINITY;
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe("bad_room", () => {
  it.each([
    ["nothing", undefined],
    ["an empty name", ""],
    ["null", null],
    ["a number", 5],
    ["an object", { toString: () => "r" }],
    ["129 bytes", "x".repeat(129)],
    ["130 bytes in 65 characters", "é".repeat(65)],
    ["a new line", "a\nb"],
    ["a zero", "a\0"],
    ["a control character of the second kind", "a\u0085"],
    ["half of a character", "a\ud800"],
  ])("for %s, and nobody is bothered", async (_, room) => {
    const outcome = join({ room: room as string });
    await settle();
    expect(outcome.error).toMatchObject({ name: "BimccRtcError", reason: "bad_room" });
    expect([FakeSocket.all.length, made.length]).toEqual([0, 0]);
  });

  it("for no options at all", async () => {
    await expect(joinRoom(undefined as unknown as JoinOptions)).rejects.toMatchObject({ reason: "bad_room" });
    await expect(joinRoom({} as JoinOptions)).rejects.toMatchObject({ reason: "bad_room" });
  });

  it.each(["x".repeat(128), "板".repeat(42), "😀", " ", "__default"])("not for %s", async (room) => {
    const outcome = join({ room });
    await FakeSocket.last.open();
    expect(FakeSocket.last.sentAs("__join")).toMatchObject([{ room }]);
    FakeSocket.last.say("_peers", peers());
    await settle();
    expect(outcome.room?.state).toBe("joined");
  });
});

describe("not_supported, before anybody could see a ghost", () => {
  it.each([
    ["no RTCPeerConnection", () => vi.stubGlobal("RTCPeerConnection", undefined)],
    [
      "an RTCPeerConnection that throws",
      () => {
        failAt = 0;
      },
    ],
    ["one that is no constructor", () => vi.stubGlobal("RTCPeerConnection", () => {})],
    ["no WebSocket", () => vi.stubGlobal("WebSocket", undefined)],
  ])("with %s", async (_, takeAway) => {
    takeAway();
    const outcome = join();
    await settle();
    expect(outcome.error).toMatchObject({ name: "BimccRtcError", reason: "not_supported" });
    expect([FakeSocket.all.length, made.every(({ isClosed }) => isClosed)]).toEqual([0, true]);
  });

  it("with a configuration that the browser refuses", async () => {
    vi.stubGlobal(
      "RTCPeerConnection",
      class {
        constructor({ iceTransportPolicy }: RTCConfiguration) {
          if ((iceTransportPolicy as string) === "nonsense") throw new TypeError("not a valid enum value");
        }
      },
    );
    const outcome = join({ rtcConfiguration: { iceTransportPolicy: "nonsense" as RTCIceTransportPolicy } });
    await settle();
    expect(outcome.error?.reason).toBe("not_supported");
    expect(outcome.error?.message).toContain("not a valid enum value");
    expect(FakeSocket.all.length).toBe(0);
  });
});

describe("an exception while joining", () => {
  it.each([
    ["the server's iceServers are refused", ["a"], { iceServers: [{ urls: "nonsense" }] }, Number.POSITIVE_INFINITY],
    ["there are too many connections", ["a", "b"], {}, 2],
  ])("settles the promise and takes the ghost away: %s", async (_, others, more, most) => {
    failAt = most;
    const outcome = join();
    await FakeSocket.last.open();
    FakeSocket.last.say("_peers", peers(others, more));
    await settle();
    expect(outcome.error?.reason).toBe("not_supported");
    expect(FakeSocket.last.sent.at(-1)?.eventName).toBe("__leave");
    expect(made.every(({ isClosed }) => isClosed)).toBe(true);
  });

  it("settles it for metadata that is no JSON", async () => {
    const metadata: { self?: unknown } = {};
    metadata.self = metadata;
    const outcome = join({ metadata });
    await FakeSocket.last.open();
    await settle();
    expect(outcome.error?.reason).toBe("bad_message");
    expect(FakeSocket.last.sent).toEqual([]);
  });

  it("settles it for a URL that is none, and a scheme that WebSockets do not have", async () => {
    const one = join({ url: "http://" });
    vi.stubGlobal(
      "WebSocket",
      class {
        constructor(url: string) {
          throw new DOMException(`${url}'s scheme must be ws or wss`, "SyntaxError");
        }
      },
    );
    const other = join({ url: "ftp://server" });
    await settle();
    expect([one.error?.reason, other.error?.reason]).toEqual(["unreachable", "unreachable"]);
    expect(other.error?.message).toContain("scheme");
  });

  it("names mixed content at once where the browser throws for it", async () => {
    vi.stubGlobal("location", { protocol: "https:", origin: "https://page.example", href: "https://page.example/" });
    vi.stubGlobal(
      "WebSocket",
      class {
        constructor() {
          throw new DOMException("insecure", "SecurityError");
        }
      },
    );
    const outcome = join({ url: "http://server.example:3000" });
    await settle();
    expect(outcome.error?.reason).toBe("unreachable");
    expect(outcome.error?.message).toMatch(/ws:\/\/server.example:3000 \(mixed content\)/);
  });

  it("settles it with what is likely the matter when nobody answers", async () => {
    const outcome = join({ url: "https://192.168.1.5:3000" });
    for (let i = 0; i < 100 && !outcome.error; i++) {
      FakeSocket.last.end(1006);
      await vi.advanceTimersByTimeAsync(500);
    }
    expect(outcome.error?.reason).toBe("unreachable");
    expect(outcome.error?.message).toMatch(/wss:\/\/192.168.1.5:3000.*certificate/);
  });

  it("names a token that cannot be had", async () => {
    const outcome = join({ token: () => Promise.reject(new Error("the shop is closed")) });
    for (let i = 0; i < 100 && !outcome.error; i++) {
      if (FakeSocket.last.readyState === 0) await FakeSocket.last.open();
      await vi.advanceTimersByTimeAsync(500);
    }
    expect(outcome.error?.reason).toBe("unreachable");
    expect(outcome.error?.message).toContain("the shop is closed");
  });
});

describe("an exception later", () => {
  it("ends nothing, and is told", async () => {
    const room = await joined(["a"]);
    const errors: BimccRtcError[] = [];
    room.on("error", (error) => errors.push(error));
    failAt = 0;
    FakeSocket.last.say("_new_peer", { socketId: "b" });
    failAt = Number.POSITIVE_INFINITY;
    FakeSocket.last.say("_new_peer", { socketId: "c" });
    expect([...room.peers.keys()]).toEqual(["a", "c"]);
    expect(errors.map(({ reason }) => reason)).toEqual(["browser_error"]);
    expect(room.state).toBe("joined");
  });

  it("with one peer, whose connection the page has closed, keeps no other from its due", async () => {
    const room = await joined(["a", "b"]);
    const errors: BimccRtcError[] = [];
    room.on("error", (error) => errors.push(error));
    const [, ofA, ofB] = made;
    ofA?.close();
    FakeSocket.last.say("_ice_servers", { iceServers: [{ urls: "stun:new" }] });
    expect(ofB?.configuration.iceServers).toEqual([{ urls: "stun:new" }]);
    expect(errors.map(({ reason, peer }) => [reason, peer?.id])).toEqual([["browser_error", "a"]]);
    expect(await room.stats()).toHaveLength(2);
  });

  it("in what the application publishes or tells of itself leaves the room as it was", async () => {
    const room = await joined(["a"]);
    const errors: BimccRtcError[] = [];
    room.on("error", (error) => errors.push(error));
    const track = { kind: "audio", readyState: "live", addEventListener: () => {} };
    room.publish({ id: "s", getTracks: () => [track] } as unknown as MediaStream);
    expect(errors.map(({ peer }) => peer?.id)).toEqual(["a"]);
    expect(() => room.update({ metadata: 5n })).toThrow(TypeError);
    expect(room.metadata).toBeUndefined();
    expect(room.state).toBe("joined");
  });

  it("of a listener is the application's, with reportError or without", async () => {
    const reported: unknown[] = [];
    vi.stubGlobal("reportError", undefined);
    const log = vi.spyOn(console, "error").mockImplementation((error) => void reported.push(error));
    const room = await joined();
    room.on("peer_joined", () => {
      throw new Error("the page's mistake");
    });
    FakeSocket.last.say("_new_peer", { socketId: "b" });
    expect([reported.length, room.peers.size]).toEqual([1, 1]);
    log.mockRestore();
  });
});

describe("a member that the server awaits", () => {
  const away = (socketId: string, eventName = "__offer") =>
    FakeSocket.last.say("_error", { code: "peer_away", message: "away", eventName, socketId });

  it.each([
    ["offers", "_offer", { sdp: "v=0", sdk: { v: 1 } }],
    ["answers", "_answer", { sdp: "v=0", sdk: { v: 1 } }],
    ["says something", "_message", { data: 5 }],
    ["has a new name", "_peer_updated", { name: "n" }],
  ])("is away, what is for it waits, and it is back when it %s", async (_, eventName, data) => {
    const room = await joined(["a", "b"]);
    const told: [string, boolean][] = [];
    room.on("peer_updated", ({ id, isAway }) => told.push([id, isAway]));
    away("a");
    away("a", "__message");
    away("nobody");
    expect(told).toEqual([["a", true]]);
    expect([...room.peers.values()].map(({ isAway }) => isAway)).toEqual([true, false]);
    void room.send("hello");
    await vi.advanceTimersByTimeAsync(3_000);
    expect(FakeSocket.last.sentAs("__message")).toMatchObject([{ socketId: "b" }]);
    FakeSocket.last.say(eventName, { socketId: "a", ...data });
    await settle();
    expect(told[1]).toEqual(["a", false]);
    expect(FakeSocket.last.sentAs("__message")).toMatchObject([{ socketId: "b" }, { socketId: "a" }]);
  });

  it("that does not come back leaves nobody waiting", async () => {
    const room = await joined(["a"]);
    away("a");
    const sent = room.send("hello");
    const toOne = expect(room.send("hello", { to: "a" })).rejects.toMatchObject({ reason: "peer_gone" });
    FakeSocket.last.say("_remove_peer", { socketId: "a", reason: "left" });
    await sent;
    await toOne;
  });
});

it("no peer gets the connection that was made to see whether there can be one", async () => {
  // Browsers decide when a connection is made whether it may tell the host's addresses.
  const room = await joined();
  expect(made.map(({ isClosed }) => isClosed)).toEqual([true]);
  FakeSocket.last.say("_ice_servers", { iceServers: [{ urls: "stun:s" }] });
  FakeSocket.last.say("_new_peer", { socketId: "b" });
  expect(made).toHaveLength(2);
  expect(room.peers.get("b")?.connection).toBe(made[1]);
  expect(made[1]?.configuration.iceServers).toEqual([{ urls: "stun:s" }]);
  room.leave();
  expect(made.every(({ isClosed }) => isClosed)).toBe(true);
});
