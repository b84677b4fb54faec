//! RFC 8656 sections 7.2 step 9 and 8: an IPv4 and an IPv6 relayed address in one allocation.

use bimcc_rtc::{values::family::ByFamily, values::family::Family};

use crate::harness::*;

const V4: &str = "203.0.113.1:7";
const V6: &str = "[2001:db8:77::1]:7";

fn both() -> Req {
    Req::allocate().with(ATTR_ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0])
}

fn dual(world: &mut World) -> Client {
    let alice = world.api_client("alice", "192.0.2.1:1000");
    let reply = world.request(&alice, both()).reply();
    assert_eq!(reply.code(), 0);
    assert!(reply.is_signed_for(&alice));
    let relayed = reply.all_relayed();
    assert_eq!(relayed.len(), 2);
    assert!(relayed[0].is_ipv4() && relayed[1].is_ipv6());
    assert!(reply.value(ATTR_ADDRESS_ERROR_CODE).is_none());
    alice
}

#[test]
fn rfc8656_7_2_step_9_both_families_are_given_and_serve_peers_of_their_own() {
    let mut world = World::new();
    let alice = dual(&mut world);
    assert_eq!(world.metric("allocations"), 1);
    assert_eq!(world.request(&alice, Req::permission(&[V4, V6])).code(), 0);
    assert_eq!(world.request(&alice, Req::channel_bind(0x4000, V6)).code(), 0);
    for peer in [V4, V6] {
        let sent = world.send(alice.at, Req::send(addr(peer), b"hi").bytes()).over_the_network();
        assert_eq!(sent, (addr(peer), b"hi".to_vec()));
    }
    let by_channel = world.send(alice.at, &channel_data(0x4000, b"hi")).over_the_network();
    assert_eq!(by_channel, (addr(V6), b"hi".to_vec()));
    let data = FromPeer::Data { peer: addr(V4), payload: b"yes".to_vec() };
    assert_eq!(world.peer_sends(alice.at, addr(V4), b"yes"), Some(data));
    let channel = FromPeer::Channel { number: 0x4000, payload: b"yes".to_vec() };
    assert_eq!(world.peer_sends(alice.at, addr(V6), b"yes"), Some(channel));
}

#[test]
fn rfc8656_7_2_step_9_deviation_the_number_of_the_draft_means_the_same() {
    let mut world = World::new();
    let alice = world.api_client("alice", "192.0.2.1:1000");
    let reply = world.request(&alice, Req::allocate().with(attr::AttrType(0x8032), &[2, 0, 0, 0])).reply();
    assert_eq!((reply.code(), reply.all_relayed().len()), (0, 2));
}

#[test]
fn rfc8656_7_2_step_9_only_ipv6_can_be_additional() {
    let mut world = World::new();
    let alice = world.api_client("alice", "192.0.2.1:1000");
    for value in [&[1, 0, 0, 0][..], &[0, 0, 0, 0], &[3, 0, 0, 0], &[2], &[]] {
        let request = Req::allocate().with(ATTR_ADDITIONAL_ADDRESS_FAMILY, value);
        assert_eq!(world.request(&alice, request).code(), 400, "{value:?}");
    }
}

#[test]
fn rfc8656_7_2_steps_6_and_8_what_does_not_go_together_is_400() {
    let mut world = World::new();
    let alice = world.api_client("alice", "192.0.2.1:1000");
    assert_eq!(world.request(&alice, both().family(1)).code(), 400);
    assert_eq!(world.request(&alice, both().family(2)).code(), 400);
    assert_eq!(world.request(&alice, both().with(attr::ATTR_EVEN_PORT, &[0x80])).code(), 400);
    let reply = world.request(&alice, both().with(attr::ATTR_EVEN_PORT, &[0])).reply();
    assert_eq!(reply.code(), 0);
    assert!(reply.all_relayed().iter().all(|relayed| relayed.port().is_multiple_of(2)));
}

#[test]
fn rfc8656_7_2_step_9_a_family_that_cannot_be_had_is_told_beside_the_other() {
    for (lacking, number) in [(Family::V4, 1), (Family::V6, 2)] {
        let mut setup = Setup::default();
        setup.host.relay[lacking] = None;
        let mut world = World::with(setup);
        let alice = world.api_client("alice", "192.0.2.1:1000");
        let reply = world.request(&alice, both()).reply();
        assert_eq!((reply.code(), reply.all_relayed().len()), (0, 1));
        assert_eq!(reply.address_error(), (number, 440));

        let mut world = World::new();
        world.can_bind = ByFamily::new(|family| family != lacking);
        let alice = world.api_client("alice", "192.0.2.1:1000");
        let reply = world.request(&alice, both()).reply();
        assert_eq!((reply.code(), reply.all_relayed().len()), (0, 1));
        assert_eq!(reply.address_error(), (number, 508));
        let peer = if lacking == Family::V4 { V4 } else { V6 };
        assert_eq!(world.request(&alice, Req::permission(&[peer])).code(), 443);
    }
}

#[test]
fn rfc8656_7_2_step_9_without_either_family_there_is_no_allocation() {
    let mut world = World::new();
    world.can_bind = ByFamily::new(|_| false);
    let alice = world.api_client("alice", "192.0.2.1:1000");
    assert_eq!(world.request(&alice, both()).code(), 508);
    assert_eq!(world.metric("allocations"), 0);
}

#[test]
fn two_addresses_take_two_places_in_the_quotas() {
    let mut world = World::with(Setup { max_per_user: 3, ..Setup::default() });
    let alice = dual(&mut world);
    let second = world.api_client("alice", "192.0.2.1:1001");
    let reply = world.request(&second, both()).reply();
    assert_eq!((reply.code(), reply.all_relayed().len()), (0, 1));
    assert_eq!(reply.address_error(), (2, 508));
    let third = world.api_client("alice", "192.0.2.1:1002");
    assert_eq!(world.request(&third, Req::allocate()).code(), 486);
    // Giving up one of two relayed addresses gives back one place.
    assert_eq!(world.request(&alice, Req::refresh(0).family(2)).code(), 0);
    assert_eq!(world.request(&third, Req::allocate()).code(), 0);
}

#[test]
fn rfc8656_8_2_refresh_without_a_family_is_for_both_and_with_one_for_that() {
    let mut world = World::new();
    let alice = dual(&mut world);
    world.request(&alice, Req::permission(&[V4, V6]));
    world.pass(seconds(300));
    assert_eq!(world.request(&alice, Req::refresh(900)).reply().lifetime(), 900);
    world.pass(seconds(600));
    let reply = world.request(&alice, Req::refresh(600).family(2)).reply();
    assert_eq!((reply.code(), reply.lifetime()), (0, 600));
    world.request(&alice, Req::permission(&[V4, V6]));
    world.pass(seconds(300));
    // The IPv4 address is gone, with its permissions and channels.
    assert_eq!(world.request(&alice, Req::permission(&[V4])).code(), 443);
    assert_eq!(world.request(&alice, Req::refresh(600).family(1)).code(), 443);
    assert_eq!(world.metric("permissions"), 0, "the one for IPv6 was for 5 minutes");
    assert_eq!(world.request(&alice, Req::permission(&[V6])).code(), 0);
    world.pass(seconds(300));
    assert!(world.relayed(alice.at).is_none());
    assert_eq!(world.metric("allocations"), 0);
}

#[test]
fn rfc8656_8_2_one_of_two_addresses_can_be_given_up() {
    let mut world = World::new();
    let alice = dual(&mut world);
    world.request(&alice, Req::channel_bind(0x4000, V4));
    world.request(&alice, Req::channel_bind(0x4001, V6));
    let request = Req::refresh(0).family(1).auth(&alice);
    let reply = world.send(alice.at, request.bytes()).reply();
    assert_eq!((reply.code(), reply.lifetime()), (0, 0));
    assert_eq!(world.send(alice.at, request.bytes()).reply().bytes(), reply.bytes(), "a retransmission");
    assert_eq!((world.metric("channels"), world.metric("permissions")), (1, 1));
    world.send(alice.at, &channel_data(0x4000, b"hi")).silence();
    assert_eq!(world.peer_sends(alice.at, addr(V4), b"hi"), None);
    world.send(alice.at, &channel_data(0x4001, b"hi")).over_the_network();
    assert_eq!(world.request(&alice, Req::refresh(0).family(1)).code(), 443, "another transaction");
    assert_eq!(world.request(&alice, Req::refresh(0).family(2)).code(), 0);
    assert_eq!(world.request(&alice, Req::refresh(600)).code(), 437);
    for gauge in ["allocations", "channels", "permissions"] {
        assert_eq!(world.metric(gauge), 0, "{gauge}");
    }
}

#[test]
fn rfc8656_8_2_a_late_timer_does_not_prolong_one_of_two_addresses() {
    let mut world = World::new();
    let alice = dual(&mut world);
    world.pass(seconds(300));
    world.request(&alice, Req::refresh(600).family(2));
    world.pass_without_timers(seconds(300));
    assert_eq!(world.request(&alice, Req::permission(&[V4])).code(), 443);
    assert_eq!(world.request(&alice, Req::permission(&[V6])).code(), 0);
}
