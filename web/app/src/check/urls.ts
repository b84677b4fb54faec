import type { ServerUrl } from "./types";

const PATTERN = /^(stuns?|turns?):(\[[^\]]+\]|[^:?]+)(?::(\d+))?(?:\?transport=(udp|tcp))?$/i;

/** Returns undefined if it is not a STUN or TURN URL. */
export function parseServerUrl(url: string): ServerUrl | undefined {
  const [, scheme = "", host = "", port, transport] = PATTERN.exec(url) ?? [];
  if (!scheme) return undefined;
  const isSecure = scheme.toLowerCase().endsWith("s");
  return {
    url,
    kind: scheme.toLowerCase().startsWith("turn") ? "turn" : "stun",
    transport: isSecure ? "tls" : transport?.toLowerCase() === "tcp" ? "tcp" : "udp",
    host,
    port: port ? Number(port) : isSecure ? 5349 : 3478,
  };
}

/** The family of an address literal; undefined for names. */
export function familyOf(host: string): "IPv4" | "IPv6" | undefined {
  if (/^\[?[0-9a-f:.]*:[0-9a-f:.]*\]?$/i.test(host)) return "IPv6";
  return /^\d+(\.\d+){3}$/.test(host) ? "IPv4" : undefined;
}

export function isLoopback(host: string): boolean {
  return /^(localhost|127(\.\d+){3}|\[?::1\]?)$/i.test(host);
}
