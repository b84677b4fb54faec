//! Measures the cost of a relayed datagram in the core: drives one session in a loop, without sockets.
//!
//! Made for counting instructions, which a busy machine does not disturb.
//!
//! ```text
//! cargo bench --bench session -- --gate         fails if an operation takes more than it took
//! cargo bench --bench session -- --accept       keeps what it takes now
//! valgrind --tool=callgrind target/release/deps/session-… channel-in 10000
//! ```
#![allow(clippy::unwrap_used)]

#[path = "../../tests/turn_rules/harness.rs"]
mod harness;

mod gate;

use std::hint::black_box;

use bimcc_rtc::turn::{
    core::session::Via,
    wire::data::{HEADROOM, TAILROOM},
};
use harness::*;

const PAYLOAD: usize = 1000;
const ON_CHANNEL: &str = "203.0.113.1:1";
const PERMITTED: &str = "203.0.113.2:2";
const WAYS: [&str; 6] = ["channel-in", "send-in", "channel-out", "data-out", "refresh", "allocate"];

fn main() {
    let (flags, args): (Vec<_>, Vec<_>) = std::env::args().skip(1).partition(|arg| arg.starts_with("--"));
    let is_told = |flag: &str| flags.iter().any(|told| told == flag);
    if is_told("--gate") || is_told("--accept") {
        std::process::exit(if gate::run(is_told("--accept")) { 0 } else { 1 });
    }
    let [way, count] = &args[..] else {
        println!("--gate, --accept, or which way and how often: {}", WAYS.join(" | "));
        return;
    };
    let count: u32 = count.parse().unwrap();
    let mut world = World::new();
    let alice = world.alice();
    assert_eq!(world.request(&alice, Req::channel_bind(0x4000, ON_CHANNEL)).code(), 0);
    assert_eq!(world.request(&alice, Req::permission(&[PERMITTED])).code(), 0);
    match way.as_str() {
        "channel-in" => from_client(&mut world, &alice, &channel_data(0x4000, &[7; PAYLOAD]), count),
        "send-in" => from_client(&mut world, &alice, Req::send(addr(PERMITTED), &[7; PAYLOAD]).bytes(), count),
        "channel-out" => to_client(&mut world, &alice, ON_CHANNEL, count),
        "data-out" => to_client(&mut world, &alice, PERMITTED, count),
        "refresh" => from_client(&mut world, &alice, Req::refresh(600).auth(&alice).bytes(), count),
        "allocate" => allocate(&mut world, count),
        other => panic!("{other} is none of {WAYS:?}"),
    }
}

fn from_client(world: &mut World, client: &Client, datagram: &[u8], count: u32) {
    world.with_session(client.at, |session, cx| {
        for _ in 0..count {
            black_box(session.handle_client(black_box(datagram), cx));
        }
    });
}

fn to_client(world: &mut World, client: &Client, peer: &str, count: u32) {
    let mut buffer = vec![0; HEADROOM + PAYLOAD + TAILROOM];
    let from = (addr(peer), Via::Network);
    world.with_session(client.at, |session, cx| {
        for _ in 0..count {
            session.handle_peer(from, black_box(&mut buffer), HEADROOM, HEADROOM + PAYLOAD, cx).unwrap();
        }
    });
}

/// Allocations with a permission and a channel, each given back. What the client takes for its requests is counted too.
fn allocate(world: &mut World, count: u32) {
    let client = world.api_client("carol", "192.0.2.3:1");
    for _ in 0..count {
        assert_eq!(world.request(&client, Req::allocate()).code(), 0);
        assert_eq!(world.request(&client, Req::channel_bind(0x4000, ON_CHANNEL)).code(), 0);
        assert_eq!(world.request(&client, Req::refresh(0)).code(), 0);
    }
}
