//! Who a client is.

use std::net::SocketAddr;

/// A client as seen by the transport: the 5-tuple without its protocol, which is the owner's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FiveTuple {
    /// The client's transport address.
    pub client: SocketAddr,
    /// The address of ours that it sent to.
    pub server: SocketAddr,
}
