//! RFC 8656 sections 5 to 7: making an allocation.

use bimcc_rtc::{
    credentials::User,
    values::{
        family::{ByFamily, Family},
        member::MemberId,
    },
};

use crate::harness::*;

#[test]
fn rfc8656_5_requests_without_an_allocation_get_437() {
    let mut world = World::new();
    let alice = world.api_client("alice", "192.0.2.1:1000");
    let requests = [
        Req::refresh(600),
        Req::refresh(0),
        Req::permission(&["203.0.113.1:1"]),
        Req::channel_bind(0x4000, "203.0.113.1:1"),
    ];
    for request in requests {
        let reply = world.request(&alice, request).reply();
        assert_eq!(reply.code(), 437);
        assert!(reply.is_signed_for(&alice));
    }
    assert_eq!(world.clients(), []);
}

#[test]
fn rfc8656_5_indications_and_channel_data_without_an_allocation_are_ignored() {
    let mut world = World::new();
    let at = addr("192.0.2.1:1000");
    world.send(at, Req::send(addr("203.0.113.1:1"), b"hi").bytes()).silence();
    world.send(at, &channel_data(0x4000, b"hi")).silence();
    assert_eq!(world.drops("no_allocation"), 2);
    assert_eq!(world.clients(), []);
}

#[test]
fn rfc8656_5_other_users_requests_get_441() {
    let mut world = World::new();
    let alice = world.alice();
    let mallory = world.api_client("mallory", "192.0.2.1:1000");
    let requests = [
        Req::refresh(0),
        Req::refresh(600),
        Req::permission(&["203.0.113.1:1"]),
        Req::channel_bind(0x4000, "203.0.113.1:1"),
    ];
    for request in requests {
        let reply = world.request(&mallory, request).reply();
        assert_eq!(reply.code(), 441);
        assert!(reply.is_signed_for(&mallory));
    }
    assert!(world.relayed(alice.at).is_some(), "the allocation is untouched");
    assert_eq!(world.metric("permissions"), 0);
    assert_eq!(world.request(&alice, Req::refresh(600)).code(), 0);
}

#[test]
fn rfc8656_5_the_same_user_elsewhere_has_no_part_in_the_allocation() {
    let mut world = World::new();
    world.alice();
    let elsewhere = world.api_client("alice", "192.0.2.1:1001");
    assert_eq!(world.request(&elsewhere, Req::refresh(600)).code(), 437);
    let (_, relayed) = world.allocated(elsewhere);
    assert_eq!(relayed, addr("198.51.100.1:50001"));
}

#[test]
fn rfc8656_5_software_is_in_answers_to_proven_clients() {
    let mut world = World::new();
    let alice = world.api_client("alice", "192.0.2.1:1000");
    for request in [Req::allocate(), Req::allocate(), Req::refresh(600)] {
        assert!(world.request(&alice, request).reply().value(attr::ATTR_SOFTWARE).is_some());
    }
}

#[test]
fn rfc8656_5_a_retransmitted_allocate_gets_the_identical_success() {
    let mut world = World::new();
    let alice = world.api_client("alice", "192.0.2.1:1000");
    let request = Req::allocate().auth(&alice);
    let first = world.send(alice.at, request.bytes()).reply();
    assert_eq!(first.code(), 0);
    world.pass(seconds(30));
    let again = world.send(alice.at, request.bytes()).reply();
    assert_eq!(again.bytes(), first.bytes());
    assert_eq!(world.metric("allocations_opened_total"), 1);
}

#[test]
fn rfc8656_5_another_users_request_is_no_retransmission_whatever_its_transaction() {
    let mut world = World::new();
    let alice = world.api_client("alice", "192.0.2.1:1000");
    let bob = world.api_client("bob", "192.0.2.1:1000");
    let (allocate, end) = (Req::allocate(), Req::refresh(0));
    assert_eq!(world.request(&alice, allocate.clone()).code(), 0);
    let reply = world.request(&bob, allocate).reply();
    assert_eq!(reply.code(), 437);
    assert!(reply.is_signed_for(&bob));
    assert_eq!(world.request(&alice, end.clone()).code(), 0);
    let reply = world.request(&bob, end).reply();
    assert_eq!(reply.code(), 437);
    assert!(reply.is_signed_for(&bob));
}

#[test]
fn rfc8656_5_an_allocate_repeated_while_the_socket_is_bound_is_answered_once() {
    let mut world = World::new();
    let alice = world.api_client("alice", "192.0.2.1:1000");
    let request = Req::allocate().auth(&alice);
    let other = Req::allocate().auth(&alice);
    let (again, another) = (request.clone(), other);
    world.while_binding = Some(Box::new(move |session, cx| {
        use bimcc_rtc::turn::core::session::Output;
        assert_eq!(session.handle_client(again.bytes(), cx), Output::Nothing);
        assert!(matches!(session.handle_client(another.bytes(), cx), Output::Reply(_)), "a new transaction: 437");
    }));
    assert_eq!(world.send(alice.at, request.bytes()).code(), 0);
    assert_eq!(world.metric("responses_total{method=\"allocate\",code=\"437\"}"), 1);
    assert_eq!(world.metric("allocations"), 1);
}

#[test]
fn rfc8656_7_2_success_has_relayed_lifetime_and_mapped() {
    let mut world = World::new();
    let alice = world.api_client("alice", "192.0.2.1:1000");
    let reply = world.request(&alice, Req::allocate()).reply();
    assert_eq!(reply.code(), 0);
    assert_eq!(reply.relayed(), addr("198.51.100.1:50000"));
    assert_eq!(reply.lifetime(), 600);
    assert_eq!(reply.address(attr::ATTR_XORMAPPED_ADDRESS), alice.at);
    assert!(reply.is_signed_for(&alice));
    assert!(!reply.has_right_fingerprint(), "none was in the request");
    assert_eq!(world.metric("allocations"), 1);
    assert_eq!(world.metric("permissions"), 0, "the list of permissions is empty");
    assert_eq!(world.metric("channels"), 0, "the list of channels is empty");
}

#[test]
fn rfc8656_7_2_step_1_without_authentication_is_401() {
    let mut world = World::new();
    let reply = world.send(addr("192.0.2.1:1000"), Req::allocate().bytes()).reply();
    assert_eq!(reply.code(), 401);
    assert_eq!(reply.nonce().len(), 35);
    assert_eq!(reply.value(attr::ATTR_SOFTWARE), None, "answers to strangers stay small");
    assert_eq!(world.clients(), [], "a stranger creates no state");
}

#[test]
fn rfc8656_7_2_step_1_expired_credentials_are_401() {
    let mut world = World::new();
    let user = User::api("alice").unwrap();
    let alice = world.client(&user, "192.0.2.1:1000", UNIX_START + 10);
    world.pass(seconds(9));
    assert_eq!(world.request(&alice, Req::refresh(0)).code(), 437, "authenticated");
    world.pass(seconds(1));
    assert_eq!(world.request(&alice, Req::allocate()).code(), 401);
    assert_eq!(world.clients(), []);
}

#[test]
fn rfc8656_7_2_step_1_members_must_be_here() {
    let mut world = World::new();
    let absent = world.member_client(1, "192.0.2.1:1000");
    assert_eq!(world.request(&absent, Req::allocate()).code(), 401, "never came");
    world.enter(1, 1, None);
    world.allocated(absent.clone());
    world.leave(1);
    assert_eq!(world.request(&absent, Req::allocate()).code(), 401, "left");
    assert_eq!(world.metric("allocations"), 0);
}

#[test]
fn rfc8656_7_2_step_1_a_member_that_left_while_the_socket_was_bound_gets_401() {
    for moves_on in [false, true] {
        let mut world = World::new();
        world.enter(1, 1, None);
        world.enter(2, 1, None);
        let alice = world.member_client(1, "192.0.2.1:1000");
        let directory = world.directory.clone();
        world.while_binding = Some(Box::new(move |_, _| {
            directory.leave(MemberId::from_bits(1));
            if moves_on {
                directory.enter(MemberId::from_bits(1), room(2), None);
            }
        }));
        assert_eq!(world.request(&alice, Req::allocate()).code(), 401, "moves on: {moves_on}");
        assert_eq!(world.metric("allocations"), 0);
        assert_eq!(world.clients(), []);
        world.leave(1);
        assert!(!world.has_session(alice.at));
    }
}

#[test]
fn rfc8656_7_2_step_2_a_second_allocate_is_437() {
    let mut world = World::new();
    let alice = world.alice();
    let reply = world.request(&alice, Req::allocate()).reply();
    assert_eq!(reply.code(), 437);
    assert!(reply.is_signed_for(&alice));
    let mallory = world.api_client("mallory", "192.0.2.1:1000");
    assert_eq!(world.request(&mallory, Req::allocate()).code(), 437, "whoever asks");
    assert_eq!(world.metric("allocations"), 1);
}

#[test]
fn rfc8656_7_2_step_2_the_5_tuple_is_free_again_after_the_end() {
    let mut world = World::new();
    let alice = world.alice();
    assert_eq!(world.request(&alice, Req::refresh(0)).code(), 0);
    let (alice, _) = world.allocated(alice);
    world.pass(seconds(600));
    world.allocated(alice);
}

#[test]
fn rfc8656_7_2_step_3_requested_transport_missing_is_400() {
    let mut world = World::new();
    let alice = world.api_client("alice", "192.0.2.1:1000");
    let reply = world.request(&alice, Req::new(METHOD_ALLOCATE).lifetime(600)).reply();
    assert_eq!(reply.code(), 400);
    assert!(reply.is_signed_for(&alice));
    assert_eq!(world.clients(), []);
}

#[test]
fn rfc8656_7_2_step_3_requested_transport_malformed_is_400() {
    let mut world = World::new();
    let alice = world.api_client("alice", "192.0.2.1:1000");
    for value in [&b""[..], &[17], &[17, 0, 0], &[17, 0, 0, 0, 0]] {
        let request = Req::new(METHOD_ALLOCATE).with(attr::ATTR_REQUESTED_TRANSPORT, value);
        assert_eq!(world.request(&alice, request).code(), 400, "{value:?}");
    }
}

#[test]
fn rfc8656_7_2_step_3_other_transports_are_442() {
    let mut world = World::new();
    let alice = world.api_client("alice", "192.0.2.1:1000");
    for protocol in (0..=u8::MAX).filter(|protocol| *protocol != 17) {
        let request = Req::new(METHOD_ALLOCATE).with(attr::ATTR_REQUESTED_TRANSPORT, &[protocol, 0, 0, 0]);
        assert_eq!(world.request(&alice, request).code(), 442, "{protocol}");
    }
    assert_eq!(world.metric("allocations"), 0);
}

#[test]
fn rfc8656_7_2_step_4_dont_fragment_is_supported() {
    let mut world = World::new();
    let alice = world.api_client("alice", "192.0.2.1:1000");
    assert_eq!(world.request(&alice, Req::allocate().with(attr::ATTR_DONT_FRAGMENT, b"")).code(), 0);
}

#[test]
fn rfc8656_7_2_step_8_even_port_without_reservation_gives_an_even_port() {
    let mut world = World::new();
    let alice = world.alice();
    assert_eq!(world.relayed(alice.at), Some(addr("198.51.100.1:50000")));
    let bob = world.api_client("bob", "192.0.2.2:1000");
    let reply = world.request(&bob, Req::allocate().with(attr::ATTR_EVEN_PORT, &[0])).reply();
    assert_eq!(reply.relayed(), addr("198.51.100.1:50002"));
}

#[test]
fn rfc8656_7_2_step_8_a_malformed_even_port_is_400() {
    let mut world = World::new();
    let alice = world.api_client("alice", "192.0.2.1:1000");
    for malformed in [&[][..], &[0, 0], &[0; 4]] {
        let request = Req::allocate().with(attr::ATTR_EVEN_PORT, malformed);
        assert_eq!(world.request(&alice, request).code(), 400, "{malformed:?}");
    }
}

#[test]
fn rfc8656_7_2_step_7_families_on_request() {
    let mut world = World::new();
    let alice = world.api_client("alice", "192.0.2.1:1000");
    let bob = world.api_client("bob", "[2001:db8::b]:1000");
    let carol = world.api_client("carol", "192.0.2.3:1000");
    let v6 = world.request(&alice, Req::allocate().family(2)).reply();
    assert!(v6.relayed().is_ipv6(), "an IPv4 client may have an IPv6 relay");
    let v4 = world.request(&bob, Req::allocate().family(1)).reply();
    assert!(v4.relayed().is_ipv4());
    assert_eq!(v4.address(attr::ATTR_XORMAPPED_ADDRESS), bob.at);
    for family in [0, 3, 255] {
        assert_eq!(world.request(&carol, Req::allocate().family(family)).code(), 440, "{family}");
    }
    let malformed = Req::allocate().with(attr::ATTR_REQUESTED_ADDRESS_FAMILY, &[1]);
    assert_eq!(world.request(&carol, malformed).code(), 400);
}

#[test]
fn rfc8656_7_2_step_7_families_that_the_host_lacks_are_440() {
    let v4_only = || Setup { host: host_without(Family::V6), ..Setup::default() };
    let mut world = World::with(v4_only());
    let alice = world.api_client("alice", "192.0.2.1:1000");
    let reply = world.request(&alice, Req::allocate().family(2)).reply();
    assert_eq!(reply.code(), 440);
    assert!(reply.is_signed_for(&alice));
    assert_eq!(world.request(&alice, Req::allocate()).code(), 0);
}

#[test]
fn rfc8656_7_2_step_7_deviation_without_the_attribute_an_ipv6_only_host_gives_ipv6() {
    let mut setup = Setup::default();
    setup.host.relay[Family::V4] = None;
    let mut world = World::with(setup);
    let alice = world.api_client("alice", "[2001:db8::a]:1000");
    assert_eq!(world.request(&alice, Req::allocate().family(1)).code(), 440);
    let reply = world.request(&alice, Req::allocate()).reply();
    assert!(reply.relayed().is_ipv6());
}

#[test]
fn rfc8656_7_2_step_7_without_any_relay_address_508() {
    let mut setup = Setup::default();
    setup.host.relay = ByFamily::default();
    let mut world = World::with(setup);
    let alice = world.api_client("alice", "192.0.2.1:1000");
    assert_eq!(world.request(&alice, Req::allocate()).code(), 508);
}

#[test]
fn rfc8656_7_2_step_10_a_users_quota_is_486() {
    let mut world = World::with(Setup { max_per_user: 2, ..Setup::default() });
    let clients = ["192.0.2.1:1", "192.0.2.1:2", "192.0.2.1:3"].map(|at| world.api_client("alice", at));
    world.allocated(clients[0].clone());
    world.allocated(clients[1].clone());
    let reply = world.request(&clients[2], Req::allocate()).reply();
    assert_eq!(reply.code(), 486);
    assert!(reply.is_signed_for(&clients[2]));
    let bob = world.api_client("bob", "192.0.2.2:1");
    world.allocated(bob);
    world.request(&clients[0], Req::refresh(0));
    world.allocated(clients[2].clone());
}

#[test]
fn rfc8656_7_2_step_10_credentials_of_one_user_count_together() {
    let mut world = World::with(Setup { max_per_user: 1, ..Setup::default() });
    let user = User::api("alice").unwrap();
    let old = world.client(&user, "192.0.2.1:1", UNIX_START + 100);
    let new = world.client(&user, "192.0.2.1:2", UNIX_START + 200);
    world.allocated(old);
    assert_eq!(world.request(&new, Req::allocate()).code(), 486);
}

#[test]
fn rfc8656_7_2_step_10_a_user_is_the_same_wherever_the_expiry_stands() {
    let mut world = World::with(Setup { max_per_user: 1, ..Setup::default() });
    let before = world.client(&User::api("alice").unwrap(), "192.0.2.1:1", UNIX_START + 100);
    let behind = world.client_named(&format!("alice:{}", UNIX_START + 200), "192.0.2.1:2");
    world.allocated(before);
    assert_eq!(world.request(&behind, Req::allocate()).code(), 486);
}

#[test]
fn rfc8656_7_2_step_10_users_without_a_name_have_a_quota_each() {
    let mut world = World::with(Setup { max_per_user: 1, ..Setup::default() });
    let (first, second) = (UNIX_START + 100, UNIX_START + 101);
    let usernames = [format!("{first}"), format!("{second}"), format!("{second}:"), format!(":{second}")];
    for (port, username) in (1..).zip(&usernames) {
        let client = world.client_named(username, &format!("192.0.2.1:{port}"));
        world.allocated(client);
    }
    for (port, username) in (11..).zip(&usernames) {
        let again = world.client_named(username, &format!("192.0.2.1:{port}"));
        assert_eq!(world.request(&again, Req::allocate()).code(), 486, "{username}");
    }
}

#[test]
fn rfc8656_7_2_a_full_server_is_508() {
    let mut world = World::with(Setup { max_total: 1, ..Setup::default() });
    world.alice();
    let bob = world.api_client("bob", "192.0.2.2:1");
    let reply = world.request(&bob, Req::allocate()).reply();
    assert_eq!(reply.code(), 508);
    assert!(reply.is_signed_for(&bob));
}

#[test]
fn rfc8656_7_2_no_relay_port_is_508_for_that_client_only() {
    let mut world = World::with(Setup { max_total: 1, ..Setup::default() });
    world.can_bind = ByFamily::new(|_| false);
    let alice = world.api_client("alice", "192.0.2.1:1000");
    let reply = world.request(&alice, Req::allocate()).reply();
    assert_eq!(reply.code(), 508);
    assert!(reply.is_signed_for(&alice));
    assert_eq!(world.clients(), [], "nothing is left, not even a place in the quota");
    world.can_bind = ByFamily::new(|_| true);
    world.allocated(alice);
}

#[test]
fn rfc8656_7_2_lifetime_is_between_default_and_an_hour() {
    let cases = [
        (None, 600),
        (Some(0), 600),
        (Some(1), 600),
        (Some(599), 600),
        (Some(601), 601),
        (Some(3600), 3600),
        (Some(3601), 3600),
        (Some(u32::MAX), 3600),
    ];
    for (asked, granted) in cases {
        let mut world = World::new();
        let alice = world.api_client("alice", "192.0.2.1:1000");
        let request = asked.into_iter().fold(Req::allocate(), Req::lifetime);
        assert_eq!(world.request(&alice, request).reply().lifetime(), granted, "{asked:?}");
        world.pass(seconds(u64::from(granted) - 1));
        assert!(world.relayed(alice.at).is_some(), "{asked:?}");
        world.pass(seconds(1));
        assert!(world.relayed(alice.at).is_none(), "{asked:?}");
    }
}

#[test]
fn rfc8656_7_2_a_malformed_lifetime_is_400() {
    let mut world = World::new();
    let alice = world.api_client("alice", "192.0.2.1:1000");
    let malformed = Req::allocate().with(attr::ATTR_LIFETIME, &[1, 2]);
    assert_eq!(world.request(&alice, malformed).code(), 400);
}

#[test]
fn rfc8656_6_data_does_not_refresh_an_allocation() {
    let mut world = World::new();
    let alice = world.alice();
    let peer = addr("203.0.113.1:1");
    world.pass(minutes(8));
    world.request(&alice, Req::permission(&["203.0.113.1:1"]));
    world.request(&alice, Req::channel_bind(0x4000, "203.0.113.1:1"));
    world.send(alice.at, &channel_data(0x4000, b"hi")).over_the_network();
    assert!(world.peer_sends(alice.at, peer, b"hi").is_some());
    world.pass(minutes(2));
    assert!(world.relayed(alice.at).is_none());
    assert_eq!(world.peer_sends(alice.at, peer, b"hi"), None);
    assert_eq!(world.metric("permissions"), 0, "everything ends with it");
    assert_eq!(world.metric("channels"), 0, "everything ends with it");
    assert_eq!(world.clients(), []);
}

#[test]
fn rfc8656_6_an_expired_allocation_is_gone_even_if_timers_are_late() {
    let mut world = World::new();
    let alice = world.alice();
    let peer = addr("203.0.113.1:1");
    world.pass(minutes(8));
    world.request(&alice, Req::channel_bind(0x4000, "203.0.113.1:1"));
    world.pass_without_timers(minutes(2));
    assert_eq!(world.peer_sends(alice.at, peer, b"hi"), None);
    world.send(alice.at, &channel_data(0x4000, b"hi")).silence();
    assert_eq!(world.request(&alice, Req::refresh(600)).code(), 437);
}
