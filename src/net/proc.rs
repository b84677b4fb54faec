//! Reads the kernel's routes from files, for systems that refuse netlink. The files do not say which interface has an
//! address, so they only serve to know the host's own addresses.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;

use super::route::{DEFAULT_MAX_PREFIX_LEN, LOCAL_TABLE, Route, RouteKind};

/// Flags of `linux/route.h` and `linux/ipv6_route.h`.
const GATEWAY: u32 = 0x2;
const ANYCAST: u32 = 0x0010_0000;
const LOCAL: u32 = 0x8000_0000;

/// All routes that can be read.
pub(super) fn routes() -> Vec<Route> {
    let text = |file: &str| fs::read_to_string(format!("/proc/net/{file}")).unwrap_or_default();
    let mut routes = of_fib_trie(&text("fib_trie"));
    routes.extend(text("ipv6_route").lines().filter_map(of_ipv6_route));
    routes.extend(text("route").lines().filter_map(default_of_route));
    routes
}

/// The routes of the tables `main` and `local`, which may be merged into one.
fn of_fib_trie(text: &str) -> Vec<Route> {
    let (mut is_ours, mut address, mut routes) = (false, None, Vec::new());
    for line in text.lines() {
        if !line.starts_with(' ') {
            is_ours = ["Main:", "Local:"].contains(&line);
        }
        let line = line.trim_start();
        if let Some(leaf) = line.strip_prefix("|-- ") {
            address = leaf.parse::<Ipv4Addr>().ok();
        } else if let (true, Some(rest), Some(address)) = (is_ours, line.strip_prefix('/'), address) {
            let mut words = rest.split_whitespace();
            let (len, kind) = (words.next().and_then(|len| len.parse().ok()), words.nth(1));
            let kind = match kind {
                Some("LOCAL") => RouteKind::Local,
                Some("BROADCAST") => RouteKind::Broadcast,
                Some("ANYCAST") => RouteKind::Anycast,
                _ => continue,
            };
            routes.extend(len.and_then(|len| route(kind, address.into(), len)));
        }
    }
    routes
}

/// A route of any table, so one to all addresses without a gateway, which may be meant for special packets, is ignored.
fn of_ipv6_route(line: &str) -> Option<Route> {
    let words: Vec<_> = line.split_whitespace().collect();
    let ip = |word: &str| u128::from_str_radix(word, 16).ok().map(|bits| IpAddr::from(Ipv6Addr::from_bits(bits)));
    let (destination, gateway) = (ip(words.first()?)?, ip(words.get(4)?)?);
    let len = u8::from_str_radix(words.get(1)?, 16).ok()?;
    let flags = u32::from_str_radix(words.get(8)?, 16).ok()?;
    match len {
        0..=DEFAULT_MAX_PREFIX_LEN if flags & GATEWAY != 0 => {
            Some(Route { gateways: vec![gateway], ..route(RouteKind::Default, destination, len)? })
        }
        0 => None,
        _ if flags & LOCAL != 0 => route(RouteKind::Local, destination, len),
        _ if flags & ANYCAST != 0 => route(RouteKind::Anycast, destination, len),
        _ => None,
    }
}

/// A default route of IPv4. Numbers are written as they are in memory.
fn default_of_route(line: &str) -> Option<Route> {
    let words: Vec<_> = line.split_whitespace().collect();
    let number = |index: usize| u32::from_str_radix(words.get(index)?, 16).ok();
    let ip = |index| number(index).map(|bits| Ipv4Addr::from(bits.to_ne_bytes()));
    let (destination, gateway, flags, mask) = (ip(1)?, ip(2)?, number(3)?, ip(7)?);
    let len = u8::try_from(mask.to_bits().leading_ones()).ok()?;
    if len > DEFAULT_MAX_PREFIX_LEN || flags & GATEWAY == 0 {
        return None;
    }
    Some(Route { gateways: vec![gateway.into()], ..route(RouteKind::Default, destination.into(), len)? })
}

fn route(kind: RouteKind, destination: IpAddr, len: u8) -> Option<Route> {
    let destination = IpNet::new(destination, len).ok()?;
    Some(Route { kind, table: LOCAL_TABLE, destination, gateways: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destinations(routes: &[Route], kind: RouteKind) -> Vec<String> {
        routes.iter().filter(|route| route.kind == kind).map(|route| route.destination.to_string()).collect()
    }

    #[test]
    fn local_and_broadcast_routes_of_ipv4_are_read() {
        let text = "\
Id 100:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 host LOCAL
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
  +-- 10.77.1.0/24 2 0 2
     |-- 10.77.1.0
        /24 link UNICAST
     |-- 10.77.1.1
        /32 host LOCAL
     |-- 10.77.1.255
        /32 link BROADCAST
Local:
     |-- 203.0.113.0
        /32 link ANYCAST
        /24 host LOCAL
     |-- nonsense
        /24 host LOCAL
";
        let routes = of_fib_trie(text);
        assert_eq!(destinations(&routes, RouteKind::Local), ["10.77.1.1/32", "203.0.113.0/24"]);
        assert_eq!(destinations(&routes, RouteKind::Broadcast), ["10.77.1.255/32"]);
        assert_eq!(destinations(&routes, RouteKind::Anycast), ["203.0.113.0/32"]);
    }

    #[test]
    fn local_anycast_and_default_routes_of_ipv6_are_read() {
        let zero = "0".repeat(32);
        let line = |destination: &str, len: &str, hop: &str, flags: &str| {
            of_ipv6_route(&format!("{destination} {len} {zero} 00 {hop} 00000000 00000002 00000000 {flags} lo"))
        };
        let address = "20010db8000100000000000000000000";
        let local = line(address, "40", &zero, "80200001").unwrap();
        assert_eq!((local.kind, local.destination.to_string()), (RouteKind::Local, "2001:db8:1::/64".to_owned()));
        assert_eq!(line(address, "80", &zero, "00300001").unwrap().kind, RouteKind::Anycast);
        let default = line(&zero, "00", "fe800000000000000000000000000001", "00000003").unwrap();
        assert_eq!(default.gateways, ["fe80::1".parse::<IpAddr>().unwrap()]);
        let part =
            line("20000000000000000000000000000000", "03", "fe800000000000000000000000000001", "00000003").unwrap();
        assert_eq!((part.kind, part.gateways), (RouteKind::Default, default.gateways));
        assert_eq!(line(&zero, "00", &zero, "80200001"), None, "a transparent proxy's");
        assert_eq!(line(address, "40", &zero, "00000001"), None);
        for broken in ["", "x", "00 00 00", &"f".repeat(400)] {
            assert_eq!(of_ipv6_route(broken), None);
            assert_eq!(default_of_route(broken), None);
        }
    }

    #[test]
    fn default_routes_of_ipv4_may_be_halves() {
        let hex = |ip: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(ip));
        let gateways = |destination, mask, flags: &str| {
            let line = format!("tun0 {} {} {flags} 0 0 0 {} 0 0 0", hex(destination), hex([10, 8, 0, 1]), hex(mask));
            default_of_route(&line).map(|route| route.gateways)
        };
        let expected = Some(vec![IpAddr::from([10, 8, 0, 1])]);
        assert_eq!(gateways([0; 4], [0; 4], "0003"), expected);
        assert_eq!(gateways([0; 4], [128, 0, 0, 0], "0003"), expected);
        assert_eq!(gateways([128, 0, 0, 0], [128, 0, 0, 0], "0003"), expected);
        assert_eq!(gateways([128, 0, 0, 0], [128, 0, 0, 0], "0001"), None);
        assert_eq!(gateways([10, 0, 0, 0], [255, 0, 0, 0], "0003"), None);
    }

    #[test]
    fn what_is_read_here_is_what_the_kernel_tells() {
        let routes = routes();
        assert!(destinations(&routes, RouteKind::Local).iter().any(|net| net == "127.0.0.0/8"), "{routes:?}");
    }
}
