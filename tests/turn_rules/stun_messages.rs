//! RFC 8489 sections 5, 6, 7 and 14: messages, whatever their method.

use stun::message::{CLASS_ERROR_RESPONSE, CLASS_SUCCESS_RESPONSE, METHOD_CONNECT, METHOD_DATA};

use crate::harness::*;

const AT: &str = "192.0.2.1:1000";

#[test]
fn rfc8489_7_3_1_a_binding_request_gets_its_mapped_address() {
    let mut world = World::new();
    for at in [AT, "[2001:db8::a]:65535"] {
        let request = Req::new(METHOD_BINDING);
        let reply = world.send(addr(at), request.bytes()).reply();
        assert_eq!(reply.code(), 0);
        assert_eq!(reply.address(attr::ATTR_XORMAPPED_ADDRESS), addr(at));
        assert_eq!(reply.0.transaction_id, request.0.transaction_id);
        assert_eq!(reply.0.attributes.0.len(), 1, "and nothing else");
    }
    assert_eq!(world.clients(), []);
    assert_eq!(world.metric("responses_total{method=\"binding\",code=\"success\"}"), 2);
}

#[test]
fn rfc8489_7_3_1_a_binding_request_works_with_an_allocation_too() {
    let mut world = World::new();
    let alice = world.alice();
    assert_eq!(world.send(alice.at, Req::new(METHOD_BINDING).bytes()).code(), 0);
    assert!(world.relayed(alice.at).is_some());
}

#[test]
fn rfc8489_6_3_1_unknown_required_attributes_are_420_with_the_list() {
    let mut world = World::new();
    let alice = world.alice();
    let with_unknown = |request: Req| {
        let numbers = [0x0002, 0x7FFF, 0x0024, 0x7FFF];
        numbers.into_iter().fold(request, |request, number| request.with(attr::AttrType(number), b"abc"))
    };
    let requests = [Req::allocate(), Req::refresh(0), Req::permission(&["203.0.113.1:1"]), Req::channel_bind(0, AT)];
    for request in requests {
        let reply = world.request(&alice, with_unknown(request)).reply();
        assert_eq!(reply.code(), 420);
        assert_eq!(reply.unknown(), [0x0002, 0x7FFF, 0x0024], "each once");
        assert!(reply.is_signed_for(&alice));
    }
    assert!(world.relayed(alice.at).is_some(), "nothing was done");
    assert_eq!(world.metric("permissions"), 0);
    let reply = world.send(addr(AT), with_unknown(Req::new(METHOD_BINDING)).bytes()).reply();
    assert_eq!((reply.code(), reply.unknown()), (420, vec![0x0002, 0x7FFF, 0x0024]));
}

/// A datagram has room for 16,000 attributes, which cost a stranger nothing but would be expensive to parse.
#[test]
fn rfc8489_6_3_1_a_request_is_no_longer_than_makes_sense() {
    let mut world = World::new();
    let with_unknown = |count: u16| {
        let numbers = 0x3000..0x3000 + count;
        numbers.fold(Req::new(METHOD_BINDING), |request, number| request.with(attr::AttrType(number), b""))
    };
    let reply = world.send(addr(AT), with_unknown(2000).bytes()).reply();
    assert_eq!((reply.code(), reply.unknown().len()), (420, 2000));
    world.send(addr(AT), with_unknown(2100).bytes()).silence();
    let alice = world.alice();
    let peers: Vec<_> = (0..256).map(|n| format!("203.0.113.{n}:9")).collect();
    let peers: Vec<_> = peers.iter().map(String::as_str).collect();
    assert_eq!(world.request(&alice, Req::permission(&peers)).code(), 0, "all that an allocation may have");
}

#[test]
fn rfc8489_6_3_1_unknown_attributes_of_strangers_are_challenged_first() {
    let mut world = World::new();
    let request = Req::allocate().with(attr::AttrType(0x7777), b"");
    assert_eq!(world.send(addr(AT), request.bytes()).code(), 401);
}

#[test]
fn rfc8489_6_3_1_unknown_optional_attributes_are_ignored() {
    let mut world = World::new();
    let optional = [0x8001, 0x8003, 0x8020, 0x8022, 0xC057, 0xFFFF];
    let with_optional = |request: Req| {
        optional.into_iter().fold(request, |request, number| request.with(attr::AttrType(number), b"any"))
    };
    assert_eq!(world.send(addr(AT), with_optional(Req::new(METHOD_BINDING)).bytes()).code(), 0);
    let alice = world.api_client("alice", AT);
    for request in [Req::allocate(), Req::refresh(600), Req::permission(&["203.0.113.1:1"])] {
        assert_eq!(world.request(&alice, with_optional(request)).code(), 0);
    }
}

#[test]
fn rfc8489_6_3_known_attributes_that_do_not_belong_there_are_ignored() {
    let mut world = World::new();
    let alice = world.api_client("alice", AT);
    let of_responses = [0x0001, 0x0009, 0x000A, 0x0016, 0x0020];
    let request =
        of_responses.into_iter().fold(Req::allocate(), |request, number| request.with(attr::AttrType(number), b"any"));
    assert_eq!(world.request(&alice, request.channel(1)).code(), 0);
    let with_peer = Req::refresh(600).peer(addr("127.0.0.1:1")).with(attr::ATTR_DATA, b"any");
    assert_eq!(world.request(&alice, with_peer).code(), 0);
}

#[test]
fn rfc8489_14_the_first_of_repeated_attributes_counts() {
    let mut world = World::new();
    let alice = world.api_client("alice", AT);
    let request = Req::allocate().lifetime(700).lifetime(800).with(attr::ATTR_REQUESTED_TRANSPORT, &[6, 0, 0, 0]);
    assert_eq!(world.request(&alice, request).reply().lifetime(), 700);
}

#[test]
fn rfc8489_14_7_a_fingerprint_is_answered_with_one() {
    let mut world = World::new();
    let alice = world.api_client("alice", AT);
    let binding = world.send(alice.at, Req::new(METHOD_BINDING).fingerprint().bytes()).reply();
    let challenge = world.send(alice.at, Req::allocate().fingerprint().bytes()).reply();
    let success = world.send(alice.at, Req::allocate().auth(&alice).fingerprint().bytes()).reply();
    let error = world.send(alice.at, Req::allocate().auth(&alice).fingerprint().bytes()).reply();
    for (reply, code) in [(&binding, 0), (&challenge, 401), (&success, 0), (&error, 437)] {
        assert_eq!(reply.code(), code);
        assert!(reply.has_right_fingerprint(), "{code}");
    }
    assert!(success.is_signed_for(&alice));
}

#[test]
fn rfc8489_14_7_a_wrong_fingerprint_is_dropped() {
    let mut world = World::new();
    let alice = world.api_client("alice", AT);
    let right = Req::allocate().auth(&alice).fingerprint();
    let mut wrong = right.bytes().to_vec();
    *wrong.last_mut().unwrap() ^= 1;
    world.send(alice.at, &wrong).silence();
    let last = Req::new(METHOD_BINDING).fingerprint().with(attr::ATTR_SOFTWARE, b"late");
    world.send(alice.at, last.bytes()).silence();
    let short = Req::new(METHOD_BINDING).with(attr::ATTR_FINGERPRINT, &[1, 2]);
    world.send(alice.at, short.bytes()).silence();
    assert_eq!(world.drops("malformed"), 3);
    assert_eq!(world.send(alice.at, right.bytes()).code(), 0);
}

#[test]
fn rfc8489_6_3_truncated_messages_are_dropped() {
    let mut world = World::new();
    let alice = world.api_client("alice", AT);
    let request = Req::allocate().auth(&alice).fingerprint();
    for len in 0..request.bytes().len() {
        world.send(alice.at, &request.bytes()[..len]).silence();
    }
    assert_eq!(world.drops("malformed"), request.bytes().len() as u64);
    assert_eq!(world.clients(), []);
}

#[test]
fn rfc8489_6_3_bytes_behind_the_message_are_not_taken() {
    let mut world = World::new();
    for extra in [1, 3, 4, 20, 60_000] {
        for request in [Req::new(METHOD_BINDING), Req::allocate()] {
            let mut bytes = request.bytes().to_vec();
            bytes.resize(bytes.len() + extra, 0);
            world.send(addr(AT), &bytes).silence();
        }
    }
}

#[test]
fn requests_of_more_than_8_kib_are_dropped() {
    let mut world = World::new();
    let of_size = |size: usize| Req::new(METHOD_BINDING).with(attr::ATTR_SOFTWARE, &vec![b'x'; size - 24]);
    assert_eq!(world.send(addr(AT), of_size(8192).bytes()).code(), 0);
    world.send(addr(AT), of_size(8196).bytes()).silence();
    world.send(addr(AT), of_size(65_500).bytes()).silence();
}

#[test]
fn rfc8489_5_broken_headers_are_dropped() {
    let mut world = World::new();
    let request = Req::allocate();
    let broken = |index: usize, value: u8| {
        let mut bytes = request.bytes().to_vec();
        bytes[index] = value;
        bytes
    };
    // The two zero bits, the cookie, a length that is not a multiple of 4, a length that is too small, and one that is
    // too large.
    for bytes in
        [broken(0, 0x80), broken(0, 0xC0), broken(4, 0), broken(7, 0), broken(3, 7), broken(3, 4), broken(3, 12)]
    {
        world.send(addr(AT), &bytes).silence();
    }
    assert_eq!(world.drops("malformed"), 7);
}

#[test]
fn rfc8489_14_attributes_beyond_the_message_are_dropped() {
    let mut world = World::new();
    for len in [5, 8, 100, 0xFFFF_u16] {
        let mut bytes = Req::allocate().bytes().to_vec();
        bytes[22..24].copy_from_slice(&len.to_be_bytes());
        world.send(addr(AT), &bytes).silence();
    }
}

/// Clients of RFC 3489 have 4 more bytes of transaction id in the place of the cookie.
#[test]
fn rfc3489_messages_without_a_cookie_are_dropped() {
    let mut world = World::new();
    for method in [1u16, 2, 3] {
        let mut classic = [&method.to_be_bytes()[..], &[0, 0], &[7; 16]].concat();
        world.send(addr("192.0.2.1:1000"), &classic).silence();
        // They often have CHANGE-REQUEST.
        classic[3] = 8;
        classic.extend_from_slice(&[0, 3, 0, 4, 0, 0, 0, 6]);
        world.send(addr("192.0.2.1:1000"), &classic).silence();
    }
    assert_eq!(world.drops("malformed"), 6);
}

#[test]
fn rfc8489_6_3_unknown_methods_are_dropped() {
    let mut world = World::new();
    for unknown in [METHOD_CONNECT, METHOD_SEND, METHOD_DATA, method(0), method(2), method(0x80), method(0xFFF)] {
        world.send(addr(AT), Req::new(unknown).with(attr::ATTR_SOFTWARE, b"12345678").bytes()).silence();
    }
}

#[test]
fn rfc8489_6_3_indications_and_responses_are_never_answered() {
    let mut world = World::new();
    let alice = world.alice();
    for method in (0..=0xFFF).map(method) {
        for class in [CLASS_INDICATION, CLASS_SUCCESS_RESPONSE, CLASS_ERROR_RESPONSE] {
            let message = Req::of_class(method, class).auth(&alice);
            world.send(alice.at, message.bytes()).silence();
            world.send(addr("192.0.2.9:1"), message.bytes()).silence();
        }
    }
    assert!(world.relayed(alice.at).is_some());
}
