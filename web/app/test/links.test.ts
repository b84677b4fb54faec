import { describe, expect, it } from "vitest";
import { splitLinks } from "../src/logic/links";

const hrefs = (text: string) => splitLinks(text).flatMap(({ href }) => href ?? []);

describe("links", () => {
  it("are found where they are, without the sentence around them", () => {
    expect(splitLinks("see https://example.org/a?b=1#c, or not")).toEqual([
      { text: "see " },
      { text: "https://example.org/a?b=1#c", href: "https://example.org/a?b=1#c" },
      { text: ", or not" },
    ]);
    expect(hrefs("(http://a.example) http://b.example.")).toEqual(["http://a.example", "http://b.example"]);
  });

  it.each<[text: string, ...links: string[]]>([
    // The beginning of a name, and no more.
    ['begin with "www.", please'],
    ["(www.) www.! www.。"],
    ["with “www.” or without: www.example.org", "https://www.example.org"],
    // Brackets: what is opened inside belongs to the address.
    [
      "https://en.wikipedia.org/wiki/Rust_(programming_language)",
      "https://en.wikipedia.org/wiki/Rust_(programming_language)",
    ],
    ["(see https://en.wikipedia.org/wiki/A_(b)_(c))", "https://en.wikipedia.org/wiki/A_(b)_(c)"],
    ["(see https://example.org/a)", "https://example.org/a"],
    ["[this](https://example.org/a)", "https://example.org/a"],
    ["https://example.org/x?q=[1]", "https://example.org/x?q=[1]"],
    ["[https://example.org/x?q=[1]&r=[2]]", "https://example.org/x?q=[1]&r=[2]"],
    ["https://example.org/{id}/b", "https://example.org/{id}/b"],
    ["<https://example.org/a>", "https://example.org/a"],
    // Apostrophes and quotes.
    ["https://en.wikipedia.org/wiki/Ohm's_law", "https://en.wikipedia.org/wiki/Ohm's_law"],
    ["'https://example.org/a'", "https://example.org/a"],
    ['he said "https://example.org/a".', "https://example.org/a"],
    ["“https://example.org/a”", "https://example.org/a"],
    ["‘https://example.org/a’", "https://example.org/a"],
    // Punctuation of other scripts, with text right before and behind it.
    ["请看https://example.org/a，谢谢", "https://example.org/a"],
    ["見て（https://example.org/c）ください", "https://example.org/c"],
    ["「https://example.org/a」と『https://example.org/b』。", "https://example.org/a", "https://example.org/b"],
    ["看https://example.org/a。再看https://example.org/b！", "https://example.org/a", "https://example.org/b"],
    ["https://example.org/a、https://example.org/b", "https://example.org/a", "https://example.org/b"],
    ["انظر https://example.org/a، أو https://example.org/b؟", "https://example.org/a", "https://example.org/b"],
    ["https://zh.wikipedia.org/wiki/锈_(语言)", "https://zh.wikipedia.org/wiki/锈_(语言)"],
    ["https://例え.テスト/路径", "https://例え.テスト/路径"],
    // Ends of sentences.
    ["https://example.org...", "https://example.org"],
    ["Is it https://example.org/a?b=c?!", "https://example.org/a?b=c"],
    ["here: https://example.org/a: that", "https://example.org/a"],
    ["https://example.org/a; https://example.org/b,", "https://example.org/a", "https://example.org/b"],
    ["**https://example.org/a** _https://example.org/b_c_", "https://example.org/a", "https://example.org/b_c"],
    ["https://example.org/a_", "https://example.org/a_"],
    [
      "&lt;https://example.org/?a=1&amp;b=2&gt; &quot;https://example.org/b&quot;",
      "https://example.org/?a=1&amp;b=2",
      "https://example.org/b",
    ],
    ["https://example.org/a\nhttps://example.org/b", "https://example.org/a", "https://example.org/b"],
    // Hosts.
    ["http://localhost:3000/r/x http://127.0.0.1:8080", "http://localhost:3000/r/x", "http://127.0.0.1:8080"],
    ["http://[::1]:3000/x, http://[2001:db8::1]/", "http://[::1]:3000/x", "http://[2001:db8::1]/"],
    ["HTTPS://EXAMPLE.ORG/A", "HTTPS://EXAMPLE.ORG/A"],
    ["https://example.org/?u=https://example.org/b", "https://example.org/?u=https://example.org/b"],
    ["see www.example.org/a, me@www.example.org", "https://www.example.org/a"],
    ["看www.example.org，好", "https://www.example.org"],
  ])("of a text are these exactly: %s", (text, ...links) => {
    expect(hrefs(text)).toEqual(links);
  });

  it("never are anything but pages", () => {
    expect(hrefs("javascript:alert(1) data:text/html,x file:///etc/passwd blob:http://x/1")).toEqual(["http://x/1"]);
    expect(hrefs('https://"onclick=alert(1) http://')).toEqual([]);
    expect(hrefs("vbscript:x mailto:a@example.org ftp://example.org //example.org xhttps://example.org")).toEqual([]);
    expect(hrefs("https://example.org:99999/ http://256.1.1.1/ https://-a.example/")).toEqual([]);
  });

  it("lead to no host that looks like the name of a user", () => {
    expect(hrefs("https://bank.example@elsewhere.example/ https://bank.example:443@elsewhere.example/")).toEqual([]);
  });

  it("show what nobody could see, and what would turn the letters around it", () => {
    for (const letter of ["\u202e", "\u2066", "\u200f", "\u061c", "\u200b", "\u2060"]) {
      const [piece] = splitLinks(`https://example.org/${letter}gpj.exe`);
      expect(piece?.text).toBe(`https://example.org/${encodeURIComponent(letter)}gpj.exe`);
      expect(new URL(piece?.href ?? "").href).toBe(piece?.text);
    }
  });

  it("lose nothing of the text", () => {
    for (const text of [
      "",
      "plain",
      "https://a.example",
      "a https://:// b http://x.example/) c",
      "www.",
      "www.a.b c",
    ]) {
      expect(
        splitLinks(text)
          .map((piece) => piece.text)
          .join(""),
      ).toBe(text);
    }
  });

  it("are found at any length of anything", () => {
    const parts = ["(", "[(", "'", '"', "{", "!", ".", "-", "&gt;", "https://", "https://a.b/(", "www.", "www.a", "@"];
    for (const part of parts) {
      const text = part.repeat(4000 / part.length);
      for (const hostile of [text, `https://a.example/${text}`]) {
        const shown = splitLinks(hostile).map((piece) => piece.text);
        expect(shown.join("")).toBe(hostile);
      }
    }
  });
});
