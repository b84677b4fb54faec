//! How a client reaches TURN, and how its connection ends, if it has one.

use crate::values::label::labels;

labels! {
    /// The transport over which a client reaches TURN.
    #[derive(Default)]
    #[allow(missing_docs, reason = "the names say it")]
    pub enum Transport {
        #[default]
        Udp = "udp",
        Tcp = "tcp",
        Tls = "tls",
    }
}

labels! {
    /// Why a TURN connection ended.
    pub enum StreamClose {
        /// The client closed it.
        Client = "client",
        /// The connection broke.
        ConnectionLost = "connection_lost",
        /// The client sent something that is neither STUN nor ChannelData.
        NotTurn = "not_turn",
        /// The client announced a message that is longer than it may send.
        MessageTooLong = "message_too_long",
        /// There was no allocation for too long.
        NoAllocation = "no_allocation",
        /// The server is shutting down, or needed the place for another client.
        Server = "server",
    }
}
