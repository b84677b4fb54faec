//! RFC 8656 section 8: refreshing and deleting an allocation.

use bimcc_rtc::{credentials::User, values::member::MemberId};

use crate::harness::*;

#[test]
fn rfc8656_8_2_refresh_restarts_the_lifetime() {
    let mut world = World::new();
    let alice = world.alice();
    world.pass(seconds(599));
    let reply = world.request(&alice, Req::new(METHOD_REFRESH)).reply();
    assert_eq!((reply.code(), reply.lifetime()), (0, 600));
    assert!(reply.is_signed_for(&alice));
    world.pass(seconds(599));
    assert!(world.relayed(alice.at).is_some());
    world.pass(seconds(1));
    assert!(world.relayed(alice.at).is_none());
    assert_eq!(world.request(&alice, Req::refresh(600)).code(), 437);
}

#[test]
fn rfc8656_8_2_desired_lifetime_is_between_default_and_an_hour() {
    let mut world = World::new();
    let alice = world.alice();
    for (asked, granted) in [(1, 600), (600, 600), (700, 700), (3600, 3600), (3601, 3600), (u32::MAX, 3600)] {
        assert_eq!(world.request(&alice, Req::refresh(asked)).reply().lifetime(), granted, "{asked}");
    }
    // A later request for a shorter lifetime counts.
    assert_eq!(world.request(&alice, Req::refresh(1)).reply().lifetime(), 600);
    world.pass(seconds(600));
    assert!(world.relayed(alice.at).is_none());
}

#[test]
fn rfc8656_8_2_a_malformed_lifetime_is_400() {
    let mut world = World::new();
    let alice = world.alice();
    let reply = world.request(&alice, Req::new(METHOD_REFRESH).with(attr::ATTR_LIFETIME, &[0, 0])).reply();
    assert_eq!(reply.code(), 400);
    assert!(world.relayed(alice.at).is_some());
}

#[test]
fn rfc8656_8_2_refresh_0_deletes() {
    let mut world = World::new();
    let alice = world.alice();
    world.request(&alice, Req::channel_bind(0x4000, "203.0.113.1:1"));
    let reply = world.request(&alice, Req::refresh(0)).reply();
    assert_eq!((reply.code(), reply.lifetime()), (0, 0));
    assert!(reply.is_signed_for(&alice));
    assert!(world.relayed(alice.at).is_none());
    for gauge in ["allocations", "permissions", "channels"] {
        assert_eq!(world.metric(gauge), 0, "{gauge}");
    }
    world.send(alice.at, &channel_data(0x4000, b"hi")).silence();
}

#[test]
fn rfc8656_8_2_a_retransmitted_refresh_0_gets_the_same_answer() {
    let mut world = World::new();
    let alice = world.alice();
    let request = Req::refresh(0).auth(&alice);
    let first = world.send(alice.at, request.bytes()).reply();
    world.pass(seconds(39));
    let again = world.send(alice.at, request.bytes()).reply();
    assert_eq!(again.bytes(), first.bytes());
    assert_eq!(world.request(&alice, Req::refresh(0)).code(), 437, "another transaction");
    world.pass(seconds(1));
    assert_eq!(world.clients(), [], "the memory of it ends with the client's patience");
    assert_eq!(world.send(alice.at, request.bytes()).code(), 437);
}

#[test]
fn rfc8656_8_2_the_other_family_is_443() {
    let mut world = World::new();
    let alice = world.alice();
    let reply = world.request(&alice, Req::refresh(600).family(2)).reply();
    assert_eq!(reply.code(), 443);
    assert!(reply.is_signed_for(&alice));
    assert_eq!(world.request(&alice, Req::refresh(0).family(2)).code(), 443, "nor does it delete");
    assert_eq!(world.request(&alice, Req::refresh(600).family(9)).code(), 443);
    assert_eq!(world.request(&alice, Req::refresh(600).family(1)).code(), 0);
}

#[test]
fn expiry_of_the_credential_does_not_end_a_members_allocation() {
    let mut world = World::new();
    world.enter(1, 1, None);
    let alice = world.client(&User::Member(MemberId::from_bits(1)), "192.0.2.1:1000", UNIX_START + 60);
    let (alice, _) = world.allocated(alice);
    world.pass(seconds(59));
    assert_eq!(world.request(&alice, Req::refresh(600)).code(), 0);
    assert_eq!(world.metric("refreshes_after_expiry_total"), 0);
    world.pass(seconds(1));
    assert_eq!(world.request(&alice, Req::refresh(600)).code(), 0);
    assert_eq!(world.metric("refreshes_after_expiry_total"), 1);
    // The allocation can still be used, too.
    assert_eq!(world.request(&alice, Req::permission(&["198.51.100.1:1"])).code(), 0);
}

#[test]
fn expiry_of_the_credential_does_not_end_an_api_users_allocation() {
    let mut world = World::new();
    let alice = world.client(&User::api("alice").unwrap(), "192.0.2.1:1000", UNIX_START + 60);
    let (alice, _) = world.allocated(alice);
    world.pass(seconds(300));
    assert_eq!(world.request(&alice, Req::refresh(600)).code(), 0);
    assert_eq!(world.metric("refreshes_after_expiry_total"), 1);
}

#[test]
fn a_members_allocation_ends_with_the_membership() {
    let mut world = World::new();
    world.enter(1, 1, None);
    let alice = world.member_client(1, "192.0.2.1:1000");
    let (alice, _) = world.allocated(alice);
    world.leave(1);
    assert!(world.relayed(alice.at).is_none());
    assert_eq!(world.request(&alice, Req::refresh(600)).code(), 437);
    assert_eq!(world.metric("allocations"), 0);
}

#[test]
fn a_members_allocation_ends_when_it_joins_another_room() {
    let mut world = World::new();
    world.enter(1, 1, None);
    let alice = world.member_client(1, "192.0.2.1:1000");
    let (alice, _) = world.allocated(alice);
    world.enter(1, 2, None);
    world.end_told();
    assert_eq!(world.request(&alice, Req::refresh(600)).code(), 437);
    world.allocated(alice);
}

#[test]
fn a_departed_members_allocation_does_nothing_even_before_its_worker_is_told() {
    let mut world = World::new();
    world.enter(1, 1, Some("192.0.2.1"));
    world.enter(2, 1, Some("203.0.113.2"));
    let clients = [1000, 1001, 1002].map(|port| world.member_client(1, &format!("192.0.2.1:{port}")));
    for client in &clients {
        world.allocated(client.clone());
        assert_eq!(world.request(client, Req::channel_bind(0x4000, "203.0.113.2:2")).code(), 0);
    }
    world.directory.leave(MemberId::from_bits(1));
    assert_eq!(world.request(&clients[0], Req::refresh(600)).code(), 437);
    world.send(clients[1].at, &channel_data(0x4000, b"hi")).silence();
    assert_eq!(world.peer_sends(clients[2].at, addr("203.0.113.2:2"), b"hi"), None);
    assert_eq!(world.metric("allocations"), 0);
    world.end_told();
}
