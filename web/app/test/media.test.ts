// Camera, microphone and screen with browsers that refuse, hang and answer late.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { LocalMedia } from "../src/model/media";
import { preferences } from "../src/model/preferences";
import { FakeMediaStream, FakeTrack } from "./fake_media";

type Question = "both" | "audio" | "video" | "screen";
type Answer = FakeTrack[] | Error | Promise<FakeTrack[]>;

/** What a browser does when it is asked; by default it gives what is wanted. */
type Browser = (question: Question, constraints: MediaStreamConstraints) => Answer | undefined;

const never = () => new Promise<FakeTrack[]>(() => {});
const failure = (name: string, message = "no") => new DOMException(message, name);

/** Chromium's own, which is no DOMException. */
class OverconstrainedError extends Error {
  override name = "OverconstrainedError";
}

let given: FakeTrack[] = [];
let asked: { question: Question; constraints: MediaStreamConstraints }[] = [];

beforeEach(() => {
  vi.stubGlobal("MediaStream", FakeMediaStream);
  vi.useFakeTimers();
  given = [];
  asked = [];
  for (const kind of ["audio", "video"] as const) preferences.setDevice(kind, "");
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

function start(browser: Browser = () => undefined) {
  const answer = async (question: Question, constraints: MediaStreamConstraints) => {
    asked.push({ question, constraints });
    const kinds =
      question === "both" ? (["audio", "video"] as const) : ([question === "audio" ? "audio" : "video"] as const);
    const tracks = (await browser(question, constraints)) ?? kinds.map((kind) => new FakeTrack(kind));
    if (tracks instanceof Error) throw tracks;
    given.push(...tracks);
    return new FakeMediaStream(tracks) as unknown as MediaStream;
  };
  const media = new LocalMedia({
    enumerateDevices: async () => [],
    getUserMedia: (constraints = {}) =>
      answer(constraints.audio && constraints.video ? "both" : constraints.audio ? "audio" : "video", constraints),
    getDisplayMedia: (constraints = {}) => answer("screen", constraints as MediaStreamConstraints),
  });
  return media;
}

const live = () => given.filter(({ readyState }) => readyState === "live").map(({ kind }) => kind);
const switches = (media: LocalMedia) => {
  const { microphone, camera } = media.state.get();
  return { microphone, camera };
};
const settle = () => vi.advanceTimersByTimeAsync(0);
const patience = () => vi.advanceTimersByTimeAsync(20_000);

const REFUSALS: [name: string, error: Error, words: RegExp][] = [
  ["NotAllowedError", failure("NotAllowedError"), /may not use the (\w+).*Allow it/],
  ["NotFoundError", failure("NotFoundError"), /No (\w+) was found/],
  ["NotReadableError", failure("NotReadableError"), /The (\w+) cannot be opened. Perhaps another program/],
  ["OverconstrainedError", failure("OverconstrainedError"), /No (\w+) was found that does/],
  ["OverconstrainedError of its own", new OverconstrainedError(), /No (\w+) was found that does/],
  ["AbortError", failure("AbortError"), /The (\w+) could not be started/],
  ["SecurityError", failure("SecurityError"), /lets no page use the (\w+)/],
  ["InvalidStateError", failure("InvalidStateError"), /opens the (\w+) only for a page that is in front/],
  ["TypeError", new TypeError("odd constraints"), /The (\w+) cannot be opened: odd constraints\.$/],
  ["an error of no known name", failure("FancyError", "out of luck."), /The (\w+) cannot be opened: out of luck\.$/],
  ["an error without words", new Error(""), /The (\w+) cannot be opened: no reason was given\.$/],
];

describe.each(REFUSALS)("%s", (_, error, words) => {
  it.each([
    ["camera", "video", { microphone: "on", camera: "off" }],
    ["microphone", "audio", { microphone: "off", camera: "on" }],
  ] as const)("for the %s leaves the other device, and says so", async (word, bad, expected) => {
    const media = start((question) => (question === "both" || question === bad ? error : undefined));
    await media.openBoth();
    expect(switches(media)).toEqual(expected);
    expect(words.exec(media.state.get().problem ?? "")?.[1]).toBe(word);
    media.forgetProblem();
    expect(media.state.get().problem).toBeUndefined();
  });

  it("for both is told of both", async () => {
    const media = start(() => error);
    await media.openBoth();
    expect(switches(media)).toEqual({ microphone: "off", camera: "off" });
    expect(media.state.get().problem).toMatch(/camera and (no )?microphone/);
  });

  it("for one that was asked for alone is gone with the next that works", async () => {
    let works = false;
    const media = start(() => (works ? undefined : error));
    await media.setCamera(true);
    expect(words.exec(media.state.get().problem ?? "")?.[1]).toBe("camera");
    works = true;
    await media.setCamera(true);
    expect(media.state.get()).toMatchObject({ camera: "on", problem: undefined });
  });

  it("for a screen speaks of the screen", async () => {
    const media = start(() => error);
    await media.setScreen(true);
    expect(media.state.get().screen).toBe("off");
    expect(media.state.get().problem).toMatch(/screen/);
    expect(media.state.get().problem).not.toMatch(/camera|microphone/);
  });
});

describe("different failures", () => {
  it("are told apart", async () => {
    const media = start((question) => failure(question === "audio" ? "NotFoundError" : "NotReadableError"));
    await media.openBoth();
    expect(media.state.get().problem).toMatch(/The camera cannot be opened.* No microphone was found/);
  });

  it("of a question that somebody closed bring no more questions", async () => {
    const media = start(() => failure("NotAllowedError", "Permission dismissed"));
    await media.openBoth();
    expect(asked.map(({ question }) => question)).toEqual(["both"]);
    expect(media.state.get().problem).toMatch(/camera and microphone/);
  });

  it("of a stream without one of its tracks are found", async () => {
    const media = start((question) => (question === "video" ? failure("NotFoundError") : [new FakeTrack("audio")]));
    await media.openBoth();
    expect(switches(media)).toEqual({ microphone: "on", camera: "off" });
    expect(media.state.get().problem).toMatch(/No camera/);
  });

  it("that are thrown before there is a promise are failures as well", async () => {
    const media = new LocalMedia({
      enumerateDevices: () => {
        throw new TypeError("none");
      },
      getUserMedia: () => {
        throw failure("NotSupportedError", "not here");
      },
    });
    await media.openBoth();
    expect(media.state.get()).toMatchObject({ camera: "off", microphone: "off" });
    expect(media.state.get().problem).toMatch(/not here/);
  });

  it("of a browser without devices are no question", async () => {
    for (const devices of [undefined, {} as MediaDevices]) {
      const media = new LocalMedia(devices);
      expect(media.state.get()).toMatchObject({ supported: false, screenSupported: false });
      await media.openBoth();
      await media.setCamera(true);
      await media.setScreen(true);
      await media.refreshDevices();
      expect(media.state.get()).toMatchObject({ camera: "off", microphone: "off", screen: "off" });
    }
  });
});

describe("a browser that does not answer", () => {
  it.each([
    ["camera", "video", { microphone: "on", camera: "starting" }],
    ["microphone", "audio", { microphone: "starting", camera: "on" }],
  ] as const)("about the %s is named, and the other device comes by itself", async (word, silent, expected) => {
    const media = start((question) => (question === "both" || question === silent ? never() : undefined));
    void media.openBoth();
    await patience();
    expect(switches(media)).toEqual(expected);
    expect(media.state.get().problem).toMatch(new RegExp(`has not answered about the ${word}\\.`));
  });

  it("about both is told so, and can be given up", async () => {
    const media = start(never);
    let isOver = false;
    void media.openBoth().then(() => (isOver = true));
    await patience();
    expect(media.state.get().problem).toMatch(/has not answered about the camera and microphone/);
    media.giveUp();
    await settle();
    expect(isOver).toBe(true);
    expect(media.state.get()).toMatchObject({ camera: "off", microphone: "off", problem: undefined });
  });

  it("keeps no button waiting: a device alone, and no device", async () => {
    const media = start((question) => (question === "both" ? never() : undefined));
    void media.openBoth();
    await settle();
    expect(switches(media)).toEqual({ microphone: "starting", camera: "starting" });
    await media.toggle("audio");
    expect(switches(media)).toEqual({ microphone: "on", camera: "starting" });
    await media.toggle("video");
    expect(switches(media)).toEqual({ microphone: "on", camera: "off" });
    await media.toggle("video");
    expect(switches(media)).toEqual({ microphone: "on", camera: "on" });
  });

  it("and then does is taken at its word, once", async () => {
    const late: ((tracks: FakeTrack[]) => void)[] = [];
    const media = start((question) => (question === "video" ? never() : new Promise((resolve) => late.push(resolve))));
    void media.openBoth();
    await patience();
    for (const answer of late) answer([new FakeTrack("audio"), new FakeTrack("video")]);
    await settle();
    expect(switches(media)).toEqual({ microphone: "on", camera: "on" });
    expect(live().sort()).toEqual(["audio", "video"]);
    expect(media.state.get().problem).toBeUndefined();
  });

  it.each(["stop", "giveUp"] as const)("and then does after %s has its light put out", async (end) => {
    let answer: (tracks: FakeTrack[]) => void = () => {};
    const media = start(() => new Promise((resolve) => (answer = resolve)));
    const opening = media.openBoth();
    await settle();
    media[end]();
    await opening;
    answer([new FakeTrack("audio"), new FakeTrack("video")]);
    await settle();
    expect(given).toHaveLength(2);
    expect(live()).toEqual([]);
    expect(switches(media)).toEqual({ microphone: "off", camera: "off" });
  });

  it("and then refuses says nothing of what nobody waits for", async () => {
    let refuse: (error: Error) => void = () => {};
    const media = start(() => new Promise((_, reject) => (refuse = reject)));
    void media.setCamera(true);
    await settle();
    await media.toggle("video");
    refuse(failure("NotAllowedError"));
    await settle();
    expect(media.state.get()).toMatchObject({ camera: "off", problem: undefined });
  });

  it.each(["stop", "setScreen"] as const)(
    "about a screen can be left alone (%s); what comes late is ended",
    async (way) => {
      let answer: (tracks: FakeTrack[]) => void = () => {};
      const media = start(() => new Promise((resolve) => (answer = resolve)));
      void media.setScreen(true);
      await settle();
      expect(media.state.get().screen).toBe("starting");
      if (way === "stop") media.stop();
      else await media.setScreen(false);
      expect(media.state.get().screen).toBe("off");
      answer([new FakeTrack("video")]);
      await settle();
      expect(live()).toEqual([]);
      expect(media.screenStream).toBeUndefined();
    },
  );
});

describe("a chosen device", () => {
  const wished = (constraints: MediaStreamConstraints, kind: "audio" | "video" = "video") =>
    (constraints[kind] as MediaTrackConstraints | undefined)?.deviceId;

  it.each([
    ["video", "camera", "cameraId"],
    ["audio", "microphone", "microphoneId"],
  ] as const)("(%s) is the one that is opened, at once and the next time", async (kind, device, id) => {
    const media = start((_, constraints) => {
      const { exact = "first" } = (wished(constraints, kind) ?? {}) as { exact?: string };
      return [new FakeTrack(kind, { deviceId: exact })];
    });
    const turn = (on: boolean) => (kind === "audio" ? media.setMicrophone(on) : media.setCamera(on));
    await turn(true);
    expect(media.state.get()[id]).toBe("first");
    await media.chooseDevice(kind, "second");
    expect(media.state.get()).toMatchObject({ [device]: "on", [id]: "second" });
    expect(live()).toEqual([kind]);
    media.stop();
    media.start();
    await turn(true);
    expect(media.state.get()[id]).toBe("second");
  });

  it.each(["OverconstrainedError", "NotFoundError"])("that is gone (%s) is replaced by another", async (name) => {
    const media = start((_, constraints) => {
      if (wished(constraints)) return failure(name);
      return [new FakeTrack("video", { deviceId: "another" })];
    });
    await media.chooseDevice("video", "gone");
    await media.setCamera(true);
    expect(media.state.get()).toMatchObject({ camera: "on", cameraId: "another", problem: undefined });
  });

  it("that is gone leaves the other kind's choice", async () => {
    const media = start((question, constraints) => {
      if (question === "both" || wished(constraints)) return failure("OverconstrainedError");
      return undefined;
    });
    await media.chooseDevice("video", "gone");
    await media.chooseDevice("audio", "headset");
    await media.openBoth();
    expect(switches(media)).toEqual({ microphone: "on", camera: "on" });
    const microphone = asked.find(({ question }) => question === "audio");
    expect(microphone && wished(microphone.constraints, "audio")).toEqual({ exact: "headset" });
  });

  it("that cannot do what is asked is taken as it is", async () => {
    const media = start((_, { video }) => (video === true ? undefined : failure("OverconstrainedError")));
    await media.setCamera(true);
    expect(media.state.get()).toMatchObject({ camera: "on", problem: undefined });
  });

  it("that does not answer leaves the one in use", async () => {
    const media = start((_, constraints) => (wished(constraints) ? never() : undefined));
    await media.setCamera(true);
    void media.chooseDevice("video", "hangs");
    await patience();
    expect(media.state.get()).toMatchObject({ camera: "on" });
    expect(media.state.get().problem).toMatch(/has not answered about the camera/);
    await media.setCamera(false);
    expect(media.state.get()).toMatchObject({ camera: "off", problem: undefined });
    expect(live()).toEqual([]);
  });
});

describe("a phone's camera", () => {
  /** Opens one camera at a time, as many phones do. */
  function phone(works: (facing: string) => boolean = () => true): LocalMedia {
    return start((_, { video }) => {
      const { exact = "user" } = ((video as MediaTrackConstraints).facingMode ?? {}) as { exact?: string };
      if (live().includes("video")) return failure("NotReadableError");
      if (!works(exact)) return failure("NotReadableError");
      return [new FakeTrack("video", { facingMode: exact, deviceId: exact })];
    });
  }

  it("is turned to the back and to the front again", async () => {
    const media = phone();
    const replaced: string[] = [];
    media.onReplace = (track) => replaced.push(track.getSettings().facingMode ?? "");
    await media.setCamera(true);
    expect(media.state.get().facing).toBe("user");
    await media.turnCamera();
    expect(media.state.get()).toMatchObject({ camera: "on", facing: "environment", problem: undefined });
    await media.turnCamera();
    expect(media.state.get()).toMatchObject({ camera: "on", facing: "user" });
    expect(replaced).toEqual(["environment", "user"]);
    expect(live()).toEqual(["video"]);
  });

  it("comes back when the other one does not work, which is said", async () => {
    const media = phone((facing) => facing === "user");
    await media.setCamera(true);
    await media.turnCamera();
    expect(media.state.get()).toMatchObject({ camera: "on", facing: "user" });
    expect(media.state.get().problem).toMatch(/camera cannot be opened/);
    expect(live()).toEqual(["video"]);
    expect(media.stream.getVideoTracks()[0]?.readyState).toBe("live");
  });
});

describe("devices that come and go", () => {
  const device = (kind: "audio" | "video", id: string) => ({ kind: `${kind}input`, deviceId: id, label: `The ${id}` });

  /** Gives the device that is wished for exactly, or the first of the kind, as browsers do. */
  function plugged(...devices: ReturnType<typeof device>[]) {
    const events = new EventTarget();
    let list = devices;
    let mayName = true;
    const pick = (kind: "audio" | "video", wish: MediaTrackConstraints | boolean | undefined) => {
      const all = list.filter((one) => one.kind === `${kind}input`);
      const { exact } = ((typeof wish === "object" && wish.deviceId) || {}) as ConstrainDOMStringParameters;
      const found = exact ? all.find(({ deviceId }) => deviceId === exact) : all[0];
      if (!found) throw all.length > 0 ? new OverconstrainedError() : failure("NotFoundError");
      return new FakeTrack(kind, { deviceId: found.deviceId }, found.label);
    };
    const media = new LocalMedia({
      enumerateDevices: async () =>
        list.map((one) => (mayName ? one : { ...one, deviceId: "", label: "" })) as unknown as MediaDeviceInfo[],
      getUserMedia: async ({ audio, video } = {}) => {
        asked.push({
          question: audio && video ? "both" : audio ? "audio" : "video",
          constraints: { audio: !!audio, video: !!video },
        });
        if (!mayName) throw failure("NotAllowedError");
        const tracks = [audio && pick("audio", audio), video && pick("video", video)].filter((track) => !!track);
        given.push(...tracks);
        return new FakeMediaStream(tracks) as unknown as MediaStream;
      },
      addEventListener: events.addEventListener.bind(events) as MediaDevices["addEventListener"],
    });
    const change = (...now: typeof devices) => {
      list = now;
      events.dispatchEvent(new Event("devicechange"));
    };
    const end = (id: string) => {
      for (const track of given.filter((one) => one.getSettings().deviceId === id && one.readyState === "live")) {
        track.stop();
        track.dispatchEvent(new Event("ended"));
      }
    };
    const forbid = () => {
      mayName = false;
    };
    return { media, change, end, forbid };
  }

  const [front, desk, headset, array] = [
    device("video", "front"),
    device("video", "desk"),
    device("audio", "headset"),
    device("audio", "array"),
  ];
  const ids = (media: LocalMedia) =>
    [...media.state.get().cameras, ...media.state.get().microphones].map(({ deviceId }) => deviceId);
  const inUse = () => given.filter(({ readyState }) => readyState === "live").map((one) => one.getSettings().deviceId);

  it("are in the list, and gone from it", async () => {
    const { media, change } = plugged(front);
    await media.refreshDevices();
    expect(ids(media)).toEqual(["front"]);
    change(front, desk, headset);
    await settle();
    expect(ids(media)).toEqual(["front", "desk", "headset"]);
    change(desk);
    await settle();
    expect(ids(media)).toEqual(["desk"]);
    expect(media.state.get().problem).toBeUndefined();
    expect(asked).toEqual([]);
  });

  const orders = {
    "the track ends first": ["end", "change"],
    "the list comes first": ["change", "end"],
    "the track does not end": ["change"],
  };
  it.each(Object.entries(orders))("leave their place to others, with a word: %s", async (_, steps) => {
    for (const [kind, chosen, others] of [
      ["video", desk, [front, headset]],
      ["audio", headset, [desk, array]],
    ] as const) {
      asked = [];
      const { media, change, end } = plugged(...others, chosen);
      const published: string[] = [];
      await media.chooseDevice(kind, chosen.deviceId);
      await media.openBoth();
      await settle();
      media.onChange = (what) => published.push(what);
      expect(inUse()).toContain(chosen.deviceId);
      for (const step of steps) {
        if (step === "end") end(chosen.deviceId);
        else change(...others);
        await settle();
      }
      await settle();
      const [other] = others.filter((one) => one.kind === chosen.kind);
      expect(inUse()).toContain(other?.deviceId);
      expect(inUse()).toHaveLength(2);
      expect(switches(media)).toEqual({ microphone: "on", camera: "on" });
      const word = kind === "video" ? "camera" : "microphone";
      expect(media.state.get()).toMatchObject({
        problem: `The ${word} “${chosen.label}” is gone. “${other?.label}” is used instead.`,
        [`${word}Id`]: other?.deviceId,
      });
      expect(published.length).toBeGreaterThan(0);
      // It is the chosen one still, for when it is there again.
      expect(preferences.device(kind)).toBe(chosen.deviceId);
      media.stop();
      given = [];
    }
  });

  it("leave it to nobody who is not there, or was muted", async () => {
    const { media, change, end } = plugged(desk, headset, array);
    await media.chooseDevice("audio", "headset");
    await media.openBoth();
    await media.setMicrophone(false);
    const before = asked.length;
    change(array);
    end("desk");
    end("headset");
    await patience();
    expect(asked.length).toBe(before);
    expect(inUse()).toEqual([]);
    expect(media.state.get()).toMatchObject({ microphone: "off", camera: "off" });
    expect(media.state.get().problem).toMatch(/is gone. It was unplugged/);
    // A camera that comes long after is not switched on by itself.
    change(array, front);
    await patience();
    expect(inUse()).toEqual([]);
    await media.setMicrophone(true);
    expect(inUse()).toEqual(["array"]);
  });

  it("are not asked for where leave was taken back", async () => {
    for (const isListed of [true, false]) {
      const { media, change, end, forbid } = plugged(front, desk, headset);
      await media.chooseDevice("video", "desk");
      await media.openBoth();
      await settle();
      const before = asked.length;
      if (!isListed) forbid();
      end("desk");
      change(front, desk, headset);
      await patience();
      change(front, headset);
      await patience();
      expect(asked.length).toBe(before);
      expect(media.state.get().camera).toBe("off");
      expect(media.state.get().problem).toMatch(/^The camera is gone. It was unplugged, or may not be used/);
      media.stop();
    }
  });

  it("give way to what the user does meanwhile", async () => {
    const { media, change, end } = plugged(front, desk, headset);
    await media.chooseDevice("video", "desk");
    await media.openBoth();
    end("desk");
    await settle();
    await media.setCamera(false);
    change(front, headset);
    await patience();
    expect(inUse()).toEqual(["headset"]);
  });

  it("are told by the latest answer, though an earlier one comes after it", async () => {
    const answers: ((list: readonly unknown[]) => void)[] = [];
    const enumerateDevices = () => new Promise<MediaDeviceInfo[]>((resolve) => answers.push(resolve as never));
    const media = new LocalMedia({ enumerateDevices, getUserMedia: never as never });
    void media.refreshDevices();
    void media.refreshDevices();
    answers[1]?.([front]);
    await settle();
    answers[0]?.([front, desk]);
    await settle();
    expect(ids(media)).toEqual(["front"]);
  });
});
