//! All rooms of this process: finds the owner of a room, lets it decide, and performs the effects.
//!
//! How to drive it: one [`Client`] per connection, passed to [`Service::handle_text`] with each text frame and the time
//! of both clocks, and to [`Service::disconnect`] at the end. When a call returns, all its effects have been performed:
//! frames are in the clients' [`Outbox`]es, and TURN knows. A member whose connection broke, and that asked for it,
//! stays until [`Service::expire`] is called with a later time than [`Service::disconnect`] was given.
//!
//! Rooms are spread over shards. A shard is a `Hub` under a lock of its own; ids are spread over shards of a `Roster`.
//! A thread holds one of these locks at a time, and nothing is performed under any of them. Effects are performed in
//! the order in which the shard decided them (see `turns`): the directory first (TURN knows of a newcomer, and of the
//! end of a member, before anybody is told), then log and metrics, then the frames, then the connections that must end.

mod client;
mod joining;
mod turns;

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Instant,
};

use arc_swap::ArcSwap;
use crossbeam_queue::ArrayQueue;

pub use self::client::{Client, Outcome};
use self::turns::Turns;
use super::{
    clock::{Step, Steps},
    core::{
        Effects, MembershipChange, RemoveReason,
        effects::{Account, RoomEvent},
        hub::{
            Denied, Hold, Hub, MemberSummary, Newcomer, Parting, Pass, Permit, RoomSummary, Unsent, bad_token, replaced,
        },
        resume::{Claims, MAX_REVOKED, ResumeKey},
        roster::{InAnotherRoom, RoomKey, Roster},
    },
    error::{Code, Refusal},
    frame::Frame,
    instruments::Instruments,
    outbox::Outbox,
    room_name,
    rooms::{Local, Owner, Rooms},
    sent::Sent,
    wire::{self, ClientMessage, Profile},
};
use crate::{
    credentials::User,
    ice_servers::Issuer,
    locks::{self, Lock, LockName},
    membership::Directory,
    observe::metrics::SignalingMetrics,
    shutdown::Shutdown,
    values::member::MemberId,
};

/// There are many more shards than threads, so that two threads seldom need the same one.
const SHARDS: usize = 256;
/// How many shards of ids there are.
const ROSTERS: usize = 64;
/// How many cleared [`Effects`] are kept for reuse.
const SPARE_EFFECTS: usize = 16;

/// Limits on everything that strangers can create.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Members per room.
    pub max_peers_per_room: usize,
    /// Rooms.
    pub max_rooms: usize,
    /// Bytes per message from a client.
    pub max_message_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_peers_per_room: 32, max_rooms: 100_000, max_message_bytes: 65_536 }
    }
}

/// The time by both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// Monotonic time, for durations.
    pub instant: Instant,
    /// Unix time in seconds, for dates.
    pub unix: u64,
}

/// All rooms of this process. See the module's header.
pub struct Service<O> {
    shards: Box<[Shard<O>]>,
    rosters: Box<[Lock<Roster>]>,
    /// Hashes the names of rooms.
    hasher: RandomState,
    rooms: Local,
    spare: ArrayQueue<Effects<O>>,
    last_holder: AtomicU64,
    /// The steps of the clock by which tokens are dated.
    steps: ArcSwap<Steps>,
    /// The number of revocations of all shards.
    revoked: AtomicUsize,
    limits: Limits,
    server: Box<str>,
    issuer: Issuer,
    resume_key: ResumeKey,
    directory: Arc<Directory>,
    instruments: Instruments,
    /// After a shutdown has begun, nobody is told that others leave: everybody will leave, and calls go on without the
    /// server.
    shutdown: Shutdown,
}

struct Shard<O> {
    owned: Lock<Owned<O>>,
    turns: Turns,
    /// Whether a member of this shard is away.
    has_away: AtomicBool,
    /// How many revocations the shard remembers. `first_revoked_end` is when the first of them ends.
    revoked: AtomicUsize,
    first_revoked_end: AtomicU64,
}

struct Owned<O> {
    hub: Hub<O>,
    next_ticket: u64,
}

impl<O: Outbox + Clone> Service<O> {
    /// A service without rooms. `server` identifies this run of the server.
    pub fn new(
        limits: Limits,
        server: impl Into<Box<str>>,
        issuer: Issuer,
        resume_key: ResumeKey,
        directory: Arc<Directory>,
        metrics: &SignalingMetrics,
        shutdown: Shutdown,
    ) -> Self {
        let shard = |number: usize| Shard {
            owned: Lock::new(
                LockName("rooms", number),
                Owned { hub: Hub::new(limits.max_peers_per_room, number as u32, SHARDS as u32), next_ticket: 0 },
            ),
            turns: Turns::default(),
            has_away: AtomicBool::new(false),
            revoked: AtomicUsize::new(0),
            first_revoked_end: AtomicU64::new(u64::MAX),
        };
        Self {
            shards: (0..SHARDS).map(shard).collect(),
            rosters: (0..ROSTERS).map(|number| Lock::new(LockName("ids", number), Roster::default())).collect(),
            hasher: RandomState::new(),
            rooms: Local::new(limits.max_rooms),
            spare: ArrayQueue::new(SPARE_EFFECTS),
            last_holder: AtomicU64::new(0),
            steps: ArcSwap::default(),
            revoked: AtomicUsize::new(0),
            limits,
            server: server.into(),
            issuer,
            resume_key,
            directory,
            instruments: Instruments::new(metrics),
            shutdown,
        }
    }

    /// The limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How long credentials last.
    pub fn credential_ttl(&self) -> std::time::Duration {
        self.issuer.ttl
    }

    /// Handles a text frame of `client`.
    pub fn handle_text(&self, client: &mut Client<O>, text: &str, now: Clocks) -> Outcome {
        let outcome = wire::parse(text).and_then(|message| {
            self.instruments.count_received(&message);
            let event = message.event();
            self.act(client, message, now).map_err(|refusal| refusal.of_event(event))
        });
        outcome.unwrap_or_else(|refusal| self.refuse(client, &refusal))
    }

    /// Tells `client` that something it sent was refused.
    pub fn refuse(&self, client: &Client<O>, refusal: &Refusal) -> Outcome {
        self.instruments.count_refused(refusal.code);
        // Any other name is a stranger's text, which is not logged.
        let event = wire::CLIENT_EVENTS.iter().find(|event| refusal.event.as_deref() == Some(**event)).copied();
        tracing::debug!(
            target: "bimcc_rtc::signaling", member = %client.id, event, code = %refusal.code.as_str(), "refused"
        );
        self.answer(client, wire::error(refusal));
        if refusal.code.is_clients_fault() { Outcome::Bad } else { Outcome::Refused }
    }

    /// Sends fresh credentials to `client` if it is in a room. Outside a room they would be of no use.
    pub fn push_ice_servers(&self, client: &Client<O>, now: Clocks) {
        if let Some(room) = self.room_of(client) {
            self.send_ice_servers(client, &room, now);
        }
    }

    fn send_ice_servers(&self, client: &Client<O>, room: &str, now: Clocks) -> Sent {
        let ice = self.issuer.issue(&User::Member(client.id), now.unix, &client.reached);
        let resume = self.resume_token(client.id, client.epoch, room, now);
        self.answer(client, wire::ice_servers(&ice, &resume))
    }

    /// The wall clock was set. The resume tokens and revocations made until now still end at the same moment.
    pub(crate) fn note_step(&self, step: Step) {
        self.steps.rcu(|steps| {
            let mut steps = Steps::clone(steps);
            steps.push(step);
            steps
        });
        for shard in &self.shards {
            let mut owned = shard.owned.lock();
            owned.hub.handle_step(step);
            self.note(shard, &owned.hub);
        }
    }

    /// Tells `client` that the server is shutting down, and when to come back.
    pub fn say_closing(&self, client: &Client<O>, reconnect_after_ms: u32) {
        self.answer(client, wire::closing(reconnect_after_ms));
    }

    /// The connection of `client` has ended. If the client asked for it, its place is kept until `until`. Returns
    /// whether it is kept.
    pub fn disconnect(&self, client: &mut Client<O>, until: Instant, now: Instant) -> bool {
        let Some(room) = client.room.take() else {
            return false;
        };
        let is_ending = self.shutdown.has_begun();
        let until = (client.may_return && !is_ending).then_some(until);
        self.perform_for(room.shard, &mut client.sent, |hub, effects| {
            hub.handle_disconnect(room.place, until, !is_ending, now, effects);
        });
        until.is_some()
    }

    /// Removes the members whose time to come back has passed at `now`. Returns when that of the next one passes.
    pub fn expire(&self, now: Instant) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        for (index, shard) in self.shards.iter().enumerate() {
            while shard.has_away.load(Ordering::Relaxed) {
                let is_ending = self.shutdown.has_begun();
                // The lock is taken again for each member, so that nobody has to wait for all of them.
                let (removed, first) = self.perform_for(index, &mut Sent::default(), |hub, effects| {
                    (hub.handle_expiry(now, is_ending, !is_ending, effects), hub.first_deadline())
                });
                if !removed {
                    next = next.into_iter().chain(first).min();
                    break;
                }
            }
        }
        next
    }

    /// Removes the member `id` from the room of this name, for good: its connection is closed and its resume tokens are
    /// refused. Returns `false` if there is no such member.
    pub fn kick(&self, room: &str, id: MemberId, now: Clocks) -> bool {
        let name = &*room_name::canonical(room);
        let (shard, _) = self.shard_of(name);
        let parting = self.parting(now);
        self.perform_for(shard, &mut Sent::default(), |hub, effects| {
            hub.handle_kick(name, id, parting, now.instant, effects)
        })
    }

    /// All rooms, by name.
    pub fn rooms(&self) -> Vec<RoomSummary> {
        let mut rooms = Vec::new();
        for shard in &self.shards {
            rooms.extend(shard.owned.lock().hub.rooms());
        }
        rooms.sort_by(|a: &RoomSummary, b| a.room.cmp(&b.room));
        rooms
    }

    /// The members of the room of this name; `None` if there is no such room.
    pub fn members(&self, room: &str) -> Option<Vec<MemberSummary>> {
        let name = &*room_name::canonical(room);
        let (shard, _) = self.shard_of(name);
        self.shards[shard].owned.lock().hub.members(name)
    }

    fn act(&self, client: &mut Client<O>, message: ClientMessage<'_>, now: Clocks) -> Result<Outcome, Refusal> {
        match message {
            ClientMessage::Join { room, profile, resume } => {
                return self.join(client, room.as_deref(), profile, resume.as_deref(), now);
            }
            ClientMessage::Directed { event, target, fields } => {
                self.send_to_peer(client, &target, |sender| wire::directed(event, sender, &fields))?;
            }
            ClientMessage::Message { target: Some(target), fields } => {
                self.send_to_peer(client, &target, |sender| wire::message(sender, &fields))?;
            }
            ClientMessage::Message { target: None, fields } => {
                let (shard, place) = client.place()?;
                let text = wire::message(client.id, &fields);
                let sent =
                    self.perform_for(shard, &mut client.sent, |hub, effects| hub.handle_message(place, text, effects));
                sent.map_err(|_| replaced())?;
            }
            ClientMessage::Update { fields, change } => {
                let (shard, place) = client.place()?;
                let text = wire::peer_updated(client.id, &fields);
                let sent = self.perform_for(shard, &mut client.sent, |hub, effects| {
                    hub.handle_update(place, change, text, effects)
                });
                sent.map_err(|_| replaced())?;
            }
            ClientMessage::IceServers => {
                client.place()?;
                let room = self.room_of(client).ok_or_else(replaced)?;
                let sent = self.send_ice_servers(client, &room, now);
                client.sent += sent;
                return Ok(Outcome::CredentialsIssued);
            }
            ClientMessage::Leave => {
                client.place()?;
                self.leave(client, RemoveReason::Left, now)?;
            }
            ClientMessage::Ping { data } => {
                let sent = self.answer(client, wire::pong(data));
                client.sent += sent;
            }
        }
        Ok(Outcome::Fine)
    }

    fn send_to_peer(
        &self,
        client: &mut Client<O>,
        target: &str,
        text: impl FnOnce(MemberId) -> String,
    ) -> Result<(), Refusal> {
        let (shard, place) = client.place()?;
        let no_such_peer = || Refusal::new(Code::NoSuchPeer, "the target is not in this room").of_target(target);
        let id: MemberId = target.parse().map_err(|_| no_such_peer())?;
        let text = text(client.id);
        let sent =
            self.perform_for(shard, &mut client.sent, |hub, effects| hub.handle_directed(place, id, text, effects));
        sent.map_err(|unsent| match unsent {
            Unsent::NotSeated => replaced(),
            Unsent::NoSuchPeer => no_such_peer(),
            Unsent::PeerAway => {
                Refusal::new(Code::PeerAway, "the target's connection is gone and not yet back").of_target(target)
            }
        })
    }

    /// `client` leaves its room by itself, so its tokens are revoked.
    fn leave(&self, client: &mut Client<O>, reason: RemoveReason, now: Clocks) -> Result<(), Refusal> {
        let (shard, place) = client.place()?;
        let parting = self.parting(now);
        let left = self.perform_for(shard, &mut client.sent, |hub, effects| {
            hub.handle_leave(place, reason, parting, now.instant, effects)
        });
        if !left {
            return Err(replaced());
        }
        client.room = None;
        client.epoch = client.epoch.saturating_add(1);
        Ok(())
    }

    fn parting(&self, now: Clocks) -> Parting {
        // No token of the member can expire later than this.
        let tokens_end_at = now.unix.saturating_add(self.issuer.ttl.as_secs());
        Parting { is_told: !self.shutdown.has_begun(), tokens_end_at, unix: now.unix }
    }

    /// The name of the room of `client`, unless another connection has taken over its place.
    fn room_of(&self, client: &Client<O>) -> Option<Arc<str>> {
        let room = client.room.as_ref()?;
        self.perform_for(room.shard, &mut Sent::default(), |hub, _| hub.name_of(room.place))
    }

    fn resume_token(&self, id: MemberId, epoch: u32, room: &str, now: Clocks) -> String {
        self.resume_key.sign(Claims { id, epoch, issued_at: now.unix }, room)
    }

    /// Sends a frame to `client` alone.
    fn answer(&self, client: &Client<O>, text: String) -> Sent {
        let answered = text.len();
        if client.outbox.try_send(text.into()).is_err() {
            return Sent::default();
        }
        self.instruments.count_sent(1);
        Sent { answered, to_others: 0 }
    }

    fn shard_of(&self, room: &str) -> (usize, RoomKey) {
        let key = self.hasher.hash_one(room);
        (key as usize % SHARDS, RoomKey(key))
    }

    fn roster_of(&self, id: MemberId) -> &Lock<Roster> {
        &self.rosters[(id.to_bits() % ROSTERS as u128) as usize]
    }

    /// Lets the owner of a room decide, and performs the effects. `sent` belongs to the client that caused them.
    fn perform_for<R>(
        &self,
        shard: usize,
        sent: &mut Sent,
        decide: impl FnOnce(&mut Hub<O>, &mut Effects<O>) -> R,
    ) -> R {
        let shard = &self.shards[shard];
        let mut effects = self.spare.pop().unwrap_or_default();
        let mut owned = shard.owned.lock();
        let outcome = decide(&mut owned.hub, &mut effects);
        if !effects.membership.is_empty() || !effects.events.is_empty() {
            self.note(shard, &owned.hub);
        }
        let ticket = owned.next_ticket;
        owned.next_ticket += 1;
        drop(owned);
        // This also waits if there are no effects: the answer, for example a refusal, must not overtake what was
        // decided before.
        let turn = shard.turns.wait_for(ticket);
        *sent += self.perform(&mut effects);
        drop(turn);
        effects.clear();
        // If enough are kept already, this one is dropped.
        let _ = self.spare.push(effects);
        self.forget_revocations();
        outcome
    }

    /// Notes what other threads read without the shard's lock.
    fn note(&self, shard: &Shard<O>, hub: &Hub<O>) {
        shard.has_away.store(hub.first_deadline().is_some(), Ordering::Relaxed);
        shard.first_revoked_end.store(hub.revoked.first_end().unwrap_or(u64::MAX), Ordering::Relaxed);
        let revoked = hub.revoked.len();
        let before = shard.revoked.swap(revoked, Ordering::Relaxed);
        self.revoked.fetch_add(revoked.wrapping_sub(before), Ordering::Relaxed);
    }

    /// Forgets the revocations that would end soonest while there are too many in total.
    fn forget_revocations(&self) {
        while self.revoked.load(Ordering::Relaxed) > MAX_REVOKED {
            let soonest = self.shards.iter().min_by_key(|shard| shard.first_revoked_end.load(Ordering::Relaxed));
            let Some(shard) = soonest else { return };
            let mut owned = shard.owned.lock();
            let has_forgotten = owned.hub.revoked.forget_first();
            self.note(shard, &owned.hub);
            if !has_forgotten {
                return;
            }
        }
    }

    fn perform(&self, effects: &mut Effects<O>) -> Sent {
        locks::assert_none_held("perform what a room decided");
        for change in effects.membership.drain(..) {
            match change {
                MembershipChange::Entered { member, room, address } => self.directory.enter(member, room, address),
                MembershipChange::Reconnected { member, address } => self.directory.reconnect(member, address),
                MembershipChange::Left { member } => self.directory.leave(member),
            }
        }
        self.instruments.count_all(&effects.events);
        for event in effects.events.drain(..) {
            if let RoomEvent::RoomClosed { room, .. } = &event {
                self.rooms.give_up(&room.name);
            }
        }
        let mut sent = Sent::default();
        let mut frames = 0;
        for (text, receivers, account) in effects.deliveries() {
            let len = text.len();
            let frame = Frame::from(text);
            let told = receivers.iter().filter(|outbox| outbox.try_send(frame.clone()).is_ok()).count();
            frames += told;
            match account {
                Account::Answer => sent.answered += told * len,
                Account::Others => sent.to_others += told * len,
                Account::Free => {}
            }
        }
        self.instruments.count_sent(frames);
        for (outbox, reason) in effects.ended.drain(..) {
            outbox.end(reason);
        }
        for id in effects.released.drain(..) {
            self.roster_of(id).lock().release(id);
        }
        sent
    }
}

#[cfg(test)]
mod tests;
