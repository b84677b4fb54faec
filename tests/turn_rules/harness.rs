//! A world without sockets and clocks: sessions, the clients that use them, and everything that sessions share.
//!
//! Clients build their requests and read the answers with the `stun` and `turn` crates, not with the server's own code.
#![allow(dead_code, unused_imports, reason = "each test program uses a part of it")]

use std::{
    collections::BTreeMap,
    hash::RandomState,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bimcc_rtc::{
    credentials::{self, Credential, MemberKey, Secret, User},
    membership::{AllocationRef, Directory, RoomTag},
    observe::metrics::{Metrics, TurnCounters},
    shutdown::Shutdown,
    turn::{
        core::{
            event::{EndReason, EventQueue, SessionEvent},
            five_tuple::FiveTuple,
            packet::DropReason,
            reach::Reach,
            session::{BoundRelays, Context, Now, Output, PortWish, RelayWish, Session, Via},
        },
        shared::{
            Lifetimes, Shared, Terms,
            auth::{Authority, NonceKeys},
            bitrate::Bitrate,
            limiter::AnswerLimiter,
            peer_policy::{HostAddresses, Mode, PeerPolicy, PeerRules},
            quota::Quotas,
            relayed::Home,
        },
        wire::{
            data::{self, IcmpError},
            message,
        },
    },
    values::{
        family::{ByFamily, Family},
        member::MemberId,
        relayed_address::RelayedAddress,
    },
};
pub(crate) use stun::{
    attributes as attr,
    message::{
        CLASS_INDICATION, METHOD_ALLOCATE, METHOD_BINDING, METHOD_CHANNEL_BIND, METHOD_CREATE_PERMISSION, METHOD_DATA,
        METHOD_REFRESH, METHOD_SEND, Method,
    },
};
use stun::{
    attributes::*,
    error_code::ErrorCodeAttribute,
    fingerprint::FINGERPRINT,
    integrity::MessageIntegrity,
    message::{CLASS_ERROR_RESPONSE, CLASS_REQUEST, CLASS_SUCCESS_RESPONSE, Getter, Message, MessageType, Setter},
    xoraddr::XorMappedAddress,
};

pub(crate) const ATTR_ADDITIONAL_ADDRESS_FAMILY: AttrType = AttrType(0x8000);
pub(crate) const ATTR_ADDRESS_ERROR_CODE: AttrType = AttrType(0x8001);
pub(crate) const ATTR_ICMP: AttrType = AttrType(0x8004);

pub(crate) const REALM: &str = "bimcc-rtc";
pub(crate) const SECRET: &[u8] = b"the secret of these tests";
pub(crate) const UNIX_START: u64 = 1_700_000_000;
pub(crate) const SERVER_V4: &str = "198.51.100.1";
pub(crate) const SERVER_V6: &str = "2001:db8:5::1";

pub(crate) fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(crate) fn minutes(n: u64) -> Duration {
    Duration::from_secs(60 * n)
}

pub(crate) fn room(n: u32) -> RoomTag {
    RoomTag(n.try_into().unwrap())
}

/// The method of this number (RFC 8489 section 5 interleaves it with the class).
pub(crate) fn method(number: u16) -> Method {
    let mut kind = MessageType::default();
    kind.read_value(number & 0xF | (number & 0x70) << 1 | (number & 0xF80) << 2);
    kind.method
}

/// The settings that differ from test to test.
pub(crate) struct Setup {
    pub(crate) rules: PeerRules,
    pub(crate) host: HostAddresses,
    pub(crate) realm: &'static str,
    /// All of these verify.
    pub(crate) secrets: Vec<Secret>,
    pub(crate) max_total: usize,
    pub(crate) max_per_user: usize,
    pub(crate) bitrate: Option<Bitrate>,
    pub(crate) alternates: ByFamily<Option<SocketAddr>>,
    /// Whether clients are on connections.
    pub(crate) on_streams: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            rules: PeerRules {
                members: Mode::Members,
                api: Mode::Any,
                allow: Vec::new(),
                deny: Vec::new(),
                trusted_proxies: Vec::new(),
                dangerously_allow_loopback: false,
            },
            host: host(),
            realm: REALM,
            secrets: vec![Secret::new(SECRET)],
            max_total: 1000,
            max_per_user: 100,
            bitrate: None,
            alternates: ByFamily::default(),
            on_streams: false,
        }
    }
}

/// The member key of the server.
pub(crate) fn member_key() -> MemberKey {
    MemberKey::new(&[5; 32])
}

/// The addresses of the server.
pub(crate) fn host() -> HostAddresses {
    let relay = |text| Some(RelayedAddress { advertised: ip(text), bind: ip(text) });
    HostAddresses {
        own: [ip(SERVER_V4), ip(SERVER_V6)].into_iter().collect(),
        gateways: vec![ip("198.51.100.254")],
        relay: ByFamily::new(|family| match family {
            Family::V4 => relay(SERVER_V4),
            Family::V6 => relay(SERVER_V6),
        }),
    }
}

/// The same without the family's relayed address.
pub(crate) fn host_without(family: Family) -> HostAddresses {
    let mut host = host();
    host.relay[family] = None;
    host
}

/// A client's address and credential, and its nonce.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) at: SocketAddr,
    pub(crate) credential: Credential,
    pub(crate) nonce: Vec<u8>,
}

impl Client {
    pub(crate) fn key(&self) -> MessageIntegrity {
        let Credential { username, password, .. } = self.credential.clone();
        MessageIntegrity::new_long_term_integrity(username, REALM.into(), password)
    }
}

/// A request or indication that is being built.
#[derive(Clone)]
pub(crate) struct Req(pub(crate) Message);

impl Req {
    pub(crate) fn new(method: Method) -> Self {
        Self::of_class(method, CLASS_REQUEST)
    }

    pub(crate) fn of_class(method: Method, class: stun::message::MessageClass) -> Self {
        let mut message = Message::new();
        message.typ = MessageType::new(method, class);
        message.new_transaction_id().unwrap();
        message.write_header();
        Self(message)
    }

    /// An Allocate with the only attribute that it needs.
    pub(crate) fn allocate() -> Self {
        Self::new(METHOD_ALLOCATE).with(ATTR_REQUESTED_TRANSPORT, &[17, 0, 0, 0])
    }

    pub(crate) fn refresh(lifetime: u32) -> Self {
        Self::new(METHOD_REFRESH).lifetime(lifetime)
    }

    pub(crate) fn permission(peers: &[&str]) -> Self {
        peers.iter().fold(Self::new(METHOD_CREATE_PERMISSION), |req, peer| req.peer(addr(peer)))
    }

    pub(crate) fn channel_bind(number: u16, peer: &str) -> Self {
        Self::new(METHOD_CHANNEL_BIND).channel(number).peer(addr(peer))
    }

    pub(crate) fn send(peer: SocketAddr, payload: &[u8]) -> Self {
        Self::of_class(METHOD_SEND, CLASS_INDICATION).peer(peer).with(ATTR_DATA, payload)
    }

    pub(crate) fn with(mut self, attribute: AttrType, value: &[u8]) -> Self {
        self.0.add(attribute, value);
        self
    }

    pub(crate) fn lifetime(self, seconds: u32) -> Self {
        self.with(ATTR_LIFETIME, &seconds.to_be_bytes())
    }

    pub(crate) fn family(self, family: u8) -> Self {
        self.with(ATTR_REQUESTED_ADDRESS_FAMILY, &[family, 0, 0, 0])
    }

    pub(crate) fn channel(self, number: u16) -> Self {
        let [high, low] = number.to_be_bytes();
        self.with(ATTR_CHANNEL_NUMBER, &[high, low, 0, 0])
    }

    pub(crate) fn peer(mut self, peer: SocketAddr) -> Self {
        XorMappedAddress { ip: peer.ip(), port: peer.port() }.add_to_as(&mut self.0, ATTR_XOR_PEER_ADDRESS).unwrap();
        self
    }

    /// USERNAME, REALM, NONCE and MESSAGE-INTEGRITY of `client`.
    pub(crate) fn auth(self, client: &Client) -> Self {
        self.with(ATTR_USERNAME, client.credential.username.as_bytes())
            .with(ATTR_REALM, REALM.as_bytes())
            .with(ATTR_NONCE, &client.nonce)
            .integrity(client)
    }

    pub(crate) fn integrity(mut self, client: &Client) -> Self {
        client.key().add_to(&mut self.0).unwrap();
        self
    }

    pub(crate) fn fingerprint(mut self) -> Self {
        FINGERPRINT.add_to(&mut self.0).unwrap();
        self
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0.raw
    }
}

/// A response, as a client reads it.
#[derive(Clone, Debug)]
pub(crate) struct Reply(pub(crate) Message);

impl Reply {
    fn read(bytes: &[u8]) -> Self {
        let mut message = Message::new();
        message.unmarshal_binary(bytes).unwrap();
        assert_eq!(message.raw.len(), 20 + message.length as usize, "nothing behind the message");
        Self(message)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0.raw
    }

    /// 0 for a success response, else the error code, which always comes with a reason phrase.
    pub(crate) fn code(&self) -> u16 {
        if self.0.typ.class == CLASS_SUCCESS_RESPONSE {
            return 0;
        }
        assert_eq!(self.0.typ.class, CLASS_ERROR_RESPONSE);
        let mut error = ErrorCodeAttribute::default();
        error.get_from(&self.0).unwrap();
        assert!(!error.reason.is_empty(), "{} without reason", error.code.0);
        error.code.0
    }

    pub(crate) fn value(&self, attribute: AttrType) -> Option<Vec<u8>> {
        self.0.get(attribute).ok()
    }

    pub(crate) fn address(&self, attribute: AttrType) -> SocketAddr {
        let mut address = XorMappedAddress::default();
        address.get_from_as(&self.0, attribute).unwrap();
        SocketAddr::new(address.ip, address.port)
    }

    pub(crate) fn relayed(&self) -> SocketAddr {
        self.address(ATTR_XOR_RELAYED_ADDRESS)
    }

    /// Every XOR-RELAYED-ADDRESS, in order.
    pub(crate) fn all_relayed(&self) -> Vec<SocketAddr> {
        let mut rest = self.clone();
        let mut all = Vec::new();
        while rest.value(ATTR_XOR_RELAYED_ADDRESS).is_some() {
            all.push(rest.relayed());
            let attributes = &mut rest.0.attributes.0;
            attributes.remove(attributes.iter().position(|a| a.typ == ATTR_XOR_RELAYED_ADDRESS).unwrap());
        }
        all
    }

    /// Family and code of ADDRESS-ERROR-CODE, which comes with a reason phrase.
    pub(crate) fn address_error(&self) -> (u8, u16) {
        let value = self.value(ATTR_ADDRESS_ERROR_CODE).unwrap();
        assert!(value.len() > 4, "no reason phrase");
        (value[0], u16::from(value[2]) * 100 + u16::from(value[3]))
    }

    pub(crate) fn lifetime(&self) -> u32 {
        u32::from_be_bytes(self.value(ATTR_LIFETIME).unwrap().try_into().unwrap())
    }

    pub(crate) fn unknown(&self) -> Vec<u16> {
        let value = self.value(ATTR_UNKNOWN_ATTRIBUTES).unwrap();
        value.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect()
    }

    /// The nonce of a challenge, whose realm must be the server's.
    pub(crate) fn nonce(&self) -> Vec<u8> {
        assert_eq!(self.value(ATTR_REALM).unwrap(), REALM.as_bytes());
        self.value(ATTR_NONCE).unwrap()
    }

    pub(crate) fn is_signed_for(&self, client: &Client) -> bool {
        client.key().check(&mut self.0.clone()).is_ok()
    }

    pub(crate) fn has_right_fingerprint(&self) -> bool {
        FINGERPRINT.check(&self.0).is_ok()
    }
}

/// The result of one datagram from a client.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Silence,
    /// The datagram was dropped and counted, without an answer.
    Dropped(DropReason),
    Reply(Reply),
    ToPeer {
        peer: SocketAddr,
        payload: Vec<u8>,
        reach: Reach,
        dont_fragment: bool,
    },
}

impl Outcome {
    #[track_caller]
    pub(crate) fn reply(self) -> Reply {
        match self {
            Self::Reply(reply) => reply,
            other => panic!("no reply: {other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn code(self) -> u16 {
        self.reply().code()
    }

    #[track_caller]
    pub(crate) fn silence(self) {
        assert!(matches!(self, Self::Silence), "{self:?}");
    }

    /// The peer and payload of data that goes over the network.
    #[track_caller]
    pub(crate) fn over_the_network(self) -> (SocketAddr, Vec<u8>) {
        match self {
            Self::ToPeer { peer, payload, reach: Reach::Network { .. }, .. } => (peer, payload),
            other => panic!("not to the network: {other:?}"),
        }
    }
}

/// What a client gets because of a peer's datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FromPeer {
    Channel { number: u16, payload: Vec<u8> },
    Data { peer: SocketAddr, payload: Vec<u8> },
}

type Meanwhile = Box<dyn FnMut(&mut Session, &mut Context<'_>)>;

/// Sessions, and everything around them.
pub(crate) struct World {
    pub(crate) shared: Shared,
    pub(crate) directory: Arc<Directory>,
    pub(crate) now: Now,
    /// Whether relay sockets can be bound.
    pub(crate) can_bind: ByFamily<bool>,
    /// Runs once while a relay socket is being bound.
    pub(crate) while_binding: Option<Meanwhile>,
    metrics: Metrics,
    counters: Arc<TurnCounters>,
    limiter: AnswerLimiter,
    new_session: fn(FiveTuple) -> Session,
    sessions: BTreeMap<SocketAddr, Slot>,
    to_end: Arc<Mutex<Vec<AllocationRef>>>,
    /// The events that sessions have reported, with their clients.
    pub(crate) told: Vec<(SocketAddr, SessionEvent)>,
    started: Instant,
    next_port: u16,
    next_slot: u32,
}

struct Slot {
    session: Session,
    number: u32,
    relayed: ByFamily<Option<SocketAddr>>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Setup::default())
    }

    pub(crate) fn with(setup: Setup) -> Self {
        let directory = Arc::new(Directory::new());
        let metrics = Metrics::new();
        metrics.watch_directory(directory.clone());
        let counters = metrics.add_turn_worker();
        let now = Now { instant: Instant::now(), unix: UNIX_START };
        let to_end = Arc::new(Mutex::new(Vec::new()));
        let sink = to_end.clone();
        directory.on_end_allocation(Box::new(move |allocation| sink.lock().unwrap().push(allocation)));
        let shared = Shared::new(
            NonceKeys::new(&[7; 32], None),
            Authority::new(setup.realm.into(), setup.secrets, &member_key()),
            PeerPolicy::new(setup.rules, setup.host),
            directory.clone(),
            Quotas::up_to(setup.max_total, setup.max_per_user),
            Terms { bitrate: setup.bitrate, alternates: setup.alternates, ..Terms::default() },
            Shutdown::never(),
        );
        Self {
            shared,
            directory,
            now,
            can_bind: ByFamily::new(|_| true),
            while_binding: None,
            metrics,
            counters,
            limiter: AnswerLimiter::new(RandomState::new(), now.instant),
            new_session: if setup.on_streams { Session::on_stream } else { Session::new },
            sessions: BTreeMap::new(),
            to_end,
            told: Vec::new(),
            started: now.instant,
            next_port: 50_000,
            next_slot: 0,
        }
    }

    /// A client at `at` with a credential of the API for `name`, valid for an hour, and a fresh nonce.
    pub(crate) fn api_client(&mut self, name: &str, at: &str) -> Client {
        self.client(&User::api(name).unwrap(), at, self.now.unix + 3600)
    }

    /// The same for member number `id`, which must have entered.
    pub(crate) fn member_client(&mut self, id: u128, at: &str) -> Client {
        self.client(&User::Member(MemberId::from_bits(id)), at, self.now.unix + 3600)
    }

    pub(crate) fn client(&mut self, user: &User, at: &str, expires_at: u64) -> Client {
        let shared = Secret::new(SECRET);
        let secret = match user {
            User::Member(_) => member_key().secret(&shared),
            User::Api(_) => shared,
        };
        let credential = credentials::mint(&secret, user, expires_at);
        let at = addr(at);
        let nonce = self.send(at, Req::allocate().bytes()).reply().nonce();
        Client { at, credential, nonce }
    }

    /// The same with a username made by a back end.
    pub(crate) fn client_named(&mut self, username: &str, at: &str) -> Client {
        let mut client = self.api_client("", at);
        client.credential.password = credentials::password(&Secret::new(SECRET), username);
        client.credential.username = username.into();
        client
    }

    /// A client with an allocation, and its relayed address.
    #[track_caller]
    pub(crate) fn allocated(&mut self, client: Client) -> (Client, SocketAddr) {
        let reply = self.request(&client, Req::allocate()).reply();
        assert_eq!(reply.code(), 0);
        (client, reply.relayed())
    }

    /// An allocation for `alice` of the API at 192.0.2.1.
    pub(crate) fn alice(&mut self) -> Client {
        let alice = self.api_client("alice", "192.0.2.1:1000");
        self.allocated(alice).0
    }

    /// Member `id` enters a room, from `address` if that is verified.
    pub(crate) fn enter(&mut self, id: u128, room_number: u32, address: Option<&str>) {
        self.directory.enter(MemberId::from_bits(id), room(room_number), address.map(ip));
    }

    /// Member `id` leaves, and its allocations end.
    pub(crate) fn leave(&mut self, id: u128) {
        self.directory.leave(MemberId::from_bits(id));
        self.end_told();
    }

    /// Ends the allocations that the directory has told to end.
    pub(crate) fn end_told(&mut self) {
        let told = std::mem::take(&mut *self.to_end.lock().unwrap());
        for allocation in told {
            let found = self.sessions.iter().find(|(_, slot)| u64::from(slot.number) == allocation.key);
            if let Some(at) = found.map(|(at, _)| *at) {
                self.with_session(at, |session, cx| session.end(EndReason::MemberLeft, cx));
            }
        }
    }

    /// An authenticated request.
    pub(crate) fn request(&mut self, client: &Client, request: Req) -> Outcome {
        let signed = request.auth(client);
        self.send(client.at, signed.bytes())
    }

    /// A datagram from a client; binds relay sockets if it asks for them.
    pub(crate) fn send(&mut self, at: SocketAddr, datagram: &[u8]) -> Outcome {
        let bind = match self.with_session(at, |session, cx| match session.handle_client(datagram, cx) {
            Output::Nothing => Ok(Outcome::Silence),
            Output::Dropped(reason) => Ok(Outcome::Dropped(reason)),
            Output::Reply(bytes) => Ok(Outcome::Reply(Reply::read(&bytes))),
            Output::BindRelay(wish) => Err(wish),
            Output::ToPeer { peer, payload, reach, dont_fragment } => {
                Ok(Outcome::ToPeer { peer, payload: payload.to_vec(), reach, dont_fragment })
            }
        }) {
            Ok(Outcome::Dropped(reason)) => {
                self.counters.dropped(reason);
                return Outcome::Silence;
            }
            Ok(outcome) => return outcome,
            Err(wish) => wish,
        };
        if let Some(mut meanwhile) = self.while_binding.take() {
            self.with_session(at, |session, cx| meanwhile(session, cx));
        }
        let bound = self.bind(at, bind);
        let entry = AllocationRef { worker: 0, key: self.sessions[&at].number.into() };
        self.with_session(at, |session, cx| match session.handle_relay_bound(bound, entry, cx) {
            Output::Reply(bytes) => Outcome::Reply(Reply::read(&bytes)),
            other => panic!("{other:?}"),
        })
    }

    fn bind(&mut self, at: SocketAddr, wish: RelayWish) -> BoundRelays {
        let slot = self.sessions.get_mut(&at).unwrap();
        let home = Home { worker: 0, slot: slot.number, owner: slot.session.owner().unwrap() };
        let table = &self.shared.relayed;
        let mut bound = BoundRelays::default();
        for family in Family::BOTH.into_iter().filter(|family| wish.families.contains(*family)) {
            let Some(relay) = self.shared.policy.host().relay[family].filter(|_| self.can_bind[family]) else {
                continue;
            };
            let at = |port| SocketAddr::new(relay.advertised, port);
            if matches!(wish.port, PortWish::Even | PortWish::EvenAndNext) {
                self.next_port = self.next_port.next_multiple_of(2);
            }
            bound.relayed[family] = Some(match wish.port {
                PortWish::Reserved(held) => {
                    assert!(table.hand_over(family, held.port(), home), "{held} is not held");
                    held
                }
                PortWish::Any | PortWish::Even | PortWish::EvenAndNext => {
                    self.next_port += 1;
                    assert!(table.claim(family, self.next_port - 1, home));
                    at(self.next_port - 1)
                }
            });
            if wish.port == PortWish::EvenAndNext {
                assert!(table.hold(family, self.next_port));
                bound.next = Some((u64::from(self.next_port).to_be_bytes(), at(self.next_port)));
                self.next_port += 1;
            }
        }
        slot.relayed = bound.relayed;
        bound
    }

    /// Payload from a peer to the relayed address of the client at `at`.
    pub(crate) fn peer_sends(&mut self, at: SocketAddr, peer: SocketAddr, payload: &[u8]) -> Option<FromPeer> {
        self.arrives(at, (peer, Via::Network), payload)
    }

    fn arrives(&mut self, at: SocketAddr, peer: (SocketAddr, Via), payload: &[u8]) -> Option<FromPeer> {
        let mut buffer = vec![0xEE; data::HEADROOM];
        buffer.extend_from_slice(payload);
        let end = buffer.len();
        buffer.resize(end + data::TAILROOM, 0xEE);
        let written =
            self.with_session(at, |session, cx| session.handle_peer(peer, &mut buffer, data::HEADROOM, end, cx));
        let (begin, end) = written.map_err(|reason| self.counters.dropped(reason)).ok()?;
        Some(read_from_server(&buffer[begin..end]))
    }

    /// Delivers data that a client sent to one of this server's addresses, like a worker: to the relayed address there,
    /// if there is one and the two owners may exchange data. Returns the receiver and what it got.
    pub(crate) fn deliver_own(&mut self, from: &Client, outcome: Outcome) -> Option<(SocketAddr, FromPeer)> {
        let Outcome::ToPeer { peer, payload, reach: Reach::Own, .. } = outcome else {
            panic!("not to an own address: {outcome:?}");
        };
        let home = self.shared.relayed.home(Family::of(peer.ip()), peer.port())?;
        let (to, _) = self.sessions.iter().find(|(_, slot)| slot.number == home.slot)?;
        let (to, from) = (*to, &self.sessions[&from.at].session);
        let family = Family::of(peer.ip());
        let is_there = self.sessions[&to].session.relayed(family) == Some(peer);
        if !is_there || !self.shared.policy.may_talk(from.owner()?, home.owner) {
            return None;
        }
        let source = from.relayed(family)?;
        Some((to, self.arrives(to, (source, Via::InProcess), &payload)?))
    }

    /// Lets time pass, and serves every timer in time.
    pub(crate) fn pass(&mut self, duration: Duration) {
        let until = self.now.instant + duration;
        while let Some((at, deadline)) = self.next_deadline().filter(|(_, deadline)| *deadline <= until) {
            self.set_time(deadline);
            self.with_session(at, |session, cx| session.handle_timeout(cx));
        }
        self.set_time(until);
    }

    /// Lets time pass while the timers are late.
    pub(crate) fn pass_without_timers(&mut self, duration: Duration) {
        self.set_time(self.now.instant + duration);
    }

    fn next_deadline(&self) -> Option<(SocketAddr, Instant)> {
        let deadlines = self.sessions.iter().filter_map(|(at, slot)| Some((*at, slot.session.next_deadline()?)));
        deadlines.min_by_key(|(_, deadline)| *deadline)
    }

    fn set_time(&mut self, instant: Instant) {
        let instant = instant.max(self.now.instant);
        self.now = Now { instant, unix: UNIX_START + instant.duration_since(self.started).as_secs() };
        for expired in self.shared.reservations.expire(instant) {
            self.shared.relayed.release(Family::of(expired.ip()), expired.port());
        }
    }

    pub(crate) fn has_session(&self, at: SocketAddr) -> bool {
        self.sessions.contains_key(&at)
    }

    /// The relayed address of the client at `at`, if there is one; the IPv4 one if there are two.
    pub(crate) fn relayed(&self, at: SocketAddr) -> Option<SocketAddr> {
        let session = &self.sessions.get(&at)?.session;
        Family::BOTH.into_iter().find_map(|family| session.relayed(family))
    }

    /// The network reports an error about a datagram that the client at `at` sent. Returns what the client is told.
    pub(crate) fn network_reports(&mut self, at: SocketAddr, peer: &str, error: IcmpError) -> Option<Reply> {
        let told = self.with_session(at, |session, cx| session.handle_icmp(addr(peer), error, cx))?;
        Some(Reply::read(&told))
    }

    /// Every client with state.
    pub(crate) fn clients(&self) -> Vec<SocketAddr> {
        self.sessions.keys().copied().collect()
    }

    /// Ends the session of a client, as if its transport were gone.
    pub(crate) fn end(&mut self, at: SocketAddr) {
        self.with_session(at, |session, cx| session.end(EndReason::TransportGone, cx));
    }

    /// The value of a metric, `turn_` and its labels.
    #[track_caller]
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = self.metrics.encode();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("bimcc_rtc_turn_{name} ")));
        // Rows of responses that never happened are left out.
        line.map_or(0, |value| value.parse().unwrap())
    }

    #[track_caller]
    pub(crate) fn drops(&self, reason: &str) -> u64 {
        self.metric(&format!("dropped_packets_total{{reason=\"{reason}\"}}"))
    }

    #[track_caller]
    pub(crate) fn refusals(&self, reason: &str) -> u64 {
        self.metric(&format!("peer_refusals_total{{reason=\"{reason}\"}}"))
    }

    /// Runs `act` on the session of `at`, which is made if necessary, and then does the owner's duties.
    pub(crate) fn with_session<T>(
        &mut self,
        at: SocketAddr,
        act: impl FnOnce(&mut Session, &mut Context<'_>) -> T,
    ) -> T {
        let server = addr(if at.is_ipv4() { "198.51.100.1:3478" } else { "[2001:db8:5::1]:3478" });
        let (next_slot, new_session) = (&mut self.next_slot, self.new_session);
        let slot = self.sessions.entry(at).or_insert_with(|| {
            *next_slot += 1;
            Slot {
                session: new_session(FiveTuple { client: at, server }),
                number: *next_slot,
                relayed: ByFamily::default(),
            }
        });
        let mut events = EventQueue::new();
        let mut cx = Context { now: self.now, shared: &self.shared, limiter: &self.limiter, events: &mut events };
        let result = act(&mut slot.session, &mut cx);
        while let Some(event) = events.poll() {
            self.counters.count(&event);
            event.tell(&self.directory);
            if let SessionEvent::RelayEnded { family, address } = event {
                assert_eq!(slot.relayed[family].take(), Some(address));
                self.shared.relayed.release(family, address.port());
            }
            self.told.push((at, event));
        }
        for family in Family::BOTH {
            let relayed = slot.session.relayed(family);
            assert_eq!(relayed, slot.relayed[family], "what ends is told");
        }
        if slot.session.is_idle() {
            self.sessions.remove(&at);
        }
        result
    }
}

fn read_from_server(bytes: &[u8]) -> FromPeer {
    if bytes[0] & 0xC0 == 0x40 {
        let mut data = turn::proto::chandata::ChannelData { raw: bytes.to_vec(), ..Default::default() };
        data.decode().unwrap();
        return FromPeer::Channel { number: data.number.0, payload: data.data };
    }
    let reply = Reply::read(bytes);
    assert_eq!(reply.0.typ.class, CLASS_INDICATION);
    assert_eq!(reply.0.typ.method, stun::message::METHOD_DATA);
    FromPeer::Data { peer: reply.address(ATTR_XOR_PEER_ADDRESS), payload: reply.value(ATTR_DATA).unwrap() }
}

/// ChannelData as a client sends it over UDP.
pub(crate) fn channel_data(number: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.extend_from_slice(&(payload.len() as u16).to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}
