//! What all sessions of the process share: who may use TURN, how much, and with which peers.

pub mod auth;
pub mod bitrate;
pub mod free_ports;
pub mod limiter;
pub mod peer_policy;
pub mod quota;
pub mod relayed;
pub mod reservation;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use crate::{membership::Directory, shutdown::Shutdown, values::family::ByFamily};

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
    /// The terms on which allocations are granted.
    pub terms: Terms,
    /// Once a shutdown has begun, no new allocations are granted.
    pub shutdown: Shutdown,
}

impl Shared {
    /// The state at the start, without allocations.
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

/// The terms on which allocations are granted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terms {
    /// How long they live.
    pub lifetimes: Lifetimes,
    /// The limit on what one allocation may relay, if there is one.
    pub bitrate: Option<bitrate::Bitrate>,
    /// Where clients of each family are sent instead (RFC 8489 section 10).
    pub alternates: ByFamily<Option<SocketAddr>>,
}

/// How long allocations live (RFC 8656 section 7.2).
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// The lifetime if the client names none, and the shortest one.
    pub default: Duration,
    /// The longest lifetime.
    pub max: Duration,
    /// How long an address is held for a later allocation, as section 7.2 recommends.
    pub reservation: Duration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        let [default, max, reservation] = [600, 3600, 30].map(Duration::from_secs);
        Self { default, max, reservation }
    }
}

impl Lifetimes {
    /// The default lifetimes, but none above `max`.
    pub fn up_to(max: Duration) -> Self {
        let usual = Self::default();
        Self { default: usual.default.min(max), max: usual.max.min(max), ..usual }
    }

    /// The lifetime for a client that asks for `requested` seconds.
    pub fn granted(self, requested: Option<u32>) -> Duration {
        let requested = requested.map_or(self.default, |seconds| Duration::from_secs(seconds.into()));
        requested.clamp(self.default, self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
