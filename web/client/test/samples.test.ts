/// <reference types="vite/client" />
// The samples that the server's own tests read too, so that both sides agree on the wire.
import { expect, test } from "vitest";
import fromClientsText from "../../../tests/data/signaling/client.json?raw";
import readByClientText from "../../../tests/data/signaling/read-by-client.json?raw";
import fromServerText from "../../../tests/data/signaling/server.json?raw";
import { type ClientEvent, parseServerEvent } from "../src/protocol";

interface Sample {
  about: string;
  message: unknown;
}

const fromClients: (Sample & { arrives?: { eventName: string }; refused?: string })[] = JSON.parse(fromClientsText);
const fromServer: Sample[] = JSON.parse(fromServerText);
const readByClient: (Sample & { read: unknown })[] = JSON.parse(readByClientText);

const TARGET = "m-00000000000000000000000000000005";
const SDP = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";
const CANDIDATE = "candidate:1 1 udp 2122260223 192.0.2.1 54321 typ host generation 0 ufrag abcd";

/** What the client writes, as its types have it, by what the samples call it. */
const WRITTEN: Record<string, ClientEvent> = {
  "come back": { eventName: "__join", data: { room: "lobby", name: "Bob", resume: "opaque.token" } },
  "offer of the SDK, with its marker": {
    eventName: "__offer",
    data: {
      socketId: TARGET,
      sdp: { type: "offer", sdp: SDP },
      sdk: { v: 1, offer: 3, streams: { "s-1": "camera" } },
    },
  },
  "answer of the SDK": {
    eventName: "__answer",
    data: { socketId: TARGET, sdp: { type: "answer", sdp: SDP }, sdk: { v: 1, offer: 3, streams: {} } },
  },
  "candidate of the SDK": {
    eventName: "__ice_candidate",
    data: { socketId: TARGET, label: 0, candidate: CANDIDATE, sdpMid: "0", sdpMLineIndex: 0 },
  },
  "null is a message": { eventName: "__message", data: { data: null } },
  "name taken away, metadata changed": { eventName: "__update", data: { name: null, metadata: { hand: true } } },
  "fresh credentials": { eventName: "__ice_servers", data: {} },
  leave: { eventName: "__leave", data: {} },
  "ping with anything": { eventName: "__ping", data: { t: 1.5, deep: [[[]]] } },
};

test("what the client writes is what the server understands", () => {
  for (const [about, event] of Object.entries(WRITTEN)) {
    const sample = fromClients.find((sample) => sample.about === about);
    expect(sample?.message, about).toEqual(event);
    expect(sample, about).not.toHaveProperty("refused");
  }
});

test("the client reads everything that the server says, whole", () => {
  expect(fromServer.length).toBeGreaterThan(10);
  for (const { about, message } of fromServer) {
    expect(parseServerEvent(JSON.stringify(message)), about).toEqual(message);
  }
});

test("the client reads everything that other members say", () => {
  const arriving = fromClients.filter(({ arrives }) => arrives);
  expect(arriving.length).toBeGreaterThan(10);
  for (const { about, arrives } of arriving) {
    expect(parseServerEvent(JSON.stringify(arrives))?.eventName, about).toBe(arrives?.eventName);
  }
});

test("what other servers say is read as far as it is known", () => {
  for (const { about, message, read } of readByClient) {
    expect(parseServerEvent(JSON.stringify(message)) ?? null, about).toEqual(read);
  }
});
