//! STUN and TURN: RFC 8489 (Binding, long-term credentials) and RFC 8656 over UDP, TCP and TLS,
//! IPv4 and IPv6.
//!
//! | room | what |
//! |---|---|
//! | [`wire`] | bytes to messages and back |
//! | [`shared`] | what all sessions share: credentials, peer policy, quotas, live relayed addresses |
//! | [`core`] | the session of one client: every rule of the RFCs, sans-IO |
//! | [`io`] | workers and streams: sockets, timers, and performing what sessions ask for |
//!
//! Not supported: TCP relays (RFC 6062; answered with 442) and mobility (RFC 8016). Requests for them are answered as
//! the RFC says for a server that does not know them. Two deliberate deviations (channel numbers, the default family)
//! are explained in docs/TURN.md.

pub mod core;
pub mod io;
pub mod shared;
pub mod wire;
