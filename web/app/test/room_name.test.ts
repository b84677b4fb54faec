import { describe, expect, it } from "vitest";
import { randomRoomName, roomInPath, roomNameOf, roomNameProblem, roomPath } from "../src/logic/room_name";

describe("room names", () => {
  it.each([
    "tea",
    "tea & <b>cake</b>",
    "a/b\\c?d#e%f",
    "50%",
    "Sprint: café ☕",
    "教室",
    "غرفة",
    "👩‍👩‍👧",
    " x ",
    "..a",
  ])("come back from the address: %s", (name) => {
    const { pathname } = new URL(roomPath(name), "http://localhost:3000");
    expect(roomInPath(pathname)).toBe(name);
  });

  it("leaves what is no room to the lobby", () => {
    expect(roomInPath("/")).toBeUndefined();
    expect(roomInPath("/r/")).toBeUndefined();
    expect(roomInPath("/r/a/b")).toBeUndefined();
    expect(roomInPath("/x/r/a")).toBeUndefined();
  });

  it.each(["/rtc/", "/r/", "/r/rtc/", "/a/b/"])("are found below %s", (base) => {
    for (const name of ["tea", "a/b c", "r"]) {
      expect(roomPath(name, base).startsWith(base)).toBe(true);
      expect(roomInPath(roomPath(name, base), base)).toBe(name);
      expect(roomInPath(`${roomPath(name, base)}/`, base)).toBe(name);
    }
    expect(roomInPath(base, base)).toBeUndefined();
  });

  it("takes a path that is badly encoded as it stands", () => {
    expect(roomInPath("/r/100%")).toBe("100%");
    expect(roomInPath("/r/%ff")).toBe("%ff");
  });

  it("makes half a character harmless", () => {
    expect(roomPath("a\ud800b")).toBe("/r/a%EF%BF%BDb");
  });

  it("is one room however letters are composed", () => {
    expect(roomNameOf(" cafe\u0301 ")).toBe("caf\u00e9");
    expect(roomPath("cafe\u0301")).toBe("/r/caf%C3%A9");
    expect(roomInPath("/r/cafe%CC%81")).toBe("caf\u00e9");
    expect(roomInPath("/r/%E1%84%92%E1%85%A1%E1%86%AB")).toBe("\ud55c");
  });

  it("has the limits of the server", () => {
    expect(roomNameProblem("a".repeat(128))).toBeUndefined();
    expect(roomNameProblem("a".repeat(129))).toMatch(/too long/);
    expect(roomNameProblem("\u00e9".repeat(64))).toBeUndefined();
    expect(roomNameProblem("\u00e9".repeat(65))).toMatch(/too long/);
    expect(roomNameProblem("")).toBeDefined();
    expect(roomNameProblem("a\u0007b")).toBeDefined();
    expect(roomNameProblem("a\u0085b")).toBeDefined();
  });

  it("refuses what an address cannot hold", () => {
    expect(new URL(roomPath(".."), "http://x").pathname).toBe("/");
    expect(roomNameProblem("..")).toBeDefined();
    expect(roomNameProblem(".")).toBeDefined();
    expect(roomNameProblem("...")).toBeUndefined();
  });

  it("makes names that are easy to say", () => {
    expect(randomRoomName(() => Uint32Array.of(0, 1, 2, 3, 4, 5, 6, 7, 8))).toBe("abc-def-ghj");
    expect(randomRoomName(() => new Uint32Array(9).fill(2 ** 32 - 1))).toMatch(/^[a-z]{3}-[a-z]{3}-[a-z]{3}$/);
    expect(randomRoomName()).not.toBe(randomRoomName());
  });
});
