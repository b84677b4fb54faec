//! Limits on connections of strangers, for each address and in total. Members are limited by rooms, TURN clients by
//! allocations.
//!
//! The total limit is for half-open connections: those that are neither a WebSocket nor a TURN client with an
//! allocation. When it is reached, [`HalfOpen`] decides which connection must end.

use std::{
    collections::HashMap,
    future::pending,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::sync::Notify;

use super::half_open::{HalfOpen, STRANGERS_WEIGHT};
use crate::values::sites::ipv6_network;

/// An address with a member may have this many times more connections.
const MEMBERS_FACTOR: usize = 8;

/// The prefix length of the network that a single host has in IPv6.
const HOST_BITS: u32 = 64;

/// A connection that is told to end does so when its task runs next. With more of them than this, no new connection is
/// accepted yet.
const MAX_LEAVING: usize = 64;

/// Counts connections by address. IPv6 addresses are counted by /64, because a single host has a whole /64.
#[derive(Debug)]
pub(crate) struct Slots {
    max: usize,
    taken: Mutex<HashMap<IpAddr, usize>>,
    half_open: Mutex<HalfOpen>,
}

/// The slot of one connection. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Arc<Slots>,
    /// `None` for addresses that are not counted.
    address: Option<IpAddr>,
    is_counted: bool,
    half_open: Option<u64>,
    must_go: Arc<Notify>,
}

impl Slots {
    /// At most `max` for each address, and `max_half_open` in total.
    pub(crate) fn new(max: usize, max_half_open: usize) -> Arc<Self> {
        Arc::new(Self { max, taken: Mutex::default(), half_open: Mutex::new(HalfOpen::new(max_half_open)) })
    }

    /// A slot for `address`, unless it has as many as it may have. Loopback is not counted.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Slot> {
        self.take_below(self.max, address, STRANGERS_WEIGHT)
    }

    /// The same for an address at which a member is connected: a school class behind one address opens hundreds of TURN
    /// connections at once. A connection that turns out not to speak STUN is then checked by [`Self::has_too_many`].
    pub(crate) fn take_of_member(self: &Arc<Self>, address: IpAddr) -> Option<Slot> {
        self.take_below(self.max.saturating_mul(MEMBERS_FACTOR), address, 1)
    }

    /// Whether `address` has more than an address may have.
    pub(crate) fn has_too_many(&self, address: IpAddr) -> bool {
        self.lock().get(&network(address.to_canonical())).is_some_and(|count| *count > self.max)
    }

    fn take_below(self: &Arc<Self>, max: usize, address: IpAddr, weight: usize) -> Option<Slot> {
        let address = address.to_canonical();
        if address.is_loopback() {
            return Some(self.slot(None, address, weight));
        }
        let host = network(address);
        let mut taken = self.lock();
        let count = taken.entry(host).or_default();
        if *count >= max {
            if *count == 0 {
                taken.remove(&host);
            }
            return None;
        }
        *count += 1;
        drop(taken);
        Some(self.slot(Some(host), address, weight))
    }

    /// Whether so many connections were told to end and are still open that no more should be accepted for the moment.
    pub(crate) fn is_crowded(&self) -> bool {
        self.lock_half_open().leaving() > MAX_LEAVING
    }

    /// A slot that is not charged to `address`.
    pub(crate) fn uncounted(self: &Arc<Self>, address: IpAddr) -> Slot {
        self.slot(None, address.to_canonical(), STRANGERS_WEIGHT)
    }

    fn slot(self: &Arc<Self>, charged: Option<IpAddr>, address: IpAddr, weight: usize) -> Slot {
        let must_go = Arc::new(Notify::new());
        let number = self.lock_half_open().insert(address, weight, must_go.clone());
        Slot { slots: self.clone(), address: charged, is_counted: charged.is_some(), half_open: Some(number), must_go }
    }

    fn lock_half_open(&self) -> MutexGuard<'_, HalfOpen> {
        self.half_open.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.taken.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Slot {
    /// The connection is no longer half open, so newcomers cannot make it end.
    pub(crate) fn set_open(&mut self) {
        if let Some(number) = self.half_open.take() {
            self.slots.lock_half_open().remove(number);
        }
    }

    /// The connection is charged to no address for now. It may still have to end.
    pub(crate) fn forgive(&mut self) {
        self.charge(false);
    }

    /// Completes when the place is needed for another connection.
    pub(crate) fn must_go(&self) -> impl Future<Output = ()> + Send + use<> {
        let must_go = self.half_open.map(|_| self.must_go.clone());
        async move {
            match must_go {
                Some(must_go) => must_go.notified().await,
                None => pending().await,
            }
        }
    }

    /// Counts the connection, or stops counting it. A connection in a room is not counted; when it leaves the room it
    /// is counted again, whatever the limit.
    pub(crate) fn set_counted(&mut self, counted: bool) {
        if !counted {
            self.set_open();
        }
        self.charge(counted);
    }

    fn charge(&mut self, counted: bool) {
        let Some(address) = self.address else {
            return;
        };
        if counted == self.is_counted {
            return;
        }
        self.is_counted = counted;
        let mut taken = self.slots.lock();
        let count = taken.entry(address).or_default();
        if counted {
            *count += 1;
            return;
        }
        *count = count.saturating_sub(1);
        if *count == 0 {
            taken.remove(&address);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.set_counted(false);
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(ip) => ipv6_network(ip, HOST_BITS).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_so_many_slots_and_no_more() {
        let slots = Slots::new(2, 10);
        let first = slots.take(ip("192.0.2.1"));
        let second = slots.take(ip("::ffff:192.0.2.1"));
        assert!(first.is_some() && second.is_some());
        assert!(slots.take(ip("192.0.2.1")).is_none());
        assert!(slots.take(ip("192.0.2.2")).is_some());
        drop(first);
        assert!(slots.take(ip("192.0.2.1")).is_some());
    }

    #[test]
    fn who_joined_does_not_count_until_it_leaves() {
        let slots = Slots::new(1, 10);
        let mut slot = slots.take(ip("192.0.2.1")).unwrap();
        slot.set_counted(false);
        let other = slots.take(ip("192.0.2.1")).unwrap();
        slot.set_counted(true);
        drop(other);
        assert!(slots.take(ip("192.0.2.1")).is_none());
        drop(slot);
        assert!(slots.lock().is_empty());
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let slots = Slots::new(1, 10);
        let _slot = slots.take(ip("2001:db8::1")).unwrap();
        assert!(slots.take(ip("2001:db8::2")).is_none());
        assert!(slots.take(ip("2001:db8:0:1::1")).is_some());
    }

    #[test]
    fn loopback_is_not_counted() {
        let slots = Slots::new(0, 10);
        assert!(slots.take(ip("127.0.0.9")).is_some());
        assert!(slots.take(ip("::1")).is_some());
        assert!(slots.take(ip("192.0.2.1")).is_none());
        assert!(slots.lock().is_empty());
    }

    #[test]
    fn where_a_member_is_more_may_speak_stun() {
        let slots = Slots::new(2, 100);
        let mut taken: Vec<_> = (0..20).filter_map(|_| slots.take_of_member(ip("192.0.2.1"))).collect();
        assert_eq!(taken.len(), 2 * MEMBERS_FACTOR);
        assert!(slots.has_too_many(ip("192.0.2.1")));
        assert!(slots.take(ip("192.0.2.1")).is_none());
        taken.iter_mut().for_each(Slot::forgive);
        assert!(slots.lock().is_empty());
        assert_eq!(slots.lock_half_open().len(), taken.len(), "but they are half open");
        taken[0].set_counted(true);
        assert!(!slots.has_too_many(ip("192.0.2.1")));
    }

    async fn is_told(must_go: impl Future<Output = ()>) -> bool {
        tokio::time::timeout(std::time::Duration::ZERO, must_go).await.is_ok()
    }

    #[tokio::test]
    async fn the_oldest_that_is_half_open_makes_room() {
        let slots = Slots::new(10, 2);
        let mut first = slots.take(ip("192.0.2.1")).unwrap();
        let (first_must_go, second) = (first.must_go(), slots.uncounted(ip("192.0.2.1")));
        first.set_open();
        let (third, _fourth) = (slots.uncounted(ip("192.0.2.1")), slots.uncounted(ip("192.0.2.1")));
        assert!(is_told(second.must_go()).await);
        assert!(!is_told(first_must_go).await, "it is open");
        assert!(!is_told(third.must_go()).await, "it is younger");
        drop((second, third));
        assert_eq!(slots.lock_half_open().len(), 1);
    }

    #[tokio::test]
    async fn those_make_room_who_are_many() {
        let slots = Slots::new(100, 20);
        let honest = slots.take(ip("192.0.2.1")).unwrap();
        let flood: Vec<_> = (0..100).map(|n| slots.take(ip(&format!("198.51.100.{}", n % 2))).unwrap()).collect();
        assert!(!is_told(honest.must_go()).await, "it is the oldest, but not one of many");
        let mut left = 0;
        for slot in &flood {
            left += usize::from(!is_told(slot.must_go()).await);
        }
        assert_eq!(left, 19);
        assert!(slots.is_crowded());
        drop((honest, flood));
        assert!(!slots.is_crowded());
        assert_eq!(slots.lock_half_open().len(), 0);
    }

    #[tokio::test]
    async fn where_a_member_is_there_may_be_more_before_others_stay() {
        let slots = Slots::new(100, 20);
        let class: Vec<_> = (0..15).map(|_| slots.take_of_member(ip("192.0.2.1")).unwrap()).collect();
        let strangers: Vec<_> = (0..10).map(|_| slots.take(ip("198.51.100.1")).unwrap()).collect();
        for slot in &class {
            assert!(!is_told(slot.must_go()).await);
        }
        assert!(is_told(strangers[0].must_go()).await);
    }
}
