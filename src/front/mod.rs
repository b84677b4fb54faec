//! The TCP ports: accepts connections, finds out what they speak, and hands them over.
//!
//! The first byte of a connection, and once more the first within TLS, tells HTTP from STUN: requests are answered by
//! [`crate::http`], WebSockets served by [`crate::signaling`], TURN clients by [`crate::turn::io::Streams`]. The ports
//! of `--turn-listen` and `--turns-listen` speak nothing but TURN.
//!
//! A trusted proxy may say first whose connection it is ([`proxy_protocol`], `introduction`).
//!
//! [`Front::serve`] runs it all until told to stop.

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
/// For those who test it with any input.
#[doc(hidden)]
pub use stream::Protocol;
