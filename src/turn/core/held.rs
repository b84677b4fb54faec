//! What a server holds for its clients.

use crate::values::label::labels;

labels! {
    /// What there may be many of, each of which comes to be and ends.
    pub enum Held {
        /// Client sessions (5-tuples with state).
        Sessions = "sessions",
        /// Allocations.
        Allocations = "allocations",
        /// Permissions in force.
        Permissions = "permissions",
        /// Channels bound.
        Channels = "channels",
    }
}
