//! The codes in `_error`, by which clients are told what is wrong.

use std::borrow::Cow;

use crate::values::label::labels;

labels! {
    /// The stable code of an `_error`.
    pub enum Code {
        /// The message is not a JSON object, or a field is missing or has the wrong type.
        BadMessage = "bad_message",
        /// The protocol has no such event.
        UnknownEvent = "unknown_event",
        /// The event makes sense only in a room.
        NotJoined = "not_joined",
        /// The target is not in the sender's room.
        NoSuchPeer = "no_such_peer",
        /// The room has as many members as it may have.
        RoomFull = "room_full",
        /// The server has as many rooms as it may have.
        TooManyRooms = "too_many_rooms",
        /// The text is not a valid name of a room.
        BadRoom = "bad_room",
        /// The connection sent more messages than it may; this one was ignored.
        RateLimited = "rate_limited",
        /// The message, or a part of it, is too large.
        TooLarge = "too_large",
        /// The resume token is not valid for this room, or no longer valid.
        BadToken = "bad_token",
        /// The target is in the room, but its connection is gone and it has not come back yet.
        PeerAway = "peer_away",
        /// Another connection has taken over the place of this one.
        Replaced = "replaced",
    }
}

impl Code {
    /// Whether only a faulty client gets this code. Other codes also happen to good clients (a peer has just left, a
    /// room has just filled up), so they do not count as bad messages.
    pub const fn is_clients_fault(self) -> bool {
        matches!(self, Self::BadMessage | Self::UnknownEvent | Self::BadRoom | Self::TooLarge)
    }
}

/// Why a message was refused. It becomes an `_error`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The code, for programs.
    pub code: Code,
    /// The text, for people.
    pub message: Cow<'static, str>,
    /// The event that was refused, as far as it could be read.
    pub event: Option<String>,
    /// The target of the event.
    pub target: Option<String>,
}

/// Names and ids longer than this are not sent back.
const MAX_ECHO: usize = 64;

impl Refusal {
    /// A refusal without information about the message.
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

    /// Names the target of the event.
    #[must_use]
    pub fn of_target(mut self, target: &str) -> Self {
        if target.len() <= MAX_ECHO {
            self.target = Some(target.to_owned());
        }
        self
    }
}
