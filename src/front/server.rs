//! Accepts connections and carries each through its stages: first byte, TLS, then TURN, or HTTP and WebSocket.
//!
//! One task per connection, owned by its listener's task; TURN clients are owned by the server, because they stay until
//! signaling has said goodbye. What a stranger can hold open is bounded in time at each
//! stage and in number per address. The HTTP stage is boxed and gone, buffers included, before the WebSocket starts.
#![allow(clippy::disallowed_methods, reason = "it reads the clocks")]

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, body::Body};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tower_service::Service;

use super::{
    introduction::{Introduced, Introductions},
    opening::{Opened, Opening, Speaks, Unopened},
    settings::FrontSettings,
    shares::{Full, Share, Shares},
    slots::{Slot, Slots},
    stream::{Prefixed, Stream},
    turned_away::TurnedAway,
};
use crate::{
    farewell,
    http::{
        client_info::{self, ClientInfo, Trust},
        router::router,
        ws::{self, Refused},
    },
    ice_servers::{DirectPort, Host, Reached},
    observe::metrics::{Metrics, TurnedAwayLabel, Value},
    shutdown::Shutdown,
    signaling::{Arrival, Signaling},
    tls::TlsAcceptor,
    turn::{
        io::{StreamClient, Streams},
        session::FiveTuple,
        transport::Transport,
    },
};

/// After a failed accept (out of files, most likely) the next try waits.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);
/// It is said so often, because strangers can make it happen.
const ACCEPT_WARNING_PERIOD: Duration = Duration::from_secs(60);
/// What the kernel may hold for one WebSocket: beyond it our own, counted queue begins.
const WS_SEND_BUFFER: usize = 128 * 1024;
/// Most bytes of a request's line and headers.
const MAX_HEAD: usize = 16 * 1024;

/// What a client gets whose request is not there in time.
const REQUEST_TIMEOUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// What to accept connections on.
#[derive(Debug, Default)]
pub struct Listeners {
    /// Everything: HTTP, WebSocket and TURN, with TLS and without.
    pub all: Vec<TcpListener>,
    /// TURN, over TLS too where there is a certificate.
    pub turn: Vec<TcpListener>,
    /// TURN over TLS.
    pub turns: Vec<TcpListener>,
}

impl From<Vec<TcpListener>> for Listeners {
    fn from(all: Vec<TcpListener>) -> Self {
        Self { all, ..Self::default() }
    }
}

/// What all requests share.
#[derive(Clone)]
pub struct AppState {
    /// Where upgraded connections go.
    pub signaling: Arc<Signaling>,
    /// Where TURN clients go. Without it, those who speak STUN are turned away.
    pub turn: Option<Arc<Streams>>,
    /// What the operator decided.
    pub settings: FrontSettings,
}

/// Serves all listeners until `shutdown` begins, then says goodbye to everybody and returns.
///
/// # Errors
/// Never for what clients do; only if a listener's task dies.
pub async fn serve(
    listeners: impl Into<Listeners>,
    tls: Option<TlsAcceptor>,
    state: AppState,
    shutdown: Shutdown,
) -> io::Result<()> {
    let AppState { signaling, turn, settings } = state;
    let trust = Trust { proxies: settings.trusted_proxies.clone(), public_host: settings.public_host.clone() };
    let (end_turn, end_of_turn) = Shutdown::new();
    let server = Arc::new(Server {
        signaling,
        trust,
        slots: Slots::new(settings.max_connections_per_ip, settings.max_half_open),
        web_sockets: Shares::new(settings.web_sockets.clone()),
        turn,
        turn_shares: Shares::of_turn(settings.max_turn_streams),
        turn_clients: Mutex::default(),
        end_of_turn,
        settings,
        tls,
        router: router(shutdown.clone()),
        introductions: Introductions::default(),
        has_warned_of_proxy: AtomicBool::new(false),
        shutdown,
    });
    let mut tasks = JoinSet::new();
    {
        let server = server.clone();
        tasks.spawn(async move { server.signaling.keep_time().await });
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
    let _ = timeout(server.settings.timeouts.farewell, all_ended).await;
    turn_clients.shutdown().await;
    Ok(())
}

struct Server {
    signaling: Arc<Signaling>,
    settings: FrontSettings,
    trust: Trust,
    slots: Arc<Slots>,
    web_sockets: Arc<Shares>,
    turn: Option<Arc<Streams>>,
    turn_shares: Arc<Shares>,
    turn_clients: Mutex<JoinSet<()>>,
    end_of_turn: Shutdown,
    tls: Option<TlsAcceptor>,
    router: Router,
    introductions: Introductions,
    has_warned_of_proxy: AtomicBool,
    shutdown: Shutdown,
}

/// What the requests of one connection need to know.
struct Connection {
    server: Arc<Server>,
    peer: SocketAddr,
    local: SocketAddr,
    is_tls: bool,
    /// A proxy has passed it on without the client's name: what the client writes is not the proxy's word.
    is_nameless: bool,
    /// Filled by the request that is answered with 101.
    handoff: Mutex<Option<Handoff>>,
}

/// What signaling gets to know about an upgraded connection.
struct Handoff {
    arrival: Arrival,
    /// The slot of the client behind a trusted proxy.
    slot: Option<Slot>,
    /// Its place among the WebSockets.
    _share: Share,
}

impl Server {
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
                        while self.slots.is_crowded() {
                            tokio::task::yield_now().await;
                        }
                    }
                    // A client that is gone before it was accepted is nobody's problem.
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
        if timeout(self.settings.timeouts.shutdown, all_ended).await.is_err() {
            tracing::debug!(left = connections.len(), "connections cut off");
        }
    }

    /// A slot for a connection of `peer`. Behind a trusted proxy the client is known, and counted, later.
    fn admit(&self, tcp: &TcpStream, peer: SocketAddr, speaks: Speaks) -> Option<Slot> {
        if self.trust.is_proxy(peer.ip()) {
            return Some(self.slots.uncounted(peer.ip()));
        }
        let slot = if self.is_where_a_member_is(peer) {
            self.slots.take_of_member(peer.ip())
        } else {
            self.slots.take(peer.ip())
        };
        if slot.is_none() {
            self.count_refused(TurnedAway::TooManyFromAddress);
            if self.tls.is_none() && speaks == Speaks::All {
                // Waiting for the request would be what the limit is there to prevent.
                let _ =
                    tcp.try_write(b"HTTP/1.1 429 Too Many Requests\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
            }
        }
        slot
    }

    fn is_where_a_member_is(&self, peer: SocketAddr) -> bool {
        self.turn.as_ref().is_some_and(|turn| turn.knows(peer.ip()))
    }

    async fn connection(self: Arc<Self>, mut tcp: TcpStream, mut peer: SocketAddr, mut slot: Slot, speaks: Speaks) {
        let Ok(mut local) = tcp.local_addr() else {
            return;
        };
        let _ = tcp.set_nodelay(true);
        let is_proxy = self.trust.is_proxy(peer.ip());
        let introduced = tokio::select! {
            introduced = self.introductions.hear(&mut tcp, peer.ip(), is_proxy, &self.settings.timeouts) => introduced,
            () = slot.must_go() => return self.count_refused(TurnedAway::TooManyHalfOpen),
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
                self.count_refused(reason);
                return self.say_goodbye(Stream::Plain(tcp), &slot).await;
            }
        }
        let is_nameless = introduced == Ok(Introduced::Nameless);
        let opening = Opening {
            speaks,
            serves_turn: self.turn.is_some(),
            tls: self.tls.as_ref(),
            timeouts: &self.settings.timeouts,
        };
        let opened = tokio::select! {
            opened = opening.open(tcp) => opened,
            () = slot.must_go() => return self.count_refused(TurnedAway::TooManyHalfOpen),
            () = self.shutdown.begun() => return,
        };
        let stream = match opened {
            Ok(Opened::Http(stream)) => stream,
            Ok(Opened::Turn(stream)) => match self.serve_turn(stream, peer, local, slot) {
                Ok(()) => return,
                Err((stream, slot)) => return self.say_goodbye(stream, &slot).await,
            },
            Err(Unopened { why, stream }) => {
                why.into_iter().for_each(|why| self.count_refused(why));
                if let Some(stream) = stream {
                    self.say_goodbye(stream, &slot).await;
                }
                return;
            }
        };
        let is_tls = matches!(stream, Stream::Tls(_));
        let connection =
            Arc::new(Connection { server: self.clone(), peer, local, is_tls, is_nameless, handoff: Mutex::new(None) });
        let http = Box::pin(self.http(stream, connection.clone()));
        let upgraded = tokio::select! {
            upgraded = http => upgraded,
            () = slot.must_go() => return self.count_refused(TurnedAway::TooManyHalfOpen),
        };
        let Some((stream, read_ahead)) = upgraded else {
            return;
        };
        let Some(handoff) = connection.take_handoff() else {
            return;
        };
        drop(connection);
        stream.bound_send_buffer(WS_SEND_BUFFER);
        if let Some(of_client) = handoff.slot {
            slot = of_client;
        }
        let must_go = slot.must_go();
        let on_membership = |is_joined: bool| slot.set_counted(!is_joined);
        self.signaling.serve(stream, read_ahead, handoff.arrival, on_membership, must_go).await;
    }

    /// Ends a connection in order, unless its place is needed before.
    async fn say_goodbye(&self, mut stream: Stream, slot: &Slot) {
        tokio::select! {
            _ = timeout(self.settings.timeouts.farewell, farewell::end(&mut stream)) => {}
            () = slot.must_go() => {}
        }
    }

    /// Hands a client that speaks STUN to TURN, or back.
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
        let counted = Some(peer.ip()).filter(|address| !self.trust.is_proxy(*address));
        let share = match self.turn_shares.take(counted) {
            Ok(share) => share,
            Err(full) => {
                self.count_refused(match full {
                    Full::Address => TurnedAway::TooManyFromAddress,
                    Full::Server => TurnedAway::TooManyTurnStreams,
                });
                return Err((stream, slot));
            }
        };
        stream.prepare_for_media();
        if self.is_where_a_member_is(peer) {
            slot.forgive();
        }
        let metrics = self.signaling.metrics().clone();
        let must_go = slot.must_go();
        let client = StreamClient {
            tuple: FiveTuple { client: peer, server: local },
            transport: if matches!(stream, Stream::Tls(_)) { Transport::Tls } else { Transport::Tcp },
            without_allocation: self.settings.timeouts.without_allocation,
            on_allocation: Box::new(move |is_here| slot.set_counted(!is_here)),
        };
        let end = self.end_of_turn.clone();
        let until = async move {
            tokio::select! {
                () = must_go => count_refused(&metrics, TurnedAway::TooManyHalfOpen),
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

    /// Answers requests until the connection ends, or until it is upgraded: then the stream is given back.
    async fn http(&self, mut stream: Stream, connection: Arc<Connection>) -> Option<(Stream, Bytes)> {
        let timeouts = &self.settings.timeouts;
        let prefix = timeout(timeouts.handshake, stream.mend_request()).await.ok()?.ok()?;
        let service = service_fn(|request| {
            let connection = connection.clone();
            Box::pin(async move { Ok::<_, Infallible>(connection.respond(request).await) })
        });
        let mut http = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(timeouts.handshake)
            .max_buf_size(MAX_HEAD)
            // A client that says no more may still listen.
            .half_close(true)
            .serve_connection(TokioIo::new(Prefixed { prefix, stream }), service);
        let mut shutdown = pin!(self.shutdown.begun());
        let mut end = pin!(sleep(timeouts.http_connection));
        let mut is_down = false;
        let outcome = loop {
            tokio::select! {
                outcome = std::future::poll_fn(|cx| http.poll_without_shutdown(cx)) => break outcome,
                () = &mut shutdown, if !is_down => {
                    is_down = true;
                    Pin::new(&mut http).graceful_shutdown();
                }
                () = &mut end => break Ok(()),
            }
        };
        let is_late = outcome.as_ref().is_err_and(hyper::Error::is_timeout);
        if is_late {
            self.count_refused(TurnedAway::HandshakeTimeout);
        }
        let parts = http.into_parts();
        let mut stream = parts.io.into_inner().stream;
        if outcome.is_ok() && connection.is_upgraded() {
            return Some((stream, parts.read_buf));
        }
        let farewell = async {
            if is_late && !parts.read_buf.is_empty() {
                stream.write_all(REQUEST_TIMEOUT).await?;
            }
            farewell::end(&mut stream).await
        };
        let _ = timeout(timeouts.farewell, farewell).await;
        None
    }

    fn count_refused(&self, reason: TurnedAway) {
        count_refused(self.signaling.metrics(), reason);
    }

    fn warn_of_proxy(&self, peer: SocketAddr) {
        if !self.has_warned_of_proxy.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "clients come through a proxy at {} that is not trusted, so their own addresses are unknown; \
                 if it is yours, name it with --trusted-proxy {}",
                peer.ip().to_canonical(),
                peer.ip().to_canonical(),
            );
        }
    }
}

fn count_refused(metrics: &Metrics, reason: TurnedAway) {
    tracing::debug!(reason = %reason.as_str(), "connection turned away");
    metrics.signaling.connections_refused.get_or_create(&TurnedAwayLabel { reason: Value(reason) }).inc();
}

impl Connection {
    async fn respond(&self, mut request: Request<Incoming>) -> Response<Body> {
        let server = &self.server;
        if let Err(refused) = ws::check_host(request.version(), request.headers()) {
            if ws::is_attempt(request.headers()) {
                server.count_refused(TurnedAway::BadHandshake);
            }
            return refused.response();
        }
        if self.is_nameless {
            client_info::forget_forwarded(request.headers_mut());
        }
        let client = ClientInfo::new(self.peer, self.local, request.headers(), &server.trust);
        let is_secure = self.is_tls || client.is_secure_at_proxy;
        let needs_tls = server.tls.is_some() && !is_secure;
        if ws::is_attempt(request.headers()) {
            return match self.upgrade(&request, client, needs_tls) {
                Ok(response) => response,
                Err((reason, refused)) => {
                    server.count_refused(reason);
                    refused.response()
                }
            };
        }
        if needs_tls {
            return self.redirect(&request);
        }
        if !server.trust.is_proxy(self.peer.ip()) {
            client_info::forget_forwarded(request.headers_mut());
        }
        let Ok(response) = server.router.clone().call(request).await;
        response
    }

    fn upgrade(
        &self,
        request: &Request<Incoming>,
        client: ClientInfo,
        needs_tls: bool,
    ) -> Result<Response<Body>, (TurnedAway, Refused)> {
        let server = &self.server;
        if needs_tls {
            let why = "This port speaks TLS only: use wss:// instead of ws://.";
            return Err((TurnedAway::TlsRequired, Refused::new(StatusCode::UPGRADE_REQUIRED, why)));
        }
        let response = ws::accept(request).map_err(|refused| (TurnedAway::BadHandshake, refused))?;
        if !ws::is_origin_allowed(request.headers(), &server.settings.origins) {
            let why = "Pages of this Origin may not connect; the server's --origin lists those that may.";
            return Err((TurnedAway::Origin, Refused::new(StatusCode::FORBIDDEN, why)));
        }
        if client.has_unknown_proxy {
            server.warn_of_proxy(self.peer);
        }
        let mut slot = None;
        let too_many = || {
            let why = "Too many connections from this address that have not joined a room.";
            (TurnedAway::TooManyFromAddress, Refused::new(StatusCode::TOO_MANY_REQUESTS, why))
        };
        if server.slots.has_too_many(self.peer.ip()) {
            return Err(too_many());
        }
        if server.trust.is_proxy(self.peer.ip()) && !server.trust.is_proxy(client.apparent) {
            slot = server.slots.take(client.apparent);
            if slot.is_none() {
                return Err(too_many());
            }
        }
        let counted = Some(client.apparent).filter(|address| !server.trust.is_proxy(*address));
        let share = server.web_sockets.take(counted).map_err(Full::refusal)?;
        let url_room = ws::room_in_query(request.uri().query());
        let address = client.verified_address();
        let default_port = if self.is_tls { 443 } else { 80 };
        let direct =
            client.direct_port.map(|port| DirectPort { port: port.unwrap_or(default_port), is_tls: self.is_tls });
        let arrival = Arrival { address, reached: Reached { host: client.host, direct }, url_room };
        *self.lock_handoff() = Some(Handoff { arrival, slot, _share: share });
        Ok(response)
    }

    /// To the same host, port and path over TLS.
    fn redirect(&self, request: &Request<Incoming>) -> Response<Body> {
        let authority = request.headers().get(header::HOST).and_then(|host| Host::parse_authority(host.to_str().ok()?));
        let (host, port) = match authority {
            Some((host, port)) => (host, port.unwrap_or(80)),
            None => (Host::from(self.local.ip()), self.local.port()),
        };
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let location =
            if port == 443 { format!("https://{host}{path}") } else { format!("https://{host}:{port}{path}") };
        let Ok(location) = HeaderValue::try_from(location) else {
            return Refused::new(StatusCode::BAD_REQUEST, "This port speaks TLS only: use https://.").response();
        };
        let mut response =
            Refused::new(StatusCode::PERMANENT_REDIRECT, "This port speaks TLS only: use https://.").response();
        response.headers_mut().insert(header::LOCATION, location);
        response
    }

    fn is_upgraded(&self) -> bool {
        self.lock_handoff().is_some()
    }

    fn take_handoff(&self) -> Option<Handoff> {
        self.lock_handoff().take()
    }

    fn lock_handoff(&self) -> MutexGuard<'_, Option<Handoff>> {
        self.handoff.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
