//! The wire: JSON text frames of both directions, and the limits of their parts.
//!
//! Reading is lenient about what it does not know and strict about what it does: fields of `data` without meaning to
//! the server are forwarded as the very text that came in (numbers keep their digits, objects their order), fields
//! with a meaning must be of the right type.

use std::{
    borrow::Cow,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::error::{Code, Refusal};
use crate::{ice_servers::IceServers, membership::MemberId};

/// Longest name of a member, in bytes.
pub const MAX_NAME_BYTES: usize = 1024;
/// Largest `metadata` of a member, in bytes of JSON: every newcomer gets those of all members in one frame.
pub const MAX_METADATA_BYTES: usize = 16 * 1024;
/// The room of those who name none.
pub const DEFAULT_ROOM: &str = "__default";

/// A text frame to a client. Clones share the text.
#[derive(Clone)]
pub struct Frame(Arc<Shared>);

struct Shared {
    text: Utf8Bytes,
    /// How many queues count it among what they hold of the common bytes.
    holders: AtomicUsize,
}

/// A text that was made with more spare room than this gives it back before it waits somewhere.
const MAX_SPARE: usize = 4096;

impl Frame {
    /// The JSON text.
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    pub(crate) fn into_inner(self) -> Utf8Bytes {
        self.0.text.clone()
    }

    /// Notes another holder. Whether it is the only one.
    pub(crate) fn hold(&self) -> bool {
        self.0.holders.fetch_add(1, Ordering::Relaxed) == 0
    }

    /// Takes back a [`Self::hold`]. Whether nobody else is left.
    pub(crate) fn release(&self) -> bool {
        self.0.holders.fetch_sub(1, Ordering::Relaxed) == 1
    }
}

impl From<String> for Frame {
    fn from(mut text: String) -> Self {
        if text.capacity() - text.len() > MAX_SPARE {
            text.shrink_to_fit();
        }
        Self(Arc::new(Shared { text: text.into(), holders: AtomicUsize::new(0) }))
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Frame").field(&self.as_str()).finish()
    }
}

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

/// `_peers`: what a newcomer gets.
pub(crate) struct Peers<'a> {
    pub(crate) you: MemberId,
    pub(crate) room: &'a str,
    pub(crate) server: &'a str,
    pub(crate) ice: &'a IceServers,
    /// The token to come back with.
    pub(crate) resume: &'a str,
    /// Whether the newcomer has been here all the time.
    pub(crate) resumed: bool,
}

impl Peers<'_> {
    pub(crate) fn frame<'p>(&self, others: impl Iterator<Item = (MemberId, &'p Profile)> + Clone) -> Frame {
        event("_peers", |data| {
            data.key("connections").list(others.clone(), |out, (id, _)| out.string(&id.to_string()));
            data.key("you").string(&self.you.to_string());
            write_ice_servers(data, self.ice);
            data.key("peers").list(others, |out, (id, profile)| {
                out.object(|peer| write_peer(peer, id, profile));
            });
            data.key("resume").string(self.resume);
            data.key("resumed").raw(if self.resumed { "true" } else { "false" });
            data.key("room").string(self.room);
            data.key("server").string(self.server);
        })
    }
}

pub(crate) fn new_peer(id: MemberId, profile: &Profile) -> Frame {
    event("_new_peer", |data| write_peer(data, id, profile))
}

pub(crate) fn remove_peer(id: MemberId, reason: &str) -> Frame {
    event("_remove_peer", |data| {
        data.key("socketId").string(&id.to_string());
        data.key("reason").string(reason);
    })
}

pub(crate) fn ice_servers(ice: &IceServers, resume: &str) -> Frame {
    event("_ice_servers", |data| {
        write_ice_servers(data, ice);
        data.key("resume").string(resume);
    })
}

pub(crate) fn directed(kind: Directed, sender: MemberId, fields: &Fields<'_>) -> Frame {
    if kind != Directed::IceCandidate {
        return forwarded(kind.server_event(), sender, fields, &[]);
    }
    // The old clients send `label` and pass what they get to RTCIceCandidate, which knows `sdpMLineIndex` only.
    let (label, index) = (fields.some("label"), fields.some("sdpMLineIndex"));
    let added = match (label, index) {
        (Some(label), None) => Some(("sdpMLineIndex", label)),
        (None, Some(index)) => Some(("label", index)),
        _ => None,
    };
    forwarded(kind.server_event(), sender, fields, added.as_slice())
}

pub(crate) fn message(sender: MemberId, fields: &Fields<'_>) -> Frame {
    forwarded("_message", sender, fields, &[])
}

pub(crate) fn peer_updated(sender: MemberId, fields: &Fields<'_>) -> Frame {
    forwarded("_peer_updated", sender, fields, &[])
}

/// What a member changed by coming back.
pub(crate) fn peer_renewed(id: MemberId, changed: &Profile) -> Frame {
    event("_peer_updated", |data| write_peer(data, id, changed))
}

pub(crate) fn pong(data: &str) -> Frame {
    let mut out = Writer::with_capacity(data.len() + 40);
    out.object(|envelope| {
        envelope.key("eventName").string("_pong");
        envelope.key("data").raw(data);
    });
    out.0.into()
}

pub(crate) fn error(refusal: &Refusal) -> Frame {
    event("_error", |data| {
        data.key("code").string(refusal.code.as_str());
        data.key("message").string(&refusal.message);
        if let Some(event) = &refusal.event {
            data.key("eventName").string(event);
        }
        if let Some(target) = &refusal.target {
            data.key("socketId").string(target);
        }
    })
}

pub(crate) fn closing(reconnect_after_ms: u32) -> Frame {
    event("_closing", |data| data.key("reconnectAfter").raw(&reconnect_after_ms.to_string()))
}

/// `socketId` becomes the sender, `added` fields replace their namesakes, everything else goes through as it came.
fn forwarded(name: &str, sender: MemberId, fields: &Fields<'_>, added: &[(&str, &RawValue)]) -> Frame {
    event(name, |data| {
        data.key("socketId").string(&sender.to_string());
        for (key, value) in &fields.0 {
            if key != "socketId" && !added.iter().any(|(name, _)| key == name) {
                data.key(key).raw(value.get());
            }
        }
        for (key, value) in added {
            data.key(key).raw(value.get());
        }
    })
}

fn write_peer(data: &mut Object<'_>, id: MemberId, profile: &Profile) {
    data.key("socketId").string(&id.to_string());
    if let Some(name) = &profile.name {
        data.key("name").string(name);
    }
    if let Some(metadata) = &profile.metadata {
        data.key("metadata").raw(metadata.get());
    }
}

fn write_ice_servers(data: &mut Object<'_>, ice: &IceServers) {
    data.key("iceServers").value(&ice.servers);
    data.key("expiresAt").raw(&ice.expires_at.to_string());
}

fn event(name: &str, write: impl FnOnce(&mut Object<'_>)) -> Frame {
    let mut out = Writer::with_capacity(256);
    out.object(|envelope| {
        envelope.key("eventName").string(name);
        envelope.key("data").object(write);
    });
    out.0.into()
}

/// Writes JSON in one pass, so that raw fields need no detour over a tree.
struct Writer(String);

impl Writer {
    fn with_capacity(capacity: usize) -> Self {
        Self(String::with_capacity(capacity))
    }

    fn raw(&mut self, json: &str) {
        self.0.push_str(json);
    }

    fn string(&mut self, text: &str) {
        self.value(text);
    }

    fn value(&mut self, value: &(impl serde::Serialize + ?Sized)) {
        // Strings and lists of structs of strings have no way to fail.
        self.0.push_str(&serde_json::to_string(value).unwrap_or_default());
    }

    fn object(&mut self, write: impl FnOnce(&mut Object<'_>)) {
        self.0.push('{');
        write(&mut Object { out: self, is_empty: true });
        self.0.push('}');
    }

    fn list<T>(&mut self, items: impl Iterator<Item = T>, mut write: impl FnMut(&mut Self, T)) {
        self.0.push('[');
        for (i, item) in items.enumerate() {
            if i > 0 {
                self.0.push(',');
            }
            write(self, item);
        }
        self.0.push(']');
    }
}

struct Object<'a> {
    out: &'a mut Writer,
    is_empty: bool,
}

impl Object<'_> {
    fn key(&mut self, key: &str) -> &mut Writer {
        if !self.is_empty {
            self.out.0.push(',');
        }
        self.is_empty = false;
        self.out.string(key);
        self.out.0.push(':');
        self.out
    }
}

#[cfg(test)]
mod samples;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;

    const SENDER: MemberId = MemberId::from_bits(3);

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "\\PC*".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("\\PC*", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    /// Keys that mean something, and others.
    fn any_fields() -> impl Strategy<Value = Map<String, Value>> {
        let key = prop_oneof![
            prop::sample::select(
                &["socketId", "sdp", "candidate", "label", "sdpMLineIndex", "room", "name", "data"][..]
            )
            .prop_map(String::from),
            "\\PC*",
        ];
        prop::collection::btree_map(key, any_json(), 0..6).prop_map(|map| map.into_iter().collect())
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*") {
            let _ = parse(&text);
        }

        #[test]
        fn any_mutilated_message_is_read_or_refused(
            event in prop::sample::select(&CLIENT_EVENTS[..]),
            data in any_json(),
            cut in any::<prop::sample::Index>(),
            junk in any::<char>(),
        ) {
            let mut text: Vec<char> = json!({"eventName": event, "data": data}).to_string().chars().collect();
            let at = cut.index(text.len());
            text[at] = junk;
            let text = String::from_iter(text);
            let _ = parse(&text);
            let _ = parse(text.get(..at).unwrap_or(""));
        }

        #[test]
        fn what_is_read_is_forwarded_untouched(
            event in prop::sample::select(&CLIENT_EVENTS[..]),
            data in any_fields(),
        ) {
            let text = json!({"eventName": event, "data": data}).to_string();
            let (frame, may_differ): (_, &[&str]) = match parse(&text) {
                Ok(ClientMessage::Directed { event, fields, .. }) => {
                    (directed(event, SENDER, &fields), &["label", "sdpMLineIndex"])
                }
                Ok(ClientMessage::Message { fields, .. }) => (message(SENDER, &fields), &[]),
                Ok(ClientMessage::Update { fields, .. }) => (peer_updated(SENDER, &fields), &[]),
                _ => return Ok(()),
            };
            let mut received: Value = serde_json::from_str(frame.as_str()).unwrap();
            let mut received = received["data"].as_object_mut().unwrap().clone();
            let mut sent = data;
            sent.insert("socketId".into(), SENDER.to_string().into());
            for key in may_differ {
                received.remove(*key);
                sent.remove(*key);
            }
            prop_assert_eq!(received, sent);
        }

        #[test]
        fn names_come_out_as_they_went_in(name in "\\PC{0,200}", metadata in any_json()) {
            let text = json!({"eventName": "__join", "data": {"name": name, "metadata": metadata}}).to_string();
            let Ok(ClientMessage::Join { profile, .. }) = parse(&text) else { panic!("{text}") };
            let frame: Value = serde_json::from_str(new_peer(SENDER, &profile).as_str()).unwrap();
            prop_assert_eq!(&frame["data"]["name"], &Value::from(name));
            prop_assert_eq!(&frame["data"]["metadata"], &metadata);
        }
    }

    #[test]
    fn r2_5_what_is_long_is_told_apart_from_what_is_wrong() {
        let long = json!({"eventName": "__join", "data": {"name": "x".repeat(2000)}}).to_string();
        assert_eq!(parse(&long).unwrap_err().code, Code::TooLarge);
    }
}
