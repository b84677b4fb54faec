//! What a client's driver needs of the socket of a relayed address.

use std::{io, net::SocketAddr};

use super::datagram_queue::DatagramSocket;

/// A socket of a relayed address.
pub(super) trait RelaySocket: DatagramSocket {
    /// Sends one datagram with DF set, now or never: too large for the path means lost (RFC 8656 section 14).
    fn send_unfragmented(&self, peer: SocketAddr, payload: &[u8]) -> io::Result<()>;
}
