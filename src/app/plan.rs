//! What the server is going to do: the configuration joined with the facts of this host. The plan is plain data, and
//! complete before anything is bound. The server is made from it, and the start-up text describes it.

mod doubts;

use super::{capacity::Capacity, kept::KeptFacts};
use crate::{
    config::Config,
    net::{Chosen, Interfaces},
    values::family::ByFamily,
};

/// Everything that has been decided.
#[derive(Debug)]
pub(super) struct Plan {
    /// The operator's configuration.
    pub(super) config: Config,
    /// This host's addresses.
    pub(super) interfaces: Interfaces,
    /// The addresses for relaying.
    pub(super) relayed: ByFamily<Option<Chosen>>,
    /// The capacity of this host.
    pub(super) capacity: Capacity,
    /// Facts about what is on the disk.
    pub(super) kept: KeptFacts,
}

impl Plan {
    /// The plan for a host with this number of open `files` and bytes of `memory`.
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

    /// How many WebSockets there may be, whether or not they have joined a room.
    pub(super) fn max_websockets(&self) -> usize {
        self.config.max_websockets.unwrap_or(self.capacity.shares.web_sockets)
    }
}
