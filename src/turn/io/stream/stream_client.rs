//! Clients that arrive over a connection.

use std::time::Duration;

use crate::turn::core::{five_tuple::FiveTuple, transport::Transport};

/// A client, as described by the code that accepted its connection.
pub struct StreamClient {
    /// The client's address, and the server address that it connected to.
    pub tuple: FiveTuple,
    /// The transport of the connection.
    pub transport: Transport,
    /// How long the client may stay without an allocation.
    pub without_allocation: Duration,
    /// Called with `true` when the client proves itself by an allocation, and with `false` when that allocation is
    /// over.
    pub on_allocation: Box<dyn FnMut(bool) + Send>,
}

impl std::fmt::Debug for StreamClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamClient").field("transport", &self.transport).finish_non_exhaustive()
    }
}
