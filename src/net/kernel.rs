//! Interfaces, addresses, routes and rules, as the kernel reports them by rtnetlink. If the kernel refuses, the missing
//! lists are empty, except for routes, which are then read from files.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkBuffer, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressMessage},
    link::{LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
    route::{RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteType, RouteVia},
    rule::{RuleAttribute, RuleFlags, RuleMessage},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::{
    proc,
    purpose::LinkKind,
    route::{DEFAULT_MAX_PREFIX_LEN, LOCAL_TABLE, Route, RouteKind},
};

/// The tables that the kernel uses without additional rules: `local`, `main`, `default`.
const USUAL_TABLES: [u32; 3] = [LOCAL_TABLE, 254, 253];
/// How often to ask for a list if it changes while it is read.
const TRIES: usize = 4;

/// Everything that was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) links: HashMap<u32, Link>,
    pub(super) addresses: Vec<Address>,
    pub(super) routes: Vec<Route>,
    /// `None` if they are not known.
    pub(super) rules: Option<Vec<Rule>>,
}

#[derive(Debug, Default)]
pub(super) struct Link {
    pub(super) name: String,
    pub(super) kind: LinkKind,
    /// The bridge, or similar device, of which it is a port.
    pub(super) controller: Option<u32>,
    pub(super) up: bool,
    pub(super) loopback: bool,
}

#[derive(Debug)]
pub(super) struct Address {
    pub(super) link: u32,
    pub(super) address: IpAddr,
    pub(super) prefix_len: u8,
    pub(super) short_lived: bool,
}

/// A rule that may lead packets of sockets without a mark to a table.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) table: u32,
    /// The rule applies only to these sources, if any are given.
    pub(super) source: Option<IpNet>,
}

impl Found {
    pub(super) fn read() -> Self {
        let mut found = Self::default();
        for message in list(RouteNetlinkMessage::GetLink(LinkMessage::default())).messages {
            if let RouteNetlinkMessage::NewLink(link) = message {
                found.links.insert(link.header.index, Link::of(&link));
            }
        }
        for message in list(RouteNetlinkMessage::GetAddress(AddressMessage::default())).messages {
            if let RouteNetlinkMessage::NewAddress(address) = message {
                found.addresses.extend(Address::of(&address));
            }
        }
        for message in list(RouteNetlinkMessage::GetRoute(RouteMessage::default())).messages {
            if let RouteNetlinkMessage::NewRoute(route) = message {
                found.routes.extend(Route::of(&route));
            }
        }
        if found.routes.is_empty() {
            found.routes = proc::routes();
        }
        let rules = list(RouteNetlinkMessage::GetRule(RuleMessage::default()));
        found.rules = rules.is_whole.then(|| {
            let rule = |message| match message {
                RouteNetlinkMessage::NewRule(rule) => Rule::of(&rule),
                _ => None,
            };
            rules.messages.into_iter().filter_map(rule).collect()
        });
        found
    }

    /// Whether packets that this host sends may use this route.
    pub(super) fn applies(&self, route: &Route) -> bool {
        if USUAL_TABLES.contains(&route.table) {
            return true;
        }
        // The kernel does not use a table without a rule. A table for marked packets (of a transparent proxy) or for
        // loopback sources does not apply to packets of relays.
        let is_source =
            |net: &IpNet| self.addresses.iter().any(|one| !one.address.is_loopback() && net.contains(&one.address));
        match &self.rules {
            Some(rules) => {
                rules.iter().any(|rule| rule.table == route.table && rule.source.as_ref().is_none_or(is_source))
            }
            None => route.destination.prefix_len() > 0,
        }
    }
}

impl Link {
    fn of(message: &LinkMessage) -> Self {
        let mut link = Self {
            kind: LinkKind::Hardware,
            up: message.header.flags.contains(LinkFlags::Up),
            loopback: message.header.flags.contains(LinkFlags::Loopback),
            ..Self::default()
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name.clone_from(name),
                LinkAttribute::Controller(index) => link.controller = Some(*index).filter(|index| *index != 0),
                LinkAttribute::LinkInfo(infos) => {
                    for info in infos {
                        if let LinkInfo::Kind(kind) = info {
                            link.kind = LinkKind::Made(kind.to_string());
                        }
                    }
                }
                _ => {}
            }
        }
        link
    }
}

impl Address {
    fn of(message: &AddressMessage) -> Option<Self> {
        let (mut local, mut address, mut flags) = (None, None, AddressFlags::empty());
        for attribute in &message.attributes {
            match attribute {
                AddressAttribute::Local(ip) => local = Some(*ip),
                AddressAttribute::Address(ip) => address = Some(*ip),
                AddressAttribute::Flags(these) => flags = *these,
                _ => {}
            }
        }
        // On a point-to-point interface, the second address is the other end.
        let address = local.or(address)?;
        let passing =
            AddressFlags::Deprecated | AddressFlags::Tentative | AddressFlags::Dadfailed | AddressFlags::Secondary;
        Some(Self {
            link: message.header.index,
            address,
            prefix_len: message.header.prefix_len,
            // For IPv6 "secondary" means temporary.
            short_lived: address.is_ipv6() && flags.intersects(passing),
        })
    }
}

impl Route {
    fn of(message: &RouteMessage) -> Option<Self> {
        let header = &message.header;
        let any: IpAddr = match header.address_family {
            AddressFamily::Inet => Ipv4Addr::UNSPECIFIED.into(),
            AddressFamily::Inet6 => Ipv6Addr::UNSPECIFIED.into(),
            _ => return None,
        };
        // A cached entry for a single destination.
        if header.flags.contains(RouteFlags::Cloned) {
            return None;
        }
        let kind = match header.kind {
            RouteType::Local => RouteKind::Local,
            RouteType::Anycast => RouteKind::Anycast,
            RouteType::Broadcast => RouteKind::Broadcast,
            RouteType::Unicast if header.destination_prefix_length <= DEFAULT_MAX_PREFIX_LEN => RouteKind::Default,
            _ => return None,
        };
        let (mut table, mut destination, mut gateways) = (u32::from(header.table), any, Vec::new());
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Table(number) => table = *number,
                RouteAttribute::Destination(address) => destination = ip(address)?,
                RouteAttribute::MultiPath(hops) => {
                    gateways.extend(hops.iter().flat_map(|hop| &hop.attributes).filter_map(gateway));
                }
                other => gateways.extend(gateway(other)),
            }
        }
        let destination = IpNet::new(destination, header.destination_prefix_length).ok()?;
        Some(Self { kind, table, destination, gateways })
    }
}

impl Rule {
    fn of(message: &RuleMessage) -> Option<Self> {
        let header = &message.header;
        let mut rule = Self { table: u32::from(header.table), source: None };
        let mut applies = true;
        for attribute in &message.attributes {
            match attribute {
                RuleAttribute::Table(number) => rule.table = *number,
                RuleAttribute::FwMark(mark) => applies &= *mark == 0,
                RuleAttribute::Iifname(name) => applies &= name == "lo",
                RuleAttribute::Source(address) => rule.source = IpNet::new(*address, header.src_len).ok(),
                _ => {}
            }
        }
        if header.flags.contains(RuleFlags::Invert) {
            // "Not this mark" also matches sockets without a mark.
            return Some(Self { source: None, ..rule });
        }
        applies.then_some(rule)
    }
}

fn gateway(attribute: &RouteAttribute) -> Option<IpAddr> {
    match attribute {
        RouteAttribute::Gateway(address) => ip(address),
        RouteAttribute::Via(RouteVia::Inet(ip)) => Some((*ip).into()),
        RouteAttribute::Via(RouteVia::Inet6(ip)) => Some((*ip).into()),
        _ => None,
    }
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some((*ip).into()),
        RouteAddress::Inet6(ip) => Some((*ip).into()),
        _ => None,
    }
}

/// Whether this change can affect [`Found`]. On a router with a full table, most changes do not.
pub(super) fn matters(datagram: &[u8]) -> bool {
    messages(datagram).any(|message| match message.map(|message| message.payload) {
        Ok(NetlinkPayload::InnerMessage(
            RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route),
        )) => Route::of(&route).is_some(),
        // A message that cannot be read may be anything.
        _ => true,
    })
}

/// The answer to a request for a list.
#[derive(Default)]
struct List {
    messages: Vec<RouteNetlinkMessage>,
    /// Whether nothing of the list was refused or unreadable.
    is_whole: bool,
}

fn list(request: RouteNetlinkMessage) -> List {
    let mut list = List::default();
    for _ in 0..TRIES {
        match ask(&request) {
            Ok((answer, was_interrupted)) => {
                list = answer;
                if !was_interrupted {
                    break;
                }
            }
            Err(error) => {
                tracing::debug!(%error, "netlink");
                return list;
            }
        }
    }
    list
}

/// Asks once. Returns the list, and whether it changed meanwhile.
fn ask(request: &RouteNetlinkMessage) -> io::Result<(List, bool)> {
    let socket = open()?;
    let mut request = NetlinkMessage::from(request.clone());
    request.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket.send_to(&bytes, &SocketAddr::new(0, 0), 0)?;
    let (mut list, mut was_interrupted) = (List { is_whole: true, ..List::default() }, false);
    loop {
        // The kernel has answered before the request returns, so there is nothing to wait for.
        let (datagram, from) = socket.recv_from_full()?;
        if from.port_number() != 0 {
            continue;
        }
        for message in messages(&datagram) {
            let Ok(message) = message else {
                list.is_whole = false;
                continue;
            };
            was_interrupted |= message.header.flags & NLM_F_DUMP_INTR != 0;
            match message.payload {
                NetlinkPayload::InnerMessage(message) => list.messages.push(message),
                NetlinkPayload::Done(_) => return Ok((list, was_interrupted)),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                _ => {}
            }
        }
    }
}

/// A non-blocking socket.
pub(super) fn open() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.set_non_blocking(true)?;
    socket.bind_auto()?;
    Ok(socket)
}

/// The messages of a datagram; an error stands for one that cannot be read, or for all the rest.
fn messages(
    datagram: &[u8],
) -> impl Iterator<Item = Result<NetlinkMessage<RouteNetlinkMessage>, netlink_packet_core::DecodeError>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let len = match NetlinkBuffer::new_checked(rest) {
            Ok(message) => usize::try_from(message.length()).unwrap_or(usize::MAX),
            Err(error) => {
                rest = &[];
                return Some(Err(error));
            }
        };
        let message = NetlinkMessage::deserialize(&rest[..len.min(rest.len())]);
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(kind: RouteKind, table: u32, destination: &str) -> Route {
        Route { kind, table, destination: destination.parse().unwrap(), gateways: Vec::new() }
    }

    #[test]
    fn tables_of_others_do_not_count() {
        let rule = |table, source: Option<&str>| Rule { table, source: source.map(|net| net.parse().unwrap()) };
        let address = |ip: &str| Address { link: 1, address: ip.parse().unwrap(), prefix_len: 24, short_lived: false };
        let mut found = Found {
            addresses: vec![address("127.0.0.1"), address("10.0.0.5")],
            rules: Some(vec![
                rule(255, None),
                rule(7, None),
                rule(8, Some("127.0.0.0/8")),
                rule(9, Some("10.0.0.0/8")),
                rule(10, Some("192.168.0.0/16")),
            ]),
            ..Found::default()
        };
        let all = |found: &Found, table| found.applies(&route(RouteKind::Local, table, "0.0.0.0/0"));
        for (table, applies) in
            [(255, true), (254, true), (253, true), (7, true), (8, false), (9, true), (10, false), (100, false)]
        {
            assert_eq!(all(&found, table), applies, "{table}");
        }
        found.rules = None;
        assert!(!all(&found, 100) && found.applies(&route(RouteKind::Local, 100, "203.0.113.50/32")));
    }

    #[test]
    fn rules_for_marked_packets_are_not_for_relays() {
        let rule = |invert: bool, attributes: Vec<RuleAttribute>| {
            let mut message = RuleMessage::default();
            if invert {
                message.header.flags = RuleFlags::Invert;
            }
            message.attributes = attributes;
            message.attributes.push(RuleAttribute::Table(100));
            Rule::of(&message).map(|rule| rule.table)
        };
        assert_eq!(rule(false, vec![]), Some(100));
        assert_eq!(rule(false, vec![RuleAttribute::FwMark(1)]), None);
        assert_eq!(rule(true, vec![RuleAttribute::FwMark(1)]), Some(100));
        assert_eq!(rule(false, vec![RuleAttribute::Iifname("eth0".to_owned())]), None);
        assert_eq!(rule(false, vec![RuleAttribute::Iifname("lo".to_owned())]), Some(100));
    }

    #[test]
    fn halves_of_everything_are_default_routes() {
        let of = |kind, net: &str, gateway: &str| {
            let net: IpNet = net.parse().unwrap();
            let mut message = RouteMessage::default();
            message.header.address_family =
                if net.addr().is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
            message.header.destination_prefix_length = net.prefix_len();
            message.header.kind = kind;
            message.attributes = vec![
                RouteAttribute::Destination(net.addr().into()),
                RouteAttribute::Gateway(gateway.parse::<IpAddr>().unwrap().into()),
            ];
            Route::of(&message).map(|route| (route.kind, route.gateways))
        };
        for (net, gateway) in [
            ("0.0.0.0/0", "10.8.0.1"),
            ("0.0.0.0/1", "10.8.0.1"),
            ("128.0.0.0/1", "10.8.0.1"),
            ("64.0.0.0/2", "10.8.0.1"),
            ("::/1", "fd00::1"),
            ("8000::/1", "fd00::1"),
            ("2000::/3", "fe80::1"),
        ] {
            let expected = Some((RouteKind::Default, vec![gateway.parse().unwrap()]));
            assert_eq!(of(RouteType::Unicast, net, gateway), expected, "{net}");
        }
        assert_eq!(of(RouteType::Unicast, "10.0.0.0/8", "10.8.0.1"), None);
        assert_eq!(of(RouteType::BlackHole, "128.0.0.0/1", "10.8.0.1"), None);
    }

    #[test]
    fn broken_datagrams_end() {
        for broken in [&[0; 16][..], &[1], &[255; 40], &[20, 0, 0, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 9, 9, 9]]
        {
            assert!(messages(broken).count() >= 1, "{broken:?}");
            assert!(matters(broken), "{broken:?}");
        }
        assert!(!matters(&[]));
    }
}
