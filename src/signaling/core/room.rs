//! One room: its members, how many it may have, and what they are told.

use std::{net::IpAddr, sync::Arc, time::Instant};

use serde::Serialize;
use serde_json::value::RawValue;

use super::effects::{Account, Effects, RoomLabel};
use crate::{
    membership::RoomTag,
    signaling::wire::{Peers, Profile},
    values::member::MemberId,
};

/// A room as operators see it.
#[derive(Clone, Debug, Serialize)]
pub struct RoomSummary {
    /// Its name.
    pub room: Box<str>,
    /// How many members it has.
    pub members: usize,
    /// How many of them have lost their connection and may come back.
    pub away: usize,
}

/// A member as operators see it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberSummary {
    /// Its id.
    pub socket_id: String,
    /// Its display name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Box<str>>,
    /// What its application says about the member.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Box<RawValue>>,
    /// Whether it has lost its connection and may come back.
    pub away: bool,
}

/// A member's place, as one connection holds it. When another connection takes over, the seat of the old one is void.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    pub(crate) id: MemberId,
    /// A number that differs for each connection that has held the place.
    pub(crate) holder: u64,
}

/// A room, which exists from its first member to its last.
pub(super) struct Room<O> {
    pub(super) name: Arc<str>,
    pub(super) tag: RoomTag,
    pub(super) opened: Instant,
    /// In the order in which they joined.
    pub(super) members: Vec<Member<O>>,
    /// Places held for clients that are about to enter.
    pub(super) held: usize,
}

pub(super) struct Member<O> {
    pub(super) seat: Seat,
    /// How often it had left a room when it joined.
    pub(super) epoch: u32,
    /// `None` while it is away.
    pub(super) outbox: Option<O>,
    /// When its grace period ends, if it is away.
    pub(super) away_until: Option<Instant>,
    pub(super) profile: Profile,
    pub(super) since: Instant,
    pub(super) address: Option<IpAddr>,
}

impl<O: Clone> Room<O> {
    pub(super) fn new(name: &str, tag: RoomTag, opened: Instant) -> Self {
        Self { name: name.into(), tag, opened, members: Vec::new(), held: 0 }
    }

    pub(super) fn label(&self) -> RoomLabel {
        RoomLabel { tag: self.tag, name: self.name.clone() }
    }

    pub(super) fn is_full(&self, max_peers: usize) -> bool {
        self.members.len() + self.held >= max_peers
    }

    /// Whether nobody is in the room or about to enter it.
    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.held == 0
    }

    pub(super) fn position(&self, id: MemberId) -> Option<usize> {
        self.members.iter().position(|member| member.seat.id == id)
    }

    pub(super) fn member(&mut self, id: MemberId) -> Option<&mut Member<O>> {
        self.members.iter_mut().find(|member| member.seat.id == id)
    }

    /// The member that holds this seat.
    pub(super) fn seated(&mut self, seat: Seat) -> Option<&mut Member<O>> {
        self.members.iter_mut().find(|member| member.seat == seat)
    }

    /// `_peers` for the member `id`: all others, also those that are away, because they may come back without notice.
    pub(super) fn peers_of(&self, id: MemberId, peers: &Peers<'_>) -> String {
        let others = self.members.iter().filter(|member| member.seat.id != id);
        peers.frame(others.map(|member| (member.seat.id, &member.profile)))
    }

    pub(super) fn tell_all_but(&self, id: MemberId, text: String, account: Account, effects: &mut Effects<O>) {
        let others = self.members.iter().filter(|member| member.seat.id != id);
        effects.deliver(text, others.filter_map(|member| member.outbox.clone()), account);
    }

    /// How many members there are, and how many of them are away.
    pub(super) fn summary(&self) -> RoomSummary {
        let away = self.members.iter().filter(|member| member.outbox.is_none()).count();
        RoomSummary { room: (&*self.name).into(), members: self.members.len(), away }
    }

    /// The members, in the order in which they joined.
    pub(super) fn summaries(&self) -> Vec<MemberSummary> {
        let summary = |member: &Member<O>| MemberSummary {
            socket_id: member.seat.id.to_string(),
            name: member.profile.name.clone(),
            metadata: member.profile.metadata.clone(),
            away: member.outbox.is_none(),
        };
        self.members.iter().map(summary).collect()
    }
}
