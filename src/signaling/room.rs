//! The rules of one room: who is in, how many fit, and how frames reach them.
//!
//! A room is also the one small interface through which [`super::hub`] reaches the rest of a room: membership changes
//! ([`Room::enter`], [`Room::set_away`], [`Room::take_over`], [`Room::leave`]), publish to one member ([`Room::publish_to`]) and to all others
//! ([`Room::publish`]). Here all members are in this process; a room that spans machines has the same.
//!
//! Everything is queued under the room's lock, so all members see the room's events in the same order.

use std::{
    ops::AddAssign,
    sync::{Mutex, MutexGuard},
};

use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    close_reason::CloseReason,
    frame::Frame,
    wire::{self, Peers, Profile, ProfileChange},
};
use crate::membership::{MemberId, RoomTag};

/// The way to one client. Called under a room's lock: it must neither block nor call back.
pub trait Outbox {
    /// Queues `frame`. When the queue is full the frame is lost and it is the outbox that sees to the client's end.
    ///
    /// # Errors
    /// [`Full`] when the client does not keep up.
    fn try_send(&self, frame: Frame) -> Result<(), Full>;

    /// Has the connection closed for this reason once what is queued is out.
    fn end(&self, reason: CloseReason);
}

/// A room as operators see it.
#[derive(Clone, Debug, Serialize)]
pub struct RoomSummary {
    /// Its name.
    pub room: Box<str>,
    /// How many are in it.
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
    /// What it calls itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Box<str>>,
    /// What its application says about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Box<RawValue>>,
    /// Whether it has lost its connection and may come back.
    pub away: bool,
}

/// What one message had queued, to whoever sent it and to others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// How many frames.
    pub(crate) frames: usize,
    /// Bytes to the sender.
    pub answered: usize,
    /// Bytes to all others together.
    pub to_others: usize,
}

impl Sent {
    /// `frame` went to so many others.
    fn to(others: usize, frame: &Frame) -> Self {
        Self { frames: others, answered: 0, to_others: others * frame.as_str().len() }
    }

    /// `frame` went back, if it could be queued.
    pub(crate) fn back(frame: Frame, outbox: &impl Outbox) -> Self {
        let answered = frame.as_str().len();
        outbox.try_send(frame).map_or_else(|Full| Self::default(), |()| Self { frames: 1, answered, to_others: 0 })
    }
}

impl AddAssign for Sent {
    fn add_assign(&mut self, more: Self) {
        self.frames += more.frames;
        self.answered += more.answered;
        self.to_others += more.to_others;
    }
}

/// The client's queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// A member's place, as one connection holds it. When another connection takes over, the old one's seat is void.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    pub(crate) id: MemberId,
    /// Differs for each connection that has held the place.
    pub(crate) holder: u64,
}

/// Why nothing was queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsent {
    /// The sender's seat is void.
    NotSeated,
    /// The target is not in this room.
    NoSuchPeer,
    /// The target's connection is gone.
    PeerAway,
}

/// One room, from its first member to its last.
pub(crate) struct Room<O> {
    pub(crate) name: Box<str>,
    pub(crate) tag: RoomTag,
    state: Mutex<State<O>>,
}

struct State<O> {
    /// In the order they came.
    members: Vec<Member<O>>,
    /// Places held for clients that are about to enter.
    reserved: usize,
}

struct Member<O> {
    seat: Seat,
    /// `None` while it is away.
    outbox: Option<O>,
    profile: Profile,
}

impl<O: Outbox> Room<O> {
    pub(crate) fn new(name: &str, tag: RoomTag) -> Self {
        let state = State { members: Vec::new(), reserved: 0 };
        Self { name: name.into(), tag, state: Mutex::new(state) }
    }

    /// Holds a place, if there is one among `max_peers`. [`Self::enter`] fills it.
    pub(crate) fn reserve(&self, max_peers: usize) -> bool {
        let mut state = self.lock();
        if state.members.len() + state.reserved >= max_peers {
            return false;
        }
        state.reserved += 1;
        true
    }

    /// Fills a reserved place. `before_peers` runs when the newcomer is in but knows nothing of it yet.
    pub(crate) fn enter(
        &self,
        seat: Seat,
        outbox: O,
        profile: Profile,
        peers: &Peers<'_>,
        before_peers: impl FnOnce(),
    ) -> Sent {
        let announcement = wire::new_peer(seat.id, &profile).into();
        let mut state = self.lock();
        state.reserved -= 1;
        before_peers();
        let mut sent = state.send_to_all_but(seat.id, &announcement);
        sent += Sent::back(state.peers_of(seat.id, peers), &outbox);
        state.members.push(Member { seat, outbox: Some(outbox), profile });
        sent
    }

    /// The connection of a member is gone. The place stays taken, and what is sent to it is lost.
    pub(crate) fn set_away(&self, id: MemberId) {
        if let Some(member) = self.lock().member(id) {
            member.outbox = None;
        }
    }

    /// Gives a member's place to another connection. `before_peers` runs before that one is told. Returns the outbox
    /// of the connection that held the place till now, if it is still there, and what was queued.
    pub(crate) fn take_over(
        &self,
        seat: Seat,
        outbox: O,
        profile: Profile,
        peers: &Peers<'_>,
        before_peers: impl FnOnce(),
    ) -> (Option<O>, Sent) {
        let mut state = self.lock();
        before_peers();
        let changed = state.member(seat.id).and_then(|member| member.profile.renew(profile));
        let mut sent = changed.map_or(Sent::default(), |changed| {
            let news = wire::peer_renewed(seat.id, &changed).into();
            state.send_to_all_but(seat.id, &news)
        });
        sent += Sent::back(state.peers_of(seat.id, peers), &outbox);
        let replaced = state.member(seat.id).and_then(|member| {
            member.seat = seat;
            member.outbox.replace(outbox)
        });
        (replaced, sent)
    }

    /// Removes a member and queues `farewell` to those that stay. `before_farewell` runs in between.
    pub(crate) fn leave(&self, id: MemberId, farewell: Option<&Frame>, before_farewell: impl FnOnce()) -> Sent {
        let mut state = self.lock();
        state.members.retain(|member| member.seat.id != id);
        before_farewell();
        farewell.map_or(Sent::default(), |frame| state.send_to_all_but(id, frame))
    }

    /// Queues `frame` to one member.
    pub(crate) fn publish_to(&self, sender: Seat, target: MemberId, frame: Frame) -> Result<Sent, Unsent> {
        let mut state = self.lock();
        state.check(sender)?;
        let member = state.member(target).ok_or(Unsent::NoSuchPeer)?;
        let outbox = member.outbox.as_ref().ok_or(Unsent::PeerAway)?;
        let told = usize::from(outbox.try_send(frame.clone()).is_ok());
        Ok(Sent::to(told, &frame))
    }

    /// Queues `frame` to all members but `sender`.
    pub(crate) fn publish(&self, sender: Seat, frame: &Frame) -> Result<Sent, Unsent> {
        let mut state = self.lock();
        state.check(sender)?;
        Ok(state.send_to_all_but(sender.id, frame))
    }

    /// Changes how a member presents itself and queues `frame`, which says so, to the others.
    pub(crate) fn update(&self, sender: Seat, change: ProfileChange, frame: &Frame) -> Result<Sent, Unsent> {
        let mut state = self.lock();
        state.check(sender)?.profile.apply(change);
        Ok(state.send_to_all_but(sender.id, frame))
    }

    /// Whether the seat is still held.
    pub(crate) fn holds(&self, seat: Seat) -> bool {
        self.lock().check(seat).is_ok()
    }

    /// The outbox of a member, if it is not away.
    pub(crate) fn outbox(&self, id: MemberId) -> Option<O>
    where
        O: Clone,
    {
        self.lock().member(id).and_then(|member| member.outbox.clone())
    }

    /// Who is in, in the order they came.
    pub(crate) fn members(&self) -> Vec<MemberSummary> {
        let summary = |member: &Member<O>| MemberSummary {
            socket_id: member.seat.id.to_string(),
            name: member.profile.name.clone(),
            metadata: member.profile.metadata.clone(),
            away: member.outbox.is_none(),
        };
        self.lock().members.iter().map(summary).collect()
    }

    /// How many are in, and how many of them are away.
    pub(crate) fn count(&self) -> (usize, usize) {
        let state = self.lock();
        (state.members.len(), state.members.iter().filter(|member| member.outbox.is_none()).count())
    }

    /// Whether nobody is in and nobody is about to be.
    pub(crate) fn is_empty(&self) -> bool {
        let state = self.lock();
        state.members.is_empty() && state.reserved == 0
    }

    fn lock(&self) -> MutexGuard<'_, State<O>> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl<O: Outbox> State<O> {
    fn member(&mut self, id: MemberId) -> Option<&mut Member<O>> {
        self.members.iter_mut().find(|member| member.seat.id == id)
    }

    /// The member that holds this seat.
    fn check(&mut self, seat: Seat) -> Result<&mut Member<O>, Unsent> {
        self.members.iter_mut().find(|member| member.seat == seat).ok_or(Unsent::NotSeated)
    }

    /// `_peers` for the member `id`: all others, also those that are away, because they may come back unannounced.
    fn peers_of(&self, id: MemberId, peers: &Peers<'_>) -> Frame {
        let others = self.members.iter().filter(|member| member.seat.id != id);
        peers.frame(others.map(|member| (member.seat.id, &member.profile))).into()
    }

    fn send_to_all_but(&self, id: MemberId, frame: &Frame) -> Sent {
        let others = self.members.iter().filter(|member| member.seat.id != id);
        let told = others
            .filter_map(|member| member.outbox.as_ref())
            .filter(|outbox| outbox.try_send(frame.clone()).is_ok())
            .count();
        Sent::to(told, frame)
    }
}
