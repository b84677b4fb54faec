// What `joinRoom({ logger })` is told: what a developer wants to know when a call fails. Never tokens, credentials or what
// members say to each other, so nothing that a peer or the application wrote goes in here unseen.

import type { Logger } from "./types";

/** What whoever has something to tell calls. */
export type Log = (level: keyof Logger, text: string) => void;

/** What stands around the host in a URL: an application may put its token there. */
const AROUND_HOST = /(:\/\/)(?:\S*@)?([^\s/?#]+)\S*/g;

export const withoutSecrets = (text: string): string => text.replace(AROUND_HOST, "$1$2");
