// What this browser remembers. If storage is switched off or full, settings last only as long as the page.

const RECENT_ROOMS = 5;
const kept = new Map<string, string>();

function read(key: string): string {
  try {
    return localStorage.getItem(key) ?? kept.get(key) ?? "";
  } catch {
    return kept.get(key) ?? "";
  }
}

function write(key: string, value: string): void {
  kept.set(key, value);
  try {
    localStorage.setItem(key, value);
  } catch {
    // It is then remembered only in `kept`.
  }
}

export type ThemeChoice = "system" | "light" | "dark";

export const preferences = {
  get name(): string {
    return read("name");
  },
  set name(value: string) {
    write("name", value);
  },

  get theme(): ThemeChoice {
    const value = read("theme");
    return value === "light" || value === "dark" ? value : "system";
  },
  set theme(value: ThemeChoice) {
    write("theme", value);
  },

  /** The camera or microphone chosen last, by the id that the browser gives it on this site. */
  device(kind: "audio" | "video"): string {
    return read(`device.${kind}`);
  },
  setDevice(kind: "audio" | "video", id: string): void {
    write(`device.${kind}`, id);
  },

  /** The recent rooms, the latest first. */
  get recentRooms(): string[] {
    try {
      const rooms: unknown = JSON.parse(read("rooms") || "[]");
      return Array.isArray(rooms) ? rooms.filter((room) => typeof room === "string").slice(0, RECENT_ROOMS) : [];
    } catch {
      return [];
    }
  },
  rememberRoom(room: string): void {
    const others = this.recentRooms.filter((other) => other !== room);
    write("rooms", JSON.stringify([room, ...others].slice(0, RECENT_ROOMS)));
  },
  forgetRooms(): void {
    write("rooms", "[]");
  },
};
