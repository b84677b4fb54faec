// Joins a separate room for the time of the test, because only members get credentials that work. It does not use
// `Room`, which would try again, while this page reports the result of the first try.

import { type ClientEvent, parseServerEvent } from "bimcc-rtc/shared";

/** How long the server may take to answer. */
const PATIENCE = 10_000;

export interface Session {
  iceServers: RTCIceServer[];
  /** Milliseconds from the start until the WebSocket was open, and until the server answered. */
  opened: number;
  joined: number;
  leave(): void;
}

/** Joins a room that nobody can guess. The error's message is for people. */
export function joinThrowAwayRoom(url: string): Promise<Session> {
  return new Promise((resolve, reject) => {
    const start = performance.now();
    let opened: number | undefined;
    const socket = new WebSocket(url);
    const giveUp = setTimeout(() => fail("no answer came"), PATIENCE);
    const fail = (why: string) => {
      clearTimeout(giveUp);
      socket.close();
      reject(new Error(why));
    };
    const say = (event: ClientEvent) => socket.send(JSON.stringify(event));
    socket.onopen = () => {
      opened = performance.now() - start;
      say({ eventName: "__join", data: { room: `check-${randomName()}` } });
    };
    socket.onclose = ({ code, reason }) => {
      fail(opened === undefined ? "the connection was refused or broke" : `the server closed it: ${reason || code}`);
    };
    socket.onmessage = ({ data: text }) => {
      const event = parseServerEvent(String(text));
      if (event?.eventName === "_error") return fail(event.data.message);
      if (event?.eventName !== "_peers") return;
      clearTimeout(giveUp);
      socket.onclose = null;
      resolve({
        iceServers: event.data.iceServers,
        opened: opened ?? 0,
        joined: performance.now() - start,
        leave() {
          if (socket.readyState === WebSocket.OPEN) say({ eventName: "__leave", data: {} });
          socket.close();
        },
      });
    };
  });
}

function randomName(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
