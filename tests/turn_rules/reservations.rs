//! RFC 8656 sections 7.1 and 7.2: an even port, the next one held for later, and the token that gets it.

use bimcc_rtc::credentials::User;

use crate::harness::*;

fn reserving() -> Req {
    Req::allocate().with(attr::ATTR_EVEN_PORT, &[0x80])
}

fn with_token(token: &[u8]) -> Req {
    Req::allocate().with(attr::ATTR_RESERVATION_TOKEN, token)
}

/// Alice with an allocation on an even port, and the token for the next port.
fn reserved(world: &mut World) -> (Client, Vec<u8>) {
    let alice = world.api_client("alice", "192.0.2.1:1000");
    let reply = world.request(&alice, reserving()).reply();
    assert_eq!((reply.code(), reply.relayed()), (0, addr("198.51.100.1:50000")));
    assert!(reply.is_signed_for(&alice));
    let token = reply.value(attr::ATTR_RESERVATION_TOKEN).unwrap();
    assert_eq!(token.len(), 8);
    (alice, token)
}

#[test]
fn rfc8656_7_2_the_r_bit_reserves_the_next_port_for_whoever_has_the_token() {
    let mut world = World::new();
    let (_, token) = reserved(&mut world);
    let again = world.api_client("alice", "192.0.2.1:1001");
    let reply = world.request(&again, with_token(&token)).reply();
    assert_eq!((reply.code(), reply.relayed()), (0, addr("198.51.100.1:50001")));
    assert!(reply.value(attr::ATTR_RESERVATION_TOKEN).is_none());
    assert_eq!(world.metric("allocations"), 2);
    let third = world.api_client("alice", "192.0.2.1:1002");
    assert_eq!(world.request(&third, with_token(&token)).code(), 508, "a token is good once");
}

#[test]
fn rfc8656_7_2_a_retransmitted_reserving_allocate_gets_the_same_token() {
    let mut world = World::new();
    let alice = world.api_client("alice", "192.0.2.1:1000");
    let request = reserving().auth(&alice);
    let first = world.send(alice.at, request.bytes()).reply();
    assert_eq!(first.code(), 0);
    assert_eq!(world.send(alice.at, request.bytes()).reply().bytes(), first.bytes());
}

#[test]
fn rfc8656_7_2_step_5_a_token_that_is_unknown_expired_or_anothers_is_508() {
    let mut world = World::new();
    let (_, token) = reserved(&mut world);
    let again = world.api_client("alice", "192.0.2.1:1001");
    let mallory = world.api_client("mallory", "192.0.2.66:1");
    let reply = world.request(&again, with_token(&[0xEE; 8])).reply();
    assert_eq!(reply.code(), 508);
    assert!(reply.is_signed_for(&again));
    assert_eq!(world.request(&mallory, with_token(&token)).code(), 508);
    world.pass(seconds(30));
    assert_eq!(world.request(&again, with_token(&token)).code(), 508);
    assert_eq!(world.request(&again, Req::allocate()).code(), 0, "without it there is another");
}

#[test]
fn rfc8656_7_2_step_5_a_token_comes_with_no_other_wish_for_the_address() {
    let mut world = World::new();
    let (_, token) = reserved(&mut world);
    let again = world.api_client("alice", "192.0.2.1:1001");
    for wish in [
        with_token(&token).with(attr::ATTR_EVEN_PORT, &[0]),
        with_token(&token).with(attr::ATTR_EVEN_PORT, &[0x80]),
        with_token(&token).family(1),
        with_token(&token).with(ATTR_ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]),
        with_token(&token[..7]),
        with_token(&[&token[..], &[0]].concat()),
    ] {
        assert_eq!(world.request(&again, wish).code(), 400);
    }
    assert_eq!(world.request(&again, with_token(&token)).code(), 0, "nothing of this used the token up");
}

#[test]
fn rfc8656_7_2_a_reservation_counts_in_the_quotas_until_it_ends() {
    let mut world = World::with(Setup { max_per_user: 2, ..Setup::default() });
    let (_, token) = reserved(&mut world);
    let again = world.api_client("alice", "192.0.2.1:1001");
    assert_eq!(world.request(&again, Req::allocate()).code(), 486);
    assert_eq!(world.request(&again, with_token(&token)).code(), 0, "it has its place already");
    world.request(&again, Req::refresh(0));
    assert_eq!(world.request(&again, reserving()).code(), 486, "two more would be three");
    assert_eq!(world.request(&again, Req::allocate()).code(), 0);

    let mut world = World::with(Setup { max_per_user: 2, ..Setup::default() });
    reserved(&mut world);
    let again = world.api_client("alice", "192.0.2.1:1001");
    world.pass(seconds(30));
    assert_eq!(world.request(&again, Req::allocate()).code(), 0);
}

#[test]
fn rfc8656_7_2_an_ipv6_port_can_be_reserved_too() {
    let mut world = World::new();
    let alice = world.api_client("alice", "192.0.2.1:1000");
    let reply = world.request(&alice, reserving().family(2)).reply();
    let token = reply.value(attr::ATTR_RESERVATION_TOKEN).unwrap();
    let again = world.api_client("alice", "192.0.2.1:1001");
    let next = world.request(&again, with_token(&token)).reply().relayed();
    assert_eq!((next.ip(), next.port()), (reply.relayed().ip(), reply.relayed().port() + 1));
}

#[test]
fn a_reservation_does_not_follow_a_member_into_another_room() {
    let mut world = World::new();
    world.enter(1, 1, None);
    let member = world.member_client(1, "192.0.2.1:1000");
    let reply = world.request(&member, reserving()).reply();
    let token = reply.value(attr::ATTR_RESERVATION_TOKEN).unwrap();
    world.leave(1);
    world.enter(1, 2, None);
    let moved = world.member_client(1, "192.0.2.1:1001");
    assert_eq!(world.request(&moved, with_token(&token)).code(), 508);
}

#[test]
fn nothing_can_be_sent_to_a_port_that_is_held() {
    let mut world = World::new();
    reserved(&mut world);
    let bob = world.api_client("bob", "192.0.2.2:1");
    let (bob, _) = world.allocated(bob);
    world.request(&bob, Req::permission(&["198.51.100.1:50001"]));
    let sent = world.send(bob.at, Req::send(addr("198.51.100.1:50001"), b"anybody?").bytes());
    assert!(world.deliver_own(&bob, sent).is_none());
}

#[test]
fn a_credential_that_has_expired_gets_no_reserved_address() {
    let mut world = World::new();
    let user = User::api("alice").unwrap();
    let alice = world.client(&user, "192.0.2.1:1000", UNIX_START + 10);
    let again = world.client(&user, "192.0.2.1:1001", UNIX_START + 10);
    let token = world.request(&alice, reserving()).reply().value(attr::ATTR_RESERVATION_TOKEN).unwrap();
    world.pass(seconds(10));
    assert_eq!(world.request(&again, with_token(&token)).code(), 401);
}
