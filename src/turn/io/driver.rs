//! Drives the session of one client, whatever transport the client uses: the one place where sockets meet the rules.
//!
//! A [`Driver`] has the session and its relay sockets. After each input it reads the session's events before it does
//! what the session wants. Relays are closed, the directory is told and everything is counted here and nowhere else.
//! The owner of the client's transport supplies a [`ClientTransport`], reads the relay sockets, keeps the time, and
//! passes a [`Handover`] to the client that it is for.
//!
//! Datagrams to peers are gathered as long as inputs of the same client follow each other. The owner calls
//! [`Driver::flush`] before it serves another client, so all waiting datagrams are always those of the current client.
//!
//! A failed send never ends an allocation.

use std::{io, net::SocketAddr, sync::Arc};

use super::{
    client_slot::ClientSlot,
    datagram_queue::{DatagramQueue, DatagramSocket, Tally, send_past_reports},
    mailbox::Mailboxes,
    payload::InPlace,
    relay::{HeldRelays, Opener, Relays},
    relay_socket::RelaySocket,
    socket::BoundRelay,
};
use crate::{
    membership::AllocationRef,
    observe::metrics::TurnCounters,
    turn::{
        core::{
            event::{EndReason, EventQueue, SessionEvent},
            packet::{DropReason, Path},
            reach::Reach,
            session::{Context, Now, Output, RelayWish, Session, Via},
        },
        shared::{
            Shared,
            limiter::AnswerLimiter,
            relayed::{Home, OwnerTag},
        },
        wire::data::{IcmpError, TAILROOM},
    },
    values::{
        addresses::{PeerAddr, RelayedAddr},
        family::{ByFamily, Family},
        ports::RelayPorts,
    },
};

/// The way to reach one client.
pub(super) trait ClientTransport {
    /// A relay socket in the form in which the owner of this transport reads it.
    type Relay: RelaySocket;

    /// Sends a message to the client soon, and makes sure that it is counted.
    fn send(&mut self, message: &[u8], tally: Tally, turn: &DriverTurn<'_>);

    /// Takes over a relay socket that was bound.
    fn adopt(&mut self, family: Family, socket: BoundRelay) -> io::Result<Self::Relay>;

    /// Takes a place at which datagrams for the client's relayed addresses arrive. `None` if none is left.
    fn move_in(&mut self) -> Option<ClientSlot>;

    /// Gives that place up, because it is no longer needed.
    fn move_out(&mut self);

    /// Called when an allocation was made.
    fn allocated(&mut self);

    /// Called when the allocation has ended.
    fn ended(&mut self, now: Now);
}

/// What all clients of a worker have in common.
#[derive(Debug)]
pub(super) struct WorkerCommon {
    /// The worker's number.
    pub(super) index: u16,
    pub(super) shared: Arc<Shared>,
    pub(super) counters: Arc<TurnCounters>,
    pub(super) limiter: Arc<AnswerLimiter>,
    pub(super) mailboxes: Arc<Mailboxes>,
    pub(super) relay_ports: RelayPorts,
    pub(super) held: Arc<HeldRelays>,
}

impl WorkerCommon {
    /// Passes a datagram to a client of another worker, or to a client on a stream.
    pub(super) fn hand_over(&self, Handover { home, from, to, payload }: Handover<'_>) {
        if !self.mailboxes.send(self.index, home, (from, to), payload) {
            self.counters.dropped(DropReason::QueueFull);
        }
    }
}

/// Datagrams for peers, by the family of the relay socket that sends them.
type ToPeers = ByFamily<DatagramQueue>;

/// What a thread lends to the client that it is serving. It is empty when the next client is served.
#[derive(Debug)]
pub(super) struct DriverDesk {
    /// The events of the session that had the last input.
    events: EventQueue,
    peers: ToPeers,
}

impl DriverDesk {
    pub(super) fn new() -> Self {
        Self { events: EventQueue::new(), peers: ByFamily::new(|_| DatagramQueue::new(DropReason::SendToPeer)) }
    }
}

/// What a driver needs while it handles one input.
pub(super) struct DriverTurn<'a> {
    pub(super) common: &'a WorkerCommon,
    pub(super) now: Now,
    events: &'a mut EventQueue,
    /// Datagrams that wait to be sent from the relay sockets of the current client.
    peers: &'a mut ToPeers,
    /// Whether the session reported any event; its deadline may then have changed.
    pub(super) has_told: bool,
}

impl<'a> DriverTurn<'a> {
    pub(super) fn new(common: &'a WorkerCommon, now: Now, desk: &'a mut DriverDesk) -> Self {
        Self { common, now, events: &mut desk.events, peers: &mut desk.peers, has_told: false }
    }

    fn context(&mut self) -> Context<'_> {
        let WorkerCommon { shared, limiter, .. } = self.common;
        Context { now: self.now, shared, limiter, events: self.events }
    }

    fn dropped(&self, reason: DropReason) {
        self.common.counters.dropped(reason);
    }

    /// Sends the waiting datagrams for peers of a family. Returns the reports that the network has made meanwhile.
    fn flush(&mut self, family: Family, socket: &impl DatagramSocket) -> Vec<(SocketAddr, IcmpError)> {
        match &mut self.peers[family] {
            queue if queue.is_empty() => Vec::new(),
            queue => queue.flush(socket, &self.common.counters, self.now.instant),
        }
    }
}

/// A relayed datagram for another client of this process.
#[derive(Debug)]
pub(super) struct Handover<'p> {
    /// Where that client is.
    pub(super) home: Home,
    /// The relayed address of the sender.
    pub(super) from: PeerAddr,
    /// The relayed address of the receiver.
    pub(super) to: RelayedAddr,
    pub(super) payload: &'p [u8],
}

/// See the module's header.
#[derive(Debug)]
pub(super) struct Driver<S> {
    session: Session,
    relays: Relays<S>,
    /// The directory's key of the latest allocation.
    key: u64,
}

impl<S: RelaySocket> Driver<S> {
    pub(super) fn new(session: Session) -> Self {
        Self { session, relays: Relays::default(), key: 0 }
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// The socket of the relayed address of a family, if relayed addresses have sockets.
    pub(super) fn relay_socket(&self, family: Family) -> Option<&S> {
        self.relays[family].as_ref()?.socket.as_ref()
    }

    /// Handles a datagram from the client. If it carries data for another client of this process, the caller must
    /// deliver that.
    pub(super) fn handle_client<'p>(
        &mut self,
        datagram: &'p [u8],
        transport: &mut impl ClientTransport<Relay = S>,
        turn: &mut DriverTurn<'_>,
    ) -> Option<Handover<'p>> {
        let _client = turn.common.counters.client(self.session.tuple());
        tracing::trace!(target: "bimcc_rtc::turn", bytes = datagram.len(), "from the client");
        let output = self.session.handle_client(datagram, &mut turn.context());
        // What a request gave up is given back before the request is answered. Also, the session may just have found
        // that its allocation is over: the next Allocate, possibly this very datagram, must not replace a relay that is
        // still open.
        self.hear(transport, turn);
        match output {
            Output::Nothing => {}
            Output::Dropped(reason) => turn.dropped(reason),
            Output::Reply(reply) => transport.send(&reply, Tally::Own, turn),
            Output::BindRelay(wish) => self.bind_relay(wish, transport, turn),
            Output::ToPeer { peer, payload, reach, dont_fragment } => {
                return self.send_to_peer((peer, reach, dont_fragment), payload, transport, turn);
            }
        }
        None
    }

    /// Handles a datagram that a peer sent to the relayed address over the network.
    pub(super) fn handle_network(
        &mut self,
        peer: PeerAddr,
        datagram: InPlace<'_>,
        transport: &mut impl ClientTransport<Relay = S>,
        turn: &mut DriverTurn<'_>,
    ) {
        self.pass_to_client((peer, Via::Network), datagram, transport, turn);
    }

    /// Handles a datagram that has waited, for the `owner` that the relayed address `to` had when it was sent. The
    /// address may meanwhile belong to an owner to whom the sender may not send.
    pub(super) fn handle_delivery(
        &mut self,
        from: (PeerAddr, Via),
        (RelayedAddr(to), owner): (RelayedAddr, OwnerTag),
        datagram: InPlace<'_>,
        transport: &mut impl ClientTransport<Relay = S>,
        turn: &mut DriverTurn<'_>,
    ) {
        let Self { session, .. } = self;
        if session.relayed(Family::of(to.ip())) != Some(to) || session.owner() != Some(owner) {
            return turn.dropped(DropReason::OwnAddress);
        }
        self.pass_to_client(from, datagram, transport, turn);
    }

    /// Reports to the client what the network has reported about datagrams that were sent from the relayed address of a
    /// family.
    pub(super) fn handle_reports(
        &mut self,
        family: Family,
        transport: &mut impl ClientTransport<Relay = S>,
        turn: &mut DriverTurn<'_>,
    ) {
        if let Some(socket) = self.relay_socket(family) {
            let reports = socket.take_icmp();
            self.tell_client(&reports, transport, turn);
        }
    }

    /// Handles the passing of time.
    pub(super) fn handle_timeout(
        &mut self,
        transport: &mut impl ClientTransport<Relay = S>,
        turn: &mut DriverTurn<'_>,
    ) {
        self.session.handle_timeout(&mut turn.context());
        self.hear(transport, turn);
    }

    /// Handles the directory's message that the owner of an allocation is gone. If it comes late, it must not end
    /// another allocation.
    pub(super) fn handle_departure(
        &mut self,
        key: u64,
        transport: &mut impl ClientTransport<Relay = S>,
        turn: &mut DriverTurn<'_>,
    ) {
        if key == self.key {
            self.end(EndReason::MemberLeft, transport, turn);
        }
    }

    /// Ends the allocation, if there is one.
    pub(super) fn end(
        &mut self,
        reason: EndReason,
        transport: &mut impl ClientTransport<Relay = S>,
        turn: &mut DriverTurn<'_>,
    ) {
        self.session.end(reason, &mut turn.context());
        self.hear(transport, turn);
    }

    /// Handles the events of the session.
    fn hear(&mut self, transport: &mut impl ClientTransport<Relay = S>, turn: &mut DriverTurn<'_>) {
        while let Some(event) = turn.events.poll() {
            turn.has_told = true;
            turn.common.counters.count(&event);
            event.tell(&turn.common.shared.directory);
            match event {
                SessionEvent::RelayEnded { family, .. } => {
                    if let Some(relay) = self.relays[family].take() {
                        // These datagrams were sent while the relay was open. There is no longer anybody to whom
                        // reports could be passed.
                        if let Some(socket) = &relay.socket {
                            turn.flush(family, socket);
                        }
                        relay.close(&turn.common.shared.relayed);
                    }
                }
                SessionEvent::Allocated(_) => transport.allocated(),
                SessionEvent::Ended(_) => {
                    transport.move_out();
                    transport.ended(turn.now);
                }
                SessionEvent::Requested(_)
                | SessionEvent::Answered { .. }
                | SessionEvent::Refused(_)
                | SessionEvent::Refreshed { .. }
                | SessionEvent::Permitted { .. }
                | SessionEvent::PermissionEnded { .. }
                | SessionEvent::ChannelBound { .. }
                | SessionEvent::ChannelEnded { .. }
                | SessionEvent::Withdrawn(_) => {}
            }
        }
    }

    fn bind_relay(
        &mut self,
        wish: RelayWish,
        transport: &mut impl ClientTransport<Relay = S>,
        turn: &mut DriverTurn<'_>,
    ) {
        let WorkerCommon { index, shared, relay_ports, held, mailboxes, .. } = turn.common;
        let place = transport.move_in();
        let home = place.zip(self.session.owner());
        let (relays, bound) = match home.map(|(place, owner)| Home { worker: *index, slot: place.slot, owner }) {
            None => Default::default(),
            Some(home) => Opener { shared, ports: *relay_ports, held, rng: &mut rand::rng() }.open(
                home,
                wish,
                |family, socket| transport.adopt(family, socket),
            ),
        };
        self.relays = relays;
        self.key = place.map_or(0, ClientSlot::key);
        let entry = AllocationRef { worker: *index, key: self.key };
        let output = self.session.handle_relay_bound(bound, entry, &mut turn.context());
        self.hear(transport, turn);
        if bound.next.is_some() {
            mailboxes.holds();
        }
        if !self.session.is_allocated() {
            transport.move_out();
        }
        if let Output::Reply(reply) = output {
            transport.send(&reply, Tally::Own, turn);
        }
    }

    /// Sends data from the client to a peer through the kernel, or returns what must be handed over in this process.
    fn send_to_peer<'p>(
        &mut self,
        (peer, reach, dont_fragment): (SocketAddr, Reach, bool),
        payload: &'p [u8],
        transport: &mut impl ClientTransport<Relay = S>,
        turn: &mut DriverTurn<'_>,
    ) -> Option<Handover<'p>> {
        let (Some(relay), Some(owner)) = (&self.relays[Family::of(peer.ip())], self.session.owner()) else {
            return None;
        };
        match route(&turn.common.shared, (owner, relay.advertised), peer, reach) {
            Ok(PeerRoute::InProcess(home)) => {
                Some(Handover { home, from: PeerAddr(relay.advertised), to: RelayedAddr(peer), payload })
            }
            Ok(PeerRoute::Network) => {
                self.send_to_network(peer, payload, dont_fragment, transport, turn);
                None
            }
            Err(reason) => {
                turn.dropped(reason);
                None
            }
        }
    }

    /// Adds a datagram for a peer to those that wait. A datagram with DF is sent by itself.
    fn send_to_network(
        &mut self,
        peer: SocketAddr,
        payload: &[u8],
        dont_fragment: bool,
        transport: &mut impl ClientTransport<Relay = S>,
        turn: &mut DriverTurn<'_>,
    ) {
        let family = Family::of(peer.ip());
        if dont_fragment || turn.peers[family].is_full() {
            self.flush(transport, turn);
        }
        let Some(socket) = self.relay_socket(family) else {
            return turn.dropped(DropReason::SendToPeer);
        };
        if !dont_fragment {
            let tally = Tally::relayed(Path::ToPeerKernel, payload);
            return turn.peers[family].push(peer, None, payload, tally);
        }
        let mut reports = Vec::new();
        match send_past_reports(socket, &mut reports, || socket.send_unfragmented(peer, payload)) {
            Ok(()) => turn.common.counters.relayed(Path::ToPeerKernel, payload.len()),
            Err(error) => {
                tracing::trace!(%error, "cannot send");
                turn.dropped(DropReason::SendToPeer);
            }
        }
        self.tell_client(&reports, transport, turn);
    }

    /// Sends the waiting datagrams for peers. The reports that the network has made meanwhile are passed to the client.
    pub(super) fn flush(&mut self, transport: &mut impl ClientTransport<Relay = S>, turn: &mut DriverTurn<'_>) {
        for family in Family::BOTH {
            if let Some(socket) = self.relay_socket(family) {
                let reports = turn.flush(family, socket);
                self.tell_client(&reports, transport, turn);
            }
        }
    }

    fn tell_client(
        &mut self,
        reports: &[(SocketAddr, IcmpError)],
        transport: &mut impl ClientTransport<Relay = S>,
        turn: &mut DriverTurn<'_>,
    ) {
        for (peer, error) in reports {
            let told = self.session.handle_icmp(*peer, *error, &mut turn.context());
            self.hear(transport, turn);
            if let Some(indication) = told {
                transport.send(&indication, Tally::Own, turn);
            }
        }
    }

    fn pass_to_client(
        &mut self,
        (PeerAddr(peer), via): (PeerAddr, Via),
        InPlace { buffer, start, end }: InPlace<'_>,
        transport: &mut impl ClientTransport<Relay = S>,
        turn: &mut DriverTurn<'_>,
    ) {
        // The padding may overwrite the beginning of the next datagram of a run.
        let Some(behind) = buffer.get(end..).and_then(<[u8]>::first_chunk::<TAILROOM>).copied() else {
            return turn.dropped(DropReason::Malformed);
        };
        let _client = turn.common.counters.client(self.session.tuple());
        tracing::trace!(target: "bimcc_rtc::turn", bytes = end - start, "from a peer");
        let written = self.session.handle_peer((peer, via), buffer, start, end, &mut turn.context());
        self.hear(transport, turn);
        match written {
            Ok((begin, end_of_message)) => {
                let path = match via {
                    Via::Network => Path::ToClientKernel,
                    Via::InProcess => Path::InProcess,
                };
                let tally = Tally::relayed(path, &buffer[start..end]);
                transport.send(&buffer[begin..end_of_message], tally, turn);
            }
            Err(reason) => turn.dropped(reason),
        }
        buffer[end..end + TAILROOM].copy_from_slice(&behind);
    }
}

/// The way that data for a peer takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PeerRoute {
    /// To the client of this process at that place.
    InProcess(Home),
    /// To the network.
    Network,
}

/// The way from the allocation of `owner` at `advertised` to a peer for which it has a permission.
///
/// # Errors
/// The reason why the data is dropped.
fn route(
    shared: &Shared,
    (owner, advertised): (OwnerTag, SocketAddr),
    peer: SocketAddr,
    reach: Reach,
) -> Result<PeerRoute, DropReason> {
    // If loopback peers are allowed (in tests), addresses of this host can be reached both ways.
    if reach == Reach::Own || peer.ip() == advertised.ip() {
        match shared.relayed.home(Family::of(peer.ip()), peer.port()) {
            Some(home) if shared.policy.may_talk(owner, home.owner) => return Ok(PeerRoute::InProcess(home)),
            Some(_) => return Err(DropReason::OtherRoom),
            None if reach == Reach::Own => return Err(DropReason::OwnAddress),
            None => {}
        }
    }
    Ok(PeerRoute::Network)
}
