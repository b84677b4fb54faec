//! Rooms as pure state. Everything that it needs comes in as arguments: the time of both clocks, ids, the permission to
//! open a room. The consequences come out as [`Effects`]: plain data that somebody else performs. So it uses no
//! runtime, socket, clock, lock, metric, log or randomness, which `tests/cores.rs` checks, and each of its rules is
//! tested without any of them.

pub mod effects;
pub mod hub;
pub mod resume;
mod room;
pub(crate) mod roster;
mod tags;

pub use effects::{Effects, MembershipChange, RemoveReason};
