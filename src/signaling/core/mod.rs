//! Rooms as pure state. What is handed to it comes in as arguments: time of both clocks, ids, leave to open a room. What follows
//! comes out as [`Effects`]: plain data that somebody else performs. So it knows no runtime, socket, clock, lock, metric, log or randomness,
//! which `tests/cores.rs` holds it to, and each of its rules is tested without any of them.

pub mod effects;
pub mod hub;
pub mod resume;
mod room;
pub(crate) mod roster;
mod tags;

pub use effects::{Effects, MembershipChange, RemoveReason};
