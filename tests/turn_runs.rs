//! Packets that are sent and received in runs must arrive unchanged, in order and only at their receiver, whatever
//! happens meanwhile.
#![allow(clippy::unwrap_used)]

mod common;

use std::{
    collections::HashMap,
    io::{ErrorKind, IoSlice},
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    os::fd::AsRawFd,
    time::{Duration, Instant},
};

use common::{
    netns::Namespace,
    process::{PATIENCE, Process, Start},
    turn_client::{Credentials, TurnClient},
};
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, sendmsg};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

const CHANNEL_TO_PEER: u16 = 0x4001;
const CHANNEL_TO_DEAD_PEER: u16 = 0x4002;
const LOST: &str = "turn_dropped_packets_total{reason=";

/// Says who sent a packet, to whom, in which life of the receiver, and the packet's number in its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    flow: Flow,
    life: u32,
    number: u32,
}

/// A flow from one client or peer to another, by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Flow {
    from: u32,
    to: u32,
}

const MARK_LEN: usize = 16;

impl Mark {
    fn write(self, len: usize) -> Vec<u8> {
        let words = [self.flow.from, self.flow.to, self.life, self.number];
        let mut payload: Vec<u8> = words.into_iter().flat_map(u32::to_be_bytes).collect();
        payload.resize(len.max(MARK_LEN), self.number as u8);
        payload
    }

    fn read(payload: &[u8]) -> Self {
        let word = |at: usize| u32::from_be_bytes(payload[4 * at..4 * at + 4].try_into().unwrap());
        let mark = Self { flow: Flow { from: word(0), to: word(1) }, life: word(2), number: word(3) };
        assert_eq!(payload, mark.write(payload.len()), "it has changed on its way");
        mark
    }
}

/// Sends messages as one run, as a sender with UDP_SEGMENT does, or one by one.
fn send_all(socket: &UdpSocket, to: Option<SocketAddr>, messages: &[Vec<u8>], as_run: bool) {
    if !as_run {
        for message in messages {
            match to {
                Some(to) => socket.send_to(message, to).unwrap(),
                None => socket.send(message).unwrap(),
            };
        }
        return;
    }
    let segment = u16::try_from(messages[0].len()).unwrap();
    let bytes = messages.concat();
    let to = to.map(SockaddrStorage::from);
    let control = [ControlMessage::UdpGsoSegments(&segment)];
    sendmsg(socket.as_raw_fd(), &[IoSlice::new(&bytes)], &control, MsgFlags::empty(), to.as_ref()).unwrap();
}

fn channel_data(number: u16, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len()).unwrap();
    [&number.to_be_bytes()[..], &len.to_be_bytes(), payload].concat()
}

/// A client, the peer that it talks to, and the other client that it talks to.
struct Pair {
    client: TurnClient,
    socket: UdpSocket,
    peer: UdpSocket,
    /// All relayed addresses that the client has had so far.
    relayed: Vec<SocketAddr>,
    /// The channel to the other client, in its current life.
    to_client: u16,
    life: u32,
}

/// Clients and peers: client `n` talks to peer `n` over the network, and to client `n ^ 1` in process.
struct Crowd {
    server: SocketAddr,
    credentials: Credentials,
    pairs: Vec<Pair>,
    next: HashMap<Flow, u32>,
    /// The last number that arrived, and the receiver's life in which it did.
    last: HashMap<Flow, (u32, u32)>,
    sent: u64,
    received: u64,
}

impl Crowd {
    fn new(server: &Process, count: usize) -> Self {
        let credentials = server.mint("crowd");
        let pair = |_| {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let client = TurnClient::over(socket.try_clone().unwrap(), server.turn(), Some(&credentials));
            let peer = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            peer.set_nonblocking(true).unwrap();
            Pair { client, socket, peer, relayed: Vec::new(), to_client: CHANNEL_TO_PEER, life: 0 }
        };
        let pairs = (0..count).map(pair).collect();
        let (next, last) = (HashMap::new(), HashMap::new());
        let mut crowd = Self { server: server.turn(), credentials, pairs, next, last, sent: 0, received: 0 };
        (0..count).for_each(|number| crowd.allocate(number));
        (0..count).for_each(|number| crowd.bind(number));
        crowd
    }

    fn count(&self) -> u32 {
        self.pairs.len() as u32
    }

    /// A client begins a new life: it gives its allocation back and gets another one.
    fn live_again(&mut self, number: usize) {
        let pair = &mut self.pairs[number];
        pair.socket.set_nonblocking(false).unwrap();
        assert_eq!(pair.client.refresh(0), Ok(0));
        // The client uses another port, because the server keeps the last answer for the old one.
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        pair.to_client = CHANNEL_TO_PEER;
        pair.client = TurnClient::over(socket.try_clone().unwrap(), self.server, Some(&self.credentials));
        pair.socket = socket;
        pair.life += 1;
        self.allocate(number);
        self.bind(number);
        self.bind(number ^ 1);
    }

    fn allocate(&mut self, number: usize) {
        let Pair { client, relayed, .. } = &mut self.pairs[number];
        relayed.push(client.allocate().unwrap());
    }

    fn bind(&mut self, number: usize) {
        let other = self.pairs[number ^ 1].client.relayed();
        let Pair { client, socket, peer, to_client, .. } = &mut self.pairs[number];
        socket.set_nonblocking(false).unwrap();
        client.bind_channel(CHANNEL_TO_PEER, peer.local_addr().unwrap()).unwrap();
        // The channel number of the last life cannot be used for a while.
        *to_client += 1;
        client.bind_channel(*to_client, other).unwrap();
        socket.set_nonblocking(true).unwrap();
    }

    /// Sends a run of packets along a random flow.
    fn send(&mut self, rng: &mut StdRng) {
        let number = rng.random_range(0..self.pairs.len());
        let (client, count) = (number as u32, self.count());
        let run: usize = *[1, 1, 2, 8, 30].choose(rng).unwrap();
        let len = *[16, 40, 160, 1000, 1200].choose(rng).unwrap();
        let last = if run > 1 { rng.random_range(MARK_LEN..=len) } else { len };
        let as_run = run > 1 && rng.random();
        let from_peer: bool = rng.random();
        let to_client = !from_peer && rng.random();
        let flow = match (from_peer, to_client) {
            (true, _) => Flow { from: count + client, to: client },
            (_, true) => Flow { from: client, to: client ^ 1 },
            _ => Flow { from: client, to: count + client },
        };
        let life = self.pairs[(flow.to % count) as usize].life;
        let next = self.next.entry(flow).or_default();
        let payloads = (0..run).map(|index| {
            *next += 1;
            Mark { flow, life, number: *next }.write(if index + 1 == run { last } else { len })
        });
        let Pair { client, socket, peer, to_client: channel, .. } = &self.pairs[number];
        self.sent += run as u64;
        match (from_peer, to_client) {
            (true, _) => send_all(peer, Some(client.relayed()), &payloads.collect::<Vec<_>>(), as_run),
            (_, true) => {
                let messages: Vec<_> = payloads.map(|payload| channel_data(*channel, &payload)).collect();
                send_all(socket, None, &messages, as_run);
            }
            _ => {
                let messages: Vec<_> = payloads.map(|payload| channel_data(CHANNEL_TO_PEER, &payload)).collect();
                send_all(socket, None, &messages, as_run);
            }
        }
    }

    /// Takes what has arrived, and checks it.
    fn receive(&mut self) {
        let mut buffer = [0; 2000];
        for number in 0..self.pairs.len() {
            loop {
                let came = self.pairs[number].socket.recv(&mut buffer);
                let Some(len) = unless_empty(came) else { break };
                let channel = u16::from_be_bytes([buffer[0], buffer[1]]);
                // A message that is not ChannelData is a repeated answer here, or an ICMP error about a peer that was
                // gone for a while.
                if (0x4000..0x5000).contains(&channel) {
                    assert_eq!(usize::from(u16::from_be_bytes([buffer[2], buffer[3]])), len - 4);
                    let Mark { flow, .. } = self.check(number as u32, &buffer[4..len]);
                    assert_eq!(channel == CHANNEL_TO_PEER, flow.from >= self.count(), "{flow:?} by {channel:#x}");
                }
            }
            loop {
                let came = self.pairs[number].peer.recv_from(&mut buffer);
                let Some((len, from)) = unless_empty(came) else { break };
                let Mark { flow, .. } = self.check(self.count() + number as u32, &buffer[..len]);
                assert!(self.pairs[flow.from as usize].relayed.contains(&from), "{flow:?} from {from}");
            }
        }
    }

    fn check(&mut self, receiver: u32, payload: &[u8]) -> Mark {
        let mark @ Mark { flow, life, number } = Mark::read(payload);
        assert_eq!(flow.to, receiver, "{flow:?} came to somebody else");
        if receiver < self.count() {
            assert_eq!(life, self.pairs[receiver as usize].life, "{flow:?} came to a later life");
        }
        if let Some((last_life, last)) = self.last.insert(flow, (life, number)) {
            assert!((last_life, last) < (life, number), "{flow:?}: {number} came after {last}");
        }
        self.received += 1;
        mark
    }
}

fn unless_empty<T>(came: std::io::Result<T>) -> Option<T> {
    match came {
        Ok(came) => Some(came),
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Err(error) => panic!("{error}"),
    }
}

fn each_packet_reaches_whom_it_is_for(workers: usize) {
    let is_long = std::env::var("BIMCC_RTC_LONG").is_ok_and(|long| long == "1");
    let wanted = if is_long { 5_000_000 } else { 60_000 };
    let seed = rand::random();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let server = Process::start(&format!("--workers {workers} --dangerously-allow-loopback-peers"));
    let mut crowd = Crowd::new(&server, 8);
    while crowd.sent < wanted {
        for _ in 0..rng.random_range(1..4) {
            crowd.send(&mut rng);
        }
        crowd.receive();
        if rng.random_ratio(1, 200) {
            crowd.live_again(rng.random_range(0..8));
        }
    }
    let deadline = Instant::now() + Duration::from_secs(2);
    while Instant::now() < deadline && crowd.received < crowd.sent {
        crowd.receive();
    }
    let (sent, received) = (crowd.sent, crowd.received);
    assert!(received * 2 > sent, "{received} of {sent} arrived");
    assert!(server.metric("turn_runs_total") > 0);
}

#[test]
fn each_packet_reaches_whom_it_is_for_in_its_order_while_allocations_come_and_go() {
    each_packet_reaches_whom_it_is_for(1);
}

#[test]
fn with_two_workers_too() {
    each_packet_reaches_whom_it_is_for(2);
}

/// Errors about packets to a missing peer are reported while the same socket sends runs to another peer.
#[test]
fn a_dead_peer_costs_the_others_nothing_and_the_client_is_told() {
    let server = Process::start("--workers 1 --dangerously-allow-loopback-peers");
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut client = TurnClient::over(socket.try_clone().unwrap(), server.turn(), Some(&server.mint("client")));
    client.allocate().unwrap();
    let alive = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let dead = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let dead_address = dead.local_addr().unwrap();
    client.bind_channel(CHANNEL_TO_PEER, alive.local_addr().unwrap()).unwrap();
    client.bind_channel(CHANNEL_TO_DEAD_PEER, dead_address).unwrap();
    drop(dead);
    alive.set_read_timeout(Some(PATIENCE)).unwrap();
    for round in 0..50u32 {
        let mark = |number| Mark { flow: Flow { from: 0, to: 1 }, life: round, number };
        for part in 0..3 {
            let lost: Vec<_> = (0..5).map(|_| channel_data(CHANNEL_TO_DEAD_PEER, &[7; 300])).collect();
            send_all(&socket, None, &lost, part == 1);
            let run: Vec<_> =
                (0..10).map(|index| channel_data(CHANNEL_TO_PEER, &mark(10 * part + index).write(300))).collect();
            send_all(&socket, None, &run, part == 2);
        }
        let mut buffer = [0; 2000];
        for number in 0..30 {
            let len = alive.recv(&mut buffer).unwrap();
            assert_eq!(Mark::read(&buffer[..len]), mark(number));
        }
    }
    client.expect_icmp(dead_address, [0, 0, 6, 3, 0, 0, 0, 0]);
    assert_eq!(server.metric("turn_allocations"), 1);
    assert_eq!(server.metric(&format!("{LOST}\"send_to_peer\"}}")), 0);
}

/// A run that contains a datagram that is not a message harms no other.
#[test]
fn what_is_broken_in_a_run_harms_no_other() {
    let server = Process::start("--workers 1 --dangerously-allow-loopback-peers");
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut client = TurnClient::over(socket.try_clone().unwrap(), server.turn(), Some(&server.mint("client")));
    client.allocate().unwrap();
    let peer = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    client.bind_channel(CHANNEL_TO_PEER, peer.local_addr().unwrap()).unwrap();
    let mark = |number| Mark { flow: Flow { from: 0, to: 1 }, life: 0, number };
    let mut run: Vec<_> = (0..20).map(|number| channel_data(CHANNEL_TO_PEER, &mark(number).write(100))).collect();
    run[3] = channel_data(0x4FFF, &[0; 100]);
    run[7][2] = 0xFF;
    run[11].fill(0);
    run[12].fill(0xFF);
    send_all(&socket, None, &run, true);
    let mut buffer = [0; 2000];
    for number in (0..20).filter(|number| ![3, 7, 11, 12].contains(number)) {
        let len = peer.recv(&mut buffer).unwrap();
        assert_eq!(Mark::read(&buffer[..len]), mark(number));
    }
    for (reason, count) in [("no_channel", 1), ("malformed", 3)] {
        assert_eq!(server.metric(&format!("{LOST}\"{reason}\"}}")), count, "{reason}");
    }
}

/// The path to the peer takes 1280 bytes: larger packets are sent in fragments, and no run of them is lost.
#[test]
fn a_small_mtu_on_the_way_loses_nothing() {
    let (Some(here), Some(there)) = (Namespace::new(), Namespace::new()) else {
        return;
    };
    here.cable("way", &["10.77.9.1/24"], &there, &["10.77.9.2/24"]);
    here.ip("link set way mtu 1280");
    let start = "--workers 1 --dangerously-allow-loopback-peers --allow-peer 10.77.9.2 --public-ip 10.77.9.1";
    let server = Start::with(start).within(&here).serve();
    let peer = there.run(|| UdpSocket::bind("10.77.9.2:0").unwrap());
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    let socket = here.run(|| UdpSocket::bind("127.0.0.1:0").unwrap());
    let mut client = TurnClient::over(socket.try_clone().unwrap(), server.turn(), Some(&server.mint("client")));
    assert_eq!(client.allocate().unwrap().ip(), IpAddr::from([10, 77, 9, 1]));
    client.bind_channel(CHANNEL_TO_PEER, peer.local_addr().unwrap()).unwrap();
    let mut number = 0;
    for len in [1200, 1252, 1253, 1300, 1400, 1200] {
        for _ in 0..20 {
            let mark = |number| Mark { flow: Flow { from: 0, to: 1 }, life: len, number };
            let run: Vec<_> =
                (0..20).map(|index| channel_data(CHANNEL_TO_PEER, &mark(number + index).write(len as usize))).collect();
            send_all(&socket, None, &run, true);
            let mut buffer = [0; 2000];
            for index in 0..20 {
                let len = peer.recv(&mut buffer).unwrap();
                assert_eq!(Mark::read(&buffer[..len]), mark(number + index));
            }
            number += 20;
        }
    }
    assert_eq!(server.metric("turn_refused_runs_total"), 1, "it was tried once");
    assert!(server.metric("turn_runs_total") > 0);
    assert_eq!(server.metric(&format!("{LOST}\"send_to_peer\"}}")), 0);
}
