//! What is asked of who knows it.

use crate::signaling::core::hub::Permit;

/// Who has a room.
#[derive(Debug)]
pub enum Owner<Other> {
    /// This node: it may open the room.
    Here(Permit),
    /// Another node.
    Elsewhere(Other),
    /// Nobody, and this node has no place for it.
    Nobody,
}

/// Says who has a room.
pub trait Rooms {
    /// How another node is told to clients.
    type Other;

    /// Who has the room of this name. A room that nobody has becomes this node's, if it has a place for it.
    fn owner(&self, room: &str) -> Owner<Self::Other>;

    /// The room is not this node's any more: it was closed, or has not been opened after all.
    fn give_up(&self, room: &str);
}
