//! Ways to a peer.

use crate::values::member::MemberId;

/// How a permitted peer is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It has an address of this host: data is delivered in process only.
    Own,
    /// Over the network, as long as the named member (if any) is in the room.
    Network {
        /// The member that was verified at the peer's address.
        because_of: Option<MemberId>,
    },
}
