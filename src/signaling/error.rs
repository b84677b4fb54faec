//! What clients are told when something is wrong: codes in `_error`.

use std::borrow::Cow;

/// The stable code of an `_error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Not JSON, not an object, or a field is missing or of the wrong type.
    BadMessage,
    /// The protocol has no such event.
    UnknownEvent,
    /// The event makes sense in a room only.
    NotJoined,
    /// The target is not in the sender's room.
    NoSuchPeer,
    /// The room has as many members as it may have.
    RoomFull,
    /// The server has as many rooms as it may have.
    TooManyRooms,
    /// The room's name is no name.
    BadRoom,
    /// More messages than the connection may send; this one was not acted upon.
    RateLimited,
    /// The message, or a part of it, is over its limit.
    TooLarge,
    /// The resume token is not good for this room, or no longer good.
    BadToken,
    /// The target is in the room, but its connection is gone and not yet back.
    PeerAway,
    /// Another connection has taken over this one's place.
    Replaced,
}

impl Code {
    /// All codes, in the order of their numbers.
    pub const ALL: [Self; 12] = [
        Self::BadMessage,
        Self::UnknownEvent,
        Self::NotJoined,
        Self::NoSuchPeer,
        Self::RoomFull,
        Self::TooManyRooms,
        Self::BadRoom,
        Self::RateLimited,
        Self::TooLarge,
        Self::BadToken,
        Self::PeerAway,
        Self::Replaced,
    ];

    /// As it stands in `_error`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadMessage => "bad_message",
            Self::UnknownEvent => "unknown_event",
            Self::NotJoined => "not_joined",
            Self::NoSuchPeer => "no_such_peer",
            Self::RoomFull => "room_full",
            Self::TooManyRooms => "too_many_rooms",
            Self::BadRoom => "bad_room",
            Self::RateLimited => "rate_limited",
            Self::TooLarge => "too_large",
            Self::BadToken => "bad_token",
            Self::PeerAway => "peer_away",
            Self::Replaced => "replaced",
        }
    }

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
