//! A stream client stops reading while much is sent to it, among a hundred clients that exchange data.
//! `BIMCC_RTC_LONG=1` compares their latency with and without that client.
#![allow(clippy::unwrap_used)]

mod common;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use common::{
    turn_client::{Credentials, TurnClient},
    ways::{Way, World},
};

const SLOW_CLIENT: &str = "turn_dropped_packets_total{reason=\"slow_client\"}";

/// Pairs of clients that talk to each other.
const PAIRS: usize = 50;

/// The pause between two rounds of a pair. Each round is one datagram in each direction.
const PAUSE: Duration = Duration::from_millis(30);

/// What is sent to the client that does not read: 20 Mbit/s.
const LEN: usize = 1000;
const PER_SECOND: u32 = 2500;

const CHANNEL: u16 = 0x4000;

fn is_long() -> bool {
    std::env::var_os("BIMCC_RTC_LONG").is_some_and(|value| value == "1")
}

/// Two clients with a channel to each other.
fn pair(world: &World, ways: [Way; 2], credentials: &Credentials) -> [TurnClient; 2] {
    let [mut a, mut b] = ways.map(|way| world.allocated(way, credentials));
    a.bind_channel(CHANNEL, b.relayed()).unwrap();
    b.bind_channel(CHANNEL, a.relayed()).unwrap();
    [a, b]
}

/// Pairs of clients over all combinations of transports.
fn pairs(world: &World, credentials: &Credentials) -> Vec<[TurnClient; 2]> {
    const WAYS: [Way; 3] = [Way::Udp, Way::Tcp, Way::OnePortTls];
    (0..PAIRS).map(|index| pair(world, [WAYS[index % 3], WAYS[index / 3 % 3]], credentials)).collect()
}

/// When a datagram was sent, and how long it took.
type Sample = (Instant, Duration);

/// Lets a pair exchange datagrams until `is_over`. Each datagram must arrive before the next is sent, so none is lost.
fn talk(pair: &mut [TurnClient; 2], is_over: &AtomicBool) -> Vec<Sample> {
    let mut samples = Vec::new();
    let mut payload = [0; 160];
    for number in 0_u64.. {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        payload[..8].copy_from_slice(&number.to_be_bytes());
        for (from, to) in [(0, 1), (1, 0)] {
            let sent = Instant::now();
            pair[from].send_channel(CHANNEL, &payload);
            pair[to].expect_channel_data(CHANNEL, &payload);
            samples.push((sent, sent.elapsed()));
        }
        thread::sleep(PAUSE);
    }
    samples
}

/// Sends at a constant rate for this duration.
fn send_much(sender: &mut TurnClient, duration: Duration) {
    let started = Instant::now();
    let mut sent = 0;
    while started.elapsed() < duration {
        let due = (started.elapsed().as_secs_f64() * f64::from(PER_SECOND)) as u32;
        for _ in sent..due {
            sender.send_channel(CHANNEL, &[7; LEN]);
        }
        sent = due;
        thread::sleep(Duration::from_millis(2));
    }
}

/// All pairs exchange data while `meanwhile` runs.
fn all_talk(pairs: &mut [[TurnClient; 2]], meanwhile: impl FnOnce()) -> Vec<Sample> {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let talking: Vec<_> = pairs.iter_mut().map(|pair| scope.spawn(|| talk(pair, &is_over))).collect();
        meanwhile();
        is_over.store(true, Ordering::Relaxed);
        talking.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

/// A client over `way` gets much data and reads none of it, while the others exchange data and `meanwhile` runs its
/// sender. Returns the times of the others' datagrams.
fn with_one_that_does_not_read(
    world: &World,
    way: Way,
    credentials: &Credentials,
    pairs: &mut [[TurnClient; 2]],
    meanwhile: impl FnOnce(&mut TurnClient),
) -> Vec<Sample> {
    let dropped = world.server.metric(SLOW_CLIENT);
    let [mut deaf, mut sender] = pair(world, [way, Way::Udp], credentials);
    let before = world.server.resident_memory();
    let samples = all_talk(pairs, || meanwhile(&mut sender));
    let grown = world.server.resident_memory().saturating_sub(before);
    println!(
        "{way:?}: {} datagrams arrived in time, {} for the deaf client were dropped, memory {before} + {grown}",
        samples.len(),
        world.server.metric(SLOW_CLIENT) - dropped
    );
    assert!(grown < 4 << 20, "{grown} bytes more");
    assert!(world.server.metric(SLOW_CLIENT) > dropped, "what it did not take was dropped");
    assert_eq!(deaf.refresh(0), Ok(0), "it is served as before");
    sender.refresh(0).unwrap();
    samples
}

fn p99(mut latencies: Vec<Duration>) -> Duration {
    latencies.sort_unstable();
    latencies[latencies.len() * 99 / 100]
}

#[test]
fn a_client_that_stops_reading_costs_no_memory_and_no_other_a_datagram() {
    let world = World::start("");
    let credentials = world.server.mint("alice");
    let mut pairs = pairs(&world, &credentials);
    for way in [Way::Tcp, Way::Tls] {
        let send = |sender: &mut TurnClient| send_much(sender, Duration::from_secs(3));
        with_one_that_does_not_read(&world, way, &credentials, &mut pairs, send);
    }
}

/// Runs with and without that client alternate every half second, and their medians are compared, so that other work on
/// the machine affects both equally.
#[test]
fn a_client_that_stops_reading_slows_nobody() {
    if !is_long() {
        return common::say_skipped("BIMCC_RTC_LONG=1 measures latencies");
    }
    const TURNS: usize = 60;
    const TURN: Duration = Duration::from_millis(500);
    let world = World::start("");
    let credentials = world.server.mint("alice");
    let mut pairs = pairs(&world, &credentials);
    for way in [Way::Tcp, Way::Tls] {
        let mut begins = Vec::new();
        let take_turns = |sender: &mut TurnClient| {
            for turn in 0..TURNS {
                begins.push(Instant::now());
                if turn % 2 == 0 { thread::sleep(TURN) } else { send_much(sender, TURN) }
            }
            begins.push(Instant::now());
        };
        let samples = with_one_that_does_not_read(&world, way, &credentials, &mut pairs, take_turns);
        let mut figures = [Vec::new(), Vec::new()];
        for (turn, limits) in begins.windows(2).enumerate() {
            let within = samples.iter().filter(|(sent, _)| (limits[0]..limits[1]).contains(sent));
            figures[turn % 2].push(p99(within.map(|(_, latency)| *latency).collect()));
        }
        let [without, with] = figures.map(|mut figures| {
            figures.sort_unstable();
            figures[figures.len() / 2]
        });
        println!("{way:?}: median p99 {without:?} without it, {with:?} with it");
        assert!(with <= 2 * without, "{way:?}: p99 {without:?} without it, {with:?} with it");
    }
}
