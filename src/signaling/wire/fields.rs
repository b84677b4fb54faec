//! The parts of messages of both directions.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::signaling::error::{Code, Refusal};

/// The longest name of a member, in bytes.
pub const MAX_NAME_BYTES: usize = 1024;
/// The largest `metadata` of a member, in bytes of JSON. Every newcomer gets the metadata of all members in one frame.
pub const MAX_METADATA_BYTES: usize = 16 * 1024;
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
    pub(super) const fn server_event(self) -> &'static str {
        match self {
            Self::Offer => "_offer",
            Self::Answer => "_answer",
            Self::IceCandidate => "_ice_candidate",
        }
    }
}

/// How a member presents itself to the others.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// The name that is shown to people.
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
    /// Takes over what `newer` has, and returns the fields that differ; `None` if nothing differs.
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

    /// Applies `change`.
    pub fn apply(&mut self, change: ProfileChange) {
        if let Some(name) = change.name {
            self.name = name;
        }
        if let Some(metadata) = change.metadata {
            self.metadata = metadata;
        }
    }
}

/// The fields of a `data` object, in the order and with the text in which they came.
#[derive(Debug, Default)]
pub struct Fields<'a>(pub(super) Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Fields<'a> {
    /// The value of `key`; if there are several, the last one, as in JSON.parse.
    pub(super) fn last(&self, key: &str) -> Option<&'a RawValue> {
        self.0.iter().rev().find(|(name, _)| name == key).map(|(_, value)| *value)
    }

    /// Like [`Self::last`], but null counts as absent.
    pub(super) fn some(&self, key: &str) -> Option<&'a RawValue> {
        self.last(key).filter(|value| value.get() != "null")
    }

    pub(super) fn string(&self, key: &str) -> Result<Option<Cow<'a, str>>, Refusal> {
        let Some(value) = self.some(key) else {
            return Ok(None);
        };
        match serde_json::from_str::<BorrowedStr<'a>>(value.get()) {
            Ok(BorrowedStr(text)) => Ok(Some(text)),
            Err(_) => Err(bad(format!("`{key}` is not a string"))),
        }
    }

    pub(super) fn line_index(&self, key: &str) -> Result<Option<u16>, Refusal> {
        let Some(value) = self.some(key) else {
            return Ok(None);
        };
        match serde_json::from_str(value.get()) {
            Ok(index) => Ok(Some(index)),
            Err(_) => Err(bad(format!("`{key}` is not the number of a media description"))),
        }
    }

    pub(super) fn profile_change(&self) -> Result<ProfileChange, Refusal> {
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

pub(super) fn bad(message: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::new(Code::BadMessage, message)
}

pub(super) fn fields_of(text: &str) -> Result<Fields<'_>, serde_json::Error> {
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
