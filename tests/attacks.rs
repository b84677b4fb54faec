//! Tries attacks on the program that have broken other TURN servers: a case for each published advisory of coturn that
//! applies (docs/TURN.md section 7 has the list, and names the other tests that cover the rest), and other things that
//! strangers and members could do to the server and to each other.
#![allow(clippy::unwrap_used)]

mod common;

use std::{
    collections::{BTreeSet, HashSet},
    io::{ErrorKind, Read, Write},
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bimcc_rtc::values::ports::RelayPorts;
use common::{
    Options, Server,
    ipv6_forms::ipv6_forms,
    patient,
    process::{PATIENCE, Process, free_port, free_ports},
    turn_client::{Credentials, TurnClient, Via, error_code, new_message},
    ways::{WAYS, Way, World},
    wire::{Wire, self_signed},
};
use rustls::pki_types::ServerName;
use stun::{
    attributes::*,
    message::{
        CLASS_ERROR_RESPONSE, CLASS_REQUEST, CLASS_SUCCESS_RESPONSE, METHOD_ALLOCATE, METHOD_BINDING,
        METHOD_CREATE_PERMISSION, METHOD_REFRESH, Message,
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
};

const OWN_ADDRESS: &str = "turn_dropped_packets_total{reason=\"own_address\"}";

/// This attribute is comprehension-required, and only third-party authorization knows it (RFC 7635).
const ACCESS_TOKEN: AttrType = AttrType(0x001B);

/// This attribute is comprehension-optional (RFC 8016).
const MOBILITY_TICKET: AttrType = AttrType(0x8030);

/// Addresses that this host does not have: relayed addresses of both families, whatever networks there are.
const BOTH_FAMILIES: &str = "--public-ip 198.51.100.7 --public-ip 2001:db8:77::7";

// ---- Peers -------------------------------------------------------------------------------------------------------

/// A service on loopback, which must receive nothing.
struct Canary {
    sockets: [UdpSocket; 2],
}

impl Canary {
    fn new() -> Self {
        let sockets = ["127.0.0.1:0", "[::1]:0"].map(|address| UdpSocket::bind(address).unwrap());
        Self { sockets }
    }

    /// The addresses of the service for an IP address that may lead there.
    fn at(&self, ip: &str) -> [SocketAddr; 2] {
        let ip: IpAddr = ip.parse().unwrap();
        [0, 1].map(|index| SocketAddr::new(ip, self.sockets[index].local_addr().unwrap().port()))
    }

    fn has_heard(&self) -> bool {
        self.sockets.iter().any(|socket| {
            socket.set_nonblocking(true).unwrap();
            socket.recv(&mut [0; 100]).is_ok()
        })
    }
}

fn allocated_of_both_families(server: &Process, credentials: &Credentials) -> [TurnClient; 2] {
    let mut v4 = TurnClient::new(server.turn(), Some(credentials));
    v4.allocate().unwrap();
    let mut v6 = TurnClient::new(server.turn(), Some(credentials));
    v6.allocate_v6().unwrap();
    [v4, v6]
}

/// CVE-2018-4058, CVE-2020-26262, CVE-2026-27624, CVE-2026-53450, CVE-2026-73212.
#[tokio::test]
async fn cve_2020_26262_loopback_and_metadata_are_out_of_reach_in_every_form() {
    let canary = Canary::new();
    let plain = ["127.0.0.1", "127.1.2.3", "0.0.0.0", "0.1.2.3", "169.254.169.254", "169.254.0.1"];
    let forms = plain.iter().flat_map(|v4| ipv6_forms(v4));
    let own_forms = ["::", "::1", "fe80::1", "fec0::1", "fd00:ec2::254", "64:ff9b:1::7f00:1"];
    let targets: Vec<String> = plain.iter().chain(&own_forms).map(|target| (*target).to_owned()).chain(forms).collect();
    let everything = "--allow-peer 0.0.0.0/0 --allow-peer ::/0";
    for policy in ["", "--peer-policy public", "--peer-policy any --api-peer-policy any"] {
        let server = Process::start(&format!("{BOTH_FAMILIES} {policy} {everything}"));
        let (_ws, member) = server.member("room").await;
        for credentials in [member, server.mint("outsider")] {
            let mut clients = allocated_of_both_families(&server, &credentials);
            for target in &targets {
                for peer in canary.at(target) {
                    let client = &mut clients[usize::from(peer.is_ipv6())];
                    assert_eq!(client.permit(&[peer]), Err(403), "{policy} {peer}");
                    assert_eq!(client.bind_channel(0x4000, peer), Err(403), "{policy} {peer}");
                    client.send(peer, b"anyway");
                    client.send_channel(0x4000, b"anyway");
                }
            }
            clients.iter_mut().for_each(TurnClient::expect_nothing);
            assert_eq!(server.metric("turn_permissions"), 0);
        }
    }
    assert!(!canary.has_heard());
    // The service would receive the data if loopback peers were allowed.
    let server = Process::start("--dangerously-allow-loopback-peers");
    let mut client = TurnClient::allocated(server.turn(), &server.mint("outsider"));
    let [peer, _] = canary.at("127.0.0.1");
    client.permit(&[peer]).unwrap();
    client.send(peer, b"control");
    let deadline = Instant::now() + PATIENCE;
    while !canary.has_heard() {
        assert!(Instant::now() < deadline);
    }
}

/// CVE-2026-73213: ranges were compared byte by byte.
#[test]
fn cve_2026_73213_a_range_that_ends_within_a_byte_is_denied_to_its_end() {
    let denied = "--deny-peer 2600:1f18:8000::/33 --deny-peer 2600:9000::/21 --deny-peer 198.32.0.0/11";
    let server = Process::start(&format!("{BOTH_FAMILIES} --api-peer-policy any {denied}"));
    let [mut v4, mut v6] = allocated_of_both_families(&server, &server.mint("outsider"));
    let cases = [
        (Err(403), "2600:1f18:8000::"),
        (Err(403), "2600:1f18:8001::ff"),
        (Err(403), "2600:1f18:80ff:0:ffff::1"),
        (Err(403), "2600:1f18:ff00::"),
        (Err(403), "2600:1f18:ffff:ffff:ffff:ffff:ffff:ffff"),
        (Ok(()), "2600:1f18:7fff:ffff:ffff:ffff:ffff:ffff"),
        (Ok(()), "2600:1f19::"),
        (Err(403), "2600:9000::"),
        (Err(403), "2600:97ff:ffff::ffff"),
        (Ok(()), "2600:9800::"),
        (Ok(()), "2600:8fff:ffff::"),
        (Err(403), "198.32.0.0"),
        (Err(403), "198.63.255.255"),
        (Err(403), "::ffff:198.48.0.9"),
        (Ok(()), "198.31.255.255"),
        (Ok(()), "198.64.0.0"),
    ];
    for (expected, ip) in cases {
        let peer = SocketAddr::new(ip.parse().unwrap(), 9);
        let client = if peer.is_ipv4() { &mut v4 } else { &mut v6 };
        assert_eq!(client.permit(&[peer]), expected, "{ip}");
    }
}

#[test]
fn a_permission_for_one_peer_is_none_for_another() {
    let world = World::start("--dangerously-allow-loopback-peers");
    let credentials = world.server.mint("alice");
    let [permitted, other] = ["127.0.1.1", "127.0.1.2"].map(|ip| UdpSocket::bind((ip, 0)).unwrap());
    permitted.set_read_timeout(Some(PATIENCE)).unwrap();
    let [permitted_at, other_at] = [&permitted, &other].map(|socket| socket.local_addr().unwrap());
    for way in WAYS {
        let mut client = world.allocated(way, &credentials);
        client.permit(&[permitted_at]).unwrap();
        client.send(other_at, b"not permitted");
        other.send_to(b"not permitted", client.relayed()).unwrap();
        client.send(permitted_at, b"control");
        let mut buffer = [0; 100];
        let (len, from) = permitted.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..len], from), (&b"control"[..], client.relayed()), "{way:?}");
        permitted.send_to(b"control", from).unwrap();
        client.expect_data(permitted_at, b"control");
        client.expect_nothing();
    }
    other.set_nonblocking(true).unwrap();
    assert_eq!(other.recv(&mut [0; 100]).unwrap_err().kind(), ErrorKind::WouldBlock);
    let dropped = world.server.metric("turn_dropped_packets_total{reason=\"no_permission\"}");
    assert_eq!(dropped, 2 * WAYS.len() as i64);
}

#[test]
fn channel_data_before_a_channel_goes_nowhere() {
    let world = World::start("");
    let credentials = world.server.mint("alice");
    let mut peer = world.allocated(Way::Udp, &credentials);
    for way in WAYS {
        let mut client = world.client(way, &credentials);
        client.binding();
        client.send_channel(0x4000, b"before the allocation");
        client.allocate().unwrap();
        client.send_channel(0x4000, b"before the channel");
        client.permit(&[peer.relayed()]).unwrap();
        peer.permit(&[client.relayed()]).unwrap();
        client.send_channel(0x4000, b"with a permission alone");
        client.bind_channel(0x4001, peer.relayed()).unwrap();
        client.send_channel(0x4000, b"with another channel");
        client.send_channel(0x4001, b"control");
        peer.expect_data(client.relayed(), b"control");
    }
    let dropped = |reason| world.server.metric(&format!("turn_dropped_packets_total{{reason=\"{reason}\"}}"));
    let ways = WAYS.len() as i64;
    assert_eq!((dropped("no_allocation"), dropped("no_channel")), (ways, 3 * ways));
}

// ---- Who one is --------------------------------------------------------------------------------------------------

#[test]
fn anothers_allocation_is_out_of_reach() {
    let world = World::start("");
    let [alice, mallory] = ["alice", "mallory"].map(|user| world.server.mint(user));
    let peer = world.allocated(Way::Udp, &alice).relayed();
    for way in WAYS {
        let mut client = world.allocated(way, &alice);
        // From the same transport address, with valid credentials of another user.
        client.act_as(&mallory);
        assert_eq!(client.refresh(0), Err(441), "{way:?}");
        assert_eq!(client.permit(&[peer]), Err(441));
        assert_eq!(client.bind_channel(0x4000, peer), Err(441));
        assert_eq!(client.allocate(), Err(437));
        client.act_as(&alice);
        assert_eq!(client.refresh(600), Ok(600));
        // From another address, with the owner's credentials.
        let mut elsewhere = world.client(way, &alice);
        assert_eq!(elsewhere.refresh(0), Err(437), "{way:?}");
        assert_eq!(elsewhere.permit(&[peer]), Err(437));
        assert_eq!(client.refresh(600), Ok(600));
    }
}

#[test]
fn replayed_requests_and_forged_nonces_do_nothing() {
    let world = World::start("");
    let credentials = world.server.mint("alice");
    let elsewhere = World::start("");
    for way in WAYS {
        let mut alice = world.allocated(way, &credentials);
        let recorded = [
            alice.signed(METHOD_ALLOCATE, |request| request.add(ATTR_REQUESTED_TRANSPORT, &[17, 0, 0, 0])),
            alice.signed(METHOD_CREATE_PERMISSION, |request| {
                request.add(ATTR_XOR_PEER_ADDRESS, &[0, 1, 0, 9, 1, 2, 3, 4])
            }),
            alice.signed(METHOD_REFRESH, |request| request.add(ATTR_LIFETIME, &[0; 4])),
        ];
        for other_way in WAYS {
            let mut mallory = world.client(other_way, &credentials);
            for request in &recorded {
                assert_eq!(error_code(&mallory.transact(request)), 438, "{way:?} {other_way:?}");
            }
        }
        // A nonce that another server of this program has signed for this client.
        let mut forger = world.client(way, &credentials);
        let mut there = elsewhere.client(way, &credentials);
        there.act_as(&elsewhere.server.mint("alice"));
        there.allocate().unwrap();
        (forger.realm, forger.nonce) = (there.realm.clone(), there.nonce.clone());
        let forged = forger.signed(METHOD_ALLOCATE, |request| request.add(ATTR_REQUESTED_TRANSPORT, &[17, 0, 0, 0]));
        assert_eq!(error_code(&forger.transact(&forged)), 438);
        assert_eq!(alice.refresh(600), Ok(600), "{way:?}: what was replayed ended nothing");
        alice.refresh(0).unwrap();
    }
    assert_eq!(world.server.metric("turn_permissions_opened_total"), 0);
}

/// CVE-2025-69217: nonces and ports came from a generator that could be foretold.
#[test]
fn cve_2025_69217_ports_and_nonces_cannot_be_foretold() {
    const CLIENTS: usize = 100;
    let server = Process::start("--workers 1");
    let credentials = server.mint("alice");
    let clients: Vec<_> = (0..CLIENTS).map(|_| TurnClient::allocated(server.turn(), &credentials)).collect();
    let ports: Vec<_> = clients.iter().map(|client| i32::from(client.relayed().port())).collect();
    let steps: HashSet<_> = ports.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(steps.len() > CLIENTS * 9 / 10, "{ports:?}");
    let nonces: HashSet<_> = clients.iter().map(|client| &client.nonce).collect();
    assert_eq!(nonces.len(), CLIENTS);
    // The same client at the same time, with the key of another server.
    let other = Process::start("--workers 1");
    let local = clients[0].local();
    let nonce_for_it = |server: &Process| {
        let socket = UdpSocket::bind((local.ip(), free_port())).unwrap();
        let mut client = TurnClient::over(socket.try_clone().unwrap(), server.turn(), Some(&server.mint("alice")));
        client.allocate().unwrap();
        client.nonce
    };
    assert_ne!(nonce_for_it(&server), nonce_for_it(&other));
}

/// CVE-2026-65981: somebody who knew a ticket took over the allocation; CVE-2026-68555: sessions of such attempts were
/// kept.
#[test]
fn cve_2026_65981_a_mobility_ticket_takes_over_nothing() {
    let world = World::start("");
    let [alice, mallory] = ["alice", "mallory"].map(|user| world.server.mint(user));
    for way in WAYS {
        let mut owner = world.client(way, &alice);
        let request = |request: &mut Message| {
            request.add(ATTR_REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
            request.add(MOBILITY_TICKET, &[]);
        };
        let answer = owner.request(METHOD_ALLOCATE, request).unwrap();
        assert!(answer.get(MOBILITY_TICKET).is_err(), "no ticket is given");
        let sessions = world.server.metric("turn_sessions");
        for credentials in [&alice, &mallory] {
            for ticket in [&b""[..], &[0; 8], &[0xFF; 64]] {
                let resume = |request: &mut Message| {
                    request.add(ATTR_LIFETIME, &600_u32.to_be_bytes());
                    request.add(MOBILITY_TICKET, ticket);
                };
                let outcome = world.client(way, credentials).request(METHOD_REFRESH, resume);
                assert_eq!(outcome.map(drop), Err(437), "{way:?}");
            }
        }
        assert_eq!(world.server.metric("turn_sessions"), sessions);
        assert_eq!(owner.refresh(0), Ok(0));
    }
}

/// CVE-2026-43994: a token's own length field led past the end of a buffer.
#[test]
fn cve_2026_43994_an_access_token_is_unknown_whatever_its_length() {
    let world = World::start("");
    let credentials = world.server.mint("alice");
    for way in [Way::Udp, Way::Tcp, Way::Tls] {
        let mut stranger = world.client(way, &credentials);
        let mut client = world.allocated(way, &credentials);
        for len in [0, 1, 2, 3, 4, 255, 256, 257, 1000, 4095, 7900] {
            let token = |request: &mut Message| {
                request.add(ATTR_REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
                request.add(ACCESS_TOKEN, &vec![0xFF; len]);
            };
            stranger.nonce.clear();
            assert_eq!(error_code(&stranger.transact(&stranger.signed(METHOD_ALLOCATE, token))), 401);
            assert_eq!(client.request(METHOD_REFRESH, token).map(drop), Err(420), "{way:?}, {len} bytes");
        }
        assert_eq!(client.refresh(600), Ok(600));
    }
}

/// CVE-2026-68553 (formats), CVE-2018-4056 and CVE-2026-53448 (SQL): a name is only a name.
#[test]
fn cve_2026_68553_names_are_neither_formats_nor_queries() {
    let server = Process::start("--log debug --max-allocations-per-user 1");
    for name in ["%s%s%s%n%x%p", "{}{:?}{0}", "'; DROP TABLE users; --", "a' OR '1'='1", "<script>alert(1)</script>"] {
        let credentials = server.mint(name);
        assert!(credentials.username.ends_with(name));
        let mut client = TurnClient::allocated(server.turn(), &credentials);
        let mut second = TurnClient::new(server.turn(), Some(&credentials));
        assert_eq!(second.allocate(), Err(486), "it is this user whose allocation counts");
        client.refresh(0).unwrap();
        // A credential that was never issued is not accepted either.
        let mut guessed = Credentials { username: credentials.username.clone(), password: "guessed".into() };
        assert_eq!(TurnClient::new(server.turn(), Some(&guessed)).allocate(), Err(401));
        guessed.username = format!("9999999999:{name}{name}");
        assert_eq!(TurnClient::new(server.turn(), Some(&guessed)).allocate(), Err(401));
    }
    server.stop();
}

// ---- What answers hold -------------------------------------------------------------------------------------------

/// CVE-2020-4067: padding held what was in the buffer before. The test client checks the padding of everything that it
/// receives, on streams also that of ChannelData.
#[test]
fn cve_2020_4067_padding_holds_nothing() {
    let world = World::start("--workers 1");
    let credentials = world.server.mint("alice");
    for way in WAYS {
        for from in [Way::Udp, Way::Tcp] {
            let mut sender = world.allocated(from, &credentials);
            let mut receiver = world.allocated(way, &credentials);
            sender.permit(&[receiver.relayed()]).unwrap();
            sender.bind_channel(0x4000, receiver.relayed()).unwrap();
            receiver.permit(&[sender.relayed()]).unwrap();
            for is_channel in [false, true] {
                if is_channel {
                    receiver.bind_channel(0x4001, sender.relayed()).unwrap();
                }
                for len in [1, 2, 3, 5, 1001, 1498] {
                    // All buffers on the way contain data of others.
                    for payload in [vec![0xAA; 2000], vec![b'x'; len]] {
                        sender.send_channel(0x4000, &payload);
                        let received = receiver.recv();
                        assert!(received.payload == payload, "{from:?} to {way:?}");
                        assert_eq!(matches!(received.via, Via::Channel(_)), is_channel);
                    }
                }
            }
            sender.refresh(0).unwrap();
            receiver.refresh(0).unwrap();
        }
    }
}

/// CVE-2026-104074: the reason phrase was followed by memory that nobody had written.
#[test]
fn cve_2026_104074_an_error_says_what_it_always_says() {
    let server = Process::start("--workers 1");
    let credentials = server.mint("alice");
    let mut said = BTreeSet::new();
    for round in 0..100 {
        let mut client = TurnClient::new(server.turn(), Some(&credentials));
        let unauthorized = client.signed(METHOD_ALLOCATE, |request| {
            request.add(ATTR_REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
            request.add(ATTR_SOFTWARE, &vec![0xAA; 7 * round]);
        });
        let answer = client.transact(&unauthorized);
        said.insert((answer.get(ATTR_ERROR_CODE).unwrap(), answer.raw.len()));
        let unknown = client.signed(METHOD_BINDING, |request| request.add(AttrType(0x7777), &vec![0xAA; round]));
        let answer = client.transact(&unknown);
        said.insert((answer.get(ATTR_ERROR_CODE).unwrap(), answer.raw.len()));
    }
    let codes: Vec<_> = said.iter().map(|(value, _)| (value[2], value[3])).collect();
    assert_eq!(codes, [(4, 1), (4, 20)], "one form of each: {said:?}");
    for (value, _) in &said {
        assert!(value[4..].iter().all(|byte| byte.is_ascii_alphabetic() || *byte == b' '), "{value:?}");
    }
}

/// Sends bytes, ends the sending side, and returns everything that comes back.
fn http(address: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut tcp = TcpStream::connect(address).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    // The server may close the connection before everything is written.
    let _ = tcp.write_all(request).and_then(|()| tcp.shutdown(std::net::Shutdown::Write));
    let mut answer = Vec::new();
    let _ = tcp.read_to_end(&mut answer);
    answer
}

const MARK: &str = "what-another-client-sent";

/// CVE-2020-6061 and CVE-2020-6062 (broken POSTs), CVE-2026-62959 (a redirect that told what was in memory).
#[test]
fn cve_2020_6061_strange_requests_break_nothing_and_learn_nothing() {
    let head = "POST / HTTP/1.1\r\nHost: h\r\n";
    let requests = [
        head.to_owned(),
        format!("{head}\r\n"),
        format!("{head}Content-Length: 100\r\n\r\n"),
        format!("{head}Content-Length: 100\r\n\r\nabc"),
        format!("{head}Content-Length: 18446744073709551615\r\n\r\nx"),
        format!("{head}Content-Length: -1\r\n\r\n"),
        format!("{head}Content-Length: 3\r\nContent-Length: 5\r\n\r\nabcde"),
        format!("{head}Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\nx"),
        format!("{head}Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
        format!("{head}Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n"),
        "POST".to_owned(),
        "POST /?".to_owned(),
        "POST /?a=%\r\n\r\n".to_owned(),
        "POST / HTTP/9.9\r\n\r\n".to_owned(),
        "GET /.well-known/acme-challenge/".to_owned(),
        "GET /.well-known/acme-challenge/ HTTP/1.1\r\n\r\n".to_owned(),
        "GET /.well-known/acme-challenge/x HTTP/1.0\r\n\r\n".to_owned(),
        "GET /%00%ff HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        "GET http:///// HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        "GET * HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(100_000)),
        format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "A: b\r\n".repeat(10_000)),
        format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", "h".repeat(10_000)),
    ];
    for server in [Process::start(""), Process::start("--tls")] {
        for address in [server.http, server.admin] {
            for request in &requests {
                let marked = format!("GET /{MARK} HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", MARK.repeat(100));
                http(address, marked.as_bytes());
                let answer = http(address, request.as_bytes());
                let answer = String::from_utf8_lossy(&answer);
                let shown: String = request.chars().take(80).collect();
                assert!(!answer.contains(MARK), "{shown:?}: {answer}");
                assert!(answer.len() < 200_000, "{shown:?}: {} bytes", answer.len());
                assert!(answer.is_empty() || answer.starts_with("HTTP/1."), "{shown:?}: {answer}");
            }
        }
        let healthy = server.ask(server.admin, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        assert!(healthy.starts_with("HTTP/1.1 200"), "{healthy}");
        server.stop();
    }
}

/// CVE-2018-4059 (a console without a password), CVE-2026-53449 and others of coturn's consoles: there is none.
#[test]
fn cve_2018_4059_nothing_listens_that_was_not_asked_for() {
    let server = Process::start("--tls");
    let mut expected = vec![server.http.port(), server.admin.port(), server.turn_port(), server.turns.unwrap().port()];
    expected.sort_unstable();
    let files = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap();
    let own: HashSet<String> = files
        .filter_map(|file| std::fs::read_link(file.unwrap().path()).ok())
        .filter_map(|target| Some(target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let mut listening = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        for line in std::fs::read_to_string(table).unwrap().lines().skip(1) {
            let fields: Vec<_> = line.split_whitespace().collect();
            let (local, state, inode) = (fields[1], fields[3], fields[9]);
            if state == "0A" && own.contains(inode) {
                listening.push(u16::from_str_radix(local.rsplit_once(':').unwrap().1, 16).unwrap());
            }
        }
    }
    listening.sort_unstable();
    assert_eq!(listening, expected);
}

// ---- What can be used up -----------------------------------------------------------------------------------------

/// CVE-2026-73215: if an even port was requested without the next one, the odd port next to it was lost for ever.
#[test]
fn cve_2026_73215_even_ports_use_up_no_others() {
    let RelayPorts::Range { first, last } = free_ports(10) else { unreachable!() };
    let server = Process::start(&format!("--relay-ports {first}-{last} --max-allocations 100 --workers 1"));
    let credentials = server.mint("alice");
    let even = |client: &mut TurnClient| client.allocate_with(|request| request.add(ATTR_EVEN_PORT, &[0]));
    for _ in 0..30 {
        let mut client = TurnClient::new(server.turn(), Some(&credentials));
        let relayed = even(&mut client).unwrap();
        assert!(relayed.port().is_multiple_of(2));
        client.refresh(0).unwrap();
    }
    let mut clients: Vec<_> = (0..11).map(|_| TurnClient::new(server.turn(), Some(&credentials))).collect();
    let (evens, others) = clients.split_at_mut(5);
    let mut ports: Vec<_> = evens.iter_mut().map(|client| even(client).unwrap().port()).collect();
    ports.extend(others[..5].iter_mut().map(|client| client.allocate().unwrap().port()));
    ports.sort_unstable();
    assert!(ports.into_iter().eq(first..=last), "those beside even ports are there for others");
    assert_eq!(others[5].allocate(), Err(508));
}

/// A port that is held for the user of its token counts in the quota of the user who asked for it.
#[test]
fn reserved_ports_are_in_the_quota() {
    const QUOTA: usize = 6;
    let world = World::start(&format!("--max-allocations-per-user {QUOTA}"));
    let credentials = world.server.mint("alice");
    let mut reserved = 0;
    for round in 0..3 * QUOTA {
        let mut client = world.client(WAYS[round % WAYS.len()], &credentials);
        match client.allocate_with(|request| request.add(ATTR_EVEN_PORT, &[0x80])) {
            Ok(_) => {
                reserved += 1;
                client.refresh(0).unwrap();
            }
            Err(code) => assert_eq!(code, 486),
        }
    }
    assert!((1..=QUOTA).contains(&reserved), "{reserved} ports are held");
    world.allocated(Way::Udp, &world.server.mint("bob"));
}

/// CVE-2026-73216: a client that disconnected kept the allocation and got the quota back.
#[test]
fn cve_2026_73216_no_more_allocations_by_disconnecting() {
    const QUOTA: i64 = 3;
    let world = World::start(&format!("--max-allocations-per-user {QUOTA}"));
    let credentials = world.server.mint("alice");
    let mut granted = 0;
    for round in 0..60 {
        let mut client = world.client(WAYS[1 + round % 4], &credentials);
        match client.allocate() {
            Ok(_) => granted += 1,
            // The server does not know the end of an earlier connection yet.
            Err(code) => assert_eq!(code, 486),
        }
        assert!(world.server.metric("turn_allocations") <= QUOTA);
    }
    assert!(granted > QUOTA);
    world.server.metric_becomes("turn_allocations", 0);
}

/// CVE-2026-68552: lengths near 64 KiB wrapped, and the rest of the message was taken for the next.
#[test]
fn cve_2026_68552_the_longest_messages_keep_streams_in_step() {
    let world = World::start("");
    let credentials = world.server.mint("alice");
    for way in [Way::Tcp, Way::Tls, Way::OnePortTls] {
        let mut sender = world.allocated(way, &credentials);
        let mut receiver = world.allocated(way, &credentials);
        let mut channeled = world.allocated(way, &credentials);
        sender.bind_channel(0x4000, receiver.relayed()).unwrap();
        sender.bind_channel(0x4001, channeled.relayed()).unwrap();
        receiver.permit(&[sender.relayed()]).unwrap();
        channeled.bind_channel(0x4002, sender.relayed()).unwrap();
        // ChannelData announces the length without the header; a Data indication cannot announce this much.
        for len in 65_480..=65_535 {
            let payload = vec![len as u8; len];
            sender.send_channel(0x4001, &payload);
            channeled.expect_channel_data(0x4002, &payload);
        }
        for len in [65_480, 65_492, 65_500, 65_504, 65_520, 65_532, 65_535] {
            sender.send_channel(0x4000, &vec![1; len]);
            sender.send_channel(0x4000, b"next");
            loop {
                let received = receiver.recv();
                if received.payload == b"next" {
                    break;
                }
                assert_eq!(received.payload.len(), len);
            }
        }
        // A request and an indication of the greatest length that can be announced.
        let mut longest = new_message(METHOD_BINDING, CLASS_REQUEST);
        longest.add(ATTR_SOFTWARE, &vec![0; 0xFFFC - 4]);
        assert_eq!(longest.raw.len(), 20 + 0xFFFC);
        sender.wire.send_raw(&longest.raw).unwrap();
        longest.raw[..2].copy_from_slice(&[0x00, 0x16]);
        sender.wire.send_raw(&longest.raw).unwrap();
        for client in [&mut sender, &mut receiver, &mut channeled] {
            assert_eq!(client.refresh(600), Ok(600), "{way:?}");
        }
    }
}

/// CVE-2026-73214 and GHSA-5x2p-4vqj-f6m4: fragments of hellos filled memory before any cookie was asked for.
#[test]
fn cve_2026_73214_dtls_hellos_get_no_answer_and_leave_nothing() {
    const SOCKETS: usize = 200;
    let server = Process::start("--workers 1");
    let mut client = TurnClient::new(server.turn(), None);
    let sockets: Vec<_> = (0..SOCKETS).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    let mut hello = vec![0x16, 0xFE, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0, 0x01, 0x00];
    // The first fragment of a handshake message of 16 MiB.
    hello.extend_from_slice(&[0x01, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0xF4]);
    hello.resize(13 + 256, 0xAA);
    let mut before = None;
    for round in 0..10 {
        // The first round fills buffers that always exist.
        if round == 1 {
            server.metrics();
            before = Some(server.resident_memory());
        }
        for socket in &sockets {
            hello[10] = round;
            socket.send_to(&hello, server.turn()).unwrap();
        }
        // When this is answered, everything before has been handled.
        client.binding();
    }
    for socket in &sockets {
        socket.set_nonblocking(true).unwrap();
        assert_eq!(socket.recv(&mut [0; 100]).unwrap_err().kind(), ErrorKind::WouldBlock);
    }
    // On a busy machine the kernel drops some.
    let dropped = server.metric("turn_dropped_packets_total{reason=\"malformed\"}") as usize;
    assert!((5 * SOCKETS..=10 * SOCKETS).contains(&dropped), "{dropped} arrived");
    assert_eq!(server.metric("turn_sessions"), 0);
    let grown = server.resident_memory().saturating_sub(before.unwrap());
    assert!(grown < 1 << 20, "{grown} bytes more");
}

/// Members may ask for any port of this host, but over no transport does any of them lead into it.
#[tokio::test]
async fn this_hosts_other_ports_are_no_peers_over_any_transport() {
    let world = World::start("");
    let (_ws, credentials) = world.member("room").await;
    let service = UdpSocket::bind("0.0.0.0:0").unwrap();
    let ports = [service.local_addr().unwrap().port(), world.server.turn_port(), world.server.http.port(), 53, 1];
    for way in WAYS {
        let mut client = world.allocated(way, &credentials);
        for (number, port) in (0x4000..).zip(ports) {
            let peer = SocketAddr::new(client.relayed().ip(), port);
            client.bind_channel(number, peer).unwrap();
            client.send(peer, b"by Send");
            client.send_channel(number, b"by channel");
        }
        client.expect_nothing();
    }
    world.server.metric_becomes(OWN_ADDRESS, (2 * ports.len() * WAYS.len()) as i64);
    service.set_nonblocking(true).unwrap();
    assert_eq!(service.recv(&mut [0; 100]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

// ---- Slowness ----------------------------------------------------------------------------------------------------

/// Clients that send their handshake byte by byte, from some addresses: only few of them are connected at a time, each
/// for a limited time, and honest clients are served meanwhile, however busy the machine is.
#[tokio::test(flavor = "multi_thread")]
async fn slow_handshakes_hold_nobody_up() {
    const SLOW: usize = 300;
    const HALF_OPEN: usize = 200;
    let (tls, connector) = self_signed();
    let mut options = Options { tls: Some(tls), ..Options::default() };
    options.http.max_half_open = HALF_OPEN;
    options.http.timeouts.handshake = Duration::from_secs(3);
    let server = Server::with(options).await;
    let address = server.address;
    // A handshake record of 512 bytes, a request, and a STUN message that never ends.
    let starts: [&[u8]; 3] = [
        &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3],
        b"GET / HTTP/1.1\r\nHost: h\r\nX-Slow: ",
        &[0, 1, 1, 0, 0x21, 0x12, 0xA4, 0x42],
    ];
    let is_over = Arc::new(AtomicBool::new(false));
    let mut slow = JoinSet::new();
    for number in 0..SLOW {
        let is_over = is_over.clone();
        slow.spawn(async move {
            while !is_over.load(Ordering::Relaxed) {
                let socket = tokio::net::TcpSocket::new_v4().unwrap();
                socket.bind(SocketAddr::from(([127, 0, 4, 1 + (number % 10) as u8], 0))).unwrap();
                let mut tcp = socket.connect(address).await.unwrap();
                let start = starts[number % starts.len()];
                for byte in start.iter().chain(std::iter::repeat(&b'a')) {
                    let is_gone = tokio::select! {
                        read = tcp.read_u8() => read.is_err(),
                        () = tokio::time::sleep(Duration::from_millis(100)) => false,
                    };
                    if is_gone || is_over.load(Ordering::Relaxed) || tcp.write_u8(*byte).await.is_err() {
                        break;
                    }
                }
                drop(tcp);
                tokio::time::sleep(Duration::from_millis(rand::random_range(500..3000))).await;
            }
        });
    }
    let refused = |reason| server.metric(&format!("connections_refused_total{{reason=\"{reason}\"}}"));
    let mut honest = 0;
    let deadline = Instant::now() + PATIENCE;
    while honest < 20 || refused("handshake_timeout") == 0 || refused("too_many_half_open") == 0 {
        assert!(Instant::now() < deadline, "after {honest} honest clients the limits have not shown");
        let tcp = patient(tokio::net::TcpStream::connect(address)).await.unwrap();
        let tls = patient(connector.connect(ServerName::try_from("localhost").unwrap(), tcp)).await.unwrap();
        common::join_over(tls, "r").await;
        honest += 1;
    }
    let credentials = server.mint("alice");
    tokio::task::spawn_blocking(move || {
        TurnClient::by(Wire::tcp(address), address, Some(&credentials)).allocate().unwrap();
    })
    .await
    .unwrap();
    is_over.store(true, Ordering::Relaxed);
    while let Some(ended) = slow.join_next().await {
        ended.unwrap();
    }
    println!(
        "{honest} honest clients served; of the slow ones {} timed out, {} made room",
        refused("handshake_timeout"),
        refused("too_many_half_open")
    );
    server.metric_becomes("members", 0).await;
    server.shut_down().await;
}

// ---- Amplification -----------------------------------------------------------------------------------------------

/// Bytes of IP and UDP headers.
fn headers(address: SocketAddr) -> usize {
    8 + if address.is_ipv4() { 20 } else { 40 }
}

/// Answers to the shortest legal requests are measured as they are on the wire, with headers.
#[test]
fn answers_to_strangers_are_small_on_the_wire() {
    let port = free_port();
    let server = common::process::Start::with(&format!("--turn-listen 127.0.0.1:{port} --turn-listen [::1]:{port}"))
        .turn_port(port)
        .serve();
    let credentials = server.mint("alice");
    for local in ["127.0.0.1", "::1"] {
        let local: IpAddr = local.parse().unwrap();
        let to = SocketAddr::new(local, server.turn_port());
        let ask = |request: &Message| -> (f64, Message) {
            let socket = UdpSocket::bind((local, 0)).unwrap();
            socket.connect(to).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket.send(&request.raw).unwrap();
            let mut buffer = [0; 2000];
            let len = socket.recv(&mut buffer).unwrap();
            let mut answer = Message::new();
            answer.unmarshal_binary(&buffer[..len]).unwrap();
            assert_eq!(answer.transaction_id, request.transaction_id);
            // Anything more in return would come before the answer to another request.
            let other = new_message(METHOD_BINDING, CLASS_REQUEST);
            socket.send(&other.raw).unwrap();
            socket.recv(&mut buffer).unwrap();
            assert_eq!(buffer[8..20], other.transaction_id.0, "a second answer");
            ((len + headers(to)) as f64 / (request.raw.len() + headers(to)) as f64, answer)
        };
        let binding = new_message(METHOD_BINDING, CLASS_REQUEST);
        assert_eq!(binding.raw.len(), 20);
        let (factor, answer) = ask(&binding);
        assert_eq!(answer.typ.class, CLASS_SUCCESS_RESPONSE);
        assert!(factor < 1.5, "{local}: Binding {factor}");
        let mut factors = vec![("Binding", factor)];

        let mut allocate = new_message(METHOD_ALLOCATE, CLASS_REQUEST);
        allocate.add(ATTR_REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
        let mut refresh = new_message(METHOD_REFRESH, CLASS_REQUEST);
        refresh.add(ATTR_LIFETIME, &[0; 4]);
        let mut stale = TurnClient::over(UdpSocket::bind((local, 0)).unwrap(), to, Some(&credentials));
        (stale.realm, stale.nonce) = ("r".into(), b"n".to_vec());
        let stale = stale.signed(METHOD_ALLOCATE, |request| request.add(ATTR_REQUESTED_TRANSPORT, &[17, 0, 0, 0]));
        for (name, request) in [("Allocate", allocate), ("Refresh", refresh), ("stale nonce", stale)] {
            let (factor, answer) = ask(&request);
            assert_eq!(answer.typ.class, CLASS_ERROR_RESPONSE);
            assert!(answer.get(ATTR_NONCE).is_ok(), "{name} is challenged");
            assert!(factor < 3.0, "{local}: {name} {factor}");
            factors.push((name, factor));
        }
        println!("{local}: {factors:.2?}");
    }
}
