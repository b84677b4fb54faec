//! Sums of what is relayed.

/// What an allocation has relayed: payload that was let through, whatever became of it on the network.
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
    /// Datagrams.
    pub packets: u64,
    /// Their payload.
    pub bytes: u64,
}
