//! Rooms and the messages in them, over WebSocket. The rules, with numbers, are in docs/PROTOCOL.md; in short:
//!
//! Text frames hold `{"eventName": string, "data": object}`. A client says `__join` and is answered by `_peers` with its
//! id, the ids of those who are there and the iceServers to use; those who are there have got `_new_peer` before.
//! The newcomer sends an `__offer` to each, gets an `_answer` from each, and both sides trade `__ice_candidate`s. Who
//! leaves or loses its connection is reported by `_remove_peer`. `__message` reaches one member or all, without any
//! peer connection. Whatever the server does not act upon is answered by `_error` with a stable code.
//!
//! [`core`] has the rules of rooms and is pure, [`service`] owns the rooms and performs what follows, `wire` knows the frames,
//! [`session`] is the shell around one socket.

mod clock;
mod close_code;
pub mod close_reason;
mod closing;
pub mod core;
mod debtors;
pub mod error;
pub mod frame;
mod instruments;
pub mod outbox;
mod overhead;
mod pace;
mod queue;
pub mod room_name;
pub mod rooms;
pub mod sent;
pub mod service;
pub mod session;
pub mod wire;

pub use core::{
    hub::{MemberSummary, RoomSummary},
    resume::ResumeKey,
};
pub use service::Limits;
pub use session::{Arrival, Signaling, Timing};
