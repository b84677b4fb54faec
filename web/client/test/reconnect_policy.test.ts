import { describe, expect, it } from "vitest";
import { type ReconnectContext, reconnectDelay } from "../src/reconnect_policy";

const lost: ReconnectContext = { attempt: 1, elapsed: 0, hasJoined: true, random: 0.5 };

describe("reconnectDelay", () => {
  it("begins soon, grows, and stays short while a server may be restarting", () => {
    const delays = [1, 2, 3, 4, 5, 20].map((attempt) => reconnectDelay({ ...lost, attempt, random: 1 }));
    expect(delays).toEqual([300, 600, 1200, 2400, 3000, 3000]);
  });

  it("has more patience later, and never ends for who has been in", () => {
    expect(reconnectDelay({ ...lost, attempt: 1000, elapsed: 3_600_000, random: 1 })).toBe(15_000);
  });

  it("spreads tries over half of the delay", () => {
    expect(reconnectDelay({ ...lost, attempt: 3, random: 0 })).toBe(600);
    expect(reconnectDelay({ ...lost, attempt: 3, random: 0.5 })).toBe(900);
  });

  it("waits as long as a server that goes asks for", () => {
    expect(reconnectDelay({ ...lost, closeCode: 1001, reconnectAfter: 7_000 })).toBe(7_000);
    expect(reconnectDelay({ ...lost, closeCode: 1001, reconnectAfter: 0 })).toBe(225);
  });

  it.each([4001, 4002])("does not come back after %i", (closeCode) => {
    expect(reconnectDelay({ ...lost, closeCode })).toBeNull();
  });

  it.each([1000, 1001, 1006, 1008, 1009, 1013])("comes back after %i", (closeCode) => {
    expect(reconnectDelay({ ...lost, closeCode })).not.toBeNull();
  });

  it("takes a refusal of the first join for an answer, but not that of a return to a full room", () => {
    for (const refusal of ["room_full", "too_many_rooms", "bad_room", "bad_token", "something_new"]) {
      expect(reconnectDelay({ ...lost, hasJoined: false, refusal })).toBeNull();
    }
    expect(reconnectDelay({ ...lost, refusal: "room_full", random: 1 })).toBe(2000);
    expect(reconnectDelay({ ...lost, refusal: "bad_room" })).toBeNull();
    expect(reconnectDelay({ ...lost, hasJoined: false, refusal: "rate_limited" })).not.toBeNull();
  });

  it("does not leave somebody who joins for the first time in the dark", () => {
    expect(reconnectDelay({ ...lost, hasJoined: false, elapsed: 9_999 })).not.toBeNull();
    expect(reconnectDelay({ ...lost, hasJoined: false, elapsed: 10_001 })).toBeNull();
  });
});
