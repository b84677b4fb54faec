import { describe, expect, it } from "vitest";
import { whyUnreachable } from "../src/unreachable";

const why = (url: string, { page = "http:", hasOpened = false, hasFailed = true } = {}) =>
  whyUnreachable({ url, page, hasOpened, hasFailed });

describe("a server that cannot be reached", () => {
  it.each([["ws://192.168.1.5:3000/"], ["ws://rtc.example.org/"]])(
    "%s: mixed content, on a page that came by https:",
    (url) => {
      expect(why(url, { page: "https:" })).toMatch(/https:.*mixed content.*--tls/);
      expect(why(url, { page: "https:", hasFailed: false })).toMatch(/mixed content/);
      expect(why(url)).not.toMatch(/mixed/);
    },
  );

  it.each(["ws://localhost:3000/", "ws://127.0.0.1:3000/", "ws://[::1]:3000/", "ws://a.localhost/"])(
    "%s: no mixed content, since it is this machine",
    (url) => {
      expect(why(url, { page: "https:" })).not.toMatch(/mixed/);
    },
  );

  it.each([
    "wss://192.168.1.5:3000/",
    "wss://10.0.0.1/",
    "wss://[fd00::1]:3443/",
    "wss://raspberry/",
    "wss://pi.local/",
  ])("%s: likely the certificate", (url) => {
    expect(why(url)).toMatch(/Likely this browser does not trust its certificate: open https:/);
  });

  it("wss: to a public name: the port, the certificate or no TLS", () => {
    const text = why("wss://rtc.example.org:3443/r?x=1");
    expect(text).toContain("wss://rtc.example.org:3443:");
    expect(text).toMatch(/port.*certificate.*https:\/\/rtc.example.org:3443\/.*no TLS.*http:/);
    expect(text).not.toContain("Likely");
  });

  it("ws: the port, or a server with --tls", () => {
    expect(why("ws://192.168.1.5:3000/")).toMatch(/ws:\/\/192.168.1.5:3000: is the port right\?.*--tls.*https:/);
  });

  it("no answer at all: the address or a firewall, and no word of certificates", () => {
    const text = why("wss://10.255.255.1/", { hasFailed: false });
    expect(text).toMatch(/does not answer.*address.*firewall/);
    expect(text).not.toMatch(/certificate/);
  });

  it("something else than such a server", () => {
    expect(why("ws://127.0.0.1:80/", { hasOpened: true })).toMatch(/takes connections/);
  });

  it("works without a page", () => {
    expect(whyUnreachable({ url: "ws://a/", page: undefined, hasOpened: false, hasFailed: true })).toContain("ws://a");
  });
});
