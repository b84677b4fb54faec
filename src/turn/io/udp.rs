//! A UDP worker: one thread with its own listening sockets, its own sessions and its own relay sockets.
//!
//! The kernel always brings a client to the same worker (SO_REUSEPORT), so the packet path takes no lock and switches no
//! task. What is common to all workers is read-mostly ([`Shared`]); datagrams for a client of another worker go through
//! its [`super::mailbox`]. A failed send never ends an allocation.

use std::{
    collections::{BTreeSet, HashMap},
    io,
    net::SocketAddr,
    sync::{Arc, mpsc},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use mio::{Poll, Registry, Token};
use rand::rngs::StdRng;
use slab::Slab;

use super::{
    mailbox::{Command, Mailboxes, Parcel},
    relay::{HeldRelays, Opener, Relays, Route, count_sent, route},
    socket::{BATCH, Buffers, UdpSocket},
};
use crate::{
    config::RelayPorts,
    membership::AllocationRef,
    observe::metrics::TurnCounters,
    turn::{
        Shared,
        allocation::Reach,
        limiter::AnswerLimiter,
        message::{Family, HEADROOM, IcmpError, TAILROOM},
        packet::{DropReason, Path},
        relayed::Home,
        session::{
            Bound, Context, FiveTuple, Now, Output, RelayWish, Session, Via,
            event::{EndReason, Event, EventQueue},
        },
    },
};

pub(super) const WAKER: Token = Token(usize::MAX);

/// Batches read from one socket before the others get their turn.
const READ_BUDGET: usize = 16;

/// Datagrams taken from the mailbox per turn.
const MAILBOX_BUDGET: usize = 256;

/// Sessions that have ended and wait for retransmissions. No quota counts them, so whoever allocates and gives back in
/// turns makes many; one that is forgotten early costs its client a 437 for what is over anyway.
const MAX_ENDED: usize = 1024;

/// What a worker is made of.
pub(super) struct Setup {
    pub(super) index: u16,
    pub(super) poll: Poll,
    pub(super) listeners: Vec<UdpSocket>,
    pub(super) shared: Arc<Shared>,
    pub(super) counters: Arc<TurnCounters>,
    pub(super) mailboxes: Arc<Mailboxes>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) relay_ports: RelayPorts,
    pub(super) held: Arc<HeldRelays>,
    pub(super) limiter: Arc<AnswerLimiter>,
    pub(super) rng: StdRng,
}

/// The thread's loop and what it waits for.
pub(super) struct Worker {
    poll: Poll,
    commands: mpsc::Receiver<Command>,
    buffers: Buffers,
    /// Sockets that had more to read than their turn allowed: edge-triggered polling will not name them again.
    unfinished: Vec<Token>,
    /// The sockets to read in this turn; kept for its memory.
    ready: Vec<Token>,
    clients: Clients,
}

/// The worker's clients and all that serving them takes.
struct Clients {
    index: u16,
    registry: Registry,
    listeners: Vec<UdpSocket>,
    shared: Arc<Shared>,
    counters: Arc<TurnCounters>,
    /// What the session that had the last input has told.
    events: EventQueue,
    mailboxes: Arc<Mailboxes>,
    relay_ports: RelayPorts,
    held: Arc<HeldRelays>,
    limiter: Arc<AnswerLimiter>,
    rng: StdRng,
    now: Now,
    slots: Slab<Client>,
    slot_by_tuple: HashMap<FiveTuple, usize>,
    deadlines: BTreeSet<(Instant, usize)>,
    /// Those of the deadlines that belong to ended sessions.
    ended: BTreeSet<(Instant, usize)>,
    /// Where a datagram is copied to that must become a message for another client.
    scratch: Vec<u8>,
    generation: u32,
}

struct Client {
    session: Session,
    listener: usize,
    relays: Relays<UdpSocket>,
    deadline: Option<Instant>,
    /// Tells its allocation from earlier ones in the same slot: a late command must not end the wrong one.
    generation: u32,
}

impl Worker {
    pub(super) fn new(setup: Setup) -> io::Result<Self> {
        let mut listeners = setup.listeners;
        for (index, listener) in listeners.iter_mut().enumerate() {
            listener.register(setup.poll.registry(), Token(index))?;
        }
        Ok(Self {
            clients: Clients {
                index: setup.index,
                registry: setup.poll.registry().try_clone()?,
                listeners,
                shared: setup.shared,
                counters: setup.counters,
                events: EventQueue::new(),
                mailboxes: setup.mailboxes,
                relay_ports: setup.relay_ports,
                held: setup.held,
                limiter: setup.limiter,
                rng: setup.rng,
                now: read_clocks(),
                slots: Slab::new(),
                slot_by_tuple: HashMap::new(),
                deadlines: BTreeSet::new(),
                ended: BTreeSet::new(),
                scratch: vec![0; HEADROOM + 65_536 + TAILROOM],
                generation: 0,
            },
            poll: setup.poll,
            commands: setup.commands,
            buffers: Buffers::new(),
            unfinished: Vec::new(),
            ready: Vec::new(),
        })
    }

    /// Serves until told to stop.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut events = mio::Events::with_capacity(256);
        loop {
            let may_wait = self.unfinished.is_empty() && self.clients.mailbox().fall_asleep();
            let timeout = if may_wait { self.clients.time_to_deadline() } else { Some(Duration::ZERO) };
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => events.clear(),
                other => other?,
            }
            self.clients.mailbox().wake_up();
            self.clients.now = read_clocks();
            // Sockets first, each once: one that is flooded is cut short and named again every time, and must not gain a
            // turn with each.
            self.ready.clear();
            self.ready.extend(events.iter().map(|event| event.token()));
            self.ready.append(&mut self.unfinished);
            self.ready.sort_unstable();
            self.ready.dedup();
            for index in 0..self.ready.len() {
                self.read(self.ready[index]);
            }
            for _ in 0..MAILBOX_BUDGET {
                let Some(parcel) = self.clients.mailbox().next() else {
                    break;
                };
                self.clients.deliver_parcel(parcel);
            }
            while let Ok(command) = self.commands.try_recv() {
                match command {
                    Command::End(allocation) => self.clients.end(allocation),
                    Command::Held => {}
                    Command::Stop => {
                        self.clients.end_all();
                        return Ok(());
                    }
                }
            }
            self.clients.handle_deadlines();
        }
    }

    fn read(&mut self, token: Token) {
        if token == WAKER {
            return;
        }
        for _ in 0..READ_BUDGET {
            let Some(socket) = self.clients.socket(token) else {
                return;
            };
            let count = match socket.recv(&mut self.buffers) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // An error of an earlier send, reported late: the next datagram may follow it.
                Err(_) => {
                    self.clients.report_icmp(token);
                    continue;
                }
            };
            for index in 0..count {
                self.clients.handle_received(token, &mut self.buffers, index);
            }
            if count < BATCH {
                return;
            }
        }
        self.unfinished.push(token);
    }
}

impl Clients {
    fn mailbox(&self) -> &super::mailbox::Mailbox {
        self.mailboxes.of(self.index)
    }

    /// The slot and the family of a relay socket; `None` for a listener's token.
    fn relay_of(&self, token: Token) -> Option<(usize, Family)> {
        let number = token.0.checked_sub(self.listeners.len())?;
        Some((number / 2, Family::BOTH[number % 2]))
    }

    fn socket(&self, token: Token) -> Option<&UdpSocket> {
        match self.relay_of(token) {
            None => self.listeners.get(token.0),
            Some((slot, family)) => self.slots.get(slot)?.relays[family].as_ref()?.socket.as_ref(),
        }
    }

    fn handle_received(&mut self, token: Token, buffers: &mut Buffers, index: usize) {
        let received = buffers.received(index);
        let buffer = buffers.buffer(index);
        let slot = self.relay_of(token).map(|(slot, _)| slot);
        for (start, end) in received.datagrams() {
            match slot {
                None => {
                    let local = self.listeners[token.0].local();
                    let server = SocketAddr::new(received.to_ip.unwrap_or(local.ip()), local.port());
                    let tuple = FiveTuple { client: received.from, server };
                    self.handle_client(token.0, tuple, &buffer[start..end]);
                }
                Some(slot) => self.handle_peer(slot, received.from, &buffer[start..end]),
            }
        }
    }

    fn handle_client(&mut self, listener: usize, tuple: FiveTuple, datagram: &[u8]) {
        match self.slot_by_tuple.get(&tuple) {
            Some(&slot) => {
                let output = {
                    let Self { slots, shared, events, limiter, now, .. } = self;
                    let mut cx = Context { now: *now, shared, limiter, events };
                    slots[slot].session.handle_client(datagram, &mut cx)
                };
                // What a request gave up is given back before it is answered. And the session may just have found that its
                // allocation is over, before the timer or the command that says so: the next Allocate, possibly this very
                // datagram, must not take the place of a relay that is open.
                self.hear(Some(slot));
                match output {
                    Output::Nothing => {}
                    Output::Dropped(reason) => self.counters.dropped(reason),
                    Output::ToPeer { peer, payload, reach, dont_fragment } => {
                        self.send_to_peer(slot, peer, payload, reach, dont_fragment);
                    }
                    Output::Reply(reply) => {
                        let listener = self.slots[slot].listener;
                        self.tidy(slot);
                        self.send(listener, tuple, &reply);
                    }
                    Output::BindRelay(wish) => self.bind_relay(slot, wish),
                }
            }
            None => {
                // A stranger: the session lives on the stack unless it allocates.
                let mut session = Session::new(tuple);
                let Self { shared, events, limiter, now, .. } = self;
                let mut cx = Context { now: *now, shared, limiter, events };
                let output = session.handle_client(datagram, &mut cx);
                self.hear(None);
                match output {
                    Output::Nothing | Output::ToPeer { .. } => {}
                    Output::Dropped(reason) => self.counters.dropped(reason),
                    Output::Reply(reply) => self.send(listener, tuple, &reply),
                    Output::BindRelay(wish) => {
                        let relays = Relays::default();
                        let client = Client { session, listener, relays, deadline: None, generation: 0 };
                        let slot = self.slots.insert(client);
                        self.slot_by_tuple.insert(tuple, slot);
                        self.bind_relay(slot, wish);
                    }
                }
            }
        }
    }

    /// From the network to the client.
    fn handle_peer(&mut self, slot: usize, peer: SocketAddr, payload: &[u8]) {
        if let Some(len) = self.pass_to_client(slot, (peer, Via::Network), payload) {
            self.counters.relayed(Path::ToClientKernel, len);
        }
    }

    /// From the client to a peer: in process if the peer is a relayed address of ours, else by the kernel.
    fn send_to_peer(&mut self, slot: usize, peer: SocketAddr, payload: &[u8], reach: Reach, dont_fragment: bool) {
        let client = &self.slots[slot];
        let family = Family::of(peer.ip());
        let (Some(relay), Some(owner)) = (&client.relays[family], client.session.owner()) else {
            return;
        };
        let advertised = relay.advertised;
        match route(&self.shared, (owner, advertised), peer, reach) {
            Ok(Route::Network) => {}
            Ok(Route::InProcess(home)) => return self.deliver(home, advertised, peer, payload),
            Err(reason) => return self.counters.dropped(reason),
        }
        let Some(socket) = &relay.socket else {
            return count_sent(&self.counters, Err(io::ErrorKind::NetworkUnreachable.into()), payload.len());
        };
        let send = |socket: &UdpSocket| match dont_fragment {
            true => socket.send_unfragmented(peer, payload),
            false => socket.send(peer, None, payload),
        };
        let mut sent = send(socket);
        if sent.is_err() {
            // It may be a report about an earlier datagram that stood in the way.
            let reports = socket.take_icmp();
            if !reports.is_empty() {
                sent = send(socket);
            }
            self.tell_client(slot, &reports);
        }
        count_sent(&self.counters, sent, payload.len());
    }

    /// Tells a client what the network has reported about what it sent.
    fn report_icmp(&mut self, token: Token) {
        if let Some((slot, _)) = self.relay_of(token)
            && let Some(socket) = self.socket(token)
        {
            let reports = socket.take_icmp();
            self.tell_client(slot, &reports);
        }
    }

    fn tell_client(&mut self, slot: usize, reports: &[(SocketAddr, IcmpError)]) {
        for (peer, error) in reports {
            let Self { slots, shared, events, limiter, now, .. } = self;
            let mut cx = Context { now: *now, shared, limiter, events };
            let Some(client) = slots.get_mut(slot) else {
                return;
            };
            let told = client.session.handle_icmp(*peer, *error, &mut cx);
            self.hear(Some(slot));
            if let Some(indication) = told {
                self.send_to_client(slot, &indication);
            }
        }
    }

    /// To the client that owns the relayed address `to`, wherever it is.
    fn deliver(&mut self, home: Home, from: SocketAddr, to: SocketAddr, payload: &[u8]) {
        if home.worker == self.index {
            self.deliver_here(home, from, to, payload);
        } else if !self.mailboxes.send(self.index, home, (from, to), payload) {
            self.counters.dropped(DropReason::QueueFull);
        }
    }

    fn deliver_parcel(&mut self, parcel: Parcel) {
        self.deliver_here(parcel.home, parcel.from, parcel.to, &parcel.payload);
        self.mailboxes.give_back(parcel);
    }

    fn deliver_here(&mut self, home: Home, from: SocketAddr, to: SocketAddr, payload: &[u8]) {
        let slot = home.slot as usize;
        // While a datagram waited, the port may have come to somebody to whom its sender may not talk.
        let is_owner = self
            .slots
            .get(slot)
            .map(|client| &client.session)
            .is_some_and(|s| s.relayed(Family::of(to.ip())) == Some(to) && s.owner() == Some(home.owner));
        if !is_owner {
            return self.counters.dropped(DropReason::OwnAddress);
        }
        if let Some(len) = self.pass_to_client(slot, (from, Via::InProcess), payload) {
            self.counters.relayed(Path::InProcess, len);
        }
    }

    /// Turns `payload` from `peer` into a message for the client and sends it. Returns the payload's length if it went.
    fn pass_to_client(&mut self, slot: usize, peer: (SocketAddr, Via), payload: &[u8]) -> Option<usize> {
        let end = HEADROOM + payload.len();
        self.scratch.get_mut(HEADROOM..end)?.copy_from_slice(payload);
        let client = self.slots.get_mut(slot)?;
        let Self { shared, events, limiter, now, .. } = self;
        let mut cx = Context { now: *now, shared, limiter, events };
        let written = client.session.handle_peer(peer, &mut self.scratch, HEADROOM, end, &mut cx);
        self.hear(Some(slot));
        let client = &self.slots[slot];
        match written {
            Ok((begin, end)) => {
                let tuple = client.session.tuple();
                let listener = &self.listeners[client.listener];
                match listener.send(tuple.client, Some(tuple.server.ip()), &self.scratch[begin..end]) {
                    Ok(()) => return Some(payload.len()),
                    Err(_) => self.counters.dropped(DropReason::SendToClient),
                }
            }
            Err(reason) => self.counters.dropped(reason),
        }
        None
    }

    fn bind_relay(&mut self, slot: usize, wish: RelayWish) {
        let (relays, bound) = self.open_relays(slot, wish);
        self.generation = self.generation.wrapping_add(1);
        let client = &mut self.slots[slot];
        client.relays = relays;
        client.generation = self.generation;
        let entry = AllocationRef { worker: self.index, key: key(slot, client.generation) };
        let Self { shared, events, limiter, now, .. } = self;
        let mut cx = Context { now: *now, shared, limiter, events };
        let output = client.session.handle_relay_bound(bound, entry, &mut cx);
        self.hear(Some(slot));
        if bound.next.is_some() {
            self.mailboxes.holds();
        }
        if let Output::Reply(reply) = output {
            self.send_to_client(slot, &reply);
        }
        self.tidy(slot);
    }

    /// Relay sockets on random free ports of the range.
    fn open_relays(&mut self, slot: usize, wish: RelayWish) -> (Relays<UdpSocket>, Bound) {
        let first_token = self.listeners.len() + 2 * slot;
        let home = self.slots[slot].session.owner().zip(u32::try_from(slot).ok());
        let Some(home) = home.map(|(owner, slot)| Home { worker: self.index, slot, owner }) else {
            return Default::default();
        };
        let Self { shared, relay_ports, held, rng, registry, .. } = self;
        let mut opener = Opener { shared, ports: *relay_ports, held, rng };
        opener.open(home, wish, |family, socket| {
            let mut socket = UdpSocket::adopt(socket)?;
            socket.register(registry, Token(first_token + usize::from(family == Family::V6)))?;
            Ok(socket)
        })
    }

    /// Takes what the session in `slot` has told; one without a slot has no relays.
    fn hear(&mut self, slot: Option<usize>) {
        while let Some(event) = self.events.poll() {
            self.counters.count(&event);
            event.tell(&self.shared.directory);
            if let Event::RelayEnded { family, .. } = event
                && let Some(slot) = slot
                && let Some(relay) = self.slots[slot].relays[family].take()
            {
                relay.close(&self.shared.relayed);
            }
        }
    }

    /// After anything that may have changed what the session holds.
    fn tidy(&mut self, slot: usize) {
        if !self.slots.contains(slot) {
            return;
        }
        self.hear(Some(slot));
        let client = &mut self.slots[slot];
        let deadline = client.session.next_deadline();
        if client.deadline != deadline {
            if let Some(old) = client.deadline {
                self.deadlines.remove(&(old, slot));
                self.ended.remove(&(old, slot));
            }
            if let Some(new) = deadline {
                self.deadlines.insert((new, slot));
                if client.session.has_ended() {
                    self.ended.insert((new, slot));
                }
            }
            client.deadline = deadline;
        }
        if client.session.is_idle() {
            self.slot_by_tuple.remove(&client.session.tuple());
            self.slots.remove(slot);
        }
        if self.ended.len() > MAX_ENDED
            && let Some((_, oldest)) = self.ended.pop_first()
        {
            let Self { slots, shared, events, limiter, now, .. } = self;
            slots[oldest].session.end(EndReason::MemberLeft, &mut Context { now: *now, shared, limiter, events });
            self.tidy(oldest);
        }
    }

    fn end(&mut self, allocation: AllocationRef) {
        let slot = allocation.key as u32 as usize;
        let Self { slots, shared, events, limiter, now, .. } = self;
        if let Some(client) = slots.get_mut(slot)
            && key(slot, client.generation) == allocation.key
        {
            client.session.end(EndReason::MemberLeft, &mut Context { now: *now, shared, limiter, events });
            self.tidy(slot);
        }
    }

    /// The server ends.
    fn end_all(&mut self) {
        let slots: Vec<_> = self.slots.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            let Self { slots, shared, events, limiter, now, .. } = self;
            slots[slot].session.end(EndReason::Server, &mut Context { now: *now, shared, limiter, events });
            self.hear(Some(slot));
        }
    }

    fn time_to_deadline(&self) -> Option<Duration> {
        let next = self.deadlines.first().map(|(deadline, _)| *deadline);
        let held = if self.sees_to_held() { self.shared.reservations.next_deadline() } else { None };
        let deadline = next.into_iter().chain(held).min()?;
        // The kernel's timeout is in milliseconds and rounds down: one more avoids waking up too early, twice.
        Some(deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(1))
    }

    /// Whether it is the worker that ends what is held for nobody.
    fn sees_to_held(&self) -> bool {
        self.index == 0
    }

    fn handle_deadlines(&mut self) {
        if self.sees_to_held() && self.shared.reservations.next_deadline().is_some_and(|at| at <= self.now.instant) {
            for relayed in self.shared.reservations.expire(self.now.instant) {
                self.held.free(relayed, &self.shared.relayed);
            }
        }
        while let Some(&(deadline, slot)) = self.deadlines.first()
            && deadline <= self.now.instant
        {
            let Self { slots, shared, events, limiter, now, .. } = self;
            let before = slots[slot].deadline.take();
            slots[slot].session.handle_timeout(&mut Context { now: *now, shared, limiter, events });
            if let Some(before) = before {
                self.deadlines.remove(&(before, slot));
                self.ended.remove(&(before, slot));
            }
            self.tidy(slot);
        }
    }

    fn send_to_client(&self, slot: usize, message: &[u8]) {
        if let Some(client) = self.slots.get(slot) {
            self.send(client.listener, client.session.tuple(), message);
        }
    }

    fn send(&self, listener: usize, tuple: FiveTuple, message: &[u8]) {
        if self.listeners[listener].send(tuple.client, Some(tuple.server.ip()), message).is_err() {
            self.counters.dropped(DropReason::SendToClient);
        }
    }
}

/// The directory's key of the client in `slot`.
pub(super) fn key(slot: usize, generation: u32) -> u64 {
    u64::from(generation) << 32 | slot as u64
}

pub(super) fn read_clocks() -> Now {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Now { instant: Instant::now(), unix }
}
