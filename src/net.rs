//! The addresses of this host, and the choice of a relayed address if none is configured.
//!
//! [`Interfaces::read`] asks the system, and [`Changes`] tells when to ask again. Everything else is a pure function of
//! the result. Nothing is sent to the network.

mod changes;
mod kernel;
mod proc;
mod purpose;
mod route;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

pub use self::{changes::Changes, purpose::Purpose};
use self::{kernel::Found, route::RouteKind};
use crate::values::{
    family::{ByFamily, Family},
    prefixes::Prefixes,
    relayed_address::RelayedAddress,
};

/// One address of one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// The name of the interface.
    pub interface: String,
    /// The address.
    pub address: IpAddr,
    /// The length of the network prefix, in bits.
    pub prefix_len: u8,
    /// Whether the interface is up.
    pub up: bool,
    /// Whether the interface is the loopback interface.
    pub loopback: bool,
    /// The purpose of the interface.
    pub purpose: Purpose,
    /// Whether it is an IPv6 address that will not last: temporary (RFC 8981), deprecated, or not yet usable.
    pub short_lived: bool,
}

/// The network interfaces as they were at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interfaces {
    /// Every address, in the system's order.
    pub addresses: Vec<InterfaceAddress>,
    /// Gateways of default routes.
    pub gateways: Vec<IpAddr>,
    /// The source addresses of the default routes.
    pub default_route: ByFamily<Option<IpAddr>>,
    /// Routes that lead to this host itself.
    pub local: LocalRoutes,
}

/// Destinations that the kernel does not only send to other hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalRoutes {
    /// This host.
    pub local: Vec<IpNet>,
    /// This host, and perhaps others: the first address of an IPv6 network belongs to its routers.
    pub anycast: Vec<IpNet>,
    /// This host and all others of a network.
    pub broadcast: Vec<IpNet>,
}

/// Addresses that belong to this host or to its gateways. Data for peers there must not go through the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnAddresses {
    /// All local, anycast and broadcast addresses of the kernel, those of every interface, and `--public-ip`.
    pub addresses: Prefixes,
    /// Gateways of default routes.
    pub gateways: Vec<IpAddr>,
}

/// A relayed address, and how it was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// The address.
    pub address: RelayedAddress,
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
        Self::of(&Found::read(), ByFamily::new(default_source))
    }

    fn of(found: &Found, default_route: ByFamily<Option<IpAddr>>) -> Self {
        let mut interfaces = Self { default_route, ..Self::default() };
        let ports = |bridge: u32| found.links.values().filter(move |link| link.controller == Some(bridge));
        for one in &found.addresses {
            let link = found.links.get(&one.link);
            let ports: Vec<_> = ports(one.link).map(|port| port.kind.clone()).collect();
            interfaces.addresses.push(InterfaceAddress {
                interface: link.map_or_else(|| format!("interface {}", one.link), |link| link.name.clone()),
                address: one.address,
                prefix_len: one.prefix_len,
                up: link.is_none_or(|link| link.up),
                loopback: link.map_or(one.address.is_loopback(), |link| link.loopback),
                purpose: link.map_or(Purpose::Network, |link| Purpose::of(&link.name, &link.kind, &ports)),
                short_lived: one.short_lived,
            });
        }
        for route in found.routes.iter().filter(|route| found.applies(route)) {
            match route.kind {
                RouteKind::Local => interfaces.local.local.push(route.destination),
                RouteKind::Anycast => interfaces.local.anycast.push(route.destination),
                RouteKind::Broadcast => interfaces.local.broadcast.push(route.destination),
                RouteKind::Default => {}
            }
        }
        interfaces.gateways = found.routes.iter().flat_map(|route| route.gateways.iter().copied()).collect();
        interfaces.gateways.sort_unstable();
        interfaces.gateways.dedup();
        interfaces.add_what_was_not_told();
        interfaces
    }

    /// Adds the source addresses of the default routes, in case the kernel does not list its addresses.
    fn add_what_was_not_told(&mut self) {
        for source in self.default_route.iter().copied().collect::<Vec<_>>() {
            if !self.has(source) {
                self.addresses.push(InterfaceAddress {
                    interface: "unknown".to_owned(),
                    address: source,
                    prefix_len: if source.is_ipv4() { 32 } else { 128 },
                    up: true,
                    loopback: source.is_loopback(),
                    purpose: Purpose::Network,
                    short_lived: false,
                });
            }
        }
        if self.addresses.is_empty() {
            self.addresses.push(InterfaceAddress {
                interface: "lo".to_owned(),
                address: Ipv4Addr::LOCALHOST.into(),
                prefix_len: 8,
                up: true,
                loopback: true,
                purpose: Purpose::Network,
                short_lived: false,
            });
        }
    }

    /// The relayed addresses: the `configured` one of a family, else the best one found.
    pub fn relayed_addresses(&self, configured: ByFamily<Option<IpAddr>>) -> ByFamily<Option<Chosen>> {
        let chosen = ByFamily::new(|family| match configured[family] {
            Some(advertised) => {
                let bind = if self.has(advertised) { advertised } else { unspecified(family) };
                Some(Chosen { address: RelayedAddress { advertised, bind }, choice: Choice::Configured })
            }
            None => self.find(family),
        });
        // A loopback address is useful only if neither family has another one.
        let is_of_use = |one: &Chosen| one.choice != Choice::OnlyLoopback;
        if chosen.iter().any(is_of_use) { ByFamily::new(|family| chosen[family].filter(is_of_use)) } else { chosen }
    }

    /// What the peer policy needs to know about this host.
    pub fn own_addresses(&self, configured: ByFamily<Option<IpAddr>>) -> OwnAddresses {
        let LocalRoutes { local, anycast, broadcast } = &self.local;
        let routes = local.iter().chain(anycast).chain(broadcast).copied();
        // These are for a kernel that does not list its routes, or only a part of them.
        let nets = self.addresses.iter().flat_map(InterfaceAddress::own);
        let addresses = routes.chain(nets).chain(configured.iter().copied().map(IpNet::from)).collect();
        OwnAddresses { addresses, gateways: self.gateways.clone() }
    }

    /// Addresses at which people on the same network can open the server: private and global addresses of interfaces
    /// that are up. The address of the default route comes first (on a host of virtual machines, it may belong to a
    /// bridge).
    pub fn reachable(&self) -> Vec<IpAddr> {
        let is_good = |one: &&InterfaceAddress| {
            !is_464xlat(one.address) && (one.usable() && !one.short_lived || self.is_default_source(one.address))
        };
        let mut addresses: Vec<_> = self.addresses.iter().filter(is_good).map(|one| one.address).collect();
        addresses.sort_by_key(|address| (address.is_ipv6(), !self.is_default_source(*address)));
        addresses
    }

    fn has(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|one| one.address == address)
    }

    fn is_default_source(&self, address: IpAddr) -> bool {
        self.default_route[Family::of(address)] == Some(address)
    }

    fn find(&self, family: Family) -> Option<Chosen> {
        let chosen =
            |address, choice| Chosen { address: RelayedAddress { advertised: address, bind: address }, choice };
        let of_family: Vec<_> = self.addresses.iter().filter(|one| Family::of(one.address) == family).collect();
        if let Some(source) = self.default_route[family]
            && let Some(one) = of_family.iter().find(|one| one.address == source && rank(source).is_some())
        {
            // The kernel prefers temporary addresses as sources, but an allocation should outlive them.
            let stable = of_family.iter().find(|other| {
                one.short_lived
                    && !other.short_lived
                    && other.interface == one.interface
                    && rank(other.address) == rank(source)
            });
            return Some(chosen(stable.unwrap_or(one).address, Choice::DefaultRoute));
        }
        let best = of_family
            .iter()
            .filter(|one| one.usable())
            .min_by_key(|one| (is_464xlat(one.address), one.purpose, rank(one.address), one.short_lived));
        if let Some(best) = best {
            return Some(chosen(best.address, Choice::BestGuess));
        }
        let loopback = of_family.iter().find(|one| one.loopback && one.up)?;
        Some(chosen(loopback.address, Choice::OnlyLoopback))
    }
}

impl InterfaceAddress {
    fn usable(&self) -> bool {
        self.up && !self.loopback && self.purpose != Purpose::Guests && rank(self.address).is_some()
    }

    /// The address itself, and the addresses of its network that reach this host among others: the directed broadcast
    /// in IPv4, and the anycast address of the routers in IPv6 (RFC 4291 section 2.6.1; not on links between two hosts,
    /// RFC 6164).
    fn own(&self) -> impl Iterator<Item = IpNet> {
        let shared = match self.address {
            IpAddr::V4(ip) => Ipv4Net::new(ip, self.prefix_len).ok().filter(|net| (1..31).contains(&net.prefix_len())),
            IpAddr::V6(_) => None,
        };
        let routers = match self.address {
            IpAddr::V6(ip) => Ipv6Net::new(ip, self.prefix_len).ok().filter(|net| (1..127).contains(&net.prefix_len())),
            IpAddr::V4(_) => None,
        };
        let shared = shared.map(|net| IpAddr::from(net.broadcast()));
        let routers = routers.map(|net| IpAddr::from(net.network()));
        [Some(self.address), shared, routers].into_iter().flatten().map(IpNet::from)
    }
}

/// Whether an address belongs to a translator to IPv6 (RFC 7335: 464XLAT, DS-Lite). All such hosts have the same
/// addresses, which nobody can reach from outside.
pub fn is_464xlat(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(ip) if ip.octets()[..3] == [192, 0, 0] && ip.octets()[3] < 8)
}

/// The preference among addresses if there is no default route: private before global. `None` means useless as a
/// relayed address.
fn rank(address: IpAddr) -> Option<u8> {
    match address {
        IpAddr::V4(ip) if ip.is_loopback() || ip.is_link_local() || ip.is_unspecified() || ip.is_multicast() => None,
        IpAddr::V4(ip) if ip.is_private() => Some(0),
        IpAddr::V4(_) => Some(1),
        IpAddr::V6(ip) if ip.is_unique_local() => Some(0),
        // So far, global unicast is 2000::/3 (RFC 4291 section 2.4 and IANA's registry).
        IpAddr::V6(ip) if ip.segments()[0] & 0xe000 == 0x2000 => Some(1),
        IpAddr::V6(_) => None,
    }
}

fn unspecified(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// The source address of the default route. Connecting a UDP socket sends nothing, and shows which address the kernel
/// would use. The target is the TURN anycast address (RFC 8155 section 8), which is on no link, so only the default
/// route leads there.
fn default_source(family: Family) -> Option<IpAddr> {
    let anycast: IpAddr = match family {
        Family::V4 => Ipv4Addr::new(192, 0, 0, 10).into(),
        Family::V6 => Ipv6Addr::new(0x2001, 1, 0, 0, 0, 0, 0, 2).into(),
    };
    let socket = UdpSocket::bind((unspecified(family), 0)).ok()?;
    socket.connect((anycast, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests;
