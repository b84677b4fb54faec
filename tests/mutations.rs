//! Sends mutated messages of real clients to the program, over UDP and, in pieces, over TCP. Half of them are signed
//! after the mutation, so that they get past authentication. `BIMCC_RTC_LONG=1` sends fifty times as much;
//! `MUTATION_SEED` repeats a run.
#![allow(clippy::unwrap_used)]

mod common;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use common::{
    process::Process,
    turn_client::{Credentials, TurnClient},
    wire::Wire,
};
use nix::sys::signal::Signal;
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use stun::{
    attributes::{ATTR_NONCE, ATTR_REALM, ATTR_USERNAME, ATTR_XOR_PEER_ADDRESS, AttrType},
    fingerprint::FINGERPRINT,
    integrity::MessageIntegrity,
    message::{Message, MessageType, Setter},
    xoraddr::XorMappedAddress,
};

/// The number of cases over each transport.
const CASES: usize = 2000;

/// After this many cases, the client restores everything that it needs to be relayed.
const BETWEEN_REPAIRS: usize = 10;

const CHANNEL: u16 = 0x4000;

const SEND: u16 = 0x0016;

const XOR_PEER_ADDRESS: u16 = 0x0012;
/// USERNAME, MESSAGE-INTEGRITY, REALM, NONCE, FINGERPRINT: the values in the recording are no longer valid.
const OF_THE_RECORDING: [u16; 5] = [0x0006, 0x0008, 0x0014, 0x0015, 0x8028];
/// Allocate, Refresh, CreatePermission, ChannelBind, Binding.
const REQUESTS: [u16; 5] = [0x0003, 0x0004, 0x0008, 0x0009, 0x0001];

/// All answers that only clients get which have proven who they are. 400 is left out, because strangers get it, too.
const HANDLERS_ANSWER: [&str; 10] = ["success", "403", "420", "437", "440", "441", "442", "443", "486", "508"];

/// A recorded message.
#[derive(Clone)]
enum Sample {
    Channel(Vec<u8>),
    Stun(Stun),
}

#[derive(Clone)]
struct Stun {
    kind: u16,
    attributes: Vec<(u16, Vec<u8>)>,
    has_fingerprint: bool,
}

impl Stun {
    fn is_request(&self) -> bool {
        REQUESTS.contains(&self.kind) && self.kind != 0x0001
    }
}

fn samples() -> Vec<Sample> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/turn");
    let mut paths: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "bin"));
    paths.sort();
    assert!(paths.len() >= 10, "{paths:?}");
    paths.iter().map(|path| read(&std::fs::read(path).unwrap())).collect()
}

fn read(datagram: &[u8]) -> Sample {
    if datagram[0] & 0xC0 == 0x40 {
        return Sample::Channel(datagram[4..].to_vec());
    }
    let mut message = Message::new();
    message.unmarshal_binary(datagram).unwrap();
    let all: Vec<_> = message.attributes.0.into_iter().map(|a| (a.typ.value(), a.value)).collect();
    let has_fingerprint = all.iter().any(|(kind, _)| *kind == 0x8028);
    let attributes = all.into_iter().filter(|(kind, _)| !OF_THE_RECORDING.contains(kind)).collect();
    Sample::Stun(Stun { kind: message.typ.value(), attributes, has_fingerprint })
}

/// A client that sends mutated messages.
struct Mutant<'a> {
    server: SocketAddr,
    credentials: &'a Credentials,
    over_tcp: bool,
    client: TurnClient,
    /// Another client's relayed address.
    peer: SocketAddr,
    rng: StdRng,
    /// The number of requests that were not mutated.
    honest: i64,
}

impl<'a> Mutant<'a> {
    fn new(server: SocketAddr, credentials: &'a Credentials, over_tcp: bool, peer: SocketAddr, rng: StdRng) -> Self {
        let client = connect(server, credentials, over_tcp);
        let mut mutant = Self { server, credentials, over_tcp, client, peer, rng, honest: 1 };
        mutant.repair();
        mutant
    }

    /// Makes sure that there is an allocation with a permission and a channel, whatever happened before.
    fn repair(&mut self) {
        self.honest += 2;
        if self.client.refresh(600).is_err() {
            self.honest += 1;
            self.client.allocate().unwrap();
        }
        if self.client.bind_channel(CHANNEL, self.peer).is_err() {
            // A mutation has bound the number or the peer to something else.
            self.honest += 3;
            self.client.refresh(0).unwrap();
            self.client.allocate().unwrap();
            self.client.bind_channel(CHANNEL, self.peer).unwrap();
        }
    }

    fn send(&mut self, samples: &[Sample], is_signed: bool) {
        // Among unsigned messages, data gets furthest.
        let takes_data = !is_signed && self.rng.random_ratio(2, 3);
        let fits = |sample: &&Sample| match sample {
            Sample::Stun(stun) => takes_data == (stun.kind == SEND) && (stun.is_request() || !is_signed),
            Sample::Channel(_) => takes_data,
        };
        let samples: Vec<_> = samples.iter().filter(fits).collect();
        let sample = (*samples.choose(&mut self.rng).unwrap()).clone();
        let bytes = match sample {
            Sample::Stun(mut stun) if is_signed => {
                self.aim(&mut stun);
                (0..self.rng.random_range(1..=3)).for_each(|_| self.mutate(&mut stun));
                self.signed(&stun)
            }
            Sample::Stun(mut stun) => {
                self.aim(&mut stun);
                let bytes = if stun.is_request() { self.signed(&stun) } else { encoded(&stun, &mut self.rng).raw };
                self.damaged(bytes)
            }
            Sample::Channel(payload) => {
                let head = [CHANNEL.to_be_bytes(), (payload.len() as u16).to_be_bytes()].concat();
                self.damaged([head, payload].concat())
            }
        };
        self.transmit(bytes);
    }

    /// Replaces the peers of the recording, which do not exist here.
    fn aim(&mut self, stun: &mut Stun) {
        let mut message = Message::new();
        XorMappedAddress { ip: self.peer.ip(), port: self.peer.port() }
            .add_to_as(&mut message, ATTR_XOR_PEER_ADDRESS)
            .unwrap();
        let peer = message.get(ATTR_XOR_PEER_ADDRESS).unwrap();
        stun.attributes.iter_mut().filter(|(kind, _)| *kind == XOR_PEER_ADDRESS).for_each(|a| a.1.clone_from(&peer));
    }

    /// Changes the content of a message so that it stays a valid message.
    fn mutate(&mut self, stun: &mut Stun) {
        let rng = &mut self.rng;
        let count = stun.attributes.len();
        if count == 0 || rng.random_ratio(1, 12) {
            stun.kind = *REQUESTS[..4].choose(rng).unwrap();
            return;
        }
        let at = rng.random_range(0..count);
        match rng.random_range(0..10) {
            0 => _ = stun.attributes.remove(at),
            1 => stun.attributes.push(stun.attributes[at].clone()),
            2 => stun.attributes.swap(at, rng.random_range(0..count)),
            3 => stun.attributes[at].0 = rng.random_range(0..0x30),
            4 => stun.attributes[at].0 = rng.random(),
            5 => stun.attributes[at].1.truncate(rng.random_range(0..8)),
            6 => stun.attributes[at].1.extend(rng.random::<[u8; 5]>()),
            _ => {
                let value = &mut stun.attributes[at].1;
                if !value.is_empty() {
                    let byte = rng.random_range(0..value.len());
                    value[byte] ^= 1 << rng.random_range(0..8);
                }
            }
        }
    }

    fn signed(&mut self, stun: &Stun) -> Vec<u8> {
        let mut message = encoded(stun, &mut self.rng);
        let Credentials { username, password } = self.credentials.clone();
        message.add(ATTR_USERNAME, username.as_bytes());
        message.add(ATTR_REALM, self.client.realm.as_bytes());
        message.add(ATTR_NONCE, &self.client.nonce);
        let key = MessageIntegrity::new_long_term_integrity(username, self.client.realm.clone(), password);
        // A mutated attribute would conflict with the real one.
        message.attributes.0.clear();
        key.add_to(&mut message).unwrap();
        if stun.has_fingerprint {
            FINGERPRINT.add_to(&mut message).unwrap();
        }
        message.raw
    }

    /// Changes bytes, whatever they mean.
    fn damaged(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        let rng = &mut self.rng;
        for _ in 0..if rng.random_ratio(1, 4) { 3 } else { 1 } {
            let at = rng.random_range(0..bytes.len());
            match rng.random_range(0..24) {
                0 => bytes.truncate(at.max(1)),
                1 => bytes.insert(at, rng.random()),
                2 => bytes[at] = rng.random(),
                3 => bytes[at] = 0xFF,
                _ => bytes[at] ^= 1 << rng.random_range(0..8),
            }
        }
        bytes
    }

    fn transmit(&mut self, mut bytes: Vec<u8>) {
        if !self.over_tcp {
            return self.client.wire.send_raw(&bytes).unwrap();
        }
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (piece, later) = rest.split_at(self.rng.random_range(1..=rest.len()));
            // A server that has closed the connection does not have to accept the rest.
            if self.client.wire.send_raw(piece).is_err() {
                break;
            }
            rest = later;
        }
        // After a wrong length nobody knows where the next message begins.
        if !is_one_frame(&bytes) {
            self.client = connect(self.server, self.credentials, true);
            self.honest += 1;
            self.repair();
        }
    }
}

fn connect(server: SocketAddr, credentials: &Credentials, over_tcp: bool) -> TurnClient {
    let wire = |server| TurnClient::by(Wire::tcp(server), server, Some(credentials));
    let mut client = if over_tcp { wire(server) } else { TurnClient::new(server, Some(credentials)) };
    client.allocate().unwrap();
    client
}

fn encoded(stun: &Stun, rng: &mut StdRng) -> Message {
    let mut message = Message::new();
    message.typ = MessageType::default();
    message.typ.read_value(stun.kind);
    message.transaction_id.0 = rng.random();
    message.write_header();
    for (kind, value) in &stun.attributes {
        // With an IPv6 peer the recorded transaction would matter; these are IPv4.
        message.add(AttrType(*kind), value);
    }
    message
}

/// Whether a stream can continue after these bytes.
fn is_one_frame(bytes: &[u8]) -> bool {
    let [first, _, high, low, ..] = bytes else {
        return false;
    };
    let announced = usize::from(u16::from_be_bytes([*high, *low]));
    match first >> 6 {
        0 => bytes.get(4..8) == Some(&[0x21, 0x12, 0xA4, 0x42]) && bytes.len() == 20 + announced,
        1 => bytes.len() == (4 + announced).next_multiple_of(4),
        _ => false,
    }
}

/// How many messages got to a handler: answered by one, or relayed.
fn handled(server: &Process) -> i64 {
    let text = server.metrics();
    let counts = |line: &&str| {
        let is_answer = line.starts_with("bimcc_rtc_turn_responses_total{")
            && !line.contains("method=\"binding\"")
            && HANDLERS_ANSWER.iter().any(|code| line.contains(&format!("code=\"{code}\"")));
        is_answer || line.starts_with("bimcc_rtc_turn_relayed_packets_total{")
    };
    text.lines().filter(counts).map(|line| line.rsplit_once(' ').unwrap().1.parse::<i64>().unwrap()).sum()
}

/// Makes an allocation, exchanges data with another client, and gives the allocation back.
fn an_honest_client_is_served(server: &Process, credentials: &Credentials, over_tcp: bool) {
    let mut a = connect(server.turn(), credentials, over_tcp);
    let mut b = TurnClient::allocated(server.turn(), credentials);
    a.permit(&[b.relayed()]).unwrap();
    b.bind_channel(CHANNEL, a.relayed()).unwrap();
    a.send(b.relayed(), b"there");
    b.expect_channel_data(CHANNEL, b"there");
    b.send_channel(CHANNEL, b"and back");
    a.expect_data(b.relayed(), b"and back");
    assert_eq!((a.refresh(0), b.refresh(0)), (Ok(0), Ok(0)));
}

fn survives_mutations(over_tcp: bool) {
    let is_long = std::env::var_os("BIMCC_RTC_LONG").is_some_and(|value| value == "1");
    let cases = if is_long { CASES * 50 } else { CASES };
    let seed = std::env::var("MUTATION_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    let repeat = format!("repeat with MUTATION_SEED={seed}");
    println!("{repeat}");

    // Peers that a mutation makes up must not be reached.
    let nobody = "--deny-peer 0.0.0.0/0 --deny-peer ::/0";
    let mut server = Process::start(&format!("--dangerously-allow-loopback-peers --public-ip 127.0.0.1 {nobody}"));
    let (credentials, of_others) = (server.mint("mutant"), server.mint("honest"));
    let mut other = TurnClient::allocated(server.turn(), &of_others);
    let mut mutant = Mutant::new(server.turn(), &credentials, over_tcp, other.relayed(), StdRng::seed_from_u64(seed));
    let mut permitted = Instant::now();
    other.permit(&[mutant.peer]).unwrap();

    let samples = samples();
    let mut before = handled(&server) - mutant.honest;
    for case in 0..cases {
        mutant.send(&samples, case % 2 == 0);
        if case % BETWEEN_REPAIRS == BETWEEN_REPAIRS - 1 {
            mutant.repair();
        }
        if permitted.elapsed() > Duration::from_secs(200) {
            // All relayed addresses share one IP address.
            other.permit(&[mutant.peer]).unwrap();
            permitted = Instant::now();
            before += 1;
        }
    }
    // When this is answered, everything sent before has been handled.
    mutant.repair();
    let reached = handled(&server) - before - mutant.honest;
    println!("{reached} of {cases} reached a handler");
    assert!(reached >= cases as i64 / 2, "{reached} of {cases} reached a handler; {repeat}\n{}", server.metrics());

    assert_eq!((mutant.client.refresh(0), other.refresh(0)), (Ok(0), Ok(0)), "{repeat}");
    drop(mutant);
    an_honest_client_is_served(&server, &of_others, over_tcp);
    server.all_gauges_become_zero();
    for transport in ["tcp", "tls"] {
        server.metric_becomes(&format!("turn_streams{{transport=\"{transport}\"}}"), 0);
    }
    server.signal(Signal::SIGTERM);
    let (status, said) = server.wait();
    assert!(status.success() && !said.contains("panicked"), "{repeat}: {status}: {said}");
}

#[test]
fn mutations_over_udp_reach_handlers_and_harm_nobody() {
    survives_mutations(false);
}

#[test]
fn mutations_in_pieces_over_tcp_reach_handlers_and_harm_nobody() {
    survives_mutations(true);
}
