//! What a client's driver needs from the socket of a relayed address.

use std::{io, net::SocketAddr};

use super::datagram_queue::DatagramSocket;

/// The socket of a relayed address.
pub(super) trait RelaySocket: DatagramSocket {
    /// Sends one datagram with DF set, and never waits. If it is too large for the path, it is lost (RFC 8656 section
    /// 14).
    fn send_unfragmented(&self, peer: SocketAddr, payload: &[u8]) -> io::Result<()>;
}
