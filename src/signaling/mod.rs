//! Rooms and the messages in them, over WebSocket. The rules, with numbers, are in docs/PROTOCOL.md; in short:
//!
//! Text frames hold `{"eventName": string, "data": object}`. A client sends `__join` and gets `_peers` with its id, the
//! ids of the other members and the iceServers to use. The other members have got `_new_peer` before. The newcomer
//! sends an `__offer` to each, gets an `_answer` from each, and both sides trade `__ice_candidate`s. `_remove_peer`
//! reports a member that leaves or loses its connection. `__message` reaches one member or all, without any peer
//! connection. The server answers every message that it refuses with an `_error` and a stable code.
//!
//! [`core`] has the rules of rooms and is pure, [`service`] owns the rooms and performs the effects, `wire` knows the
//! frames, and [`session`] is the shell around one socket.

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
