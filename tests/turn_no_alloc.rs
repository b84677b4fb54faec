//! The packet path of a TURN session allocates no memory: proven with a counting allocator, in a separate program.
#![allow(clippy::unwrap_used)]

#[path = "turn_rules/harness.rs"]
mod harness;

use bimcc_rtc::turn::{
    core::session::{Output, Via},
    wire::data::{HEADROOM, TAILROOM},
};
use harness::*;

const PAYLOAD: usize = 1000;

/// How often the allocator is asked for memory while `datagram` from the client at `at` is handled a hundred times.
fn allocations_of_client_data(world: &mut World, client: &Client, datagram: &[u8]) -> u64 {
    world.with_session(client.at, |session, cx| {
        let counted = allocation_counter::measure(|| {
            for _ in 0..100 {
                let output = session.handle_client(datagram, cx);
                assert!(matches!(output, Output::ToPeer { payload, .. } if payload.len() == PAYLOAD));
            }
        });
        counted.count_total
    })
}

fn allocations_of_peer_data(world: &mut World, client: &Client, peer: &str) -> u64 {
    let mut buffer = vec![0; HEADROOM + PAYLOAD + TAILROOM];
    world.with_session(client.at, |session, cx| {
        let counted = allocation_counter::measure(|| {
            for _ in 0..100 {
                session.handle_peer((addr(peer), Via::Network), &mut buffer, HEADROOM, HEADROOM + PAYLOAD, cx).unwrap();
            }
        });
        counted.count_total
    })
}

#[test]
fn relayed_data_takes_no_memory() {
    let mut world = World::new();
    let alice = world.alice();
    let (with_channel, without) = ("203.0.113.1:1", "203.0.113.2:2");
    assert_eq!(world.request(&alice, Req::channel_bind(0x4000, with_channel)).code(), 0);
    assert_eq!(world.request(&alice, Req::permission(&[without])).code(), 0);

    let on_channel = channel_data(0x4000, &[7; PAYLOAD]);
    assert_eq!(allocations_of_client_data(&mut world, &alice, &on_channel), 0, "ChannelData");
    let send = Req::send(addr(without), &[7; PAYLOAD]);
    assert_eq!(allocations_of_client_data(&mut world, &alice, send.bytes()), 0, "Send indication");
    assert_eq!(allocations_of_peer_data(&mut world, &alice, with_channel), 0, "to ChannelData");
    assert_eq!(allocations_of_peer_data(&mut world, &alice, without), 0, "to Data indication");
}

#[test]
fn the_counter_counts() {
    let counted = allocation_counter::measure(|| drop(std::hint::black_box(vec![0u8; 10])));
    assert_eq!(counted.count_total, 1);
}
