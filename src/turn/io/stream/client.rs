//! One client on a stream, as a state machine that its task polls.
//!
//! Each round has three steps. First, what waits to be written is sent. Then, if the client took all of it, letters
//! from the inbox and datagrams from the relay socket become the next batch of frames. Last, the client's own messages
//! are read. While the client does not take what it is sent, datagrams go to the inbox, where the oldest are dropped to
//! make room for the newest. Answers are never dropped: a client that does not take them is no longer read.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context as TaskContext, Poll},
    time::{Duration, Instant},
};

use tokio::{
    io::ReadBuf,
    time::{Sleep, sleep_until},
};

use super::{desk::Desk, outgoing::Outgoing, paced::Paced, stream_client::StreamClient};
use crate::{
    turn::{
        core::{
            event::EndReason,
            packet::DropReason,
            session::{Now, Session, Via},
            transport::{StreamClose, Transport},
        },
        io::{
            client_slot::ClientSlot,
            datagram_queue::Tally,
            driver::{ClientTransport, Driver, DriverDesk, DriverTurn, WorkerCommon},
            inbox::{Inbox, Letter},
            payload::{InPlace, Payload},
            socket::{BoundRelay, TaskSocket},
            udp::read_clocks,
        },
        wire::{
            data::{HEADROOM, TAILROOM},
            framing::{Deframer, FramingError, LONGEST_MESSAGE},
            message::LONGEST_REQUEST,
        },
    },
    values::{
        addresses::{PeerAddr, RelayedAddr},
        family::Family,
    },
};

/// How long media waits for a slow client: long enough for a burst, such as a video key frame, to get through.
const MAX_AGE: Duration = Duration::from_millis(400);

/// A queue that does not become empty is not a burst. If the inbox was not empty for `MAX_AGE`, media waits no longer
/// than this.
const MAX_AGE_IN_A_QUEUE: Duration = Duration::from_millis(40);

/// How many datagrams are taken from the relay socket before the client is written to again.
const RELAY_BUDGET: usize = 64;

/// How many rounds are done before other tasks get their turn.
const ROUNDS: usize = 8;

pub(super) struct PolledClient<S> {
    driver: Driver<TaskSocket>,
    transport: StreamTransport,
    common: Arc<WorkerCommon>,
    /// Taken out at the end.
    stream: Option<S>,
    deframer: Deframer,
    /// Since when the inbox has not been empty.
    queue_since: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    now: Now,
}

/// How the driver reaches the client.
struct StreamTransport {
    common: Arc<WorkerCommon>,
    outgoing: Outgoing,
    inbox: Arc<Inbox>,
    /// The place of the inbox, while there is an allocation.
    place: Option<ClientSlot>,
    on_allocation: Box<dyn FnMut(bool) + Send>,
    without_allocation: Duration,
    /// When the connection ends if it has no allocation.
    ends_idle: Instant,
}

impl ClientTransport for StreamTransport {
    type Relay = TaskSocket;

    /// A message waits for its turn, however long that takes.
    fn send(&mut self, message: &[u8], tally: Tally, turn: &DriverTurn<'_>) {
        self.outgoing.push(message);
        tally.count(&turn.common.counters);
    }

    fn adopt(&mut self, _: Family, socket: BoundRelay) -> io::Result<TaskSocket> {
        TaskSocket::adopt(socket)
    }

    fn move_in(&mut self) -> Option<ClientSlot> {
        self.place = self.common.mailboxes.streams().insert(self.inbox.clone());
        self.place
    }

    fn move_out(&mut self) {
        if let Some(place) = self.place.take() {
            self.common.mailboxes.streams().remove(place);
        }
    }

    fn allocated(&mut self) {
        (self.on_allocation)(true);
    }

    fn ended(&mut self, now: Now) {
        self.inbox.clear();
        self.ends_idle = now.instant + self.without_allocation;
        (self.on_allocation)(false);
    }
}

impl<S: Paced> PolledClient<S> {
    pub(super) fn new(common: Arc<WorkerCommon>, stream: S, client: StreamClient) -> Self {
        let now = read_clocks();
        let ends_idle = now.instant + client.without_allocation;
        Self {
            driver: Driver::new(Session::on_stream(client.tuple)),
            transport: StreamTransport {
                outgoing: Outgoing::new(client.transport == Transport::Tls),
                inbox: Inbox::new(common.counters.clone()),
                place: None,
                on_allocation: client.on_allocation,
                without_allocation: client.without_allocation,
                ends_idle,
                common: common.clone(),
            },
            common,
            stream: Some(stream),
            deframer: Deframer::new(),
            queue_since: None,
            timer: Box::pin(sleep_until(ends_idle.into())),
            now,
        }
    }

    /// Ends the allocation and returns the connection, so that it can be closed properly.
    pub(super) fn into_stream(mut self, reason: EndReason) -> S {
        self.end(reason);
        self.stream.take().expect("it is taken only here")
    }

    /// Does what is due. Ready when the connection is over.
    pub(super) fn poll(&mut self, cx: &mut TaskContext<'_>, desk: &mut Desk) -> Poll<StreamClose> {
        self.now = read_clocks();
        if let Some(key) = self.transport.inbox.begin(cx) {
            self.act(&mut desk.driver_desk, |driver, transport, turn| driver.handle_departure(key, transport, turn));
        }
        for _ in 0..ROUNDS {
            let stream = self.stream.as_mut().expect("it is taken only at the end");
            if self.transport.outgoing.write(stream, self.now.instant, cx).is_err() {
                return Poll::Ready(StreamClose::ConnectionLost);
            }
            let mut is_busy = self.take_letters(desk);
            is_busy |= self.read_relays(cx, desk);
            if !self.transport.outgoing.is_full() {
                match self.read_client(cx, desk) {
                    Poll::Ready(Ok(())) => is_busy = true,
                    Poll::Ready(Err(reason)) => return Poll::Ready(reason),
                    Poll::Pending => {}
                }
            }
            let outgoing = &self.transport.outgoing;
            if !is_busy && (outgoing.is_blocked() || outgoing.is_empty()) {
                match self.keep_time(cx, desk) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(reason)) => return Poll::Ready(reason),
                    Poll::Pending => return Poll::Pending,
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Turns letters into frames, as far as the client takes them. Returns whether there were any.
    fn take_letters(&mut self, desk: &mut Desk) -> bool {
        if !self.driver.session().is_allocated() {
            return false;
        }
        let now = self.now.instant;
        if self.transport.inbox.is_empty() {
            self.queue_since = None;
        }
        let is_queue = self.queue_since.is_some_and(|since| now.saturating_duration_since(since) > MAX_AGE);
        let max_age = if is_queue { MAX_AGE_IN_A_QUEUE } else { MAX_AGE };
        let mut were_any = false;
        while self.driver.session().is_allocated() && self.takes_more() {
            let Poll::Ready(letter) = self.transport.inbox.poll_next() else {
                self.queue_since = None;
                break;
            };
            were_any = true;
            self.queue_since.get_or_insert(now);
            let Letter { from, to, owner, since, mut payload } = letter;
            // A client is not slow merely because its own task was not run for a while.
            let is_late =
                now.saturating_duration_since(since) > max_age && self.transport.outgoing.was_blocked_since(since);
            if is_late {
                self.common.counters.dropped(DropReason::SlowClient);
                continue;
            }
            self.act(&mut desk.driver_desk, |driver, transport, turn| {
                driver.handle_delivery(from, (to, owner), payload.in_place(), transport, turn);
            });
        }
        were_any
    }

    /// Whether more frames may be gathered.
    fn takes_more(&self) -> bool {
        let outgoing = &self.transport.outgoing;
        !outgoing.is_blocked() && !outgoing.has_batch(self.now.instant)
    }

    /// Takes datagrams from the relay sockets and passes them to the client, or to the inbox while the client is slow.
    /// Returns whether there were any.
    fn read_relays(&mut self, cx: &mut TaskContext<'_>, desk: &mut Desk) -> bool {
        let mut were_any = false;
        for family in Family::BOTH {
            were_any |= self.read_relay(family, cx, desk);
        }
        were_any
    }

    fn read_relay(&mut self, family: Family, cx: &mut TaskContext<'_>, desk: &mut Desk) -> bool {
        let Desk { scratch, driver_desk, .. } = desk;
        let mut were_any = false;
        // Datagrams that arrived earlier must be sent first.
        let mut is_direct = !self.transport.outgoing.is_blocked() && self.transport.inbox.is_empty();
        for _ in 0..RELAY_BUDGET {
            let Some(socket) = self.driver.relay_socket(family) else {
                break;
            };
            if is_direct && self.transport.outgoing.has_batch(self.now.instant) {
                return true;
            }
            let room = scratch.len() - TAILROOM;
            let mut buffer = ReadBuf::new(&mut scratch[HEADROOM..room]);
            let peer = match socket.poll_recv(cx, &mut buffer) {
                Poll::Pending => break,
                // This is the late report of an error of an earlier send.
                Poll::Ready(Err(_)) => {
                    were_any = true;
                    self.act(driver_desk, |driver, transport, turn| driver.handle_reports(family, transport, turn));
                    continue;
                }
                Poll::Ready(Ok(peer)) => peer,
            };
            were_any = true;
            let payload = buffer.filled();
            if is_direct {
                let end = HEADROOM + payload.len();
                let datagram = InPlace { buffer: scratch, start: HEADROOM, end };
                self.act(driver_desk, |driver, transport, turn| {
                    driver.handle_network(PeerAddr(peer), datagram, transport, turn)
                });
            } else if let Some(letter) = self.letter(family, peer, payload) {
                self.transport.inbox.push(letter);
                is_direct = false;
            }
        }
        were_any
    }

    /// The letter for a datagram that arrives while the client is slow.
    fn letter(&self, family: Family, peer: SocketAddr, payload: &[u8]) -> Option<Letter> {
        let session = self.driver.session();
        Some(Letter {
            from: (PeerAddr(peer), Via::Network),
            to: RelayedAddr(session.relayed(family)?),
            owner: session.owner()?,
            since: self.now.instant,
            payload: Payload::copy_of(payload, Vec::new()),
        })
    }

    /// Reads from the client once. Ready if something was read, or if the connection is over.
    fn read_client(&mut self, cx: &mut TaskContext<'_>, desk: &mut Desk) -> Poll<Result<(), StreamClose>> {
        let stream = self.stream.as_mut().expect("it is taken only at the end");
        let Desk { read, driver_desk, .. } = desk;
        let mut buffer = ReadBuf::new(read);
        match std::task::ready!(Pin::new(stream).poll_read(cx, &mut buffer)) {
            Ok(()) if buffer.filled().is_empty() => return Poll::Ready(Err(StreamClose::Client)),
            Ok(()) => {}
            Err(_) => return Poll::Ready(Err(StreamClose::ConnectionLost)),
        }
        let mut bytes = buffer.filled();
        let mut deframer = std::mem::take(&mut self.deframer);
        let outcome = loop {
            // A client without an allocation has not proven who it is, and needs no messages longer than requests.
            let longest = if self.driver.session().is_allocated() { LONGEST_MESSAGE } else { LONGEST_REQUEST };
            match deframer.next_message(&mut bytes, longest) {
                Ok(Some(message)) => self.handle_message(message, driver_desk),
                Ok(None) => break Ok(()),
                Err(FramingError::NotTurn) => break Err(StreamClose::NotTurn),
                Err(FramingError::TooLong) => break Err(StreamClose::MessageTooLong),
            }
        };
        self.deframer = deframer;
        self.act(driver_desk, |driver, transport, turn| driver.flush(transport, turn));
        Poll::Ready(outcome)
    }

    fn handle_message(&mut self, message: &[u8], driver_desk: &mut DriverDesk) {
        let handover = self.act(driver_desk, |driver, transport, turn| driver.handle_client(message, transport, turn));
        if let Some(handover) = handover {
            self.common.hand_over(handover);
        }
    }

    /// Handles the passing of time. Pending until the next deadline; ready if the connection is over because it had no
    /// allocation for too long.
    fn keep_time(&mut self, cx: &mut TaskContext<'_>, desk: &mut Desk) -> Poll<Result<(), StreamClose>> {
        let idle = (!self.driver.session().is_allocated()).then_some(self.transport.ends_idle);
        let next = self.driver.session().next_deadline().into_iter().chain(idle).min();
        if let Some(next) = next
            && self.timer.deadline() != next.into()
        {
            self.timer.as_mut().reset(next.into());
        }
        std::task::ready!(self.timer.as_mut().poll(cx));
        self.now = read_clocks();
        self.act(&mut desk.driver_desk, |driver, transport, turn| driver.handle_timeout(transport, turn));
        self.transport.outgoing.rest();
        if !self.driver.session().is_allocated() && self.transport.ends_idle <= self.now.instant {
            return Poll::Ready(Err(StreamClose::NoAllocation));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S> PolledClient<S> {
    fn act<R>(
        &mut self,
        driver_desk: &mut DriverDesk,
        act: impl FnOnce(&mut Driver<TaskSocket>, &mut StreamTransport, &mut DriverTurn<'_>) -> R,
    ) -> R {
        let mut turn = DriverTurn::new(&self.common, self.now, driver_desk);
        act(&mut self.driver, &mut self.transport, &mut turn)
    }

    /// Ends the allocation, if there is one.
    fn end(&mut self, reason: EndReason) {
        self.act(&mut DriverDesk::new(), |driver, transport, turn| driver.end(reason, transport, turn));
    }
}

impl<S> Drop for PolledClient<S> {
    fn drop(&mut self) {
        self.end(EndReason::TransportGone);
    }
}
