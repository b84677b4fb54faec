//! The core of signaling: all rooms and what their members say to each other. No socket, no clock, no runtime.
//!
//! How to drive it: one [`Client`] per connection, given to [`Hub::handle_text`] with each text frame and the wall
//! clock, and to [`Hub::disconnect`] at the end. Everything that is to be sent comes out through the clients'
//! [`Outbox`]es before the call returns. Randomness comes in with the client's id. Members whose connection broke, and
//! who asked for it, stay until [`Hub::expire`] is called with a later time than [`Hub::disconnect`] was given.
//!
//! Locks: the roster and the shards, in which rooms are found, are taken when somebody joins or leaves; messages take
//! their room's lock only. Order: roster, shard, room, directory.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, RandomState},
    num::NonZeroU32,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

pub use super::room::{Full, MemberSummary, Outbox, RoomSummary, Sent};
use super::{
    clock::Step,
    close_reason::CloseReason,
    error::{Code, Refusal},
    frame::Frame,
    instruments::{Instruments, RemoveReason},
    resume::{Claims, Resume, ResumeKey},
    room::{Room, Seat, Unsent},
    room_name,
    roster::{Found, Roster},
    wire::{self, ClientMessage, Peers, Profile},
};
use crate::{
    credentials::User,
    ice_servers::{IceServers, Issuer, Reached},
    membership::{Directory, MemberId, RoomTag},
    observe::metrics::SignalingMetrics,
};

const SHARDS: usize = 64;

/// How much there may be of what strangers can make.
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

/// One connection as the hub knows it.
pub struct Client<O> {
    id: MemberId,
    outbox: O,
    /// Its address, if nobody unknown stands between.
    address: Option<std::net::IpAddr>,
    /// How it reached us, for its iceServers.
    reached: Reached,
    /// `?room=` of its URL.
    url_room: Option<Box<str>>,
    /// How often this member has left a room; see [`super::resume`].
    epoch: u32,
    /// Whether it is waited for when its connection breaks.
    may_return: bool,
    /// Where it sits, unless another connection has taken over.
    place: Option<Place<O>>,
    /// What its messages had queued; see [`Client::take_sent`].
    sent: Sent,
}

struct Place<O> {
    room: Arc<Room<O>>,
    seat: Seat,
}

impl<O> Client<O> {
    /// A connection that has not joined. `id` should be random; `address` is `None` if it is not verified.
    pub fn new(
        id: MemberId,
        outbox: O,
        address: Option<std::net::IpAddr>,
        reached: Reached,
        url_room: Option<Box<str>>,
    ) -> Self {
        Self { id, outbox, address, reached, url_room, epoch: 0, may_return: false, place: None, sent: Sent::default() }
    }

    /// Its id as a member. Another one after it has come back by a resume token.
    pub fn id(&self) -> MemberId {
        self.id
    }

    /// Its outbox.
    pub fn outbox(&self) -> &O {
        &self.outbox
    }

    /// What its messages had queued since the last call, refusals aside.
    pub fn take_sent(&mut self) -> Sent {
        std::mem::take(&mut self.sent)
    }

    /// Whether it is in a room.
    pub fn is_joined(&self) -> bool {
        self.place.is_some()
    }
}

/// What a message meant for the connection that sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Done.
    Fine,
    /// Done, and the client got fresh credentials.
    CredentialsIssued,
    /// Refused, as happens to good clients.
    Refused,
    /// Refused for a fault that only a bad client makes.
    Bad,
}

/// All rooms. See the module's header.
pub struct Hub<O> {
    shards: Box<[Mutex<Shard<O>>]>,
    hasher: RandomState,
    tags: Mutex<Tags>,
    roster: Mutex<Roster<O>>,
    limits: Limits,
    server: Box<str>,
    issuer: Issuer,
    resume_key: ResumeKey,
    directory: Arc<Directory>,
    instruments: Instruments,
    draining: AtomicBool,
}

type Shard<O> = HashMap<Box<str>, Arc<Room<O>>>;

/// The tags of all rooms; as many as there are rooms.
#[derive(Default)]
struct Tags {
    last: u32,
    in_use: HashSet<NonZeroU32>,
}

impl Tags {
    fn take(&mut self) -> RoomTag {
        loop {
            self.last = self.last.wrapping_add(1);
            if let Some(tag) = NonZeroU32::new(self.last)
                && self.in_use.insert(tag)
            {
                return RoomTag(tag);
            }
        }
    }
}

impl<O: Outbox + Clone> Hub<O> {
    /// An empty hub. `server` names this run of the server.
    pub fn new(
        limits: Limits,
        server: impl Into<Box<str>>,
        issuer: Issuer,
        resume_key: ResumeKey,
        directory: Arc<Directory>,
        metrics: &SignalingMetrics,
    ) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            tags: Mutex::default(),
            roster: Mutex::default(),
            limits,
            server: server.into(),
            issuer,
            resume_key,
            directory,
            instruments: Instruments::new(metrics),
            draining: AtomicBool::new(false),
        }
    }

    /// The limits it keeps.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How long credentials last.
    pub fn credential_ttl(&self) -> std::time::Duration {
        self.issuer.ttl
    }

    /// Acts upon a text frame of `client`; `now` is the wall clock in Unix seconds.
    pub fn handle_text(&self, client: &mut Client<O>, text: &str, now: u64) -> Verdict {
        let outcome = wire::parse(text).and_then(|message| {
            self.instruments.count_received(&message);
            let event = message.event();
            self.act(client, message, now).map_err(|refusal| refusal.of_event(event))
        });
        outcome.unwrap_or_else(|refusal| self.refuse(client, &refusal))
    }

    /// Tells `client` that something it sent was not acted upon.
    pub fn refuse(&self, client: &Client<O>, refusal: &Refusal) -> Verdict {
        self.instruments.count_refused(refusal);
        self.send(client, wire::error(refusal));
        if refusal.code.is_clients_fault() { Verdict::Bad } else { Verdict::Refused }
    }

    /// Sends fresh credentials to `client` if it is in a room, which it must be for them to be of use.
    pub fn push_ice_servers(&self, client: &Client<O>, now: u64) {
        self.send_ice_servers(client, now);
    }

    fn send_ice_servers(&self, client: &Client<O>, now: u64) -> Sent {
        if let Some(Place { room, seat }) = &client.place
            && room.holds(*seat)
        {
            let ice = self.issuer.issue(&User::Member(client.id), now, &client.reached);
            let resume = self.resume_token(client.id, client.epoch, room, now);
            return self.send(client, wire::ice_servers(&ice, &resume));
        }
        Sent::default()
    }

    /// The wall clock was set. Resume tokens given till then live as long as they would have, and so does their end.
    pub(crate) fn note_step(&self, step: Step) {
        let mut roster = lock(&self.roster);
        roster.revoked.carry_over(step);
        roster.steps.push(step);
    }

    /// Tells `client` that the server is about to go, and when to come back.
    pub fn say_closing(&self, client: &Client<O>, reconnect_after_ms: u32) {
        self.send(client, wire::closing(reconnect_after_ms));
    }

    /// The connection of `client` has ended. If the client asked for it, it is waited for until `until`.
    pub fn disconnect(&self, client: &mut Client<O>, until: Instant) {
        let Some(place) = client.place.take() else {
            return;
        };
        let mut roster = lock(&self.roster);
        if client.may_return && !self.draining.load(Ordering::Relaxed) {
            if roster.set_away(place.seat, until) {
                place.room.set_away(client.id);
                self.instruments.count_away();
            }
        } else if roster.find(client.id).is_some_and(|found| found.seat == place.seat) {
            self.remove(&mut roster, client.id, RemoveReason::Disconnected);
        }
    }

    /// Removes the members whose time to come back has passed at `now`. Returns when the next one's will have.
    pub fn expire(&self, now: Instant) -> Option<Instant> {
        loop {
            // Taken anew for each, so that nobody waits for all of them.
            let mut roster = lock(&self.roster);
            let (until, id) = roster.first_away()?;
            if now < until && !self.draining.load(Ordering::Relaxed) {
                return Some(until);
            }
            self.remove(&mut roster, id, RemoveReason::Disconnected);
        }
    }

    /// Removes the member `id` from the room of this name, for good: its connection is closed and its resume tokens
    /// are refused. `now` is the wall clock in Unix seconds. `false` if there is no such member.
    pub fn kick(&self, room: &str, id: MemberId, now: u64) -> bool {
        let mut roster = lock(&self.roster);
        let Some(found) = roster.find(id).filter(|found| *found.room.name == *room_name::canonical(room)) else {
            return false;
        };
        self.revoke(&mut roster, id, found.epoch, now);
        let outbox = found.room.outbox(id);
        self.remove(&mut roster, id, RemoveReason::Kicked);
        if let Some(outbox) = outbox {
            outbox.end(CloseReason::Kicked);
        }
        true
    }

    /// All rooms, by name.
    pub fn rooms(&self) -> Vec<RoomSummary> {
        let mut rooms = Vec::new();
        for shard in &self.shards {
            let found: Vec<_> = lock(shard).values().cloned().collect();
            rooms.extend(found.iter().filter_map(|room| {
                let (members, away) = room.count();
                (members > 0).then(|| RoomSummary { room: room.name.clone(), members, away })
            }));
        }
        rooms.sort_by(|a, b| a.room.cmp(&b.room));
        rooms
    }

    /// Who is in the room of this name; `None` if there is no such room.
    pub fn members(&self, room: &str) -> Option<Vec<MemberSummary>> {
        let name = &*room_name::canonical(room);
        let room = self.shard(name).get(name).cloned()?;
        Some(room.members()).filter(|members| !members.is_empty())
    }

    /// From now on nobody is told that others leave: everybody will, and their calls go on without the server.
    pub fn start_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    fn act(&self, client: &mut Client<O>, message: ClientMessage<'_>, now: u64) -> Result<Verdict, Refusal> {
        match message {
            ClientMessage::Join { room, profile, resume } => {
                return self.join(client, room.as_deref(), profile, resume.as_deref(), now);
            }
            ClientMessage::Directed { event, target, fields } => {
                self.send_to_peer(client, &target, |sender| wire::directed(event, sender, &fields).into())?;
            }
            ClientMessage::Message { target: Some(target), fields } => {
                self.send_to_peer(client, &target, |sender| wire::message(sender, &fields).into())?;
            }
            ClientMessage::Message { target: None, fields } => {
                let Place { room, seat } = place_of(client)?;
                let sent = room.publish(*seat, &wire::message(client.id, &fields).into());
                self.note_sent(client, sent.map_err(|_| replaced())?);
            }
            ClientMessage::Update { fields, change } => {
                let Place { room, seat } = place_of(client)?;
                let sent = room.update(*seat, change, &wire::peer_updated(client.id, &fields).into());
                self.note_sent(client, sent.map_err(|_| replaced())?);
            }
            ClientMessage::IceServers => {
                let Place { room, seat } = place_of(client)?;
                if !room.holds(*seat) {
                    return Err(replaced());
                }
                client.sent += self.send_ice_servers(client, now);
                return Ok(Verdict::CredentialsIssued);
            }
            ClientMessage::Leave => {
                place_of(client)?;
                let mut roster = lock(&self.roster);
                if !self.leave(&mut roster, client, RemoveReason::Left, now) {
                    return Err(replaced());
                }
            }
            ClientMessage::Ping { data } => client.sent += self.send(client, wire::pong(data)),
        }
        Ok(Verdict::Fine)
    }

    fn join(
        &self,
        client: &mut Client<O>,
        name: Option<&str>,
        profile: Profile,
        resume: Option<&str>,
        now: u64,
    ) -> Result<Verdict, Refusal> {
        // Kept off the client, whose place changes below.
        let name = &*room_name::meant(name, client.url_room.as_deref())?.into_owned();
        let token = resume.filter(|token| !token.is_empty());
        let claims = token.map(|token| self.verify(token, name)).transpose()?;

        let mut roster = lock(&self.roster);
        let ttl = self.issuer.ttl.as_secs();
        if claims.is_some_and(|claims| !roster.steps.is_younger(claims.issued_at, ttl, now)) {
            return Err(bad_token("the resume token has expired"));
        }
        let seated = client.place.as_ref().map(|place| place.seat);
        // A connection that lost its place must not use the id again: another one may.
        if roster.find(client.id).map(|found| found.seat) != seated {
            return Err(replaced());
        }
        if claims.is_some_and(|claims| roster.revoked.contains(claims.id, claims.epoch)) {
            return Err(bad_token("the member has left for good"));
        }
        // Who is in a room and shows its own token joins anew, as it would without.
        let claims = claims.filter(|claims| seated.is_none_or(|seat| seat.id != claims.id));
        let id = claims.map_or(client.id, |claims| claims.id);
        match claims.and_then(|claims| Some((claims, roster.find(claims.id)?))) {
            Some((_, found)) if *found.room.name != *name => {
                return Err(bad_token("the member is in another room"));
            }
            // It has left since and come again, and the revocation is forgotten.
            Some((claims, found)) if claims.epoch < found.epoch => {
                return Err(bad_token("the member has left for good"));
            }
            Some((claims, found)) => {
                self.leave(&mut roster, client, RemoveReason::Moved, now);
                client.id = id;
                client.epoch = claims.epoch;
                self.come_back(&mut roster, client, found, profile, now);
            }
            None => {
                // Only when a place is certain is the old room left.
                let room = self.reserve(name, client.place.as_ref().map(|place| &place.room))?;
                self.leave(&mut roster, client, RemoveReason::Moved, now);
                client.id = id;
                if let Some(claims) = claims {
                    client.epoch = claims.epoch;
                    self.instruments.count_resumed(Resume::Announced);
                }
                self.enter(&mut roster, client, room, profile, now);
            }
        }
        client.may_return = resume.is_some();
        Ok(Verdict::CredentialsIssued)
    }

    /// What a token says about the future of the client that shows it. Whether it has expired or is revoked remains to be
    /// seen.
    fn verify(&self, token: &str, room: &str) -> Result<Claims, Refusal> {
        let claims = self.resume_key.verify(token, room);
        claims.ok_or_else(|| bad_token("the resume token is not of this server and room"))
    }

    /// Takes the place that is reserved in `room`.
    fn enter(&self, roster: &mut Roster<O>, client: &mut Client<O>, room: Arc<Room<O>>, profile: Profile, now: u64) {
        let seat = roster.new_seat(client.id);
        let ice = self.issuer.issue(&User::Member(client.id), now, &client.reached);
        let resume = self.resume_token(client.id, client.epoch, &room, now);
        let peers = self.peers(client.id, &room, &ice, &resume, false);
        // TURN must know the newcomer before `_peers` lets it, or anybody, act upon its being here.
        let sent = room.enter(seat, client.outbox.clone(), profile, &peers, || {
            self.directory.enter(client.id, room.tag, client.address);
        });
        self.note_sent(client, sent);
        self.instruments.count_entered();
        roster.seat(seat, room.clone(), client.epoch);
        client.place = Some(Place { room, seat });
    }

    /// Takes the place that the member has, from the connection that holds it if there is one.
    fn come_back(&self, roster: &mut Roster<O>, client: &mut Client<O>, found: Found<O>, profile: Profile, now: u64) {
        let Found { room, is_away, .. } = found;
        let seat = roster.new_seat(client.id);
        let ice = self.issuer.issue(&User::Member(client.id), now, &client.reached);
        let resume = self.resume_token(client.id, client.epoch, &room, now);
        let peers = self.peers(client.id, &room, &ice, &resume, true);
        let (old, sent) = room.take_over(seat, client.outbox.clone(), profile, &peers, || {
            self.directory.reconnect(client.id, client.address);
        });
        self.note_sent(client, sent);
        roster.seat(seat, room.clone(), client.epoch);
        client.place = Some(Place { room, seat });
        if is_away {
            self.instruments.count_no_longer_away();
        }
        self.instruments.count_resumed(if is_away { Resume::WithinGrace } else { Resume::Takeover });
        if let Some(old) = old {
            let refusal = replaced();
            self.instruments.count_refused(&refusal);
            self.instruments.count_sent(usize::from(old.try_send(wire::error(&refusal).into()).is_ok()));
            old.end(CloseReason::Replaced);
        }
    }

    fn peers<'a>(
        &'a self,
        you: MemberId,
        room: &'a Room<O>,
        ice: &'a IceServers,
        resume: &'a str,
        resumed: bool,
    ) -> Peers<'a> {
        Peers { you, room: &room.name, server: &self.server, ice, resume, resumed }
    }

    fn resume_token(&self, id: MemberId, epoch: u32, room: &Room<O>, now: u64) -> String {
        self.resume_key.sign(Claims { id, epoch, issued_at: now }, &room.name)
    }

    fn end_of_token(&self, issued_at: u64) -> u64 {
        issued_at.saturating_add(self.issuer.ttl.as_secs())
    }

    fn revoke(&self, roster: &mut Roster<O>, id: MemberId, epoch: u32, now: u64) {
        // The latest token cannot be younger than this.
        roster.revoked.add(id, epoch, self.end_of_token(now), now);
    }

    /// Holds a place in the room of this name, which is made if there is none.
    fn reserve(&self, name: &str, current: Option<&Arc<Room<O>>>) -> Result<Arc<Room<O>>, Refusal> {
        let mut shard = self.shard(name);
        if let Some(room) = shard.get(name) {
            // Who joins the room it is in gives up a place for the one it gets.
            let own = current.is_some_and(|current| Arc::ptr_eq(current, room));
            if !room.reserve(self.limits.max_peers_per_room + usize::from(own)) {
                return Err(Refusal::new(Code::RoomFull, "the room is full"));
            }
            return Ok(room.clone());
        }
        let mut tags = lock(&self.tags);
        if tags.in_use.len() >= self.limits.max_rooms {
            return Err(Refusal::new(Code::TooManyRooms, "the server has no place for another room"));
        }
        let room = Arc::new(Room::new(name, tags.take()));
        drop(tags);
        if !room.reserve(self.limits.max_peers_per_room) {
            lock(&self.tags).in_use.remove(&room.tag.0);
            return Err(Refusal::new(Code::RoomFull, "the room is full"));
        }
        shard.insert(name.into(), room.clone());
        self.instruments.count_room_opened();
        Ok(room)
    }

    /// `client` leaves its room by its own will, so that its tokens are dead. `false` if it holds no seat.
    fn leave(&self, roster: &mut Roster<O>, client: &mut Client<O>, reason: RemoveReason, now: u64) -> bool {
        let Some(place) = &client.place else {
            return false;
        };
        if roster.find(client.id).is_none_or(|found| found.seat != place.seat) {
            return false;
        }
        client.place = None;
        self.revoke(roster, client.id, client.epoch, now);
        client.epoch = client.epoch.saturating_add(1);
        client.sent += self.remove(roster, client.id, reason);
        true
    }

    /// Removes a member, and its room if it was the last.
    fn remove(&self, roster: &mut Roster<O>, id: MemberId, reason: RemoveReason) -> Sent {
        let Some(Found { room, is_away, .. }) = roster.remove(id) else {
            return Sent::default();
        };
        let farewell = (!self.draining.load(Ordering::Relaxed)).then(|| wire::remove_peer(id, reason.as_str()).into());
        let mut shard = self.shard(&room.name);
        let sent = room.leave(id, farewell.as_ref(), || self.directory.leave(id));
        if room.is_empty() {
            shard.remove(&room.name);
            lock(&self.tags).in_use.remove(&room.tag.0);
            self.instruments.count_room_closed();
        }
        drop(shard);
        self.instruments.count_sent(sent.frames);
        self.instruments.count_left();
        if is_away {
            self.instruments.count_no_longer_away();
        }
        sent
    }

    fn send_to_peer(
        &self,
        client: &mut Client<O>,
        target: &str,
        frame: impl FnOnce(MemberId) -> Frame,
    ) -> Result<(), Refusal> {
        let Place { room, seat } = place_of(client)?;
        let no_such_peer = || Refusal::new(Code::NoSuchPeer, "the target is not in this room").of_target(target);
        let id: MemberId = target.parse().map_err(|_| no_such_peer())?;
        let sent = room.publish_to(*seat, id, frame(client.id)).map_err(|unsent| match unsent {
            Unsent::NotSeated => replaced(),
            Unsent::NoSuchPeer => no_such_peer(),
            Unsent::PeerAway => {
                Refusal::new(Code::PeerAway, "the target's connection is gone and not yet back").of_target(target)
            }
        })?;
        self.note_sent(client, sent);
        Ok(())
    }

    fn note_sent(&self, client: &mut Client<O>, sent: Sent) {
        self.instruments.count_sent(sent.frames);
        client.sent += sent;
    }

    fn send(&self, client: &Client<O>, frame: String) -> Sent {
        let sent = Sent::back(frame.into(), &client.outbox);
        self.instruments.count_sent(sent.frames);
        sent
    }

    fn shard(&self, name: &str) -> MutexGuard<'_, Shard<O>> {
        lock(&self.shards[self.hasher.hash_one(name) as usize % SHARDS])
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn place_of<O>(client: &Client<O>) -> Result<&Place<O>, Refusal> {
    client.place.as_ref().ok_or_else(|| Refusal::new(Code::NotJoined, "join a room first"))
}

fn replaced() -> Refusal {
    Refusal::new(Code::Replaced, "this connection has no place in the room any more")
}

fn bad_token(why: &'static str) -> Refusal {
    Refusal::new(Code::BadToken, why)
}

#[cfg(test)]
mod tests;
