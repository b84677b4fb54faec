//! RFC 8656 sections 9 and 10: permissions.

use crate::harness::*;

const PEER: &str = "203.0.113.1:7000";

#[test]
fn rfc8656_9_nothing_passes_without_a_permission() {
    let mut world = World::new();
    let alice = world.alice();
    world.send(alice.at, Req::send(addr(PEER), b"out").bytes()).silence();
    assert_eq!(world.peer_sends(alice.at, addr(PEER), b"in"), None);
    assert_eq!(world.drops("no_permission"), 2);
}

#[test]
fn rfc8656_9_permissions_are_by_address_and_for_every_port() {
    let mut world = World::new();
    let alice = world.alice();
    let reply = world.request(&alice, Req::permission(&[PEER])).reply();
    assert_eq!(reply.code(), 0);
    assert!(reply.is_signed_for(&alice));
    for port in [1, 7000, 65535] {
        let peer = (ip("203.0.113.1"), port).into();
        assert_eq!(world.send(alice.at, Req::send(peer, b"out").bytes()).over_the_network(), (peer, b"out".to_vec()));
        let data = FromPeer::Data { peer, payload: b"in".to_vec() };
        assert_eq!(world.peer_sends(alice.at, peer, b"in"), Some(data));
    }
    let neighbour = addr("203.0.113.2:7000");
    world.send(alice.at, Req::send(neighbour, b"out").bytes()).silence();
    assert_eq!(world.peer_sends(alice.at, neighbour, b"in"), None);
}

#[test]
fn rfc8656_9_a_permission_lasts_5_minutes() {
    let mut world = World::new();
    let alice = world.alice();
    world.request(&alice, Req::permission(&[PEER]));
    world.pass(seconds(299));
    assert_eq!(world.metric("permissions"), 1);
    assert!(world.peer_sends(alice.at, addr(PEER), b"in").is_some());
    world.pass(seconds(1));
    assert_eq!(world.metric("permissions"), 0);
    assert_eq!(world.peer_sends(alice.at, addr(PEER), b"in"), None);
    world.send(alice.at, Req::send(addr(PEER), b"out").bytes()).silence();
}

#[test]
fn rfc8656_9_a_permission_ends_in_time_even_if_timers_are_late() {
    let mut world = World::new();
    let alice = world.alice();
    world.request(&alice, Req::permission(&[PEER]));
    world.pass_without_timers(seconds(300));
    assert_eq!(world.peer_sends(alice.at, addr(PEER), b"in"), None);
    world.send(alice.at, Req::send(addr(PEER), b"out").bytes()).silence();
}

#[test]
fn rfc8656_9_create_permission_restarts_the_5_minutes() {
    let mut world = World::new();
    let alice = world.alice();
    for _ in 0..3 {
        assert_eq!(world.request(&alice, Req::permission(&[PEER])).code(), 0);
        world.pass(seconds(180));
    }
    assert_eq!(world.metric("permissions"), 1, "one, three times");
    assert_eq!(world.metric("permissions_opened_total"), 1);
    world.pass(seconds(59));
    assert!(world.relayed(alice.at).is_some());
}

#[test]
fn rfc8656_9_data_does_not_refresh_a_permission() {
    let mut world = World::new();
    let alice = world.alice();
    world.request(&alice, Req::permission(&[PEER]));
    world.pass(seconds(299));
    world.send(alice.at, Req::send(addr(PEER), b"out").bytes()).over_the_network();
    assert!(world.peer_sends(alice.at, addr(PEER), b"in").is_some());
    world.pass(seconds(1));
    world.send(alice.at, Req::send(addr(PEER), b"out").bytes()).silence();
    assert_eq!(world.peer_sends(alice.at, addr(PEER), b"in"), None);
}

#[test]
fn rfc8656_9_refreshing_the_allocation_does_not_refresh_permissions() {
    let mut world = World::new();
    let alice = world.alice();
    world.request(&alice, Req::permission(&[PEER]));
    world.pass(seconds(299));
    world.request(&alice, Req::refresh(600));
    world.pass(seconds(1));
    assert_eq!(world.metric("permissions"), 0);
}

#[test]
fn rfc8656_9_permissions_belong_to_one_allocation() {
    let mut world = World::new();
    let alice = world.alice();
    let bob = world.api_client("bob", "192.0.2.2:1000");
    let (bob, _) = world.allocated(bob);
    world.request(&alice, Req::permission(&[PEER]));
    assert_eq!(world.peer_sends(bob.at, addr(PEER), b"in"), None);
    world.send(bob.at, Req::send(addr(PEER), b"out").bytes()).silence();
}

#[test]
fn rfc8656_10_2_two_peers_in_one_request_are_both_permitted() {
    let mut world = World::new();
    let alice = world.alice();
    let peers = ["203.0.113.1:1", "203.0.113.2:2"];
    assert_eq!(world.request(&alice, Req::permission(&peers)).code(), 0);
    assert_eq!(world.metric("permissions"), 2);
    for peer in peers.map(addr) {
        assert!(world.peer_sends(alice.at, peer, b"in").is_some(), "{peer}");
        world.send(alice.at, Req::send(peer, b"out").bytes()).over_the_network();
    }
}

#[test]
fn rfc8656_10_2_one_bad_peer_among_several_and_none_is_permitted() {
    let mut world = World::new();
    let alice = world.alice();
    let bad = [("[2001:db8::1]:1", 443), ("127.0.0.1:1", 403), ("169.254.169.254:80", 403)];
    for (bad, code) in bad {
        for position in 0..3 {
            let mut peers = vec!["203.0.113.1:1", "203.0.113.2:1"];
            peers.insert(position, bad);
            let reply = world.request(&alice, Req::permission(&peers)).reply();
            assert_eq!(reply.code(), code, "{peers:?}");
            assert!(reply.is_signed_for(&alice));
            assert_eq!(world.metric("permissions"), 0, "{peers:?}");
        }
    }
}

#[test]
fn rfc8656_10_2_without_a_peer_is_400() {
    let mut world = World::new();
    let alice = world.alice();
    assert_eq!(world.request(&alice, Req::new(METHOD_CREATE_PERMISSION)).code(), 400);
}

#[test]
fn rfc8656_10_2_a_malformed_peer_is_400() {
    let mut world = World::new();
    let alice = world.alice();
    let values: [&[u8]; 6] = [
        b"",
        &[0, 1, 0, 1],
        &[0, 1, 0, 1, 1, 2, 3],
        &[0, 1, 0, 1, 1, 2, 3, 4, 5],
        &[0, 2, 0, 1, 1, 2, 3, 4],
        &[0, 3, 0, 1, 1, 2, 3, 4],
    ];
    for value in values {
        let request = Req::permission(&[PEER]).with(attr::ATTR_XOR_PEER_ADDRESS, value);
        assert_eq!(world.request(&alice, request).code(), 400, "{value:?}");
        assert_eq!(world.metric("permissions"), 0);
    }
}

#[test]
fn rfc8656_10_2_the_other_family_is_443() {
    let mut world = World::new();
    let alice = world.alice();
    let bob = world.api_client("bob", "192.0.2.2:1000");
    assert_eq!(world.request(&bob, Req::allocate().family(2)).code(), 0);
    assert_eq!(world.request(&alice, Req::permission(&["[2600::1]:1"])).code(), 443);
    assert_eq!(world.request(&bob, Req::permission(&[PEER])).code(), 443);
    assert_eq!(world.request(&bob, Req::permission(&["[2600::1]:1"])).code(), 0);
}

#[test]
fn rfc8656_10_2_ipv6_peers_are_told_apart() {
    let mut world = World::new();
    let alice = world.api_client("alice", "[2001:db8::a]:1000");
    assert_eq!(world.request(&alice, Req::allocate().family(2)).code(), 0);
    let (peer, other) = (addr("[2600::1]:1"), addr("[2600::2]:1"));
    assert_eq!(world.request(&alice, Req::permission(&["[2600::1]:9"])).code(), 0);
    assert_eq!(world.send(alice.at, Req::send(peer, b"out").bytes()).over_the_network(), (peer, b"out".to_vec()));
    assert_eq!(world.peer_sends(alice.at, peer, b"in"), Some(FromPeer::Data { peer, payload: b"in".to_vec() }));
    assert_eq!(world.peer_sends(alice.at, other, b"in"), None);
}

#[test]
fn rfc8656_10_2_too_many_peers_are_403_and_change_nothing() {
    let mut world = World::new();
    let alice = world.alice();
    let peer = |n: u16| format!("203.0.{}.{}:1", 113 + n / 256, n % 256);
    for n in 0..255 {
        assert_eq!(world.request(&alice, Req::permission(&[&peer(n)])).code(), 0);
    }
    assert_eq!(world.request(&alice, Req::permission(&[&peer(255), &peer(256)])).code(), 403, "two do not fit");
    assert_eq!(world.metric("permissions"), 255);
    assert_eq!(world.request(&alice, Req::permission(&[&peer(255), &peer(255), &peer(0)])).code(), 0, "one does");
    assert_eq!(world.request(&alice, Req::permission(&[&peer(256)])).code(), 403);
    assert_eq!(world.request(&alice, Req::channel_bind(0x4000, &peer(256))).code(), 403);
    assert_eq!(world.metric("channels"), 0);
    assert_eq!(world.request(&alice, Req::permission(&[&peer(17)])).code(), 0, "refreshing always fits");
    assert_eq!(world.refusals("too_many_peers"), 3);
    world.pass(minutes(5));
    assert_eq!(world.request(&alice, Req::permission(&[&peer(256)])).code(), 0);
}

#[test]
fn rfc8656_10_2_a_repeated_request_is_idempotent() {
    let mut world = World::new();
    let alice = world.alice();
    let request = Req::permission(&[PEER]).auth(&alice);
    let first = world.send(alice.at, request.bytes()).reply();
    let again = world.send(alice.at, request.bytes()).reply();
    assert_eq!(first.bytes(), again.bytes());
    assert_eq!(world.metric("permissions"), 1);
}
