//! This host's addresses, and which of them is relayed from when nobody says so.
//!
//! [`Interfaces::read`] asks the system; everything else is a pure function of what it found. Nothing is sent.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

use crate::config::PublicIps;

/// One address of one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// Name of the interface.
    pub interface: String,
    /// The address.
    pub address: IpAddr,
    /// Bits of the network part.
    pub prefix_len: u8,
    /// The interface is up.
    pub up: bool,
    /// The interface is the loopback interface.
    pub loopback: bool,
    /// The interface is a bridge of containers or virtual machines.
    pub bridge: bool,
    /// An IPv6 address that will not last: temporary (RFC 8981), deprecated, or not yet usable.
    pub short_lived: bool,
}

/// The network interfaces as they were at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interfaces {
    /// Every address, in the system's order.
    pub addresses: Vec<InterfaceAddress>,
    /// Gateways of default routes.
    pub gateways: Vec<IpAddr>,
    /// The source addresses of the default routes, one per family at most.
    pub default_route: PublicIps,
}

/// Addresses that belong to this host or to its way out; peers may not be reached there through the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnAddresses {
    /// Of every interface, and `--public-ip`.
    pub addresses: Vec<IpAddr>,
    /// Gateways of default routes.
    pub gateways: Vec<IpAddr>,
}

/// Where relaying happens: what peers see, and what sockets are bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayedAddress {
    /// The address that peers see.
    pub advertised: IpAddr,
    /// The local address that sockets are bound to; the wildcard where `advertised` is on no interface (1:1 NAT).
    pub bind: IpAddr,
    /// How it was chosen.
    pub choice: Choice,
}

/// How a relayed address was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// By `--public-ip`.
    Configured,
    /// It is the address of the default route.
    DefaultRoute,
    /// There is no default route: it is the best address of an interface that is up.
    BestGuess,
    /// There are only loopback interfaces.
    OnlyLoopback,
}

impl Interfaces {
    /// Asks the system.
    pub fn read() -> Self {
        let mut found = Self {
            addresses: Vec::new(),
            gateways: Vec::new(),
            default_route: PublicIps { v4: default_source_v4(), v6: default_source_v6() },
        };
        for interface in netdev::get_interfaces() {
            let address = |address: IpAddr, prefix_len| InterfaceAddress {
                interface: interface.name.clone(),
                address,
                prefix_len,
                up: interface.is_up(),
                loopback: interface.is_loopback(),
                bridge: is_bridge(&interface),
                short_lived: false,
            };
            found.addresses.extend(interface.ipv4.iter().map(|net| address(net.addr().into(), net.prefix_len())));
            for (i, net) in interface.ipv6.iter().enumerate() {
                let short_lived = interface
                    .ipv6_addr_flags
                    .get(i)
                    .is_some_and(|flags| flags.temporary || flags.deprecated || flags.tentative || flags.duplicated);
                found.addresses.push(InterfaceAddress { short_lived, ..address(net.addr().into(), net.prefix_len()) });
            }
            if let Some(gateway) = &interface.gateway {
                found.gateways.extend(gateway.ipv4.iter().copied().map(IpAddr::V4));
                found.gateways.extend(gateway.ipv6.iter().copied().map(IpAddr::V6));
            }
        }
        found.gateways.sort_unstable();
        found.gateways.dedup();
        found
    }

    /// The relayed addresses, IPv4 before IPv6: `configured` where a family has one, else the best found.
    pub fn relayed_addresses(&self, configured: PublicIps) -> Vec<RelayedAddress> {
        let mut chosen = Vec::new();
        for (configured, found) in [
            (configured.v4.map(IpAddr::V4), self.find(IpAddr::is_ipv4)),
            (configured.v6.map(IpAddr::V6), self.find(IpAddr::is_ipv6)),
        ] {
            match (configured, found) {
                (Some(advertised), _) => {
                    let bind = if self.has(advertised) { advertised } else { unspecified(advertised) };
                    chosen.push(RelayedAddress { advertised, bind, choice: Choice::Configured });
                }
                (None, Some((address, choice))) => {
                    chosen.push(RelayedAddress { advertised: address, bind: address, choice });
                }
                (None, None) => {}
            }
        }
        // A loopback address is of use only where there is nothing else at all, in either family.
        if chosen.iter().any(|address| address.choice != Choice::OnlyLoopback) {
            chosen.retain(|address| address.choice != Choice::OnlyLoopback);
        }
        chosen
    }

    /// What the peer policy needs to know about this host.
    pub fn own_addresses(&self, configured: PublicIps) -> OwnAddresses {
        let mut addresses: Vec<_> = self.addresses.iter().map(|one| one.address).chain(configured.iter()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        OwnAddresses { addresses, gateways: self.gateways.clone() }
    }

    /// Addresses at which people on the same network can open the server: private and global, of interfaces that are
    /// up, the default route's first (which may be a bridge's, on a host of virtual machines).
    pub fn reachable(&self) -> Vec<IpAddr> {
        let is_good = |one: &&InterfaceAddress| one.usable() && !one.short_lived || self.is_default_source(one.address);
        let mut addresses: Vec<_> = self.addresses.iter().filter(is_good).map(|one| one.address).collect();
        addresses.sort_by_key(|address| (address.is_ipv6(), !self.is_default_source(*address)));
        addresses
    }

    fn has(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|one| one.address == address)
    }

    fn is_default_source(&self, address: IpAddr) -> bool {
        self.default_route.iter().any(|source| source == address)
    }

    fn find(&self, family: fn(&IpAddr) -> bool) -> Option<(IpAddr, Choice)> {
        let of_family: Vec<_> = self.addresses.iter().filter(|one| family(&one.address)).collect();
        if let Some(source) = self.default_route.iter().find(family)
            && let Some(one) = of_family.iter().find(|one| one.address == source && rank(source).is_some())
        {
            // The kernel prefers temporary addresses for what goes out; an allocation should outlive them.
            let stable = of_family.iter().find(|other| {
                one.short_lived
                    && !other.short_lived
                    && other.interface == one.interface
                    && rank(other.address) == rank(source)
            });
            return Some((stable.unwrap_or(one).address, Choice::DefaultRoute));
        }
        let best = of_family.iter().filter(|one| one.usable()).min_by_key(|one| (rank(one.address), one.short_lived));
        if let Some(best) = best {
            return Some((best.address, Choice::BestGuess));
        }
        let loopback = of_family.iter().find(|one| one.loopback && one.up)?;
        Some((loopback.address, Choice::OnlyLoopback))
    }
}

impl InterfaceAddress {
    fn usable(&self) -> bool {
        self.up && !self.loopback && !self.bridge && rank(self.address).is_some()
    }
}

/// Preference among addresses without a default route: private before global. `None`: useless as a relayed address.
fn rank(address: IpAddr) -> Option<u8> {
    match address {
        IpAddr::V4(ip) if ip.is_loopback() || ip.is_link_local() || ip.is_unspecified() || ip.is_multicast() => None,
        IpAddr::V4(ip) if ip.is_private() => Some(0),
        IpAddr::V4(_) => Some(1),
        IpAddr::V6(ip) if ip.is_unique_local() => Some(0),
        // Global unicast is 2000::/3 so far (RFC 4291 section 2.4 and IANA's registry).
        IpAddr::V6(ip) if ip.segments()[0] & 0xe000 == 0x2000 => Some(1),
        IpAddr::V6(_) => None,
    }
}

fn unspecified(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// Bridges of Docker, Podman, libvirt, LXC and CNI; their addresses are for the guests on this host.
fn is_bridge(interface: &netdev::Interface) -> bool {
    let name = interface.name.as_str();
    interface.if_type == netdev::interface::types::InterfaceType::Bridge
        || ["docker", "br-", "virbr", "podman", "lxcbr", "lxdbr", "incusbr", "cni", "flannel."]
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

/// Connecting a UDP socket sends nothing, and tells which address the kernel would use. The target is the TURN
/// anycast address (RFC 8155 section 8): on no link, so that only the default route leads there.
fn default_source_v4() -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 0, 10), 9)).ok()?;
    match socket.local_addr().ok()? {
        SocketAddr::V4(address) => Some(*address.ip()),
        SocketAddr::V6(_) => None,
    }
}

fn default_source_v6() -> Option<Ipv6Addr> {
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv6Addr::new(0x2001, 1, 0, 0, 0, 0, 0, 2), 9)).ok()?;
    match socket.local_addr().ok()? {
        SocketAddr::V6(address) => Some(*address.ip()),
        SocketAddr::V4(_) => None,
    }
}

/// What to tell when a listener cannot be bound: the address, the flag that sets it, and what to do.
pub fn bind_error(address: SocketAddr, flag: &str, error: &io::Error) -> String {
    let remedy: &dyn fmt::Display = match error.kind() {
        io::ErrorKind::AddrInUse => &"another program uses this address; stop it or choose another port",
        io::ErrorKind::AddrNotAvailable => &"this host does not have this address",
        io::ErrorKind::PermissionDenied if address.port() < 1024 => {
            &"ports below 1024 need a privilege (CAP_NET_BIND_SERVICE)"
        }
        _ => error,
    };
    format!("cannot listen on {address} ({flag}): {remedy}")
}

/// Whether binding failed because this host does not do IPv6 (or IPv4) at all.
pub fn family_is_missing(error: &io::Error) -> bool {
    use nix::errno::Errno;
    let missing = [Errno::EAFNOSUPPORT, Errno::EADDRNOTAVAIL, Errno::EPROTONOSUPPORT];
    error.raw_os_error().is_some_and(|code| missing.contains(&Errno::from_raw(code)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(interface: &str, address: &str) -> InterfaceAddress {
        InterfaceAddress {
            interface: interface.to_owned(),
            address: address.parse().unwrap(),
            prefix_len: 24,
            up: true,
            loopback: interface == "lo",
            bridge: interface.starts_with("docker"),
            short_lived: false,
        }
    }

    fn host(addresses: &[(&str, &str)], default_route: &[&str]) -> Interfaces {
        let mut interfaces = Interfaces::default();
        interfaces.addresses.extend([one("lo", "127.0.0.1"), one("lo", "::1")]);
        interfaces.addresses.extend(addresses.iter().map(|(interface, address)| one(interface, address)));
        for source in default_route {
            match source.parse().unwrap() {
                IpAddr::V4(ip) => interfaces.default_route.v4 = Some(ip),
                IpAddr::V6(ip) => interfaces.default_route.v6 = Some(ip),
            }
        }
        interfaces
    }

    fn found(interfaces: &Interfaces) -> Vec<(String, Choice)> {
        let relayed = interfaces.relayed_addresses(PublicIps::default());
        relayed.into_iter().map(|one| (one.advertised.to_string(), one.choice)).collect()
    }

    #[test]
    fn the_default_route_decides() {
        let host = host(
            &[("eth1", "10.0.0.1"), ("eth0", "203.0.113.5"), ("eth0", "2001:db8::5"), ("eth0", "fe80::1")],
            &["203.0.113.5", "2001:db8::5"],
        );
        assert_eq!(
            found(&host),
            [("203.0.113.5".to_owned(), Choice::DefaultRoute), ("2001:db8::5".to_owned(), Choice::DefaultRoute)]
        );
    }

    #[test]
    fn without_a_default_route_private_comes_first_and_bridges_do_not_count() {
        let two = host(&[("docker0", "172.17.0.1"), ("eth1", "203.0.113.5"), ("eth0", "192.168.1.5")], &[]);
        assert_eq!(found(&two), [("192.168.1.5".to_owned(), Choice::BestGuess)]);
        let one = host(&[("docker0", "172.17.0.1"), ("eth1", "203.0.113.5")], &[]);
        assert_eq!(found(&one), [("203.0.113.5".to_owned(), Choice::BestGuess)]);
    }

    #[test]
    fn interfaces_that_are_down_do_not_count() {
        let mut host = host(&[("eth0", "192.168.1.5"), ("eth1", "10.0.0.5")], &[]);
        host.addresses[2].up = false;
        assert_eq!(found(&host), [("10.0.0.5".to_owned(), Choice::BestGuess)]);
    }

    #[test]
    fn link_local_alone_is_no_relay() {
        let host = host(&[("eth0", "192.168.1.5"), ("eth0", "fe80::1")], &["192.168.1.5"]);
        assert_eq!(found(&host), [("192.168.1.5".to_owned(), Choice::DefaultRoute)]);
    }

    #[test]
    fn only_loopback_is_the_last_resort() {
        assert_eq!(
            found(&host(&[], &[])),
            [("127.0.0.1".to_owned(), Choice::OnlyLoopback), ("::1".to_owned(), Choice::OnlyLoopback)]
        );
        assert_eq!(found(&Interfaces::default()), []);
        // A host with IPv6 alone offers no 127.0.0.1 beside it.
        let ipv6 = host(&[("eth0", "2001:db8::5")], &["2001:db8::5"]);
        assert_eq!(found(&ipv6), [("2001:db8::5".to_owned(), Choice::DefaultRoute)]);
    }

    #[test]
    fn a_temporary_source_gives_way_to_a_stable_address() {
        let mut host =
            host(&[("eth0", "2001:db8::aaaa"), ("eth0", "fd00::5"), ("eth0", "2001:db8::5")], &["2001:db8::aaaa"]);
        host.addresses[2].short_lived = true;
        assert_eq!(found(&host), [("2001:db8::5".to_owned(), Choice::DefaultRoute)]);
        host.addresses.pop();
        assert_eq!(found(&host), [("2001:db8::aaaa".to_owned(), Choice::DefaultRoute)]);
    }

    #[test]
    fn a_configured_address_wins_and_is_bound_only_where_it_exists() {
        let host = host(&[("eth0", "10.0.0.5"), ("eth0", "203.0.113.7")], &["10.0.0.5"]);
        let relayed = |ip: &str| {
            let configured = PublicIps { v4: Some(ip.parse().unwrap()), v6: None };
            host.relayed_addresses(configured)[0]
        };
        assert_eq!(relayed("203.0.113.7").bind.to_string(), "203.0.113.7");
        let nat = relayed("198.51.100.9");
        assert_eq!(
            (nat.advertised.to_string(), nat.bind.to_string()),
            ("198.51.100.9".to_owned(), "0.0.0.0".to_owned())
        );
        assert_eq!(nat.choice, Choice::Configured);
    }

    #[test]
    fn own_addresses_hold_all_interfaces_and_the_public_ip() {
        let host = host(&[("docker0", "172.17.0.1"), ("eth0", "10.0.0.5")], &[]);
        let own = host.own_addresses(PublicIps { v4: Some(Ipv4Addr::new(203, 0, 113, 9)), v6: None });
        let own: Vec<_> = own.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(own, ["10.0.0.5", "127.0.0.1", "172.17.0.1", "203.0.113.9", "::1"]);
    }

    #[test]
    fn reachable_addresses_begin_with_the_default_route() {
        let host = host(
            &[("eth1", "10.0.0.1"), ("docker0", "172.17.0.1"), ("eth0", "192.168.1.5"), ("eth0", "fe80::1")],
            &["192.168.1.5"],
        );
        let reachable: Vec<_> = host.reachable().iter().map(ToString::to_string).collect();
        assert_eq!(reachable, ["192.168.1.5", "10.0.0.1"]);
    }

    #[test]
    fn a_bridge_with_the_default_route_counts() {
        let host = host(&[("docker0", "192.168.1.5"), ("eth1", "10.0.0.1")], &["192.168.1.5"]);
        assert_eq!(found(&host), [("192.168.1.5".to_owned(), Choice::DefaultRoute)]);
        assert_eq!(host.reachable()[0].to_string(), "192.168.1.5");
    }

    #[test]
    fn reading_finds_at_least_what_the_system_routes_by() {
        let interfaces = Interfaces::read();
        for source in interfaces.default_route.iter() {
            assert!(interfaces.has(source), "{source} is on no interface: {interfaces:?}");
        }
    }

    #[test]
    fn an_address_in_use_names_the_flag() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error = std::net::TcpListener::bind(address).unwrap_err();
        let text = bind_error(address, "--listen", &error);
        assert!(
            text.contains(&address.to_string()) && text.contains("--listen") && text.contains("another program"),
            "{text}"
        );
    }
}
