//! The I/O shell around one WebSocket: passes frames to the rooms, writes the frames that they queue, and keeps time.
//!
//! A session never waits for another client. Its queue is bounded, and its connection is closed if the queue overflows
//! or a write stalls. A client that sends too many messages, or many bytes without messages, is read more slowly.
#![allow(clippy::disallowed_methods, reason = "it reads the clocks")]

use std::{
    net::IpAddr,
    pin::pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{Notify, watch},
    time::{Instant, interval, sleep, sleep_until, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Bytes, Error, Message,
        error::ProtocolError,
        protocol::{CloseFrame, Role, WebSocketConfig},
    },
};

use super::{
    clock::{self, StepWatch},
    close_code::Frames,
    close_reason::CloseReason,
    closing::close_frame,
    core::{
        hub::{MemberSummary, RoomSummary},
        resume::ResumeKey,
    },
    error::{Code, Refusal},
    frame::Frame,
    overhead::MeasuredStream,
    pace::Pace,
    queue::{CommonQueue, Queue},
    service::{Client, Clocks, Limits, Outcome, Service},
};
use crate::{
    farewell,
    ice_servers::{Issuer, Reached},
    locks::{Lock, LockName},
    membership::Directory,
    observe::metrics::{CloseReasonLabel, LabelValue, Metrics},
    shutdown::Shutdown,
    values::member::MemberId,
};

/// How many bytes are read at once. An idle connection keeps a buffer of this size.
const READ_BUFFER: usize = 1024;
/// How many bytes are collected before they are written.
const WRITE_BUFFER: usize = 4096;
/// How many frames are written before the session reads from the client again.
const FRAMES_PER_TURN: usize = 128;
/// For each message over its rate, the client is not read for this long.
const PENALTY: Duration = Duration::from_millis(10);

/// Time limits and intervals.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// The time between pings, plus or minus a fifth.
    pub ping_interval: Duration,
    /// A connection that is silent for this long is dropped.
    pub idle_timeout: Duration,
    /// A frame that cannot be written for this long ends the connection.
    pub write_timeout: Duration,
    /// The time for the Close frame to be sent and answered.
    pub farewell_timeout: Duration,
    /// How long the place of a member that asked for it is kept after its connection broke.
    pub resume_grace: Duration,
    /// How often the wall clock is checked for steps, if nothing else reads it.
    pub clock_period: Duration,
    /// After a step, all members get fresh credentials within this time.
    pub clock_spread: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            ping_interval: Duration::from_secs(25),
            idle_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(20),
            farewell_timeout: Duration::from_secs(3),
            resume_grace: Duration::from_secs(15),
            clock_period: Duration::from_secs(2),
            clock_spread: Duration::from_secs(5),
        }
    }
}

/// What is known about a client when its WebSocket opens.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Its address, if verified.
    pub address: Option<IpAddr>,
    /// How it reached this server.
    pub reached: Reached,
    /// `?room=` of the URL.
    pub url_room: Option<Box<str>>,
}

/// Signaling: serves connections.
pub struct Signaling {
    rooms: Service<Arc<Queue>>,
    /// What the queues of all connections share.
    common: Arc<CommonQueue>,
    timing: Timing,
    /// Notified when a member is away, so that there is a deadline to keep.
    somebody_away: Notify,
    wall_clock: WallClock,
    step_watch: Lock<StepWatch>,
    /// How often the wall clock has been set.
    steps: watch::Sender<u64>,
    metrics: Arc<Metrics>,
    /// Once a shutdown has begun, every client is told to come back later.
    shutdown: Shutdown,
}

type WallClock = Box<dyn Fn() -> SystemTime + Send + Sync>;

impl Signaling {
    /// Signaling without rooms.
    pub fn new(
        limits: Limits,
        timing: Timing,
        issuer: Issuer,
        resume_key: ResumeKey,
        directory: Arc<Directory>,
        metrics: Arc<Metrics>,
        shutdown: Shutdown,
    ) -> Self {
        let server = format!("{:016x}", rand::random::<u64>());
        let rooms = Service::new(limits, server, issuer, resume_key, directory, &metrics.signaling, shutdown.clone());
        Self {
            rooms,
            common: Arc::default(),
            timing,
            somebody_away: Notify::new(),
            wall_clock: Box::new(SystemTime::now),
            step_watch: step_watch(SystemTime::now()),
            steps: watch::Sender::new(0),
            metrics,
            shutdown,
        }
    }

    /// Uses another wall clock than the system's, for example one that a test sets.
    #[must_use]
    pub fn with_wall_clock(mut self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.step_watch = step_watch(clock());
        self.wall_clock = Box::new(clock);
        self
    }

    /// The wall clock in Unix seconds. Every call first notices whether the clock was set, so that nothing is judged by
    /// a clock that has just changed.
    fn unix_now(&self) -> u64 {
        let shown = (self.wall_clock)();
        // If another thread looks at the same moment, that thread notices the step.
        let step = self.step_watch.try_lock().and_then(|mut watch| watch.look(Instant::now().into_std(), shown));
        if let Some(step) = step {
            tracing::warn!(
                before = step.before,
                after = step.after,
                "the clock was set: members get fresh credentials"
            );
            self.rooms.note_step(step);
            self.steps.send_modify(|steps| *steps += 1);
        }
        clock::unix(shown)
    }

    fn clocks(&self) -> Clocks {
        Clocks { instant: Instant::now().into_std(), unix: self.unix_now() }
    }

    /// The metrics in which sessions count.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Keeps time until the shutdown begins: removes members that are away for too long (in the end all that are away),
    /// and notices when the wall clock is set. If nobody runs this, members that are away stay for ever.
    pub async fn keep_time(&self) {
        let mut shutdown = pin!(self.shutdown.begun());
        let mut look = interval(self.timing.clock_period);
        loop {
            let next = self.rooms.expire(Instant::now().into_std());
            let due = async {
                match next {
                    Some(at) => sleep_until(at.into()).await,
                    None => self.somebody_away.notified().await,
                }
            };
            tokio::select! {
                () = due => {}
                _ = look.tick() => { self.unix_now(); }
                () = &mut shutdown => {
                    self.rooms.expire(Instant::now().into_std());
                    return;
                }
            }
        }
    }

    /// Removes a member from the room of this name, for good: its connection is closed, its allocations end and it
    /// cannot resume. Returns `false` if there is no such member.
    pub fn kick(&self, room: &str, member: MemberId) -> bool {
        self.rooms.kick(room, member, self.clocks())
    }

    /// All rooms, by name.
    pub fn rooms(&self) -> Vec<RoomSummary> {
        self.rooms.rooms()
    }

    /// The members of the room of this name; `None` if there is no such room.
    pub fn members(&self, room: &str) -> Option<Vec<MemberSummary>> {
        self.rooms.members(room)
    }

    fn disconnect(&self, client: &mut Client<Arc<Queue>>) {
        // If the grace period exceeds the range of the clock, a day is long enough.
        let now = Instant::now();
        let until = now.checked_add(self.timing.resume_grace).unwrap_or(now + DAY);
        if self.rooms.disconnect(client, until.into_std(), now.into_std()) {
            self.somebody_away.notify_one();
        }
    }

    /// Serves one connection to its end. The opening handshake is done; `read_ahead` are the bytes that came after it.
    /// `on_membership` is called when the client enters or leaves a room. If `must_go` completes while the client is in
    /// no room, the connection is closed to make room for others.
    pub async fn serve<S>(
        &self,
        stream: S,
        read_ahead: Bytes,
        arrival: Arrival,
        mut on_membership: impl FnMut(bool),
        must_go: impl Future<Output = ()>,
    ) where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let max_message_bytes = self.rooms.limits().max_message_bytes;
        let limit = Some(max_message_bytes);
        // The write buffer needs no limit of its own: a frame is passed on only when the last one has been sent.
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER)
            .max_message_size(limit)
            .max_frame_size(limit);
        let mut frames = Frames::default();
        let mut read_ahead = Vec::from(read_ahead);
        frames.mend(&mut read_ahead);
        let stream = MeasuredStream::new(stream, frames, max_message_bytes);
        let ws = WebSocketStream::from_partially_read(stream, read_ahead, Role::Server, Some(config)).await;
        let mut session = SocketSession::new(self, ws, arrival);
        let reason = session.run(&mut on_membership, must_go).await;
        session.end(reason).await;
    }
}

struct SocketSession<'a, S> {
    signaling: &'a Signaling,
    ws: WebSocketStream<MeasuredStream<S>>,
    client: Client<Arc<Queue>>,
    pace: Pace,
    last_heard: Instant,
    next_ping: Instant,
    /// When the client gets fresh credentials, if it has credentials.
    renew_at: Option<Instant>,
    clock_steps: watch::Receiver<u64>,
    ended: CloseReason,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> SocketSession<'a, S> {
    fn new(signaling: &'a Signaling, ws: WebSocketStream<MeasuredStream<S>>, arrival: Arrival) -> Self {
        signaling.metrics.signaling.connections.inc();
        signaling.metrics.signaling.connections_opened.inc();
        let id = MemberId::from_bits(rand::random());
        let queue = Arc::new(Queue::new(signaling.common.clone()));
        let client = Client::new(id, queue, arrival.address, arrival.reached, arrival.url_room);
        let now = Instant::now();
        let mut session = Self {
            signaling,
            ws,
            client,
            pace: Pace::new(now.into_std()),
            last_heard: now,
            next_ping: now,
            renew_at: None,
            clock_steps: signaling.steps.subscribe(),
            ended: CloseReason::Shutdown,
        };
        session.plan_ping(now);
        session
    }

    /// Runs until the connection ends, and returns the reason.
    async fn run(&mut self, on_membership: &mut impl FnMut(bool), must_go: impl Future<Output = ()>) -> CloseReason {
        let timer = sleep_until(self.deadline());
        let shutdown = self.signaling.shutdown.begun();
        tokio::pin!(timer, must_go, shutdown);
        let mut has_joined = false;
        loop {
            let step = tokio::select! {
                incoming = self.ws.next() => {
                    let was_joined = self.client.is_joined();
                    let step = self.receive(incoming);
                    if was_joined != self.client.is_joined() {
                        has_joined = true;
                        on_membership(!was_joined);
                    }
                    match step {
                        Ok(true) => Ok(()),
                        Ok(false) => { sleep(PENALTY).await; Ok(()) }
                        Err(reason) => Err(reason),
                    }
                }
                () = self.client.outbox().changed() => self.write(false).await,
                () = &mut timer => self.tick().await,
                () = &mut must_go, if !has_joined => Err(CloseReason::MadeRoom),
                _ = self.clock_steps.changed() => { self.hasten_renewal(); Ok(()) }
                () = &mut shutdown => {
                    // The delay is random, so that not all clients come back at once.
                    self.signaling.rooms.say_closing(&self.client, rand::random_range(1000..=5000));
                    Err(CloseReason::Shutdown)
                }
            };
            if let Err(reason) = step {
                return reason;
            }
            let deadline = self.deadline();
            if deadline < timer.deadline() || timer.is_elapsed() {
                timer.as_mut().reset(deadline);
            }
        }
    }

    /// Returns `Ok(false)` if the client sends too much.
    fn receive(&mut self, incoming: Option<Result<Message, Error>>) -> Result<bool, CloseReason> {
        let now = Instant::now();
        let message = match incoming {
            Some(Ok(message)) => message,
            Some(Err(error)) => return Err(self.read_failed(&error)),
            None => return Err(CloseReason::ConnectionLost),
        };
        self.last_heard = now;
        self.ws.get_mut().give_back(message.len());
        let admitted = self.pace.admit(message.len(), now.into_std());
        let outcome = match &message {
            Message::Text(_) | Message::Binary(_) if !admitted => {
                let refusal = Refusal::new(Code::RateLimited, "too many messages; this one was not acted upon");
                self.signaling.rooms.refuse(&self.client, &refusal)
            }
            Message::Text(text) => {
                let clocks = Clocks { instant: now.into_std(), unix: self.signaling.unix_now() };
                self.signaling.rooms.handle_text(&mut self.client, text, clocks)
            }
            Message::Binary(_) => {
                let refusal = Refusal::new(Code::BadMessage, "binary frames have no meaning here");
                self.signaling.rooms.refuse(&self.client, &refusal)
            }
            Message::Close(_) => return Err(CloseReason::Client),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Outcome::Fine,
        };
        self.pace.charge(message.len(), self.client.take_sent());
        match outcome {
            Outcome::Bad if !self.pace.forgive(now.into_std()) => return Err(CloseReason::TooManyErrors),
            Outcome::CredentialsIssued => self.plan_renewal(now),
            _ => {}
        }
        Ok(admitted)
    }

    fn read_failed(&self, error: &Error) -> CloseReason {
        match error {
            Error::Capacity(_) => {
                let limit = self.signaling.rooms.limits().max_message_bytes;
                let refusal = Refusal::new(Code::TooLarge, format!("a message has at most {limit} bytes"));
                self.signaling.rooms.refuse(&self.client, &refusal);
                CloseReason::MessageTooLarge
            }
            Error::Utf8(_) => CloseReason::InvalidText,
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => CloseReason::ConnectionLost,
            Error::Protocol(_) => CloseReason::ProtocolError,
            _ => CloseReason::ConnectionLost,
        }
    }

    /// Does what is due: drops a silent client, sends a ping or fresh credentials.
    async fn tick(&mut self) -> Result<(), CloseReason> {
        let now = Instant::now();
        if now >= self.last_heard + self.signaling.timing.idle_timeout {
            return Err(CloseReason::Idle);
        }
        if self.renew_at.is_some_and(|at| now >= at) {
            self.signaling.rooms.push_ice_servers(&self.client, self.signaling.clocks());
            self.plan_renewal(now);
        }
        if now >= self.next_ping {
            self.plan_ping(now);
            return self.write(true).await;
        }
        Ok(())
    }

    /// Writes a ping if `with_ping`, and the queued frames, or at least a part of them.
    async fn write(&mut self, with_ping: bool) -> Result<(), CloseReason> {
        let limit = self.signaling.timing.write_timeout;
        let (ws, queue) = (&mut self.ws, self.client.outbox());
        if let Some(reason) = queue.ended() {
            return Err(reason);
        }
        let write = async {
            if with_ping {
                written(timeout(limit, ws.feed(Message::Ping(Bytes::new()))).await)?;
            }
            for _ in 0..FRAMES_PER_TURN {
                let Some(frame) = queue.pop() else { break };
                written(timeout(limit, ws.feed(text(frame))).await)?;
            }
            written(timeout(limit, ws.flush()).await)
        };
        let ended = async {
            loop {
                if let Some(reason) = queue.ended() {
                    return reason;
                }
                queue.changed().await;
            }
        };
        let outcome = tokio::select! {
            biased;
            outcome = write => outcome,
            reason = ended => Err(reason),
        };
        if !queue.is_empty() {
            queue.wake();
        }
        outcome
    }

    /// Leaves the room at once (or keeps its place until the grace period ends), then says goodbye within the time for
    /// a farewell.
    async fn end(&mut self, reason: CloseReason) {
        self.ended = reason;
        self.signaling.disconnect(&mut self.client);
        if self.client.outbox().must_go_at_once() {
            return;
        }
        // Others wait for this place, so only what can be sent at once is sent.
        let limit = match reason {
            CloseReason::MadeRoom => Duration::ZERO,
            _ => self.signaling.timing.farewell_timeout,
        };
        // Boxed, because its state would otherwise be a part of the task for the whole life of the connection.
        let farewell = Box::pin(self.say_goodbye(reason));
        let _ = timeout(limit, farewell).await;
    }

    async fn say_goodbye(&mut self, reason: CloseReason) -> Result<(), Error> {
        let queue = self.client.outbox();
        let Some((code, why)) = close_frame(reason) else {
            if reason == CloseReason::Client {
                // Sends the answer to the client's Close frame. After that the library reports the end of the
                // connection.
                let _ = self.ws.flush().await;
            }
            return Ok(farewell::end(self.ws.get_mut().unmeasured()).await?);
        };
        if reason == CloseReason::SlowReader {
            queue.clear();
        }
        while let Some(frame) = queue.pop() {
            self.ws.feed(text(frame)).await?;
        }
        let close = CloseFrame { code, reason: why.into() };
        self.ws.send(Message::Close(Some(close))).await?;
        Ok(farewell::end(self.ws.get_mut().unmeasured()).await?)
    }

    fn deadline(&self) -> Instant {
        let idle = self.last_heard + self.signaling.timing.idle_timeout;
        let next = idle.min(self.next_ping);
        self.renew_at.map_or(next, |at| at.min(next))
    }

    fn plan_ping(&mut self, now: Instant) {
        self.next_ping = now + self.signaling.timing.ping_interval.mul_f64(rand::random_range(0.8..=1.2));
    }

    /// The wall clock was set, so the credentials have the wrong date. The delay is random, so that not all are renewed
    /// at once.
    fn hasten_renewal(&mut self) {
        let soon = Instant::now() + self.signaling.timing.clock_spread.mul_f64(rand::random_range(0.0..=1.0));
        self.renew_at = self.renew_at.map(|at| at.min(soon));
    }

    fn plan_renewal(&mut self, now: Instant) {
        let half = self.signaling.rooms.credential_ttl() / 2;
        // A TTL beyond the range of the clock needs no renewal.
        self.renew_at = if self.client.is_joined() { now.checked_add(half.max(MIN_RENEWAL)) } else { None };
    }
}

const DAY: Duration = Duration::from_secs(86_400);

/// Credentials are not sent more often than this, however short their TTL is.
const MIN_RENEWAL: Duration = Duration::from_secs(1);

impl<S> Drop for SocketSession<'_, S> {
    fn drop(&mut self) {
        self.signaling.disconnect(&mut self.client);
        let metrics = &self.signaling.metrics.signaling;
        metrics.connections.dec();
        metrics.connections_closed.get_or_create(&CloseReasonLabel { reason: LabelValue(self.ended) }).inc();
    }
}

fn text(frame: Frame) -> Message {
    Message::Text(frame.into_inner())
}

fn written(outcome: Result<Result<(), Error>, tokio::time::error::Elapsed>) -> Result<(), CloseReason> {
    match outcome {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(CloseReason::ConnectionLost),
        Err(_) => Err(CloseReason::SlowReader),
    }
}

fn step_watch(shown: SystemTime) -> Lock<StepWatch> {
    Lock::new(LockName("step watch", 0), StepWatch::new(Instant::now().into_std(), shown))
}
