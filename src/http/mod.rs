//! The TCP ports: pages, health, the WebSocket upgrade, and the way to TURN.
//!
//! | request | answer |
//! |---|---|
//! | any path with a WebSocket upgrade | signaling ([`ws`](self)) |
//! | `GET /`, `GET /r/{room}`, `GET /check` | the app and the connection test, with a last slash too ([`assets`](self)) |
//! | `GET /healthz` | 200 while the process runs |
//! | `GET /readyz` | 200 while clients are welcome, 503 once draining |
//! | `GET` of anything else | a file of the pages, among them `/client.js`; else 404 |
//!
//! The first byte of a connection, and once more the first within TLS, tells HTTP from STUN: TURN clients are handed to
//! [`crate::turn::io::Streams`]. The ports of `--turn-listen` and `--turns-listen` speak nothing else.
//!
//! A trusted proxy may say first whose connection it is ([`proxy_protocol`], `introduction`).
//!
//! With TLS, plain HTTP on the same port is redirected (308) and a plain WebSocket is refused with 426.
//!
//! [`serve`] runs it all until told to stop.

mod admin;
mod assets;
mod client_info;
mod half_open;
mod health;
mod introduction;
mod opening;
pub mod proxy_protocol;
mod server;
mod shares;
mod slots;
mod stream;
mod turned_away;
mod ws;

use std::{sync::Arc, time::Duration};

use axum::{Router, routing::get};
use ipnet::IpNet;

use crate::{signaling::Signaling, turn::io::Streams, values::host::Host};

pub use admin::serve_admin;
pub use server::{Listeners, serve};
pub use shares::WebSocketLimits;
pub use turned_away::TurnedAway;

/// What the beginning of a connection and the head of a request tell, for those who test it with any input.
#[doc(hidden)]
pub mod arrival {
    pub use super::{
        client_info::{ClientInfo, Trust},
        stream::Protocol,
        ws::room_in_query,
    };
}

/// What the operator decides about HTTP.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Origins whose pages may open a WebSocket, as browsers write them; empty means any. A client without an Origin
    /// is no browser and could write any, so it is let in.
    pub origins: Vec<String>,
    /// Proxies whose X-Forwarded headers count.
    pub trusted_proxies: Vec<IpNet>,
    /// Stands in iceServers, whatever host the client used.
    pub public_host: Option<Host>,
    /// Connections per address that have not joined a room.
    pub max_connections_per_ip: usize,
    /// Connections in all that are neither WebSockets nor TURN clients with an allocation.
    pub max_half_open: usize,
    /// TURN connections over TCP and TLS.
    pub max_turn_streams: usize,
    /// WebSockets.
    pub web_sockets: WebSocketLimits,
    /// How long things may take.
    pub timeouts: Timeouts,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            origins: Vec::new(),
            trusted_proxies: Vec::new(),
            public_host: None,
            max_connections_per_ip: 256,
            max_half_open: 4096,
            max_turn_streams: 100_000,
            web_sockets: WebSocketLimits::default(),
            timeouts: Timeouts::default(),
        }
    }
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Silence before the first byte: browsers open connections in advance.
    pub first_byte: Duration,
    /// From the first byte to the end of the TLS handshake, and again to the end of the request's headers.
    pub handshake: Duration,
    /// The life of a connection that is not upgraded.
    pub http_connection: Duration,
    /// The life of a TURN connection without an allocation.
    pub without_allocation: Duration,
    /// For the other side to end a connection that is over for us.
    pub farewell: Duration,
    /// For all connections to end on shutdown.
    pub shutdown: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            first_byte: Duration::from_secs(60),
            handshake: Duration::from_secs(10),
            http_connection: Duration::from_secs(600),
            without_allocation: Duration::from_secs(60),
            farewell: Duration::from_secs(3),
            shutdown: Duration::from_secs(5),
        }
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
    pub settings: HttpSettings,
}

/// Everything but the upgrade. `is_draining` is asked by `/readyz`.
fn router(is_draining: health::IsDraining) -> Router {
    Router::new()
        .route("/", get(assets::app))
        .route("/r/{room}", get(assets::app))
        .route("/r/{room}/", get(assets::app))
        .route("/check", get(assets::check))
        .route("/check/", get(assets::check))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz).with_state(is_draining))
        .fallback(get(assets::file))
}
