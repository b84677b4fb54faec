//! What a trusted proxy that passes connections on says of each: the PROXY protocol, version 2, by the `ppp` crate.
//!
//! Such a proxy (HAProxy `send-proxy-v2`, nginx `proxy_protocol` of its stream module) knows nothing of HTTP, so it cannot
//! add headers; it works for TURN over TCP and TLS as well. Version 1 begins like a request line and is not taken.

use std::{io, net::SocketAddr};

use ppp::v2::{Addresses, Command, Header, PROTOCOL_PREFIX, Protocol};
use tokio::{io::AsyncReadExt, net::TcpStream};

/// The first byte of a header, which begins nothing else that is spoken here.
pub(crate) const FIRST_BYTE: u8 = PROTOCOL_PREFIX[0];

/// Signature, version and command, family, length.
const FIXED_LEN: usize = 16;

/// Longest rest of a header: addresses and what else proxies add (names of certificates, for example).
const LONGEST_REST: usize = 4096;

/// Both ends of a connection as the proxy sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The client.
    pub client: SocketAddr,
    /// The address that the client connected to.
    pub server: SocketAddr,
}

/// The header is broken, or says nothing that is of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no PROXY protocol header of version 2")]
pub struct BadHeader;

/// Reads a whole header. `None` for a connection that is the proxy's own (a health check).
///
/// # Errors
/// [`BadHeader`], also for ends that are no IP addresses, and for what is no TCP connection.
pub fn parse(header: &[u8]) -> Result<Option<Ends>, BadHeader> {
    let header = Header::try_from(header).map_err(|_| BadHeader)?;
    if header.command == Command::Local {
        return Ok(None);
    }
    if header.protocol != Protocol::Stream {
        return Err(BadHeader);
    }
    match header.addresses {
        Addresses::IPv4(ends) => Ok(Some(Ends {
            client: (ends.source_address, ends.source_port).into(),
            server: (ends.destination_address, ends.destination_port).into(),
        })),
        Addresses::IPv6(ends) => Ok(Some(Ends {
            client: (ends.source_address, ends.source_port).into(),
            server: (ends.destination_address, ends.destination_port).into(),
        })),
        Addresses::Unspecified | Addresses::Unix(_) => Err(BadHeader),
    }
}

/// Takes a header off the front of a connection, and not a byte more.
///
/// # Errors
/// If the connection breaks, or with [`BadHeader`].
pub(crate) async fn take_header(tcp: &mut TcpStream) -> io::Result<Option<Ends>> {
    let bad = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let mut header = vec![0; FIXED_LEN];
    tcp.read_exact(&mut header).await?;
    let rest = usize::from(u16::from_be_bytes([header[FIXED_LEN - 2], header[FIXED_LEN - 1]]));
    if rest > LONGEST_REST || !header.starts_with(PROTOCOL_PREFIX) {
        return Err(bad(BadHeader));
    }
    header.resize(FIXED_LEN + rest, 0);
    tcp.read_exact(&mut header[FIXED_LEN..]).await?;
    parse(&header).map_err(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(version_command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = (rest.len() as u16).to_be_bytes();
        [PROTOCOL_PREFIX, &[version_command, family], &len, rest].concat()
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
}
