// One visit to a room, from the question for a name to the reason for its end. It owns the Room and everything that
// depends on it.
import type { JoinOptions, Peer, PublishedStream, Room, RoomState } from "bimcc-rtc";
import { conceal, expose } from "../debug";
import { displayName } from "../logic/names";
import { roomNameOf, roomNameProblem } from "../logic/room_name";
import { Chat, entryInWords } from "./chat";
import { badRoom, type Ending, endingOf, leftEnding } from "./endings";
import type { LocalMedia } from "./media";
import { Notices } from "./notices";
import { People } from "./people";
import { preferences } from "./preferences";
import { presenceToMetadata } from "./presence";
import { Cell } from "./store";

export type Panel = "chat" | "people" | "invite";

/** The state that exists while this member is in the room. */
export interface Visit {
  readonly room: Room;
  readonly people: People;
  readonly chat: Chat;
}

export type Phase =
  | { readonly name: "entry" }
  | { readonly name: "joining" }
  | { readonly name: "inside"; readonly visit: Visit }
  | { readonly name: "ended"; readonly ending: Ending };

export interface SessionOptions {
  room: string;
  joinRoom: (options: JoinOptions) => Promise<Room>;
  media: LocalMedia;
  relayOnly: boolean;
  token: string | undefined;
  name: string | undefined;
}

export class Session {
  readonly phase: Cell<Phase>;
  readonly server = new Cell<RoomState>("joined");
  readonly name: Cell<string>;
  readonly panel = new Cell<Panel | undefined>(undefined);
  /** The stream that is shown large, by its id. */
  readonly large = new Cell<string | undefined>(undefined);
  readonly notices = new Notices();
  readonly room: string;
  readonly media: LocalMedia;
  #attempt: AbortController | undefined;
  #camera: PublishedStream | undefined;
  #screen: PublishedStream | undefined;
  #presenceTimer: ReturnType<typeof setTimeout> | undefined;
  #ends: (() => void)[] = [];
  /** The ending that the user's own leaving causes. */
  #ownEnding: Ending | undefined;

  constructor(private readonly options: SessionOptions) {
    this.room = options.room;
    const problem = roomNameProblem(roomNameOf(this.room));
    // A bad name of a room is known before the user is asked for a name or a camera.
    this.phase = new Cell<Phase>(problem ? { name: "ended", ending: badRoom(problem) } : { name: "entry" });
    this.media = options.media;
    this.name = new Cell(options.name ?? preferences.name);
    this.media.onChange = (what) => (what === "camera" ? this.#publishCamera() : this.#publishScreen());
    this.media.onReplace = (track) => void this.#camera?.replaceTrack(track).catch(this.#publishProblem);
  }

  get visit(): Visit | undefined {
    const phase = this.phase.get();
    return phase.name === "inside" ? phase.visit : undefined;
  }

  rename(name: string): void {
    this.name.set(name);
    preferences.name = name;
    this.visit?.room.update({ name: name || null });
  }

  async join(): Promise<void> {
    const before = this.phase.get().name;
    if (before === "joining" || before === "inside") return;
    this.phase.set({ name: "joining" });
    const attempt = new AbortController();
    this.#attempt = attempt;
    const { relayOnly, token } = this.options;
    let room: Room | undefined;
    try {
      this.media.start();
      room = await this.options.joinRoom({
        room: this.room,
        ...(this.name.get() && { name: this.name.get() }),
        metadata: this.#presence(),
        ...(token !== undefined && { token }),
        ...(relayOnly && { rtcConfiguration: { iceTransportPolicy: "relay" } }),
        signal: attempt.signal,
      });
      if (attempt.signal.aborted) return room.leave();
      this.#enter(room);
    } catch (error) {
      if (!attempt.signal.aborted) this.#end(endingOf(error));
      // Whatever went wrong after joining, the others must not see a member that is not there.
      room?.leave();
    }
  }

  /** Stops joining. */
  cancel(): void {
    this.#attempt?.abort();
    this.phase.set({ name: "entry" });
  }

  leave(): void {
    this.#attempt?.abort();
    // After leaving, the room knows no peers, so the ending is made before.
    const ending = this.#leftEnding();
    this.#ownEnding = ending;
    this.visit?.room.leave();
    if (this.phase.get().name !== "ended") this.#end(ending);
  }

  togglePanel(panel: Panel): void {
    this.panel.set(this.panel.get() === panel ? undefined : panel);
  }

  /** A peer did something that the board refused. */
  readonly boardProblem = (peer: Peer | undefined, reason: string): void => {
    this.notices.problem(reason, peer && { id: peer.id, name: displayName(peer) });
  };

  /** Offers files to the others that were dropped on the board but are not for it. */
  readonly offerFromBoard = (files: readonly File[]): void => {
    const [first] = files;
    if (!this.visit || !first) return;
    const what = files.length === 1 ? `“${first.name}” is` : `${files.length} files are`;
    const isAlone = this.visit.room.peers.size === 0;
    if (isAlone) this.notices.say(`${what} nothing for the board, and nobody else is here to take it as a file.`);
    else this.notices.say(`${what} nothing for the board and so offered to everybody as a file.`);
    if (!isAlone) this.visit.chat.sendFiles(files);
  };

  #enter(room: Room): void {
    const chat = new Chat(room, this.notices, (entry) => {
      if (this.panel.get() === "chat") return;
      const run = () => this.panel.set("chat");
      this.notices.say(entryInWords(entry), { action: { label: "Open chat", run }, topic: "chat" });
    });
    const people = new People(room);
    const visit = { room, people, chat };
    this.server.set(room.state);
    this.#ends = [
      this.panel.subscribe(() => {
        const isLooking = this.panel.get() === "chat";
        chat.setLooking(isLooking);
        if (isLooking) this.notices.dismissTopic("chat");
      }),
      this.large.subscribe(() => this.notices.dismissTopic(this.large.get() ?? "")),
      room.on("state", (state) => this.server.set(state)),
      room.on("left", (error) => this.#end(error ? endingOf(error) : (this.#ownEnding ?? this.#leftEnding()))),
      room.on("error", (error) => this.boardProblem(error.peer, error.message)),
      room.on("stream", (peer, { stream, label }) => {
        if (label !== "screen") return;
        const run = () => this.large.set(stream.id);
        const action = { label: "Show it large", run };
        this.notices.say(`${displayName(peer)} is sharing a screen`, { action, topic: stream.id });
      }),
      room.on("stream_ended", (_, { stream }) => {
        if (this.large.get() === stream.id) this.large.set(undefined);
        this.notices.dismissTopic(stream.id);
      }),
      () => people.dispose(),
      () => chat.dispose(),
    ];
    preferences.rememberRoom(this.room);
    expose({ room });
    this.phase.set({ name: "inside", visit });
    this.#publishCamera();
    this.#publishScreen();
  }

  #leftEnding(): Ending {
    const peers = [...(this.visit?.room.peers.values() ?? [])];
    // A peer that is still connecting counts as present; one that is lost may have left.
    const connected = peers.filter(({ state }) => state === "connected" || state === "connecting").length;
    return leftEnding({ all: peers.length, connected });
  }

  #end(ending: Ending): void {
    for (const end of this.#ends) end();
    this.#ends = [];
    this.#ownEnding = undefined;
    clearTimeout(this.#presenceTimer);
    this.#presenceTimer = undefined;
    this.#camera = undefined;
    this.#screen = undefined;
    this.large.set(undefined);
    this.panel.set(undefined);
    conceal("room");
    // A user who is not in the room must not have a camera that is on.
    this.media.stop();
    this.phase.set({ name: "ended", ending });
  }

  #publishCamera(): void {
    const room = this.visit?.room;
    if (!room) return;
    try {
      if (this.media.stream.getTracks().length > 0 || this.#camera) {
        this.#camera = room.publish(this.media.stream, { label: "camera" });
      }
    } catch (error) {
      this.#publishProblem(error);
    }
    this.#tellPresence();
  }

  #publishScreen(): void {
    const room = this.visit?.room;
    if (!room) return;
    const stream = this.media.screenStream;
    this.#screen?.unpublish();
    this.#screen = undefined;
    try {
      if (stream) this.#screen = room.publish(stream, { label: "screen" });
    } catch (error) {
      this.#publishProblem(error);
    }
  }

  /** Sends at once, and then at most a few times a second: holding a key down must not cause a flood. */
  #tellPresence(): void {
    if (this.#presenceTimer !== undefined) return;
    const told = JSON.stringify(this.#presence());
    this.visit?.room.update({ metadata: this.#presence() });
    this.#presenceTimer = setTimeout(() => {
      this.#presenceTimer = undefined;
      if (JSON.stringify(this.#presence()) !== told) this.#tellPresence();
    }, 300);
  }

  #presence(): unknown {
    const { microphone, camera } = this.media.state.get();
    return presenceToMetadata({ microphone: microphone === "on", camera: camera === "on" });
  }

  readonly #publishProblem = (error: unknown): void => {
    this.notices.problem(`Your picture or sound could not be sent: ${error instanceof Error ? error.message : error}`);
  };
}
