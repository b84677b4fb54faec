//! Transport addresses by their role, so that the compiler notices if two of them are swapped.

use std::net::SocketAddr;

/// The address of a peer (RFC 8656 section 3), as the client that exchanges data with it knows it. If the peer is a
/// client of this server, it is that client's relayed transport address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerAddr(pub SocketAddr);

/// A relayed transport address (RFC 8656 section 3): the address to which peers send data for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RelayedAddr(pub SocketAddr);
