// What is likely the matter with a server to which no connection could be made. Browsers keep the cause from pages, so
// this is by what can be known: the URL, where the page came from, and how the tries ended.

export interface Tries {
  /** Where to, as the WebSocket was given it. */
  url: string;
  /** `location.protocol` of the page, if there is one. */
  page: string | undefined;
  /** A socket has opened. */
  hasOpened: boolean;
  /** A socket has failed by itself; else nobody has answered at all. */
  hasFailed: boolean;
}

const LOOPBACK = /^(localhost|.+\.localhost|127\..+|\[::1\])$/;
/** Addresses and names for which no public authority signs. */
const PRIVATE = /^([\d.]+|\[.+|[^.]+|.+\.(local|lan|home|internal|localhost|home\.arpa))$/;

export function whyUnreachable({ url, page, hasOpened, hasFailed }: Tries): string {
  const { protocol, host, hostname } = new URL(url);
  const server = `${protocol}//${host}`;
  if (hasOpened) return `${server} takes connections, but lets nobody into a room: is it such a server?`;
  if (protocol === "ws:" && page === "https:" && !LOOPBACK.test(hostname)) {
    return `a page that came by https: may not connect to ${server} (mixed content): it takes an https: or wss: URL, and a server with --tls`;
  }
  if (!hasFailed) return `${server} does not answer: is the address right, and does a firewall let it through?`;
  const nobody = `nothing like a server answers at ${server}: is the port right?`;
  if (protocol === "ws:") return `${nobody} Or does it speak TLS only (--tls)? Then it takes an https: or wss: URL`;
  const certificate = `${PRIVATE.test(hostname) ? "Likely" : "Or"} this browser does not trust its certificate: open https://${host}/ and see`;
  return `${nobody} ${certificate}. Or it has no TLS: then it takes an http: or ws: URL`;
}
