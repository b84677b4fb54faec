import { BimccRtcError, type JoinOptions } from "bimcc-rtc";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { LocalMedia } from "../src/model/media";
import { Session } from "../src/model/session";
import { FakeDevices, FakeMediaStream } from "./fake_media";
import { FakePeer, FakeRoom } from "./fake_room";

beforeEach(() => {
  vi.stubGlobal("MediaStream", FakeMediaStream);
  vi.stubGlobal("window", {});
});

function start(join: (options: JoinOptions) => Promise<FakeRoom> = async () => new FakeRoom()) {
  const devices = new FakeDevices();
  const media = new LocalMedia(devices.asDevices());
  const joinRoom = vi.fn(join);
  const session = new Session({ room: "tea", joinRoom, media, relayOnly: false, token: undefined, name: "Ada" });
  const phase = () => session.phase.get();
  return { session, media, devices, joinRoom, phase };
}

async function inside() {
  const room = new FakeRoom("tea", "Ada");
  const all = start(async () => room);
  await all.session.join();
  return { ...all, room };
}

describe("a visit", () => {
  it("begins with a name and without any question for devices", async () => {
    const { session, joinRoom, devices, phase } = start();
    expect(phase().name).toBe("entry");
    await session.join();
    expect(phase().name).toBe("inside");
    expect(joinRoom.mock.calls[0]?.[0]).toMatchObject({
      room: "tea",
      name: "Ada",
      metadata: { microphone: false, camera: false },
    });
    expect(devices.asked).toEqual([]);
  });

  it("is made once, however often the button is pressed", async () => {
    const { session, joinRoom } = start();
    await Promise.all([session.join(), session.join(), session.join()]);
    await session.join();
    expect(joinRoom).toHaveBeenCalledTimes(1);
  });

  it("asks for relays only where that is wanted", async () => {
    const joinRoom = vi.fn(async (_: JoinOptions) => new FakeRoom());
    const media = new LocalMedia(undefined);
    await new Session({ room: "tea", joinRoom, media, relayOnly: true, token: "t", name: "" }).join();
    expect(joinRoom.mock.calls[0]?.[0]).toMatchObject({
      token: "t",
      rtcConfiguration: { iceTransportPolicy: "relay" },
    });
    expect(joinRoom.mock.calls[0]?.[0]).not.toHaveProperty("name");
  });

  it.each([
    ["room_full", "This room is full"],
    ["bad_token", "You are not invited, or not any more"],
    ["unreachable", "The server cannot be reached"],
    ["constructor", "The room could not be kept open"],
  ])("that is refused (%s) says why, and can be tried again", async (reason, title) => {
    const room = new FakeRoom();
    let refused = true;
    const { session, phase } = start(async () => {
      if (refused) throw new BimccRtcError(reason, "as the server said");
      return room;
    });
    await session.join();
    expect(phase()).toMatchObject({ name: "ended", ending: { title } });
    refused = false;
    await session.join();
    expect(phase().name).toBe("inside");
  });

  it("that cannot begin ends with a reason, and nobody is left in the room", async () => {
    const room = new FakeRoom();
    const broken = start(async () => room);
    room.on = () => {
      throw new TypeError("no such method in this browser");
    };
    await broken.session.join();
    expect(broken.phase()).toMatchObject({ name: "ended", ending: { reason: "failed" } });
    expect(room.state).toBe("left");

    const silent = start();
    vi.spyOn(silent.media, "start").mockImplementation(() => {
      throw new TypeError("no devices in this browser");
    });
    await silent.session.join();
    expect(silent.phase().name).toBe("ended");
    expect(silent.joinRoom).not.toHaveBeenCalled();
  });

  it("without WebRTC is refused in a sentence", async () => {
    const { session, phase } = start(async () => {
      throw new BimccRtcError("not_supported", "RTCPeerConnection is not defined");
    });
    await session.join();
    expect(phase()).toMatchObject({
      ending: { title: "This browser cannot make calls", text: expect.stringContaining("WebRTC") },
    });
  });

  it("can be given up while it begins; who comes in late leaves again", async () => {
    const room = new FakeRoom();
    let enter: (room: FakeRoom) => void = () => {};
    const { session, phase } = start(() => new Promise((resolve) => (enter = resolve)));
    const joined = session.join();
    session.cancel();
    expect(phase().name).toBe("entry");
    enter(room);
    await joined;
    expect(room.state).toBe("left");
    expect(phase().name).toBe("entry");
  });

  it("shows that the server is away, and that it is back", async () => {
    const { session, room } = await inside();
    room.become("reconnecting");
    expect(session.server.get()).toBe("reconnecting");
    room.become("joined");
    expect(session.server.get()).toBe("joined");
  });

  it.each(["replaced", "kicked"])("that ends (%s) closes the camera and says why", async (reason) => {
    const { session, media, room, phase, devices } = await inside();
    await media.openBoth();
    room.become("left", new BimccRtcError(reason, "as the server said"));
    expect(phase()).toMatchObject({ name: "ended", ending: { reason } });
    expect(devices.open()).toEqual([]);
    expect(room.listenerCount()).toBe(0);
    expect(session.visit).toBeUndefined();
  });

  it("ends when one leaves", async () => {
    const { session, room, phase } = await inside();
    session.leave();
    expect(room.state).toBe("left");
    expect(phase()).toMatchObject({ name: "ended", ending: { reason: "left" } });
  });

  it("shows nothing of a camera that opens after the end", async () => {
    const { session, media, devices } = await inside();
    devices.hold();
    const opening = media.openBoth();
    await Promise.resolve();
    session.leave();
    devices.release();
    await opening;
    expect(devices.open()).toEqual([]);
    expect(media.state.get()).toMatchObject({ camera: "off", microphone: "off" });
  });
});

describe("a room's name that the server would refuse", () => {
  it.each([
    ["x".repeat(129), /too long/],
    ["\u00e9".repeat(65), /too long/],
    ["\u6559".repeat(43), /too long/],
    ["a\u0007b", /cannot be seen/],
    ["a\u0085b", /cannot be seen/],
    [" ", /needs a name/],
  ])("is refused at the door: %j", (room, text) => {
    const session = new Session({
      room,
      joinRoom: vi.fn(),
      media: new LocalMedia(undefined),
      relayOnly: false,
      token: undefined,
      name: "Ada",
    });
    expect(session.phase.get()).toMatchObject({ name: "ended", ending: { reason: "bad_room" } });
    const phase = session.phase.get();
    expect(phase.name === "ended" && phase.ending.text).toMatch(text);
  });

  it.each(["x".repeat(128), ` ${"x".repeat(128)} `, "\u6559".repeat(42)])("is none of these: %j", (room) => {
    const media = new LocalMedia(undefined);
    const options = { joinRoom: vi.fn(), media, relayOnly: false, token: undefined, name: "Ada" };
    expect(new Session({ room, ...options }).phase.get().name).toBe("entry");
  });
});

describe("a notice", () => {
  const via = { via: "peer", droppable: false } as const;
  const texts = (session: Session) => session.notices.shown.get().map(({ text }) => text);

  it("of a message goes when the chat is opened by any way, and no other does", async () => {
    const { session, room } = await inside();
    room.emit("message", room.enter("1", "Ada"), "look here", via);
    session.notices.say("something else");
    expect(texts(session)).toEqual(["Ada: look here", "something else"]);
    session.togglePanel("people");
    expect(texts(session)).toHaveLength(2);
    session.togglePanel("chat");
    expect(texts(session)).toEqual(["something else"]);
    session.notices.dispose();
  });

  it("of a screen goes when it is shown large, and when it ends", async () => {
    const { session, room } = await inside();
    const ada = room.enter("1", "Ada");
    const screens = [1, 2].map((i) => ({ stream: { id: `screen ${i}` } as MediaStream, label: "screen" }));
    for (const screen of screens) {
      room.emit("stream", ada, screen);
      expect(texts(session)).toEqual(["Ada is sharing a screen"]);
      if (screen === screens[0]) session.large.set(screen.stream.id);
      else room.emit("stream_ended", ada, screen);
      expect(texts(session)).toEqual([]);
    }
    session.notices.dispose();
  });
});

describe("what others get", () => {
  it("is the camera from before the door, and whether it is on", async () => {
    const room = new FakeRoom();
    const { session, media, joinRoom } = start(async () => room);
    await media.openBoth();
    await session.join();
    expect(joinRoom.mock.calls[0]?.[0].metadata).toEqual({ microphone: true, camera: true });
    expect(room.streams.map(({ label }) => label)).toEqual(["camera"]);
  });

  it("is a mute that everybody sees", async () => {
    vi.useFakeTimers();
    const { session, media, room } = await inside();
    await media.openBoth();
    await vi.advanceTimersByTimeAsync(1000);
    await media.setMicrophone(false);
    expect(room.updates.at(-1)).toEqual({ metadata: { microphone: false, camera: true } });
    expect(media.stream.getAudioTracks()[0]?.enabled).toBe(false);
    const before = room.updates.length;
    for (let i = 0; i < 100; i++) await media.setMicrophone(i % 2 === 0);
    await media.setMicrophone(true);
    await vi.advanceTimersByTimeAsync(1000);
    expect(room.updates.length - before).toBeLessThanOrEqual(3);
    expect(room.updates.at(-1)).toEqual({ metadata: { microphone: true, camera: true } });
    session.leave();
    vi.useRealTimers();
  });

  it("is a screen until it ends, by our button or the browser's", async () => {
    const { media, room, devices } = await inside();
    await media.setScreen(true);
    expect(room.streams.map(({ label }) => label)).toEqual(["screen"]);
    devices.endScreen();
    expect(room.streams).toEqual([]);
    expect(media.state.get().screen).toBe("off");
    await media.setScreen(true);
    await media.setScreen(false);
    expect(room.streams).toEqual([]);
    expect(devices.open()).toEqual([]);
  });

  it("is a name that can be changed, and taken away", async () => {
    const { session, room } = await inside();
    session.rename("Countess");
    session.rename("");
    expect(room.updates.slice(-2)).toEqual([{ name: "Countess" }, { name: null }]);
  });
});

describe("devices", () => {
  it("are closed when they are switched off", async () => {
    const { media, devices } = await inside();
    await media.setCamera(true);
    expect(devices.open()).toEqual(["video"]);
    await media.setCamera(false);
    expect(devices.open()).toEqual([]);
  });

  it("that are not there leave what is", async () => {
    const { media, devices } = await inside();
    devices.missing.add("video");
    await media.openBoth();
    expect(media.state.get()).toMatchObject({ microphone: "on", camera: "off" });
  });

  it("that are refused say what to do", async () => {
    const { media, devices } = await inside();
    devices.refused = true;
    await media.openBoth();
    expect(media.state.get()).toMatchObject({ microphone: "off", camera: "off" });
    expect(media.state.get().problem).toMatch(/may not use the camera and microphone/);
  });

  it("that are unplugged are off", async () => {
    const { media, devices } = await inside();
    await media.openBoth();
    devices.unplug("video");
    expect(media.state.get()).toMatchObject({ camera: "off", microphone: "on" });
    expect(media.stream.getVideoTracks()).toEqual([]);
  });

  it("can be changed while in use", async () => {
    const { media, devices } = await inside();
    await media.setCamera(true);
    const [before] = media.stream.getVideoTracks();
    await media.chooseDevice("video", "other");
    expect(media.stream.getVideoTracks()).toHaveLength(1);
    expect(media.stream.getVideoTracks()[0]).not.toBe(before);
    expect(devices.asked.at(-1)).toMatchObject({ video: { deviceId: { exact: "other" } } });
    expect(devices.open()).toEqual(["video"]);
  });

  it("stay muted when they are changed", async () => {
    const { media } = await inside();
    await media.setMicrophone(true);
    await media.setMicrophone(false);
    await media.chooseDevice("audio", "other");
    expect(media.stream.getAudioTracks().map(({ enabled }) => enabled)).toEqual([false]);
    expect(media.state.get().microphone).toBe("off");
    await media.setMicrophone(true);
    expect(media.stream.getAudioTracks().map(({ enabled }) => enabled)).toEqual([true]);
  });
});

describe("files that the board cannot take", () => {
  const file = new File(["x"], "letter.docx");

  it("are offered to everybody, and that is said", async () => {
    const { session, room } = await inside();
    room.peers.set("bob", new FakePeer("bob", "Bob"));
    session.offerFromBoard([file]);
    session.offerFromBoard([file, file]);
    expect(room.files).toHaveLength(3);
    expect(session.notices.shown.get().map(({ text }) => text)).toEqual([
      "“letter.docx” is nothing for the board and so offered to everybody as a file.",
      "2 files are nothing for the board and so offered to everybody as a file.",
    ]);
  });

  it("are not offered to nobody", async () => {
    const { session, room } = await inside();
    session.offerFromBoard([file]);
    expect(room.files).toEqual([]);
    expect(session.notices.shown.get()[0]?.text).toContain("nobody else is here");
  });
});

describe("leaving", () => {
  it.each([
    [[], "Nobody else is in the room.", false],
    [["connected"], "One other person is still there.", true],
    [["connected", "connecting"], "The others are still there.", true],
    [["reconnecting"], "Nobody else could be reached at the end.", false],
    [["failed", "connected"], "One other person is still there.", true],
  ] as const)("with %s others says: %s", async (states, text, boardStays) => {
    const { session, room, phase } = await inside();
    for (const [i, state] of states.entries()) {
      room.peers.set(`p${i}`, Object.assign(new FakePeer(`p${i}`, undefined), { state }));
    }
    session.leave();
    const left = phase();
    expect(left.name === "ended" && left.ending).toMatchObject({ reason: "left", boardStays });
    expect(left.name === "ended" && left.ending.text).toContain(text);
  });
});
