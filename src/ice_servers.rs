//! The iceServers list that a member gets: STUN and TURN URLs with short-lived credentials.
//!
//! The module is pure: it makes the list from secret, user, time, host and transports. The caller, who knows the
//! client's connection, decides which host is in the URLs; [`Host`] only makes sure that it is a valid one.

use std::{net::IpAddr, time::Duration};

use serde::Serialize;

use crate::{
    credentials::{self, Secret, User},
    values::host::Host,
};

/// With the STUN URL, these are four URLs. Firefox complains from five on, and each costs an allocation per peer
/// connection.
const MAX_TURN_URLS: usize = 3;

/// One entry of `RTCConfiguration.iceServers`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IceServer {
    /// The URIs of one server (RFC 7064 and RFC 7065).
    pub urls: Vec<String>,
    /// The TURN username.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The TURN password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

/// The list, and when its credentials expire for new allocations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceServers {
    /// STUN first, then TURN.
    pub servers: Vec<IceServer>,
    /// Unix seconds.
    pub expires_at: u64,
}

/// The ports on which this process serves STUN and TURN. A transport that is not served has no port and gets no URL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transports {
    /// STUN and TURN over UDP.
    pub udp: Option<u16>,
    /// TURN over TCP.
    pub tcp: Option<u16>,
    /// TURN over TLS, on a port of its own.
    pub tls: Option<u16>,
    /// Whether TURN is also served on the ports of WebSockets.
    pub beside_web_sockets: bool,
    /// An address of this host, other than loopback, at which the same is served. Firefox uses no TURN server on
    /// loopback, so a client that reached this server there gets this address as well.
    pub beside_loopback: Option<IpAddr>,
}

/// How a client reached this server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The name or address that it used.
    pub host: Host,
    /// The port that it used, if nothing is in between that would let only HTTP through.
    pub direct: Option<DirectPort>,
}

/// The port of a client's WebSocket, which certainly lets the client through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectPort {
    /// The port as the client knows it.
    pub port: u16,
    /// Whether it uses TLS.
    pub is_tls: bool,
}

impl From<Host> for Reached {
    fn from(host: Host) -> Self {
        Self { host, direct: None }
    }
}

impl DirectPort {
    /// Chromium ignores TURN servers on other ports below 1024.
    fn is_usable(self) -> bool {
        self.port >= 1024 || [53, 80, 443].contains(&self.port)
    }
}

/// What is needed to issue iceServers while the process runs.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// The secret that mints. For members it comes from [`credentials::MemberKey`].
    pub secret: Secret,
    /// How long credentials may be used to allocate.
    pub ttl: Duration,
    /// The transports that are served, and their ports.
    pub transports: Transports,
}

impl Issuer {
    /// The list for `user`, who reached this server by `reached`, at `now` (Unix seconds).
    pub fn issue(&self, user: &User, now: u64, reached: &Reached) -> IceServers {
        ice_servers(&self.secret, user, now, self.ttl, reached, self.transports)
    }
}

/// Mints credentials for `user` and lists every transport that is served, each under the host that the client used.
pub fn ice_servers(
    secret: &Secret,
    user: &User,
    now: u64,
    ttl: Duration,
    reached: &Reached,
    transports: Transports,
) -> IceServers {
    let credential = credentials::mint(secret, user, now.saturating_add(ttl.as_secs()));
    let stun = Vec::from_iter(transports.udp.map(|port| format!("stun:{}:{port}", reached.host)));
    let turn = turn_urls(reached, transports);
    let mut servers = Vec::new();
    if !stun.is_empty() {
        servers.push(IceServer { urls: stun, username: None, credential: None });
    }
    if !turn.is_empty() {
        let (username, password) = (credential.username, credential.password);
        servers.push(IceServer { urls: turn, username: Some(username), credential: Some(password) });
    }
    IceServers { servers, expires_at: credential.expires_at }
}

/// At most [`MAX_TURN_URLS`], the fastest transport first. Among the stream transports, the port of the client's
/// WebSocket is the one that certainly lets the client through. Other ports are listed in addition, or instead if TURN
/// is not served at that port.
fn turn_urls(Reached { host, direct }: &Reached, transports: Transports) -> Vec<String> {
    let udp = |host: &Host| transports.udp.map(|port| format!("turn:{host}:{port}?transport=udp"));
    let beside_loopback = transports.beside_loopback.filter(|_| host.is_loopback()).map(Host::from);
    let direct = direct.filter(|direct| transports.beside_web_sockets && direct.is_usable());
    let over_tls = match direct {
        Some(DirectPort { port, is_tls: true }) => Some(port),
        _ => transports.tls,
    };
    let over_tcp = match direct {
        Some(DirectPort { port, is_tls: false }) => Some(port),
        _ => transports.tcp,
    };
    let over_tls = over_tls.map(|port| format!("turns:{host}:{port}?transport=tcp"));
    let over_tcp = over_tcp.map(|port| format!("turn:{host}:{port}?transport=tcp"));
    let mut urls = Vec::from_iter(udp(host));
    urls.extend(beside_loopback.as_ref().and_then(udp));
    // If there is not room for all, the transport that gets through the most firewalls comes first.
    let room = MAX_TURN_URLS - urls.len();
    let (both, either) = ([&over_tcp, &over_tls], [over_tls.as_ref().or(over_tcp.as_ref())]);
    let streams = if room >= both.len() { &both.map(Option::as_ref)[..] } else { &either[..] };
    urls.extend(streams.iter().copied().flatten().cloned());
    urls
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::values::member::MemberId;

    fn issuer(udp: Option<u16>) -> Issuer {
        Issuer {
            secret: Secret::new(*b"s3cret"),
            ttl: Duration::from_secs(600),
            transports: Transports { udp, ..Transports::default() },
        }
    }

    fn reached(host: &str, direct: Option<DirectPort>) -> Reached {
        Reached { host: Host::parse(host).unwrap(), direct }
    }

    /// The TURN URLs for a client at `host`, shortened by the name of the host.
    fn urls(transports: Transports, host: &str, direct: Option<(u16, bool)>) -> String {
        let direct = direct.map(|(port, is_tls)| DirectPort { port, is_tls });
        let urls = turn_urls(&reached(host, direct), transports);
        assert!(urls.len() <= MAX_TURN_URLS);
        urls.join(" ").replace(&format!(":{host}:"), ":").replace("?transport=", "/")
    }

    const EVERYTHING: Transports = Transports {
        udp: Some(3478),
        tcp: Some(3478),
        tls: Some(5349),
        beside_web_sockets: true,
        beside_loopback: Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2))),
    };

    #[test]
    fn streams_go_by_the_port_that_let_the_client_through() {
        let with_tls = |direct| urls(EVERYTHING, "a.example", direct);
        assert_eq!(with_tls(Some((443, true))), "turn:3478/udp turn:3478/tcp turns:443/tcp");
        assert_eq!(with_tls(Some((3000, true))), "turn:3478/udp turn:3478/tcp turns:3000/tcp");
        assert_eq!(with_tls(None), "turn:3478/udp turn:3478/tcp turns:5349/tcp", "behind a proxy");
        assert_eq!(with_tls(Some((444, true))), "turn:3478/udp turn:3478/tcp turns:5349/tcp", "not for Chromium");
        let without = |direct| urls(Transports { tls: None, ..EVERYTHING }, "a.example", direct);
        assert_eq!(without(Some((3000, false))), "turn:3478/udp turn:3000/tcp");
        assert_eq!(without(Some((80, false))), "turn:3478/udp turn:80/tcp");
        assert_eq!(without(Some((81, false))), "turn:3478/udp turn:3478/tcp");
        assert_eq!(without(None), "turn:3478/udp turn:3478/tcp");
        let elsewhere = Transports { beside_web_sockets: false, tls: None, ..EVERYTHING };
        assert_eq!(urls(elsewhere, "a.example", Some((3000, true))), "turn:3478/udp turn:3478/tcp");
    }

    #[test]
    fn what_gets_through_most_has_the_last_place() {
        let on_loopback = |direct| urls(EVERYTHING, "localhost", direct).replace("192.0.2.2:", "");
        assert_eq!(on_loopback(Some((3000, true))), "turn:3478/udp turn:3478/udp turns:3000/tcp");
        let without = Transports { tls: None, ..EVERYTHING };
        let urls = urls(without, "localhost", Some((3000, false)));
        assert_eq!(urls, "turn:3478/udp turn:192.0.2.2:3478/udp turn:3000/tcp");
    }

    #[test]
    fn one_stun_and_one_turn_entry() {
        let member = User::Member(MemberId::from_bits(5));
        let list = issuer(Some(3478)).issue(&member, 1000, &reached("2001:DB8::1", None));
        assert_eq!(list.expires_at, 1600);
        let username = "1600:m-00000000000000000000000000000005";
        let password = credentials::password(&Secret::new(*b"s3cret"), username);
        let expected = serde_json::json!([
            {"urls": ["stun:[2001:db8::1]:3478"]},
            {"urls": ["turn:[2001:db8::1]:3478?transport=udp"], "username": username, "credential": password},
        ]);
        assert_eq!(serde_json::to_value(&list.servers).unwrap(), expected);
    }

    #[test]
    fn who_came_by_loopback_is_told_a_real_address_too() {
        let mut issuer = issuer(Some(3478));
        issuer.transports.beside_loopback = Some(IpAddr::from([192, 0, 2, 2]));
        let turn_urls = |host: &str| {
            let list = issuer.issue(&User::api("").unwrap(), 1, &reached(host, None));
            list.servers[1].urls.clone()
        };
        for host in ["localhost", "a.localhost", "127.0.0.1", "127.1.2.3", "[::1]"] {
            let expected = [&format!("turn:{host}:3478?transport=udp"), "turn:192.0.2.2:3478?transport=udp"];
            assert_eq!(turn_urls(host), expected);
        }
        for host in ["localhost.example", "notlocalhost", "192.0.2.2", "[2001:db8::1]"] {
            assert_eq!(turn_urls(host), [format!("turn:{host}:3478?transport=udp")]);
        }
    }

    #[test]
    fn what_is_not_served_is_not_listed() {
        let list = issuer(None).issue(&User::api("").unwrap(), 1, &reached("a.example", None));
        assert_eq!(list.servers, []);
    }

    #[test]
    fn an_endless_ttl_does_not_overflow() {
        let issuer = Issuer { ttl: Duration::MAX, ..issuer(Some(1)) };
        assert_eq!(issuer.issue(&User::api("").unwrap(), 7, &reached("a", None)).expires_at, u64::MAX);
    }
}
