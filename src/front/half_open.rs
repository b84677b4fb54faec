//! Which connection must end when too many are half open.
//!
//! Each connection counts in several networks around its address, from the network of a single host to that of a
//! provider. Each network has a usual number of connections (a browser with spare connections, a few browsers in a
//! house), which is larger for a wider network. The weight of a network is how many times it exceeds its usual number.
//! So a flood weighs most in the narrowest network that contains it, however it is spread within that network, and its
//! neighbours in wider networks stay. The heaviest network loses its oldest connection. Among equals, for example if no
//! network has an unusual number, the oldest connection ends: honest clients are no longer half open after less than a
//! second, so they are not the oldest. No choice of an outsider's address changes this.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use tokio::sync::Notify;

use crate::values::sites::ipv6_network;

/// The weight of a connection from an address without a member. A connection from an address with a member weighs 1.
pub(super) const STRANGERS_WEIGHT: usize = 8;

/// A network that a connection belongs to: the bits of its prefix in IPv4 and in IPv6, and its usual number of
/// connections of strangers. Each row sets networks of about the same size side by side: the network of a host (/64 in
/// IPv6), of a house (/56), of a site (/48) and of a provider (/32, the smallest that registries give).
const NETWORKS: [(Option<u32>, u32, usize); 4] =
    [(Some(32), 64, 4), (None, 56, 8), (Some(24), 48, 16), (Some(16), 32, 32)];

/// Except for the network of a host, no usual number is more than this part of the limit on half-open connections.
const MOST_USUAL: usize = 8;

/// The half-open connections, by age and by the networks that they come from.
#[derive(Debug)]
pub(super) struct HalfOpen {
    max: usize,
    next: u64,
    connections: HashMap<u64, Connection>,
    networks: HashMap<Network, Members>,
    /// The last network is the one whose oldest connection ends next.
    by_weight: BTreeSet<(usize, Reverse<u64>, Network)>,
    /// How many connections were told to end and are still open.
    leaving: usize,
}

#[derive(Debug)]
struct Connection {
    address: IpAddr,
    weight: usize,
    must_go: Arc<Notify>,
}

/// A prefix and its index in [`NETWORKS`].
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, PartialOrd, Ord)]
struct Network(usize, IpAddr);

#[derive(Debug, Default)]
struct Members {
    /// Numbers of connections, oldest first.
    connections: BTreeSet<u64>,
    weight: usize,
}

impl Members {
    /// The place of the network in the order, if it has any connections.
    fn place(&self, network: Network, usual: usize) -> Option<(usize, Reverse<u64>, Network)> {
        self.connections.first().map(|oldest| (self.weight.div_ceil(usual), Reverse(*oldest), network))
    }
}

impl HalfOpen {
    /// No connections yet, and at most `max`.
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            next: 0,
            connections: HashMap::new(),
            networks: HashMap::new(),
            by_weight: BTreeSet::new(),
            leaving: 0,
        }
    }

    /// Adds a connection from `address` and returns its number. If that is one too many, one connection is told to end.
    pub(super) fn insert(&mut self, address: IpAddr, weight: usize, must_go: Arc<Notify>) -> u64 {
        let number = self.next;
        self.next += 1;
        self.connections.insert(number, Connection { address, weight, must_go });
        self.change(address, |members| {
            members.connections.insert(number);
            members.weight += weight;
        });
        if self.connections.len() > self.max {
            self.make_room();
        }
        number
    }

    /// Removes a connection that is no longer half open.
    pub(super) fn remove(&mut self, number: u64) {
        if self.take(number).is_none() {
            // The connection had been told to end.
            self.leaving -= 1;
        }
    }

    fn make_room(&mut self) {
        let next = self.by_weight.last().map(|(_, Reverse(oldest), _)| *oldest);
        if let Some(connection) = next.and_then(|oldest| self.take(oldest)) {
            connection.must_go.notify_one();
            self.leaving += 1;
        }
    }

    /// How many connections were not told to end.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.connections.len()
    }

    /// How many connections were told to end and are still open.
    pub(super) fn leaving(&self) -> usize {
        self.leaving
    }

    fn take(&mut self, number: u64) -> Option<Connection> {
        let connection = self.connections.remove(&number)?;
        self.change(connection.address, |members| {
            members.connections.remove(&number);
            members.weight -= connection.weight;
        });
        Some(connection)
    }

    fn change(&mut self, address: IpAddr, change: impl Fn(&mut Members)) {
        let most_usual = (self.max / MOST_USUAL).max(NETWORKS[0].2);
        for network in networks(address) {
            let usual = STRANGERS_WEIGHT * NETWORKS[network.0].2.min(most_usual);
            let members = self.networks.entry(network).or_default();
            if let Some(place) = members.place(network, usual) {
                self.by_weight.remove(&place);
            }
            change(members);
            match members.place(network, usual) {
                Some(place) => drop(self.by_weight.insert(place)),
                None => drop(self.networks.remove(&network)),
            }
        }
    }
}

fn networks(address: IpAddr) -> impl Iterator<Item = Network> {
    NETWORKS.iter().enumerate().filter_map(move |(index, (v4, v6, _))| {
        let prefix = match address {
            IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits() & u32::MAX.checked_shl(32 - (*v4)?).unwrap_or(0)).into(),
            IpAddr::V6(ip) => ipv6_network(ip, *v6).into(),
        };
        Some(Network(index, prefix))
    })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    /// The connections of a server, at most `max`.
    struct World {
        half_open: HalfOpen,
        told: Vec<(u64, Arc<Notify>)>,
    }

    impl World {
        fn new(max: usize) -> Self {
            Self { half_open: HalfOpen::new(max), told: Vec::new() }
        }

        /// A connection of a stranger arrives. If that is one too many, another one ends.
        fn comes(&mut self, address: &str) -> u64 {
            self.comes_from(address.parse().unwrap())
        }

        fn comes_from(&mut self, address: IpAddr) -> u64 {
            let must_go = Arc::new(Notify::new());
            let number = self.half_open.insert(address, STRANGERS_WEIGHT, must_go.clone());
            self.told.push((number, must_go));
            number
        }

        fn stays(&self, number: u64) -> bool {
            self.half_open.connections.contains_key(&number)
        }

        /// `count` connections of a flood, each from the address that `address` makes from its number. None of them
        /// must end at once.
        fn flood(&mut self, count: u128, address: impl Fn(u128) -> IpAddr) {
            for index in 0..count {
                let number = self.comes_from(address(index));
                assert!(self.stays(number), "the newcomer {index}");
            }
        }
    }

    fn v6(prefix: &str, bits: u32, index: u128) -> IpAddr {
        let prefix: Ipv6Addr = prefix.parse().unwrap();
        Ipv6Addr::from_bits(prefix.to_bits() | index << (128 - bits)).into()
    }

    fn v4(prefix: [u8; 2], index: u128) -> IpAddr {
        IpAddr::from([prefix[0], prefix[1], (index >> 8) as u8, index as u8])
    }

    /// Honest clients that connect during a flood stay: each kind with one connection, and as a browser with two spare
    /// ones.
    fn honest_stay(max: usize, flood: impl Fn(u128) -> IpAddr) {
        let mut world = World::new(max);
        world.flood(max as u128, &flood);
        let honest: Vec<_> = ["192.0.2.1", "2a02:1::1", "2a02:1::1", "203.0.113.9", "203.0.113.9", "203.0.113.9"]
            .into_iter()
            .chain(["2a0e:5:5:1::2"; 3])
            .map(|address| world.comes(address))
            .collect();
        world.flood(3 * max as u128, |index| flood(index + max as u128));
        for number in honest {
            assert!(world.stays(number), "{number} had to go");
        }
        assert_eq!(world.half_open.len(), max);
    }

    #[test]
    fn a_network_counts_however_a_flood_is_spread_in_it() {
        for max in [64, 500, 4096] {
            // Floods from one address and one /64, spread over the /64s of a /56, of a /48 and of a /32, and over its
            // /56s and /48s.
            honest_stay(max, |_| v4([198, 18], 1));
            honest_stay(max, |index| v6("2001:db8:7:7::", 128, index));
            honest_stay(max, |index| v6("2001:db8:7:100::", 64, index % 256));
            honest_stay(max, |index| v6("2001:db8:7::", 64, index % 65_536));
            honest_stay(max, |index| v6("2001:db8:7::", 56, index % 256));
            honest_stay(max, |index| v6("2001:db8::", 64, index * 0x1_0001));
            honest_stay(max, |index| v6("2001:db8::", 56, index % (1 << 24)));
            honest_stay(max, |index| v6("2001:db8::", 48, index % 65_536));
            // Floods spread over a /24 and over a /16 of IPv4, and over both families at once.
            honest_stay(max, |index| v4([198, 18], index % 256));
            honest_stay(max, |index| v4([198, 18], index % 65_536));
            honest_stay(max, |index| {
                if index % 2 == 0 { v4([198, 18], index % 65_536) } else { v6("2001:db8::", 64, index % (1 << 32)) }
            });
        }
    }

    #[test]
    fn neighbours_in_a_wider_network_stay() {
        let mut world = World::new(500);
        world.flood(500, |index| v6("2001:db8:7:100::", 64, index % 256));
        let [house, site] = ["2001:db8:7:200::1", "2001:db8:8::1"].map(|address| world.comes(address));
        world.flood(2000, |index| v6("2001:db8:7:100::", 64, index % 256));
        assert!(world.stays(house) && world.stays(site));
    }

    #[test]
    fn among_equals_the_oldest_goes_whatever_its_address() {
        let addresses = ["255.255.255.255", "0.0.0.1", "9.9.9.9", "2a02::1", "2a02:0:0:1::", "ff00::1", "::2"];
        for first in 0..addresses.len() {
            let mut world = World::new(addresses.len());
            let numbers: Vec<_> =
                (0..addresses.len()).map(|n| world.comes(addresses[(first + n) % addresses.len()])).collect();
            for (gone, number) in numbers.iter().enumerate() {
                assert!(world.stays(*number));
                world.comes_from(v4([20 + 30 * gone as u8, 1], 1));
                assert!(!world.stays(*number), "the {gone}th of them, {first} first");
            }
        }
    }

    #[test]
    fn a_browser_with_spare_connections_is_nothing_unusual() {
        let mut world = World::new(100);
        // Each connection comes from a different provider.
        world.flood(97, |index| v4([1 + index as u8, 7], 1));
        let browser: Vec<_> = (0..3).map(|_| world.comes("2a02::1")).collect();
        world.flood(97, |index| v4([101 + index as u8, 7], 1));
        assert!(browser.iter().all(|number| world.stays(*number)));
    }

    #[test]
    fn who_trickles_in_and_stays_makes_room_too() {
        let mut world = World::new(64);
        world.flood(64, |index| v4([1 + index as u8, 3], index));
        for round in 0..64 {
            let honest = world.comes(if round % 2 == 0 { "192.0.2.1" } else { "2a02::1" });
            world.flood(20, |index| v4([100 + index as u8, round], index));
            assert!(world.stays(honest));
            world.half_open.remove(honest);
        }
    }

    #[test]
    fn nothing_is_left_of_those_who_went() {
        let mut world = World::new(10);
        world.flood(50, |index| v6("2001:db8::", 64, index));
        world.flood(50, |index| v4([10, 1], index));
        assert_eq!((world.half_open.len(), world.half_open.leaving()), (10, 90));
        for (number, _) in std::mem::take(&mut world.told) {
            world.half_open.remove(number);
        }
        let HalfOpen { connections, networks, by_weight, leaving, .. } = &world.half_open;
        assert!(connections.is_empty() && networks.is_empty() && by_weight.is_empty() && *leaving == 0);
    }
}
