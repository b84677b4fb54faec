//! Who a client is and what it speaks, derived from its first byte, its address, the headers of its request, and its
//! query.
//!
//! The first byte of the input is that of a connection; the second says from where it comes and whether the host is
//! configured. Then lines follow: a byte that names a header, and its value. A line that names no header is a query.
//! After the first byte of the PROXY protocol, the rest of its header follows instead, after the signature.

use std::net::{IpAddr, SocketAddr};

use bimcc_rtc::{
    front::{
        Protocol,
        proxy_protocol::{self, Ends},
    },
    http::arrival::{ClientInfo, Trust, room_in_query},
    values::host::Host,
};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use ipnet::IpNet;

const HEADERS: [&str; 6] = ["host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "forwarded", "via"];
const MARKS: [&str; 3] = ["x-forwarded-for", "forwarded", "via"];
const PROXY_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const LONGEST_ROOM: usize = 128;

pub fn run(input: &[u8]) {
    let Some(([first, how], lines)) = input.split_first_chunk() else {
        return;
    };
    speaks(*first);
    if *first == PROXY_SIGNATURE[0] {
        return says_for_whom(lines, how & 0x40 != 0);
    }
    let mut headers = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n') {
        let Some((choice, value)) = line.split_first() else {
            continue;
        };
        match HEADERS.get(usize::from(*choice) % (HEADERS.len() + 1)) {
            Some(name) => {
                if let Ok(value) = HeaderValue::from_bytes(value) {
                    headers.append(HeaderName::from_static(name), value);
                }
            }
            None => asks_for_room(value),
        }
    }
    comes_from(peer(*how), how & 0x80 != 0, &headers);
}

fn speaks(first: u8) {
    let expected = match first {
        0x00..=0x03 => Some(Protocol::Stun),
        0x16 => Some(Protocol::Tls),
        _ if first.is_ascii_alphabetic() => Some(Protocol::Http),
        // Other first bytes do not look like one of these.
        _ => None,
    };
    let found = Protocol::of(first);
    let known = [Protocol::Stun, Protocol::Tls, Protocol::Http];
    assert!(found == expected || (expected.is_none() && found.is_none_or(|found| !known.contains(&found))));
}

/// A header of the PROXY protocol, whose length may be corrected.
fn says_for_whom(rest: &[u8], is_mended: bool) {
    let mut header = [PROXY_SIGNATURE, rest].concat();
    let len = (header.len().saturating_sub(16) as u16).to_be_bytes();
    if let Some(announced) = header.get_mut(14..16).filter(|_| is_mended) {
        announced.copy_from_slice(&len);
    }
    let parsed = proxy_protocol::parse(&header);
    let ends = ends(&header);
    match parsed {
        Ok(Some(found)) => assert_eq!(Some(found), ends),
        Ok(None) => assert_eq!(header[12] & 0x0F, 0, "a client's connection was taken for the proxy's own"),
        // Types and lengths of what follows the addresses may be wrong, too.
        Err(_) => assert!(ends.is_none() || header.len() > 16 + 36, "a good header was refused"),
    }
}

/// Both ends as the header has them, if it is for a connection over TCP.
fn ends(header: &[u8]) -> Option<Ends> {
    let [version_command, family, high, low] = *header.get(12..)?.first_chunk()?;
    let body = header.get(16..16 + usize::from(u16::from_be_bytes([high, low])))?;
    let ip_len = match family {
        0x11 => 4,
        0x21 => 16,
        _ => return None,
    };
    let (ips, ports) = body.get(..2 * ip_len + 4)?.split_at(2 * ip_len);
    let end = |index: usize| {
        let ip = &ips[index * ip_len..][..ip_len];
        let port = u16::from_be_bytes([ports[2 * index], ports[2 * index + 1]]);
        let v4 = <[u8; 4]>::try_from(ip).map(IpAddr::from);
        let ip = v4.or_else(|_| <[u8; 16]>::try_from(ip).map(IpAddr::from)).ok()?;
        Some(SocketAddr::new(ip.to_canonical(), port))
    };
    let is_somebody = |client: &SocketAddr| !client.ip().is_unspecified() && !client.ip().is_multicast();
    (version_command == 0x21).then_some(Ends { client: end(0).filter(is_somebody)?, server: end(1)? })
}

fn asks_for_room(query: &[u8]) {
    let Ok(query) = str::from_utf8(query) else {
        return;
    };
    if let Some(room) = room_in_query(Some(query)) {
        assert!(!room.is_empty() && room.len() <= query.len() * 3);
        // The name is cut, but it is still too long.
        assert!(room.len() <= LONGEST_ROOM + 4, "{} bytes are kept", room.len());
        assert!(query.split('&').any(|pair| pair.starts_with("room=")));
    }
}

/// Proxies first.
fn peer(how: u8) -> SocketAddr {
    let ip: [&str; 8] = [
        "10.0.0.1",
        "2001:db8::1",
        "::ffff:10.0.0.7",
        "10.0.0.7",
        "192.0.2.9",
        "::ffff:192.0.2.9",
        "2001:db9::7",
        "127.0.0.1",
    ];
    SocketAddr::new(ip[usize::from(how) % ip.len()].parse().unwrap(), 5000)
}

fn trusted() -> [IpNet; 2] {
    ["10.0.0.0/24", "2001:db8::/32"].map(|net| net.parse().unwrap())
}

fn is_trusted(ip: IpAddr) -> bool {
    trusted().iter().any(|net| net.contains(&ip.to_canonical()))
}

fn comes_from(peer: SocketAddr, has_public_host: bool, headers: &HeaderMap) {
    let local = SocketAddr::from(([203, 0, 113, 5], 3000));
    let public_host = has_public_host.then(|| Host::parse("rtc.example").unwrap());
    let trust = Trust { proxies: trusted().into(), public_host: public_host.clone() };
    let info = ClientInfo::new(peer, local, headers, &trust);

    let is_proxy = is_trusted(peer.ip());
    let is_marked = MARKS.iter().any(|mark| headers.contains_key(*mark));
    let claimed = if is_proxy { claimed(headers) } else { None };
    assert_eq!(info.apparent, claimed.unwrap_or(peer.ip().to_canonical()));
    assert_eq!(info.is_verified, if is_proxy { claimed.is_some() } else { !is_marked });
    assert_eq!(info.verified_address(), info.is_verified.then_some(info.apparent));
    assert_eq!(info.has_unknown_proxy, !is_proxy && is_marked);
    assert_eq!(info.direct_port.is_some(), !is_proxy && !is_marked);
    assert!(is_proxy || !info.is_secure_at_proxy, "only a proxy's word counts");

    if let Some(host) = public_host {
        assert_eq!(info.host, host);
    }
    // The host is used in URLs.
    let host = info.host.to_string();
    let is_harmless = |c: char| c.is_ascii_alphanumeric() || "-_.[:]".contains(c);
    assert!(!host.is_empty() && host.chars().all(is_harmless), "{host:?}");
    assert_eq!(Host::parse_authority(&host), Some((info.host.clone(), None)));
    assert_eq!(Host::parse_authority(&format!("{host}:443")), Some((info.host.clone(), Some(443))));
    let named = [header::HOST.as_str(), "x-forwarded-host"];
    let is_named = |name: &&str| headers.get_all(*name).iter().any(|value| mentions(value, &host));
    let may_name = if is_proxy { &named[..] } else { &named[..1] };
    assert!(has_public_host || info.host == Host::from(local.ip()) || may_name.iter().any(is_named), "{host:?}");
}

/// Whether a header's value names this host, in any form.
fn mentions(value: &HeaderValue, host: &str) -> bool {
    let Ok(value) = value.to_str() else {
        return false;
    };
    let is_it = |entry: &str| Host::parse_authority(entry.trim()).is_some_and(|(named, _)| named.to_string() == host);
    value.split(',').any(is_it)
}

/// The client that a trusted proxy speaks for: the nearest address that is not a proxy, if all entries in between can
/// be read.
fn claimed(headers: &HeaderMap) -> Option<IpAddr> {
    let mut chain = Vec::new();
    for value in headers.get_all("x-forwarded-for") {
        chain.extend(value.to_str().unwrap_or("not text").split(',').map(address));
    }
    let behind_proxies = chain.iter().rposition(|hop| !hop.is_some_and(is_trusted));
    match behind_proxies {
        Some(index) => chain[index],
        None => *chain.first()?,
    }
}

/// The address in an entry, whether or not there are quotes, brackets, a port, or a zone by number.
fn address(entry: &str) -> Option<IpAddr> {
    let entry = entry.trim().trim_matches('"');
    let bare = |text: &str| text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
    let with_port = || {
        let (host, port) = entry.rsplit_once(':')?;
        let is_number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        let is_port = port.parse::<u16>().is_ok() && is_number(port);
        let ip = match host.strip_prefix('[') {
            Some(v6) => {
                let v6 = v6.strip_suffix(']')?;
                let (ip, zone) = v6.split_once('%').unwrap_or((v6, "0"));
                zone.parse::<u32>().ok().filter(|_| is_number(zone))?;
                ip.parse::<std::net::Ipv6Addr>().ok()?.into()
            }
            None => host.parse::<std::net::Ipv4Addr>().ok()?.into(),
        };
        is_port.then_some(ip)
    };
    bare(entry).or_else(with_port).map(|ip| ip.to_canonical())
}
