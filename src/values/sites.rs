//! Counts for each address how many places it has. An address may have as many as are left for others.
//!
//! So one address has at most half of all places, and less if there are more such addresses. There is always a place
//! for an address that has none yet. The module is pure: the caller says how many places are left.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
};

use crate::values::roomy::give_back_room;

/// The bits of what one site has in IPv6: with its /64s alone somebody could take all.
const SITE_BITS: u32 = 48;

/// An address for counting; in IPv6 the network of a site.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(crate) struct Site(IpAddr);

impl Site {
    /// The site of a client. Loopback has none, because it has no limit of its own.
    pub(crate) fn of(client: IpAddr) -> Option<Self> {
        match client.to_canonical() {
            address if address.is_loopback() => None,
            IpAddr::V6(ip) => Some(Self(ipv6_network(ip, SITE_BITS).into())),
            address => Some(Self(address)),
        }
    }
}

/// The first address of the network with this prefix length.
pub(crate) fn ipv6_network(ip: Ipv6Addr, bits: u32) -> Ipv6Addr {
    Ipv6Addr::from_bits(ip.to_bits() & u128::MAX.checked_shl(128 - bits).unwrap_or(0))
}

/// How many places each site has.
#[derive(Debug, Default)]
pub(crate) struct Sites(HashMap<Site, usize>);

impl Sites {
    /// Whether a site may have another place if this many are `free`. `max` is a fixed limit instead. `None`, which is
    /// not counted, always may.
    pub(crate) fn may_have_another(&self, site: Option<Site>, free: usize, max: Option<usize>) -> bool {
        site.is_none_or(|site| self.0.get(&site).copied().unwrap_or(0) < max.unwrap_or(free))
    }

    pub(crate) fn add(&mut self, site: Option<Site>) {
        if let Some(site) = site {
            *self.0.entry(site).or_default() += 1;
        }
    }

    pub(crate) fn remove(&mut self, site: Option<Site>) {
        if let Some(site) = site
            && let Some(count) = self.0.get_mut(&site)
        {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&site);
                give_back_room(&mut self.0);
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
