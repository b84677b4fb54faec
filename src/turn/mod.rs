//! STUN and TURN: RFC 8489 (Binding, long-term credentials) and RFC 8656 over UDP, TCP and TLS,
//! IPv4 and IPv6.
//!
//! | room | what |
//! |---|---|
//! | [`wire`] | bytes |
//! | [`shared`] | what all sessions share: credentials, peer policy, quotas, live relayed addresses |
//! | [`core`] | one client's session: every rule of the RFC, sans-IO |
//! | [`io`] | workers and streams: sockets, timers, and performing what sessions ask for |
//!
//! Not done, and answered as the RFC says for a server that does not know them: TCP relays (RFC 6062; 442), mobility (RFC
//! 8016).
//! Two deliberate deviations (channel numbers, the default family) are explained in docs/TURN.md.

pub mod core;
pub mod io;
pub mod shared;
pub mod wire;
