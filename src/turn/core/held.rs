//! What a server holds for its clients.

use crate::values::label::labels;

labels! {
    /// Kinds of state that are counted when they begin and when they end.
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
