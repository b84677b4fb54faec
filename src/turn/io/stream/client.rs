//! One client on a stream, as a state machine that its task polls.
//!
//! In each round, and in this order: what waits to be written goes out; if the client took all of it, letters from the
//! inbox and datagrams from the relay socket become the next batch of frames; then the client is listened to. While it
//! does not take what it is sent, datagrams go to the inbox, where the oldest make room for the newest. Answers are never
//! dropped: a client that does not take them is not listened to.
//!
//! Over TLS each frame is a record of its own, as far as that is up to us: coturn's client takes what a record holds for
//! one message.
//!
//! A frame that has begun to go out goes out whole, so that media is only ever dropped by whole messages.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
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

use super::{Desk, Paced, StreamClient, Streams};
use crate::{
    membership::AllocationRef,
    observe::metrics::TurnCounters,
    turn::{
        allocation::Reach,
        framing::{Deframer, FramingError, LONGEST_MESSAGE, frame},
        io::{
            inbox::{Inbox, Letter},
            relay::{Opener, Relays, Route, count_sent, route},
            socket::TaskSocket,
            udp::{key, read_clocks},
        },
        message::{Family, HEADROOM, IcmpError, LONGEST_REQUEST, TAILROOM},
        packet::{DropReason, Path},
        relayed::Home,
        session::{
            Context, Now, Output, RelayWish, Session, Via,
            event::{EndReason, Event, EventQueue},
        },
        transport::{StreamClose, Transport},
    },
};

/// Frames are gathered up to this before they are written.
const BATCH: usize = 16 * 1024;

/// With so much to be written to it, a client is not listened to.
const MAX_UNWRITTEN: usize = 64 * 1024;

/// The same for a client that was slow a moment ago: what is gathered here is no longer ours to drop.
const SLOW_BATCH: usize = 2 * 1024;

/// How long a client is taken to be slow after it did not take what it was sent.
const SLOW_FOR: Duration = Duration::from_secs(1);

/// Media waits no longer for a slow client: time enough for a burst, such as a video key frame, to get through.
const MAX_AGE: Duration = Duration::from_millis(400);

/// What waits all the time is no burst. When the inbox was not empty for `MAX_AGE`, media waits no longer than this.
const MAX_AGE_IN_A_QUEUE: Duration = Duration::from_millis(40);

/// Frames that are handed to TLS at once.
const FRAMES_AT_ONCE: usize = 32;

/// Datagrams taken from the relay socket before the client is written to again.
const RELAY_BUDGET: usize = 64;

/// Rounds before other tasks get their turn.
const ROUNDS: usize = 8;

/// What a buffer keeps while there is nothing to do.
const IDLE_CAPACITY: usize = 1024;

pub(super) struct Client<S> {
    streams: Arc<Streams>,
    counters: Arc<TurnCounters>,
    /// Taken when it is over.
    stream: Option<S>,
    on_allocation: Box<dyn FnMut(bool) + Send>,
    without_allocation: Duration,
    session: Session,
    /// What the session has told.
    events: EventQueue,
    deframer: Deframer,
    inbox: Arc<Inbox>,
    /// Whole frames on their way out.
    out: Vec<u8>,
    /// How much of `out` is gone.
    written: usize,
    /// Where in `out` each frame ends that is not gone, if each shall be written by itself.
    frame_ends: Option<VecDeque<usize>>,
    needs_flush: bool,
    /// Whether the client does not take what it is sent at the moment, and when that was last seen.
    is_blocked: bool,
    blocked_at: Option<Instant>,
    /// Since when the inbox has not been empty.
    queue_since: Option<Instant>,
    relays: Relays<TaskSocket>,
    place: Option<Place>,
    /// When it ends if it has no allocation.
    ends_idle: Instant,
    timer: Pin<Box<Sleep>>,
    now: Now,
}

/// Where an allocation's datagrams come to.
struct Place {
    slot: usize,
    /// The directory's key.
    key: u64,
}

impl<S: Paced> Client<S> {
    pub(super) fn new(
        streams: Arc<Streams>,
        stream: S,
        client: StreamClient,
        counters: Arc<TurnCounters>,
        inbox: Arc<Inbox>,
    ) -> Self {
        let now = read_clocks();
        let ends_idle = now.instant + client.without_allocation;
        Self {
            streams,
            counters,
            stream: Some(stream),
            on_allocation: client.on_allocation,
            without_allocation: client.without_allocation,
            session: Session::on_stream(client.tuple),
            events: EventQueue::new(),
            deframer: Deframer::new(),
            inbox,
            out: Vec::new(),
            written: 0,
            frame_ends: (client.transport == Transport::Tls).then(VecDeque::new),
            needs_flush: false,
            is_blocked: false,
            blocked_at: None,
            queue_since: None,
            relays: Relays::default(),
            place: None,
            ends_idle,
            timer: Box::pin(sleep_until(ends_idle.into())),
            now,
        }
    }

    /// The connection, to say goodbye on. The allocation ends.
    pub(super) fn into_stream(mut self, reason: EndReason) -> S {
        self.end(reason);
        self.stream.take().expect("it is taken only here")
    }

    /// Does what there is to do; ready when the connection is over.
    pub(super) fn poll(&mut self, cx: &mut TaskContext<'_>, desk: &mut Desk) -> Poll<StreamClose> {
        self.now = read_clocks();
        if let Some(ended) = self.inbox.begin(cx)
            && self.place.as_ref().is_some_and(|place| place.key == ended)
        {
            self.end(EndReason::MemberLeft);
        }
        for _ in 0..ROUNDS {
            if self.write(cx).is_err() {
                return Poll::Ready(StreamClose::ConnectionLost);
            }
            let mut is_busy = self.take_letters(desk);
            is_busy |= self.read_relays(cx, desk);
            if self.unwritten() < MAX_UNWRITTEN {
                match self.read_client(cx, desk) {
                    Poll::Ready(Ok(())) => is_busy = true,
                    Poll::Ready(Err(reason)) => return Poll::Ready(reason),
                    Poll::Pending => {}
                }
            }
            if !is_busy && (self.is_blocked || self.out.is_empty()) {
                match self.keep_time(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(reason)) => return Poll::Ready(reason),
                    Poll::Pending => return Poll::Pending,
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// How much is gathered before it is written.
    fn batch(&self) -> usize {
        let was_slow = |at| self.now.instant.saturating_duration_since(at) < SLOW_FOR;
        if self.blocked_at.is_some_and(was_slow) { SLOW_BATCH } else { BATCH }
    }

    fn unwritten(&self) -> usize {
        self.out.len() - self.written
    }

    fn write(&mut self, cx: &mut TaskContext<'_>) -> io::Result<()> {
        let asks_first = self.batch() == SLOW_BATCH;
        let stream = self.stream.as_mut().expect("it is taken only at the end");
        self.is_blocked = false;
        while self.written < self.out.len() {
            if asks_first {
                match stream.poll_room(cx) {
                    Poll::Ready(asked) => asked?,
                    Poll::Pending => {
                        self.is_blocked = true;
                        break;
                    }
                }
            }
            let stream = Pin::new(&mut *stream);
            let wrote = match &self.frame_ends {
                None => stream.poll_write(cx, &self.out[self.written..]),
                Some(ends) => {
                    let mut frames = [IoSlice::new(&[]); FRAMES_AT_ONCE];
                    let mut begin = self.written;
                    let mut count = 0;
                    for (frame, end) in frames.iter_mut().zip(ends) {
                        *frame = IoSlice::new(&self.out[begin..*end]);
                        begin = *end;
                        count += 1;
                    }
                    stream.poll_write_vectored(cx, &frames[..count])
                }
            };
            match wrote {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(len)) => {
                    self.written += len;
                    self.needs_flush = true;
                    if let Some(ends) = &mut self.frame_ends {
                        while ends.front().is_some_and(|end| *end <= self.written) {
                            ends.pop_front();
                        }
                    }
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => {
                    self.is_blocked = true;
                    break;
                }
            }
        }
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
            self.out.shrink_to(MAX_UNWRITTEN);
            if self.needs_flush {
                match Pin::new(stream).poll_flush(cx) {
                    Poll::Ready(flushed) => {
                        flushed?;
                        self.needs_flush = false;
                    }
                    Poll::Pending => self.is_blocked = true,
                }
            }
        }
        if self.is_blocked {
            self.blocked_at = Some(self.now.instant);
        }
        Ok(())
    }

    /// Puts a message behind what is on its way out.
    fn send(&mut self, message: &[u8]) {
        frame(message, &mut self.out);
        if let Some(ends) = &mut self.frame_ends {
            ends.push_back(self.out.len());
        }
    }

    /// Turns letters into frames, as far as the client takes them. Whether there were any.
    fn take_letters(&mut self, desk: &mut Desk) -> bool {
        if self.place.is_none() {
            return false;
        }
        let now = self.now.instant;
        if self.inbox.is_empty() {
            self.queue_since = None;
        }
        let is_queue = self.queue_since.is_some_and(|since| now.saturating_duration_since(since) > MAX_AGE);
        let max_age = if is_queue { MAX_AGE_IN_A_QUEUE } else { MAX_AGE };
        let mut were_any = false;
        while self.place.is_some() && !self.is_blocked && self.unwritten() < self.batch() {
            let Poll::Ready(letter) = self.inbox.poll_next() else {
                self.queue_since = None;
                break;
            };
            were_any = true;
            self.queue_since.get_or_insert(now);
            let Letter { from, to, owner, since, payload } = letter;
            // A task that was not run for a while is no slow client.
            let is_late = now.saturating_duration_since(since) > max_age
                && self.blocked_at.is_some_and(|blocked_at| blocked_at >= since);
            if is_late {
                self.counters.dropped(DropReason::SlowClient);
                continue;
            }
            // While it waited, the address may have come to somebody to whom its sender may not talk.
            if self.session.relayed(Family::of(to.ip())) != Some(to) || self.session.owner() != Some(owner) {
                self.counters.dropped(DropReason::OwnAddress);
                continue;
            }
            let end = HEADROOM + payload.len();
            let Some(space) = desk.scratch.get_mut(HEADROOM..end) else {
                continue;
            };
            space.copy_from_slice(&payload);
            self.pass_to_client(from, &mut desk.scratch, end);
        }
        were_any
    }

    /// Takes datagrams from the relay sockets: to the client, or to the inbox while that is slow. Whether there were any.
    fn read_relays(&mut self, cx: &mut TaskContext<'_>, desk: &mut Desk) -> bool {
        let mut were_any = false;
        for family in Family::BOTH {
            were_any |= self.read_relay(family, cx, desk);
        }
        were_any
    }

    fn read_relay(&mut self, family: Family, cx: &mut TaskContext<'_>, desk: &mut Desk) -> bool {
        let mut were_any = false;
        // What came before must go before.
        let mut is_direct = !self.is_blocked && self.inbox.is_empty();
        for _ in 0..RELAY_BUDGET {
            let relay = self.relays[family].as_ref();
            let Some(socket) = relay.and_then(|relay| relay.socket.as_ref()) else {
                break;
            };
            if is_direct && self.unwritten() >= self.batch() {
                return true;
            }
            let room = desk.scratch.len() - TAILROOM;
            let mut buffer = ReadBuf::new(&mut desk.scratch[HEADROOM..room]);
            let peer = match socket.poll_recv(cx, &mut buffer) {
                Poll::Pending => break,
                // An error of an earlier send, reported late.
                Poll::Ready(Err(_)) => {
                    were_any = true;
                    let reports = socket.take_icmp();
                    self.tell_client(&reports);
                    continue;
                }
                Poll::Ready(Ok(peer)) => peer,
            };
            were_any = true;
            let payload = buffer.filled();
            if is_direct {
                let end = HEADROOM + payload.len();
                self.pass_to_client((peer, Via::Network), &mut desk.scratch, end);
            } else if let (Some(to), Some(owner)) = (self.session.relayed(family), self.session.owner()) {
                let from = (peer, Via::Network);
                self.inbox.push(Letter { from, to, owner, since: self.now.instant, payload: payload.to_vec() });
                is_direct = false;
            }
        }
        were_any
    }

    /// Makes the payload at `scratch[HEADROOM..end]` a frame for the client.
    fn pass_to_client(&mut self, from: (SocketAddr, Via), scratch: &mut [u8], end: usize) {
        let Self { streams, events, now, .. } = self;
        let mut cx = Context { now: *now, shared: &streams.shared, limiter: &streams.limiter, events };
        let written = self.session.handle_peer(from, scratch, HEADROOM, end, &mut cx);
        match written {
            Ok((begin, end_of_message)) => {
                self.send(&scratch[begin..end_of_message]);
                let path = match from.1 {
                    Via::Network => Path::ToClientKernel,
                    Via::InProcess => Path::InProcess,
                };
                self.counters.relayed(path, end - HEADROOM);
            }
            Err(reason) => self.counters.dropped(reason),
        }
        self.hear();
    }

    /// Listens to the client once. Ready if something came, or it is over.
    fn read_client(&mut self, cx: &mut TaskContext<'_>, desk: &mut Desk) -> Poll<Result<(), StreamClose>> {
        let stream = self.stream.as_mut().expect("it is taken only at the end");
        let Desk { read, rng, .. } = desk;
        let mut buffer = ReadBuf::new(read);
        match std::task::ready!(Pin::new(stream).poll_read(cx, &mut buffer)) {
            Ok(()) if buffer.filled().is_empty() => return Poll::Ready(Err(StreamClose::Client)),
            Ok(()) => {}
            Err(_) => return Poll::Ready(Err(StreamClose::ConnectionLost)),
        }
        let mut bytes = buffer.filled();
        let mut deframer = std::mem::take(&mut self.deframer);
        let outcome = loop {
            // Who has proven nothing has nothing longer to say.
            let longest = if self.session.is_allocated() { LONGEST_MESSAGE } else { LONGEST_REQUEST };
            match deframer.next_message(&mut bytes, longest) {
                Ok(Some(message)) => self.handle_message(message, rng),
                Ok(None) => break Ok(()),
                Err(FramingError::NotTurn) => break Err(StreamClose::NotTurn),
                Err(FramingError::TooLong) => break Err(StreamClose::MessageTooLong),
            }
        };
        self.deframer = deframer;
        Poll::Ready(outcome)
    }

    fn handle_message(&mut self, message: &[u8], rng: &mut impl rand::Rng) {
        let Self { streams, events, now, .. } = self;
        let mut cx = Context { now: *now, shared: &streams.shared, limiter: &streams.limiter, events };
        let output = self.session.handle_client(message, &mut cx);
        // What a request gave up is given back before it is answered; and the next Allocate, possibly this very message,
        // must not take the place of a relay that is open.
        self.hear();
        match output {
            Output::Nothing => {}
            Output::Dropped(reason) => self.counters.dropped(reason),
            Output::Reply(reply) => self.send(&reply),
            Output::ToPeer { peer, payload, reach, dont_fragment } => {
                self.send_to_peer((peer, reach, dont_fragment), payload);
            }
            Output::BindRelay(wish) => self.bind_relay(wish, rng),
        }
    }

    fn send_to_peer(&mut self, (peer, reach, dont_fragment): (SocketAddr, Reach, bool), payload: &[u8]) {
        let relay = self.relays[Family::of(peer.ip())].as_ref();
        let (Some(relay), Some(owner)) = (relay, self.session.owner()) else {
            return;
        };
        let Streams { shared, mailboxes, index, .. } = &*self.streams;
        match route(shared, (owner, relay.advertised), peer, reach) {
            Ok(Route::InProcess(home)) => {
                if !mailboxes.send(*index, home, (relay.advertised, peer), payload) {
                    self.counters.dropped(DropReason::QueueFull);
                }
            }
            Ok(Route::Network) => {
                let Some(socket) = &relay.socket else {
                    return count_sent(&self.counters, Err(io::ErrorKind::NetworkUnreachable.into()), payload.len());
                };
                let mut sent = socket.send(peer, payload, dont_fragment);
                let mut reports = Vec::new();
                if sent.is_err() {
                    // It may be a report about an earlier datagram that stood in the way.
                    reports = socket.take_icmp();
                    if !reports.is_empty() {
                        sent = socket.send(peer, payload, dont_fragment);
                    }
                }
                count_sent(&self.counters, sent, payload.len());
                self.tell_client(&reports);
            }
            Err(reason) => self.counters.dropped(reason),
        }
    }

    /// Tells the client what the network has reported about what it sent.
    fn tell_client(&mut self, reports: &[(SocketAddr, IcmpError)]) {
        for (peer, error) in reports {
            let Self { streams, events, now, .. } = self;
            let mut cx = Context { now: *now, shared: &streams.shared, limiter: &streams.limiter, events };
            let told = self.session.handle_icmp(*peer, *error, &mut cx);
            self.hear();
            if let Some(indication) = told {
                self.send(&indication);
            }
        }
    }

    fn bind_relay(&mut self, wish: RelayWish, rng: &mut impl rand::Rng) {
        let Self { streams, events, session, now, .. } = self;
        let slot = streams.mailboxes.streams().insert(self.inbox.clone());
        let key = key(slot, streams.next_generation());
        let home = session.owner().zip(u32::try_from(slot).ok());
        let (relays, bound) = match home.map(|(owner, slot)| Home { worker: streams.index, slot, owner }) {
            None => Default::default(),
            Some(home) => Opener { shared: &streams.shared, ports: streams.relay_ports, held: &streams.held, rng }
                .open(home, wish, |_, socket| TaskSocket::adopt(socket)),
        };
        let mut cx = Context { now: *now, shared: &streams.shared, limiter: &streams.limiter, events };
        let entry = AllocationRef { worker: streams.index, key };
        let output = session.handle_relay_bound(bound, entry, &mut cx);
        if bound.next.is_some() {
            streams.mailboxes.holds();
        }
        self.relays = relays;
        self.place = Some(Place { slot, key });
        self.hear();
        if !self.session.is_allocated() {
            self.leave_place();
        }
        if let Output::Reply(reply) = output {
            self.send(&reply);
        }
    }

    /// Lets time pass; pending until the next deadline, or over because there was no allocation for too long.
    fn keep_time(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), StreamClose>> {
        let idle = self.place.is_none().then_some(self.ends_idle);
        let next = self.session.next_deadline().into_iter().chain(idle).min();
        if let Some(next) = next
            && self.timer.deadline() != next.into()
        {
            self.timer.as_mut().reset(next.into());
        }
        std::task::ready!(self.timer.as_mut().poll(cx));
        self.now = read_clocks();
        let Self { streams, events, now, .. } = self;
        self.session.handle_timeout(&mut Context {
            now: *now,
            shared: &streams.shared,
            limiter: &streams.limiter,
            events,
        });
        self.hear();
        self.out.shrink_to(IDLE_CAPACITY);
        if self.place.is_none() && self.ends_idle <= self.now.instant {
            return Poll::Ready(Err(StreamClose::NoAllocation));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S> Client<S> {
    /// Ends the allocation, if there is one.
    fn end(&mut self, reason: EndReason) {
        let Self { streams, events, now, .. } = self;
        let mut cx = Context { now: *now, shared: &streams.shared, limiter: &streams.limiter, events };
        self.session.end(reason, &mut cx);
        self.hear();
    }

    /// Takes what the session has told.
    fn hear(&mut self) {
        while let Some(event) = self.events.poll() {
            self.counters.count(&event);
            event.tell(&self.streams.shared.directory);
            match event {
                Event::Allocated(_) => (self.on_allocation)(true),
                Event::RelayEnded { family, .. } => {
                    if let Some(relay) = self.relays[family].take() {
                        relay.close(&self.streams.shared.relayed);
                    }
                }
                Event::Ended(_) => {
                    self.leave_place();
                    self.inbox.clear();
                    self.ends_idle = self.now.instant + self.without_allocation;
                    (self.on_allocation)(false);
                }
                _ => {}
            }
        }
    }

    /// No datagram finds it any more.
    fn leave_place(&mut self) {
        if let Some(Place { slot, .. }) = self.place.take() {
            self.streams.mailboxes.streams().remove(slot);
        }
    }
}

impl<S> Drop for Client<S> {
    fn drop(&mut self) {
        self.end(EndReason::TransportGone);
    }
}
