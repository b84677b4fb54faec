//! Limits on WebSockets, whether or not they have joined a room, and on TURN connections: in total and for one address.
//!
//! A client in a room or with an allocation is no longer counted as a stranger, so that a school class behind one
//! address gets in. The limits here prevent that one address takes all places ([`crate::values::sites`]).

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard},
};

use crate::{
    files::{FromPool, Pool},
    values::sites::{Site, Sites},
};

/// The limits.
#[derive(Clone, Debug)]
pub struct WebSocketLimits {
    /// In total.
    pub max: usize,
    /// For one address. Without this limit, an address may have as many as are left for others.
    pub max_per_ip: Option<usize>,
    /// The pool of open files, which others share.
    pub pool: Arc<Pool>,
}

impl Default for WebSocketLimits {
    fn default() -> Self {
        Self { max: 100_000, max_per_ip: None, pool: Pool::new(usize::MAX) }
    }
}

/// Counts connections of one kind.
#[derive(Debug)]
pub(super) struct ConnectionShares {
    limits: WebSocketLimits,
    /// An address may have this many times the number that is left for others.
    times_left: usize,
    counts: Mutex<ShareCounts>,
}

#[derive(Debug, Default)]
struct ShareCounts {
    total: usize,
    sites: Sites,
}

/// Why there is no place for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoShare {
    /// The address has used up its share.
    Address,
    /// The server has as many as it may have.
    Server,
}

/// The place of one connection. Dropping it gives it back.
#[derive(Debug)]
pub(super) struct Share {
    shares: Arc<ConnectionShares>,
    /// `None` for addresses that are not counted.
    site: Option<Site>,
    _file: FromPool,
}

impl ConnectionShares {
    pub(super) fn new(limits: WebSocketLimits) -> Arc<Self> {
        Arc::new(Self { limits, times_left: 1, counts: Mutex::default() })
    }

    /// Shares for at most `max` TURN connections, with a pool of their own. A school class behind one address takes
    /// many of them, two for each pair of members, so one address may have three quarters.
    pub(super) fn of_turn(max: usize) -> Arc<Self> {
        let limits = WebSocketLimits { max, max_per_ip: None, pool: Pool::new(max) };
        Arc::new(Self { limits, times_left: 3, counts: Mutex::default() })
    }

    /// A place for a client at `address`. Loopback has no limit of its own, and neither has `None`, which stands for a
    /// trusted proxy.
    pub(super) fn take(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Share, NoShare> {
        let site = address.and_then(Site::of);
        let mut counts = self.lock();
        let free = self.limits.max.saturating_sub(counts.total).min(self.limits.pool.left());
        if free == 0 {
            return Err(NoShare::Server);
        }
        if !counts.sites.may_have_another(site, free.saturating_mul(self.times_left), self.limits.max_per_ip) {
            return Err(NoShare::Address);
        }
        let file = self.limits.pool.take().ok_or(NoShare::Server)?;
        counts.total += 1;
        counts.sites.add(site);
        Ok(Share { shares: self.clone(), site, _file: file })
    }

    fn lock(&self) -> MutexGuard<'_, ShareCounts> {
        self.counts.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut counts = self.shares.lock();
        counts.total -= 1;
        counts.sites.remove(self.site);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(max: usize, max_per_ip: Option<usize>) -> Arc<ConnectionShares> {
        ConnectionShares::new(WebSocketLimits { max, max_per_ip, ..WebSocketLimits::default() })
    }

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    /// All places that `addresses` get when they take turns.
    fn all_for(web_sockets: &Arc<ConnectionShares>, addresses: impl Iterator<Item = Option<IpAddr>>) -> Vec<Share> {
        addresses.map_while(|address| web_sockets.take(address).ok()).collect()
    }

    #[test]
    fn one_address_has_half_and_several_leave_a_place_each() {
        for greedy in [1, 2, 9, 99] {
            let web_sockets = with(1000, None);
            let address = |index: usize| ip(&format!("198.51.100.{}", index % greedy));
            let held = all_for(&web_sockets, (0..).map(address));
            assert_eq!(held.len(), 1000 - 1000 / (greedy + 1), "{greedy}");
            assert_eq!(web_sockets.take(address(0)).unwrap_err(), NoShare::Address);
            assert!(web_sockets.take(ip("192.0.2.1")).is_ok() && web_sockets.take(ip("2001:db8::1")).is_ok());
        }
    }

    #[test]
    fn one_address_has_three_quarters_of_turn_connections() {
        let turn = ConnectionShares::of_turn(1000);
        let held = all_for(&turn, (0..).map(|_| ip("192.0.2.1")));
        assert_eq!(held.len(), 750);
        assert_eq!(turn.take(ip("192.0.2.1")).unwrap_err(), NoShare::Address);
        assert_eq!(all_for(&turn, (0..).map(|_| ip("198.51.100.1"))).len(), 188);
        assert!(turn.take(ip("2001:db8::1")).is_ok());
    }

    #[test]
    fn a_site_is_one_address_in_ipv6() {
        let web_sockets = with(1000, None);
        let held = all_for(&web_sockets, (0..).map(|index| ip(&format!("2001:db8:7:{index:x}::1"))));
        assert_eq!(held.len(), 500);
        assert!(web_sockets.take(ip("2001:db8:8::1")).is_ok());
        let others = all_for(&web_sockets, (0..).map(|_| ip("::ffff:192.0.2.1")));
        assert_eq!(others.len(), 250);
        assert_eq!(web_sockets.take(ip("192.0.2.1")).unwrap_err(), NoShare::Address);
    }

    #[test]
    fn loopback_and_proxies_have_no_limit_of_their_own() {
        for address in [ip("127.0.0.1"), ip("::1"), None] {
            let web_sockets = with(100, Some(3));
            let held = all_for(&web_sockets, (0..).map(|_| address));
            assert_eq!(held.len(), 100);
            assert_eq!(web_sockets.take(address).unwrap_err(), NoShare::Server);
        }
    }

    #[test]
    fn limits_and_the_pool_hold_and_places_come_back() {
        let web_sockets = with(100, Some(3));
        let held = all_for(&web_sockets, (0..).map(|_| ip("192.0.2.1")));
        assert_eq!(held.len(), 3);
        drop(held);
        let ShareCounts { total, sites } = &*web_sockets.lock();
        assert!(*total == 0 && sites.is_empty());

        let pool = Pool::new(5);
        let web_sockets = ConnectionShares::new(WebSocketLimits { pool: pool.clone(), ..WebSocketLimits::default() });
        let held = all_for(&web_sockets, (0..).map(|_| None));
        assert_eq!((held.len(), web_sockets.take(None).unwrap_err()), (5, NoShare::Server));
        assert!(pool.take().is_none());
        drop(held);
        assert!(pool.take().is_some());
    }
}
