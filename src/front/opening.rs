//! The beginning of a connection: its first byte, the TLS handshake, and the first byte within TLS.

use std::io;

use tokio::{net::TcpStream, time::timeout};

use super::{
    settings::Timeouts,
    stream::{Protocol, Stream},
};
use crate::{tls::TlsAcceptor, values::turned_away::TurnedAway};

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    All,
    Turn,
    Turns,
}

impl Speaks {
    fn allows(self, protocol: Protocol, is_within_tls: bool) -> bool {
        match protocol {
            Protocol::Tls => !is_within_tls,
            Protocol::Stun => is_within_tls || self != Self::Turns,
            Protocol::Http => self == Self::All,
        }
    }
}

/// A connection whose protocol is known.
pub(super) enum Opened {
    Http(Stream),
    Turn(Stream),
}

/// A connection that cannot be served.
pub(super) struct Unopened {
    /// `None` if there is no fault: browsers open connections in advance and may not use them.
    pub(super) why: Option<TurnedAway>,
    /// The stream, if it must still be closed in order.
    pub(super) stream: Option<Stream>,
}

impl Unopened {
    fn new(why: TurnedAway, stream: Stream) -> Self {
        Self { why: Some(why), stream: Some(stream) }
    }
}

/// What is needed to open a connection.
pub(super) struct Opening<'a> {
    pub(super) speaks: Speaks,
    pub(super) serves_turn: bool,
    pub(super) tls: Option<&'a TlsAcceptor>,
    pub(super) timeouts: &'a Timeouts,
}

impl Opening<'_> {
    /// Decides by the first byte which protocol the connection speaks, and does the TLS handshake if it is TLS.
    pub(super) async fn open(&self, tcp: TcpStream) -> Result<Opened, Unopened> {
        let (stream, protocol) = self.protocol(Stream::Plain(tcp), false).await?;
        match (protocol, stream, self.tls) {
            (Protocol::Tls, Stream::Plain(tcp), Some(acceptor)) => {
                let (stream, protocol) = self.protocol(self.handshake(acceptor, tcp).await?, true).await?;
                self.opened(protocol, stream)
            }
            (protocol, stream, _) => self.opened(protocol, stream),
        }
    }

    fn opened(&self, protocol: Protocol, stream: Stream) -> Result<Opened, Unopened> {
        match protocol {
            Protocol::Http => Ok(Opened::Http(stream)),
            Protocol::Stun if self.serves_turn => Ok(Opened::Turn(stream)),
            Protocol::Stun | Protocol::Tls => Err(Unopened::new(TurnedAway::UnknownProtocol, stream)),
        }
    }

    /// The next protocol on a stream that has not been read.
    async fn protocol(&self, mut stream: Stream, is_within_tls: bool) -> Result<(Stream, Protocol), Unopened> {
        let first = match timeout(self.timeouts.first_byte, stream.first_byte()).await {
            Ok(Ok(Some(first))) => first,
            // The client has closed the connection without sending anything.
            Ok(_) => return Err(Unopened { why: None, stream: Some(stream) }),
            Err(_) => return Err(Unopened::new(TurnedAway::HandshakeTimeout, stream)),
        };
        let allowed = |protocol: &Protocol| self.speaks.allows(*protocol, is_within_tls);
        let found = if Protocol::may_precede(first) && allowed(&Protocol::Http) {
            match timeout(self.timeouts.handshake, stream.skip_empty_lines()).await {
                Ok(Ok(Some(next))) => Protocol::of(next).filter(|protocol| *protocol == Protocol::Http),
                Ok(_) => return Err(Unopened { why: None, stream: Some(stream) }),
                Err(_) => return Err(Unopened::new(TurnedAway::HandshakeTimeout, stream)),
            }
        } else {
            Protocol::of(first)
        };
        match found.filter(allowed) {
            Some(protocol) => Ok((stream, protocol)),
            None => Err(Unopened::new(TurnedAway::UnknownProtocol, stream)),
        }
    }

    async fn handshake(&self, acceptor: &TlsAcceptor, tcp: TcpStream) -> Result<Stream, Unopened> {
        let handshake = Box::pin(timeout(self.timeouts.handshake, acceptor.accept(tcp)));
        match handshake.await {
            Ok(Ok(tls)) => Ok(Stream::Tls(Box::new(tls))),
            Ok(Err(failed)) if failed.error.kind() == io::ErrorKind::TimedOut => {
                Err(Unopened { why: Some(TurnedAway::HandshakeTimeout), stream: failed.stream.map(Stream::Plain) })
            }
            Ok(Err(failed)) => {
                tracing::debug!(error = %failed.error, "TLS handshake failed");
                // The TLS alert that says why is already being sent.
                Err(Unopened { why: Some(TurnedAway::BadHandshake), stream: failed.stream.map(Stream::Plain) })
            }
            Err(_) => Err(Unopened { why: Some(TurnedAway::HandshakeTimeout), stream: None }),
        }
    }
}
