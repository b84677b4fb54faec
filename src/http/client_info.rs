//! Who a client is, and by which name it reached this server, directly or through proxies.
//!
//! Forwarding headers count only if a trusted proxy sets them. A header that reveals an unknown proxy makes the address
//! unverified, because the address would be the proxy's, and all users of the proxy would look like one.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;

use crate::values::host::Host;

/// The trusted proxies, and the host to use whatever clients say.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// The proxies whose headers count.
    pub proxies: Vec<IpNet>,
    /// The host to use instead of what clients say.
    pub public_host: Option<Host>,
}

impl Trust {
    pub(crate) fn is_proxy(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.proxies.iter().any(|net| net.contains(&address))
    }
}

/// What one request says about its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientInfo {
    /// The apparent address of the client, which may be that of a proxy.
    pub apparent: IpAddr,
    /// Whether `apparent` is certainly the client's address.
    pub is_verified: bool,
    /// Whether a proxy that is not trusted has left its mark in the headers.
    pub has_unknown_proxy: bool,
    /// The host by which the client reached this server.
    pub host: Host,
    /// The port by which it did, if no proxy is known to be in between. The inner `None` means the default port of the
    /// scheme.
    pub direct_port: Option<Option<u16>>,
    /// Whether TLS ends at a trusted proxy.
    pub is_secure_at_proxy: bool,
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

impl ClientInfo {
    /// Reads the request's headers. `peer` is the other end of the TCP connection, `local` this server's end.
    pub fn new(peer: SocketAddr, local: SocketAddr, headers: &HeaderMap, trust: &Trust) -> Self {
        let peer = peer.ip().to_canonical();
        let is_proxy = trust.is_proxy(peer);
        let claimed = is_proxy.then(|| forwarded_for(headers, trust)).flatten();
        let marks = [header::FORWARDED, X_FORWARDED_FOR, header::VIA];
        let has_unknown_proxy = !is_proxy && marks.iter().any(|mark| headers.contains_key(mark));
        let is_verified = if is_proxy { claimed.is_some() } else { !has_unknown_proxy };
        let is_direct = !is_proxy && !has_unknown_proxy;
        Self {
            direct_port: is_direct.then(|| port(headers, local)),
            apparent: claimed.unwrap_or(peer),
            is_verified,
            has_unknown_proxy,
            host: host(headers, is_proxy, local, trust),
            is_secure_at_proxy: is_proxy
                && last_entry(headers, &X_FORWARDED_PROTO)
                    .is_some_and(|proto| proto.eq_ignore_ascii_case("https") || proto.eq_ignore_ascii_case("wss")),
        }
    }

    /// The address, if it is certainly the client's.
    pub fn verified_address(&self) -> Option<IpAddr> {
        self.is_verified.then_some(self.apparent)
    }
}

/// Removes the headers that only a proxy may set, where certainly no proxy has set them.
pub(crate) fn forget_forwarded(headers: &mut HeaderMap) {
    for name in [X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO] {
        headers.remove(name);
    }
}

/// The right-most address that is not a trusted proxy. Everything to the left of it cannot be trusted.
fn forwarded_for(headers: &HeaderMap, trust: &Trust) -> Option<IpAddr> {
    let mut nearest = None;
    for entry in entries(headers, &X_FORWARDED_FOR).into_iter().rev() {
        let address = address_of(entry)?;
        nearest = Some(address);
        if !trust.is_proxy(address) {
            break;
        }
    }
    nearest
}

/// `192.0.2.1`, `192.0.2.1:5`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:5`
fn address_of(entry: &str) -> Option<IpAddr> {
    let entry = entry.trim_matches('"');
    let address = entry.parse().or_else(|_| entry.parse::<SocketAddr>().map(|socket| socket.ip()));
    let address = address.or_else(|_| entry.trim_start_matches('[').trim_end_matches(']').parse());
    address.ok().map(|ip: IpAddr| ip.to_canonical())
}

fn host(headers: &HeaderMap, is_proxy: bool, local: SocketAddr, trust: &Trust) -> Host {
    if let Some(host) = &trust.public_host {
        return host.clone();
    }
    let forwarded = if is_proxy { last_entry(headers, &X_FORWARDED_HOST) } else { None };
    let named = forwarded.or_else(|| headers.get(header::HOST)?.to_str().ok());
    named.and_then(Host::parse_authority).map_or_else(|| Host::from(local.ip()), |(host, _)| host)
}

/// The port that the client wrote. It may differ from the listening port, because a router may forward another one.
fn port(headers: &HeaderMap, local: SocketAddr) -> Option<u16> {
    let named = headers.get(header::HOST).and_then(|host| Host::parse_authority(host.to_str().ok()?));
    named.map_or(Some(local.port()), |(_, port)| port)
}

fn last_entry<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    entries(headers, name).pop()
}

/// All entries of a list header, also if it is split over several lines. A line that is not text becomes an invalid
/// entry.
fn entries<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Vec<&'a str> {
    let lines = headers.get_all(name).iter().map(|line| line.to_str().unwrap_or("?"));
    lines.flat_map(|line| line.split(',')).map(str::trim).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "10.0.0.1:5000";

    fn info(peer: &str, headers: &[(&str, &str)]) -> ClientInfo {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        let proxies = ["10.0.0.0/24", "2001:db8::/32"].iter().map(|net| net.parse().unwrap()).collect();
        let trust = Trust { proxies, public_host: None };
        ClientInfo::new(peer.parse().unwrap(), "203.0.113.5:3000".parse().unwrap(), &map, &trust)
    }

    fn verified(peer: &str, forwarded_for: &[&str]) -> Option<String> {
        let headers: Vec<_> = forwarded_for.iter().map(|value| ("x-forwarded-for", *value)).collect();
        info(peer, &headers).verified_address().map(|ip| ip.to_string())
    }

    #[test]
    fn a_direct_clients_address_is_its_own() {
        let direct = info("[::ffff:192.0.2.9]:1", &[("host", "a.example:3000")]);
        assert_eq!(direct.verified_address(), Some("192.0.2.9".parse().unwrap()));
        assert_eq!(direct.host.to_string(), "a.example");
        assert!(!direct.has_unknown_proxy);
    }

    #[test]
    fn the_right_most_untrusted_entry_counts() {
        assert_eq!(verified(PEER, &["192.0.2.1"]).unwrap(), "192.0.2.1");
        assert_eq!(verified(PEER, &["1.1.1.1, 192.0.2.1, 10.0.0.7"]).unwrap(), "192.0.2.1");
        assert_eq!(verified(PEER, &["1.1.1.1", "192.0.2.1:99, 10.0.0.7"]).unwrap(), "192.0.2.1");
        assert_eq!(verified(PEER, &["[2001:db9::1]:443"]).unwrap(), "2001:db9::1");
        assert_eq!(verified(PEER, &["[2001:db9::1]"]).unwrap(), "2001:db9::1");
        assert_eq!(verified(PEER, &["10.0.0.9, 10.0.0.7"]).unwrap(), "10.0.0.9", "a client beside the proxy");
    }

    #[test]
    fn a_proxy_that_does_not_say_for_whom_verifies_nobody() {
        assert_eq!(verified(PEER, &[]), None);
        assert_eq!(verified(PEER, &["unknown"]), None);
        assert_eq!(verified(PEER, &["192.0.2.1, garbage, 10.0.0.7"]), None);
        assert_eq!(verified(PEER, &[""]), None);
    }

    #[test]
    fn marks_of_an_unknown_proxy_unverify() {
        for mark in ["forwarded", "x-forwarded-for", "via"] {
            let info = info("192.0.2.9:1", &[(mark, "1.2.3.4")]);
            assert!(info.has_unknown_proxy, "{mark}");
            assert_eq!(info.verified_address(), None, "{mark}");
            assert_eq!(info.apparent, "192.0.2.9".parse::<IpAddr>().unwrap(), "{mark}: what a stranger claims");
        }
    }

    #[test]
    fn forwarded_host_and_proto_count_from_a_proxy_only() {
        let headers =
            [("host", "inner:1"), ("x-forwarded-host", "evil, a.example:8443"), ("x-forwarded-proto", "https")];
        let from_proxy = info(PEER, &headers);
        assert_eq!((from_proxy.host.to_string().as_str(), from_proxy.is_secure_at_proxy), ("a.example", true));
        let from_stranger = info("192.0.2.9:1", &headers);
        assert_eq!((from_stranger.host.to_string().as_str(), from_stranger.is_secure_at_proxy), ("inner", false));
    }

    #[test]
    fn the_port_is_what_a_direct_client_wrote() {
        let port = |peer, headers: &[_]| info(peer, headers).direct_port;
        assert_eq!(port("192.0.2.9:1", &[("host", "a.example:8443")]), Some(Some(8443)));
        assert_eq!(port("192.0.2.9:1", &[("host", "a.example")]), Some(None));
        assert_eq!(port("192.0.2.9:1", &[("host", "a b")]), Some(Some(3000)), "ours");
        assert_eq!(port("192.0.2.9:1", &[("host", "a.example:8443"), ("via", "1.1 x")]), None);
        assert_eq!(port(PEER, &[("host", "a.example:8443")]), None, "a proxy of HTTP does not pass TURN on");
    }

    #[test]
    fn without_a_valid_host_our_own_address_stands() {
        for value in ["a b", "a/b", "", "::1:3000", "0.0.0.0:3000"] {
            assert_eq!(info(PEER, &[("host", value)]).host.to_string(), "203.0.113.5", "{value:?}");
        }
        assert_eq!(info(PEER, &[("host", "[2001:db8::5]:3000")]).host.to_string(), "[2001:db8::5]");
    }
}
