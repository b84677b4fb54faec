//! The operators' API on `--admin-listen`.
//!
//! | request | answer |
//! |---|---|
//! | `GET /metrics` | Prometheus metrics (OpenMetrics text) |
//! | `GET /api/rooms` | all rooms, `[{room, members, away}]` |
//! | `GET /api/rooms/{room}` | its members, `{room, peers: [{socketId, name?, metadata?, away}]}` |
//! | `DELETE /api/rooms/{room}` | all its members are removed for good: 204 |
//! | `DELETE /api/rooms/{room}/peers/{id}` | this member is removed for good: 204 |
//!
//! It listens on loopback, where every local browser page can send requests too. So the Host must be an IP address or
//! `localhost`; a page that points its own name at 127.0.0.1 (DNS rebinding) cannot send that. A request from a page of
//! another origin (it has an Origin, or Sec-Fetch-Site says so) is refused.

mod guard;
mod operators;
mod rooms;
mod server;

pub use server::serve;
