//! What a client's driver needs of the socket of a relayed address.

use std::{io, net::SocketAddr};

use crate::turn::wire::data::IcmpError;

/// A socket of a relayed address.
pub(super) trait RelaySocket {
    /// Sends one datagram, now or never.
    fn send(&self, peer: SocketAddr, payload: &[u8], dont_fragment: bool) -> io::Result<()>;

    /// Takes what the network has reported about datagrams that were sent. While a report waits, the next call on the
    /// socket fails in its place.
    fn take_icmp(&self) -> Vec<(SocketAddr, IcmpError)>;
}
