use super::{
    kernel::{Address, Link},
    purpose::LinkKind,
    route::Route,
    *,
};

fn one(interface: &str, address: &str) -> InterfaceAddress {
    InterfaceAddress {
        interface: interface.to_owned(),
        address: address.parse().unwrap(),
        prefix_len: 24,
        up: true,
        loopback: interface == "lo",
        purpose: if interface.starts_with("docker") { Purpose::Guests } else { Purpose::Network },
        short_lived: false,
    }
}

fn host(addresses: &[(&str, &str)], default_route: &[&str]) -> Interfaces {
    let mut interfaces = Interfaces::default();
    interfaces.addresses.extend([one("lo", "127.0.0.1"), one("lo", "::1")]);
    interfaces.addresses.extend(addresses.iter().map(|(interface, address)| one(interface, address)));
    for source in default_route {
        let source: IpAddr = source.parse().unwrap();
        interfaces.default_route[Family::of(source)] = Some(source);
    }
    interfaces
}

fn found(interfaces: &Interfaces) -> Vec<(String, Choice)> {
    let relayed = interfaces.relayed_addresses(ByFamily::default());
    relayed.iter().map(|one| (one.address.advertised.to_string(), one.choice)).collect()
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
    // A host with only IPv6 does not offer 127.0.0.1 in addition.
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
        let configured = [ip.parse().unwrap()].into_iter().collect();
        host.relayed_addresses(configured)[Family::V4].unwrap()
    };
    assert_eq!(relayed("203.0.113.7").address.bind.to_string(), "203.0.113.7");
    let nat = relayed("198.51.100.9");
    assert_eq!(
        (nat.address.advertised.to_string(), nat.address.bind.to_string()),
        ("198.51.100.9".to_owned(), "0.0.0.0".to_owned())
    );
    assert_eq!(nat.choice, Choice::Configured);
}

#[test]
fn own_addresses_hold_all_interfaces_and_the_public_ip() {
    let host = host(&[("docker0", "172.17.0.1"), ("eth0", "10.0.0.5")], &[]);
    let own = host.own_addresses([Ipv4Addr::new(203, 0, 113, 9).into()].into_iter().collect());
    for address in ["10.0.0.5", "127.0.0.1", "172.17.0.1", "203.0.113.9", "::1"] {
        assert!(own.addresses.contains(&address.parse().unwrap()), "{address}");
    }
    assert!(!own.addresses.contains(&"10.0.0.6".parse().unwrap()));
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
        assert!(interfaces.has(*source), "{source} is on no interface: {interfaces:?}");
    }
}

/// A host as the kernel reports it, one item per line: `IFACE KIND [in BRIDGE] [ADDRESS/LEN…] [down]`, or
/// `local|anycast|broadcast|default DESTINATION [via GATEWAY] [table N]`.
fn told(text: &str, default_route: &[&str]) -> Interfaces {
    let mut found = Found { rules: Some(Vec::new()), ..Found::default() };
    let lines: Vec<Vec<_>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    let index = |name: &str| lines.iter().position(|words| words.first() == Some(&name)).unwrap() as u32 + 1;
    for words in lines.iter().filter(|words| !words.is_empty()) {
        let after = |word: &str| words.iter().position(|other| *other == word).map(|at| words[at + 1]);
        let kind = match words[0] {
            "local" => RouteKind::Local,
            "anycast" => RouteKind::Anycast,
            "broadcast" => RouteKind::Broadcast,
            "default" => RouteKind::Default,
            name => {
                let link = Link {
                    name: name.to_owned(),
                    kind: if words[1] == "-" { LinkKind::Hardware } else { LinkKind::Made(words[1].to_owned()) },
                    controller: after("in").map(index),
                    up: !words.contains(&"down"),
                    loopback: name == "lo",
                };
                found.links.insert(index(name), link);
                for net in words[2..].iter().filter_map(|word| word.parse::<IpNet>().ok()) {
                    let (link, short_lived) = (index(name), false);
                    found.addresses.push(Address {
                        link,
                        address: net.addr(),
                        prefix_len: net.prefix_len(),
                        short_lived,
                    });
                }
                continue;
            }
        };
        let destination = words[1].parse().unwrap();
        let gateways = after("via").map(|ip| ip.parse().unwrap()).into_iter().collect();
        let table = after("table").map_or(254, |table| table.parse().unwrap());
        found.routes.push(Route { kind, table, destination, gateways });
    }
    let sources = host(&[], default_route).default_route;
    Interfaces::of(&found, sources)
}

const LO: &str = "lo - 127.0.0.1/8 ::1/128\n";

/// The relayed addresses, with `~` before one that is only guessed.
fn chosen(interfaces: &Interfaces) -> Vec<String> {
    let mark = |choice| match choice {
        Choice::BestGuess => "~",
        Choice::OnlyLoopback => "lo ",
        Choice::Configured | Choice::DefaultRoute => "",
    };
    found(interfaces).into_iter().map(|(ip, choice)| format!("{}{ip}", mark(choice))).collect()
}

#[test]
fn hosts_relay_from_where_others_are() {
    let hosts: &[(&str, &str, &[&str], &[&str])] = &[
        (
            "a router without an uplink",
            "lan1 dsa in br-lan\nlan2 dsa in br-lan\nwlan0 - in br-lan\n
             br-lan bridge 192.168.1.1/24 fd12:3456::1/60\nwan dsa down",
            &[],
            &["~192.168.1.1", "~fd12:3456::1"],
        ),
        (
            "a router whose ports tell nothing",
            "eth0 veth in br-lan\nbr-lan bridge 192.168.1.1/24",
            &[],
            &["~192.168.1.1"],
        ),
        ("a router with nothing plugged in", "br-lan bridge 192.168.1.1/24\nwan - down", &[], &["~192.168.1.1"]),
        (
            "a router with Docker, and no uplink",
            "docker0 bridge 172.17.0.1/16\nbr-0123456789ab bridge 172.18.0.1/16\nveth1 veth in br-0123456789ab\n
             eth1 - in br-lan\nbr-lan bridge 192.168.1.1/24",
            &[],
            &["~192.168.1.1"],
        ),
        (
            "Docker alone",
            "docker0 bridge 172.17.0.1/16\nbr-0123456789ab bridge 172.18.0.1/16\nveth1 veth in docker0",
            &[],
            &["lo 127.0.0.1", "lo ::1"],
        ),
        (
            "Docker on a host with a network",
            "docker0 bridge 172.17.0.1/16\neth0 - 192.168.1.5/24",
            &["192.168.1.5"],
            &["192.168.1.5"],
        ),
        (
            "a network of Docker's with a name of people's, before that of the house",
            "mynet bridge 172.20.0.1/16\nveth1 veth in mynet\neth0 - 192.168.1.5/24",
            &[],
            &["~192.168.1.5"],
        ),
        ("libvirt", "virbr0 bridge 192.168.122.1/24\nvnet0 tun in virbr0\nenp1s0 - 10.1.2.3/8", &[], &["~10.1.2.3"]),
        (
            "Proxmox, with a bridge for machines behind NAT",
            "eno1 - in vmbr0\ntap100i0 tun in vmbr1\nvmbr1 bridge 10.10.10.1/24\nvmbr0 bridge 203.0.113.5/24",
            &[],
            &["~203.0.113.5"],
        ),
        ("Proxmox with a bond", "bond0 bond in vmbr0\nvmbr0 bridge 192.168.5.2/24", &[], &["~192.168.5.2"]),
        (
            "Podman",
            "podman0 bridge 10.88.0.1/16\ncni-podman1 bridge 10.89.0.1/16\neth0 - 192.168.7.7/24",
            &[],
            &["~192.168.7.7"],
        ),
        (
            "a node of Kubernetes",
            "flannel.1 vxlan 10.244.0.0/32\ncni0 bridge 10.244.0.1/24\nveth2 veth in cni0\n
             kube-ipvs0 dummy 10.96.0.1/32 down\neth0 - 172.16.3.4/20",
            &[],
            &["~172.16.3.4"],
        ),
        (
            "Tailscale beside a LAN",
            "tailscale0 tun 100.101.102.103/32 fd7a:115c:a1e0::1/128\neth0 - 192.168.1.5/24",
            &[],
            &["~192.168.1.5", "~fd7a:115c:a1e0::1"],
        ),
        ("Tailscale alone", "tailscale0 tun 100.101.102.103/32", &[], &["~100.101.102.103"]),
        ("WireGuard beside a LAN", "wg0 wireguard 10.8.0.1/24\neth0 - 192.168.1.5/24", &[], &["~192.168.1.5"]),
        (
            "WireGuard that takes everything",
            "wg0 wireguard 10.8.0.2/32\neth0 - 192.168.1.5/24",
            &["10.8.0.2"],
            &["10.8.0.2"],
        ),
        (
            "464XLAT",
            "clat tun 192.0.0.1/32\neth0 - 2001:db8::5/64",
            &["192.0.0.1", "2001:db8::5"],
            &["192.0.0.1", "2001:db8::5"],
        ),
        ("464XLAT beside a LAN", "clat - 192.0.0.2/29\neth1 - 192.168.1.5/24", &[], &["~192.168.1.5"]),
        ("IPv6 alone", "eth0 - 2001:db8::5/64 fe80::5/64", &["2001:db8::5"], &["2001:db8::5"]),
    ];
    for (name, text, default_route, expected) in hosts {
        let text = format!("{LO}{text}");
        assert_eq!(chosen(&told(&text, default_route)), *expected, "{name}");
    }
}

#[test]
fn what_a_kernel_does_not_tell_is_known_by_what_it_sends_from() {
    let silent = |sources: &[&str]| Interfaces::of(&Found::default(), host(&[], sources).default_route);
    assert_eq!(chosen(&silent(&["192.168.1.5"])), ["192.168.1.5"]);
    assert_eq!(chosen(&silent(&["192.168.1.5", "2001:db8::5"])), ["192.168.1.5", "2001:db8::5"]);
    assert_eq!(chosen(&silent(&[])), ["lo 127.0.0.1"]);
    let own = silent(&["192.168.1.5"]).own_addresses(ByFamily::default());
    assert!(own.addresses.contains(&"192.168.1.5".parse().unwrap()));
}

#[test]
fn own_is_what_routes_say_and_what_shares_an_address() {
    let text = "
        eth0 - 198.51.100.5/24 2001:db8:1::5/64 10.9.8.7/31 2001:db8:2::/127
        local 203.0.113.50/32 table 255
        local 203.0.114.0/24 table 255
        local 2001:db8:9::/48
        anycast 2001:db8:7::/128 table 255
        broadcast 192.0.2.99/32 table 255
        local 0.0.0.0/0 table 100
        default 0.0.0.0/0 via 198.51.100.1
        default ::/0 via fe80::1 table 7";
    let host = told(text, &[]);
    let own = host.own_addresses(ByFamily::default());
    let is_own = |ip: &str| own.addresses.contains(&ip.parse().unwrap());
    for ip in [
        "198.51.100.5",
        "198.51.100.255",
        "2001:db8:1::5",
        "2001:db8:1::",
        "10.9.8.7",
        "203.0.113.50",
        "203.0.114.0",
        "203.0.114.200",
        "2001:db8:9:8::7",
        "2001:db8:7::",
        "192.0.2.99",
    ] {
        assert!(is_own(ip), "{ip}");
    }
    for ip in [
        "198.51.100.4",
        "198.51.100.254",
        "2001:db8:1::1",
        "203.0.113.49",
        "203.0.113.51",
        "203.0.115.0",
        "8.8.8.8",
        "10.9.8.6",
    ] {
        assert!(!is_own(ip), "{ip}");
    }
    let gateways: Vec<_> = host.gateways.iter().map(ToString::to_string).collect();
    assert_eq!(gateways, ["198.51.100.1", "fe80::1"]);
}

#[test]
fn nobody_is_sent_to_a_translators_address() {
    let host = told("clat tun 192.0.0.1/32\neth0 - 2001:db8::5/64", &["192.0.0.1", "2001:db8::5"]);
    let reachable: Vec<_> = host.reachable().iter().map(ToString::to_string).collect();
    assert_eq!(reachable, ["2001:db8::5"]);
    for (ip, is) in [("192.0.0.0", true), ("192.0.0.7", true), ("192.0.0.8", false), ("192.0.1.1", false)] {
        assert_eq!(is_464xlat(ip.parse().unwrap()), is, "{ip}");
    }
}
