//! A set of networks that is searched often and changed rarely.

use std::net::IpAddr;

use ipnet::IpNet;

/// A set of networks and single addresses. A lookup is one binary search, however many there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefixes(
    /// Sorted, and without overlaps.
    Vec<IpNet>,
);

impl Prefixes {
    /// Whether one of the networks contains `address`.
    pub fn contains(&self, address: &IpAddr) -> bool {
        let behind = self.0.partition_point(|net| net.network() <= *address);
        self.0[..behind].last().is_some_and(|net| net.contains(address))
    }

    /// The networks, in order.
    pub fn iter(&self) -> impl Iterator<Item = &IpNet> {
        self.0.iter()
    }
}

impl FromIterator<IpNet> for Prefixes {
    fn from_iter<I: IntoIterator<Item = IpNet>>(nets: I) -> Self {
        let mut nets = IpNet::aggregate(&nets.into_iter().map(|net| net.trunc()).collect());
        nets.sort_unstable_by_key(IpNet::network);
        Self(nets)
    }
}

impl FromIterator<IpAddr> for Prefixes {
    fn from_iter<I: IntoIterator<Item = IpAddr>>(addresses: I) -> Self {
        addresses.into_iter().map(IpNet::from).collect()
    }
}

impl Extend<IpAddr> for Prefixes {
    fn extend<I: IntoIterator<Item = IpAddr>>(&mut self, addresses: I) {
        let nets = std::mem::take(&mut self.0);
        *self = nets.into_iter().chain(addresses.into_iter().map(IpNet::from)).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(nets: &[&str]) -> Prefixes {
        nets.iter().map(|net| net.parse::<IpNet>().unwrap()).collect()
    }

    fn has(set: &Prefixes, address: &str) -> bool {
        set.contains(&address.parse().unwrap())
    }

    #[test]
    fn borders_are_exact_and_families_apart() {
        let set = set(&["10.0.0.0/8", "203.0.113.50/32", "2001:db8:1::/64", "::1/128"]);
        for inside in
            ["10.0.0.0", "10.255.255.255", "203.0.113.50", "2001:db8:1::", "2001:db8:1::ffff:ffff:ffff:ffff", "::1"]
        {
            assert!(has(&set, inside), "{inside}");
        }
        for outside in [
            "9.255.255.255",
            "11.0.0.0",
            "203.0.113.49",
            "203.0.113.51",
            "2001:db8:0:ffff:ffff:ffff:ffff:ffff",
            "2001:db8:1:1::",
            "::",
            "::2",
            "::a00:1",
        ] {
            assert!(!has(&set, outside), "{outside}");
        }
    }

    #[test]
    fn overlaps_do_not_hide_what_is_behind_them() {
        let set = set(&["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/24", "10.1.2.3/32"]);
        assert!(has(&set, "10.200.0.1") && has(&set, "10.1.2.4"));
        assert_eq!(set.iter().count(), 1);
    }

    #[test]
    fn everything_is_a_prefix_too() {
        let set = set(&["0.0.0.0/0"]);
        assert!(has(&set, "0.0.0.0") && has(&set, "255.255.255.255") && !has(&set, "::"));
        assert!(!has(&Prefixes::default(), "10.0.0.1"));
    }

    #[test]
    fn addresses_are_added_to_networks() {
        let mut set = set(&["10.0.0.0/30"]);
        set.extend(["10.0.0.9".parse().unwrap(), "2001:db8::1".parse::<IpAddr>().unwrap()]);
        assert!(has(&set, "10.0.0.1") && has(&set, "10.0.0.9") && has(&set, "2001:db8::1"));
        assert!(!has(&set, "10.0.0.8"));
    }
}
