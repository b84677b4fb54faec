//! Which node has which room: a room lives on exactly one, with all its members.
//!
//! Asked when somebody wants to join a room that is not open here; never for what happens in a room.

mod local;
mod owner;

pub(crate) use local::Local;

pub use owner::{Owner, Rooms};
