//! Sums of what is relayed.

/// What an allocation has relayed: payload that was allowed through, whatever happened to it on the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// From the client to its peers.
    pub from_client: Total,
    /// From peers to the client.
    pub to_client: Total,
}

/// One direction of [`Totals`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    /// Number of datagrams.
    pub packets: u64,
    /// Bytes of their payload.
    pub bytes: u64,
}
