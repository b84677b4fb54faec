//! A UDP worker: one thread with its own listening sockets, its own sessions and its own relay sockets.
//!
//! The kernel always gives the datagrams of a client to the same worker (SO_REUSEPORT), so the packet path takes no
//! lock and does not switch tasks. What all workers share is read-mostly ([`Shared`]); datagrams for a client of
//! another worker go through that worker's [`super::mailbox`]. A failed send never ends an allocation.
#![allow(clippy::disallowed_methods, reason = "it reads the clocks")]

use std::{
    collections::BTreeSet,
    io,
    net::SocketAddr,
    num::NonZeroU64,
    sync::mpsc,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use mio::{Poll, Registry, Token};
use rustix::{
    thread::set_current_timer_slack,
    time::{ClockId, clock_gettime},
};
use slab::Slab;

use super::{
    datagram_queue::{DatagramQueue, Tally},
    driver::{ClientTransport, Driver, DriverDesk, DriverTurn, Handover, WorkerCommon},
    mailbox::{Parcel, WorkerCommand},
    rest::Rests,
    socket::{BoundRelay, Buffers, LISTENER_BATCH, RELAY_BATCH, Received, UdpSocket},
};
use crate::{
    membership::AllocationRef,
    turn::{
        core::{
            event::EndReason,
            five_tuple::FiveTuple,
            packet::DropReason,
            session::{Now, Session, Via},
        },
        io::{
            client_index::ClientIndex,
            client_slot::{ClientSlot, slot_of},
            payload::InPlace,
        },
        shared::relayed::OwnerTag,
    },
    values::{
        addresses::{PeerAddr, RelayedAddr},
        family::Family,
    },
};

pub(super) const WAKER: Token = Token(usize::MAX);

/// How many datagrams are read from one socket before the other sockets get their turn. The runs of the last batch may
/// exceed it.
const READ_BUDGET: usize = 256;

/// Datagrams taken from the mailbox per turn.
const MAILBOX_BUDGET: usize = 256;

/// How many ended sessions may wait for retransmissions. No quota counts them, so a client that allocates and gives
/// back repeatedly makes many. If one is forgotten early, its client gets a 437 for an allocation that is over anyway.
const MAX_ENDED: usize = 1024;

/// By how much a rest may exceed the time asked for, in nanoseconds.
const TIMER_SLACK: NonZeroU64 = NonZeroU64::new(5_000).unwrap();

/// How many slots are kept when the last client is gone.
const KEPT_SLOTS: usize = 64;

/// The parts that a worker is made of.
pub(super) struct Setup {
    pub(super) poll: Poll,
    pub(super) listeners: Vec<UdpSocket>,
    pub(super) common: WorkerCommon,
    pub(super) commands: mpsc::Receiver<WorkerCommand>,
    pub(super) rests: Rests,
}

/// The thread's loop and what it waits for.
pub(super) struct Worker {
    poll: Poll,
    commands: mpsc::Receiver<WorkerCommand>,
    buffers: Buffers,
    /// Sockets that had more to read than their turn allowed. Edge-triggered polling will not report them again.
    unfinished: Vec<Token>,
    /// The sockets to read in this turn. Kept from turn to turn to reuse its memory.
    ready: Vec<Token>,
    rests: Rests,
    clients: Clients,
}

/// The worker's clients, and everything that is needed to serve them.
struct Clients {
    /// Each client has its own memory, which is freed with the client.
    slots: Slab<Box<UdpClient>>,
    index: ClientIndex,
    deadlines: BTreeSet<(Instant, usize)>,
    /// The deadlines that belong to ended sessions.
    ended: BTreeSet<(Instant, usize)>,
    means: Means,
}

/// What is needed to serve any client.
struct Means {
    common: WorkerCommon,
    registry: Registry,
    listeners: Vec<Listener>,
    now: Now,
    desk: DriverDesk,
    generation: u32,
    /// The number of datagrams that were received in this turn.
    datagrams: usize,
}

/// A socket that clients send to, and the datagrams that wait to be sent from it.
struct Listener {
    socket: UdpSocket,
    queue: DatagramQueue,
}

struct UdpClient {
    driver: Driver<UdpSocket>,
    listener: usize,
    deadline: Option<Instant>,
}

/// A client behind one of the listeners, while one of its inputs is handled.
struct UdpTransport<'a> {
    tuple: FiveTuple,
    listener: &'a mut Listener,
    registry: &'a Registry,
    slot: usize,
    /// The token of the client's first relay socket.
    first_token: usize,
    generation: &'a mut u32,
}

impl Means {
    /// What is needed to handle one input of the client of `tuple`, which has or would get `slot`.
    fn lend(&mut self, listener: usize, tuple: FiveTuple, slot: usize) -> (UdpTransport<'_>, DriverTurn<'_>) {
        let transport = UdpTransport {
            tuple,
            first_token: self.listeners.len() + 2 * slot,
            listener: &mut self.listeners[listener],
            registry: &self.registry,
            slot,
            generation: &mut self.generation,
        };
        (transport, DriverTurn::new(&self.common, self.now, &mut self.desk))
    }
}

impl Listener {
    /// Sends the waiting datagrams. There are no reports, because the socket has not asked for them.
    fn flush(&mut self, common: &WorkerCommon, now: Instant) {
        if !self.queue.is_empty() {
            self.queue.flush(&self.socket, &common.counters, now);
        }
    }
}

impl ClientTransport for UdpTransport<'_> {
    type Relay = UdpSocket;

    fn send(&mut self, message: &[u8], tally: Tally, turn: &DriverTurn<'_>) {
        if self.listener.queue.is_full() {
            self.listener.flush(turn.common, turn.now.instant);
        }
        self.listener.queue.push(self.tuple.client, Some(self.tuple.server.ip()), message, tally);
    }

    fn adopt(&mut self, family: Family, socket: BoundRelay) -> io::Result<UdpSocket> {
        let mut socket = self.listener.socket.adopt_relay(socket)?;
        socket.register(self.registry, Token(self.first_token + usize::from(family == Family::V6)))?;
        Ok(socket)
    }

    fn move_in(&mut self) -> Option<ClientSlot> {
        *self.generation = self.generation.wrapping_add(1);
        Some(ClientSlot { slot: u32::try_from(self.slot).ok()?, generation: *self.generation })
    }

    /// The slot is freed when the session is forgotten.
    fn move_out(&mut self) {}

    fn allocated(&mut self) {}

    fn ended(&mut self, _: Now) {}
}

impl Worker {
    pub(super) fn new(setup: Setup) -> io::Result<Self> {
        let mut listeners = Vec::new();
        for (index, mut socket) in setup.listeners.into_iter().enumerate() {
            socket.register(setup.poll.registry(), Token(index))?;
            listeners.push(Listener { socket, queue: DatagramQueue::new(DropReason::SendToClient) });
        }
        Ok(Self {
            clients: Clients {
                slots: Slab::new(),
                index: ClientIndex::default(),
                deadlines: BTreeSet::new(),
                ended: BTreeSet::new(),
                means: Means {
                    common: setup.common,
                    registry: setup.poll.registry().try_clone()?,
                    listeners,
                    now: read_clocks(),
                    desk: DriverDesk::new(),
                    generation: 0,
                    datagrams: 0,
                },
            },
            poll: setup.poll,
            commands: setup.commands,
            buffers: Buffers::new(),
            unfinished: Vec::new(),
            ready: Vec::new(),
            rests: setup.rests,
        })
    }

    /// Serves clients until told to stop.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut events = mio::Events::with_capacity(256);
        // An error is ignored: by default the kernel lets a thread sleep 50 µs longer than asked for.
        let _ = set_current_timer_slack(Some(TIMER_SLACK));
        loop {
            let may_wait = self.unfinished.is_empty() && self.clients.mailbox().fall_asleep();
            let timeout = if may_wait { self.clients.time_to_deadline() } else { Some(Duration::ZERO) };
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => events.clear(),
                other => other?,
            }
            self.clients.mailbox().wake_up();
            self.clients.means.now = read_clocks();
            // Each socket is read once, before anything else. A flooded socket does not finish in its turn and is
            // reported again every time; it must not gain a second turn by that.
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
                self.clients.handle_parcel(parcel);
            }
            while let Ok(command) = self.commands.try_recv() {
                match command {
                    WorkerCommand::End(allocation) => self.clients.handle_departure(allocation),
                    WorkerCommand::Held => {}
                    WorkerCommand::Stop => {
                        self.clients.end_all();
                        self.clients.flush();
                        return Ok(());
                    }
                }
            }
            self.clients.handle_deadlines();
            self.clients.flush();
            self.rest();
        }
    }

    /// Waits for packets to gather, if that pays.
    fn rest(&mut self) {
        let datagrams = std::mem::take(&mut self.clients.means.datagrams);
        let now = Instant::now();
        if self.unfinished.is_empty()
            && let Some(rest) = self.rests.after(datagrams, now, processor_time)
        {
            thread::sleep(rest);
            self.clients.means.common.counters.rested(now.elapsed());
        }
    }

    fn read(&mut self, token: Token) {
        if token == WAKER {
            return;
        }
        let relay = self.clients.relay_of(token);
        // Preparing many buffers is costly, and a relayed address usually receives one datagram at a time.
        let mut batch = if relay.is_some() { RELAY_BATCH } else { LISTENER_BATCH };
        let budget = self.clients.means.datagrams + READ_BUDGET;
        while self.clients.means.datagrams < budget {
            let Some(socket) = self.clients.socket(token) else {
                return;
            };
            let received = match batch {
                RELAY_BATCH => socket.recv::<RELAY_BATCH>(&mut self.buffers),
                _ => socket.recv::<LISTENER_BATCH>(&mut self.buffers),
            };
            let count = match received {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // This is the late report of an error of an earlier send. The next datagram may follow it.
                Err(_) => {
                    self.clients.means.datagrams += 1;
                    self.clients.handle_reports(token);
                    continue;
                }
            };
            match relay {
                Some((slot, _)) => self.clients.handle_from_peers(slot, &mut self.buffers, count),
                None => self.clients.handle_from_clients(token.0, &mut self.buffers, count),
            }
            if count < batch {
                return;
            }
            batch = LISTENER_BATCH;
        }
        self.unfinished.push(token);
    }
}

impl Clients {
    fn mailbox(&self) -> &super::mailbox::Mailbox {
        self.means.common.mailboxes.of(self.means.common.index)
    }

    /// The slot and the family of a relay socket; `None` for a listener's token.
    fn relay_of(&self, token: Token) -> Option<(usize, Family)> {
        let number = token.0.checked_sub(self.means.listeners.len())?;
        Some((number / 2, Family::BOTH[number % 2]))
    }

    fn socket(&self, token: Token) -> Option<&UdpSocket> {
        match self.relay_of(token) {
            None => self.means.listeners.get(token.0).map(|listener| &listener.socket),
            Some((slot, family)) => self.slots.get(slot)?.driver.relay_socket(family),
        }
    }

    /// Handles what peers sent to a relay socket of the client in `slot`.
    fn handle_from_peers(&mut self, slot: usize, buffers: &mut Buffers, count: usize) {
        for index in 0..count {
            let received = buffers.received(index);
            let buffer = buffers.buffer(index);
            self.means.datagrams += received.datagrams().count();
            self.with_client(slot, |driver, transport, turn| {
                for (start, end) in received.datagrams() {
                    driver.handle_network(PeerAddr(received.from), InPlace { buffer, start, end }, transport, turn);
                }
            });
        }
    }

    /// Handles what clients sent to a listener. The clients are served one after the other, each with its datagrams in
    /// order, so that datagrams to the same peer follow each other.
    fn handle_from_clients(&mut self, listener: usize, buffers: &mut Buffers, count: usize) {
        let local = self.means.listeners[listener].socket.local();
        let mut is_handled = [false; LISTENER_BATCH];
        for first in 0..count {
            if is_handled[first] {
                continue;
            }
            let Received { from, to_ip, .. } = buffers.received(first);
            let tuple = FiveTuple { client: from, server: SocketAddr::new(to_ip.unwrap_or(local.ip()), local.port()) };
            for (index, is_handled) in is_handled.iter_mut().enumerate().take(count).skip(first) {
                let received = buffers.received(index);
                if *is_handled || received.from != from || received.to_ip != to_ip {
                    continue;
                }
                *is_handled = true;
                let buffer = buffers.buffer(index);
                for (start, end) in received.datagrams() {
                    self.means.datagrams += 1;
                    self.handle_client(listener, tuple, InPlace { buffer, start, end });
                }
            }
            self.flush_to_peers(&tuple);
        }
    }

    /// Sends the waiting datagrams of the client of `tuple` to peers.
    fn flush_to_peers(&mut self, tuple: &FiveTuple) {
        if let Some(slot) = self.index.find(tuple, tuples_in(&self.slots)) {
            self.with_client(slot, |driver, transport, turn| driver.flush(transport, turn));
        }
    }

    /// Sends the waiting datagrams to clients.
    fn flush(&mut self) {
        let Means { listeners, common, now, .. } = &mut self.means;
        listeners.iter_mut().for_each(|listener| listener.flush(common, now.instant));
    }

    fn handle_client(&mut self, listener: usize, tuple: FiveTuple, InPlace { buffer, start, end }: InPlace<'_>) {
        let datagram = &buffer[start..end];
        let handover = match self.index.find(&tuple, tuples_in(&self.slots)) {
            Some(slot) => self
                .with_client(slot, |driver, transport, turn| driver.handle_client(datagram, transport, turn))
                .flatten(),
            None => self.handle_stranger(listener, tuple, datagram),
        };
        match handover {
            // A datagram for a client of this worker becomes a message for that client without being moved.
            Some(Handover { home, from, to, payload }) if home.worker == self.means.common.index => {
                let start = offset_in(buffer, payload);
                let end = start + payload.len();
                let from = (from, Via::InProcess);
                self.deliver(home.slot as usize, from, (to, home.owner), InPlace { buffer, start, end });
            }
            Some(handover) => self.means.common.hand_over(handover),
            None => {}
        }
    }

    /// The session is on the stack until it allocates.
    fn handle_stranger<'p>(&mut self, listener: usize, tuple: FiveTuple, datagram: &'p [u8]) -> Option<Handover<'p>> {
        let slot = self.slots.vacant_key();
        let mut driver = Driver::new(Session::new(tuple));
        let (mut transport, mut turn) = self.means.lend(listener, tuple, slot);
        let handover = driver.handle_client(datagram, &mut transport, &mut turn);
        if !driver.session().is_idle() {
            self.slots.insert(Box::new(UdpClient { driver, listener, deadline: None }));
            self.index.insert(&tuple, slot as u32, tuples_in(&self.slots));
            self.tidy(slot);
        }
        handover
    }

    /// Calls the function for the client in `slot`, if there is one, and then does what is due for that client.
    fn with_client<R>(
        &mut self,
        slot: usize,
        act: impl FnOnce(&mut Driver<UdpSocket>, &mut UdpTransport<'_>, &mut DriverTurn<'_>) -> R,
    ) -> Option<R> {
        let UdpClient { driver, listener, .. } = &mut **self.slots.get_mut(slot)?;
        let (mut transport, mut turn) = self.means.lend(*listener, driver.session().tuple(), slot);
        let result = act(driver, &mut transport, &mut turn);
        if turn.has_told {
            self.tidy(slot);
        }
        Some(result)
    }

    fn handle_reports(&mut self, token: Token) {
        if let Some((slot, family)) = self.relay_of(token) {
            self.with_client(slot, |driver, transport, turn| driver.handle_reports(family, transport, turn));
        }
    }

    fn handle_parcel(&mut self, mut parcel: Parcel) {
        let Parcel { home, from, to, .. } = parcel;
        self.means.datagrams += 1;
        let from = (from, Via::InProcess);
        self.deliver(home.slot as usize, from, (to, home.owner), parcel.payload.in_place());
        self.means.common.mailboxes.give_back(parcel);
    }

    /// Delivers a datagram to the client of this worker in `slot`, if the client still exists.
    fn deliver(&mut self, slot: usize, from: (PeerAddr, Via), to: (RelayedAddr, OwnerTag), datagram: InPlace<'_>) {
        let delivered = self.with_client(slot, |driver, transport, turn| {
            driver.handle_delivery(from, to, datagram, transport, turn);
        });
        if delivered.is_none() {
            self.means.common.counters.dropped(DropReason::OwnAddress);
        }
    }

    /// Must be called after anything that may have changed what the session holds.
    fn tidy(&mut self, slot: usize) {
        let Some(client) = self.slots.get_mut(slot) else {
            return;
        };
        let session = client.driver.session();
        let deadline = session.next_deadline();
        if client.deadline != deadline {
            if let Some(old) = client.deadline {
                self.deadlines.remove(&(old, slot));
                self.ended.remove(&(old, slot));
            }
            if let Some(new) = deadline {
                self.deadlines.insert((new, slot));
                if session.has_ended() {
                    self.ended.insert((new, slot));
                }
            }
            client.deadline = deadline;
        }
        if session.is_idle() {
            let tuple = session.tuple();
            self.index.remove(&tuple, slot, tuples_in(&self.slots));
            self.slots.remove(slot);
            if self.slots.is_empty() && self.slots.capacity() > KEPT_SLOTS {
                self.slots.shrink_to_fit();
            }
        }
        if self.ended.len() > MAX_ENDED
            && let Some((_, oldest)) = self.ended.pop_first()
        {
            self.end(oldest, EndReason::Expired);
        }
    }

    fn handle_departure(&mut self, allocation: AllocationRef) {
        self.with_client(slot_of(allocation), |driver, transport, turn| {
            driver.handle_departure(allocation.key, transport, turn);
        });
    }

    fn end(&mut self, slot: usize, reason: EndReason) {
        self.with_client(slot, |driver, transport, turn| driver.end(reason, transport, turn));
        self.tidy(slot);
    }

    /// Ends all sessions, because the server is shutting down.
    fn end_all(&mut self) {
        let slots: Vec<_> = self.slots.iter().map(|(slot, _)| slot).collect();
        slots.into_iter().for_each(|slot| self.end(slot, EndReason::Server));
    }

    fn time_to_deadline(&self) -> Option<Duration> {
        let next = self.deadlines.first().map(|(deadline, _)| *deadline);
        let held = if self.sees_to_held() { self.means.common.shared.reservations.next_deadline() } else { None };
        let deadline = next.into_iter().chain(held).min()?;
        // The kernel's timeout is in milliseconds and rounds down. Adding one avoids waking up too early, and then a
        // second time.
        Some(deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(1))
    }

    /// Whether this worker is the one that ends held addresses that nobody has claimed.
    fn sees_to_held(&self) -> bool {
        self.means.common.index == 0
    }

    fn handle_deadlines(&mut self) {
        if self.sees_to_held()
            && self.means.common.shared.reservations.next_deadline().is_some_and(|at| at <= self.means.now.instant)
        {
            for relayed in self.means.common.shared.reservations.expire(self.means.now.instant) {
                self.means.common.held.free(relayed, &self.means.common.shared.relayed);
            }
        }
        while let Some(&(deadline, slot)) = self.deadlines.first()
            && deadline <= self.means.now.instant
        {
            self.deadlines.remove(&(deadline, slot));
            self.ended.remove(&(deadline, slot));
            self.slots[slot].deadline = None;
            self.with_client(slot, |driver, transport, turn| driver.handle_timeout(transport, turn));
            self.tidy(slot);
        }
    }
}

/// The tuples of the clients in `slots`.
fn tuples_in(slots: &Slab<Box<UdpClient>>) -> impl Fn(usize) -> Option<FiveTuple> {
    move |slot| slots.get(slot).map(|client| client.driver.session().tuple())
}

/// The offset of the slice `part` in `whole`.
fn offset_in(whole: &[u8], part: &[u8]) -> usize {
    part.as_ptr().addr() - whole.as_ptr().addr()
}

/// The processor time of this thread.
fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

pub(super) fn read_clocks() -> Now {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Now { instant: Instant::now(), unix }
}
