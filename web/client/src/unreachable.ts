// The likely reason why no connection to a server could be made. Browsers do not tell pages the cause, so this uses
// what is known: the URL, the origin of the page, and how the tries ended.

export interface Tries {
  /** The URL that the WebSocket got. */
  url: string;
  /** `location.protocol` of the page, if there is one. */
  page: string | undefined;
  /** Whether a socket has opened. */
  hasOpened: boolean;
  /** Whether a socket has failed by itself; if not, nobody has answered at all. */
  hasFailed: boolean;
}

const LOOPBACK = /^(localhost|.+\.localhost|127\..+|\[::1\])$/;
/** Addresses and names for which no public authority issues certificates. */
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
