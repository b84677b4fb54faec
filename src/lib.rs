//! bimcc-rtc: room signaling, an embedded STUN/TURN server and the credentials that join them, in one process.
#![cfg_attr(test, allow(clippy::unwrap_used))]
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod admin;
pub mod app;
pub mod cli;
pub mod config;
pub mod credentials;
pub mod disk;
mod farewell;
pub mod files;
pub mod front;
pub mod http;
pub mod ice_servers;
#[cfg(test)]
mod interleaving;
mod locks;
pub mod membership;
pub mod mint;
pub mod net;
pub mod observe;
pub mod shutdown;
pub mod signaling;
pub mod state_dir;
pub mod tls;
pub mod turn;
pub mod values;
