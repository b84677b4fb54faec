//! What requests need of whoever lets connections in, in words of their own: nothing here knows listeners, limits or
//! labels.

use std::net::IpAddr;

use http::StatusCode;

use super::refused::Refused;

/// Whoever lets connections in.
pub(crate) trait Door: Send + Sync {
    /// What a WebSocket takes up, given back when dropped.
    type Place: Send;

    /// A place for a WebSocket of the client at `apparent`, whose connection comes from `peer`: the client itself or a
    /// proxy. Who has none is counted there.
    fn place(&self, peer: IpAddr, apparent: IpAddr) -> Result<Self::Place, NoPlace>;

    /// Counts what comes to nothing.
    fn count(&self, why: Unfit);
}

/// Why there is no place for another WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoPlace {
    /// The address has too many connections that have not joined a room.
    OutsideRooms,
    /// The address has its share of WebSockets.
    FromAddress,
    /// There are as many as there may be.
    InAll,
}

impl NoPlace {
    /// What the client is told.
    pub(super) fn refused(self) -> Refused {
        match self {
            Self::OutsideRooms => Refused::new(
                StatusCode::TOO_MANY_REQUESTS,
                "Too many connections from this address that have not joined a room.",
            ),
            Self::FromAddress => {
                Refused::new(StatusCode::TOO_MANY_REQUESTS, "Too many WebSockets from this address, in rooms or not.")
            }
            Self::InAll => {
                Refused::new(StatusCode::SERVICE_UNAVAILABLE, "The server has as many WebSockets as it may have.")
            }
        }
    }
}

/// Why a connection comes to nothing, as far as its requests say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// No request came in time.
    Late,
    /// A WebSocket's handshake is wrong.
    BadHandshake,
    /// A WebSocket was asked for without TLS, where there is TLS.
    TlsRequired,
    /// A WebSocket was asked for by a page that may not.
    Origin,
}
