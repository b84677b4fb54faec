// A member of a room of its own, for as long as the test takes: only members get credentials that work.

/** How long the server may take to answer. */
const PATIENCE = 10_000;

export interface Session {
  iceServers: RTCIceServer[];
  /** Milliseconds from the start to the open WebSocket, and to the answer of the server. */
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
    const say = (eventName: string, data: object) => socket.send(JSON.stringify({ eventName, data }));
    socket.onopen = () => {
      opened = performance.now() - start;
      say("__join", { room: `check-${randomName()}` });
    };
    socket.onclose = ({ code, reason }) => {
      fail(opened === undefined ? "the connection was refused or broke" : `the server closed it: ${reason || code}`);
    };
    socket.onmessage = ({ data: text }) => {
      const { eventName, data } = JSON.parse(text);
      if (eventName === "_error") return fail(String(data.message));
      if (eventName !== "_peers") return;
      clearTimeout(giveUp);
      socket.onclose = null;
      resolve({
        iceServers: data.iceServers,
        opened: opened ?? 0,
        joined: performance.now() - start,
        leave() {
          if (socket.readyState === WebSocket.OPEN) say("__leave", {});
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
