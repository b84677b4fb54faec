//! Which node has which room: a room is on exactly one node, with all its members.
//!
//! This is asked only when somebody wants to join a room that is not open here, never for events in a room.

mod local;
mod owner;

pub(crate) use local::Local;

pub use owner::{Owner, Rooms};
