//! The wire: JSON text frames of both directions, and the limits of their parts.
//!
//! Reading is lenient about what it does not know and strict about what it does: fields of `data` without meaning to
//! the server are forwarded as the very text that came in (numbers keep their digits, objects their order), fields
//! with a meaning must be of the right type.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::error::{Code, Refusal};

mod write;

pub(crate) use write::{
    Peers, closing, directed, error, ice_servers, message, new_peer, peer_renewed, peer_updated, pong, remove_peer,
};

/// Longest name of a member, in bytes.
pub const MAX_NAME_BYTES: usize = 1024;
/// Largest `metadata` of a member, in bytes of JSON: every newcomer gets those of all members in one frame.
pub const MAX_METADATA_BYTES: usize = 16 * 1024;
/// The room of those who name none.
pub const DEFAULT_ROOM: &str = "__default";

/// Events that go from one member to one other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Directed {
    /// `__offer`
    Offer,
    /// `__answer`
    Answer,
    /// `__ice_candidate`
    IceCandidate,
}

impl Directed {
    const fn server_event(self) -> &'static str {
        match self {
            Self::Offer => "_offer",
            Self::Answer => "_answer",
            Self::IceCandidate => "_ice_candidate",
        }
    }
}

/// What a client says.
#[derive(Debug)]
pub enum ClientMessage<'a> {
    /// `__join`
    Join {
        /// As sent, not checked; `None` if absent.
        room: Option<Cow<'a, str>>,
        /// Who joins.
        profile: Profile,
        /// A resume token as sent, or an empty text: the client knows of resuming. `None` if it does not.
        resume: Option<Cow<'a, str>>,
    },
    /// `__offer`, `__answer`, `__ice_candidate`
    Directed {
        /// Which of them.
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
        /// To be sent back.
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

/// How a member presents itself to the others.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// Shown to people.
    pub name: Option<Box<str>>,
    /// Anything the application likes.
    pub metadata: Option<Box<RawValue>>,
}

/// The outer option says whether a field changes, the inner one is its new value.
#[derive(Clone, Debug, Default)]
pub struct ProfileChange {
    name: Option<Option<Box<str>>>,
    metadata: Option<Option<Box<RawValue>>>,
}

impl Profile {
    /// Takes over what `newer` has and says how that differs; `None` if it does not.
    pub(crate) fn renew(&mut self, newer: Self) -> Option<Self> {
        let name = newer.name.filter(|name| self.name.as_ref() != Some(name));
        let text = self.metadata.as_ref().map(|metadata| metadata.get());
        let metadata = newer.metadata.filter(|metadata| text != Some(metadata.get()));
        if name.is_none() && metadata.is_none() {
            return None;
        }
        self.name = name.clone().or(self.name.take());
        self.metadata = metadata.clone().or(self.metadata.take());
        Some(Self { name, metadata })
    }

    /// Takes over what `change` holds.
    pub fn apply(&mut self, change: ProfileChange) {
        if let Some(name) = change.name {
            self.name = name;
        }
        if let Some(metadata) = change.metadata {
            self.metadata = metadata;
        }
    }
}

/// The fields of a `data` object in the order they came, values as they came.
#[derive(Debug, Default)]
pub struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Fields<'a> {
    /// The value of `key`; the last one, as JSON.parse would have it.
    fn last(&self, key: &str) -> Option<&'a RawValue> {
        self.0.iter().rev().find(|(name, _)| name == key).map(|(_, value)| *value)
    }

    /// Like [`Self::last`], but null counts as absent.
    fn some(&self, key: &str) -> Option<&'a RawValue> {
        self.last(key).filter(|value| value.get() != "null")
    }

    fn string(&self, key: &str) -> Result<Option<Cow<'a, str>>, Refusal> {
        let Some(value) = self.some(key) else {
            return Ok(None);
        };
        match serde_json::from_str::<BorrowedStr<'a>>(value.get()) {
            Ok(BorrowedStr(text)) => Ok(Some(text)),
            Err(_) => Err(bad(format!("`{key}` is not a string"))),
        }
    }

    fn line_index(&self, key: &str) -> Result<Option<u16>, Refusal> {
        let Some(value) = self.some(key) else {
            return Ok(None);
        };
        match serde_json::from_str(value.get()) {
            Ok(index) => Ok(Some(index)),
            Err(_) => Err(bad(format!("`{key}` is not the number of a media description"))),
        }
    }

    fn profile_change(&self) -> Result<ProfileChange, Refusal> {
        let mut change = ProfileChange::default();
        if self.last("name").is_some() {
            let name = self.string("name")?;
            if name.as_ref().is_some_and(|name| name.len() > MAX_NAME_BYTES) {
                return Err(Refusal::new(Code::TooLarge, format!("`name` has at most {MAX_NAME_BYTES} bytes")));
            }
            change.name = Some(name.map(|name| name.into()));
        }
        if self.last("metadata").is_some() {
            let metadata = self.some("metadata");
            if metadata.is_some_and(|value| value.get().len() > MAX_METADATA_BYTES) {
                return Err(Refusal::new(Code::TooLarge, format!("`metadata` has at most {MAX_METADATA_BYTES} bytes")));
            }
            change.metadata = Some(metadata.map(ToOwned::to_owned));
        }
        Ok(change)
    }
}

/// Reads one text frame.
///
/// # Errors
/// `bad_message`, `unknown_event` or `too_large`, with what is wrong in words.
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

fn bad(message: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::new(Code::BadMessage, message)
}

fn fields_of(text: &str) -> Result<Fields<'_>, serde_json::Error> {
    serde_json::from_str(text)
}

#[derive(Deserialize)]
struct BorrowedStr<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyFields;

        impl<'de> Visitor<'de> for AnyFields {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some((BorrowedStr(key), value)) = map.next_entry()? {
                    fields.push((key, value));
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(AnyFields)
    }
}

#[cfg(test)]
mod samples;

#[cfg(test)]
mod tests;
