//! What requests need from the room that accepts connections, as a trait: nothing here knows listeners, limits or
//! labels.

use std::net::IpAddr;

use http::StatusCode;

use super::refused::Refused;

/// The one that accepts connections.
pub(crate) trait Door: Send + Sync {
    /// The place of a WebSocket. Dropping it gives it back.
    type Place: Send;

    /// A place for a WebSocket of the client at `apparent`, whose connection comes from `peer`: the client itself or a
    /// proxy. The implementation counts refusals.
    fn place(&self, peer: IpAddr, apparent: IpAddr) -> Result<Self::Place, NoPlace>;

    /// Counts a connection that was not served.
    fn count(&self, why: Unfit);
}

/// Why there is no place for another WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoPlace {
    /// The address has too many connections that have not joined a room.
    OutsideRooms,
    /// The address has used up its share of WebSockets.
    FromAddress,
    /// The server has as many as it may have.
    InAll,
}

impl NoPlace {
    /// The answer to the client.
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

/// Why a connection was not served, if its requests are the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// No request came in time.
    Late,
    /// A WebSocket's handshake is wrong.
    BadHandshake,
    /// A WebSocket was asked for without TLS, where there is TLS.
    TlsRequired,
    /// A WebSocket was asked for by a page whose origin is not allowed.
    Origin,
}
