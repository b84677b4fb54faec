//! The rooms of one owner, and the messages between their members, as pure state.
//!
//! How to drive it: call `handle_*` with what has happened and the time, then perform the [`Effects`]. Several hubs,
//! each with rooms of its own, know nothing of each other. `Roster` prevents that an id is in two of them: the caller
//! claims an id there before it passes the id to a hub.
//!
//! A client changes rooms in three steps, because the rooms may have different owners: it holds a place in the new room
//! (`handle_hold`), leaves the old one, and takes the place (`handle_join`). So a client that is refused stays in its
//! old room.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Instant};

use slab::Slab;

pub(crate) use super::room::Seat;
pub use super::room::{MemberSummary, RoomSummary};
use super::{
    effects::{Account, Effects, MembershipChange, RemoveReason, RoomEvent},
    resume::{Claims, Resume, Revoked},
    room::{Member, Room},
    tags::Tags,
};
use crate::{
    ice_servers::IceServers,
    membership::RoomTag,
    signaling::{
        clock::Step,
        close_reason::CloseReason,
        error::{Code, Refusal},
        wire::{self, Peers, Profile, ProfileChange},
    },
    values::member::MemberId,
};

/// The rooms of one owner. See the module's header.
pub(crate) struct Hub<O> {
    rooms: Slab<Room<O>>,
    slots_by_name: BTreeMap<Arc<str>, usize>,
    /// The members that are away: when the grace period of each ends, and its room.
    away: BTreeMap<(Instant, MemberId), Spot>,
    pub(crate) revoked: Revoked,
    tags: Tags,
    max_peers: usize,
}

/// The place of a room in the hub. It is void once the room has been closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    slot: usize,
    tag: RoomTag,
}

/// A seat and its room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlacedSeat {
    spot: Spot,
    pub(crate) seat: Seat,
}

/// A place that is kept for a client that is about to join.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hold {
    spot: Spot,
    /// Whether it is a place of its own. If not, the client will take over the place that its member already has.
    is_place: bool,
}

/// Permission to open one room.
#[derive(Debug)]
pub struct Permit(pub(crate) ());

/// Why a client was not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// There is no such room, and no [`Permit`] to open it. Nothing has changed.
    NoSuchRoom,
    Refused(Refusal),
}

impl From<Refusal> for Denied {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// What a client shows in order to be let in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pass<'a> {
    /// The name of the room.
    pub(crate) room: &'a str,
    pub(crate) id: MemberId,
    /// The token that it shows, if that has a valid signature and has not expired.
    pub(crate) token: Option<Claims>,
    /// Whether it wants to become the member of that token, which it is not yet.
    pub(crate) comes_back: bool,
    /// Whether it gives up a place in this room when it gets the new one.
    pub(crate) gives_up_a_place: bool,
}

/// A client that is let in.
pub(crate) struct Newcomer<'a, O> {
    pub(crate) pass: Pass<'a>,
    /// A number that differs for each newcomer.
    pub(crate) holder: u64,
    pub(crate) epoch: u32,
    pub(crate) outbox: O,
    pub(crate) address: Option<IpAddr>,
    /// Its profile, which is moved out when it enters.
    pub(crate) profile: Profile,
    /// This and the following fields are sent to it in `_peers`.
    pub(crate) server: &'a str,
    pub(crate) ice: &'a IceServers,
    pub(crate) resume: &'a str,
}

impl<O> Newcomer<'_, O> {
    fn peers<'p>(&'p self, room: &'p str, resumed: bool) -> Peers<'p> {
        Peers { you: self.pass.id, room, server: self.server, ice: self.ice, resume: self.resume, resumed }
    }
}

/// How a member leaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parting {
    /// Whether the others are told.
    pub(crate) is_told: bool,
    /// When the latest of its tokens would expire, in Unix seconds. `unix` is the current time.
    pub(crate) tokens_end_at: u64,
    pub(crate) unix: u64,
}

/// Why nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsent {
    /// The seat of the sender is void.
    NotSeated,
    /// The target is not in this room.
    NoSuchPeer,
    /// The connection of the target is gone.
    PeerAway,
}

pub(crate) fn replaced() -> Refusal {
    Refusal::new(Code::Replaced, "this connection has no place in the room any more")
}

pub(crate) fn bad_token(why: &'static str) -> Refusal {
    Refusal::new(Code::BadToken, why)
}

impl<O: Clone> Hub<O> {
    /// A hub without rooms. It is number `number` of `owners`, so that the room tags of all owners differ.
    pub(crate) fn new(max_peers: usize, number: u32, owners: u32) -> Self {
        Self {
            rooms: Slab::new(),
            slots_by_name: BTreeMap::new(),
            away: BTreeMap::new(),
            revoked: Revoked::default(),
            tags: Tags::new(number, owners),
            max_peers,
        }
    }

    /// Holds a place. [`Self::handle_join`] takes it, [`Self::handle_unhold`] gives it up.
    pub(crate) fn handle_hold(
        &mut self,
        pass: Pass<'_>,
        permit: &mut Option<Permit>,
        now: Instant,
        effects: &mut Effects<O>,
    ) -> Result<Hold, Denied> {
        self.check(pass)?;
        let spot = self.find_or_open(pass.room, permit, now, effects)?;
        let room = &mut self.rooms[spot.slot];
        if let Some(member) = room.member(pass.id) {
            may_come_back(pass, member.epoch)?;
            return Ok(Hold { spot, is_place: false });
        }
        if room.is_full(self.max_peers + usize::from(pass.gives_up_a_place)) {
            self.close_if_empty(spot, now, effects);
            return Err(room_full().into());
        }
        room.held += 1;
        Ok(Hold { spot, is_place: true })
    }

    /// Gives up a place that was held.
    pub(crate) fn handle_unhold(&mut self, hold: Hold, now: Instant, effects: &mut Effects<O>) {
        if hold.is_place {
            self.rooms[hold.spot.slot].held -= 1;
            self.close_if_empty(hold.spot, now, effects);
        }
    }

    /// A client enters, or comes back to the place of its member.
    pub(crate) fn handle_join(
        &mut self,
        newcomer: &mut Newcomer<'_, O>,
        hold: Option<Hold>,
        permit: &mut Option<Permit>,
        now: Instant,
        effects: &mut Effects<O>,
    ) -> Result<PlacedSeat, Denied> {
        let pass = newcomer.pass;
        let has_place = hold.is_some_and(|hold| hold.is_place);
        if let Some(hold) = hold.filter(|hold| hold.is_place) {
            self.rooms[hold.spot.slot].held -= 1;
        }
        let outcome = self.let_in(pass, has_place, permit, now, effects);
        let (spot, is_member) = outcome.inspect_err(|_| {
            if let Some(hold) = hold {
                self.close_if_empty(hold.spot, now, effects);
            }
        })?;
        Ok(if is_member { self.come_back(spot, newcomer, effects) } else { self.enter(spot, newcomer, now, effects) })
    }

    /// A client joins the room again in which it already is: everyone starts afresh.
    pub(crate) fn handle_rejoin(
        &mut self,
        place: PlacedSeat,
        newcomer: &mut Newcomer<'_, O>,
        parting: Parting,
        now: Instant,
        effects: &mut Effects<O>,
    ) -> Result<PlacedSeat, Refusal> {
        let epoch = self.seated(place).ok_or_else(replaced)?.epoch;
        self.check(newcomer.pass)?;
        self.revoked.add(place.seat.id, epoch, parting.tokens_end_at, parting.unix);
        self.remove(place.spot, place.seat.id, RemoveReason::Moved, parting.is_told, now, effects);
        Ok(self.enter(place.spot, newcomer, now, effects))
    }

    /// A client leaves by itself, so its tokens are revoked. Returns `false` if its seat is void.
    pub(crate) fn handle_leave(
        &mut self,
        place: PlacedSeat,
        reason: RemoveReason,
        parting: Parting,
        now: Instant,
        effects: &mut Effects<O>,
    ) -> bool {
        let Some(member) = self.seated(place) else {
            return false;
        };
        let epoch = member.epoch;
        self.revoked.add(place.seat.id, epoch, parting.tokens_end_at, parting.unix);
        self.depart(place.spot, place.seat.id, reason, parting.is_told, now, effects);
        true
    }

    /// A connection has ended. If `until` is given, its place is kept until then.
    pub(crate) fn handle_disconnect(
        &mut self,
        place: PlacedSeat,
        until: Option<Instant>,
        is_told: bool,
        now: Instant,
        effects: &mut Effects<O>,
    ) {
        let Some(member) = self.seated(place).filter(|member| member.away_until.is_none()) else {
            return;
        };
        let Some(until) = until else {
            self.depart(place.spot, place.seat.id, RemoveReason::Disconnected, is_told, now, effects);
            return;
        };
        member.outbox = None;
        member.away_until = Some(until);
        let address = member.address;
        self.away.insert((until, place.seat.id), place.spot);
        let room = self.rooms[place.spot.slot].label();
        effects.events.push(RoomEvent::Away { member: place.seat.id, room, address });
    }

    /// When the first grace period ends.
    pub(crate) fn first_deadline(&self) -> Option<Instant> {
        self.away.first_key_value().map(|((until, _), _)| *until)
    }

    /// Removes one member whose grace period has ended at `now`, or, with `any`, any member that is away. Returns
    /// `false` if there is none.
    pub(crate) fn handle_expiry(&mut self, now: Instant, any: bool, is_told: bool, effects: &mut Effects<O>) -> bool {
        let Some(((until, id), spot)) = self.away.first_key_value().map(|(key, spot)| (*key, *spot)) else {
            return false;
        };
        if now < until && !any {
            return false;
        }
        self.depart(spot, id, RemoveReason::Disconnected, is_told, now, effects);
        true
    }

    /// Removes a member for good. Returns `false` if it is not here.
    pub(crate) fn handle_kick(
        &mut self,
        room: &str,
        id: MemberId,
        parting: Parting,
        now: Instant,
        effects: &mut Effects<O>,
    ) -> bool {
        let Some(spot) = self.find(room) else {
            return false;
        };
        let Some(member) = self.rooms[spot.slot].member(id) else {
            return false;
        };
        let epoch = member.epoch;
        effects.ended.extend(member.outbox.clone().map(|outbox| (outbox, CloseReason::Kicked)));
        self.revoked.add(id, epoch, parting.tokens_end_at, parting.unix);
        self.depart(spot, id, RemoveReason::Kicked, parting.is_told, now, effects);
        true
    }

    /// Sends `text` to one member.
    pub(crate) fn handle_directed(
        &mut self,
        sender: PlacedSeat,
        target: MemberId,
        text: String,
        effects: &mut Effects<O>,
    ) -> Result<(), Unsent> {
        self.seated(sender).ok_or(Unsent::NotSeated)?;
        let member = self.rooms[sender.spot.slot].member(target).ok_or(Unsent::NoSuchPeer)?;
        let outbox = member.outbox.clone().ok_or(Unsent::PeerAway)?;
        effects.deliver(text, [outbox], Account::Others);
        Ok(())
    }

    /// Sends `text` to all members except its sender.
    pub(crate) fn handle_message(
        &mut self,
        sender: PlacedSeat,
        text: String,
        effects: &mut Effects<O>,
    ) -> Result<(), Unsent> {
        self.seated(sender).ok_or(Unsent::NotSeated)?;
        self.rooms[sender.spot.slot].tell_all_but(sender.seat.id, text, Account::Others, effects);
        Ok(())
    }

    /// A member changes its profile. `text` tells the others.
    pub(crate) fn handle_update(
        &mut self,
        sender: PlacedSeat,
        change: ProfileChange,
        text: String,
        effects: &mut Effects<O>,
    ) -> Result<(), Unsent> {
        self.seated(sender).ok_or(Unsent::NotSeated)?.profile.apply(change);
        self.handle_message(sender, text, effects)
    }

    /// The wall clock was set. Everything that is dated by it still ends at the same moment.
    pub(crate) fn handle_step(&mut self, step: Step) {
        self.revoked.carry_over(step);
    }

    /// The name of the seat's room, if the seat is still held.
    pub(crate) fn name_of(&mut self, place: PlacedSeat) -> Option<Arc<str>> {
        self.seated(place)?;
        Some(self.rooms[place.spot.slot].name.clone())
    }

    /// All rooms, by name.
    pub(crate) fn rooms(&self) -> impl Iterator<Item = RoomSummary> {
        let rooms = self.slots_by_name.values().map(|slot| self.rooms[*slot].summary());
        rooms.filter(|room| room.members > 0)
    }

    /// The members of the room of this name; `None` if there is no such room.
    pub(crate) fn members(&self, room: &str) -> Option<Vec<MemberSummary>> {
        let spot = self.find(room)?;
        Some(self.rooms[spot.slot].summaries()).filter(|members| !members.is_empty())
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.rooms.is_empty() && self.slots_by_name.is_empty() && self.away.is_empty() && self.tags.is_empty()
    }

    /// The room to let a client into, and whether its member is already there.
    fn let_in(
        &mut self,
        pass: Pass<'_>,
        has_place: bool,
        permit: &mut Option<Permit>,
        now: Instant,
        effects: &mut Effects<O>,
    ) -> Result<(Spot, bool), Denied> {
        self.check(pass)?;
        let spot = self.find_or_open(pass.room, permit, now, effects)?;
        let room = &mut self.rooms[spot.slot];
        if let Some(member) = room.member(pass.id) {
            may_come_back(pass, member.epoch)?;
            return Ok((spot, true));
        }
        if !has_place && room.is_full(self.max_peers) {
            self.close_if_empty(spot, now, effects);
            return Err(room_full().into());
        }
        Ok((spot, false))
    }

    fn enter(
        &mut self,
        spot: Spot,
        newcomer: &mut Newcomer<'_, O>,
        now: Instant,
        effects: &mut Effects<O>,
    ) -> PlacedSeat {
        let room = &mut self.rooms[spot.slot];
        let Pass { id, comes_back, .. } = newcomer.pass;
        let profile = std::mem::take(&mut newcomer.profile);
        let address = newcomer.address;
        effects.membership.push(MembershipChange::Entered { member: id, room: room.tag, address });
        let (label, name) = (room.label(), profile.name.clone());
        effects.events.push(RoomEvent::Joined { member: id, room: label, address, announced: comes_back, name });
        room.tell_all_but(id, wire::new_peer(id, &profile), Account::Others, effects);
        let peers = room.peers_of(id, &newcomer.peers(&room.name, false));
        effects.deliver(peers, [newcomer.outbox.clone()], Account::Answer);
        let seat = Seat { id, holder: newcomer.holder };
        room.members.push(Member {
            seat,
            epoch: newcomer.epoch,
            outbox: Some(newcomer.outbox.clone()),
            away_until: None,
            profile,
            since: now,
            address,
        });
        PlacedSeat { spot, seat }
    }

    /// The member is in the room: it gets this connection instead of its present or former one.
    fn come_back(&mut self, spot: Spot, newcomer: &mut Newcomer<'_, O>, effects: &mut Effects<O>) -> PlacedSeat {
        let room = &mut self.rooms[spot.slot];
        let (id, address) = (newcomer.pass.id, newcomer.address);
        let seat = Seat { id, holder: newcomer.holder };
        let label = room.label();
        effects.membership.push(MembershipChange::Reconnected { member: id, address });
        let profile = std::mem::take(&mut newcomer.profile);
        let (mut changed, mut before, mut away_until) = (None, None, None);
        if let Some(member) = room.member(id) {
            changed = member.profile.renew(profile);
            before = member.outbox.replace(newcomer.outbox.clone());
            away_until = member.away_until.take();
            member.seat = seat;
            member.epoch = newcomer.epoch;
            member.address = address;
        }
        if let Some(changed) = changed {
            room.tell_all_but(id, wire::peer_renewed(id, &changed), Account::Others, effects);
        }
        let peers = room.peers_of(id, &newcomer.peers(&room.name, true));
        effects.deliver(peers, [newcomer.outbox.clone()], Account::Answer);
        if let Some(before) = before {
            effects.deliver(wire::error(&replaced()), [before.clone()], Account::Free);
            effects.ended.push((before, CloseReason::Replaced));
        }
        let how = match away_until {
            Some(until) => {
                self.away.remove(&(until, id));
                Resume::WithinGrace
            }
            None => Resume::Takeover,
        };
        effects.events.push(RoomEvent::Resumed { member: id, room: label, address, how });
        // The member already has a claim.
        effects.released.push(id);
        PlacedSeat { spot, seat }
    }

    /// A member has left the room: its id is free, and the room is closed if it is empty.
    fn depart(
        &mut self,
        spot: Spot,
        id: MemberId,
        reason: RemoveReason,
        is_told: bool,
        now: Instant,
        effects: &mut Effects<O>,
    ) {
        self.remove(spot, id, reason, is_told, now, effects);
        effects.released.push(id);
        self.close_if_empty(spot, now, effects);
    }

    /// Removes a member. The room stays, even if it is empty, and so does the claim to the id.
    fn remove(
        &mut self,
        spot: Spot,
        id: MemberId,
        reason: RemoveReason,
        is_told: bool,
        now: Instant,
        effects: &mut Effects<O>,
    ) {
        let room = &mut self.rooms[spot.slot];
        let Some(index) = room.position(id) else {
            return;
        };
        let member = room.members.remove(index);
        if let Some(until) = member.away_until {
            self.away.remove(&(until, id));
        }
        effects.membership.push(MembershipChange::Left { member: id });
        effects.events.push(RoomEvent::Left {
            member: id,
            room: room.label(),
            address: member.address,
            reason,
            stayed: now.saturating_duration_since(member.since),
            was_away: member.away_until.is_some(),
        });
        if is_told {
            room.tell_all_but(id, wire::remove_peer(id, reason.as_str()), Account::Others, effects);
        }
    }

    fn find(&self, name: &str) -> Option<Spot> {
        let slot = *self.slots_by_name.get(name)?;
        Some(Spot { slot, tag: self.rooms[slot].tag })
    }

    fn find_or_open(
        &mut self,
        name: &str,
        permit: &mut Option<Permit>,
        now: Instant,
        effects: &mut Effects<O>,
    ) -> Result<Spot, Denied> {
        if let Some(spot) = self.find(name) {
            return Ok(spot);
        }
        permit.take().ok_or(Denied::NoSuchRoom)?;
        let room = Room::new(name, self.tags.take(), now);
        let (name, tag, label) = (room.name.clone(), room.tag, room.label());
        let slot = self.rooms.insert(room);
        self.slots_by_name.insert(name, slot);
        effects.events.push(RoomEvent::RoomOpened { room: label });
        Ok(Spot { slot, tag })
    }

    fn close_if_empty(&mut self, spot: Spot, now: Instant, effects: &mut Effects<O>) {
        let is_empty = self.rooms.get(spot.slot).is_some_and(|room| room.tag == spot.tag && room.is_empty());
        if !is_empty {
            return;
        }
        let room = self.rooms.remove(spot.slot);
        self.slots_by_name.remove(&room.name);
        self.tags.give_back(room.tag);
        let lasted = now.saturating_duration_since(room.opened);
        effects.events.push(RoomEvent::RoomClosed { room: room.label(), lasted });
    }

    /// Checks that the token, if one is shown, is not revoked.
    fn check(&self, pass: Pass<'_>) -> Result<(), Refusal> {
        match pass.token {
            Some(token) if self.revoked.contains(token.id, token.epoch) => Err(left_for_good()),
            _ => Ok(()),
        }
    }

    fn seated(&mut self, place: PlacedSeat) -> Option<&mut Member<O>> {
        let room = self.rooms.get_mut(place.spot.slot).filter(|room| room.tag == place.spot.tag)?;
        room.seated(place.seat)
    }
}

fn room_full() -> Refusal {
    Refusal::new(Code::RoomFull, "the room is full")
}

fn left_for_good() -> Refusal {
    bad_token("the member has left for good")
}

/// Checks whether a client may take the place of a member that is here.
fn may_come_back(pass: Pass<'_>, epoch: u32) -> Result<(), Refusal> {
    match pass.token.filter(|_| pass.comes_back) {
        // The member has left and joined again since, and the revocation has been forgotten.
        Some(token) if token.epoch < epoch => Err(left_for_good()),
        Some(_) => Ok(()),
        // Another connection has come back as this member.
        None => Err(replaced()),
    }
}
