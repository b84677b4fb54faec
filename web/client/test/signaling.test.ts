import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { BimccRtcError } from "../src/errors";
import type { ServerEvent } from "../src/protocol";
import { Signaling } from "../src/signaling";
import { FakeSocket } from "./fake_socket";

interface Seen {
  states: string[];
  events: ServerEvent[];
  ends: (BimccRtcError | undefined)[];
}

function signaling(join = async () => ({ room: "r" })): [Signaling, Seen] {
  const seen: Seen = { states: [], events: [], ends: [] };
  const made = new Signaling({
    openSocket: (url) => new WebSocket(url),
    log: () => {},
    socketUrl: () => `ws://server/${FakeSocket.all.length}`,
    joinData: join,
    handleSignalingState: (state) => seen.states.push(state),
    handleEvent: (event) => seen.events.push(event),
    handleEnd: (error) => seen.ends.push(error),
  });
  return [made, seen];
}

const peers = { connections: [], you: "me", iceServers: [], resume: "token 1", resumed: false, server: "s" };

async function joined(): Promise<[Signaling, Seen, FakeSocket]> {
  const [made, seen] = signaling();
  made.connect();
  await FakeSocket.last.open();
  FakeSocket.last.say("_peers", peers);
  return [made, seen, FakeSocket.last];
}

/** Lets retries happen until there is a new socket. */
async function nextSocket(limit = 20_000): Promise<FakeSocket> {
  const count = FakeSocket.all.length;
  for (let waited = 0; FakeSocket.all.length === count; waited += 50) {
    if (waited > limit) throw new Error("no new socket");
    await vi.advanceTimersByTimeAsync(50);
  }
  return FakeSocket.last;
}

describe("Signaling", () => {
  beforeEach(() => {
    vi.useFakeTimers();
    vi.stubGlobal("WebSocket", FakeSocket);
    FakeSocket.all = [];
  });
  afterEach(() => {
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });

  it("joins, wanting to be awaited, and passes on what comes after", async () => {
    const [, seen, socket] = await joined();
    expect(socket.sentAs("__join")).toEqual([{ room: "r", resume: "" }]);
    expect(seen.states).toEqual(["connecting", "joining", "joined"]);
    socket.say("_new_peer", { socketId: "b" });
    expect(seen.events.map(({ eventName }) => eventName)).toEqual(["_peers", "_new_peer"]);
  });

  it("comes back with the newest token, asking for URL and credentials anew", async () => {
    const join = vi.fn(async () => ({ room: "r", token: `t${join.mock.calls.length}` }));
    const [made] = signaling(join);
    made.connect();
    await FakeSocket.last.open();
    FakeSocket.last.say("_peers", peers);
    FakeSocket.last.say("_ice_servers", { iceServers: [], resume: "token 2" });
    FakeSocket.last.end(1006);
    const second = await nextSocket();
    await second.open();
    expect(second.url).toBe("ws://server/1");
    expect(second.sentAs("__join")).toEqual([{ room: "r", token: "t2", resume: "token 2" }]);
  });

  it("joins as somebody new when the token is refused, on the same socket", async () => {
    const [made, seen] = await joined();
    FakeSocket.last.end(1006);
    const second = await nextSocket();
    await second.open();
    second.say("_error", { code: "bad_token", message: "", eventName: "__join" });
    await vi.advanceTimersByTimeAsync(0);
    expect(second.sentAs("__join")).toEqual([
      { room: "r", resume: "token 1" },
      { room: "r", resume: "" },
    ]);
    second.say("_peers", { ...peers, you: "somebody new" });
    expect([made.state, seen.ends]).toEqual(["joined", []]);
  });

  it.each([
    [4001, "replaced"],
    [4002, "kicked"],
  ])("is over after %i", async (code, reason) => {
    const [made, seen, socket] = await joined();
    socket.end(code);
    await vi.advanceTimersByTimeAsync(600_000);
    expect(FakeSocket.all.length).toBe(1);
    expect(seen.ends.map((error) => error?.reason)).toEqual([reason]);
    made.doubt();
    made.connect();
    expect(FakeSocket.all.length).toBe(1);
  });

  it("rejects a first join that is refused, once", async () => {
    const [made, seen] = signaling();
    made.connect();
    await FakeSocket.last.open();
    FakeSocket.last.say("_error", { code: "room_full", message: "full", eventName: "__join" });
    await vi.advanceTimersByTimeAsync(600_000);
    expect(seen.ends.map((error) => [error?.reason, error?.message])).toEqual([["room_full", "full"]]);
    expect(FakeSocket.all.length).toBe(1);
  });

  it("tries again when the seat was taken meanwhile", async () => {
    const [made, , socket] = await joined();
    socket.end(1006);
    const second = await nextSocket();
    await second.open();
    second.say("_error", { code: "room_full", message: "full", eventName: "__join" });
    const third = await nextSocket();
    await third.open();
    expect(third.sentAs("__join")).toEqual([{ room: "r", resume: "token 1" }]);
    third.say("_peers", peers);
    expect(made.state).toBe("joined");
  });

  it("gives up a first join when no server answers for a while, also when sockets hang", async () => {
    const [made, seen] = signaling();
    made.connect();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(seen.ends.map((error) => error?.reason)).toEqual(["unreachable"]);
    expect(FakeSocket.all.length).toBeGreaterThan(1);
  });

  it("honours reconnectAfter", async () => {
    const [, , socket] = await joined();
    socket.say("_closing", { reconnectAfter: 5_000 });
    socket.end(1001);
    await vi.advanceTimersByTimeAsync(4_900);
    expect(FakeSocket.all.length).toBe(1);
    await vi.advanceTimersByTimeAsync(200);
    expect(FakeSocket.all.length).toBe(2);
  });

  it("does not listen to sockets that it has left behind", async () => {
    const [made, seen, first] = await joined();
    const { onmessage, onclose, onopen } = first;
    first.end(1006);
    const second = await nextSocket();
    await second.open();
    second.say("_peers", peers);
    onmessage?.({ data: JSON.stringify({ eventName: "_new_peer", data: { socketId: "ghost" } }) });
    onclose?.({ code: 4002 });
    onopen?.(new Event("open"));
    await vi.advanceTimersByTimeAsync(0);
    expect(made.state).toBe("joined");
    expect(seen.events.filter(({ eventName }) => eventName === "_new_peer")).toEqual([]);
    expect(second.sentAs("__join").length).toBe(1);
  });

  it("notices a network that died without a word, and at once when there is a hint", async () => {
    const [made, , socket] = await joined();
    await vi.advanceTimersByTimeAsync(15_000);
    expect(socket.sentAs("__ping").length).toBe(1);
    socket.say("_pong", {});
    await vi.advanceTimersByTimeAsync(14_000);
    expect(made.state).toBe("joined");
    made.doubt();
    await vi.advanceTimersByTimeAsync(4_100);
    expect(made.state).not.toBe("joined");
  });

  it("tries at once when the network is back", async () => {
    const [made, , socket] = await joined();
    socket.end(1006);
    for (let i = 0; i < 5; i++) (await nextSocket()).end(1006);
    const count = FakeSocket.all.length;
    made.doubt();
    expect(FakeSocket.all.length).toBe(count + 1);
    // And not again and again while that try is young.
    made.doubt();
    expect(FakeSocket.all.length).toBe(count + 1);
  });

  it("says goodbye when it leaves, and nothing else afterwards", async () => {
    const [made, seen, socket] = await joined();
    made.leave();
    expect(socket.sent.at(-1)?.eventName).toBe("__leave");
    socket.end(1000);
    expect(made.send({ eventName: "__ice_servers", data: {} })).toBe(false);
    await vi.advanceTimersByTimeAsync(600_000);
    expect([FakeSocket.all.length, seen.ends]).toEqual([1, [undefined]]);
  });

  it("stands a server that talks nonsense", async () => {
    const [made, seen, socket] = await joined();
    for (const data of ["", "{}", "[1]", "null", '{"eventName":"_peers"}', new ArrayBuffer(3)]) {
      socket.onmessage?.({ data });
    }
    expect([made.state, seen.events.length]).toEqual(["joined", 1]);
  });

  it("takes a token function that fails for an unreachable server", async () => {
    const join = vi.fn<() => Promise<{ room: string }>>().mockRejectedValueOnce(new Error("401"));
    join.mockResolvedValue({ room: "r" });
    const [made] = signaling(join);
    made.connect();
    await FakeSocket.last.open();
    const second = await nextSocket();
    await second.open();
    second.say("_peers", peers);
    expect(made.state).toBe("joined");
  });
});
