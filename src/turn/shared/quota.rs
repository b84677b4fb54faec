//! How many allocations there may be: in total (508), for one user (486), and for the clients at one address (486),
//! whatever users they are. A limit for each user is not enough, because everybody who joins is a user, and so is each
//! expiry without a name.
//!
//! The quotas are asked when a client allocates, never for a packet.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    credentials::User,
    files::{FromPool, Pool},
    values::{
        family::{ByFamily, Family},
        roomy::give_back_room,
        sites::{Site, Sites},
    },
};

/// The limits.
#[derive(Clone, Debug)]
pub struct QuotaLimits {
    /// The limit for all allocations.
    pub total: usize,
    /// The limit for each address family: the number of ports.
    pub ports: usize,
    /// The limit for one user.
    pub per_user: usize,
    /// The limit for the clients at one address.
    pub per_address: PerAddress,
    /// If relay ports are real sockets, the pool of open files from which each takes one, as others do.
    pub files: Option<Arc<Pool>>,
}

/// How many allocations the clients at one address may have. In IPv6, a /48 counts as one address; loopback does not
/// count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PerAddress {
    /// The address does not matter.
    Unlimited,
    /// As many as are still left for others.
    LeftForOthers,
    /// At most this many.
    AtMost(usize),
}

/// The counts that all workers share.
#[derive(Debug)]
pub struct Quotas {
    limits: QuotaLimits,
    counts: Mutex<QuotaCounts>,
}

#[derive(Debug, Default)]
struct QuotaCounts {
    total: usize,
    by_user: HashMap<User, usize>,
    sites: Sites,
    of_family: ByFamily<OfFamily>,
}

#[derive(Debug, Default)]
struct OfFamily {
    taken: usize,
    sites: Sites,
}

/// The quota that is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuotaExceeded {
    /// The quota of this user: 486.
    #[error("allocation quota of this user reached")]
    User,
    /// The quota of the clients at this address: 486.
    #[error("allocation quota of this address reached")]
    Address,
    /// The quota of the whole server: 508.
    #[error("allocation quota of the server reached")]
    Server,
}

/// A place for one allocation; dropping it gives the place back. It is boxed, because most of its owners have room for
/// two places but hold only one.
#[derive(Debug)]
pub struct QuotaPlace {
    _taken: Box<TakenPlace>,
}

#[derive(Debug)]
struct TakenPlace {
    quotas: Arc<Quotas>,
    user: User,
    site: Option<Site>,
    family: Family,
    _file: Option<FromPool>,
}

impl Quotas {
    /// Quotas of which nothing is taken yet.
    pub fn new(limits: QuotaLimits) -> Arc<Self> {
        Arc::new(Self { limits, counts: Mutex::default() })
    }

    /// At most `total` allocations, and at most `per_user` for one user, at any address.
    pub fn up_to(total: usize, per_user: usize) -> Arc<Self> {
        let per_address = PerAddress::Unlimited;
        Self::new(QuotaLimits { total, ports: usize::MAX, per_user, per_address, files: None })
    }

    /// Takes a place for a relayed address of `family`, for `user`, who is at `address`.
    ///
    /// # Errors
    /// [`QuotaExceeded`] says which limit is reached.
    pub fn take(self: &Arc<Self>, user: &User, address: IpAddr, family: Family) -> Result<QuotaPlace, QuotaExceeded> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let QuotaLimits { total, ports, per_user, per_address, files } = &self.limits;
        let free = total.saturating_sub(counts.total).min(files.as_ref().map_or(usize::MAX, |files| files.left()));
        if free == 0 {
            return Err(QuotaExceeded::Server);
        }
        let of_user = counts.by_user.get(user).copied().unwrap_or(0);
        if of_user >= *per_user {
            return Err(QuotaExceeded::User);
        }
        let (site, max) = match per_address {
            PerAddress::Unlimited => (None, None),
            PerAddress::LeftForOthers => (Site::of(address), None),
            PerAddress::AtMost(max) => (Site::of(address), Some(*max)),
        };
        // An address may have as many as are left for others, both of all places and of the ports of this family,
        // because there may be more allocations than ports of one family.
        let of_family = &counts.of_family[family];
        let free_ports = ports.saturating_sub(of_family.taken).min(free);
        if !counts.sites.may_have_another(site, free, max) || !of_family.sites.may_have_another(site, free_ports, max) {
            return Err(QuotaExceeded::Address);
        }
        let file = files.as_ref().map(|files| files.take().ok_or(QuotaExceeded::Server)).transpose()?;
        counts.by_user.insert(user.clone(), of_user + 1);
        counts.sites.add(site);
        counts.total += 1;
        let of_family = &mut counts.of_family[family];
        of_family.sites.add(site);
        of_family.taken += 1;
        let taken = TakenPlace { quotas: self.clone(), user: user.clone(), site, family, _file: file };
        Ok(QuotaPlace { _taken: Box::new(taken) })
    }
}

impl Drop for TakenPlace {
    fn drop(&mut self) {
        let mut counts = self.quotas.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.total -= 1;
        counts.sites.remove(self.site);
        let of_family = &mut counts.of_family[self.family];
        of_family.taken -= 1;
        of_family.sites.remove(self.site);
        if let Some(of_user) = counts.by_user.get_mut(&self.user) {
            *of_user -= 1;
            if *of_user == 0 {
                counts.by_user.remove(&self.user);
                give_back_room(&mut counts.by_user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn user(name: &str) -> User {
        User::Api(name.into())
    }

    #[test]
    fn both_limits_hold_and_places_come_back() {
        let quotas = Quotas::up_to(3, 2);
        let (alice, bob) = (user("alice"), user("bob"));
        let first = quotas.take(&alice, HERE, Family::V4).unwrap();
        let _second = quotas.take(&alice, HERE, Family::V4).unwrap();
        assert_eq!(quotas.take(&alice, HERE, Family::V4).unwrap_err(), QuotaExceeded::User);
        let _third = quotas.take(&bob, HERE, Family::V4).unwrap();
        assert_eq!(quotas.take(&bob, HERE, Family::V4).unwrap_err(), QuotaExceeded::Server);
        drop(first);
        assert!(quotas.take(&bob, HERE, Family::V4).is_ok());
        assert_eq!(quotas.counts.lock().unwrap().by_user.len(), 2);
    }

    #[test]
    fn where_files_are_used_up_there_is_no_place() {
        let (files, alice) = (Pool::new(2), user("alice"));
        let quotas = Quotas::new(QuotaLimits {
            total: 10,
            ports: 10,
            per_user: 10,
            per_address: PerAddress::Unlimited,
            files: Some(files.clone()),
        });
        let (first, other) = (quotas.take(&alice, HERE, Family::V4).unwrap(), files.take());
        assert_eq!(quotas.take(&alice, HERE, Family::V4).unwrap_err(), QuotaExceeded::Server);
        drop(other);
        let _second = quotas.take(&alice, HERE, Family::V4).unwrap();
        drop(first);
        assert!(files.take().is_some());
    }

    /// All places that many users at `addresses` get when they take turns.
    fn all_at(quotas: &Arc<Quotas>, addresses: &[&str]) -> Vec<QuotaPlace> {
        let addresses = addresses.iter().cycle().enumerate();
        let take = |(index, address): (usize, &&str)| {
            quotas.take(&user(&index.to_string()), address.parse().unwrap(), Family::V4)
        };
        addresses.map_while(|one| take(one).ok()).collect()
    }

    #[test]
    fn one_address_leaves_as_many_for_others_whatever_its_users_are_called() {
        let with =
            |per_address| Quotas::new(QuotaLimits { total: 100, ports: 1000, per_user: 3, per_address, files: None });
        for (attackers, held) in [
            (&["192.0.2.1"][..], 50),
            (&["192.0.2.1", "198.51.100.1"], 67),
            (&["2001:db8:1::1", "2001:db8:1:2::3", "2001:db8:1:ffff::"], 50),
            (&["127.0.0.1"], 100),
        ] {
            let quotas = with(PerAddress::LeftForOthers);
            let places = all_at(&quotas, attackers);
            assert_eq!(places.len(), held, "{attackers:?}");
            let refused = quotas.take(&user("another"), attackers[0].parse().unwrap(), Family::V4).unwrap_err();
            let is_full = held == 100;
            assert_eq!(refused, if is_full { QuotaExceeded::Server } else { QuotaExceeded::Address });
            assert_eq!(quotas.take(&user("honest"), "203.0.113.5".parse().unwrap(), Family::V4).is_ok(), !is_full);
            drop(places);
            let counts = quotas.counts.lock().unwrap();
            assert!(counts.total == 0 && counts.by_user.is_empty() && counts.sites.is_empty());
        }
        assert_eq!(all_at(&with(PerAddress::AtMost(80)), &["192.0.2.1"]).len(), 80);
        assert_eq!(all_at(&with(PerAddress::Unlimited), &["192.0.2.1"]).len(), 100);
    }

    #[test]
    fn one_address_leaves_ports_of_each_family() {
        let quotas = Quotas::new(QuotaLimits {
            total: 200,
            ports: 100,
            per_user: 100,
            per_address: PerAddress::LeftForOthers,
            files: None,
        });
        let take = |family| quotas.take(&user("a"), HERE, family);
        let of_v4: Vec<_> = std::iter::from_fn(|| take(Family::V4).ok()).collect();
        assert_eq!((of_v4.len(), take(Family::V4).unwrap_err()), (50, QuotaExceeded::Address));
        let of_v6: Vec<_> = std::iter::from_fn(|| take(Family::V6).ok()).collect();
        assert_eq!(of_v6.len(), 50);
        drop((of_v4, of_v6));
        let counts = quotas.counts.lock().unwrap();
        assert!([Family::V4, Family::V6].iter().all(|family| {
            let of_family = &counts.of_family[*family];
            of_family.taken == 0 && of_family.sites.is_empty()
        }));
    }
}
