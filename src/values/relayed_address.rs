//! The address from which this host relays.

use std::net::IpAddr;

/// The address to which relay sockets are bound, and the one that peers see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayedAddress {
    /// The address that peers see, in XOR-RELAYED-ADDRESS.
    pub advertised: IpAddr,
    /// The local address of relay sockets: the same if it is local, else the wildcard (1:1 NAT).
    pub bind: IpAddr,
}
