//! Relayed addresses beyond the usual one, over real sockets: pairs of ports, two families, and what the network reports.
#![allow(clippy::unwrap_used)]

mod common;

use std::{
    io::ErrorKind,
    net::{SocketAddr, UdpSocket},
};

use common::{
    process::{PATIENCE, Process},
    turn_client::{ATTR_ADDITIONAL_ADDRESS_FAMILY, Credentials, TurnClient, address},
    wire::Wire,
};
use nix::sys::socket::{setsockopt, sockopt::UdpGsoSegment};
use stun::{
    attributes::*,
    message::{METHOD_REFRESH, Message},
};

const ON_LOOPBACK: &str = "--dangerously-allow-loopback-peers --public-ip 127.0.0.1 --public-ip ::1";

/// Destination unreachable, port unreachable: for ICMP and for ICMPv6.
const UNREACHABLE_V4: [u8; 8] = [0, 0, 6, 3, 0, 0, 0, 0];
const UNREACHABLE_V6: [u8; 8] = [0, 0, 2, 4, 0, 0, 0, 0];

/// A client over each transport.
fn clients(server: &Process, credentials: &Credentials) -> [(&'static str, TurnClient); 2] {
    let udp = TurnClient::new(server.turn(), Some(credentials));
    let tcp = TurnClient::by(Wire::tcp(server.turn()), server.turn(), Some(credentials));
    [("udp", udp), ("tcp", tcp)]
}

/// A client over one of them.
fn client_over(wanted: &str, server: &Process) -> TurnClient {
    let credentials = server.mint("alice");
    clients(server, &credentials).into_iter().find(|(transport, _)| *transport == wanted).unwrap().1
}

fn reserve(request: &mut Message) {
    request.add(ATTR_EVEN_PORT, &[0x80]);
}

fn is_free(address: SocketAddr) -> bool {
    match UdpSocket::bind(address) {
        Ok(_) => true,
        Err(error) if error.kind() == ErrorKind::AddrInUse => false,
        Err(error) => panic!("{address}: {error}"),
    }
}

#[test]
fn a_reserved_port_is_held_for_whoever_has_the_token_over_any_transport() {
    let server = Process::start(&format!("{ON_LOOPBACK} --workers 2"));
    let credentials = server.mint("alice");
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    for from in 0..2 {
        for to in 0..2 {
            let (_, mut first) = clients(&server, &credentials).into_iter().nth(from).unwrap();
            let answer = first.allocate_in_full(reserve).unwrap();
            let token = answer.get(ATTR_RESERVATION_TOKEN).unwrap();
            let even = first.relayed();
            assert!(even.port().is_multiple_of(2));
            let next = SocketAddr::new(even.ip(), even.port() + 1);
            assert!(!is_free(next), "nobody else can bind it");

            let (_, mut second) = clients(&server, &credentials).into_iter().nth(to).unwrap();
            let claim = |request: &mut Message| request.add(ATTR_RESERVATION_TOKEN, &token);
            assert_eq!(second.allocate_with(claim), Ok(next));
            for client in [&mut first, &mut second] {
                client.permit(&[peer.local_addr().unwrap()]).unwrap();
                client.send(peer.local_addr().unwrap(), b"ping");
                let mut buffer = [0; 100];
                let (len, relayed) = peer.recv_from(&mut buffer).unwrap();
                assert_eq!((&buffer[..len], relayed), (&b"ping"[..], client.relayed()));
                peer.send_to(b"pong", relayed).unwrap();
                client.expect_data(peer.local_addr().unwrap(), b"pong");
                client.refresh(0).unwrap();
            }
            assert!(is_free(even) && is_free(next));
        }
    }
    server.all_gauges_become_zero();
    server.stop();
}

#[test]
fn one_allocation_has_a_relayed_address_of_each_family() {
    let server = Process::start(ON_LOOPBACK);
    let credentials = server.mint("alice");
    let peers = ["127.0.0.1:0", "[::1]:0"].map(|at| UdpSocket::bind(at).unwrap());
    for (transport, mut client) in clients(&server, &credentials) {
        let answer =
            client.allocate_in_full(|request| request.add(ATTR_ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0])).unwrap();
        let relayed: Vec<_> = answer
            .attributes
            .0
            .iter()
            .filter(|attribute| attribute.typ == ATTR_XOR_RELAYED_ADDRESS)
            .map(|attribute| {
                let mut one = Message { transaction_id: answer.transaction_id, ..Message::new() };
                one.write_header();
                one.add(ATTR_XOR_RELAYED_ADDRESS, &attribute.value);
                address(&one, ATTR_XOR_RELAYED_ADDRESS)
            })
            .collect();
        assert!(matches!(relayed[..], [SocketAddr::V4(_), SocketAddr::V6(_)]), "{relayed:?}");
        client.permit(&peers.each_ref().map(|peer| peer.local_addr().unwrap())).unwrap();
        for (peer, relayed) in peers.iter().zip(&relayed) {
            let at = peer.local_addr().unwrap();
            client.send(at, b"ping");
            let mut buffer = [0; 100];
            let (len, from) = peer.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..len], from), (&b"ping"[..], *relayed), "{transport}");
            peer.send_to(b"pong", relayed).unwrap();
            client.expect_data(at, b"pong");
        }
        client
            .request(stun::message::METHOD_REFRESH, |request| {
                request.add(ATTR_LIFETIME, &[0; 4]);
                request.add(ATTR_REQUESTED_ADDRESS_FAMILY, &[1, 0, 0, 0]);
            })
            .unwrap();
        assert!(is_free(relayed[0]) && !is_free(relayed[1]));
        peers[1].send_to(b"still there", relayed[1]).unwrap();
        client.expect_data(peers[1].local_addr().unwrap(), b"still there");
        client.refresh(0).unwrap();
        assert!(is_free(relayed[1]));
    }
    server.all_gauges_become_zero();
    server.stop();
}

#[test]
fn clients_with_both_families_reach_each_other_in_process_by_either() {
    let server = Process::start(&format!("{ON_LOOPBACK} --relay-ports none --workers 2"));
    let credentials = server.mint("alice");
    let both = |request: &mut Message| request.add(ATTR_ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    for [(_, mut a), (_, mut b)] in [clients(&server, &credentials), clients(&server, &credentials)] {
        let relayed = |answer: &Message| {
            let attributes = answer.attributes.0.iter().filter(|a| a.typ == ATTR_XOR_RELAYED_ADDRESS);
            attributes.map(|a| u16::from_be_bytes([a.value[2], a.value[3]]) ^ 0x2112).collect::<Vec<_>>()
        };
        let answers = [&mut a, &mut b].map(|client| relayed(&client.allocate_in_full(both).unwrap()));
        let addresses = answers.map(|ports| {
            [SocketAddr::from(([127, 0, 0, 1], ports[0])), SocketAddr::new("::1".parse().unwrap(), ports[1])]
        });
        a.permit(&addresses[1]).unwrap();
        b.permit(&addresses[0]).unwrap();
        let [of_a, of_b] = addresses;
        for (of_a, of_b) in of_a.into_iter().zip(of_b) {
            a.send(of_b, b"ping");
            b.expect_data(of_a, b"ping");
            b.send(of_a, b"pong");
            a.expect_data(of_b, b"pong");
        }
    }
}

fn a_peer_port_that_nobody_has_is_reported_and_stands_in_nobodys_way(transport: &str) {
    let server = Process::start(ON_LOOPBACK);
    for (family, wanted, icmp) in [("127.0.0.1:0", 1, UNREACHABLE_V4), ("[::1]:0", 2, UNREACHABLE_V6)] {
        let listening = UdpSocket::bind(family).unwrap();
        listening.set_read_timeout(Some(PATIENCE)).unwrap();
        let closed = UdpSocket::bind(family).unwrap().local_addr().unwrap();
        let mut client = client_over(transport, &server);
        client.allocate_with(|request| request.add(ATTR_REQUESTED_ADDRESS_FAMILY, &[wanted, 0, 0, 0])).unwrap();
        client.permit(&[closed]).unwrap();
        for round in 0..5 {
            client.send(closed, b"anybody?");
            // On a stream, the report comes with the next packet, which must not get lost.
            client.send(listening.local_addr().unwrap(), &[round]);
            let mut buffer = [0; 100];
            assert_eq!(listening.recv(&mut buffer).unwrap(), 1, "{transport}");
            assert_eq!(buffer[0], round);
            client.expect_icmp(closed, icmp);
        }
    }
    assert_eq!(server.metric("turn_dropped_packets_total{reason=\"send_to_peer\"}"), 0);
}

#[test]
fn over_udp_a_peer_port_that_nobody_has_is_reported_and_stands_in_nobodys_way() {
    a_peer_port_that_nobody_has_is_reported_and_stands_in_nobodys_way("udp");
}

#[test]
fn over_tcp_a_peer_port_that_nobody_has_is_reported_and_stands_in_nobodys_way() {
    a_peer_port_that_nobody_has_is_reported_and_stands_in_nobodys_way("tcp");
}

/// A relayed address that is given back is free before the client gets the answer.
fn a_relayed_address_is_closed_before_the_answer_that_says_so(transport: &str) {
    let server = Process::start(ON_LOOPBACK);
    let mut client = client_over(transport, &server);
    for _ in 0..10 {
        let both = |request: &mut Message| request.add(ATTR_ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]);
        let v4 = client.allocate_with(both).unwrap();
        assert!(!is_free(v4), "{transport}");
        let of_v4 = |request: &mut Message| {
            request.add(ATTR_REQUESTED_ADDRESS_FAMILY, &[1, 0, 0, 0]);
            request.add(ATTR_LIFETIME, &0u32.to_be_bytes());
        };
        client.request(METHOD_REFRESH, of_v4).unwrap();
        assert!(is_free(v4), "{transport}: one of two");
        assert_eq!(client.refresh(0), Ok(0));
        let relayed = client.allocate().unwrap();
        assert_eq!(client.refresh(0), Ok(0));
        assert!(is_free(relayed), "{transport}");
    }
}

#[test]
fn over_udp_a_relayed_address_is_closed_before_the_answer_that_says_so() {
    a_relayed_address_is_closed_before_the_answer_that_says_so("udp");
}

#[test]
fn over_tcp_a_relayed_address_is_closed_before_the_answer_that_says_so() {
    a_relayed_address_is_closed_before_the_answer_that_says_so("tcp");
}

/// Datagrams that the kernel delivers in one buffer, with lengths that need padding in Data indications.
#[test]
fn a_run_of_datagrams_is_relayed_one_by_one_and_whole() {
    let server = Process::start(ON_LOOPBACK);
    let mut client = client_over("udp", &server);
    client.allocate().unwrap();
    for len in [101, 102, 103, 104, 3] {
        let by_channel = UdpSocket::bind("127.0.0.1:0").unwrap();
        let by_data = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.permit(&[by_data.local_addr().unwrap()]).unwrap();
        client.bind_channel(0x4000 + len as u16, by_channel.local_addr().unwrap()).unwrap();
        let run: Vec<u8> = (0..len * 6 + 2).map(|at| (at * 7 + len) as u8).collect();
        for peer in [&by_data, &by_channel] {
            setsockopt(peer, UdpGsoSegment, &(len as i32)).unwrap();
            peer.send_to(&run, client.relayed()).unwrap();
        }
        for part in run.chunks(len) {
            client.expect_data(by_data.local_addr().unwrap(), part);
        }
        for part in run.chunks(len) {
            client.expect_channel_data(0x4000 + len as u16, part);
        }
    }
}

#[test]
fn a_limited_allocation_drops_what_is_too_much() {
    let server = Process::start(&format!("{ON_LOOPBACK} --max-bitrate-per-allocation 100k"));
    let credentials = server.mint("alice");
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut client = TurnClient::allocated(server.turn(), &credentials);
    client.permit(&[peer.local_addr().unwrap()]).unwrap();
    for _ in 0..200 {
        client.send(peer.local_addr().unwrap(), &[0; 1000]);
    }
    client.expect_nothing();
    let dropped = server.metric("turn_dropped_packets_total{reason=\"bitrate\"}");
    assert!(dropped > 50, "{dropped} of 200 kB at 100 kbit/s");
}

#[test]
fn an_alternate_server_gets_the_new_clients() {
    let server = Process::start("--alternate-server 192.0.2.5:3478");
    let credentials = server.mint("alice");
    for (transport, mut client) in clients(&server, &credentials) {
        assert_eq!(client.allocate(), Err(300), "{transport}");
    }
}
