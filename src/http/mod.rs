//! Requests: pages, health and the WebSocket upgrade.
//!
//! The caller accepts a connection that speaks HTTP, passes it to `Requests`, and gets it back if it has become a
//! WebSocket. This module knows nothing of listeners, limits and TLS.
//!
//! | request | answer |
//! |---|---|
//! | any path with a WebSocket upgrade | signaling ([`ws`](self)) |
//! | `GET /`, `GET /r/{room}`, `GET /check` | the app and the connection test, also with a slash at the end ([`assets`](self)) |
//! | `GET /healthz` | 200 while the process runs |
//! | `GET /readyz` | 200 while clients are accepted, 503 once draining |
//! | `GET` of anything else | a file of the pages, among them `/client.js`; else 404 |
//!
//! With TLS, plain HTTP on the same port is redirected (308) and a plain WebSocket is refused with 426.

mod assets;
pub(crate) mod client_info;
pub(crate) mod door;
mod health;
mod mended;
pub(crate) mod refused;
pub(crate) mod requests;
mod router;
mod ws;

/// What the head of a request says, public for fuzz tests.
#[doc(hidden)]
pub mod arrival {
    pub use super::{
        client_info::{ClientInfo, Trust},
        ws::room_in_query,
    };
}
