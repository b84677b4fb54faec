// What `joinRoom({ logger })` is told, and what never.
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { joinRoom } from "../src/index";
import type { JoinOptions, Logger, Room } from "../src/types";
import { FakeChannels } from "./fake_channel";
import { FakeSocket } from "./fake_socket";

let made: FakePeerConnection[] = [];

class FakePeerConnection extends FakeChannels {
  connectionState = "new";
  iceConnectionState = "new";
  signalingState = "stable";
  localDescription: { sdp: string } | null = null;
  onconnectionstatechange: (() => void) | null = null;
  oniceconnectionstatechange: (() => void) | null = null;
  onicecandidate: ((event: { candidate: unknown }) => void) | null = null;
  onicecandidateerror: ((event: { errorCode: number; errorText: string; url: string }) => void) | null = null;
  override remoteDescription: { sdp: string } | null = null;
  refused: string | undefined;

  constructor() {
    super();
    made.push(this);
  }

  setConfiguration(): void {}
  restartIce(): void {}
  close(): void {}
  addIceCandidate = () => Promise.resolve();

  getStats(): Promise<Map<string, unknown>> {
    const entries = [
      { id: "p", type: "candidate-pair", state: "succeeded", nominated: true, localCandidateId: "l" },
      { id: "l", type: "local-candidate", candidateType: "relay", relayProtocol: "tls" },
    ];
    return Promise.resolve(new Map(entries.map((entry) => [entry.id, entry])));
  }

  async setRemoteDescription(description: { sdp: string }): Promise<void> {
    if (this.refused) throw new DOMException(this.refused, "InvalidAccessError");
    this.remoteDescription = description;
  }

  async setLocalDescription(): Promise<void> {
    this.localDescription = { sdp: "v=0" };
  }

  becomes(state: string): void {
    this.connectionState = this.iceConnectionState = state;
    this.oniceconnectionstatechange?.();
    this.onconnectionstatechange?.();
  }
}

/** Words that are somebody's secret, or what somebody said. */
const SECRET = /SECRET/;

let told: string[] = [];
const logger: Logger = {
  debug: (text) => told.push(`debug ${text}`),
  info: (text) => told.push(`info ${text}`),
  warn: (text) => told.push(`warn ${text}`),
  error: (text) => told.push(`error ${text}`),
};

const ICE_SERVERS = [{ urls: ["turn:host:3478"], username: "1:SECRET", credential: "SECRET" }];

async function joined(others: string[], own: Partial<JoinOptions> = { logger }): Promise<Room> {
  const room = joinRoom({
    url: "wss://user:SECRET@server.example/rtc?key=SECRET",
    room: "SECRET",
    name: "SECRET",
    metadata: "SECRET",
    token: "SECRET",
    ...own,
  });
  await FakeSocket.last.open();
  FakeSocket.last.say("_peers", {
    connections: others,
    peers: others.map((socketId) => ({ socketId, name: "SECRET" })),
    you: "me",
    iceServers: ICE_SERVERS,
    resume: "SECRET",
    resumed: false,
    server: "s",
    room: "SECRET",
  });
  await vi.advanceTimersByTimeAsync(0);
  return room;
}

/** Takes what was told at one of these levels. */
function take(...levels: string[]): string[] {
  const taken = told.filter((line) => levels.some((level) => line.startsWith(level)));
  told = [];
  return taken;
}

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("WebSocket", FakeSocket);
  vi.stubGlobal("RTCPeerConnection", FakePeerConnection);
  FakeSocket.all = [];
  made = [];
  told = [];
});
afterEach(() => {
  for (const line of told) expect(line).not.toMatch(SECRET);
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

it("is told of a call that has to go by a relay: who, by what steps, over which path", async () => {
  const room = await joined(["a"]);
  const socket = FakeSocket.last;
  socket.say("_offer", {
    socketId: "a",
    sdp: { type: "offer", sdp: "v=0 SECRET" },
    sdk: { v: 1, offer: 1, streams: {} },
  });
  socket.say("_ice_candidate", {
    socketId: "a",
    candidate: { candidate: "candidate:1 1 udp 1 SECRET 9 typ relay raddr SECRET", sdpMid: "0", sdpMLineIndex: 0 },
  });
  await vi.advanceTimersByTimeAsync(0);
  const [, connection] = made;
  connection?.onicecandidate?.({ candidate: { candidate: "candidate:1 1 udp 1 SECRET 9 typ host", sdpMLineIndex: 0 } });
  connection?.onicecandidateerror?.({ errorCode: 401, errorText: "Unauthorized", url: "turn:host:3478?transport=tcp" });
  connection?.becomes("connected");
  await vi.advanceTimersByTimeAsync(0);
  room.leave();
  expect(told.join("\n")).not.toMatch(SECRET);
  expect(take("debug", "info", "warn", "error")).toEqual([
    "debug bimcc-rtc: > __join",
    "debug bimcc-rtc: < _peers",
    "info bimcc-rtc: joined as me with a",
    "debug bimcc-rtc: iceServers turn:host:3478",
    "info bimcc-rtc: state joined",
    "debug bimcc-rtc: < _offer a",
    "debug bimcc-rtc: < _ice_candidate a typ relay",
    "debug bimcc-rtc: > __answer a",
    "debug bimcc-rtc: > __ice_candidate a typ host",
    "debug bimcc-rtc: a: turn:host:3478?transport=tcp: 401 Unauthorized",
    "debug bimcc-rtc: a: ICE connected",
    "info bimcc-rtc: a: connected",
    "info bimcc-rtc: a: relayed, tls",
    "debug bimcc-rtc: > __leave",
    "info bimcc-rtc: state left",
    "info bimcc-rtc: left ",
  ]);
});

it("is told how a path breaks, what is done about it, and that it was in vain", async () => {
  await joined(["a"]);
  const [, connection] = made;
  connection?.becomes("connected");
  await vi.advanceTimersByTimeAsync(0);
  take();
  connection?.becomes("disconnected");
  await vi.advanceTimersByTimeAsync(4_000);
  connection?.becomes("failed");
  connection?.channels[0]?.end();
  FakeSocket.last.say("_remove_peer", { socketId: "a", reason: "left" });
  expect(take("info", "warn")).toEqual([
    "info bimcc-rtc: a: disconnected",
    "warn bimcc-rtc: a: restarts ICE",
    "warn bimcc-rtc: a: failed",
    "warn bimcc-rtc: a: data channel lost",
    "info bimcc-rtc: peer_left a left",
  ]);
});

it("is told of tries to come back, and of the end", async () => {
  const room = await joined([]);
  take();
  FakeSocket.last.end(1006);
  expect(take("info", "warn")).toEqual([
    expect.stringMatching(/^warn bimcc-rtc: server lost: 1006; next try in \d+ ms$/),
    "info bimcc-rtc: state reconnecting",
  ]);
  await vi.advanceTimersByTimeAsync(500);
  await FakeSocket.last.open();
  FakeSocket.last.say("_error", { eventName: "__join", code: "rate_limited", message: "slowly" });
  expect(take("warn")).toEqual([expect.stringMatching(/server lost: rate_limited; next try in \d+ ms$/)]);
  await vi.advanceTimersByTimeAsync(5_000);
  FakeSocket.last.end(4002);
  expect(room.state).toBe("left");
  expect(take("error")).toEqual(["error bimcc-rtc: kicked: removed by the server's operator"]);
});

it("is told of a room that cannot be joined, but not what the URL holds beyond the host", async () => {
  vi.stubGlobal(
    "WebSocket",
    class {
      constructor(url: string) {
        throw new DOMException(
          `The URL '${url}' is invalid. See https://user:SECRET@host/?SECRET#SECRET`,
          "SyntaxError",
        );
      }
    },
  );
  const outcome = joinRoom({ url: "wss://user:SECRET@server.example/rtc?key=SECRET", room: "SECRET", logger });
  await expect(outcome).rejects.toMatchObject({ reason: "unreachable" });
  expect(told.at(-1)).toMatch(
    /^error bimcc-rtc: unreachable: bad URL of the server \(.*wss:\/\/server\.example is invalid/,
  );
});

it("is told of mistakes, but not what was said", async () => {
  await joined(["a"]);
  take();
  const [, connection] = made;
  const [channel] = connection?.channels ?? [];
  channel?.receive(Uint8Array.of(1, ...new TextEncoder().encode("SECRET, no JSON")));
  FakeSocket.last.say("_message", { socketId: "a", data: "SECRET" });
  FakeSocket.last.say("_error", { eventName: "__message", code: "too_large", message: "at most 1 MiB", socketId: "a" });
  expect(take("info", "warn")).toEqual([
    "warn bimcc-rtc: error bad_peer_message: refused from a: SyntaxError: no JSON",
    "warn bimcc-rtc: error too_large: __message: at most 1 MiB",
  ]);
});

it("is told of a description that the browser refuses", async () => {
  await joined(["a"]);
  take();
  if (made[1]) made[1].refused = "no such codec";
  FakeSocket.last.say("_offer", { socketId: "a", sdp: "v=0", sdk: { v: 1 } });
  await vi.advanceTimersByTimeAsync(0);
  expect(take("warn")).toEqual([
    "warn bimcc-rtc: error bad_peer_message: refused from a: description: InvalidAccessError: no such codec",
  ]);
});

it("harms nothing by throwing: its error is the application's", async () => {
  const reported: unknown[] = [];
  vi.stubGlobal("reportError", (error: unknown) => reported.push(error));
  const fail = () => {
    throw new Error("the logger's mistake");
  };
  const room = await joined(["a"], { logger: { debug: fail, info: fail, warn: fail, error: fail } });
  const left = vi.fn();
  room.on("left", left);
  made[1]?.becomes("connected");
  FakeSocket.last.say("_new_peer", { socketId: "b" });
  expect([...room.peers.values()].map(({ state }) => state)).toEqual(["connected", "connecting"]);
  FakeSocket.last.end(4002);
  expect(left).toHaveBeenCalledTimes(1);
  expect(reported.length).toBeGreaterThan(5);
});

it("is nobody unless given, and console is one", async () => {
  const methods = ["debug", "info", "warn", "error", "log"] as const;
  const spies = methods.map((method) => vi.spyOn(console, method).mockImplementation(() => {}));
  (await joined(["a"], {})).leave();
  expect(spies.map(({ mock }) => mock.calls.length)).toEqual([0, 0, 0, 0, 0]);
  (await joined(["a"], { logger: console })).leave();
  expect(spies.map(({ mock }) => mock.calls.length > 0)).toEqual([true, true, false, false, false]);
});
