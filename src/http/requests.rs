//! Connections that speak HTTP: their requests are answered until they end, or until one of them becomes a WebSocket.
//!
//! All connections share one [`Requests`]. The caller passes an accepted connection to [`Requests::answer`], with its
//! addresses and a [`Door`] that gives out places. A WebSocket that comes back is ready for signaling, and no HTTP
//! state or buffer is kept.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    time::{sleep, timeout},
};
use tower_service::Service;

use super::{
    client_info::{self, ClientInfo, Trust},
    door::{Door, NoPlace, Unfit},
    mended::Mended,
    refused::{Refused, check_host},
    router::router,
    ws,
};
use crate::{
    farewell,
    ice_servers::{DirectPort, Reached},
    shutdown::Shutdown,
    signaling::Arrival,
    values::host::Host,
};

/// How many bytes the line and headers of a request may have.
const MAX_HEAD: usize = 16 * 1024;

/// The answer to a client whose request does not arrive in time.
const REQUEST_TIMEOUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// The rules for all requests.
pub(crate) struct Rules {
    /// The proxies whose headers about clients count.
    pub(crate) trust: Arc<Trust>,
    /// Origins whose pages may open a WebSocket; empty means any.
    pub(crate) origins: Vec<String>,
    /// Whether there is TLS on this port; then requests without TLS are only redirected.
    pub(crate) has_tls: bool,
    /// Time limits.
    pub(crate) patience: Patience,
}

/// Time limits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For the headers of a request.
    pub(crate) head: Duration,
    /// For the whole life of a connection that is not upgraded.
    pub(crate) connection: Duration,
    /// For the client to close a connection that this server has ended.
    pub(crate) farewell: Duration,
}

/// What the caller knows about a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    /// The other end.
    pub(crate) peer: SocketAddr,
    /// This server's end.
    pub(crate) local: SocketAddr,
    /// Whether it came over TLS.
    pub(crate) is_tls: bool,
    /// Whether a proxy has passed it on without naming the client. Then forwarding headers come from the client, not
    /// from the proxy.
    pub(crate) is_nameless: bool,
}

/// A WebSocket whose handshake is done.
pub(crate) struct WebSocket<S, P> {
    /// The rest of the connection.
    pub(crate) stream: S,
    /// Bytes that already came after the request.
    pub(crate) read_ahead: Bytes,
    /// What signaling must know.
    pub(crate) arrival: Arrival,
    /// Its place. Dropping it gives it back.
    pub(crate) place: P,
}

/// What all connections share.
pub(crate) struct Requests {
    rules: Rules,
    router: Router,
    has_warned_of_proxy: AtomicBool,
    shutdown: Shutdown,
}

/// What the requests of one connection need to know.
struct Conversation<D: Door> {
    requests: Arc<Requests>,
    door: Arc<D>,
    caller: Caller,
    /// Filled by the request that is answered with 101.
    upgrade: Mutex<Option<Upgrade<D::Place>>>,
}

struct Upgrade<P> {
    arrival: Arrival,
    place: P,
}

impl Requests {
    /// Requests that are answered until `shutdown` begins; those in progress then are still answered.
    pub(crate) fn new(rules: Rules, shutdown: Shutdown) -> Arc<Self> {
        let router = router(shutdown.clone());
        Arc::new(Self { rules, router, has_warned_of_proxy: AtomicBool::new(false), shutdown })
    }

    /// Answers requests until the connection ends, or until it is upgraded.
    pub(crate) async fn answer<S, D>(
        self: Arc<Self>,
        stream: S,
        caller: Caller,
        door: Arc<D>,
    ) -> Option<WebSocket<S, D::Place>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
        D: Door,
    {
        let Patience { head, connection, farewell } = self.rules.patience;
        let stream = timeout(head, Mended::new(stream)).await.ok()?.ok()?;
        let conversation = Arc::new(Conversation { requests: self.clone(), door, caller, upgrade: Mutex::new(None) });
        let service = service_fn(|request| {
            let conversation = conversation.clone();
            Box::pin(async move { Ok::<_, Infallible>(conversation.respond(request).await) })
        });
        let mut http = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(head)
            .max_buf_size(MAX_HEAD)
            // A client that has closed its sending side may still read.
            .half_close(true)
            .serve_connection(TokioIo::new(stream), service);
        let mut shutdown = pin!(self.shutdown.begun());
        let mut end = pin!(sleep(connection));
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
            conversation.door.count(Unfit::Late);
        }
        let parts = http.into_parts();
        let mut stream = parts.io.into_inner().into_inner();
        if outcome.is_ok()
            && let Some(Upgrade { arrival, place }) = conversation.lock_upgrade().take()
        {
            return Some(WebSocket { stream, read_ahead: parts.read_buf, arrival, place });
        }
        let end = async {
            if is_late && !parts.read_buf.is_empty() {
                stream.write_all(REQUEST_TIMEOUT).await?;
            }
            farewell::end(&mut stream).await
        };
        let _ = timeout(farewell, end).await;
        None
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

impl<D: Door> Conversation<D> {
    async fn respond(&self, mut request: Request<Incoming>) -> Response<Body> {
        let requests = &self.requests;
        if let Err(refused) = check_host(request.version(), request.headers()) {
            if ws::is_attempt(request.headers()) {
                self.door.count(Unfit::BadHandshake);
            }
            return refused.response();
        }
        if self.caller.is_nameless {
            client_info::forget_forwarded(request.headers_mut());
        }
        let client = ClientInfo::new(self.caller.peer, self.caller.local, request.headers(), &requests.rules.trust);
        let is_secure = self.caller.is_tls || client.is_secure_at_proxy;
        let needs_tls = requests.rules.has_tls && !is_secure;
        if ws::is_attempt(request.headers()) {
            return self.upgrade(&request, client, needs_tls).unwrap_or_else(Refused::response);
        }
        if needs_tls {
            return self.redirect(&request);
        }
        if !requests.rules.trust.is_proxy(self.caller.peer.ip()) {
            client_info::forget_forwarded(request.headers_mut());
        }
        let Ok(response) = requests.router.clone().call(request).await;
        response
    }

    fn upgrade(
        &self,
        request: &Request<Incoming>,
        client: ClientInfo,
        needs_tls: bool,
    ) -> Result<Response<Body>, Refused> {
        let requests = &self.requests;
        if needs_tls {
            self.door.count(Unfit::TlsRequired);
            let why = "This port speaks TLS only: use wss:// instead of ws://.";
            return Err(Refused::new(StatusCode::UPGRADE_REQUIRED, why));
        }
        let response = ws::accept(request).inspect_err(|_| self.door.count(Unfit::BadHandshake))?;
        if !ws::is_origin_allowed(request.headers(), &requests.rules.origins) {
            self.door.count(Unfit::Origin);
            let why = "Pages of this Origin may not connect; the server's --origin lists those that may.";
            return Err(Refused::new(StatusCode::FORBIDDEN, why));
        }
        if client.has_unknown_proxy {
            requests.warn_of_proxy(self.caller.peer);
        }
        let place = self.door.place(self.caller.peer.ip(), client.apparent).map_err(NoPlace::refused)?;
        let url_room = ws::room_in_query(request.uri().query());
        let address = client.verified_address();
        let default_port = if self.caller.is_tls { 443 } else { 80 };
        let direct = client
            .direct_port
            .map(|port| DirectPort { port: port.unwrap_or(default_port), is_tls: self.caller.is_tls });
        let arrival = Arrival { address, reached: Reached { host: client.host, direct }, url_room };
        *self.lock_upgrade() = Some(Upgrade { arrival, place });
        Ok(response)
    }

    /// Redirects to the same host, port and path over TLS.
    fn redirect(&self, request: &Request<Incoming>) -> Response<Body> {
        let authority = request.headers().get(header::HOST).and_then(|host| Host::parse_authority(host.to_str().ok()?));
        let (host, port) = match authority {
            Some((host, port)) => (host, port.unwrap_or(80)),
            None => (Host::from(self.caller.local.ip()), self.caller.local.port()),
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

    fn lock_upgrade(&self) -> MutexGuard<'_, Option<Upgrade<D::Place>>> {
        self.upgrade.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
