//! The PROXY protocol, versions 1 and 2, by which a proxy announces the client of each connection that it passes on.
//! The `ppp` crate parses it.
//!
//! Such a proxy (HAProxy `send-proxy-v2`, nginx `proxy_protocol` of its stream module) knows nothing of HTTP, so it
//! cannot add headers; it works for TURN over TCP and TLS as well. Whether the proxy is trusted is decided elsewhere.
//!
//! A header of version 1 begins with letters, as requests do, and one of version 2 with line ends, which may precede a
//! request (RFC 9112 section 2.2), so only the whole prefix identifies a header.

use std::{io, net::SocketAddr};

use ppp::{v1, v2};
use rustix::net::{RecvFlags, recv};
use tokio::{
    io::{AsyncReadExt, Interest},
    net::TcpStream,
};

/// The beginning of version 1, with the space: `PROXY` alone could be the beginning of another word.
const PREFIX_OF_1: &[u8] = b"PROXY ";

/// The longest line of version 1, with its line end.
const LONGEST_LINE: usize = 107;

const LINE_END: &[u8] = b"\r\n";

/// Signature, version and command, family, length.
const FIXED_LEN: usize = 16;

/// The longest rest of a header: addresses and other things that proxies add (names of certificates, for example).
const LONGEST_REST: usize = 4096;

/// Both ends of a connection as the proxy sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The client.
    pub client: SocketAddr,
    /// The address that the client connected to.
    pub server: SocketAddr,
}

/// The header is broken, or useless here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no PROXY protocol header of version 1 or 2 for a TCP connection")]
pub struct BadHeader;

/// The version of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// A line of text.
    One,
    /// A binary header.
    Two,
}

impl Version {
    const ALL: [Self; 2] = [Self::One, Self::Two];

    fn prefix(self) -> &'static [u8] {
        match self {
            Self::One => PREFIX_OF_1,
            Self::Two => v2::PROTOCOL_PREFIX,
        }
    }

    fn of(said: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|version| said.starts_with(version.prefix()))
    }

    /// Whether the bytes so far can still become a header when more arrive.
    fn is_possible(said: &[u8]) -> bool {
        Self::ALL.iter().any(|version| version.prefix().starts_with(said))
    }
}

/// Reads a whole header. `None` if the proxy names no client: the connection is the proxy's own (a health check), or of
/// a kind that a header cannot describe.
///
/// # Errors
/// [`BadHeader`], also if the ends are not IP addresses or the connection is not TCP.
pub fn parse(header: &[u8]) -> Result<Option<Ends>, BadHeader> {
    let ends = match Version::of(header) {
        Some(Version::One) => parse_line(header)?,
        Some(Version::Two) => parse_bytes(header)?,
        None => return Err(BadHeader),
    };
    let Some((client, server)) = ends else { return Ok(None) };
    // A proxy that listens for both families on one socket writes IPv4 addresses as IPv6.
    let canonical = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
    let (client, server) = (canonical(client), canonical(server));
    if client.ip().is_unspecified() || client.ip().is_multicast() {
        return Err(BadHeader);
    }
    Ok(Some(Ends { client, server }))
}

fn parse_line(line: &[u8]) -> Result<Option<(SocketAddr, SocketAddr)>, BadHeader> {
    let text = line.strip_suffix(LINE_END).filter(|_| line.len() <= LONGEST_LINE).ok_or(BadHeader)?;
    // Everything after this word is ignored.
    if text.strip_prefix(b"PROXY UNKNOWN").is_some_and(|rest| rest.is_empty() || rest[0] == b' ') {
        return Ok(None);
    }
    // `ppp` accepts a sign before a port as a part of the number.
    if text.iter().any(|byte| *byte == b'+' || byte.is_ascii_control()) {
        return Err(BadHeader);
    }
    match v1::Header::try_from(line).map_err(|_| BadHeader)?.addresses {
        v1::Addresses::Tcp4(ends) => Ok(Some((
            (ends.source_address, ends.source_port).into(),
            (ends.destination_address, ends.destination_port).into(),
        ))),
        v1::Addresses::Tcp6(ends) => Ok(Some((
            (ends.source_address, ends.source_port).into(),
            (ends.destination_address, ends.destination_port).into(),
        ))),
        v1::Addresses::Unknown => Err(BadHeader),
    }
}

fn parse_bytes(header: &[u8]) -> Result<Option<(SocketAddr, SocketAddr)>, BadHeader> {
    let header = v2::Header::try_from(header).map_err(|_| BadHeader)?;
    if header.command == v2::Command::Local {
        return Ok(None);
    }
    if header.protocol != v2::Protocol::Stream {
        return Err(BadHeader);
    }
    match header.addresses {
        v2::Addresses::IPv4(ends) => Ok(Some((
            (ends.source_address, ends.source_port).into(),
            (ends.destination_address, ends.destination_port).into(),
        ))),
        v2::Addresses::IPv6(ends) => Ok(Some((
            (ends.source_address, ends.source_port).into(),
            (ends.destination_address, ends.destination_port).into(),
        ))),
        v2::Addresses::Unspecified | v2::Addresses::Unix(_) => Err(BadHeader),
    }
}

/// Which version of a header the connection begins with, if any. Consumes nothing.
///
/// # Errors
/// If the connection breaks.
pub(crate) async fn announced(tcp: &TcpStream) -> io::Result<Option<Version>> {
    let mut beginning = [0; v2::PROTOCOL_PREFIX.len()];
    let is_enough = |said: &[u8]| Version::of(said).is_some() || !Version::is_possible(said);
    let seen = peek_until(tcp, &mut beginning, is_enough).await?;
    Ok(Version::of(&beginning[..seen]))
}

/// Reads the header that was [`announced`] from the connection, and not a byte more.
///
/// # Errors
/// If the connection breaks, or with [`BadHeader`].
pub(crate) async fn take_header(tcp: &mut TcpStream, version: Version) -> io::Result<Option<Ends>> {
    let bad = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let len = match version {
        Version::One => {
            let mut line = [0; LONGEST_LINE];
            let end_of_line = |said: &[u8]| said.iter().position(|byte| *byte == b'\n');
            let seen = peek_until(tcp, &mut line, |said| end_of_line(said).is_some()).await?;
            end_of_line(&line[..seen]).ok_or_else(|| bad(BadHeader))? + 1
        }
        Version::Two => {
            let mut fixed = [0; FIXED_LEN];
            if peek_until(tcp, &mut fixed, |_| false).await? < FIXED_LEN {
                return Err(bad(BadHeader));
            }
            let rest = usize::from(u16::from_be_bytes([fixed[FIXED_LEN - 2], fixed[FIXED_LEN - 1]]));
            if rest > LONGEST_REST {
                return Err(bad(BadHeader));
            }
            FIXED_LEN + rest
        }
    };
    let mut header = vec![0; len];
    tcp.read_exact(&mut header).await?;
    parse(&header).map_err(bad)
}

/// Looks at the received bytes without consuming them, until they are enough, `buf` is full, or no more will come.
pub(crate) async fn peek_until(
    tcp: &TcpStream,
    buf: &mut [u8],
    is_enough: impl Fn(&[u8]) -> bool,
) -> io::Result<usize> {
    loop {
        let ready = tcp.ready(Interest::READABLE).await?;
        let seen = tcp.try_io(Interest::READABLE, || {
            let (_, seen) = recv(tcp, &mut *buf, RecvFlags::PEEK)?;
            let is_all = seen == 0 || seen == buf.len() || ready.is_read_closed();
            // With this error, the runtime wakes the task when more bytes arrive.
            if is_all || is_enough(&buf[..seen]) { Ok(seen) } else { Err(io::ErrorKind::WouldBlock.into()) }
        });
        match seen {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(version_command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = (rest.len() as u16).to_be_bytes();
        [v2::PROTOCOL_PREFIX, &[version_command, family], &len, rest].concat()
    }

    const V4: [u8; 12] = [192, 0, 2, 1, 203, 0, 113, 5, 0x04, 0xD2, 0x01, 0xBB];

    #[test]
    fn both_ends_are_read_whatever_else_is_said() {
        let ends = Ends { client: "192.0.2.1:1234".parse().unwrap(), server: "203.0.113.5:443".parse().unwrap() };
        assert_eq!(parse(&header(0x21, 0x11, &V4)), Ok(Some(ends)));
        let with_more = [&V4[..], &[0x01, 0, 2, b'h', b'2']].concat();
        assert_eq!(parse(&header(0x21, 0x11, &with_more)), Ok(Some(ends)));
        let mut v6 = [0; 36];
        (v6[15], v6[31], v6[33], v6[35]) = (1, 2, 3, 4);
        let ends = Ends { client: "[::1]:3".parse().unwrap(), server: "[::2]:4".parse().unwrap() };
        assert_eq!(parse(&header(0x21, 0x21, &v6)), Ok(Some(ends)));
    }

    #[test]
    fn the_proxys_own_connections_have_no_client() {
        assert_eq!(parse(&header(0x20, 0x00, &[])), Ok(None));
        assert_eq!(parse(&header(0x20, 0x11, &V4)), Ok(None));
    }

    #[test]
    fn what_is_broken_or_of_no_use_is_refused() {
        let whole = header(0x21, 0x11, &V4);
        for len in 0..whole.len() {
            assert_eq!(parse(&whole[..len]), Err(BadHeader), "{len}");
        }
        for (version_command, family, rest) in [
            (0x11, 0x11, &V4[..]),
            (0x22, 0x11, &V4),
            (0x21, 0x00, &[]),
            (0x21, 0x31, &[0; 216]),
            (0x21, 0x10, &V4),
            (0x21, 0x12, &V4),
            (0x21, 0x11, &V4[..11]),
            (0x21, 0x21, &V4),
        ] {
            assert_eq!(parse(&header(version_command, family, rest)), Err(BadHeader), "{version_command:x} {family:x}");
        }
    }

    #[test]
    fn a_line_of_text_says_the_same() {
        let ends = |client: &str, server: &str| {
            Ok(Some(Ends { client: client.parse().unwrap(), server: server.parse().unwrap() }))
        };
        for (line, expected) in [
            ("PROXY TCP4 192.0.2.1 203.0.113.5 1234 443", ends("192.0.2.1:1234", "203.0.113.5:443")),
            ("PROXY TCP4 255.255.255.255 203.0.113.5 65535 0", ends("255.255.255.255:65535", "203.0.113.5:0")),
            ("PROXY TCP6 2001:db8::1 2001:DB8::2 3 4", ends("[2001:db8::1]:3", "[2001:db8::2]:4")),
            ("PROXY TCP6 ::ffff:192.0.2.1 ::ffff:203.0.113.5 3 4", ends("192.0.2.1:3", "203.0.113.5:4")),
            ("PROXY UNKNOWN", Ok(None)),
            ("PROXY UNKNOWN ", Ok(None)),
            ("PROXY UNKNOWN 192.0.2.1 203.0.113.5 1234 443 and more than that", Ok(None)),
        ] {
            assert_eq!(parse(format!("{line}\r\n").as_bytes()), expected, "{line}");
        }
        let longest = "PROXY TCP6 ".to_owned()
            + "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe 65535 65535\r\n";
        assert!(parse(longest.as_bytes()).is_err(), "multicast: {}", longest.len());
        assert!(parse(longest.replacen("ffff", "2001", 1).as_bytes()).is_ok());
        for pad in [LONGEST_LINE, LONGEST_LINE + 1] {
            let line = format!("{:<width$}\r\n", "PROXY UNKNOWN", width = pad - 2);
            assert_eq!(parse(line.as_bytes()).is_ok(), pad == LONGEST_LINE, "{pad}");
        }
    }

    #[test]
    fn a_line_that_is_broken_or_lies_is_refused() {
        for line in [
            "PROXY \r\n",
            "PROXY TCP4\r\n",
            "PROXY TCP5 192.0.2.1 203.0.113.5 1234 443\r\n",
            "PROXY UDP4 192.0.2.1 203.0.113.5 1234 443\r\n",
            "PROXY UNKNOWNS\r\n",
            "PROXY TCP4 192.0.2.1 203.0.113.5 1234 443",
            "PROXY TCP4 192.0.2.1 203.0.113.5 1234 443\n",
            "PROXY TCP4 192.0.2.1 203.0.113.5 1234 443\r",
            "PROXY TCP4 192.0.2.1 203.0.113.5 1234 443 \r\n",
            "PROXY TCP4 192.0.2.1 203.0.113.5 1234 443\r\r\n",
            "PROXY TCP4 192.0.2.1 203.0.113.5 1234 443\r\nG",
            "PROXY TCP4 192.0.2.1 203.0.113.5 1234\r\n",
            "PROXY TCP4 192.0.2.1 203.0.113.5 1234 443 5\r\n",
            "PROXY TCP4  192.0.2.1 203.0.113.5 1234 443\r\n",
            "PROXY TCP4 192.0.2.256 203.0.113.5 1234 443\r\n",
            "PROXY TCP4 192.0.2.1 203.0.113.5 65536 443\r\n",
            "PROXY TCP4 192.0.2.1 203.0.113.5 -1 443\r\n",
            "PROXY TCP4 192.0.2.1 203.0.113.5 +1 443\r\n",
            "PROXY TCP4 192.0.2.1 203.0.113.5 01 443\r\n",
            "PROXY TCP4 192.0.2.1 203.0.113.5 x 443\r\n",
            "PROXY TCP4 2001:db8::1 2001:db8::2 1234 443\r\n",
            "PROXY TCP6 192.0.2.1 203.0.113.5 1234 443\r\n",
            "PROXY TCP6 fe80::1%eth0 fe80::2 1234 443\r\n",
            "PROXY TCP4 0.0.0.0 203.0.113.5 1234 443\r\n",
            "PROXY TCP4 224.0.0.1 203.0.113.5 1234 443\r\n",
            "PROXY TCP6 :: 2001:db8::2 1234 443\r\n",
            "PROXY TCP4 name.example 203.0.113.5 1234 443\r\n",
            "PROXY TCP4 192.0.2.1\0 203.0.113.5 1234 443\r\n",
            "PROXY TCP4 192.0.2.\u{661} 203.0.113.5 1234 443\r\n",
            "proxy TCP4 192.0.2.1 203.0.113.5 1234 443\r\n",
        ] {
            assert_eq!(parse(line.as_bytes()), Err(BadHeader), "{line:?}");
        }
        assert_eq!(parse(b"PROXY TCP4 192.0.2.1 203.0.113.5 1234 \xff\r\n"), Err(BadHeader));
        let of_nobody = [&[0; 4][..], &V4[4..]].concat();
        assert_eq!(parse(&header(0x21, 0x11, &of_nobody)), Err(BadHeader));
    }

    #[test]
    fn only_the_whole_prefix_makes_a_header() {
        for request in ["P", "PO", "PR", "PRO", "PROP", "PROXY", "PROXY /", "PROXYS ", "\r\nGET", "\r\n\r\nGET", "GET"]
        {
            let possible = Version::ALL.iter().any(|version| version.prefix().starts_with(request.as_bytes()));
            assert_eq!(Version::is_possible(request.as_bytes()), possible);
            assert_eq!(Version::of(request.as_bytes()).is_some(), request == "PROXY /", "{request}");
        }
    }
}
