//! RFC 8656 section 12: channels.

use crate::harness::*;

const PEER: &str = "203.0.113.1:7000";
const OTHER: &str = "203.0.113.2:7000";

fn bound() -> (World, Client) {
    let mut world = World::new();
    let alice = world.alice();
    let reply = world.request(&alice, Req::channel_bind(0x4000, PEER)).reply();
    assert_eq!(reply.code(), 0);
    assert!(reply.is_signed_for(&alice));
    (world, alice)
}

/// Keeps allocation and permission alive, but not the channel, until `duration` has passed.
fn pass_refreshing(world: &mut World, alice: &Client, duration: std::time::Duration) {
    for _ in 0..duration.as_secs() / 60 {
        world.pass(minutes(1));
        assert_eq!(world.request(alice, Req::refresh(600)).code(), 0);
        assert_eq!(world.request(alice, Req::permission(&[PEER, OTHER])).code(), 0);
    }
    world.pass(seconds(duration.as_secs() % 60));
}

#[test]
fn rfc8656_12_2_a_bound_channel_carries_data_both_ways() {
    let (mut world, alice) = bound();
    for len in [0, 1, 2, 3, 4, 1200, 4000, 65_000] {
        let payload = vec![0x5A; len];
        let sent = world.send(alice.at, &channel_data(0x4000, &payload)).over_the_network();
        assert_eq!(sent, (addr(PEER), payload.clone()));
        let got = world.peer_sends(alice.at, addr(PEER), &payload);
        assert_eq!(got, Some(FromPeer::Channel { number: 0x4000, payload }));
    }
    assert_eq!(world.metric("channels"), 1);
}

#[test]
fn rfc8656_12_2_number_and_peer_must_both_be_there() {
    let mut world = World::new();
    let alice = world.alice();
    assert_eq!(world.request(&alice, Req::new(METHOD_CHANNEL_BIND).channel(0x4000)).code(), 400);
    assert_eq!(world.request(&alice, Req::new(METHOD_CHANNEL_BIND).peer(addr(PEER))).code(), 400);
    let malformed = Req::new(METHOD_CHANNEL_BIND).with(attr::ATTR_CHANNEL_NUMBER, &[0x40, 0]).peer(addr(PEER));
    assert_eq!(world.request(&alice, malformed).code(), 400);
    assert_eq!(world.metric("channels"), 0);
    assert_eq!(world.metric("permissions"), 0);
}

#[test]
fn rfc8656_12_2_numbers_outside_4000_to_7fff_are_400() {
    let mut world = World::new();
    let alice = world.alice();
    for number in [0, 1, 0x3FFF, 0x8000, 0xFFFF] {
        let reply = world.request(&alice, Req::channel_bind(number, PEER)).reply();
        assert_eq!(reply.code(), 400, "{number:#x}");
        assert!(reply.is_signed_for(&alice));
    }
    assert_eq!(world.metric("channels"), 0);
}

#[test]
fn rfc8656_12_2_deviation_numbers_up_to_7fff_are_accepted() {
    let mut world = World::new();
    let alice = world.alice();
    for number in [0x4000, 0x4FFF, 0x5000, 0x7FFF] {
        let peer = format!("203.0.113.1:{number}");
        assert_eq!(world.request(&alice, Req::channel_bind(number, &peer)).code(), 0, "{number:#x}");
        assert_eq!(
            world.send(alice.at, &channel_data(number, b"out")).over_the_network(),
            (addr(&peer), b"out".to_vec())
        );
        let got = world.peer_sends(alice.at, addr(&peer), b"in");
        assert_eq!(got, Some(FromPeer::Channel { number, payload: b"in".to_vec() }));
    }
}

#[test]
fn rfc8656_12_2_a_number_bound_to_another_peer_is_400() {
    let (mut world, alice) = bound();
    assert_eq!(world.request(&alice, Req::channel_bind(0x4000, OTHER)).code(), 400);
    assert_eq!(world.request(&alice, Req::channel_bind(0x4000, "203.0.113.1:7001")).code(), 400, "another port");
    assert_eq!(world.send(alice.at, &channel_data(0x4000, b"out")).over_the_network().0, addr(PEER));
    assert_eq!(world.metric("permissions"), 1);
}

#[test]
fn rfc8656_12_2_a_peer_bound_to_another_number_is_400() {
    let (mut world, alice) = bound();
    assert_eq!(world.request(&alice, Req::channel_bind(0x4001, PEER)).code(), 400);
    assert_eq!(world.request(&alice, Req::channel_bind(0x4001, "203.0.113.1:7001")).code(), 0, "another port");
}

#[test]
fn rfc8656_12_2_the_other_family_is_443() {
    let mut world = World::new();
    let alice = world.alice();
    assert_eq!(world.request(&alice, Req::channel_bind(0x4000, "[2600::1]:1")).code(), 443);
    assert_eq!(world.metric("channels"), 0);
    assert_eq!(world.metric("permissions"), 0);
}

#[test]
fn rfc8656_12_2_refused_peers_are_403() {
    let mut world = World::new();
    let alice = world.alice();
    for peer in ["127.0.0.1:1", "169.254.169.254:80", "0.0.0.0:1", "224.0.0.1:1", "255.255.255.255:1"] {
        let reply = world.request(&alice, Req::channel_bind(0x4000, peer)).reply();
        assert_eq!(reply.code(), 403, "{peer}");
        assert!(reply.is_signed_for(&alice));
    }
    assert_eq!(world.metric("channels"), 0);
    assert_eq!(world.metric("permissions"), 0);
    assert_eq!(world.request(&alice, Req::channel_bind(0x4000, PEER)).code(), 0, "the number is still free");
}

#[test]
fn rfc8656_12_2_channel_bind_makes_and_refreshes_the_permission() {
    let (mut world, alice) = bound();
    assert_eq!(world.metric("permissions"), 1);
    world.send(alice.at, Req::send(addr("203.0.113.1:1"), b"out").bytes()).over_the_network();
    world.pass(seconds(299));
    assert_eq!(world.request(&alice, Req::channel_bind(0x4000, PEER)).code(), 0);
    world.pass(seconds(299));
    assert_eq!(world.metric("permissions"), 1);
    world.pass(seconds(1));
    assert_eq!(world.metric("permissions"), 0);
}

#[test]
fn rfc8656_12_2_too_many_channels_are_403() {
    let mut world = World::new();
    let alice = world.alice();
    for n in 0..256 {
        let peer = format!("203.0.113.1:{}", 1000 + n);
        assert_eq!(world.request(&alice, Req::channel_bind(0x4000 + n, &peer)).code(), 0);
    }
    assert_eq!(world.request(&alice, Req::channel_bind(0x4100, OTHER)).code(), 403);
    assert_eq!(world.metric("permissions"), 1, "a refused ChannelBind permits nothing");
    assert_eq!(world.request(&alice, Req::channel_bind(0x4007, "203.0.113.1:1007")).code(), 0, "refreshing fits");
}

#[test]
fn rfc8656_12_channels_belong_to_one_allocation() {
    let (mut world, _) = bound();
    let bob = world.api_client("bob", "192.0.2.2:1000");
    let (bob, _) = world.allocated(bob);
    world.send(bob.at, &channel_data(0x4000, b"out")).silence();
    assert_eq!(world.request(&bob, Req::channel_bind(0x4000, OTHER)).code(), 0);
    assert_eq!(world.send(bob.at, &channel_data(0x4000, b"out")).over_the_network().0, addr(OTHER));
}

#[test]
fn rfc8656_12_a_channel_lasts_10_minutes() {
    let (mut world, alice) = bound();
    pass_refreshing(&mut world, &alice, seconds(599));
    world.send(alice.at, &channel_data(0x4000, b"out")).over_the_network();
    assert_eq!(world.metric("channels"), 1);
    pass_refreshing(&mut world, &alice, seconds(1));
    assert_eq!(world.metric("channels"), 0);
    world.send(alice.at, &channel_data(0x4000, b"out")).silence();
    assert_eq!(world.drops("no_channel"), 1);
    // The permission outlives the channel, and data comes in indications again.
    let data = FromPeer::Data { peer: addr(PEER), payload: b"in".to_vec() };
    assert_eq!(world.peer_sends(alice.at, addr(PEER), b"in"), Some(data));
}

#[test]
fn rfc8656_12_rebinding_restarts_the_10_minutes() {
    let (mut world, alice) = bound();
    pass_refreshing(&mut world, &alice, minutes(9));
    assert_eq!(world.request(&alice, Req::channel_bind(0x4000, PEER)).code(), 0);
    pass_refreshing(&mut world, &alice, minutes(9));
    world.send(alice.at, &channel_data(0x4000, b"out")).over_the_network();
    assert_eq!(world.metric("channels_opened_total"), 1);
}

#[test]
fn rfc8656_12_number_and_peer_rest_5_minutes_before_they_are_bound_anew() {
    let (mut world, alice) = bound();
    pass_refreshing(&mut world, &alice, seconds(899));
    assert_eq!(world.metric("channels"), 0);
    assert_eq!(world.request(&alice, Req::channel_bind(0x4000, OTHER)).code(), 400);
    assert_eq!(world.request(&alice, Req::channel_bind(0x4001, PEER)).code(), 400);
    pass_refreshing(&mut world, &alice, seconds(1));
    assert_eq!(world.request(&alice, Req::channel_bind(0x4000, OTHER)).code(), 0);
    assert_eq!(world.request(&alice, Req::channel_bind(0x4001, PEER)).code(), 0);
    assert_eq!(world.metric("channels"), 2);
}

#[test]
fn rfc8656_12_the_same_pair_may_be_bound_again_while_it_rests() {
    let (mut world, alice) = bound();
    pass_refreshing(&mut world, &alice, minutes(12));
    assert_eq!(world.request(&alice, Req::channel_bind(0x4000, PEER)).code(), 0);
    world.send(alice.at, &channel_data(0x4000, b"out")).over_the_network();
    assert_eq!(world.metric("channels"), 1);
    pass_refreshing(&mut world, &alice, minutes(10));
    assert_eq!(world.metric("channels"), 0);
}

#[test]
fn rfc8656_12_5_padding_over_udp_is_allowed() {
    let (mut world, alice) = bound();
    let mut padded = channel_data(0x4000, b"odd");
    padded.push(0);
    assert_eq!(world.send(alice.at, &padded).over_the_network(), (addr(PEER), b"odd".to_vec()));
}

#[test]
fn rfc8656_12_6_reserved_numbers_and_broken_lengths_are_dropped() {
    let (mut world, alice) = bound();
    world.send(alice.at, &channel_data(0x4001, b"out")).silence();
    assert_eq!(world.drops("no_channel"), 1);
    let whole = channel_data(0x4000, b"out");
    for len in 1..whole.len() {
        world.send(alice.at, &whole[..len]).silence();
    }
    world.send(alice.at, &channel_data(0x8000, b"out")).silence();
    world.send(alice.at, &channel_data(0xFFFF, b"out")).silence();
    assert_eq!(world.drops("malformed"), whole.len() as u64 - 1 + 2);
}

#[test]
fn rfc8656_12_6_data_refreshes_neither_channel_nor_permission() {
    let (mut world, alice) = bound();
    world.pass(seconds(299));
    world.send(alice.at, &channel_data(0x4000, b"out")).over_the_network();
    world.pass(seconds(1));
    world.send(alice.at, &channel_data(0x4000, b"out")).silence();
    assert_eq!(world.drops("no_permission"), 1);
    world.request(&alice, Req::refresh(600));
    world.pass(seconds(299));
    world.request(&alice, Req::permission(&[PEER]));
    world.send(alice.at, &channel_data(0x4000, b"out")).over_the_network();
    world.pass(seconds(1));
    world.send(alice.at, &channel_data(0x4000, b"out")).silence();
    assert_eq!(world.drops("no_channel"), 1);
}

#[test]
fn rfc8656_12_7_channels_are_by_port_and_permissions_are_not() {
    let (mut world, alice) = bound();
    let other_port = addr("203.0.113.1:7001");
    let data = FromPeer::Data { peer: other_port, payload: b"in".to_vec() };
    assert_eq!(world.peer_sends(alice.at, other_port, b"in"), Some(data));
    assert_eq!(world.peer_sends(alice.at, addr(OTHER), b"in"), None);
}
