//! STUN and TURN: RFC 8489 (Binding, long-term credentials) and RFC 8656 over UDP, TCP and TLS,
//! IPv4 and IPv6.
//!
//! | module | what |
//! |---|---|
//! | [`session`] | one client's session, sans-IO: every rule of the RFC |
//! | [`allocation`] | allocation, permissions, channels, lifetimes |
//! | [`message`], [`channel_data`], [`framing`] | bytes |
//! | [`auth`] | nonces and keys |
//! | [`peer_policy`] | which peers may be relayed to |
//! | [`relayed`] | live relayed addresses, for delivery in process |
//! | [`reservation`] | relayed addresses that are held for a later allocation |
//! | [`quota`], [`bitrate`], [`limiter`] | how many allocations; how much each; how many answers to strangers |
//! | [`packet`], [`transport`] | what becomes of a packet; over what clients come, and how that ends |
//! | [`io`] | workers and streams: sockets, timers, and performing what sessions ask for |
//!
//! Not done, and answered as the RFC says for a server that does not know them: TCP relays (RFC 6062; 442), mobility (RFC
//! 8016).
//! Two deliberate deviations (channel numbers, the default family) are explained in docs/TURN.md.

pub mod allocation;
pub mod auth;
pub mod bitrate;
pub mod channel_data;
pub mod five_tuple;
pub mod framing;
pub mod io;
pub mod limiter;
pub mod message;
pub mod packet;
pub mod peer_policy;
pub mod quota;
pub mod reach;
pub mod relayed;
pub mod reservation;
pub mod session;
pub mod totals;
pub mod transport;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use crate::{
    membership::Directory,
    shutdown::Shutdown,
    values::{family::ByFamily, label::labels},
};

labels! {
    /// What there may be many of, each of which comes to be and ends.
    pub enum Held {
        /// Client sessions (5-tuples with state).
        Sessions = "sessions",
        /// Allocations.
        Allocations = "allocations",
        /// Permissions in force.
        Permissions = "permissions",
        /// Channels bound.
        Channels = "channels",
    }
}

/// What all sessions of the process share.
#[derive(Debug)]
pub struct Shared {
    /// Signs and checks nonces.
    pub nonces: auth::NonceKeys,
    /// Realm and secrets.
    pub authority: auth::Authority,
    /// Which peers may be relayed to.
    pub policy: peer_policy::PeerPolicy,
    /// Who is a member of which room.
    pub directory: Arc<Directory>,
    /// How many allocations there may be.
    pub quotas: Arc<quota::Quotas>,
    /// Live relayed addresses.
    pub relayed: relayed::RelayedTable,
    /// Relayed addresses that are held for a later allocation.
    pub reservations: reservation::Reservations,
    /// On what terms allocations are granted.
    pub terms: Terms,
    /// Once it has begun there are no new allocations any more.
    pub shutdown: Shutdown,
}

impl Shared {
    /// At a start: nobody has an allocation.
    pub fn new(
        nonces: auth::NonceKeys,
        authority: auth::Authority,
        policy: peer_policy::PeerPolicy,
        directory: Arc<Directory>,
        quotas: Arc<quota::Quotas>,
        terms: Terms,
        shutdown: Shutdown,
    ) -> Self {
        Self {
            nonces,
            authority,
            policy,
            directory,
            quotas,
            relayed: relayed::RelayedTable::new(),
            reservations: reservation::Reservations::default(),
            terms,
            shutdown,
        }
    }
}

/// On what terms allocations are granted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terms {
    /// For how long.
    pub lifetimes: Lifetimes,
    /// What one may relay, if there is a limit.
    pub bitrate: Option<bitrate::Bitrate>,
    /// Where clients of each family are sent instead (RFC 8489 section 10).
    pub alternates: ByFamily<Option<SocketAddr>>,
}

/// How long allocations are granted for (RFC 8656 section 7.2).
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// Without a wish, and at least.
    pub default: Duration,
    /// At most.
    pub max: Duration,
    /// For an address that is held for a later allocation: as long as section 7.2 recommends.
    pub reservation: Duration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        let [default, max, reservation] = [600, 3600, 30].map(Duration::from_secs);
        Self { default, max, reservation }
    }
}

impl Lifetimes {
    /// The usual ones, but none above `max`.
    pub fn up_to(max: Duration) -> Self {
        let usual = Self::default();
        Self { default: usual.default.min(max), max: usual.max.min(max), ..usual }
    }

    /// What a client that asks for `requested` seconds gets.
    pub fn granted(self, requested: Option<u32>) -> Duration {
        let requested = requested.map_or(self.default, |seconds| Duration::from_secs(seconds.into()));
        requested.clamp(self.default, self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a core must know nothing of: it tells what it has to tell, and is given all else.
    #[test]
    fn the_core_neither_counts_nor_logs_nor_waits() {
        let core = [
            include_str!("session.rs"),
            include_str!("session/event.rs"),
            include_str!("session/places.rs"),
            include_str!("session/requests.rs"),
            include_str!("allocation.rs"),
            include_str!("message.rs"),
            include_str!("message/data.rs"),
            include_str!("message/keys.rs"),
            include_str!("message/code.rs"),
            include_str!("channel_data.rs"),
            include_str!("framing.rs"),
        ];
        for source in core {
            let code = source.split("#[cfg(test)]").next().unwrap_or_default();
            for foreign in
                ["observe::", "metrics::", "tracing::", "tokio::", "mio::", "Atomic", "Mutex", "RwLock", "::now()"]
            {
                assert!(!code.contains(foreign), "{foreign} in\n{code}");
            }
        }
    }

    #[test]
    fn rfc8656_7_2_a_short_longest_lifetime_shortens_the_usual_one() {
        let granted = |max, requested| Lifetimes::up_to(Duration::from_secs(max)).granted(requested).as_secs();
        for (max, requested, seconds) in [
            (3600, None, 600),
            (3600, Some(1), 600),
            (3600, Some(7200), 3600),
            (1200, Some(3600), 1200),
            (60, None, 60),
            (60, Some(3600), 60),
            (60, Some(1), 60),
        ] {
            assert_eq!(granted(max, requested), seconds, "{max} {requested:?}");
        }
    }
}
