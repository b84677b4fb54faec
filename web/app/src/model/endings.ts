// Why this member is not in the room, in words, with what can be done about it.
import { BimccRtcError } from "bimcc-rtc";

export type Remedy = "again" | "other_room" | "here";

export interface Ending {
  /** The reason of the error, or "left". */
  reason: string;
  title: string;
  text: string;
  /** The remedies; the first one is the most useful. */
  remedies: readonly Remedy[];
  /** Whether others have the board too, so that it need not be saved. */
  boardStays?: boolean;
}

/** `others` says how many peers there were at the end, and how many of them were connected. */
export function leftEnding(others: { all: number; connected: number }): Ending {
  const rest =
    others.connected > 0
      ? others.connected === 1
        ? "One other person is still there."
        : "The others are still there."
      : others.all > 0
        ? "Nobody else could be reached at the end."
        : "Nobody else is in the room.";
  return {
    reason: "left",
    title: "You left the room",
    text: `Your camera and microphone are off. ${rest}`,
    remedies: ["again", "other_room"],
    boardStays: others.connected > 0,
  };
}

export const NO_WEBRTC =
  "It lacks WebRTC, or has it switched off. Current versions of Chrome, Edge, Firefox and Safari have it.";

const ENDINGS: Record<string, Omit<Ending, "reason">> = {
  room_full: {
    title: "This room is full",
    text: "As many people as it takes are here already. Try again when somebody has left, or meet in another room.",
    remedies: ["again", "other_room"],
  },
  too_many_rooms: {
    title: "The server has no room left",
    text: "It serves as many rooms as it may. Try again in a while, or join a room that exists.",
    remedies: ["again", "other_room"],
  },
  bad_room: {
    title: "This cannot be the name of a room",
    text: "A room's name is at most 128 letters long (fewer in some scripts) and has no invisible characters.",
    remedies: ["other_room"],
  },
  bad_token: {
    title: "You are not invited, or not any more",
    text: "This room needs an invitation that is still good. Ask whoever invited you for a new link.",
    remedies: ["again", "other_room"],
  },
  replaced: {
    title: "You are here in another window",
    text: "The same place in this room was taken over by another tab or window of yours. It can be in one only.",
    remedies: ["here", "other_room"],
  },
  kicked: {
    title: "You were removed from the room",
    text: "Whoever runs this server ended your stay here.",
    remedies: ["other_room"],
  },
  unreachable: {
    title: "The server cannot be reached",
    text: "Is this device online, and is the server running? The page tries again when the network comes back.",
    remedies: ["again"],
  },
  rate_limited: {
    title: "Too many attempts",
    text: "The server takes a rest from this network address. Wait a moment, then try again.",
    remedies: ["again"],
  },
  not_supported: {
    title: "This browser cannot make calls",
    text: NO_WEBRTC,
    remedies: ["again"],
  },
};

/** The ending for a name that the server would not accept. */
export function badRoom(problem: string): Ending {
  return { reason: "bad_room", title: "This cannot be the name of a room", text: problem, remedies: ["other_room"] };
}

export function endingOf(error: unknown): Ending {
  const reason = error instanceof BimccRtcError ? error.reason : "failed";
  const known = Object.hasOwn(ENDINGS, reason) ? ENDINGS[reason] : undefined;
  if (known) return { reason, ...known };
  const said = error instanceof Error ? error.message : "no reason was given";
  return {
    reason,
    title: "The room could not be kept open",
    text: `It ended with: ${said}.`,
    remedies: ["again", "other_room"],
  };
}
