//! What operators ask on `--admin-listen`.
//!
//! | request | answer |
//! |---|---|
//! | `GET /metrics` | Prometheus metrics (OpenMetrics text) |
//! | `GET /api/rooms` | all rooms, `[{room, members, away}]` |
//! | `GET /api/rooms/{room}` | who is in it, `{room, peers: [{socketId, name?, metadata?, away}]}` |
//! | `DELETE /api/rooms/{room}` | all its members are removed for good: 204 |
//! | `DELETE /api/rooms/{room}/peers/{id}` | this member is removed for good: 204 |
//!
//! It listens on loopback, where every local browser page can send requests too. So the Host must be an IP address or
//! `localhost`, which a page that points its own name at 127.0.0.1 (DNS rebinding) cannot send, and a request that a
//! page of another origin makes (it has an Origin, or Sec-Fetch-Site says so) is refused.

use std::{
    future::poll_fn,
    io,
    net::IpAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    extract::{Path, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{delete, get},
};
use http::{HeaderMap, Method, StatusCode, header};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tower_service::Service;

use crate::{
    files::{self, Limit},
    front::slots::{Slot, Slots},
    http::refused::check_host,
    observe::metrics::Metrics,
    shutdown::Shutdown,
    signaling::{MemberSummary, Signaling, room_name},
};

/// How long the end of the process waits for requests under way, which may never be complete.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);

/// After a failed accept the next try waits.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Serves operators until `shutdown`.
///
/// # Errors
/// None: what operators do ends their own connections.
pub async fn serve(
    listener: TcpListener,
    files: Limit,
    metrics: Arc<Metrics>,
    signaling: Arc<Signaling>,
    shutdown: Shutdown,
) -> io::Result<()> {
    let operators = Operators { listener, files, slots: Slots::new(usize::MAX, files::OPERATORS) };
    let router = router(metrics, signaling);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            operator = operators.accept() => drop(connections.spawn(answer(operator, router.clone(), shutdown.clone()))),
            Some(_) = connections.join_next() => {}
            () = shutdown.begun() => break,
        }
    }
    drop(operators);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    let _ = timeout(FAREWELL_TIMEOUT, all_ended).await;
    Ok(())
}

/// Answers requests until the connection ends, or the one under way at shutdown has its answer.
async fn answer(operator: Operator, router: Router, shutdown: Shutdown) {
    let service = service_fn(|request| router.clone().call(request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // A client that says no more may still listen.
        .half_close(true)
        .serve_connection(TokioIo::new(operator), service);
    let mut connection = pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = shutdown.begun() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "an operator's connection");
    }
}

/// Lets operators in, also where there are no files left for others. When there are too many of them, the oldest goes.
struct Operators {
    listener: TcpListener,
    files: Limit,
    slots: Arc<Slots>,
}

impl Operators {
    async fn accept(&self) -> Operator {
        loop {
            let accepted = poll_fn(|cx| match self.listener.poll_accept(cx) {
                Poll::Ready(Err(error)) if files::are_used_up(&error) => {
                    let lifted = self.files.lifted(|| Ok(self.listener.poll_accept(cx)));
                    lifted.unwrap_or_else(|error| Poll::Ready(Err(error)))
                }
                accepted => accepted,
            });
            match accepted.await {
                Ok((tcp, peer)) => {
                    let slot = self.slots.uncounted(peer.ip());
                    return Operator { tcp, must_go: Some(Box::pin(slot.must_go())), _slot: slot };
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::debug!(%error, "cannot accept an operator's connection");
                    sleep(ACCEPT_BACKOFF).await;
                }
            }
        }
    }
}

/// An operator's connection, which is at its end when somebody else needs its place.
struct Operator {
    tcp: TcpStream,
    must_go: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    _slot: Slot,
}

impl AsyncRead for Operator {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.must_go.as_mut().is_none_or(|must_go| must_go.as_mut().poll(cx).is_ready()) {
            this.must_go = None;
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Operator {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tcp).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_shutdown(cx)
    }
}

fn router(metrics: Arc<Metrics>, signaling: Arc<Signaling>) -> Router {
    let rooms = Router::new()
        .route("/api/rooms", get(rooms))
        .route("/api/rooms/{room}", get(room).delete(close_room))
        .route("/api/rooms/{room}/peers/{id}", delete(kick))
        .with_state(signaling);
    Router::new()
        .route("/metrics", get(metrics_text))
        .with_state(metrics)
        .merge(rooms)
        .layer(middleware::from_fn(require_operator))
}

async fn metrics_text(State(metrics): State<Arc<Metrics>>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], metrics.encode()).into_response()
}

#[derive(Serialize)]
struct OneRoom<'a> {
    room: &'a str,
    peers: Vec<MemberSummary>,
}

async fn rooms(State(signaling): State<Arc<Signaling>>) -> Response {
    json_answer(&signaling.rooms())
}

async fn room(State(signaling): State<Arc<Signaling>>, Path(room): Path<String>) -> Response {
    match signaling.members(&room) {
        Some(peers) => json_answer(&OneRoom { room: &room_name::canonical(&room), peers }),
        None => no_such_room(),
    }
}

/// Whoever enters while the others are removed stays.
async fn close_room(State(signaling): State<Arc<Signaling>>, Path(room): Path<String>) -> Response {
    let Some(members) = signaling.members(&room) else {
        return no_such_room();
    };
    for member in members {
        if let Ok(id) = member.socket_id.parse() {
            signaling.kick(&room, id);
        }
    }
    StatusCode::NO_CONTENT.into_response()
}

async fn kick(State(signaling): State<Arc<Signaling>>, Path((room, id)): Path<(String, String)>) -> Response {
    if id.parse().is_ok_and(|id| signaling.kick(&room, id)) {
        StatusCode::NO_CONTENT.into_response()
    } else {
        (StatusCode::NOT_FOUND, "There is no such member in this room.\n").into_response()
    }
}

fn no_such_room() -> Response {
    (StatusCode::NOT_FOUND, "There is no such room.\n").into_response()
}

/// Written in one pass: what members said of themselves stands there as the text that came. A tree of values has no place
/// for all of it, e.g. for numbers beyond a float's range.
fn json_answer(value: &impl Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text + "\n").into_response(),
        Err(error) => {
            tracing::error!(%error, "an answer to an operator could not be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn require_operator(request: Request, next: Next) -> Response {
    if let Err(refused) = check_host(request.version(), request.headers()) {
        return refused.response();
    }
    let refusal = match header_text(request.headers(), header::HOST.as_str()) {
        Some(host) if is_plain(host) => {
            if is_of_other_page(request.method(), request.headers(), host) {
                "Pages of other origins may not ask here.\n"
            } else {
                return next.run(request).await;
            }
        }
        _ => "Ask with an IP address or localhost as host.\n",
    };
    (StatusCode::FORBIDDEN, refusal).into_response()
}

/// Whether a browser made the request for a page that this listener did not serve. Following a link is fine.
fn is_of_other_page(method: &Method, headers: &HeaderMap, host: &str) -> bool {
    let is_ours = |origin: &str| origin.strip_prefix("http://").is_some_and(|origin| origin.eq_ignore_ascii_case(host));
    let has_other_origin =
        headers.contains_key(header::ORIGIN) && !header_text(headers, header::ORIGIN.as_str()).is_some_and(is_ours);
    let site = header_text(headers, "sec-fetch-site");
    has_other_origin || (!method.is_safe() && site.is_some_and(|site| !["same-origin", "none"].contains(&site)))
}

fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn is_plain(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn names_of_other_sites_are_not_plain() {
        for host in ["127.0.0.1:9641", "127.0.0.1", "localhost:1", "LOCALHOST", "[::1]:9641", "[::1]"] {
            assert!(is_plain(host), "{host}");
        }
        for host in ["evil.example", "evil.example:9641", "127.0.0.1.evil.example", "", "localhost.evil.example"] {
            assert!(!is_plain(host), "{host}");
        }
    }

    #[test]
    fn pages_of_other_origins_are_told_from_programs_and_links() {
        let is_other = |method: Method, fields: &[(&'static str, &str)]| {
            let fields = fields.iter().map(|(name, value)| {
                (http::HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap())
            });
            is_of_other_page(&method, &fields.collect(), "127.0.0.1:9641")
        };
        assert!(!is_other(Method::DELETE, &[]));
        assert!(!is_other(Method::DELETE, &[("origin", "http://127.0.0.1:9641"), ("sec-fetch-site", "same-origin")]));
        assert!(!is_other(Method::GET, &[("sec-fetch-site", "cross-site")]), "a link");
        for origin in ["https://evil.example", "null", "http://127.0.0.1:3000", "http://127.0.0.1", "", "\u{e4}"] {
            assert!(is_other(Method::GET, &[("origin", origin)]), "{origin}");
            assert!(is_other(Method::DELETE, &[("origin", origin)]), "{origin}");
        }
        assert!(is_other(Method::POST, &[("sec-fetch-site", "cross-site")]));
        assert!(is_other(Method::DELETE, &[("sec-fetch-site", "same-site")]), "another port of this host");
    }
}
