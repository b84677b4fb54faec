//! RFC 8656 section 11: Send and Data.

use bimcc_rtc::turn::core::{reach::Reach, session::Via};

use crate::harness::*;

const PEER: &str = "203.0.113.1:7000";

fn permitted() -> (World, Client) {
    let mut world = World::new();
    let alice = world.alice();
    assert_eq!(world.request(&alice, Req::permission(&[PEER])).code(), 0);
    (world, alice)
}

#[test]
fn rfc8656_11_2_send_forms_a_datagram() {
    let (mut world, alice) = permitted();
    for len in [0, 1, 2, 3, 4, 1200, 4000, 65_000] {
        let payload = vec![0x5A; len];
        let outcome = world.send(alice.at, Req::send(addr(PEER), &payload).bytes());
        assert_eq!(outcome.over_the_network(), (addr(PEER), payload));
    }
}

#[test]
fn rfc8656_11_2_send_may_be_sent_although_a_channel_is_bound() {
    let (mut world, alice) = permitted();
    world.request(&alice, Req::channel_bind(0x4000, PEER));
    world.send(alice.at, Req::send(addr(PEER), b"out").bytes()).over_the_network();
}

#[test]
fn rfc8656_11_2_send_without_peer_or_data_is_dropped() {
    let (mut world, alice) = permitted();
    let no_data = Req::of_class(METHOD_SEND, CLASS_INDICATION).peer(addr(PEER));
    let no_peer = Req::of_class(METHOD_SEND, CLASS_INDICATION).with(attr::ATTR_DATA, b"out");
    let bad_peer = no_peer.clone().with(attr::ATTR_XOR_PEER_ADDRESS, &[0, 1, 0, 0]);
    for indication in [no_data, no_peer, bad_peer] {
        world.send(alice.at, indication.bytes()).silence();
    }
    assert_eq!(world.drops("malformed"), 3);
}

#[test]
fn rfc8656_11_2_dont_fragment_is_passed_on() {
    let (mut world, alice) = permitted();
    let plain = Req::send(addr(PEER), b"out");
    let with_df = plain.clone().with(attr::ATTR_DONT_FRAGMENT, b"");
    for (indication, expected) in [(plain, false), (with_df, true)] {
        let Outcome::ToPeer { dont_fragment, reach, .. } = world.send(alice.at, indication.bytes()) else {
            panic!("not sent");
        };
        assert_eq!(dont_fragment, expected);
        assert_eq!(reach, Reach::Network { because_of: None });
    }
}

#[test]
fn rfc8489_6_3_2_unknown_required_attributes_spoil_an_indication() {
    let (mut world, alice) = permitted();
    let required = Req::send(addr(PEER), b"out").with(attr::AttrType(0x7FFF), b"");
    world.send(alice.at, required.bytes()).silence();
    let optional = Req::send(addr(PEER), b"out").with(attr::AttrType(0xC000), b"any");
    world.send(alice.at, optional.bytes()).over_the_network();
    let fingerprint = Req::send(addr(PEER), b"out").fingerprint();
    world.send(alice.at, fingerprint.bytes()).over_the_network();
}

#[test]
fn rfc8656_11_3_a_datagram_from_a_peer_becomes_a_data_indication() {
    let (mut world, alice) = permitted();
    for len in [0, 1, 2, 3, 4, 1200, 4000, 65_000] {
        let payload = vec![0xA5; len];
        let got = world.peer_sends(alice.at, addr(PEER), &payload);
        assert_eq!(got, Some(FromPeer::Data { peer: addr(PEER), payload }), "{len}");
    }
}

#[test]
fn rfc8656_11_3_a_datagram_that_does_not_fit_is_dropped() {
    let (mut world, alice) = permitted();
    assert_eq!(world.peer_sends(alice.at, addr(PEER), &vec![0; 65_535]), None);
    assert_eq!(world.drops("malformed"), 1);
}

#[test]
fn rfc8656_11_3_indications_are_numbered_anew() {
    let (mut world, alice) = permitted();
    let mut transactions = Vec::new();
    for _ in 0..3 {
        let mut buffer = [0; 64];
        let bounds = world.with_session(alice.at, |session, cx| {
            session.handle_peer((addr(PEER), Via::Network), &mut buffer, 60, 60, cx)
        });
        let (begin, _) = bounds.unwrap();
        transactions.push(buffer[begin + 8..begin + 20].to_vec());
    }
    transactions.dedup();
    assert_eq!(transactions.len(), 3);
}

#[test]
fn rfc8656_11_4_a_data_indication_from_a_client_is_ignored() {
    let (mut world, alice) = permitted();
    let data = Req::of_class(stun::message::METHOD_DATA, CLASS_INDICATION).peer(addr(PEER)).with(attr::ATTR_DATA, b"x");
    world.send(alice.at, data.bytes()).silence();
}
