//! Learns who the client of a connection is, if a proxy that passes on connections announces it first.
//!
//! [`Introductions::hear`] must be called before the first byte is judged. The caller counts headers that are not
//! accepted; the log reports them once for each kind, because strangers can send them.

use std::{
    io,
    net::IpAddr,
    sync::atomic::{AtomicBool, Ordering},
};

use tokio::{net::TcpStream, time::timeout};

use super::{
    proxy_protocol::{self, Ends, Version},
    settings::Timeouts,
};
use crate::values::turned_away::TurnedAway;

/// The answer to a header that was text, because somebody who sets up the proxy may first try it with an HTTP client.
const REFUSAL: &str = "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n";

/// What the beginning of a connection says about its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Introduced {
    /// The connection begins with something else.
    Nothing,
    /// A trusted proxy names no client: the connection is the proxy's own, or from a client that it cannot name.
    Nameless,
    /// A trusted proxy passes on the connection between these ends.
    Client(Ends),
}

/// Remembers what was already logged.
#[derive(Debug, Default)]
pub(super) struct Introductions {
    told_of_untrusted: AtomicBool,
    told_of_bad: AtomicBool,
}

impl Introductions {
    /// Reads the header of a connection that begins with one.
    pub(super) async fn hear(
        &self,
        tcp: &mut TcpStream,
        from: IpAddr,
        is_trusted: bool,
        timeouts: &Timeouts,
    ) -> Result<Introduced, TurnedAway> {
        let begun = timeout(timeouts.first_byte, proxy_protocol::peek_until(tcp, &mut [0], |_| true)).await;
        if !matches!(begun.map_err(|_| TurnedAway::HandshakeTimeout)?, Ok(1..)) {
            // The connection has ended without data: browsers open connections in advance.
            return Ok(Introduced::Nothing);
        }
        let header = async {
            let Ok(Some(version)) = proxy_protocol::announced(tcp).await else {
                return Ok(Introduced::Nothing);
            };
            if !is_trusted {
                self.tell_of_untrusted(from);
                refuse(tcp, version, "a PROXY protocol header counts from a --trusted-proxy only");
                return Err(TurnedAway::UntrustedProxyHeader);
            }
            match proxy_protocol::take_header(tcp, version).await {
                Ok(Some(ends)) => Ok(Introduced::Client(ends)),
                Ok(None) => Ok(Introduced::Nameless),
                Err(error) => {
                    self.tell_of_bad(from, &error);
                    refuse(tcp, version, &error.to_string());
                    Err(TurnedAway::BadProxyHeader)
                }
            }
        };
        timeout(timeouts.handshake, header).await.unwrap_or(Err(TurnedAway::HandshakeTimeout))
    }

    fn tell_of_untrusted(&self, from: IpAddr) {
        if !self.told_of_untrusted.swap(true, Ordering::Relaxed) {
            let from = from.to_canonical();
            tracing::warn!(
                "connections that begin with a PROXY protocol header come from {from}, which is not trusted, and are \
                 refused; if it is your proxy, name it with --trusted-proxy {from}, else its clients stay outside"
            );
        }
    }

    fn tell_of_bad(&self, from: IpAddr, error: &io::Error) {
        if error.kind() == io::ErrorKind::InvalidData && !self.told_of_bad.swap(true, Ordering::Relaxed) {
            let from = from.to_canonical();
            tracing::warn!(
                %error,
                "the trusted proxy {from} began a connection with what cannot be read, and it was refused; let it pass \
                 on TCP connections only, with one header each, of version 1 or 2 of the PROXY protocol"
            );
        }
    }
}

fn refuse(tcp: &TcpStream, version: Version, why: &str) {
    if version == Version::One {
        // Nothing was written before, so the send buffer has room for it.
        let _gone = tcp.try_write(format!("{REFUSAL}{why}\n").as_bytes());
    }
}
