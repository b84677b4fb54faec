//! The program as a TURN server over real sockets: another client library, ports that run out, restarts, and the end of
//! the server.
#![allow(clippy::unwrap_used)]

mod common;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    sync::Arc,
    time::Duration,
};

use ::turn::client::{Client as WebrtcClient, ClientConfig};
use bimcc_rtc::{
    credentials::{self, Secret, User},
    membership::{Directory, RoomTag},
    observe::metrics::Metrics,
    turn::{
        io::{BoundSockets, Relaying, Workers},
        shared::Lifetimes,
    },
    values::{member::MemberId, ports::RelayPorts},
};
use common::{
    netns::Namespace,
    patient,
    process::{PATIENCE, Process, Start, free_port, free_ports},
    turn_client::{Credentials, TurnClient, error_code},
    turn_on_loopback,
};
use nix::sys::signal::Signal;
use stun::{
    attributes::ATTR_LIFETIME,
    message::{CLASS_SUCCESS_RESPONSE, METHOD_REFRESH},
};
use webrtc_util::Conn;

const SEND_TO_PEER: &str = "turn_dropped_packets_total{reason=\"send_to_peer\"}";

#[test]
fn two_clients_talk_by_send_and_by_channel() {
    let server = Process::start("");
    let credentials = server.mint("alice");
    let mut a = TurnClient::allocated(server.turn(), &credentials);
    let mut b = TurnClient::allocated(server.turn(), &credentials);
    a.permit(&[b.relayed()]).unwrap();
    b.permit(&[a.relayed()]).unwrap();
    a.send(b.relayed(), b"by Send");
    b.expect_data(a.relayed(), b"by Send");
    b.bind_channel(0x4001, a.relayed()).unwrap();
    b.send_channel(0x4001, b"by channel");
    a.expect_data(b.relayed(), b"by channel");
    a.send(b.relayed(), b"to a channel");
    b.expect_channel_data(0x4001, b"to a channel");
    a.send(b.relayed(), b"");
    b.expect_channel_data(0x4001, b"");
    assert_eq!(a.refresh(0), Ok(0));
    assert_eq!(b.refresh(0), Ok(0));
    server.all_gauges_become_zero();
    server.stop();
}

/// The memory for allocations that clients have given back is limited: the oldest is forgotten first.
#[test]
fn allocating_and_giving_back_fills_no_memory() {
    const MORE_THAN_ARE_KEPT: usize = 1100;
    let server = Process::start("--workers 1");
    let credentials = server.mint("alice");
    let mut first = TurnClient::allocated(server.turn(), &credentials);
    let give_back = first.signed(METHOD_REFRESH, |request| request.add(ATTR_LIFETIME, &[0; 4]));
    assert_eq!(first.transact(&give_back).typ.class, CLASS_SUCCESS_RESPONSE);
    for round in 0..MORE_THAN_ARE_KEPT {
        // The same 5-tuple is never used twice.
        let ip = Ipv4Addr::new(127, 0, 1 + (round / 200) as u8, 1 + (round % 200) as u8);
        let socket = UdpSocket::bind((ip, 0)).unwrap();
        let mut client = TurnClient::over(socket, server.turn(), Some(&credentials));
        client.allocate().unwrap();
        let give_back = client.signed(METHOD_REFRESH, |request| request.add(ATTR_LIFETIME, &[0; 4]));
        let answer = client.transact(&give_back);
        assert_eq!(answer.typ.class, CLASS_SUCCESS_RESPONSE);
        assert_eq!(client.transact(&give_back).raw, answer.raw, "the latest is kept");
    }
    assert_eq!(error_code(&first.transact(&give_back)), 437);
    server.all_gauges_become_zero();
}

/// An allocation by the client of webrtc-rs.
async fn webrtc_client(server: SocketAddr, credentials: &Credentials) -> (WebrtcClient, impl Conn + use<>) {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let client = WebrtcClient::new(ClientConfig {
        stun_serv_addr: server.to_string(),
        turn_serv_addr: server.to_string(),
        username: credentials.username.clone(),
        password: credentials.password.clone(),
        realm: "bimcc-rtc".to_owned(),
        software: String::new(),
        rto_in_ms: 0,
        conn: Arc::new(socket),
        vnet: None,
    })
    .await
    .unwrap();
    client.listen().await.unwrap();
    let relay = patient(client.allocate()).await.unwrap();
    (client, relay)
}

/// Sends data in both directions with each peer, marked with `round`.
async fn echo(relay: &impl Conn, peers: &[tokio::net::UdpSocket], round: &str) {
    let relayed = relay.local_addr().unwrap();
    let mut buffer = [0; 1500];
    for (number, peer) in peers.iter().enumerate() {
        let address = peer.local_addr().unwrap();
        let ping = format!("{round} ping {number}");
        patient(relay.send_to(ping.as_bytes(), address)).await.unwrap();
        let (len, from) = patient(peer.recv_from(&mut buffer)).await.unwrap();
        assert_eq!((&buffer[..len], from), (ping.as_bytes(), relayed));
        let pong = format!("{round} pong {number}");
        peer.send_to(pong.as_bytes(), from).await.unwrap();
        let (len, from) = patient(relay.recv_from(&mut buffer)).await.unwrap();
        assert_eq!((&buffer[..len], from), (pong.as_bytes(), address));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn webrtc_rs_talks_to_two_peers() {
    let server = Process::start("--dangerously-allow-loopback-peers");
    let (client, relay) = webrtc_client(server.turn(), &server.mint("webrtc-rs")).await;
    let mapped = patient(client.send_binding_request()).await.unwrap();
    assert_eq!(mapped.ip(), IpAddr::from(Ipv4Addr::LOCALHOST));
    let mut peers = Vec::new();
    for ip in ["127.0.0.1:0", "127.0.0.2:0"] {
        peers.push(tokio::net::UdpSocket::bind(ip).await.unwrap());
    }
    echo(&relay, &peers, "Send").await;
    // The client binds channels in the background and then uses them.
    server.metric_becomes("turn_channels", 2);
    echo(&relay, &peers, "channel").await;
    assert_eq!(server.metric("turn_permissions"), 2);
    assert_eq!(server.metric_family("turn_responses_total{method=\"create_permission\",code=\"4"), 0);
    patient(client.close()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_members_with_webrtc_rs_talk_in_process() {
    let server = Process::start("--workers 2");
    let (_ws_a, a) = server.member("room").await;
    let (_ws_b, b) = server.member("room").await;
    let (_client_a, a) = webrtc_client(server.turn(), &a).await;
    let (_client_b, b) = webrtc_client(server.turn(), &b).await;
    let (relayed_a, relayed_b) = (a.local_addr().unwrap(), b.local_addr().unwrap());
    let mut buffer = [0; 100];
    // This makes b permit a, while a does not permit b yet.
    patient(b.send_to(b"too early", relayed_a)).await.unwrap();
    server.metric_becomes("turn_dropped_packets_total{reason=\"no_permission\"}", 1);
    patient(a.send_to(b"ping", relayed_b)).await.unwrap();
    let (len, from) = patient(b.recv_from(&mut buffer)).await.unwrap();
    assert_eq!((&buffer[..len], from), (&b"ping"[..], relayed_a));
    patient(b.send_to(b"pong", relayed_a)).await.unwrap();
    let (len, from) = patient(a.recv_from(&mut buffer)).await.unwrap();
    assert_eq!((&buffer[..len], from), (&b"pong"[..], relayed_b));
    assert_eq!(server.metric("turn_relayed_packets_total{direction=\"to_peer\",path=\"kernel\"}"), 0);
}

#[test]
fn rfc8656_7_2_allocations_are_granted_for_what_the_operator_allows() {
    let server = Process::start("--allocation-lifetime 60s --workers 1");
    let mut client = TurnClient::allocated(server.turn(), &server.mint("client"));
    for asked in [1, 600, 3600] {
        assert_eq!(client.refresh(asked), Ok(60), "{asked}");
    }
}

#[test]
fn a_client_that_finds_no_port_harms_no_other() {
    let ports = free_ports(3);
    let RelayPorts::Range { first, last } = ports else { unreachable!() };
    let server = Process::start(&format!("--relay-ports {first}-{last} --max-allocations 100 --workers 2"));
    let credentials = server.mint("client");
    let mut clients: Vec<_> = (0..3).map(|_| TurnClient::allocated(server.turn(), &credentials)).collect();
    let mut late = TurnClient::new(server.turn(), Some(&credentials));
    assert_eq!(late.allocate(), Err(508));
    assert_eq!(late.refresh(600), Err(437), "nothing is left of the attempt");
    let relayed: Vec<_> = clients.iter().map(TurnClient::relayed).collect();
    assert!(relayed.iter().all(|address| (first..=last).contains(&address.port())), "{relayed:?}");
    for client in &mut clients {
        client.permit(&relayed).unwrap();
    }
    clients[0].send(relayed[1], b"undisturbed");
    clients[1].expect_data(relayed[0], b"undisturbed");
    assert_eq!(clients[2].refresh(0), Ok(0));
    assert_eq!(late.allocate(), Ok(relayed[2]), "the port came back");
    assert_eq!(server.metric("turn_allocations"), 3);
}

#[test]
fn a_port_of_another_program_is_passed_over() {
    let ports = free_ports(2);
    let RelayPorts::Range { first, last } = ports else { unreachable!() };
    let _other = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, first)).unwrap();
    let server = Process::start(&format!("--relay-ports {first}-{last}"));
    let credentials = server.mint("client");
    for _ in 0..40 {
        let mut client = TurnClient::allocated(server.turn(), &credentials);
        assert_eq!(client.relayed().port(), last);
        client.refresh(0).unwrap();
    }
}

/// However few are left, and whatever other programs have.
#[test]
fn every_port_of_the_range_is_found_before_508() {
    const PORTS: u16 = 100;
    let ports = free_ports(PORTS);
    let RelayPorts::Range { first, last } = ports else { unreachable!() };
    let _others = [first, first + 7, last].map(|port| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap());
    let server = Process::start(&format!("--relay-ports {first}-{last} --max-allocations 200 --workers 2"));
    let credentials = server.mint("client");
    let mut clients: Vec<_> = (3..PORTS).map(|_| TurnClient::allocated(server.turn(), &credentials)).collect();
    let mut late = TurnClient::new(server.turn(), Some(&credentials));
    assert_eq!(late.allocate(), Err(508));
    for client in &mut clients[..10] {
        assert_eq!(client.refresh(0), Ok(0));
        assert_eq!(late.allocate(), Ok(client.relayed()), "the only free one");
        assert_eq!(late.refresh(0), Ok(0));
        late = TurnClient::new(server.turn(), Some(&credentials));
        *client = TurnClient::allocated(server.turn(), &credentials);
    }
}

#[tokio::test]
async fn without_relay_ports_members_talk_and_nothing_leaves() {
    // The network would deliver packets to loopback, if any were sent.
    let server = Process::start("--relay-ports none --dangerously-allow-loopback-peers --workers 2");
    let (_ws_a, a) = server.member("room").await;
    let (_ws_b, b) = server.member("room").await;
    let mut a = TurnClient::allocated(server.turn(), &a);
    let mut b = TurnClient::allocated(server.turn(), &b);
    a.permit(&[b.relayed()]).unwrap();
    b.permit(&[a.relayed()]).unwrap();
    a.send(b.relayed(), b"ping");
    b.expect_data(a.relayed(), b"ping");
    b.send(a.relayed(), b"pong");
    a.expect_data(b.relayed(), b"pong");
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    a.permit(&[peer.local_addr().unwrap()]).unwrap();
    a.send(peer.local_addr().unwrap(), b"out");
    server.metric_becomes(SEND_TO_PEER, 1);
    assert_eq!(server.metric("turn_relayed_packets_total{direction=\"to_peer\",path=\"kernel\"}"), 0);
    peer.set_nonblocking(true).unwrap();
    assert_eq!(peer.recv(&mut [0; 10]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    // Nothing listens at a relayed address.
    drop(UdpSocket::bind(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), a.relayed().port())).unwrap());
}

/// TURN in this process, with lifetimes that are short enough for a test.
struct InProcess {
    server: SocketAddr,
    metrics: Metrics,
    secret: Secret,
    directory: Arc<Directory>,
    _workers: Workers,
}

impl InProcess {
    fn start(relay_ports: RelayPorts, lifetime: Duration) -> Self {
        let secret = Secret::new(*b"a secret of this test");
        let directory = Arc::new(Directory::new());
        let lifetimes = Lifetimes { default: lifetime, max: lifetime, reservation: lifetime };
        let shared = turn_on_loopback(directory.clone(), secret.clone(), lifetimes);
        let metrics = Metrics::new();
        let bound = BoundSockets::new(&[(Ipv4Addr::LOCALHOST, 0).into()], 2).unwrap();
        let server = bound.addresses()[0];
        let workers =
            bound.start(shared, Relaying { ports: relay_ports, latency_budget: Duration::ZERO }, &metrics).unwrap();
        Self { server, metrics, secret, directory, _workers: workers }
    }

    fn client(&self) -> TurnClient {
        let minted = credentials::mint(&self.secret, &User::api("client").unwrap(), common::NO_END);
        let credentials = Credentials { username: minted.username, password: minted.password };
        TurnClient::new(self.server, Some(&credentials))
    }

    fn allocated(&self) -> TurnClient {
        let mut client = self.client();
        client.allocate().unwrap();
        client
    }
}

#[test]
fn an_expired_allocation_gives_its_port_back() {
    let server = InProcess::start(free_ports(1), Duration::from_secs(1));
    let mut first = server.allocated();
    assert_eq!(first.refresh(600), Ok(1));
    let deadline = std::time::Instant::now() + PATIENCE;
    // This happens even if nobody sends a packet meanwhile.
    while !server.metrics.encode().contains("bimcc_rtc_turn_allocations 0\n") {
        assert!(std::time::Instant::now() < deadline, "{}", server.metrics.encode());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(first.refresh(600), Err(437));
    assert_eq!(server.allocated().relayed(), first.relayed());
}

#[test]
fn a_reserved_port_for_which_nobody_comes_is_given_back() {
    let ports = 2 * (free_port() / 2);
    let server = InProcess::start(RelayPorts::Range { first: ports, last: ports + 1 }, Duration::from_secs(1));
    let reserve = |request: &mut stun::message::Message| request.add(stun::attributes::ATTR_EVEN_PORT, &[0x80]);
    let mut first = server.client();
    first.allocate_with(reserve).unwrap();
    let next = SocketAddr::new(first.relayed().ip(), ports + 1);
    assert_eq!(first.refresh(0), Ok(0));
    assert!(UdpSocket::bind(next).is_err(), "the reservation outlives the allocation");
    let mut second = server.client();
    assert_eq!(second.allocate_with(reserve), Err(508), "of the only pair one is held");
    let deadline = std::time::Instant::now() + PATIENCE;
    // This happens even if nobody sends a packet meanwhile.
    while UdpSocket::bind(next).is_err() {
        assert!(std::time::Instant::now() < deadline, "{}", server.metrics.encode());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(second.allocate_with(reserve).is_ok());
}

/// The client is quicker than the server's timer: its Allocate makes the server notice that the last allocation is
/// over.
#[test]
fn allocating_at_the_moment_of_expiry_keeps_no_port() {
    let server = InProcess::start(free_ports(2), Duration::from_millis(20));
    let mut client = server.allocated();
    let deadline = std::time::Instant::now() + PATIENCE;
    let mut allocated = 0;
    while allocated < 30 {
        assert!(std::time::Instant::now() < deadline, "{}", server.metrics.encode());
        match client.allocate() {
            Ok(_) => allocated += 1,
            Err(code) => assert_eq!(code, 437, "{allocated} allocations, one at a time, on two ports"),
        }
    }
}

/// The same if the member has moved to another room, and its packets come before the command to end its allocation.
#[test]
fn allocating_while_moving_rooms_keeps_no_port() {
    let server = InProcess::start(free_ports(2), Duration::from_secs(600));
    let member = MemberId::from_bits(1);
    let enter = |room: u32| server.directory.enter(member, RoomTag(room.try_into().unwrap()), None);
    enter(1);
    let secret = common::member_key().secret(&server.secret);
    let minted = credentials::mint(&secret, &User::Member(member), common::NO_END);
    let credentials = Credentials { username: minted.username, password: minted.password };
    let mut client = TurnClient::new(server.server, Some(&credentials));
    for round in 0..200 {
        enter(1 + round % 2);
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            client.send((Ipv4Addr::LOCALHOST, 9).into(), b"shows the session that its owner has left");
            match client.allocate() {
                Ok(_) => break,
                Err(code) => assert_eq!(code, 437, "round {round}"),
            }
            assert!(std::time::Instant::now() < deadline, "{}", server.metrics.encode());
        }
    }
    assert_eq!(client.refresh(600), Ok(600), "no late command ended the last one");
}

#[test]
fn credentials_and_nonces_survive_a_restart() {
    let first = Process::start("");
    let credentials = first.mint("client");
    let mut client = TurnClient::allocated(first.turn(), &credentials);
    let nonce = client.nonce.clone();
    let (state_dir, port) = (first.state_dir(), first.turn_port());
    first.stop();
    let second = Start::default().state_dir(state_dir).turn_port(port).serve();
    client.allocate().unwrap();
    assert_eq!(client.nonce, nonce, "it was not challenged");
    assert_eq!(second.metric("turn_responses_total{method=\"allocate\",code=\"438\"}"), 0);
    assert_eq!(second.mint("client").password.len(), credentials.password.len());
    TurnClient::allocated(second.turn(), &credentials);

    // Another state directory, another secret and another key.
    let other = Start::default().serve();
    let mut stranger = TurnClient::new(other.turn(), Some(&credentials));
    assert_eq!(stranger.allocate(), Err(401));
    stranger.nonce = nonce;
    let answer = stranger.transact(&stranger.signed(stun::message::METHOD_ALLOCATE, |_| ()));
    assert_eq!(error_code(&answer), 438);
}

#[tokio::test]
async fn credentials_of_members_end_with_the_server() {
    let first = Process::start("");
    let (ws, credentials) = first.member("room").await;
    TurnClient::allocated(first.turn(), &credentials);
    let (state_dir, port) = (first.state_dir(), first.turn_port());
    drop(ws);
    first.stop();
    let second = Start::default().state_dir(state_dir).turn_port(port).serve();
    assert_eq!(TurnClient::new(second.turn(), Some(&credentials)).allocate(), Err(401));
}

async fn ends_well_on(signal: Signal) {
    let mut server = Process::start("--workers 2");
    let (mut joined, credentials) = server.member("room").await;
    let mut idle = server.connect().await;
    let mut turn = TurnClient::allocated(server.turn(), &credentials);
    let mut other = TurnClient::allocated(server.turn(), &server.mint("other"));
    turn.permit(&[other.relayed()]).unwrap();
    other.permit(&[turn.relayed()]).unwrap();
    server.signal(signal);
    assert_eq!(joined.close_code().await, Some(1001));
    assert_eq!(idle.close_code().await, Some(1001));
    // The server waits for clients that are not finished.
    drop((joined, idle));
    let (status, said) = server.wait();
    assert_eq!(status.code(), Some(0), "{said}");
}

#[tokio::test]
async fn sigterm_ends_it_well() {
    ends_well_on(Signal::SIGTERM).await;
}

#[tokio::test]
async fn sigint_ends_it_well() {
    ends_well_on(Signal::SIGINT).await;
}

/// A client that does not answer the close must not delay the server.
#[tokio::test]
async fn sigterm_does_not_wait_for_silent_clients() {
    let mut server = Process::start("");
    let (_silent, _) = server.member("room").await;
    let _half_open = std::net::TcpStream::connect(server.http).unwrap();
    let mut half_asked = std::net::TcpStream::connect(server.admin).unwrap();
    std::io::Write::write_all(&mut half_asked, b"GET /metrics HTTP/1.1\r\nHo").unwrap();
    // When this is answered, the server has read the message before as well.
    server.metric("connections");
    server.signal(Signal::SIGTERM);
    let (status, said) = server.wait();
    assert_eq!(status.code(), Some(0), "{said}");
}

fn fails_to_bind(start: Start, address: &str, flag: &str) {
    let mut spawned = start.spawn();
    let (status, said) = spawned.wait();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains(address) && said.contains(flag), "{address} and {flag} should be named: {said}");
    assert_eq!(said.trim().lines().count(), 1, "one clear line: {said}");
}

#[test]
fn an_address_in_use_is_named_with_its_flag() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = tcp.local_addr().unwrap().to_string();
    fails_to_bind(Start::with(&format!("--listen {taken}")), &taken, "--listen");
    fails_to_bind(Start::with(&format!("--admin-listen {taken}")), &taken, "--admin-listen");
    // The kernel must not choose this port: it could be one of the relay ports, which would be another error.
    let udp = UdpSocket::bind(("127.0.0.1", free_port())).unwrap();
    let taken = udp.local_addr().unwrap().to_string();
    fails_to_bind(Start::with(&format!("--turn-listen {taken}")), &taken, "--turn-listen");
    fails_to_bind(Start::with("--listen 192.0.2.200:3000"), "192.0.2.200:3000", "--listen");
    fails_to_bind(Start::with("--turn-listen 192.0.2.200:3478"), "192.0.2.200:3478", "--turn-listen");
}

/// Otherwise the sockets of both servers would share a port (SO_REUSEPORT), and clients would be split between the two.
#[test]
fn two_servers_do_not_share_an_address() {
    let first = Process::start("--workers 2");
    let taken = first.turn().to_string();
    fails_to_bind(Start::with(&format!("--turn-listen {taken}")), &taken, "--turn-listen");
    let (http, admin) = (first.http.to_string(), first.admin.to_string());
    fails_to_bind(Start::with(&format!("--listen {http}")), &http, "--listen");
    fails_to_bind(Start::with(&format!("--admin-listen {admin}")), &admin, "--admin-listen");
    // A wildcard overlaps as well.
    let port = first.turn_port();
    fails_to_bind(Start::with(&format!("--turn-listen 0.0.0.0:{port}")), &format!("0.0.0.0:{port}"), "--turn-listen");
    fails_to_bind(Start::with(&format!("--turn-listen {port}")), &format!(":{port}"), "--turn-listen");
    TurnClient::allocated(first.turn(), &first.mint("client"));
}

/// Hosts without a network still start, and serve local clients.
#[test]
fn a_host_with_loopback_alone_works() {
    let Some(host) = Namespace::new() else { return };
    let port = free_port();
    let args = format!("--turn-listen {port} --listen {}", free_port());
    let server = Start::with(&args).turn_port(port).within(&host).serve();
    let credentials = server.mint("client");
    let client = || {
        let socket = host.run(|| UdpSocket::bind("127.0.0.1:0").unwrap());
        let mut client = TurnClient::over(socket, server.turn(), Some(&credentials));
        client.allocate().unwrap();
        client
    };
    let (mut a, mut b) = (client(), client());
    assert_eq!(a.binding(), a.local());
    assert_eq!(b.refresh(0), Ok(0));
    server.stop();
}
