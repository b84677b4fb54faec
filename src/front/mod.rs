//! The TCP ports: accepts connections, finds out which protocol they speak, and passes them on.
//!
//! The first byte of a connection, and again the first byte within TLS, distinguishes HTTP from STUN. [`crate::http`]
//! answers requests, [`crate::signaling`] serves WebSockets, and [`crate::turn::io::Streams`] serves TURN clients. The
//! ports of `--turn-listen` and `--turns-listen` only speak TURN.
//!
//! A trusted proxy may first announce the client of a connection ([`proxy_protocol`], `introduction`).
//!
//! [`Front::serve`] runs everything until the shutdown.

mod admission;
mod half_open;
mod introduction;
mod opening;
pub mod proxy_protocol;
mod server;
mod settings;
mod shares;
pub(crate) mod slots;
mod stream;

pub use server::{Front, Listeners};
pub use settings::{FrontSettings, Timeouts};
pub use shares::WebSocketLimits;
/// Public for fuzz tests.
#[doc(hidden)]
pub use stream::Protocol;
