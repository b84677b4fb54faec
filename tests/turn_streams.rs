//! TURN over TCP and TLS: the program over real sockets, on its own ports and on the common port with HTTP.
#![allow(clippy::unwrap_used)]

mod common;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use common::{
    Options, Server,
    process::PATIENCE,
    turn_client::{Credentials, TurnClient, new_message},
    ways::{WAYS, Way, World},
    wire::{Wire, connect_tls, tls_config},
};
use rand::Rng;
use stun::message::{
    CLASS_REQUEST, METHOD_ALLOCATE, METHOD_BINDING, METHOD_CHANNEL_BIND, METHOD_CREATE_PERMISSION, METHOD_REFRESH,
    METHOD_SEND,
};

const OTHER_ROOM: &str = "turn_dropped_packets_total{reason=\"other_room\"}";
const OWN_ADDRESS: &str = "turn_dropped_packets_total{reason=\"own_address\"}";
const SLOW_CLIENT: &str = "turn_dropped_packets_total{reason=\"slow_client\"}";

fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + len) as u8).collect()
}

#[test]
fn each_transport_relays_to_each() {
    let world = World::start("--workers 2");
    let credentials = world.server.mint("alice");
    for (from, to) in WAYS.into_iter().flat_map(|from| WAYS.map(|to| (from, to))) {
        let (mut a, mut b) = (world.allocated(from, &credentials), world.allocated(to, &credentials));
        a.permit(&[b.relayed()]).unwrap();
        b.bind_channel(0x4001, a.relayed()).unwrap();
        // Lengths that need padding, and some that need several reads.
        for len in [0, 1, 2, 3, 4, 1201, 40_003] {
            a.send(b.relayed(), &payload(len));
            b.expect_channel_data(0x4001, &payload(len));
            b.send_channel(0x4001, &payload(len));
            a.expect_data(b.relayed(), &payload(len));
        }
        assert_eq!((a.refresh(0), b.refresh(0)), (Ok(0), Ok(0)), "{from:?} {to:?}");
    }
    world.server.all_gauges_become_zero();
    world.server.stop();
}

#[test]
fn peers_on_the_network_are_reached_over_each_transport() {
    let world = World::start("--dangerously-allow-loopback-peers");
    let credentials = world.server.mint("alice");
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    let address = peer.local_addr().unwrap();
    let mut buffer = vec![0; 65_536];
    for way in WAYS {
        let mut client = world.allocated(way, &credentials);
        client.permit(&[address]).unwrap();
        for len in [0, 1, 1203, 30_001] {
            client.send(address, &payload(len));
            let (received, from) = peer.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..received], from), (&payload(len)[..], client.relayed()), "{way:?}");
            peer.send_to(&payload(len), from).unwrap();
            client.expect_data(address, &payload(len));
        }
        client.send_unfragmented(address, b"DF");
        assert_eq!(peer.recv(&mut buffer).unwrap(), 2);
    }
}

#[tokio::test]
async fn rooms_are_walls_over_each_pair_of_transports() {
    let world = World::start("--workers 2");
    let (_red, red) = world.member("red").await;
    let (_blue, blue) = world.member("blue").await;
    let (_mate, mate) = world.member("red").await;
    let mut reds = WAYS.map(|way| world.allocated(way, &red));
    let mut mates = WAYS.map(|way| world.allocated(way, &mate));
    let mut blues = WAYS.map(|way| world.allocated(way, &blue));
    let mut crossed = 0;
    for red in &mut reds {
        for blue in &mut blues {
            red.permit(&[blue.relayed()]).unwrap();
            blue.permit(&[red.relayed()]).unwrap();
            red.send(blue.relayed(), b"into another room");
            blue.send(red.relayed(), b"into another room");
            crossed += 2;
        }
    }
    world.server.metric_becomes(OTHER_ROOM, crossed);
    for client in reds.iter_mut().chain(&mut blues) {
        client.expect_nothing();
    }
    // Members of one room do reach each other.
    for (red, mate) in reds.iter_mut().zip(&mut mates) {
        red.permit(&[mate.relayed()]).unwrap();
        mate.permit(&[red.relayed()]).unwrap();
        red.send(mate.relayed(), b"to a room mate");
        mate.expect_data(red.relayed(), b"to a room mate");
    }
    assert_eq!(world.server.metric(OTHER_ROOM), crossed);
}

#[tokio::test]
async fn an_allocation_ends_with_the_membership() {
    let world = World::start("");
    let (member, credentials) = world.member("room").await;
    let mut clients = WAYS.map(|way| world.allocated(way, &credentials));
    assert_eq!(world.server.metric("turn_allocations"), WAYS.len() as i64);
    for (transport, count) in [("udp", 1), ("tcp", 2), ("tls", 2)] {
        let name = format!("turn_allocations_by_transport{{transport=\"{transport}\"}}");
        assert_eq!(world.server.metric(&name), count, "{transport}");
    }
    drop(member);
    world.server.metric_becomes("turn_allocations", 0);
    for client in &mut clients {
        // The connection stays open; only the member is refused.
        assert_eq!(client.refresh(600), Err(437));
        assert_eq!(client.allocate(), Err(401));
        client.binding();
    }
    world.server.all_gauges_become_zero();
}

#[tokio::test]
async fn services_of_the_host_get_nothing_over_streams() {
    let world = World::start("");
    let (_ws, credentials) = world.member("room").await;
    for (count, way) in (1..).zip(WAYS.into_iter().filter(|way| *way != Way::Udp)) {
        let mut client = world.allocated(way, &credentials);
        let service = UdpSocket::bind((client.relayed().ip(), 0)).unwrap();
        let address = service.local_addr().unwrap();
        client.permit(&[address]).unwrap();
        client.bind_channel(0x4000, address).unwrap();
        client.send(address, b"by Send");
        client.send_channel(0x4000, b"by channel");
        world.server.metric_becomes(OWN_ADDRESS, 2 * count);
        service.set_nonblocking(true).unwrap();
        let nothing = service.recv(&mut [0; 100]).unwrap_err();
        assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock, "{way:?}");
    }
}

#[test]
fn an_allocation_ends_with_its_connection() {
    let world = World::start("");
    let credentials = world.server.mint("alice");
    let clients = WAYS.map(|way| world.allocated(way, &credentials));
    world.server.metric_becomes("turn_allocations", WAYS.len() as i64);
    drop(clients);
    world.server.metric_becomes("turn_allocations", 1);
    for (transport, count) in [("tcp", 2), ("tls", 2)] {
        world.server.metric_becomes(&format!("turn_streams{{transport=\"{transport}\"}}"), 0);
        let closed = format!("turn_streams_closed_total{{transport=\"{transport}\",reason=");
        assert_eq!(world.server.metric_family(&closed), count);
    }
}

#[test]
fn the_quota_of_a_user_counts_all_transports() {
    let world = World::start("--max-allocations-per-user 5");
    let credentials = world.server.mint("alice");
    let mut clients: Vec<_> = (0..4).flat_map(|_| WAYS.map(|way| world.client(way, &credentials))).collect();
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let asking: Vec<_> =
            clients.iter_mut().map(|client| scope.spawn(move || client.allocate().map(drop))).collect();
        asking.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 5, "{outcomes:?}");
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(()) | Err(486))), "{outcomes:?}");
    assert_eq!(world.server.metric("turn_allocations"), 5);
    let first = outcomes.iter().position(Result::is_ok).unwrap();
    assert_eq!(clients[first].refresh(0), Ok(0));
    let refused = outcomes.iter().position(Result::is_err).unwrap();
    clients[refused].allocate().unwrap();
}

#[test]
fn rfc8656_12_5_a_stream_may_be_cut_anywhere() {
    let world = World::start("");
    let credentials = world.server.mint("alice");
    let mut peer = world.allocated(Way::Udp, &credentials);
    for way in [Way::Tcp, Way::Tls] {
        let mut client = world.allocated(way, &credentials);
        client.permit(&[peer.relayed()]).unwrap();
        peer.permit(&[client.relayed()]).unwrap();
        client.bind_channel(0x4000, peer.relayed()).unwrap();
        let mut rng = rand::rng();
        for round in 0..20 {
            let mut stream = Vec::new();
            let mut expected = Vec::new();
            for number in 0..10 {
                let payload = payload(rng.random_range(0..300) * (number % 3));
                if number % 4 == 3 {
                    let refresh = client.signed(METHOD_REFRESH, |_| ());
                    stream.extend_from_slice(&refresh.raw);
                    continue;
                }
                stream.extend_from_slice(&0x4000_u16.to_be_bytes());
                stream.extend_from_slice(&(payload.len() as u16).to_be_bytes());
                stream.extend_from_slice(&payload);
                stream.resize(stream.len().next_multiple_of(4), 0xAA);
                expected.push(payload);
            }
            let mut rest = &stream[..];
            while !rest.is_empty() {
                let most = if round % 2 == 0 { 7 } else { 700 };
                let (now, later) = rest.split_at(rng.random_range(1..=most.min(rest.len())));
                client.wire.send_raw(now).unwrap();
                rest = later;
            }
            for payload in expected {
                peer.expect_data(client.relayed(), &payload);
            }
        }
        assert_eq!(client.refresh(600), Ok(600), "it is in step with the server");
    }
    let success = world.server.metric("turn_responses_total{method=\"refresh\",code=\"success\"}");
    assert_eq!(success, 2 * (20 * 2 + 1), "requests in between were understood");
}

/// Messages with random attributes, half of them with a correct signature, the others with flipped bits as well.
#[test]
fn mutated_messages_at_random_cuts_break_nothing() {
    const MESSAGES: usize = 3000;
    let world = World::start("");
    let credentials = world.server.mint("alice");
    let mut honest = world.allocated(Way::Tcp, &credentials);
    let methods =
        [METHOD_BINDING, METHOD_ALLOCATE, METHOD_REFRESH, METHOD_CREATE_PERMISSION, METHOD_CHANNEL_BIND, METHOD_SEND];
    let attributes = [0x0C, 0x0D, 0x12, 0x13, 0x16, 0x17, 0x18, 0x19, 0x1A, 0x22, 0x7777, 0x8022];
    let mut rng = rand::rng();
    let mut client = world.allocated(Way::Tls, &credentials);
    let mut connections = 1;
    for number in 0..MESSAGES {
        let method = methods[rng.random_range(0..methods.len())];
        let message = client.signed(method, |message| {
            for _ in 0..random_count() {
                let kind = attributes[rand::random_range(0..attributes.len())];
                let value: [u8; 20] = rand::random();
                message.add(stun::attributes::AttrType(kind), &value[..rand::random_range(0..=value.len())]);
            }
        });
        let mut bytes = message.raw;
        if number % 2 == 1 {
            for _ in 0..rng.random_range(1..4) {
                // Most of them are after the header, so that the stream stays in step.
                let from = if rng.random_ratio(1, 20) { 0 } else { 20 };
                let at = rng.random_range(from..bytes.len().max(from + 1)).min(bytes.len() - 1);
                bytes[at] ^= 1 << rng.random_range(0..8);
            }
        }
        let (now, later) = bytes.split_at(rng.random_range(0..bytes.len()));
        let sent = client.wire.send_raw(now).and_then(|()| client.wire.send_raw(later));
        if sent.is_err() || (number % 100 == 0 && !client.is_in_step()) {
            client = world.client([Way::Tcp, Way::Tls, Way::OnePortTls][connections % 3], &credentials);
            let _ = client.allocate();
            connections += 1;
        }
    }
    drop(client);
    assert_eq!(honest.refresh(600), Ok(600));
    let handled = world.server.metric_family("turn_requests_total");
    assert!(handled >= MESSAGES as i64 / 2, "{handled} of {MESSAGES} reached a handler");
    drop(honest);
    world.server.all_gauges_become_zero();
    println!("{handled} of {MESSAGES} reached a handler over {connections} connections");
}

fn random_count() -> usize {
    rand::random_range(0..5)
}

/// Whether the server closes a new connection after these bytes.
fn is_closed_after(address: SocketAddr, bytes: &[u8]) -> bool {
    let mut tcp = TcpStream::connect(address).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    tcp.write_all(bytes).unwrap();
    // A reset also counts as closed.
    !matches!(tcp.read(&mut [0; 100]), Ok(1..))
}

#[test]
fn what_is_neither_ends_the_connection() {
    let world = World::start("");
    let server = &world.server;
    let mut binding = new_message(METHOD_BINDING, CLASS_REQUEST);
    binding.encode();
    let binding = &binding.raw;
    for address in [server.turn(), server.http] {
        assert!(!is_closed_after(address, binding), "STUN");
        // First bytes of no supported protocol; ChannelData cannot come first.
        for first in [0x04, 0x0D, 0x15, 0x17, 0x3F, 0x40, 0x7F, 0x80, 0xFF] {
            assert!(is_closed_after(address, &[first; 64]), "{first:#x}");
        }
        assert!(is_closed_after(address, &[&[0x00, 0x01][..], &[0; 30]].concat()), "no cookie");
        let mut long = binding.clone();
        long[2..4].copy_from_slice(&0xFFFC_u16.to_be_bytes());
        assert!(is_closed_after(address, &long), "longer than a stranger's message may be");
        let mut odd = binding.clone();
        odd[3] = 1;
        assert!(is_closed_after(address, &odd), "a length that is no multiple of 4");
    }
    let closed = |reason| server.metric(&format!("turn_streams_closed_total{{transport=\"tcp\",reason=\"{reason}\"}}"));
    assert_eq!((closed("not_turn"), closed("message_too_long")), (4, 2));
    let refused = |reason| server.metric(&format!("connections_refused_total{{reason=\"{reason}\"}}"));
    // Only the whole prefix makes a header of the PROXY protocol, even from a trusted proxy.
    assert_eq!((refused("unknown_protocol"), refused("bad_proxy_header")), (18, 0));
    assert!(is_closed_after(server.turn(), b"GET / HTTP/1.1\r\n\r\n"), "no HTTP there");
    assert!(is_closed_after(server.turns.unwrap(), binding), "TLS only");
    let mut tls = connect_tls(server.turns.unwrap(), world.tls.clone());
    tls.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    assert!(!matches!(tls.read(&mut [0; 100]), Ok(1..)), "no HTTP there either");
}

#[test]
fn rfc7443_whatever_protocols_a_client_offers_it_is_served() {
    let world = World::start("");
    let credentials = world.server.mint("alice");
    let offers: [&[&str]; 6] =
        [&[], &["stun.turn"], &["http/1.1"], &["h2", "http/1.1"], &["h2"], &["stun.nat-discovery"]];
    for offer in offers {
        let tls = tls_config(&world.server.ca(), offer);
        for address in [world.server.http, world.server.turns.unwrap()] {
            let wire = Wire::tls(address, tls.clone());
            TurnClient::by(wire, address, Some(&credentials)).allocate().unwrap();
        }
        let mut https = connect_tls(world.server.http, tls.clone());
        https.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        https.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{offer:?}: {answer}");
        assert_ne!(https.conn.alpn_protocol(), Some(&b"h2"[..]));
    }
}

/// Floods a client that does not read, on each stream transport, while others exchange data.
#[test]
fn a_client_that_does_not_read_harms_nobody() {
    const DATAGRAMS: usize = 40_000;
    const LEN: usize = 1200;
    let world = World::start("--workers 2");
    let credentials = world.server.mint("alice");
    for way in [Way::Tcp, Way::OnePortTls] {
        let dropped_before = world.server.metric(SLOW_CLIENT);
        let mut slow = world.allocated(way, &credentials);
        let mut sender = world.allocated(Way::Udp, &credentials);
        // Over UDP they would share a socket buffer of the kernel with the flood.
        let mut neighbours = [way, way].map(|way| world.allocated(way, &credentials));
        slow.bind_channel(0x4000, sender.relayed()).unwrap();
        sender.bind_channel(0x4000, slow.relayed()).unwrap();
        let relayed = [neighbours[0].relayed(), neighbours[1].relayed()];
        neighbours[0].permit(&[relayed[1]]).unwrap();
        neighbours[1].permit(&[relayed[0]]).unwrap();
        let before = world.server.resident_memory();
        for number in 0..DATAGRAMS {
            let mut payload = payload(LEN);
            payload[..8].copy_from_slice(&(number as u64).to_be_bytes());
            sender.send_channel(0x4000, &payload);
            if number % 1000 == 0 {
                neighbours[0].send(relayed[1], &payload[..8]);
                neighbours[1].expect_data(relayed[0], &payload[..8]);
                neighbours[1].send(relayed[0], &payload[..8]);
                neighbours[0].expect_data(relayed[1], &payload[..8]);
            }
        }
        sender.binding();
        let grown = world.server.resident_memory().saturating_sub(before);
        assert!(grown < 8 << 20, "{grown} bytes more for {} bytes sent", DATAGRAMS * LEN);
        assert!(world.server.metric(SLOW_CLIENT) > dropped_before, "the oldest were dropped");
        // The data that now arrives is complete and in order, and ends with the newest; the client is served as before.
        sender.send_channel(0x4000, b"the end");
        let mut last = 0;
        loop {
            let received = slow.recv();
            if received.payload == b"the end" {
                break;
            }
            let (head, rest) = received.payload.split_first_chunk::<8>().unwrap();
            assert!(rest == &payload(LEN)[8..], "a frame was mutilated");
            let number = u64::from_be_bytes(*head);
            assert!(last <= number, "{number} after {last}");
            last = number;
        }
        assert!(last > 0, "something of the flood arrived");
        assert_eq!(slow.refresh(600), Ok(600));
    }
}

#[test]
fn answers_are_not_dropped_before_media() {
    let world = World::start("");
    let credentials = world.server.mint("alice");
    let mut slow = world.allocated(Way::Tcp, &credentials);
    let mut sender = world.allocated(Way::Udp, &credentials);
    slow.bind_channel(0x4000, sender.relayed()).unwrap();
    sender.bind_channel(0x4000, slow.relayed()).unwrap();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                sender.send_channel(0x4000, &[0; 1200]);
            }
        });
        for _ in 0..20 {
            std::thread::sleep(Duration::from_millis(20));
            assert_eq!(slow.refresh(600), Ok(600));
        }
        is_over.store(true, Ordering::Relaxed);
    });
}

/// A client that reads 1 Mbit/s but is sent 4 Mbit/s gets recent data: old data is dropped for it.
#[test]
fn a_slow_reader_gets_young_media() {
    const LEN: usize = 1000;
    const PER_TICK: usize = 5;
    const TICK: Duration = Duration::from_millis(10);
    const BYTES_PER_TICK: usize = 1250;
    let world = World::start("");
    let credentials = world.server.mint("alice");
    for way in [Way::Tcp, Way::Tls] {
        // Data that waits in the reader's own kernel does not count.
        let (address, tls) = match way {
            Way::Tls => (world.server.turns.unwrap(), Some(world.tls.clone())),
            _ => (world.server.turn(), None),
        };
        let mut slow = TurnClient::by(Wire::narrow(address, tls), address, Some(&credentials));
        slow.allocate().unwrap();
        let mut sender = world.allocated(Way::Udp, &credentials);
        slow.bind_channel(0x4000, sender.relayed()).unwrap();
        sender.bind_channel(0x4000, slow.relayed()).unwrap();
        let started = Instant::now();
        let is_over = AtomicBool::new(false);
        let mut ages = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    for _ in 0..PER_TICK {
                        let mut payload = vec![0; LEN];
                        payload[..8].copy_from_slice(&(started.elapsed().as_micros() as u64).to_be_bytes());
                        sender.send_channel(0x4000, &payload);
                    }
                    std::thread::sleep(TICK);
                }
            });
            let mut ages = Vec::new();
            let mut allowance = 0;
            // Long enough for all buffers to fill.
            while started.elapsed() < Duration::from_secs(6) {
                std::thread::sleep(TICK);
                allowance += BYTES_PER_TICK;
                while allowance >= LEN {
                    allowance -= LEN;
                    let sent = u64::from_be_bytes(slow.recv().payload[..8].try_into().unwrap());
                    ages.push(started.elapsed().as_millis() as u64 - sent / 1000);
                }
            }
            is_over.store(true, Ordering::Relaxed);
            ages
        });
        // A reader that ran too rarely to read 1 Mbit/s waits longer for the same amount.
        let pace = (ages.len() * LEN * 8) as f64 / started.elapsed().as_secs_f64() / 1e6;
        // The first half was sent while the buffers of the kernels were filling.
        let mut late = ages.split_off(ages.len() / 2);
        late.sort_unstable();
        let median = late[late.len() / 2];
        println!("{way:?}: median age {median} ms of {} datagrams read at {pace:.2} Mbit/s", late.len());
        assert!(median as f64 * pace.min(1.0) < 1000.0, "{median} ms at {pace:.2} Mbit/s");
    }
}

/// A server with time limits that tests can wait for.
async fn impatient() -> Server {
    let mut options = Options::default();
    options.http.timeouts.without_allocation = Duration::from_millis(300);
    options.http.timeouts.first_byte = Duration::from_millis(300);
    Server::with(options).await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_allocation_a_connection_ends() {
    let server = impatient().await;
    let credentials = server.mint("alice");
    let address = server.address;
    let (mut with, mut without) = tokio::task::spawn_blocking(move || {
        let mut with = TurnClient::by(Wire::tcp(address), address, Some(&credentials));
        with.allocate().unwrap();
        let mut without = TurnClient::by(Wire::tcp(address), address, Some(&credentials));
        without.binding();
        (with, without)
    })
    .await
    .unwrap();
    let reason = "turn_streams_closed_total{transport=\"tcp\",reason=\"no_allocation\"}";
    server.metric_becomes(reason, 1).await;
    let (with, without) = tokio::task::spawn_blocking(move || {
        without.wire.set_read_timeout(PATIENCE).unwrap();
        assert!(without.wire.recv().is_err(), "the server has closed it");
        assert_eq!(with.refresh(600), Ok(600), "this one lives as long as its allocation");
        assert_eq!(with.refresh(0), Ok(0));
        (with, without)
    })
    .await
    .unwrap();
    server.metric_becomes(reason, 2).await;
    drop((with, without));
    server.metric_becomes("turn_allocations", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_half_open_connection_makes_room() {
    let mut options = Options::default();
    options.http.max_half_open = 4;
    let server = Server::with(options).await;
    let credentials = server.mint("alice");
    let address = server.address;
    tokio::task::spawn_blocking(move || {
        let mut proven = TurnClient::by(Wire::tcp(address), address, Some(&credentials));
        proven.allocate().unwrap();
        let silent: Vec<_> = (0..20).map(|_| TcpStream::connect(address).unwrap()).collect();
        let mut late = TurnClient::by(Wire::tcp(address), address, Some(&credentials));
        late.allocate().unwrap();
        let closed = silent.iter().take(16).all(|mut tcp| {
            tcp.set_read_timeout(Some(PATIENCE)).unwrap();
            matches!(tcp.read(&mut [0]), Ok(0) | Err(_))
        });
        assert!(closed, "the oldest are gone");
        assert_eq!(proven.refresh(600), Ok(600), "who has proven itself stays");
    })
    .await
    .unwrap();
    assert!(server.metric("connections_refused_total{reason=\"too_many_half_open\"}") >= 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn turn_connections_in_all_are_limited() {
    let mut options = Options::default();
    options.http.max_turn_streams = 2;
    let server = Server::with(options).await;
    let credentials = server.mint("alice");
    let address = server.address;
    tokio::task::spawn_blocking(move || {
        let connect = || TurnClient::by(Wire::tcp(address), address, Some(&credentials));
        let mut clients = [connect(), connect()];
        for client in &mut clients {
            client.allocate().unwrap();
        }
        let mut binding = new_message(METHOD_BINDING, CLASS_REQUEST);
        binding.encode();
        assert!(is_closed_after(address, &binding.raw));
        assert_eq!(clients[0].refresh(600), Ok(600));
    })
    .await
    .unwrap();
    assert_eq!(server.metric("connections_refused_total{reason=\"too_many_turn_streams\"}"), 1);
}

#[test]
fn a_half_sent_client_hello_holds_nobody_up_and_ends() {
    let world = World::start("");
    let credentials = world.server.mint("alice");
    let started = Instant::now();
    let mut slow: Vec<_> = (0..50)
        .map(|_| {
            let mut tcp = TcpStream::connect(world.server.http).unwrap();
            // A handshake record of 512 bytes, of which these are the first.
            tcp.write_all(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC]).unwrap();
            tcp
        })
        .collect();
    world.allocated(Way::OnePortTls, &credentials);
    for tcp in &mut slow {
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        while matches!(tcp.read(&mut [0; 100]), Ok(1..)) {}
    }
    world.server.metric_becomes("connections_refused_total{reason=\"handshake_timeout\"}", 50);
    assert!(started.elapsed() < PATIENCE);
}

#[test]
fn the_end_of_the_server_is_the_end_of_its_streams() {
    let mut world = World::start("");
    let credentials = world.server.mint("alice");
    let mut clients = [Way::Tcp, Way::Tls, Way::OnePortTls].map(|way| world.allocated(way, &credentials));
    world.server.signal(nix::sys::signal::Signal::SIGTERM);
    let (status, said) = world.server.wait();
    assert!(status.success(), "{status}: {said}");
    for client in &mut clients {
        client.wire.set_read_timeout(PATIENCE).unwrap();
        assert!(client.wire.recv().is_err());
    }
}

/// Anybody can send a flood of requests with a forged address; the client at that address must still get answers on its
/// connection.
#[test]
fn a_short_request_is_challenged_and_a_flood_over_udp_hits_no_stream() {
    let world = World::start("");
    let credentials = world.server.mint("alice");
    let flood = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    flood.connect(world.server.turn()).unwrap();
    let mut binding = new_message(METHOD_BINDING, CLASS_REQUEST);
    binding.encode();
    let rate_limited = "turn_dropped_packets_total{reason=\"rate_limited\"}";
    let deadline = Instant::now() + PATIENCE;
    while world.server.metric(rate_limited) < 1000 {
        assert!(Instant::now() < deadline, "the flood goes unnoticed");
        (0..1000).for_each(|_| drop(flood.send(&binding.raw)));
    }
    for way in [Way::Tcp, Way::Tls, Way::OnePortTcp, Way::OnePortTls] {
        for method in [METHOD_ALLOCATE, METHOD_REFRESH, METHOD_CREATE_PERMISSION, METHOD_CHANNEL_BIND] {
            let mut client = world.client(way, &credentials);
            let mut short = new_message(method, CLASS_REQUEST);
            short.encode();
            assert_eq!(short.raw.len(), 20);
            assert_eq!(common::turn_client::error_code(&client.transact(&short)), 401, "{way:?}");
            client.allocate().unwrap();
        }
    }
}

#[test]
fn a_connection_that_proves_nothing_is_challenged() {
    let world = World::start("");
    for way in [Way::Tcp, Way::Tls] {
        let credentials = Credentials { username: "1:nobody".into(), password: "guessed".into() };
        let mut client = world.client(way, &credentials);
        assert_eq!(client.allocate(), Err(401));
        let mapped = client.binding();
        assert_eq!(mapped, client.local());
        let mut other = world.client(way, &world.server.mint("alice"));
        (other.realm, other.nonce) = (client.realm.clone(), client.nonce.clone());
        // A nonce of another connection belongs to another client: 438, with a valid nonce.
        let first = other
            .signed(METHOD_ALLOCATE, |request| request.add(stun::attributes::ATTR_REQUESTED_TRANSPORT, &[17, 0, 0, 0]));
        assert_eq!(common::turn_client::error_code(&other.transact(&first)), 438);
        other.allocate().unwrap();
        assert_eq!(other.allocate(), Err(437));
    }
}
