import { describe, expect, it } from "vitest";
import { parseServerEvent } from "../src/protocol";

function parse(eventName: string, data: unknown) {
  return parseServerEvent(JSON.stringify({ eventName, data }));
}

describe("parseServerEvent", () => {
  it("reads what it knows and ignores the rest", () => {
    expect(parse("_new_peer", { socketId: "a", name: "A", later: 1 })).toEqual({
      eventName: "_new_peer",
      data: { socketId: "a", name: "A" },
    });
    expect(parse("_remove_peer", { socketId: "a" })?.data).toEqual({ socketId: "a", reason: "left" });
    expect(parse("_something_new", { socketId: "a" })).toBeUndefined();
  });

  it("reads an old server's `_peers`", () => {
    expect(parse("_peers", { connections: ["b"], you: "a" })?.data).toEqual({
      connections: ["b"],
      you: "a",
      iceServers: [],
      peers: [],
      resume: "",
      resumed: false,
      room: "",
      server: "",
    });
  });

  it("tells an absent name from one that was taken away", () => {
    expect(parse("_peer_updated", { socketId: "a", metadata: { x: 1 } })?.data).toEqual({
      socketId: "a",
      metadata: { x: 1 },
    });
    expect(parse("_peer_updated", { socketId: "a", name: null })?.data).toEqual({ socketId: "a", name: null });
  });

  it("takes an SDP as object or as text", () => {
    const sdp = { type: "offer", sdp: "v=0" };
    expect(parse("_offer", { socketId: "a", sdp })?.data).toEqual({ socketId: "a", sdp });
    expect(parse("_offer", { socketId: "a", sdp: "v=0" })?.data).toEqual({ socketId: "a", sdp });
    expect(parse("_answer", { socketId: "a", sdp })).toBeUndefined();
    expect(parse("_offer", { socketId: "a", sdp: { type: "rollback", sdp: "" } })).toBeUndefined();
  });

  it("keeps of a marker only what is what it should be", () => {
    const sdk = { v: 1, offer: "1", streams: { s: "camera", t: 5, __proto__: "x" }, more: true };
    expect(parse("_offer", { socketId: "a", sdp: "v=0", sdk })?.data).toMatchObject({
      sdk: { v: 1, streams: { s: "camera" } },
    });
  });

  it("takes candidates as text, object or null", () => {
    const candidate = { candidate: "candidate:1", sdpMid: "0", sdpMLineIndex: 0 };
    const data = { socketId: "a", candidate };
    expect(parse("_ice_candidate", { socketId: "a", label: 0, ...candidate })?.data).toEqual(data);
    expect(parse("_ice_candidate", { socketId: "a", candidate })?.data).toEqual(data);
    expect(parse("_ice_candidate", { socketId: "a", candidate: null })?.data).toMatchObject({
      candidate: { candidate: "" },
    });
  });

  it.each([
    "",
    "nonsense",
    "null",
    "[]",
    "5",
    '"_peers"',
    "{}",
    '{"eventName":5,"data":{}}',
    '{"eventName":"_peers","data":{"you":5}}',
    '{"eventName":"_offer","data":{"sdp":"v=0"}}',
    '{"eventName":"_offer","data":{"socketId":"a","sdp":[]}}',
    '{"eventName":"_ice_candidate","data":{"socketId":"a","candidate":5}}',
    '{"eventName":"_message","data":{"socketId":"a"}}',
    '{"eventName":"_new_peer","data":null}',
  ])("finds nothing in %s", (text) => {
    expect(parseServerEvent(text)).toBeUndefined();
  });
});
