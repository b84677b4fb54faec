//! bimcc-rtc: room signaling, an embedded STUN/TURN server and the credentials that connect them, in one process.
//!
//! This crate is a program, not a library: [`main`] is its only public function. With the feature `internals`, some
//! modules are visible to this package's own tests, benches and fuzz targets. They may change at any time.
#![cfg_attr(test, allow(clippy::unwrap_used))]
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]
// Without that feature, the items for these tests are unused and cannot be reached.
#![cfg_attr(not(feature = "internals"), allow(dead_code, unreachable_pub, unused_imports))]

mod farewell;
#[cfg(test)]
mod interleaving;
mod locks;
mod program;

#[cfg(not(feature = "internals"))]
mod admin;
#[cfg(feature = "internals")]
pub mod admin;
#[cfg(not(feature = "internals"))]
mod app;
#[cfg(feature = "internals")]
pub mod app;
#[cfg(not(feature = "internals"))]
mod cli;
#[cfg(feature = "internals")]
pub mod cli;
#[cfg(not(feature = "internals"))]
mod config;
#[cfg(feature = "internals")]
pub mod config;
#[cfg(not(feature = "internals"))]
mod credentials;
#[cfg(feature = "internals")]
pub mod credentials;
#[cfg(not(feature = "internals"))]
mod disk;
#[cfg(feature = "internals")]
pub mod disk;
#[cfg(not(feature = "internals"))]
mod files;
#[cfg(feature = "internals")]
pub mod files;
#[cfg(not(feature = "internals"))]
mod front;
#[cfg(feature = "internals")]
pub mod front;
#[cfg(not(feature = "internals"))]
mod http;
#[cfg(feature = "internals")]
pub mod http;
#[cfg(not(feature = "internals"))]
mod ice_servers;
#[cfg(feature = "internals")]
pub mod ice_servers;
#[cfg(not(feature = "internals"))]
mod membership;
#[cfg(feature = "internals")]
pub mod membership;
#[cfg(not(feature = "internals"))]
mod mint;
#[cfg(feature = "internals")]
pub mod mint;
#[cfg(not(feature = "internals"))]
mod net;
#[cfg(feature = "internals")]
pub mod net;
#[cfg(not(feature = "internals"))]
mod observe;
#[cfg(feature = "internals")]
pub mod observe;
#[cfg(not(feature = "internals"))]
mod shutdown;
#[cfg(feature = "internals")]
pub mod shutdown;
#[cfg(not(feature = "internals"))]
mod signaling;
#[cfg(feature = "internals")]
pub mod signaling;
#[cfg(not(feature = "internals"))]
mod state_dir;
#[cfg(feature = "internals")]
pub mod state_dir;
#[cfg(not(feature = "internals"))]
mod tls;
#[cfg(feature = "internals")]
pub mod tls;
#[cfg(not(feature = "internals"))]
mod turn;
#[cfg(feature = "internals")]
pub mod turn;
#[cfg(not(feature = "internals"))]
mod values;
#[cfg(feature = "internals")]
pub mod values;

pub use program::main;
