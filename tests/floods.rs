//! Many requests at once: strangers leave no state and lock nobody out, and a whole school class behind one address is
//! served. `BIMCC_RTC_LONG=1` makes the floods ten times as long.
#![allow(clippy::unwrap_used)]

mod common;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use common::{
    class::Class,
    netns::Namespace,
    process::{PATIENCE, Process, Start, free_port},
    turn_client::{Credentials, TurnClient, new_message},
    wire::tls_config,
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use stun::{
    attributes::{ATTR_MESSAGE_INTEGRITY, ATTR_NONCE, ATTR_REALM, ATTR_REQUESTED_TRANSPORT, ATTR_USERNAME},
    message::{CLASS_REQUEST, METHOD_ALLOCATE, Message},
};

const RATE_LIMITED: &str = "turn_dropped_packets_total{reason=\"rate_limited\"}";

/// How many allocations honest clients make during a flood.
const HONEST: usize = 100;

/// How many addresses the flood comes from.
const ADDRESSES: usize = 20;

/// How many ports the flood comes from, if the limit of open files allows it.
const PORTS: usize = 5000;

/// How many other files the test has open.
const OTHER_FILES: u64 = 200;

fn requests_per_port() -> usize {
    if std::env::var_os("BIMCC_RTC_LONG").is_some_and(|value| value == "1") { 40 } else { 4 }
}

/// The flood's sockets.
fn strangers() -> Vec<UdpSocket> {
    let allowed = raise_file_limit().saturating_sub(OTHER_FILES) as usize;
    if allowed < PORTS {
        common::say_skipped(&format!("only {allowed} ports: the limit of open files is low"));
    }
    let address = |index: usize| Ipv4Addr::new(127, 0, 0, 1 + (index % ADDRESSES) as u8);
    (0..PORTS.min(allowed)).map(|index| UdpSocket::bind((address(index), 0)).unwrap()).collect()
}

/// Raises the limit of open files, which is often 1024 at first, as far as possible.
fn raise_file_limit() -> u64 {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    hard
}

/// An Allocate, to which attributes that prove nothing may be added.
fn allocate(add: impl FnOnce(&mut Message)) -> Vec<u8> {
    let mut request = new_message(METHOD_ALLOCATE, CLASS_REQUEST);
    request.add(ATTR_REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
    add(&mut request);
    request.encode();
    request.raw
}

/// Requests of strangers, by the index of the socket.
type Requests = Vec<Vec<u8>>;

/// Sends all requests, each with its own transaction id, and notifies `progress` after every hundredth part.
///
/// The kernel drops packets that do not fit into socket buffers, and that would only test the kernel. So the flood is
/// exactly as fast as the server.
fn flood(server: &Process, sockets: &[UdpSocket], mut requests: Requests, progress: &mpsc::Sender<()>) {
    const BURST: usize = 100;
    let arrived = || server.metric("turn_requests_total{method=\"allocate\"}") as usize;
    let before = arrived();
    let total = sockets.len() * requests_per_port();
    let part = total / HONEST;
    for sent in 0..total {
        let index = sent % sockets.len();
        let request = &mut requests[index];
        request[8..20].copy_from_slice(&rand::random::<[u8; 12]>());
        sockets[index].send_to(request, server.turn()).unwrap();
        if sent % BURST == BURST - 1 {
            thread::sleep(Duration::from_millis(1));
        }
        if sent % part == part - 1 {
            // The honest clients may have finished already.
            let _ = progress.send(());
            let (mut last, mut since) = (0, Instant::now());
            loop {
                let now = arrived();
                if now >= before + sent.saturating_sub(BURST) || since.elapsed() > Duration::from_millis(200) {
                    break;
                }
                if now != last {
                    (last, since) = (now, Instant::now());
                }
            }
        }
    }
}

/// Makes an allocation and gives it back for each message on `starts`, alternately as a member and with a minted
/// credential.
fn honest_clients(server: SocketAddr, credentials: [Credentials; 2], starts: mpsc::Receiver<()>) {
    for round in 0..HONEST {
        starts.recv_timeout(PATIENCE).unwrap();
        // The member shares its address with a part of the flood.
        let ip = if round % 2 == 0 { Ipv4Addr::LOCALHOST } else { Ipv4Addr::new(127, 0, 1, 1) };
        let socket = UdpSocket::bind((ip, 0)).unwrap();
        let mut client = TurnClient::over(socket, server, Some(&credentials[round % 2]));
        assert!(client.allocate().is_ok(), "round {round}");
        assert_eq!(client.refresh(0), Ok(0), "round {round}");
    }
}

/// Floods the server with the requests from `make`, and checks that no state remains.
async fn survives(make: impl FnOnce(&Process, &[UdpSocket]) -> Requests) {
    let server = Process::start("--workers 2");
    let (member_ws, member) = server.member("room").await;
    let credentials = [member, server.mint("honest")];
    // Memory for the first allocation and the first reading of metrics is not caused by the flood.
    TurnClient::allocated(server.turn(), &credentials[0]).refresh(0).unwrap();
    server.metrics();
    let memory_before = server.resident_memory();

    let sockets = strangers();
    let sent = sockets.len() * requests_per_port();
    let requests = make(&server, &sockets);
    let counted = |server: &Process| server.metric("turn_requests_total{method=\"allocate\"}");
    let counted_before = counted(&server);
    let (progress, starts) = mpsc::channel();
    let address = server.turn();
    let honest = thread::spawn(move || honest_clients(address, credentials, starts));
    flood(&server, &sockets, requests, &progress);
    honest.join().unwrap();

    let memory_after = server.resident_memory();
    let grown = memory_after.saturating_sub(memory_before);
    let arrived = counted(&server) - counted_before;
    println!(
        "{sent} requests sent, {arrived} arrived with those of honest clients, {} dropped, memory {memory_before} + {grown}",
        server.metric(RATE_LIMITED),
    );
    assert!(grown < 1 << 20, "{grown} bytes more than {memory_before}");
    assert!(arrived as usize > sent * 9 / 10, "{arrived} of {sent} arrived");
    let text = server.metrics();
    let sum = |prefix: &str| -> i64 {
        let lines = text.lines().filter(|line| line.starts_with(prefix));
        lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<i64>().unwrap()).sum()
    };
    let answered = sum("bimcc_rtc_turn_responses_total{method=\"allocate\"");
    let dropped = sum("bimcc_rtc_turn_dropped_packets_total{");
    assert_eq!(sum("bimcc_rtc_turn_requests_total{method=\"allocate\"}"), answered + dropped);
    assert_eq!(server.metric("turn_allocations"), 0);
    assert_eq!(server.metric("turn_allocations_opened_total"), HONEST as i64 + 1);
    drop(member_ws);
    server.metric_becomes("members", 0);
}

#[tokio::test]
async fn unauthenticated_allocates_leave_no_trace() {
    survives(|_, sockets| sockets.iter().map(|_| allocate(|_| ())).collect()).await;
}

#[tokio::test]
async fn wrong_passwords_leave_no_trace() {
    survives(|server, sockets| {
        let challenge = |socket: &UdpSocket| {
            let mut client = TurnClient::over(socket.try_clone().unwrap(), server.turn(), None);
            let challenge = client.transact(&client.signed(METHOD_ALLOCATE, |request| {
                request.add(ATTR_REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
            }));
            allocate(|request| {
                request.add(ATTR_USERNAME, b"4102444800:somebody");
                request.add(ATTR_REALM, &challenge.get(ATTR_REALM).unwrap());
                request.add(ATTR_NONCE, &challenge.get(ATTR_NONCE).unwrap());
                request.add(ATTR_MESSAGE_INTEGRITY, &rand::random::<[u8; 20]>());
            })
        };
        sockets.iter().map(challenge).collect()
    })
    .await;
}

/// A source that asks too much gets no answers. Other sources do, and so do clients at the same address once one of
/// them has joined a room.
#[tokio::test]
async fn a_source_that_asks_too_much_gets_no_more_answers() {
    let server = Process::start("--workers 1");
    let greedy = Ipv4Addr::new(127, 0, 0, 3);
    let socket = UdpSocket::bind((greedy, 0)).unwrap();
    let mut request = allocate(|_| ());
    let mut other = TurnClient::new(server.turn(), Some(&server.mint("elsewhere")));
    let mut ask_much = |rounds| {
        for _ in 0..rounds {
            // Approximately as many as the kernel buffers for the server.
            for _ in 0..500 {
                request[8..20].copy_from_slice(&rand::random::<[u8; 12]>());
                socket.send_to(&request, server.turn()).unwrap();
            }
            // When this is answered, everything before has been handled.
            other.binding();
        }
        server.metric(RATE_LIMITED)
    };
    // On a busy machine, the server's allowance grows back nearly as fast as it is used.
    let deadline = Instant::now() + 4 * PATIENCE;
    while ask_much(10) == 0 {
        assert!(Instant::now() < deadline, "it is still answered");
    }
    let tcp = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    tcp.bind(&SocketAddr::from((greedy, 0)).into()).unwrap();
    tcp.connect(&server.http.into()).unwrap();
    let (_ws, member) = Process::joined(server.connect_over(tcp.into()).await, "room").await;
    let dropped = server.metric(RATE_LIMITED);
    assert_eq!(ask_much(15), dropped);
    TurnClient::over(UdpSocket::bind((greedy, 0)).unwrap(), server.turn(), Some(&member)).allocate().unwrap();
    other.allocate().unwrap();
    let requests = server.metric("turn_requests_total{method=\"allocate\"}");
    assert_eq!(requests, server.metric_family("turn_responses_total{method=\"allocate\"") + dropped);
}

/// Thirty in a room behind one address. Each has a peer connection to each other one, which gathers candidates by three
/// TURN URLs: over UDP, over TCP, and over TLS on the single port. No limit must stop them.
#[tokio::test(flavor = "multi_thread")]
async fn a_class_behind_one_address_starts_its_calls() {
    const CLASS: usize = 30;
    // An eighth of the files may be TURN connections.
    let streams = raise_file_limit() as usize / 8;
    let members = (1..=CLASS).rev().find(|members| 2 * members * (members - 1) <= streams).unwrap();
    if members < CLASS {
        common::say_skipped(&format!("only {members} members: the limit of open files is low"));
    }
    let site = Site::new();
    let port = free_port();
    let args = format!("--tls --workers 2 --listen 0.0.0.0:0 --turn-listen {ip}:{port} --public-ip {ip}", ip = site.ip);
    let start = Start::with(&args).turn_port(port);
    let server = match &site.namespace {
        Some(namespace) => start.within(namespace),
        None => start,
    };
    let server = server.serve();
    let [turn, one_port] = [port, server.http.port()].map(|port| SocketAddr::new(site.ip, port));
    let class = Class { ip: site.ip, turn, one_port, tls: tls_config(&server.ca(), &[]) };
    let mut presences = Vec::new();
    let mut credentials = Vec::new();
    let started = Instant::now();
    for _ in 0..members {
        let tcp = site.run(|| TcpStream::connect(one_port)).unwrap();
        let (presence, credential) = class.join(tcp, "class").await;
        presences.push(presence);
        credentials.push(credential);
    }
    let clients = site.run(|| class.gather_all(&credentials));
    println!("{members} members with {} allocations after {:.1?}", clients.len(), started.elapsed());
    for transport in ["udp", "tcp", "tls"] {
        let name = format!("turn_allocations_by_transport{{transport=\"{transport}\"}}");
        assert_eq!(server.metric(&name), (members * (members - 1)) as i64, "{transport}");
    }
    assert_eq!(server.metric(RATE_LIMITED), 0);
    assert_eq!(server.metric_family("connections_refused_total"), 0);
    assert_eq!(server.metric_family("turn_responses_total{method=\"allocate\",code=\"486\"}"), 0);
    assert!(clients.iter().all(|client| client.local().ip() == site.ip && client.relayed().ip() == site.ip));
    drop((presences, clients));
    server.metric_becomes("turn_streams{transport=\"tls\"}", 0);
    server.all_gauges_become_zero();
}

/// The place of a class: if a namespace can be made, an address that limits count, unlike loopback.
struct Site {
    namespace: Option<Namespace>,
    ip: IpAddr,
}

impl Site {
    fn new() -> Self {
        let namespace = Namespace::new();
        let ip = match &namespace {
            Some(namespace) => {
                namespace.ip("address add 10.78.0.1/32 dev lo");
                IpAddr::from([10, 78, 0, 1])
            }
            None => Ipv4Addr::LOCALHOST.into(),
        };
        Self { namespace, ip }
    }

    fn run<T: Send>(&self, action: impl FnOnce() -> T + Send) -> T {
        match &self.namespace {
            Some(namespace) => namespace.run(action),
            None => action(),
        }
    }
}
