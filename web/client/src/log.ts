// The messages for `joinRoom({ logger })`: what a developer wants to know when a call fails. They never contain tokens,
// credentials or messages between members, so no text of a peer or of the application may be logged unchecked.

import type { Logger } from "./types";

/** The function that all parts call to log something. */
export type Log = (level: keyof Logger, text: string) => void;

/** The parts of a URL around the host, where an application may put its token. */
const AROUND_HOST = /(:\/\/)(?:\S*@)?([^\s/?#]+)\S*/g;

export const withoutSecrets = (text: string): string => text.replace(AROUND_HOST, "$1$2");
