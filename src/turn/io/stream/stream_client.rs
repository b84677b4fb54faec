//! Clients that come in by a connection.

use std::time::Duration;

use crate::turn::core::{five_tuple::FiveTuple, transport::Transport};

/// A client as whoever accepted its connection knows it.
pub struct StreamClient {
    /// Its address, and that of ours that it connected to.
    pub tuple: FiveTuple,
    /// Over what it comes.
    pub transport: Transport,
    /// How long it may be here without an allocation.
    pub without_allocation: Duration,
    /// Told when it proves itself by an allocation (true), and when that is over.
    pub on_allocation: Box<dyn FnMut(bool) + Send>,
}

impl std::fmt::Debug for StreamClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamClient").field("transport", &self.transport).finish_non_exhaustive()
    }
}
