//! Which peers may be relayed to: rooms are walls, and this host is not reachable through its own relay.
#![allow(clippy::unwrap_used)]

#[path = "turn_rules/harness.rs"]
mod harness;
#[path = "common/ipv6_forms.rs"]
mod ipv6_forms;

use bimcc_rtc::{
    turn::{
        core::reach::Reach,
        shared::peer_policy::{HostAddresses, Mode, PeerRules},
    },
    values::member::MemberId,
};
use harness::*;
use ipv6_forms::ipv6_forms;

/// Alice and Bob in room 1, Carol in room 2, Dora with a credential of the API; each with an allocation, each with a
/// permission for the server's address.
struct House {
    world: World,
    alice: Client,
    bob: Client,
    carol: Client,
    dora: Client,
}

impl House {
    fn new() -> Self {
        let mut world = World::with(with_rules(|rules| rules.api = Mode::Public));
        for (member, room) in [(1, 1), (2, 1), (3, 2)] {
            world.enter(member, room, None);
        }
        let [alice, bob, carol] = [1, 2, 3].map(|id| world.member_client(id, &format!("203.0.113.{id}:1000")));
        let dora = world.api_client("dora", "203.0.113.4:1000");
        for client in [&alice, &bob, &carol, &dora] {
            world.allocated(client.clone());
            assert_eq!(world.request(client, Req::permission(&["198.51.100.1:9"])).code(), 0);
        }
        Self { world, alice, bob, carol, dora }
    }

    /// What arrives when `from` sends to the relayed address of `to`, first by Send and then by channel.
    fn send(&mut self, from: &Client, to: &Client) -> [bool; 2] {
        let peer = self.world.relayed(to.at).unwrap();
        let source = self.world.relayed(from.at).unwrap();
        let number = 0x4000 + peer.port() % 256;
        assert_eq!(self.world.request(from, Req::channel_bind(number, &peer.to_string())).code(), 0);
        [Req::send(peer, b"hi").bytes().to_vec(), channel_data(number, b"hi")].map(|datagram| {
            let outcome = self.world.send(from.at, &datagram);
            let arrived = self.world.deliver_own(from, outcome);
            if let Some((at, got)) = &arrived {
                assert_eq!(*at, to.at);
                let payload = match got {
                    FromPeer::Data { peer, payload } => {
                        assert_eq!(*peer, source, "peers see the sender's relayed address");
                        payload
                    }
                    FromPeer::Channel { payload, .. } => payload,
                };
                assert_eq!(payload, b"hi");
            }
            arrived.is_some()
        })
    }
}

fn with_rules(change: impl FnOnce(&mut PeerRules)) -> Setup {
    let mut setup = Setup::default();
    change(&mut setup.rules);
    setup
}

/// A world with these rules, in which member 1 of room 1 has an allocation of each family: for IPv4 and IPv6 peers.
fn member_world(setup: Setup) -> (World, Client, Client) {
    let mut world = World::with(setup);
    world.enter(1, 1, None);
    let v4 = world.member_client(1, "203.0.113.1:1000");
    let v6 = world.member_client(1, "203.0.113.1:1001");
    world.allocated(v4.clone());
    assert_eq!(world.request(&v6, Req::allocate().family(2)).code(), 0);
    (world, v4, v6)
}

/// The answers of CreatePermission and ChannelBind to this peer address, which must agree.
#[track_caller]
fn ask(world: &mut World, (v4, v6): (&Client, &Client), peer: &str) -> u16 {
    let client = if ip(peer).is_ipv4() { v4 } else { v6 };
    let peer = std::net::SocketAddr::new(ip(peer), 3478).to_string();
    let number = 0x4000 + world.metric("channels_opened_total") as u16;
    let permission = world.request(client, Req::permission(&[&peer])).code();
    let channel = world.request(client, Req::channel_bind(number, &peer)).code();
    assert_eq!(permission, channel, "{peer}");
    permission
}

#[test]
fn room_mates_reach_each_other() {
    let mut house = House::new();
    let (alice, bob) = (house.alice.clone(), house.bob.clone());
    assert_eq!(house.send(&alice, &bob), [true, true]);
    assert_eq!(house.send(&bob, &alice), [true, true]);
    // By now both have channels, and data arrives over them.
    assert_eq!(house.send(&alice, &bob), [true, true]);
}

#[test]
fn nothing_passes_between_rooms_nor_between_members_and_api_users() {
    let mut house = House::new();
    let strangers = [
        (house.alice.clone(), house.carol.clone()),
        (house.bob.clone(), house.carol.clone()),
        (house.alice.clone(), house.dora.clone()),
        (house.carol.clone(), house.dora.clone()),
    ];
    for (a, b) in strangers {
        assert_eq!(house.send(&a, &b), [false, false], "{} to {}", a.at, b.at);
        assert_eq!(house.send(&b, &a), [false, false], "{} to {}", b.at, a.at);
    }
}

#[test]
fn api_users_reach_each_other() {
    let mut house = House::new();
    let emil = house.world.api_client("emil", "203.0.113.5:1000");
    let (emil, _) = house.world.allocated(emil);
    house.world.request(&emil, Req::permission(&["198.51.100.1:9"]));
    let dora = house.dora.clone();
    assert_eq!(house.send(&dora, &emil), [true, true]);
    assert_eq!(house.send(&emil, &dora), [true, true]);
}

#[test]
fn the_receiver_needs_a_permission_too() {
    let mut house = House::new();
    let (alice, bob) = (house.alice.clone(), house.bob.clone());
    house.world.pass(seconds(299));
    house.world.request(&alice, Req::permission(&["198.51.100.1:9"]));
    house.world.pass(seconds(1));
    assert_eq!(house.send(&alice, &bob), [false, false]);
    assert_eq!(house.world.drops("no_permission"), 2);
}

#[test]
fn a_member_that_changes_rooms_is_on_the_other_side_of_the_wall() {
    let mut house = House::new();
    house.world.enter(2, 2, None);
    house.world.end_told();
    let (alice, bob, carol) = (house.alice.clone(), house.bob.clone(), house.carol.clone());
    assert!(house.world.relayed(bob.at).is_none());
    house.world.allocated(bob.clone());
    house.world.request(&bob, Req::permission(&["198.51.100.1:9"]));
    assert_eq!(house.send(&alice, &bob), [false, false]);
    assert_eq!(house.send(&carol, &bob), [true, true]);
}

#[test]
fn a_stale_relayed_address_leads_nowhere_even_if_somebody_else_got_its_port() {
    let mut house = House::new();
    let (alice, bob) = (house.alice.clone(), house.bob.clone());
    let stale = house.world.relayed(bob.at).unwrap();
    house.world.request(&bob, Req::refresh(0));
    assert_eq!(house.world.request(&alice, Req::channel_bind(0x4000, &stale.to_string())).code(), 0, "it may be stale");
    for datagram in [Req::send(stale, b"hi").bytes().to_vec(), channel_data(0x4000, b"hi")] {
        let outcome = house.world.send(alice.at, &datagram);
        assert_eq!(house.world.deliver_own(&alice, outcome), None);
    }
}

#[test]
fn services_of_this_host_get_nothing() {
    let (mut world, v4, v6) = member_world(with_rules(|rules| (rules.members, rules.api) = (Mode::Any, Mode::Any)));
    for (client, own) in [(&v4, "198.51.100.1"), (&v6, "2001:db8:5::1")] {
        for port in [1, 53, 3478, 49_999, 65_535] {
            let peer = std::net::SocketAddr::new(ip(own), port);
            assert_eq!(world.request(client, Req::channel_bind(0x4000 + port % 4096, &peer.to_string())).code(), 0);
            for datagram in [Req::send(peer, b"hi").bytes().to_vec(), channel_data(0x4000 + port % 4096, b"hi")] {
                let outcome = world.send(client.at, &datagram);
                assert!(matches!(outcome, Outcome::ToPeer { reach: Reach::Own, .. }), "{peer}: {outcome:?}");
                assert_eq!(world.deliver_own(client, outcome), None, "{peer}");
            }
        }
    }
}

#[test]
fn own_addresses_as_sources_on_the_network_are_forged() {
    let (mut world, v4, v6) = member_world(Setup::default());
    for (client, own) in [(&v4, "198.51.100.1:7"), (&v6, "[2001:db8:5::1]:7")] {
        assert_eq!(world.request(client, Req::permission(&[own])).code(), 0);
        assert_eq!(world.request(client, Req::channel_bind(0x4000, own)).code(), 0);
        assert_eq!(world.peer_sends(client.at, addr(own), b"hi"), None, "{own}");
    }
    assert_eq!(world.drops("own_address"), 2);
}

#[test]
fn own_addresses_in_ipv6_clothes_are_own_addresses() {
    let (mut world, _, v6) = member_world(with_rules(|rules| rules.members = Mode::Any));
    for form in ipv6_forms(SERVER_V4) {
        let peer = std::net::SocketAddr::new(ip(&form), 50_000);
        let code = world.request(&v6, Req::permission(&[&peer.to_string()])).code();
        if code == 0 {
            let outcome = world.send(v6.at, Req::send(peer, b"hi").bytes());
            assert!(matches!(outcome, Outcome::ToPeer { reach: Reach::Own, .. }), "{form}: {outcome:?}");
            assert_eq!(world.deliver_own(&v6, outcome), None, "{form}: families must match");
        }
    }
}

#[test]
fn some_addresses_are_never_peers_whatever_is_configured() {
    let v4 = [
        "0.0.0.0",
        "0.1.2.3",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.0.1",
        "169.254.169.254",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "168.63.129.16",
        "100.100.100.200",
        "192.0.0.192",
        // The default gateway and a trusted proxy.
        "198.51.100.254",
        "10.9.0.7",
    ];
    let v6 = ["::", "::1", "fe80::1", "febf::1", "fec0::1", "ff02::1", "fd00:ec2::254", "fd20:ce::254", "2600:9::7"];
    for mode in [Mode::Members, Mode::Public, Mode::Any] {
        let (mut world, four, six) = member_world(with_rules(|rules| {
            (rules.members, rules.api) = (mode, mode);
            rules.allow = vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()];
            rules.trusted_proxies = vec!["10.9.0.0/16".parse().unwrap(), "2600:9::/64".parse().unwrap()];
        }));
        // They are refused even if a member is there.
        for (id, address) in (100..).zip(v4.iter().chain(&v6)) {
            world.enter(id, 1, Some(address));
        }
        let dressed: Vec<String> = v4.iter().flat_map(|address| ipv6_forms(address)).collect();
        let all = v4.iter().chain(&v6).copied().chain(dressed.iter().map(String::as_str));
        let mut count = 0;
        for address in all {
            assert_eq!(ask(&mut world, (&four, &six), address), 403, "{mode:?} {address}");
            count += 2;
        }
        assert_eq!(world.refusals("never_allowed"), count, "{mode:?}");
        assert_eq!(world.metric("permissions"), 0);
    }
}

#[test]
fn members_reach_addresses_of_room_mates_only() {
    let (mut world, v4, v6) = member_world(Setup::default());
    world.enter(2, 1, Some("192.168.0.2"));
    world.enter(3, 2, Some("192.168.0.3"));
    world.enter(4, 1, Some("fd00::4"));
    world.enter(5, 1, Some("::ffff:198.18.0.5"));
    let clients = (&v4, &v6);
    for address in ["192.168.0.2", "fd00::4", "198.18.0.5"] {
        assert_eq!(ask(&mut world, clients, address), 0, "{address}");
    }
    for address in
        ["192.168.0.3", "192.168.0.1", "10.0.0.1", "172.16.0.1", "100.64.0.1", "8.8.8.8", "fd00::5", "2600::1"]
    {
        assert_eq!(ask(&mut world, clients, address), 403, "{address}");
    }
    assert_eq!(world.refusals("not_in_room"), 16);
}

#[test]
fn a_room_mates_proven_turn_client_address_counts_as_well() {
    let (mut world, v4, v6) = member_world(Setup::default());
    world.enter(2, 1, None);
    assert_eq!(ask(&mut world, (&v4, &v6), "192.168.0.2"), 403);
    let bob = world.member_client(2, "192.168.0.2:1000");
    assert_eq!(ask(&mut world, (&v4, &v6), "192.168.0.2"), 403, "asking for a nonce proves nothing");
    world.allocated(bob);
    assert_eq!(ask(&mut world, (&v4, &v6), "192.168.0.2"), 0);
}

#[test]
fn a_permission_in_force_ends_when_the_room_mate_leaves() {
    for moves_on in [false, true] {
        let (mut world, alice, _) = member_world(Setup::default());
        world.enter(2, 1, Some("192.168.0.2"));
        let peer = addr("192.168.0.2:5000");
        assert_eq!(world.request(&alice, Req::channel_bind(0x4000, "192.168.0.2:5000")).code(), 0);
        world.send(alice.at, &channel_data(0x4000, b"hi")).over_the_network();
        assert!(world.peer_sends(alice.at, peer, b"hi").is_some());
        if moves_on {
            world.enter(2, 2, Some("192.168.0.2"));
        } else {
            world.leave(2);
        }
        world.send(alice.at, &channel_data(0x4000, b"hi")).silence();
        world.send(alice.at, Req::send(peer, b"hi").bytes()).silence();
        assert_eq!(world.peer_sends(alice.at, peer, b"hi"), None);
        assert_eq!(world.request(&alice, Req::permission(&["192.168.0.2:5000"])).code(), 403);
        assert_eq!(world.request(&alice, Req::channel_bind(0x4000, "192.168.0.2:5000")).code(), 403);
        assert_eq!(world.metric("permissions"), 0);
    }
}

#[test]
fn from_the_peers_side_it_ends_as_well() {
    let (mut world, alice, _) = member_world(Setup::default());
    world.enter(2, 1, Some("192.168.0.2"));
    world.request(&alice, Req::permission(&["192.168.0.2:5000"]));
    world.leave(2);
    assert_eq!(world.peer_sends(alice.at, addr("192.168.0.2:5000"), b"hi"), None, "the first thing that happens");
}

#[test]
fn a_permission_stands_while_another_room_mate_is_at_the_address() {
    let (mut world, alice, _) = member_world(Setup::default());
    world.enter(2, 1, Some("192.168.0.2"));
    world.enter(3, 1, Some("192.168.0.2"));
    world.request(&alice, Req::permission(&["192.168.0.2:5000"]));
    let send = Req::send(addr("192.168.0.2:5000"), b"hi");
    world.leave(2);
    world.send(alice.at, send.bytes()).over_the_network();
    world.leave(3);
    world.send(alice.at, send.bytes()).silence();
}

#[test]
fn other_rooms_do_not_end_permissions() {
    let (mut world, alice, _) = member_world(Setup::default());
    world.enter(2, 1, Some("192.168.0.2"));
    world.enter(3, 2, Some("192.168.0.2"));
    world.request(&alice, Req::permission(&["192.168.0.2:5000"]));
    world.leave(3);
    world.send(alice.at, Req::send(addr("192.168.0.2:5000"), b"hi").bytes()).over_the_network();
}

#[test]
fn a_permission_in_force_is_refreshed_although_the_address_is_no_longer_among_the_latest() {
    let (mut world, alice, _) = member_world(Setup::default());
    world.enter(2, 1, Some("192.168.0.2"));
    assert_eq!(world.request(&alice, Req::channel_bind(0x4000, "192.168.0.2:5000")).code(), 0);
    for n in 0..16 {
        world.directory.verify_address(MemberId::from_bits(2), ip(&format!("10.0.0.{n}")));
    }
    for _ in 0..5 {
        world.pass(minutes(4));
        assert_eq!(world.request(&alice, Req::refresh(600)).code(), 0);
        assert_eq!(world.request(&alice, Req::permission(&["192.168.0.2:5000"])).code(), 0);
        assert_eq!(world.request(&alice, Req::channel_bind(0x4000, "192.168.0.2:5000")).code(), 0);
        world.send(alice.at, &channel_data(0x4000, b"hi")).over_the_network();
    }
    // Another member's leaving does not end the permission either, but a new one would not be granted.
    world.enter(3, 1, None);
    world.leave(3);
    assert_eq!(world.request(&alice, Req::permission(&["192.168.0.2:5000"])).code(), 0);
    let late = world.member_client(1, "203.0.113.1:2000");
    world.allocated(late.clone());
    assert_eq!(world.request(&late, Req::permission(&["192.168.0.2:5000"])).code(), 403);
    world.leave(2);
    world.send(alice.at, &channel_data(0x4000, b"hi")).silence();
}

#[test]
fn an_address_that_becomes_this_hosts_own_is_no_longer_reached_over_the_network() {
    let (mut world, alice, _) = member_world(with_rules(|rules| rules.allow = vec!["10.0.0.0/8".parse().unwrap()]));
    world.enter(2, 1, Some("192.168.0.2"));
    for peer in ["10.0.0.1:53", "192.168.0.2:53"] {
        assert_eq!(world.request(&alice, Req::permission(&[peer])).code(), 0);
        world.send(alice.at, Req::send(addr(peer), b"hi").bytes()).over_the_network();
    }
    let host = host();
    let mut own = host.own.clone();
    own.extend([ip("10.0.0.1"), ip("192.168.0.2")]);
    world.shared.policy.set_host(HostAddresses { own, ..host.clone() });
    for peer in ["10.0.0.1:53", "192.168.0.2:53"] {
        let outcome = world.send(alice.at, Req::send(addr(peer), b"hi").bytes());
        assert_eq!(world.deliver_own(&alice, outcome), None, "{peer}");
    }
    world.shared.policy.set_host(host);
    for peer in ["10.0.0.1:53", "192.168.0.2:53"] {
        world.send(alice.at, Req::send(addr(peer), b"hi").bytes()).over_the_network();
    }
}

#[test]
fn an_address_that_becomes_a_gateway_is_no_longer_a_peer() {
    let (mut world, alice, _) = member_world(with_rules(|rules| rules.allow = vec!["10.0.0.0/8".parse().unwrap()]));
    world.enter(2, 1, Some("192.168.0.2"));
    let peers = ["10.0.0.1:53", "192.168.0.2:53"];
    assert_eq!(world.request(&alice, Req::permission(&peers)).code(), 0);
    world.shared.policy.set_host(HostAddresses { gateways: vec![ip("10.0.0.1"), ip("192.168.0.2")], ..host() });
    for peer in peers {
        world.send(alice.at, Req::send(addr(peer), b"hi").bytes()).silence();
        assert_eq!(world.peer_sends(alice.at, addr(peer), b"hi"), None);
        assert_eq!(world.request(&alice, Req::permission(&[peer])).code(), 403);
    }
    assert_eq!(world.metric("permissions"), 0);
}

#[test]
fn an_address_that_was_this_hosts_own_is_judged_anew() {
    let (mut world, alice, _) = member_world(Setup::default());
    assert_eq!(world.request(&alice, Req::permission(&["198.51.100.1:1"])).code(), 0);
    world.shared.policy.set_host(HostAddresses { own: [ip("198.51.100.2")].into_iter().collect(), ..host() });
    world.send(alice.at, Req::send(addr("198.51.100.1:1"), b"hi").bytes()).silence();
    assert_eq!(world.request(&alice, Req::permission(&["198.51.100.1:1"])).code(), 403);
    assert_eq!(world.request(&alice, Req::permission(&["198.51.100.2:1"])).code(), 0);
}

#[test]
fn a_change_of_the_host_leaves_room_mates_alone() {
    let (mut world, alice, _) = member_world(Setup::default());
    world.enter(2, 1, Some("192.168.0.2"));
    world.request(&alice, Req::permission(&["192.168.0.2:5000"]));
    for n in 0..16 {
        world.directory.verify_address(MemberId::from_bits(2), ip(&format!("10.0.0.{n}")));
    }
    world.shared.policy.set_host(HostAddresses { gateways: vec![], ..host() });
    world.send(alice.at, Req::send(addr("192.168.0.2:5000"), b"hi").bytes()).over_the_network();
}

#[test]
fn allow_opens_and_deny_beats_it() {
    let (mut world, v4, v6) = member_world(with_rules(|rules| {
        rules.allow = vec!["10.0.0.0/8".parse().unwrap(), "fd00::/16".parse().unwrap()];
        rules.deny = vec!["10.1.0.0/16".parse().unwrap(), "192.168.0.2/32".parse().unwrap()];
    }));
    world.enter(2, 1, Some("192.168.0.2"));
    let clients = (&v4, &v6);
    for address in ["10.0.0.1", "10.2.0.1", "fd00::1", "::ffff:10.0.0.1"] {
        assert_eq!(ask(&mut world, clients, address), 0, "{address}");
    }
    for address in ["10.1.0.1", "::ffff:10.1.0.1", "2002:a01:1::1", "192.168.0.2"] {
        assert_eq!(ask(&mut world, clients, address), 403, "{address}");
    }
    assert_eq!(world.refusals("denied_by_config"), 8);
}

#[test]
fn public_means_public_unicast_addresses() {
    let mut world = World::with(with_rules(|rules| rules.api = Mode::Public));
    world.enter(1, 1, Some("192.168.0.2"));
    let v4 = world.api_client("dora", "203.0.113.4:1000");
    let v6 = world.api_client("dora", "203.0.113.4:1001");
    world.allocated(v4.clone());
    assert_eq!(world.request(&v6, Req::allocate().family(2)).code(), 0);
    let clients = (&v4, &v6);
    for address in ["8.8.8.8", "100.128.0.1", "172.32.0.1", "192.169.0.1", "198.20.0.1", "2600::1", "64:ff9b::8.8.8.8"]
    {
        assert_eq!(ask(&mut world, clients, address), 0, "{address}");
    }
    let private = [
        "10.0.0.1",
        "100.64.0.1",
        "100.127.255.255",
        "172.16.0.1",
        "172.31.255.255",
        // A member is there, but dora has no room.
        "192.168.0.2",
        "192.0.0.1",
        "192.0.2.1",
        "192.88.99.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.2",
        "203.0.113.1",
        "fc00::1",
        "fdff::1",
        "2001:db8:6::1",
        "2001:2::1",
        "3fff::1",
        "100::1",
        "5f00::1",
        "::ffff:10.0.0.1",
        "64:ff9b::192.168.0.2",
        "2002:ac10:1::1",
    ];
    for address in private {
        assert_eq!(ask(&mut world, clients, address), 403, "{address}");
    }
    assert_eq!(world.refusals("not_public"), 2 * private.len() as u64);
}

#[test]
fn public_for_members_includes_their_room_mates_private_addresses() {
    let (mut world, v4, v6) = member_world(with_rules(|rules| rules.members = Mode::Public));
    world.enter(2, 1, Some("192.168.0.2"));
    assert_eq!(ask(&mut world, (&v4, &v6), "8.8.8.8"), 0);
    assert_eq!(ask(&mut world, (&v4, &v6), "192.168.0.2"), 0);
    assert_eq!(ask(&mut world, (&v4, &v6), "192.168.0.3"), 403);
    let send = Req::send(addr("192.168.0.2:1"), b"hi");
    world.send(v4.at, send.bytes()).over_the_network();
    world.leave(2);
    world.send(v4.at, send.bytes()).silence();
    world.send(v4.at, Req::send(addr("8.8.8.8:1"), b"hi").bytes()).over_the_network();
}

#[test]
fn any_means_all_that_is_not_forbidden() {
    let (mut world, v4, v6) = member_world(with_rules(|rules| rules.members = Mode::Any));
    for address in ["8.8.8.8", "10.0.0.1", "192.168.0.2", "100.64.0.1", "fd00::1", "2600::1"] {
        assert_eq!(ask(&mut world, (&v4, &v6), address), 0, "{address}");
    }
}

#[test]
fn loopback_is_a_peer_only_if_dangerously_allowed_and_nothing_else_with_it() {
    let (mut world, v4, v6) = member_world(with_rules(|rules| rules.dangerously_allow_loopback = true));
    let clients = (&v4, &v6);
    for address in ["127.0.0.1", "127.9.9.9", "::1"] {
        assert_eq!(ask(&mut world, clients, address), 0, "{address}");
    }
    world.send(v4.at, Req::send(addr("127.0.0.1:1"), b"hi").bytes()).over_the_network();
    for address in ["169.254.169.254", "0.0.0.0", "10.0.0.1", "fe80::1", "ff02::1", "::"] {
        assert_eq!(ask(&mut world, clients, address), 403, "{address}");
    }
}
