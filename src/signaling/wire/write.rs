//! Frames to clients.

use serde_json::value::RawValue;

use super::fields::{Directed, Fields, Profile};
use crate::{ice_servers::IceServers, signaling::error::Refusal, values::member::MemberId};

/// `_peers`, which a newcomer gets.
pub(crate) struct Peers<'a> {
    pub(crate) you: MemberId,
    pub(crate) room: &'a str,
    pub(crate) server: &'a str,
    pub(crate) ice: &'a IceServers,
    /// The token for coming back.
    pub(crate) resume: &'a str,
    /// Whether the client has come back to the place of its member.
    pub(crate) resumed: bool,
}

impl Peers<'_> {
    pub(crate) fn frame<'p>(&self, others: impl Iterator<Item = (MemberId, &'p Profile)> + Clone) -> String {
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

pub(crate) fn new_peer(id: MemberId, profile: &Profile) -> String {
    event("_new_peer", |data| write_peer(data, id, profile))
}

pub(crate) fn remove_peer(id: MemberId, reason: &str) -> String {
    event("_remove_peer", |data| {
        data.key("socketId").string(&id.to_string());
        data.key("reason").string(reason);
    })
}

pub(crate) fn ice_servers(ice: &IceServers, resume: &str) -> String {
    event("_ice_servers", |data| {
        write_ice_servers(data, ice);
        data.key("resume").string(resume);
    })
}

pub(crate) fn directed(kind: Directed, sender: MemberId, fields: &Fields<'_>) -> String {
    if kind != Directed::IceCandidate {
        return forwarded(kind.server_event(), sender, fields, &[]);
    }
    // The old clients send `label` and pass what they get to RTCIceCandidate, which knows only `sdpMLineIndex`.
    let (label, index) = (fields.some("label"), fields.some("sdpMLineIndex"));
    let added = match (label, index) {
        (Some(label), None) => Some(("sdpMLineIndex", label)),
        (None, Some(index)) => Some(("label", index)),
        _ => None,
    };
    forwarded(kind.server_event(), sender, fields, added.as_slice())
}

pub(crate) fn message(sender: MemberId, fields: &Fields<'_>) -> String {
    forwarded("_message", sender, fields, &[])
}

pub(crate) fn peer_updated(sender: MemberId, fields: &Fields<'_>) -> String {
    forwarded("_peer_updated", sender, fields, &[])
}

/// What a member changed by coming back.
pub(crate) fn peer_renewed(id: MemberId, changed: &Profile) -> String {
    event("_peer_updated", |data| write_peer(data, id, changed))
}

pub(crate) fn pong(data: &str) -> String {
    let mut out = FrameWriter::with_capacity(data.len() + 40);
    out.object(|envelope| {
        envelope.key("eventName").string("_pong");
        envelope.key("data").raw(data);
    });
    out.0
}

pub(crate) fn error(refusal: &Refusal) -> String {
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

pub(crate) fn closing(reconnect_after_ms: u32) -> String {
    event("_closing", |data| data.key("reconnectAfter").raw(&reconnect_after_ms.to_string()))
}

/// `socketId` becomes the sender, `added` fields replace fields of the same name, everything else is forwarded as it
/// came.
fn forwarded(name: &str, sender: MemberId, fields: &Fields<'_>, added: &[(&str, &RawValue)]) -> String {
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

fn event(name: &str, write: impl FnOnce(&mut Object<'_>)) -> String {
    let mut out = FrameWriter::with_capacity(256);
    out.object(|envelope| {
        envelope.key("eventName").string(name);
        envelope.key("data").object(write);
    });
    out.0
}

/// Writes JSON in one pass, so that raw fields need no tree in between.
struct FrameWriter(String);

impl FrameWriter {
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
        // Serializing strings and lists of structs of strings cannot fail.
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
    out: &'a mut FrameWriter,
    is_empty: bool,
}

impl Object<'_> {
    fn key(&mut self, key: &str) -> &mut FrameWriter {
        if !self.is_empty {
            self.out.0.push(',');
        }
        self.is_empty = false;
        self.out.string(key);
        self.out.0.push(':');
        self.out
    }
}
