//! Owns sessions like a worker: their relayed addresses, their timers, and the ends caused by members that leave.
//! Nothing else here knows how sessions are driven.

use std::{
    hash::RandomState,
    net::{IpAddr, SocketAddr},
    sync::{Arc, LazyLock, Mutex},
    time::{Duration, Instant},
};

use bimcc_rtc::{
    credentials::{MemberKey, Secret},
    membership::{AllocationRef, Directory},
    observe::metrics::TurnCounters,
    shutdown::Shutdown,
    turn::{
        core::{
            event::{EndReason, EventQueue, SessionEvent},
            five_tuple::FiveTuple,
            held::Held,
            packet::DropReason,
            reach::Reach,
            session::{BoundRelays, Context, Now, Output, PortWish, RelayWish, Session, Via},
        },
        shared::{
            Shared, Terms,
            auth::{Authority, NonceKeys},
            limiter::AnswerLimiter,
            peer_policy::{HostAddresses, Mode, PeerPolicy, PeerRules},
            quota::Quotas,
            relayed::Home,
        },
        wire::data::{HEADROOM, IcmpError, TAILROOM},
    },
    values::{
        family::{ByFamily, Families, Family},
        relayed_address::RelayedAddress,
    },
};

pub const REALM: &str = "fuzz";
pub const MAX_ALLOCATIONS: usize = 5;
pub const MAX_PER_USER: usize = 2;

pub const RELAY_V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1));
pub const RELAY_V6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0, 0, 0, 0, 1));
/// An address that this host has at times.
pub const SOMETIMES_OWN: [u8; 4] = [10, 0, 0, 5];
/// A gateway that this host has at the same times.
pub const SOMETIMES_GATEWAY: [u8; 4] = [9, 9, 9, 9];

/// The table of relayed addresses has a megabyte, so this is made only once. Each run leaves it unchanged.
pub static SHARED: LazyLock<Shared> = LazyLock::new(|| {
    let rules = PeerRules {
        members: Mode::Members,
        api: Mode::Public,
        allow: Vec::new(),
        deny: Vec::new(),
        trusted_proxies: Vec::new(),
        dangerously_allow_loopback: false,
    };
    let directory = Directory::new();
    directory.on_end_allocation(Box::new(|allocation| TO_END.lock().unwrap().push(allocation)));
    Shared::new(
        NonceKeys::new(&[1; 32], None),
        Authority::new(REALM.into(), secrets().into(), &member_key()),
        PeerPolicy::new(rules, host(false)),
        Arc::new(directory),
        Quotas::up_to(MAX_ALLOCATIONS, MAX_PER_USER),
        Terms::default(),
        Shutdown::never(),
    )
});

pub fn member_key() -> MemberKey {
    MemberKey::new(&[3; 32])
}

/// Allocations of members that have left, whose owner does not know it yet.
static TO_END: Mutex<Vec<AllocationRef>> = Mutex::new(Vec::new());

pub fn secrets() -> [Secret; 2] {
    [Secret::new(*b"the first"), Secret::new(*b"the second")]
}

pub fn host(at_times: bool) -> HostAddresses {
    let relay = |ip| Some(RelayedAddress { advertised: ip, bind: ip });
    let mut host = HostAddresses {
        own: [RELAY_V4, RELAY_V6].into_iter().collect(),
        gateways: Vec::new(),
        relay: ByFamily::new(|family| relay(if family == Family::V4 { RELAY_V4 } else { RELAY_V6 })),
    };
    if at_times {
        host.own.extend([SOMETIMES_OWN.into()]);
        host.gateways.push(SOMETIMES_GATEWAY.into());
    }
    host
}

/// The result of something that a client sent.
#[derive(Debug)]
pub enum Heard {
    Nothing,
    Reply(Vec<u8>),
    /// An Allocate waits for its relayed address.
    Binds,
    Data {
        peer: SocketAddr,
        payload: Vec<u8>,
        in_process: bool,
    },
}

struct Client {
    session: Session,
    /// The relayed addresses that are claimed for it.
    relayed: ByFamily<Option<SocketAddr>>,
    binds: Option<RelayWish>,
    entry: AllocationRef,
}

pub struct Owner {
    pub now: Now,
    counters: TurnCounters,
    events: EventQueue,
    limiter: AnswerLimiter,
    clients: Vec<Client>,
    last_port: u16,
    /// The token of the latest port that is held for a later allocation.
    pub token: [u8; 8],
}

impl Owner {
    pub fn new(addresses: &[SocketAddr]) -> Self {
        let now = Now { instant: Instant::now(), unix: 1_700_000_000 };
        let server = |client: &SocketAddr| if client.is_ipv4() { RELAY_V4 } else { RELAY_V6 };
        let session =
            |client| Session::new(FiveTuple { client, server: SocketAddr::new(server(&client), super::TURN_PORT) });
        let entry = AllocationRef { worker: 0, key: 0 };
        let client = |address: &SocketAddr| Client {
            session: session(*address),
            relayed: ByFamily::default(),
            binds: None,
            entry,
        };
        Self {
            now,
            counters: TurnCounters::default(),
            events: EventQueue::new(),
            limiter: AnswerLimiter::new(RandomState::new(), now.instant),
            clients: addresses.iter().map(client).collect(),
            last_port: 49_999,
            token: [0; 8],
        }
    }

    pub fn relayed(&self, client: usize) -> [Option<SocketAddr>; 2] {
        Family::BOTH.map(|family| self.clients[client].session.relayed(family))
    }

    pub fn binds(&self, client: usize) -> bool {
        self.clients[client].binds.is_some()
    }

    pub fn held(&self, what: Held) -> i64 {
        self.counters.held(what)
    }

    pub fn client_says(&mut self, index: usize, datagram: &[u8]) -> Heard {
        let Self { now, events, limiter, clients, .. } = self;
        let mut cx = Context { now: *now, shared: &SHARED, limiter, events };
        let heard = match clients[index].session.handle_client(datagram, &mut cx) {
            Output::Nothing | Output::Dropped(_) => Heard::Nothing,
            Output::Reply(reply) => Heard::Reply(reply),
            Output::BindRelay(wish) => {
                assert!(clients[index].binds.replace(wish).is_none(), "one at a time");
                Heard::Binds
            }
            Output::ToPeer { peer, payload, reach, .. } => {
                Heard::Data { peer, payload: payload.to_vec(), in_process: reach == Reach::Own }
            }
        };
        self.tidy(index);
        heard
    }

    /// Gives a relayed address to the Allocate that waits, or none.
    pub fn bind(&mut self, index: usize, fails: bool) -> Heard {
        let Some(wish) = self.clients[index].binds.take() else {
            return Heard::Nothing;
        };
        let mut bound = BoundRelays::default();
        if fails {
            give_back(wish);
        } else {
            for family in Family::BOTH.into_iter().filter(|family| wish.families.contains(*family)) {
                bound.relayed[family] = self.claim(index, family, wish.port);
            }
            if let (PortWish::EvenAndNext, Families::One(family)) = (wish.port, wish.families) {
                self.last_port += 1;
                assert!(SHARED.relayed.hold(family, self.last_port), "no port is used twice in one run");
                self.token = u64::from(self.last_port).to_be_bytes();
                let ip = SHARED.policy.host().relay[family].expect("it has both").advertised;
                bound.next = Some((self.token, SocketAddr::new(ip, self.last_port)));
            }
        }
        let Self { now, events, limiter, clients, .. } = self;
        let mut cx = Context { now: *now, shared: &SHARED, limiter, events };
        let client = &mut clients[index];
        client.relayed = ByFamily::new(|family| bound.relayed[family]);
        client.entry = AllocationRef { worker: 0, key: (client.entry.key + (1 << 32)) | index as u64 };
        let heard = match client.session.handle_relay_bound(bound, client.entry, &mut cx) {
            Output::Nothing => Heard::Nothing,
            Output::Reply(reply) => Heard::Reply(reply),
            other => panic!("{other:?} is no answer to an Allocate"),
        };
        self.tidy(index);
        heard
    }

    fn claim(&mut self, index: usize, family: Family, port: PortWish) -> Option<SocketAddr> {
        let session = &self.clients[index].session;
        let home = Home { worker: 0, slot: index as u32, owner: session.owner()? };
        self.last_port += 1;
        match port {
            PortWish::Any => {}
            PortWish::Even | PortWish::EvenAndNext => self.last_port = self.last_port.next_multiple_of(2),
            PortWish::Reserved(address) => {
                assert!(SHARED.relayed.hand_over(family, address.port(), home), "it is held");
                return Some(address);
            }
        }
        let ip = SHARED.policy.host().relay[family]?.advertised;
        assert!(SHARED.relayed.claim(family, self.last_port, home), "no port is used twice in one run");
        Some(SocketAddr::new(ip, self.last_port))
    }

    /// What the client gets of a datagram that reached its relayed address.
    pub fn peer_says(
        &mut self,
        index: usize,
        from: SocketAddr,
        in_process: bool,
        payload: &[u8],
    ) -> Result<Vec<u8>, DropReason> {
        let mut buffer = [&[0xEE; HEADROOM], payload, &[0xEE; TAILROOM]].concat();
        let via = if in_process { Via::InProcess } else { Via::Network };
        let Self { now, events, limiter, clients, .. } = self;
        let mut cx = Context { now: *now, shared: &SHARED, limiter, events };
        let session = &mut clients[index].session;
        let written = session.handle_peer((from, via), &mut buffer, HEADROOM, HEADROOM + payload.len(), &mut cx);
        self.tidy(index);
        written.map(|(begin, end)| buffer[begin..end].to_vec())
    }

    /// The client that receives data from `index` to an address of this host.
    pub fn receiver(&self, index: usize, peer: SocketAddr) -> Option<usize> {
        let home = SHARED.relayed.home(Family::of(peer.ip()), peer.port())?;
        let receiver = &self.clients[home.slot as usize].session;
        let may_talk = SHARED.policy.may_talk(self.clients[index].session.owner()?, home.owner);
        let is_owner = receiver.relayed(Family::of(peer.ip())) == Some(peer) && receiver.owner() == Some(home.owner);
        (may_talk && is_owner).then_some(home.slot as usize)
    }

    pub fn pass(&mut self, time: Duration) {
        self.now.instant += time;
        self.now.unix += time.as_secs();
    }

    /// Serves all timers.
    pub fn serve_timers(&mut self) {
        let now = self.now.instant;
        for index in 0..self.clients.len() {
            let Self { now: clocks, events, limiter, clients, .. } = self;
            let session = &mut clients[index].session;
            if session.next_deadline().is_some_and(|deadline| deadline <= now) {
                session.handle_timeout(&mut Context { now: *clocks, shared: &SHARED, limiter, events });
            }
            assert!(session.next_deadline().is_none_or(|deadline| deadline > now), "a timer at once again");
            self.tidy(index);
        }
        for held in SHARED.reservations.expire(now) {
            SHARED.relayed.release(Family::of(held.ip()), held.port());
        }
        assert!(SHARED.reservations.next_deadline().is_none_or(|deadline| deadline > now));
    }

    /// What the client is told of an error that the network reports about its data.
    pub fn icmp_says(&mut self, index: usize, peer: SocketAddr, error: IcmpError) -> Option<Vec<u8>> {
        let Self { now, events, limiter, clients, .. } = self;
        let mut cx = Context { now: *now, shared: &SHARED, limiter, events };
        let told = clients[index].session.handle_icmp(peer, error, &mut cx);
        self.tidy(index);
        told
    }

    /// Ends the allocations of members that have left.
    pub fn serve_commands(&mut self) {
        let to_end = std::mem::take(&mut *TO_END.lock().unwrap());
        for allocation in to_end {
            let index = allocation.key as u32 as usize;
            // If another allocation is being bound, the one that is meant has ended.
            if self.clients[index].entry == allocation && self.clients[index].binds.is_none() {
                self.end_because(index, EndReason::MemberLeft);
            }
        }
    }

    /// The client's transport ends.
    pub fn end(&mut self, index: usize) {
        self.end_because(index, EndReason::TransportGone);
    }

    fn end_because(&mut self, index: usize, reason: EndReason) {
        let Self { now, events, limiter, clients, .. } = self;
        let client = &mut clients[index];
        client.session.end(reason, &mut Context { now: *now, shared: &SHARED, limiter, events });
        if let Some(wish) = client.binds.take() {
            give_back(wish);
        }
        assert!(client.session.is_idle() && client.session.next_deadline().is_none());
        self.tidy(index);
    }

    fn tidy(&mut self, index: usize) {
        let client = &mut self.clients[index];
        while let Some(event) = self.events.poll() {
            self.counters.count(&event);
            event.tell(&SHARED.directory);
            if let SessionEvent::RelayEnded { family, address } = event {
                assert_eq!(client.relayed[family].take(), Some(address));
                SHARED.relayed.release(family, address.port());
            }
        }
        for family in Family::BOTH {
            assert_eq!(client.session.relayed(family), client.relayed[family]);
        }
        if client.session.is_idle() {
            client.session = Session::new(client.session.tuple());
        }
    }

    /// Whether no state of any client is left.
    pub fn is_empty(&self) -> bool {
        let ports = 50_000..=self.last_port;
        let families = [Family::V4, Family::V6];
        let is_free = |port| families.iter().all(|family| SHARED.relayed.home(*family, port).is_none());
        let held = [Held::Allocations, Held::Permissions, Held::Channels];
        let places: Vec<_> = super::some_users()
            .map_while(|user| SHARED.quotas.take(&user, IpAddr::from([127, 0, 0, 1]), Family::V4).ok())
            .collect();
        places.len() == MAX_ALLOCATIONS
            && ports.into_iter().all(is_free)
            && held.iter().all(|what| self.held(*what) == 0)
            && SHARED.directory.is_empty()
            && !holds_ports()
            && TO_END.lock().unwrap().is_empty()
    }
}

/// Gives back a port that was held for a client which then did not get it.
fn give_back(wish: RelayWish) {
    if let PortWish::Reserved(address) = wish.port {
        SHARED.relayed.release(Family::of(address.ip()), address.port());
    }
}

/// Whether ports are held for later allocations.
pub fn holds_ports() -> bool {
    SHARED.reservations.next_deadline().is_some()
}
