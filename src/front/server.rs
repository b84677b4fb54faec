//! Accepts connections and takes each through its stages: first byte, TLS, then TURN, or HTTP and WebSocket.
//!
//! There is one task per connection, owned by the task of its listener. TURN clients are owned by the server, because
//! they stay until signaling has said goodbye. Connections of strangers are limited in time at each stage, and in
//! number for each address. The HTTP stage is boxed and dropped, with its buffers, before the WebSocket starts.
#![allow(clippy::disallowed_methods, reason = "it reads the clocks")]

use std::{
    io,
    net::SocketAddr,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    admission::{Admission, WebSocketPlace},
    introduction::{Introduced, Introductions},
    opening::{Opened, Opening, Speaks, Unopened},
    settings::{FrontSettings, Timeouts},
    slots::Slot,
    stream::Stream,
};
use crate::{
    farewell,
    http::{
        client_info::Trust,
        requests::{Caller, Patience, Requests, Rules, WebSocket},
    },
    shutdown::Shutdown,
    signaling::Signaling,
    tls::TlsAcceptor,
    turn::{
        core::{five_tuple::FiveTuple, transport::Transport},
        io::{StreamClient, Streams},
    },
    values::turned_away::TurnedAway,
};

/// The wait after a failed accept (most likely because no more files can be opened).
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);
/// The warning is logged at most this often, because strangers can cause it.
const ACCEPT_WARNING_PERIOD: Duration = Duration::from_secs(60);
/// How many bytes the kernel may hold for one WebSocket. Everything beyond waits in our own queue, which is counted.
const WS_SEND_BUFFER: usize = 128 * 1024;
/// The answer to a client that is one too many, if it may be a browser.
const TOO_MANY_REQUESTS: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// The listeners on which connections are accepted.
#[derive(Debug, Default)]
pub struct Listeners {
    /// HTTP, WebSocket and TURN, with and without TLS.
    pub all: Vec<TcpListener>,
    /// TURN, also over TLS if there is a certificate.
    pub turn: Vec<TcpListener>,
    /// TURN over TLS.
    pub turns: Vec<TcpListener>,
}

impl From<Vec<TcpListener>> for Listeners {
    fn from(all: Vec<TcpListener>) -> Self {
        Self { all, ..Self::default() }
    }
}

/// Where connections go, and what is decided about them.
#[derive(Clone)]
pub struct Front {
    /// Where upgraded connections go.
    pub signaling: Arc<Signaling>,
    /// Where TURN clients go. Without it, clients that speak STUN are turned away.
    pub turn: Option<Arc<Streams>>,
    /// The operator's settings.
    pub settings: FrontSettings,
}

impl Front {
    /// Serves all listeners until `shutdown` begins, then says goodbye to all clients and returns.
    ///
    /// # Errors
    /// Only if the task of a listener dies, never because of a client.
    pub async fn serve(
        self,
        listeners: impl Into<Listeners>,
        tls: Option<TlsAcceptor>,
        shutdown: Shutdown,
    ) -> io::Result<()> {
        let (end_turn, end_of_turn) = Shutdown::new();
        let server = Arc::new(FrontServer::new(self, tls, end_of_turn, shutdown));
        let mut tasks = JoinSet::new();
        {
            let signaling = server.signaling.clone();
            tasks.spawn(async move { signaling.keep_time().await });
        }
        let Listeners { all, turn, turns } = listeners.into();
        for (listeners, speaks) in [(all, Speaks::All), (turn, Speaks::Turn), (turns, Speaks::Turns)] {
            for listener in listeners {
                tasks.spawn(server.clone().accept(listener, speaks));
            }
        }
        while let Some(ended) = tasks.join_next().await {
            ended.map_err(io::Error::other)?;
        }
        end_turn.begin();
        let mut turn_clients = std::mem::take(&mut *server.lock_turn_clients());
        let all_ended = async { while turn_clients.join_next().await.is_some() {} };
        let _ = timeout(server.timeouts.farewell, all_ended).await;
        turn_clients.shutdown().await;
        Ok(())
    }
}

struct FrontServer {
    signaling: Arc<Signaling>,
    requests: Arc<Requests>,
    admission: Arc<Admission>,
    turn: Option<Arc<Streams>>,
    turn_clients: Mutex<JoinSet<()>>,
    end_of_turn: Shutdown,
    tls: Option<TlsAcceptor>,
    introductions: Introductions,
    timeouts: Timeouts,
    shutdown: Shutdown,
}

impl FrontServer {
    fn new(front: Front, tls: Option<TlsAcceptor>, end_of_turn: Shutdown, shutdown: Shutdown) -> Self {
        let Front { signaling, turn, settings } = front;
        let timeouts = settings.timeouts;
        let trust = Trust { proxies: settings.trusted_proxies.clone(), public_host: settings.public_host.clone() };
        let trust = Arc::new(trust);
        let admission = Admission::new(&settings, trust.clone(), turn.clone(), signaling.metrics().clone());
        let rules = Rules {
            trust,
            origins: settings.origins,
            has_tls: tls.is_some(),
            patience: Patience {
                head: timeouts.handshake,
                connection: timeouts.http_connection,
                farewell: timeouts.farewell,
            },
        };
        Self {
            signaling,
            requests: Requests::new(rules, shutdown.clone()),
            admission: Arc::new(admission),
            turn,
            turn_clients: Mutex::default(),
            end_of_turn,
            tls,
            introductions: Introductions::default(),
            timeouts,
            shutdown,
        }
    }

    async fn accept(self: Arc<Self>, listener: TcpListener, speaks: Speaks) {
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(self.shutdown.begun());
        let mut warned_at: Option<Instant> = None;
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((tcp, peer)) => {
                        if let Some(slot) = self.admit(&tcp, peer, speaks) {
                            connections.spawn(self.clone().connection(tcp, peer, slot, speaks));
                        }
                        while self.admission.is_crowded() {
                            tokio::task::yield_now().await;
                        }
                    }
                    // A client that has gone before it was accepted is no problem.
                    Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                    Err(error) => {
                        if warned_at.is_none_or(|at| at.elapsed() > ACCEPT_WARNING_PERIOD) {
                            warned_at = Some(Instant::now());
                            tracing::warn!(%error, "cannot accept connections");
                        }
                        sleep(ACCEPT_BACKOFF).await;
                    }
                },
                Some(_) = connections.join_next() => {}
                () = &mut shutdown => break,
            }
        }
        drop(listener);
        let all_ended = async { while connections.join_next().await.is_some() {} };
        if timeout(self.timeouts.shutdown, all_ended).await.is_err() {
            tracing::debug!(left = connections.len(), "connections cut off");
        }
    }

    /// A slot for a connection of `peer`.
    fn admit(&self, tcp: &TcpStream, peer: SocketAddr, speaks: Speaks) -> Option<Slot> {
        let slot = self.admission.connection(peer.ip());
        if slot.is_none() && self.tls.is_none() && speaks == Speaks::All {
            // The answer does not wait for the request, because the limit exists to prevent such waiting.
            let _ = tcp.try_write(TOO_MANY_REQUESTS);
        }
        slot
    }

    async fn connection(self: Arc<Self>, mut tcp: TcpStream, mut peer: SocketAddr, mut slot: Slot, speaks: Speaks) {
        let Ok(mut local) = tcp.local_addr() else {
            return;
        };
        let _ = tcp.set_nodelay(true);
        let is_proxy = self.admission.is_proxy(peer.ip());
        let introduced = tokio::select! {
            introduced = self.introductions.hear(&mut tcp, peer.ip(), is_proxy, &self.timeouts) => introduced,
            () = slot.must_go() => return self.count(TurnedAway::TooManyHalfOpen),
            () = self.shutdown.begun() => return,
        };
        match introduced {
            Ok(Introduced::Client(ends)) => {
                (peer, local) = (ends.client, ends.server);
                let Some(of_client) = self.admit(&tcp, peer, speaks) else {
                    return;
                };
                slot = of_client;
            }
            Ok(Introduced::Nothing | Introduced::Nameless) => {}
            Err(reason) => {
                self.count(reason);
                return self.say_goodbye(Stream::Plain(tcp), &slot).await;
            }
        }
        let is_nameless = introduced == Ok(Introduced::Nameless);
        let opening =
            Opening { speaks, serves_turn: self.turn.is_some(), tls: self.tls.as_ref(), timeouts: &self.timeouts };
        let opened = tokio::select! {
            opened = opening.open(tcp) => opened,
            () = slot.must_go() => return self.count(TurnedAway::TooManyHalfOpen),
            () = self.shutdown.begun() => return,
        };
        let stream = match opened {
            Ok(Opened::Http(stream)) => stream,
            Ok(Opened::Turn(stream)) => match self.serve_turn(stream, peer, local, slot) {
                Ok(()) => return,
                Err((stream, slot)) => return self.say_goodbye(stream, &slot).await,
            },
            Err(Unopened { why, stream }) => {
                why.into_iter().for_each(|why| self.count(why));
                if let Some(stream) = stream {
                    self.say_goodbye(stream, &slot).await;
                }
                return;
            }
        };
        let caller = Caller { peer, local, is_tls: matches!(stream, Stream::Tls(_)), is_nameless };
        let http = Box::pin(self.requests.clone().answer(stream, caller, self.admission.clone()));
        let upgraded = tokio::select! {
            upgraded = http => upgraded,
            () = slot.must_go() => return self.count(TurnedAway::TooManyHalfOpen),
        };
        let Some(WebSocket { stream, read_ahead, arrival, place }) = upgraded else {
            return;
        };
        let WebSocketPlace { of_client, share: _share } = place;
        stream.bound_send_buffer(WS_SEND_BUFFER);
        if let Some(of_client) = of_client {
            slot = of_client;
        }
        let must_go = slot.must_go();
        let on_membership = |is_joined: bool| slot.set_counted(!is_joined);
        self.signaling.serve(stream, read_ahead, arrival, on_membership, must_go).await;
    }

    /// Ends a connection in order, or at once if its place is needed.
    async fn say_goodbye(&self, mut stream: Stream, slot: &Slot) {
        tokio::select! {
            _ = timeout(self.timeouts.farewell, farewell::end(&mut stream)) => {}
            () = slot.must_go() => {}
        }
    }

    /// Passes a client that speaks STUN on to TURN, or returns it.
    fn serve_turn(
        &self,
        mut stream: Stream,
        peer: SocketAddr,
        local: SocketAddr,
        mut slot: Slot,
    ) -> Result<(), (Stream, Slot)> {
        let mut clients = self.lock_turn_clients();
        while clients.try_join_next().is_some() {}
        let Some(turn) = self.turn.as_ref().filter(|_| !self.shutdown.has_begun()) else {
            return Err((stream, slot));
        };
        let Some(share) = self.admission.turn_stream(peer.ip()) else {
            return Err((stream, slot));
        };
        stream.prepare_for_media();
        if self.admission.is_where_a_member_is(peer.ip()) {
            slot.forgive();
        }
        let must_go = slot.must_go();
        let client = StreamClient {
            tuple: FiveTuple { client: peer, server: local },
            transport: if matches!(stream, Stream::Tls(_)) { Transport::Tls } else { Transport::Tcp },
            without_allocation: self.timeouts.without_allocation,
            on_allocation: Box::new(move |is_here| slot.set_counted(!is_here)),
        };
        let (admission, end) = (self.admission.clone(), self.end_of_turn.clone());
        let until = async move {
            tokio::select! {
                () = must_go => admission.count_turned_away(TurnedAway::TooManyHalfOpen),
                () = end.begun() => {}
            }
        };
        let turn = turn.clone();
        clients.spawn(async move {
            turn.serve(stream, client, until).await;
            drop(share);
        });
        Ok(())
    }

    fn lock_turn_clients(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.turn_clients.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn count(&self, reason: TurnedAway) {
        self.admission.count_turned_away(reason);
    }
}
