//! Why connections end.

use crate::values::label::labels;

labels! {
    /// Why a WebSocket connection ended.
    #[allow(missing_docs, reason = "the names say it")]
    pub enum CloseReason {
        Client = "client",
        ConnectionLost = "connection_lost",
        Idle = "idle",
        TooManyErrors = "too_many_errors",
        MessageTooLarge = "message_too_large",
        SlowReader = "slow_reader",
        Shutdown = "shutdown",
        ProtocolError = "protocol_error",
        InvalidText = "invalid_text",
        Replaced = "replaced",
        Kicked = "kicked",
        MadeRoom = "made_room",
    }
}
