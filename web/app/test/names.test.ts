import { describe, expect, it } from "vitest";
import { cleanText, displayName, fileNameOf, hueOf, initials, nameNote, nameProblem } from "../src/logic/names";

describe("names of people", () => {
  it("keeps every script and emoji", () => {
    for (const name of ["Ada Lovelace", "محمد بن موسى", "紫 式部", "Ελένη", "👩‍👩‍👧 family", "नमस्ते", "❤️"]) {
      expect(displayName({ id: "1", name })).toBe(name);
    }
  });

  it("tells nameless members apart by their ids", () => {
    expect(displayName({ id: "abcdef", name: undefined })).toBe("guest cdef");
    expect(displayName({ id: "abcdef", name: " \u200b\u202e " })).toBe("guest cdef");
  });

  it("cannot turn the text around it, break the line or pile up marks", () => {
    expect(displayName({ id: "1", name: "a\u202egpj.exe\u2066" })).toBe("a gpj.exe");
    expect(displayName({ id: "1", name: "a\n\u2028b\tc" })).toBe("a b c");
    expect(displayName({ id: "1", name: `z${"\u0301".repeat(300)}` })).toHaveLength(5);
  });

  it("is short, counted in characters", () => {
    const name = displayName({ id: "1", name: "😀".repeat(256) });
    expect([...name]).toHaveLength(60);
    expect(name.endsWith("…")).toBe(true);
    expect(new TextDecoder().decode(new TextEncoder().encode(name))).toBe(name);
  });

  it("that one gives to oneself comes with a word where others are not shown all of it, or the server takes none", () => {
    for (const fits of ["", "Ada", "😀".repeat(60), ` ${"a".repeat(60)} `]) {
      expect([nameNote(fits), nameProblem(fits)]).toEqual([undefined, undefined]);
      expect(displayName({ id: "1", name: fits || "x" })).toBe(fits.trim() || "x");
    }
    for (const long of ["a".repeat(61), "😀".repeat(61), "a".repeat(1_024), "😀".repeat(256)]) {
      expect(nameNote(long)).toMatch(/first 59 letters/);
      expect([...displayName({ id: "1", name: long })].slice(0, 59)).toEqual([...long].slice(0, 59));
      expect(nameProblem(long)).toBeUndefined();
    }
    for (const long of ["a".repeat(1_025), "😀".repeat(257)]) expect(nameProblem(long)).toMatch(/too long/);
  });

  it("is what it says when it is not text at all", () => {
    expect(displayName({ id: "abcdef", name: 5 as unknown as string })).toBe("guest cdef");
  });

  it("has initials", () => {
    expect(initials("Ada Lovelace")).toBe("AL");
    expect(initials("ada")).toBe("A");
    expect(initials("Ada M. King Lovelace")).toBe("AL");
    expect(initials("😀")).toBe("😀");
    expect(initials("")).toBe("?");
    expect(initials("<img src=x>")).toBe("IS");
  });

  it("has a colour", () => {
    for (const id of ["", "a", "x".repeat(10_000)]) {
      expect(hueOf(id)).toBeGreaterThanOrEqual(0);
      expect(hueOf(id)).toBeLessThan(360);
    }
    expect(hueOf("a")).not.toBe(hueOf("b"));
  });

  it("costs little, however long it is", () => {
    expect(cleanText("a\u0301".repeat(5_000_000), 10).length).toBeLessThan(25);
  });
});

describe("names of files", () => {
  it.each([
    ["plan.pdf", "plan.pdf"],
    ["../../etc/passwd", "passwd"],
    ["C:\\Windows\\System32\\cmd.exe", "cmd.exe"],
    ["/etc/", "file"],
    ["..", "file"],
    [".bashrc", "bashrc"],
    ["...", "file"],
    ["", "file"],
    ["a<img src=x onerror=alert(1)>.png", "a_img src=x onerror=alert(1)_.png"],
    ["inv\u202efdp.exe", "inv fdp.exe"],
    ["a\0b\r\nc.txt", "a b c.txt"],
    ["CON", "_CON"],
    ["com1.txt", "_com1.txt"],
    ["console.log", "console.log"],
    ["report. . ", "report"],
    ["スケッチ.png", "スケッチ.png"],
    ["a:b|c?.txt", "a_b_c_.txt"],
  ])("%j is saved as %j", (given, expected) => {
    expect(fileNameOf(given)).toBe(expected);
  });

  it("keeps the ending of a long one", () => {
    const name = fileNameOf(`${"a".repeat(5000)}.tar.gz`);
    expect(name.length).toBeLessThanOrEqual(120);
    expect(name.endsWith("….gz")).toBe(true);
  });

  it("needs no text", () => {
    for (const name of [undefined, null, 5, {}, []]) expect(fileNameOf(name)).toBe("file");
  });
});
