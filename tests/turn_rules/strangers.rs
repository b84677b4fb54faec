//! What a client gets that has proven nothing: small answers, rarely, and no state.

use bimcc_rtc::turn::shared::limiter::{ANSWERS_PER_SECOND, BURST};
use std::net::SocketAddr;

use crate::harness::*;

const CLIENTS: [&str; 2] = ["192.0.2.1:1000", "[2001:db8::a]:1000"];

/// Bytes on the wire, with IP and UDP headers.
fn on_wire(len: usize, at: SocketAddr) -> f64 {
    (len + 8 + if at.is_ipv4() { 20 } else { 40 }) as f64
}

/// By what factor an answer is larger than its request.
#[track_caller]
fn amplification(world: &mut World, at: &str, request: &Req) -> f64 {
    let reply = world.send(addr(at), request.bytes()).reply();
    on_wire(reply.bytes().len(), addr(at)) / on_wire(request.bytes().len(), addr(at))
}

#[test]
fn a_binding_answer_is_under_one_and_a_half_times_its_request() {
    let mut world = World::new();
    for at in CLIENTS {
        let requests = [Req::new(METHOD_BINDING), Req::new(METHOD_BINDING).with(attr::ATTR_SOFTWARE, b"")];
        for request in requests {
            for request in [request.clone(), request.fingerprint()] {
                let factor = amplification(&mut world, at, &request);
                assert!(factor < 1.5, "{at}: {factor}");
            }
        }
    }
}

#[test]
fn a_420_to_a_binding_is_under_one_and_a_half_times_its_request() {
    let mut world = World::new();
    for at in CLIENTS {
        for count in 1..100 {
            let numbers = (0x7000..0x7000 + count).map(attr::AttrType);
            let request = numbers.fold(Req::new(METHOD_BINDING), |request, number| request.with(number, b""));
            for request in [request.clone(), request.fingerprint()] {
                assert_eq!(world.send(addr(at), request.bytes()).code(), 420);
                let factor = amplification(&mut world, at, &request);
                assert!(factor < 1.5, "{at}, {count} attributes: {factor}");
            }
        }
    }
}

#[test]
fn a_challenge_is_under_3_times_its_request() {
    let mut world = World::new();
    for at in CLIENTS {
        let shortest = [
            Req::allocate(),
            Req::refresh(0),
            Req::new(METHOD_CREATE_PERMISSION).with(attr::ATTR_SOFTWARE, b"1234"),
            Req::new(METHOD_CHANNEL_BIND).channel(0x4000),
        ];
        for request in shortest {
            assert_eq!(request.bytes().len(), 28, "as short as it may be");
            for request in [request.clone(), request.fingerprint()] {
                let factor = amplification(&mut world, at, &request);
                assert!(factor < 3.0, "{at}: {factor}");
            }
        }
        let mut forger = world.api_client("alice", at);
        forger.credential.password.clear();
        let wrong_password = amplification(&mut world, at, &Req::allocate().auth(&forger));
        forger.nonce.clear();
        let stale_nonce = amplification(&mut world, at, &Req::allocate().auth(&forger));
        let incomplete = amplification(&mut world, at, &Req::new(METHOD_ALLOCATE).integrity(&forger));
        assert!(wrong_password.max(stale_nonce).max(incomplete) < 3.0);
    }
}

#[test]
fn with_the_longest_realm_a_challenge_is_still_under_3_times_its_request() {
    let realm = "a realm of 40 bytes, as long as may be..";
    let mut world = World::with(Setup { realm: &realm[..40], ..Setup::default() });
    for at in CLIENTS {
        for request in [Req::allocate(), Req::allocate().fingerprint()] {
            let factor = amplification(&mut world, at, &request);
            assert!(factor < 3.0, "{at}: {factor}");
        }
    }
}

#[test]
fn requests_too_short_to_be_a_legal_allocate_are_dropped() {
    let mut world = World::new();
    let at = addr(CLIENTS[0]);
    let methods = [METHOD_ALLOCATE, METHOD_REFRESH, METHOD_CREATE_PERMISSION, METHOD_CHANNEL_BIND];
    for method in methods {
        world.send(at, Req::new(method).bytes()).silence();
        world.send(at, Req::new(method).with(attr::ATTR_SOFTWARE, b"").bytes()).silence();
        world.send(at, Req::new(method).fingerprint().bytes()).silence();
    }
    assert_eq!(world.drops("too_short_to_challenge"), 12);
    assert_eq!(world.send(at, Req::allocate().bytes()).code(), 401);
}

/// A client on a connection has proven its address, so an answer cannot hit anybody else.
#[test]
fn on_streams_even_the_shortest_request_is_challenged() {
    let mut world = World::with(Setup { on_streams: true, ..Setup::default() });
    for at in CLIENTS.map(addr) {
        for method in [METHOD_ALLOCATE, METHOD_REFRESH, METHOD_CREATE_PERMISSION, METHOD_CHANNEL_BIND] {
            let bare = Req::new(method);
            for request in [bare.clone(), bare.clone().fingerprint(), bare.with(attr::ATTR_SOFTWARE, b"")] {
                let reply = world.send(at, request.bytes()).reply();
                assert_eq!(reply.code(), 401);
                assert!(!reply.nonce().is_empty());
            }
        }
    }
    assert_eq!(world.drops("too_short_to_challenge"), 0);
}

#[test]
fn on_streams_answers_are_not_counted() {
    let mut world = World::with(Setup { on_streams: true, ..Setup::default() });
    for _ in 0..=BURST {
        assert_eq!(world.send(addr(CLIENTS[0]), Req::new(METHOD_BINDING).bytes()).code(), 0);
        assert_eq!(world.send(addr(CLIENTS[0]), Req::allocate().bytes()).code(), 401);
    }
    let mut forger = world.api_client("alice", CLIENTS[0]);
    forger.credential.password.clear();
    assert_eq!(world.request(&forger, Req::allocate()).code(), 401);
    assert_eq!(world.drops("rate_limited"), 0);
}

#[test]
fn strangers_create_no_state() {
    let mut world = World::new();
    for port in 1..=1000 {
        let at = (ip("192.0.2.1"), port).into();
        assert_eq!(world.send(at, Req::allocate().bytes()).code(), 401);
        world.send(at, &channel_data(0x4000, b"x")).silence();
        assert!(!world.has_session(at));
    }
    assert_eq!(world.metric("allocations_opened_total"), 0);
}

#[test]
fn one_source_gets_its_share_of_answers_whatever_its_ports() {
    let mut world = World::new();
    let mut mallory = world.api_client("mallory", "192.0.2.66:1");
    mallory.credential.password.clear();
    // One answer was used for the nonce above.
    let mut left = BURST - 1;
    let answers = |world: &mut World, count: u32| {
        (0..count)
            .filter(|n| {
                let at = (ip("192.0.2.66"), 1 + (n % 5000) as u16).into();
                let outcome = match n % 3 {
                    0 => world.send(at, Req::allocate().bytes()),
                    1 => world.send(at, Req::new(METHOD_BINDING).bytes()),
                    _ => world.request(&mallory, Req::allocate()),
                };
                matches!(outcome, Outcome::Reply(_))
            })
            .count() as u32
    };
    assert_eq!(answers(&mut world, BURST + 100), left);
    assert_eq!(world.drops("rate_limited"), 101);
    left = ANSWERS_PER_SECOND;
    world.pass(seconds(1));
    assert_eq!(answers(&mut world, ANSWERS_PER_SECOND + 100), left);
    // Sources share buckets rarely, so at least three of four others are not affected.
    let others = ["192.0.2.67:1", "192.0.2.68:1", "[2001:db8::1]:1", "198.18.0.1:1"];
    let answered =
        others.iter().filter(|at| matches!(world.send(addr(at), Req::allocate().bytes()), Outcome::Reply(_)));
    assert!(answered.count() >= 3);
}

/// A world in which `192.0.2.66` has no answers left.
fn exhausted() -> World {
    let mut world = World::new();
    for _ in 0..=BURST {
        world.send(addr("192.0.2.66:1"), Req::new(METHOD_BINDING).bytes());
    }
    assert_eq!(world.drops("rate_limited"), 1);
    world
}

#[test]
fn addresses_of_connected_members_are_not_limited() {
    let mut world = exhausted();
    let at = addr("192.0.2.66:5000");
    world.send(at, Req::allocate().bytes()).silence();
    world.enter(1, 1, Some("192.0.2.66"));
    for _ in 0..BURST + 100 {
        assert_eq!(world.send(at, Req::allocate().bytes()).code(), 401);
    }
    assert_eq!(world.send(at, Req::new(METHOD_BINDING).bytes()).code(), 0);
    world.leave(1);
    world.send(at, Req::allocate().bytes()).silence();
}

#[test]
fn an_address_that_a_proxy_hides_is_not_exempt() {
    let mut world = exhausted();
    world.enter(1, 1, None);
    world.send(addr("192.0.2.66:5000"), Req::allocate().bytes()).silence();
}

#[test]
fn clients_with_an_allocation_are_not_limited() {
    let mut world = World::new();
    let alice = world.api_client("alice", "192.0.2.66:1000");
    let (alice, _) = world.allocated(alice);
    for _ in 0..=BURST {
        world.send(addr("192.0.2.66:1"), Req::new(METHOD_BINDING).bytes());
    }
    world.send(addr("192.0.2.66:1"), Req::new(METHOD_BINDING).bytes()).silence();
    // The nonce of the client has become stale, so it needs a new one.
    let stale = Client { nonce: b"stale".to_vec(), ..alice.clone() };
    assert_eq!(world.request(&stale, Req::refresh(600)).code(), 438);
    assert_eq!(world.send(alice.at, Req::new(METHOD_BINDING).bytes()).code(), 0);
}

#[test]
fn proven_clients_get_every_answer() {
    let mut world = World::new();
    let alice = world.api_client("alice", "192.0.2.66:1000");
    for _ in 0..=BURST {
        world.send(addr("192.0.2.66:1"), Req::new(METHOD_BINDING).bytes());
    }
    assert_eq!(world.request(&alice, Req::refresh(600)).code(), 437);
    assert_eq!(world.request(&alice, Req::allocate()).code(), 0);
}
