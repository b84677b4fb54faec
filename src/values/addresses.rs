//! Transport addresses by the part they play, so that two of them cannot change places unnoticed.

use std::net::SocketAddr;

/// Of a peer (RFC 8656 section 3), as the client that exchanges data with it knows it. Of a client of this server that
/// is the relayed transport address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerAddr(pub SocketAddr);

/// A relayed transport address (RFC 8656 section 3): where peers send what is for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RelayedAddr(pub SocketAddr);
