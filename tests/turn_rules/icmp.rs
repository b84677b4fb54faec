//! RFC 8656 section 11.5: errors that the network reports about datagrams to peers are passed on to the client.

use bimcc_rtc::turn::wire::data::IcmpError;

use crate::harness::*;

const UNREACHABLE: IcmpError = IcmpError { kind: 3, code: 3, data: 0 };

#[test]
fn rfc8656_11_5_icmp_errors_become_data_indications() {
    let mut world = World::new();
    let alice = world.alice();
    world.request(&alice, Req::permission(&["203.0.113.1:7"]));
    let told = world.network_reports(alice.at, "203.0.113.1:7", UNREACHABLE).unwrap();
    assert_eq!((told.0.typ.class, told.0.typ.method), (CLASS_INDICATION, METHOD_DATA));
    assert_eq!(told.address(attr::ATTR_XOR_PEER_ADDRESS), addr("203.0.113.1:7"));
    assert!(told.value(attr::ATTR_DATA).is_none());
    // 16 reserved bits, 7 of the type, 9 of the code, 32 of data.
    assert_eq!(told.value(ATTR_ICMP).unwrap(), [0, 0, 6, 3, 0, 0, 0, 0]);
    let too_big = IcmpError { kind: 3, code: 4, data: 1400 };
    let told = world.network_reports(alice.at, "203.0.113.1:7", too_big).unwrap();
    assert_eq!(told.value(ATTR_ICMP).unwrap(), [0, 0, 6, 4, 0, 0, 5, 120]);
}

#[test]
fn rfc8656_11_5_only_types_that_matter_are_told() {
    let mut world = World::new();
    let alice = world.api_client("alice", "192.0.2.1:1000");
    world.request(&alice, Req::allocate().with(ATTR_ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]));
    let peers = ["203.0.113.1:7", "[2001:db8:77::1]:7"];
    assert_eq!(world.request(&alice, Req::permission(&peers)).code(), 0);
    for (peer, told) in peers.into_iter().zip([&[3, 11][..], &[1, 2, 3]]) {
        for kind in 0..=255 {
            let error = IcmpError { kind, code: 0, data: 0 };
            let is_told = world.network_reports(alice.at, peer, error).is_some();
            assert_eq!(is_told, told.contains(&kind), "{peer} {kind}");
        }
    }
}

#[test]
fn rfc8656_11_5_nothing_is_told_of_peers_without_permission() {
    let mut world = World::new();
    let alice = world.alice();
    assert!(world.network_reports(alice.at, "203.0.113.1:7", UNREACHABLE).is_none());
    world.request(&alice, Req::permission(&["203.0.113.1:7"]));
    assert!(world.network_reports(alice.at, "203.0.113.2:7", UNREACHABLE).is_none());
    world.pass(minutes(5));
    assert!(world.network_reports(alice.at, "203.0.113.1:7", UNREACHABLE).is_none());
    assert!(world.network_reports(addr("192.0.2.9:9"), "203.0.113.1:7", UNREACHABLE).is_none());
}
