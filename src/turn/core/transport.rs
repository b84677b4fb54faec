//! Over what a client reaches TURN, and how its connection ends, if it has one.

use crate::values::label::labels;

labels! {
    /// Over what a client reaches TURN.
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
        /// It broke.
        ConnectionLost = "connection_lost",
        /// What came was neither STUN nor ChannelData.
        NotTurn = "not_turn",
        /// A message that is longer than such a client may send.
        MessageTooLong = "message_too_long",
        /// There was no allocation for too long.
        NoAllocation = "no_allocation",
        /// The server ends, or needed the place for somebody else.
        Server = "server",
    }
}
