//! Who has how many of what there are, by address: an address may have as many as are left for others.
//!
//! So one has half of all at most, and less the more such addresses there are; there is always a place for somebody who
//! has none yet. Pure: whoever counts asks, and says how many are left.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
};

/// The bits of what one site has in IPv6: with its /64s alone somebody could take all.
const SITE_BITS: u32 = 48;

/// An address that is counted: in IPv6 the network of a site.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(crate) struct Site(IpAddr);

impl Site {
    /// That of a client. Loopback has no limit of its own.
    pub(crate) fn of(client: IpAddr) -> Option<Self> {
        match client.to_canonical() {
            address if address.is_loopback() => None,
            IpAddr::V6(ip) => Some(Self(ipv6_network(ip, SITE_BITS).into())),
            address => Some(Self(address)),
        }
    }
}

/// The first address of the network of so many bits.
pub(crate) fn ipv6_network(ip: Ipv6Addr, bits: u32) -> Ipv6Addr {
    Ipv6Addr::from_bits(ip.to_bits() & u128::MAX.checked_shl(128 - bits).unwrap_or(0))
}

/// How many each has.
#[derive(Debug, Default)]
pub(crate) struct Sites(HashMap<Site, usize>);

impl Sites {
    /// Whether a site may have another one where so many are free; `max` is a fixed number instead. Who is not counted
    /// may.
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
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
