//! JSON text frames of both directions, and the limits of their parts.
//!
//! Reading is lenient about unknown fields and strict about known ones. Fields of `data` that mean nothing to the
//! server are forwarded as exactly the text that came in (numbers keep their digits, objects their order); fields with
//! a meaning must have the right type.

use std::borrow::Cow;

use serde_json::value::RawValue;

use self::fields::{bad, fields_of};
use super::error::{Code, Refusal};

mod fields;
mod write;

pub use fields::{Directed, Fields, MAX_METADATA_BYTES, MAX_NAME_BYTES, Profile, ProfileChange};
pub(crate) use write::{
    Peers, closing, directed, error, ice_servers, message, new_peer, peer_renewed, peer_updated, pong, remove_peer,
};

/// The room of clients that name none.
pub const DEFAULT_ROOM: &str = "__default";

/// A message from a client.
#[derive(Debug)]
pub enum ClientMessage<'a> {
    /// `__join`
    Join {
        /// The room's name as sent, not checked; `None` if absent.
        room: Option<Cow<'a, str>>,
        /// How the member presents itself.
        profile: Profile,
        /// A resume token as sent, or an empty text if the client supports resuming but has no token. `None` if it does
        /// not support resuming.
        resume: Option<Cow<'a, str>>,
    },
    /// `__offer`, `__answer`, `__ice_candidate`
    Directed {
        /// The event.
        event: Directed,
        /// `socketId` as sent.
        target: Cow<'a, str>,
        /// All of `data`.
        fields: Fields<'a>,
    },
    /// `__message`
    Message {
        /// `socketId` as sent; `None` means the room.
        target: Option<Cow<'a, str>>,
        /// All of `data`.
        fields: Fields<'a>,
    },
    /// `__update`
    Update {
        /// All of `data`.
        fields: Fields<'a>,
        /// The fields that change.
        change: ProfileChange,
    },
    /// `__ice_servers`
    IceServers,
    /// `__leave`
    Leave,
    /// `__ping`
    Ping {
        /// The text that is sent back.
        data: &'a str,
    },
}

impl ClientMessage<'_> {
    /// The event's name.
    pub const fn event(&self) -> &'static str {
        match self {
            Self::Join { .. } => "__join",
            Self::Directed { event: Directed::Offer, .. } => "__offer",
            Self::Directed { event: Directed::Answer, .. } => "__answer",
            Self::Directed { event: Directed::IceCandidate, .. } => "__ice_candidate",
            Self::Message { .. } => "__message",
            Self::Update { .. } => "__update",
            Self::IceServers => "__ice_servers",
            Self::Leave => "__leave",
            Self::Ping { .. } => "__ping",
        }
    }
}

/// The names of all client events.
pub const CLIENT_EVENTS: [&str; 9] =
    ["__join", "__offer", "__answer", "__ice_candidate", "__message", "__update", "__ice_servers", "__leave", "__ping"];

/// Reads one text frame.
///
/// # Errors
/// `bad_message`, `unknown_event` or `too_large`, with a text that says what is wrong.
pub fn parse(text: &str) -> Result<ClientMessage<'_>, Refusal> {
    let envelope = fields_of(text).map_err(|_| bad("the message is not a JSON object"))?;
    let event = match envelope.string("eventName") {
        Ok(Some(event)) => event,
        Ok(None) => return Err(bad("`eventName` is missing")),
        Err(refusal) => return Err(refusal),
    };
    parse_event(&event, envelope.last("data").map(RawValue::get)).map_err(|refusal| refusal.of_event(&event))
}

fn parse_event<'a>(event: &str, data: Option<&'a str>) -> Result<ClientMessage<'a>, Refusal> {
    if event == "__ping" {
        return Ok(ClientMessage::Ping { data: data.unwrap_or("{}") });
    }
    if !CLIENT_EVENTS.contains(&event) {
        return Err(Refusal::new(Code::UnknownEvent, "the protocol has no such event"));
    }
    let data = data.filter(|data| *data != "null").unwrap_or("{}");
    let fields = fields_of(data).map_err(|_| bad("`data` is not an object"))?;
    match event {
        "__join" => {
            let mut profile = Profile::default();
            profile.apply(fields.profile_change()?);
            Ok(ClientMessage::Join { room: fields.string("room")?, profile, resume: fields.string("resume")? })
        }
        "__offer" => parse_directed(Directed::Offer, fields),
        "__answer" => parse_directed(Directed::Answer, fields),
        "__ice_candidate" => parse_directed(Directed::IceCandidate, fields),
        "__message" => {
            if fields.last("data").is_none() {
                return Err(bad("`data.data` is missing"));
            }
            Ok(ClientMessage::Message { target: fields.string("socketId")?, fields })
        }
        "__update" => Ok(ClientMessage::Update { change: fields.profile_change()?, fields }),
        "__ice_servers" => Ok(ClientMessage::IceServers),
        _ => Ok(ClientMessage::Leave),
    }
}

fn parse_directed(event: Directed, fields: Fields<'_>) -> Result<ClientMessage<'_>, Refusal> {
    let target = fields.string("socketId")?.ok_or_else(|| bad("`socketId` is missing"))?;
    let content_is_good = |key: &str, starts: &[char]| match fields.last(key) {
        None => Err(bad(format!("`{key}` is missing"))),
        Some(value) if value.get().starts_with(starts) => Ok(()),
        Some(_) => Err(bad(format!("`{key}` is of the wrong type"))),
    };
    match event {
        Directed::Offer | Directed::Answer => content_is_good("sdp", &['{', '"'])?,
        Directed::IceCandidate => {
            // null stands for the end of candidates.
            content_is_good("candidate", &['{', '"', 'n'])?;
            fields.line_index("label")?;
            fields.line_index("sdpMLineIndex")?;
        }
    }
    Ok(ClientMessage::Directed { event, target, fields })
}

#[cfg(test)]
mod samples;

#[cfg(test)]
mod tests;
