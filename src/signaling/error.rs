//! What clients are told when something is wrong: codes in `_error`.

use std::borrow::Cow;

use crate::values::label::labels;

labels! {
    /// The stable code of an `_error`.
    pub enum Code {
        /// Not JSON, not an object, or a field is missing or of the wrong type.
        BadMessage = "bad_message",
        /// The protocol has no such event.
        UnknownEvent = "unknown_event",
        /// The event makes sense in a room only.
        NotJoined = "not_joined",
        /// The target is not in the sender's room.
        NoSuchPeer = "no_such_peer",
        /// The room has as many members as it may have.
        RoomFull = "room_full",
        /// The server has as many rooms as it may have.
        TooManyRooms = "too_many_rooms",
        /// The room's name is no name.
        BadRoom = "bad_room",
        /// More messages than the connection may send; this one was not acted upon.
        RateLimited = "rate_limited",
        /// The message, or a part of it, is over its limit.
        TooLarge = "too_large",
        /// The resume token is not good for this room, or no longer good.
        BadToken = "bad_token",
        /// The target is in the room, but its connection is gone and not yet back.
        PeerAway = "peer_away",
        /// Another connection has taken over this one's place.
        Replaced = "replaced",
    }
}

impl Code {
    /// Whether only a faulty client gets this. The others happen to good clients too (a peer has just left, a room has
    /// just filled up) and are not held against them.
    pub const fn is_clients_fault(self) -> bool {
        matches!(self, Self::BadMessage | Self::UnknownEvent | Self::BadRoom | Self::TooLarge)
    }
}

/// Why a message was not acted upon: becomes an `_error`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// For programs.
    pub code: Code,
    /// For people.
    pub message: Cow<'static, str>,
    /// The event that was refused, as far as it could be read.
    pub event: Option<String>,
    /// The member that was meant.
    pub target: Option<String>,
}

/// Names and ids longer than this are not sent back.
const MAX_ECHO: usize = 64;

impl Refusal {
    /// A refusal that knows nothing about the message.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), event: None, target: None }
    }

    /// Names the event that was refused.
    #[must_use]
    pub fn of_event(mut self, event: &str) -> Self {
        if self.event.is_none() && event.len() <= MAX_ECHO {
            self.event = Some(event.to_owned());
        }
        self
    }

    /// Names the member that was meant.
    #[must_use]
    pub fn of_target(mut self, target: &str) -> Self {
        if target.len() <= MAX_ECHO {
            self.target = Some(target.to_owned());
        }
        self
    }
}
