//! What the server is going to do: the configuration joined with the facts of this host. Plain data, complete before
//! anything is bound; the server is made after it, and the start-up text tells it.

mod doubts;

use super::{capacity::Capacity, kept::KeptFacts};
use crate::{
    config::Config,
    net::{Chosen, Interfaces},
    values::family::ByFamily,
};

/// Everything that is decided.
#[derive(Debug)]
pub(super) struct Plan {
    /// What the operator decided.
    pub(super) config: Config,
    /// This host's addresses.
    pub(super) interfaces: Interfaces,
    /// Where relaying happens.
    pub(super) relayed: ByFamily<Option<Chosen>>,
    /// What there is room for.
    pub(super) capacity: Capacity,
    /// What is on the disk.
    pub(super) kept: KeptFacts,
}

impl Plan {
    /// For a host that may have so many open `files`, and has so many bytes of `memory`.
    pub(super) fn new(
        config: Config,
        interfaces: Interfaces,
        kept: KeptFacts,
        files: usize,
        memory: Option<u64>,
    ) -> Self {
        let relayed = interfaces.relayed_addresses(config.public_ips);
        let capacity = Capacity::of(&config, relayed.iter().count(), files, memory);
        Self { config, interfaces, relayed, capacity, kept }
    }

    /// WebSockets, joined or not.
    pub(super) fn max_websockets(&self) -> usize {
        self.config.max_websockets.unwrap_or(self.capacity.shares.web_sockets)
    }
}
