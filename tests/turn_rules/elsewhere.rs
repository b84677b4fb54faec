//! What happens to new allocations when the server wants none: RFC 8489 section 10 and RFC 8656 section 7.2 step 11.
//! Also the limit on what an allocation may relay.

use bimcc_rtc::{
    shutdown::Shutdown,
    turn::shared::bitrate::Bitrate,
    values::family::{ByFamily, Family},
};

use crate::harness::*;

#[test]
fn rfc8656_7_2_step_11_clients_are_sent_to_the_alternate_of_their_family() {
    let mut alternates = ByFamily::default();
    alternates[Family::V4] = Some(addr("203.0.113.5:3478"));
    let mut world = World::with(Setup { alternates, ..Setup::default() });
    let alice = world.api_client("alice", "192.0.2.1:1000");
    let reply = world.request(&alice, Req::allocate()).reply();
    assert_eq!(reply.code(), 300);
    assert!(reply.is_signed_for(&alice));
    assert_eq!(reply.value(attr::ATTR_ALTERNATE_SERVER).unwrap(), [0, 1, 13, 150, 203, 0, 113, 5]);
    let mut stranger = alice.clone();
    stranger.credential.password.clear();
    assert_eq!(world.request(&stranger, Req::allocate()).code(), 401, "nobody else learns of it");
    let bob = world.api_client("bob", "[2001:db8::b]:1000");
    assert_eq!(world.request(&bob, Req::allocate()).code(), 0, "there is none of this family");
}

#[test]
fn rfc8656_7_2_step_11_members_are_sent_nowhere() {
    let alternates = ByFamily::new(|_| Some(addr("203.0.113.5:3478")));
    let mut world = World::with(Setup { alternates, ..Setup::default() });
    for (id, at) in [(1, "192.0.2.1:1000"), (2, "[2001:db8::1]:1000")] {
        world.enter(id, 1, None);
        let member = world.member_client(id, at);
        assert_eq!(world.request(&member, Req::allocate()).code(), 0, "no other server knows it");
        let other = world.api_client("alice", &at.replace("1000", "1001"));
        assert_eq!(world.request(&other, Req::allocate()).code(), 300);
    }
}

#[test]
fn rfc8489_14_15_an_ipv6_alternate_has_its_own_form() {
    let mut alternates = ByFamily::default();
    alternates[Family::V6] = Some(addr("[2001:db8::5]:3478"));
    let mut world = World::with(Setup { alternates, ..Setup::default() });
    let bob = world.api_client("bob", "[2001:db8::b]:1000");
    let value = world.request(&bob, Req::allocate()).reply().value(attr::ATTR_ALTERNATE_SERVER).unwrap();
    assert_eq!(value, [&[0, 2, 13, 150, 0x20, 1, 0x0D, 0xB8][..], &[0; 11], &[5]].concat());
}

#[test]
fn a_server_that_ends_takes_nobody_and_keeps_those_it_has() {
    let mut world = World::new();
    let alice = world.alice();
    let bob = world.api_client("bob", "192.0.2.2:1000");
    let (trigger, shutdown) = Shutdown::new();
    world.shared.shutdown = shutdown;
    trigger.begin();
    let reply = world.request(&bob, Req::allocate()).reply();
    assert_eq!(reply.code(), 508);
    assert!(reply.is_signed_for(&bob));
    assert_eq!(world.request(&alice, Req::refresh(600)).code(), 0);
    assert_eq!(world.request(&alice, Req::permission(&["203.0.113.1:7"])).code(), 0);
}

#[test]
fn an_allocation_relays_no_more_than_its_bitrate_each_way() {
    let bitrate = Some(Bitrate(1_000_000.try_into().unwrap()));
    let mut world = World::with(Setup { bitrate, ..Setup::default() });
    let (alice, peer) = (world.alice(), addr("203.0.113.1:7"));
    world.request(&alice, Req::permission(&["203.0.113.1:7"]));
    let datagram = vec![0; 1000];
    let mut passed = 0;
    while let Outcome::ToPeer { .. } = world.send(alice.at, Req::send(peer, &datagram).bytes()) {
        passed += 1;
    }
    assert_eq!(passed, 65, "64 KiB at once, and not one datagram more");
    assert_eq!(world.drops("bitrate"), 1);
    assert!(world.peer_sends(alice.at, peer, &datagram).is_some(), "the other way has its own share");
    world.pass(seconds(1));
    let mut received = 0;
    while world.peer_sends(alice.at, peer, &datagram).is_some() {
        received += 1;
    }
    assert_eq!(received, 65);
    assert!(matches!(world.send(alice.at, Req::send(peer, &datagram).bytes()), Outcome::ToPeer { .. }));
    let bob = world.api_client("bob", "192.0.2.2:1000");
    let (bob, _) = world.allocated(bob);
    world.request(&bob, Req::permission(&["203.0.113.1:7"]));
    assert!(world.peer_sends(bob.at, peer, &datagram).is_some(), "others have theirs");
}
