//! The question which node has a room, as a trait.

use crate::signaling::core::hub::Permit;

/// The node that has a room.
#[derive(Debug)]
pub enum Owner<Other> {
    /// This node has it, and may open the room.
    Here(Permit),
    /// Another node has it.
    Elsewhere(Other),
    /// No node has it, and this node has no place for it.
    Nobody,
}

/// Knows which node has which room.
pub trait Rooms {
    /// How clients are told about another node.
    type Other;

    /// The owner of the room of this name. A room without an owner becomes this node's, if the node has a place for it.
    fn owner(&self, room: &str) -> Owner<Self::Other>;

    /// The room no longer belongs to this node: it was closed, or it was not opened after all.
    fn give_up(&self, room: &str);
}
