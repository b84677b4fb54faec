//! Who a client is.

use std::net::SocketAddr;

/// A client as seen by the transport: the 5-tuple without the protocol, which the owner of the session knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FiveTuple {
    /// The client's transport address.
    pub client: SocketAddr,
    /// The server address that it sends to.
    pub server: SocketAddr,
}
