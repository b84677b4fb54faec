//! TURN on a network of cables, made of namespaces: large datagrams, DF, missing routes, closed ports, many addresses.
#![allow(clippy::unwrap_used)]

mod common;

use std::{
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    os::fd::{AsRawFd, OwnedFd},
    time::{Duration, Instant},
};

use common::{
    netns::Namespace,
    process::{PATIENCE, Process, Start, free_port},
    turn_client::{Credentials, TurnClient, Via},
};
use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, setsockopt, socket, sockopt::ReceiveTimeout,
    },
};
use serde_json::json;

/// The client reaches the server over one cable, and the server reaches peers over another one. There is no default
/// route.
struct Network {
    client: Namespace,
    peer: Namespace,
    server: Process,
    credentials: Credentials,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

impl Family {
    const BOTH: [Self; 2] = [Self::V4, Self::V6];

    fn pick<'a>(self, v4: &'a str, v6: &'a str) -> IpAddr {
        match self {
            Self::V4 => v4,
            Self::V6 => v6,
        }
        .parse()
        .unwrap()
    }

    fn client_ip(self) -> IpAddr {
        self.pick("10.77.1.2", "fd77:1::2")
    }

    fn server_ip(self) -> IpAddr {
        self.pick("10.77.1.1", "fd77:1::1")
    }

    fn relay_ip(self) -> IpAddr {
        self.pick("10.77.2.1", "fd77:2::1")
    }

    fn peer_ip(self) -> IpAddr {
        self.pick("10.77.2.2", "fd77:2::2")
    }

    /// A public address to which no route leads.
    fn unreachable_ip(self) -> IpAddr {
        self.pick("8.8.8.8", "2606:4700:4700::1111")
    }
}

impl Network {
    /// Everybody may reach the network of the peers.
    fn new() -> Option<Self> {
        Self::with("--allow-peer 10.77.2.0/24 --allow-peer fd77:2::/64")
    }

    fn with(args: &str) -> Option<Self> {
        let [client, server, peer] = [Namespace::new()?, Namespace::new()?, Namespace::new()?];
        server.cable("client", &["10.77.1.1/24", "fd77:1::1/64"], &client, &["10.77.1.2/24", "fd77:1::2/64"]);
        server.cable("peer", &["10.77.2.1/24", "fd77:2::1/64"], &peer, &["10.77.2.2/24", "fd77:2::2/64"]);
        let port = free_port();
        let args = format!("--turn-listen {port} --public-ip 10.77.2.1 --public-ip fd77:2::1 {args}");
        let server = Start::with(&args).turn_port(port).within(&server).serve();
        let credentials = server.mint("client");
        Some(Self { client, peer, server, credentials })
    }

    /// A client with an allocation, both of this family.
    fn allocated(&self, family: Family) -> TurnClient {
        self.allocated_as(&self.credentials, family)
    }

    fn allocated_as(&self, credentials: &Credentials, family: Family) -> TurnClient {
        let socket = self.client.run(|| UdpSocket::bind((family.client_ip(), 0)).unwrap());
        let server = SocketAddr::new(family.server_ip(), self.server.turn_port());
        let mut client = TurnClient::over(socket, server, Some(credentials));
        let relayed = match family {
            Family::V4 => client.allocate(),
            Family::V6 => client.allocate_v6(),
        };
        assert_eq!(relayed.unwrap().ip(), family.relay_ip());
        client
    }

    fn peer(&self, family: Family) -> UdpSocket {
        let peer = self.peer.run(|| UdpSocket::bind((family.peer_ip(), 0)).unwrap());
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        peer
    }
}

fn expect(peer: &UdpSocket, from: SocketAddr, payload: &[u8]) {
    let mut buffer = vec![0; 65_536];
    let (len, sender) = peer.recv_from(&mut buffer).unwrap();
    assert_eq!((sender, len), (from, payload.len()));
    assert!(buffer[..len] == *payload, "contents differ");
}

/// Bytes that show whether fragments were swapped or lost.
fn large(seed: u8) -> Vec<u8> {
    (0..4000_usize).map(|i| (i / 7) as u8 ^ seed).collect()
}

#[test]
fn large_datagrams_pass_both_ways() {
    let Some(network) = Network::new() else { return };
    for family in Family::BOTH {
        let (mut client, peer) = (network.allocated(family), network.peer(family));
        let address = peer.local_addr().unwrap();
        client.permit(&[address]).unwrap();
        client.send(address, &large(1));
        expect(&peer, client.relayed(), &large(1));
        peer.send_to(&large(2), client.relayed()).unwrap();
        client.expect_data(address, &large(2));
        client.bind_channel(0x4000, address).unwrap();
        client.send_channel(0x4000, &large(3));
        expect(&peer, client.relayed(), &large(3));
        peer.send_to(&large(4), client.relayed()).unwrap();
        client.expect_channel_data(0x4000, &large(4));
    }
    // Between two clients of this server as well.
    let (mut v4, mut other) = (network.allocated(Family::V4), network.allocated(Family::V4));
    v4.permit(&[other.relayed()]).unwrap();
    other.permit(&[v4.relayed()]).unwrap();
    v4.send(other.relayed(), &large(5));
    other.expect_data(v4.relayed(), &large(5));
}

/// All IPv4 packets that pass one end of a cable.
struct Capture(OwnedFd);

/// What a packet's header says about fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fragmentation {
    dont_fragment: bool,
    is_fragment: bool,
}

impl Capture {
    fn new(namespace: &Namespace) -> Self {
        let all = SockProtocol::EthAll;
        let fd = namespace.run(|| socket(AddressFamily::Packet, SockType::Raw, SockFlag::empty(), all).unwrap());
        setsockopt(&fd, ReceiveTimeout, &nix::sys::time::TimeVal::new(PATIENCE.as_secs() as i64, 0)).unwrap();
        Self(fd)
    }

    /// The next UDP packet from `source` to `destination`.
    fn next(&self, source: IpAddr, destination: IpAddr) -> Fragmentation {
        let (IpAddr::V4(source), IpAddr::V4(destination)) = (source, destination) else {
            panic!("IPv6 has no DF");
        };
        let mut frame = [0; 65_536];
        loop {
            let len = match recv(self.0.as_raw_fd(), &mut frame, MsgFlags::empty()) {
                // Any signal ends a receive with a timeout, even one that only stopped and continued the process.
                Err(Errno::EINTR) => continue,
                received => received.expect("a packet should have come"),
            };
            let is_ipv4 = len >= 34 && frame[12..14] == [8, 0];
            let ip = &frame[14..34];
            if is_ipv4 && ip[9] == 17 && ip[12..16] == source.octets() && ip[16..20] == destination.octets() {
                let flags = u16::from_be_bytes([ip[6], ip[7]]);
                return Fragmentation { dont_fragment: flags & 0x4000 != 0, is_fragment: flags & 0x3fff != 0 };
            }
        }
    }
}

const WHOLE: Fragmentation = Fragmentation { dont_fragment: false, is_fragment: false };
const FRAGMENT: Fragmentation = Fragmentation { dont_fragment: false, is_fragment: true };
const UNFRAGMENTABLE: Fragmentation = Fragmentation { dont_fragment: true, is_fragment: false };

#[test]
fn df_is_set_for_dont_fragment_alone() {
    let Some(network) = Network::new() else { return };
    let (mut client, peer) = (network.allocated(Family::V4), network.peer(Family::V4));
    let address = peer.local_addr().unwrap();
    client.permit(&[address]).unwrap();
    let at_peer = Capture::new(&network.peer);
    let to_peer = || at_peer.next(Family::V4.relay_ip(), Family::V4.peer_ip());
    client.send(address, b"small");
    assert_eq!(to_peer(), WHOLE);
    client.send(address, &large(1));
    assert_eq!([to_peer(), to_peer(), to_peer()], [FRAGMENT; 3]);
    client.send_unfragmented(address, b"small");
    assert_eq!(to_peer(), UNFRAGMENTABLE);
    // This datagram is too large for the path, so it is lost.
    client.send_unfragmented(address, &large(2));
    client.send(address, b"next");
    assert_eq!(to_peer(), WHOLE, "and the next has no DF");
    for payload in [&b"small"[..], &large(1), b"small", b"next"] {
        expect(&peer, client.relayed(), payload);
    }
    assert_eq!(network.server.metric("turn_dropped_packets_total{reason=\"send_to_peer\"}"), 1);

    let at_client = Capture::new(&network.client);
    let to_client = || at_client.next(Family::V4.server_ip(), Family::V4.client_ip());
    peer.send_to(b"small", client.relayed()).unwrap();
    assert_eq!(to_client(), WHOLE);
    peer.send_to(&large(3), client.relayed()).unwrap();
    assert_eq!([to_client(), to_client(), to_client()], [FRAGMENT; 3]);
    client.expect_data(address, b"small");
    client.expect_data(address, &large(3));
}

#[test]
fn dont_fragment_holds_for_ipv6_as_well() {
    let Some(network) = Network::new() else { return };
    let (mut client, peer) = (network.allocated(Family::V6), network.peer(Family::V6));
    let address = peer.local_addr().unwrap();
    client.permit(&[address]).unwrap();
    client.send_unfragmented(address, b"small");
    client.send_unfragmented(address, &large(1));
    client.send(address, &large(2));
    expect(&peer, client.relayed(), b"small");
    expect(&peer, client.relayed(), &large(2));
    assert_eq!(network.server.metric("turn_dropped_packets_total{reason=\"send_to_peer\"}"), 1);
}

#[test]
fn a_failed_send_ends_nothing() {
    let Some(network) = Network::new() else { return };
    for family in Family::BOTH {
        let (mut client, peer) = (network.allocated(family), network.peer(family));
        let good = peer.local_addr().unwrap();
        let no_route = SocketAddr::new(family.unreachable_ip(), 9);
        let closed_port = network.peer(family).local_addr().unwrap();
        client.permit(&[good, no_route]).unwrap();
        let lost = network.server.metric("turn_dropped_packets_total{reason=\"send_to_peer\"}");
        for round in 0..3 {
            // ENETUNREACH, and an ICMP error that comes back to the relay socket.
            client.send(no_route, b"lost");
            client.send(closed_port, b"lost");
            let payload = format!("round {round}");
            client.send(good, payload.as_bytes());
            expect(&peer, client.relayed(), payload.as_bytes());
            peer.send_to(b"answer", client.relayed()).unwrap();
            // The client is told, before or after it has the answer.
            let mut received = [client.recv().via, client.recv().via];
            received.sort_by_key(|via| matches!(via, Via::Icmp(_)));
            assert_eq!(received, [Via::Peer(good), Via::Icmp(closed_port)], "round {round}");
        }
        let now_lost = network.server.metric("turn_dropped_packets_total{reason=\"send_to_peer\"}");
        assert!(now_lost >= lost + 3, "{family:?}: {now_lost} packets were lost, {lost} before");
        assert_eq!(client.refresh(600), Ok(600));
    }
}

#[test]
fn a_client_that_is_gone_harms_no_other() {
    let Some(network) = Network::new() else { return };
    let (mut gone, mut client) = (network.allocated(Family::V4), network.allocated(Family::V4));
    let peer = network.peer(Family::V4);
    let address = peer.local_addr().unwrap();
    gone.permit(&[address]).unwrap();
    client.permit(&[address]).unwrap();
    let relayed_of_gone = gone.relayed();
    drop(gone);
    for _ in 0..3 {
        // The listening socket gets ICMP errors for these.
        peer.send_to(b"to nobody", relayed_of_gone).unwrap();
        peer.send_to(b"to somebody", client.relayed()).unwrap();
        client.expect_data(address, b"to somebody");
    }
    client.send(address, b"answer");
    expect(&peer, client.relayed(), b"answer");
    assert_eq!(network.server.metric("turn_allocations"), 2);
}

/// A private address may be a peer for members of the same room as a member that was verified there, as long as that is
/// a member.
#[tokio::test]
async fn members_are_reached_at_their_private_addresses() {
    let http = free_port();
    let Some(network) = Network::with(&format!("--listen {http}")) else { return };
    let join = async |namespace: &Namespace, server_ip: &str, room: &str| {
        let tcp = namespace.run(|| TcpStream::connect((server_ip, http)).unwrap());
        Process::joined(network.server.connect_over(tcp).await, room).await
    };
    let (_red_ws, red) = join(&network.client, "10.77.1.1", "red").await;
    let (_blue_ws, blue) = join(&network.client, "10.77.1.1", "blue").await;
    let (mut lan_ws, _) = join(&network.peer, "10.77.2.1", "red").await;
    let device = network.peer(Family::V4);
    let address = device.local_addr().unwrap();

    let mut red = network.allocated_as(&red, Family::V4);
    let mut blue = network.allocated_as(&blue, Family::V4);
    assert_eq!(blue.permit(&[address]), Err(403));
    assert_eq!(blue.bind_channel(0x4000, address), Err(403));
    blue.send(address, b"from blue");
    red.permit(&[address]).unwrap();
    red.bind_channel(0x4000, address).unwrap();
    red.send_channel(0x4000, b"from red");
    expect(&device, red.relayed(), b"from red");
    device.send_to(b"answer", red.relayed()).unwrap();
    red.expect_channel_data(0x4000, b"answer");
    device.send_to(b"unwanted", blue.relayed()).unwrap();
    let no_permission = "turn_dropped_packets_total{reason=\"no_permission\"}";
    network.server.metric_becomes(no_permission, 2);
    blue.expect_nothing();

    lan_ws.send("__leave", json!({})).await;
    network.server.metric_becomes("members", 2);
    red.send(address, b"too late");
    red.send_channel(0x4000, b"too late");
    device.send_to(b"too late", red.relayed()).unwrap();
    network.server.metric_becomes(no_permission, 5);
    red.expect_nothing();
    device.set_nonblocking(true).unwrap();
    assert_eq!(device.recv(&mut [0; 100]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    assert_eq!(red.permit(&[address]), Err(403));
    assert_eq!(red.refresh(600), Ok(600));
}

#[test]
fn answers_come_from_the_address_that_was_asked() {
    let Some(host) = Namespace::new() else { return };
    let others = ["10.77.9.1", "10.77.9.2", "fd77:9::1", "fd77:9::2"];
    for ip in others {
        host.ip(&format!("address add {ip} dev lo"));
    }
    let port = free_port();
    let args = format!("--turn-listen {port} --public-ip 10.77.9.9 --public-ip fd77:9::9 --workers 2");
    let server = Start::with(&args).turn_port(port).within(&host).serve();
    let ips = ["127.0.0.1", "127.0.0.2", "::1"].into_iter().chain(others);
    are_answered_from(&server, ips, |any| host.run(|| UdpSocket::bind(any).unwrap()));
}

/// The part that needs no namespace.
#[test]
fn answers_come_from_the_loopback_address_that_was_asked() {
    let port = free_port();
    let args = format!("--turn-listen {port} --public-ip 198.51.100.7");
    let server = Start::with(&args).turn_port(port).serve();
    let has_ipv6 = UdpSocket::bind("[::1]:0").is_ok();
    let ips = ["127.0.0.1", "127.0.0.2", "127.1.2.3"].into_iter().chain(has_ipv6.then_some("::1"));
    are_answered_from(&server, ips, |any| UdpSocket::bind(any).unwrap());
}

/// Sends requests to each of `ips`, from sockets that `bind` binds to a wildcard.
fn are_answered_from<'a>(server: &Process, ips: impl Iterator<Item = &'a str>, bind: impl Fn(SocketAddr) -> UdpSocket) {
    let credentials = server.mint("client");
    for ip in ips.map(|ip| ip.parse::<IpAddr>().unwrap()) {
        // The socket is neither bound to an address nor connected, so any address could answer.
        let any: SocketAddr = if ip.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }.parse().unwrap();
        let socket = bind(any);
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let asked = SocketAddr::new(ip, server.turn_port());
        let mut request = common::turn_client::new_message(stun::message::METHOD_BINDING, stun::message::CLASS_REQUEST);
        request.encode();
        socket.send_to(&request.raw, asked).unwrap();
        let (_, answered) = socket.recv_from(&mut [0; 1000]).unwrap();
        assert_eq!(answered, asked);
        // Data must come from that address as well; a connected socket accepts it from no other one.
        let [mut a, mut b] = [0, 1].map(|_| TurnClient::over(bind(any), asked, Some(&credentials)));
        for turn in [&mut a, &mut b] {
            turn.allocate().unwrap();
        }
        a.permit(&[b.relayed()]).unwrap();
        b.permit(&[a.relayed()]).unwrap();
        a.send(b.relayed(), b"data");
        b.expect_data(a.relayed(), b"data");
    }
}

#[test]
fn new_allocations_follow_the_interfaces() {
    let [Some(host), Some(far)] = [Namespace::new(), Namespace::new()] else { return };
    host.cable("cable", &["10.77.5.1/24"], &far, &["10.77.5.9/24"]);
    let server = Start::default().within(&host).serve();
    let credentials = server.mint("client");
    let allocate = || {
        let socket = host.run(|| UdpSocket::bind("127.0.0.1:0").unwrap());
        let mut client = TurnClient::over(socket, server.turn(), Some(&credentials));
        (client.allocate().map(|relayed| relayed.ip()), client)
    };
    let old: IpAddr = "10.77.5.1".parse().unwrap();
    let new: IpAddr = "10.77.6.1".parse().unwrap();
    let ((relayed, mut before), (_, mut mate)) = (allocate(), allocate());
    assert_eq!(relayed, Ok(old));
    before.permit(&[mate.relayed()]).unwrap();
    mate.permit(&[before.relayed()]).unwrap();
    host.ip("address add 10.77.6.1/24 dev cable");
    host.ip("address del 10.77.5.1/24 dev cable");
    let deadline = Instant::now() + PATIENCE;
    let mut after = loop {
        match allocate() {
            (Ok(ip), client) if ip == new => break client,
            // The old address cannot be bound any more, but the server does not know this yet.
            (Err(508), _) => {}
            (other, _) => panic!("{other:?}"),
        }
        assert!(Instant::now() < deadline, "the new address is not found");
        std::thread::sleep(Duration::from_millis(50));
    };
    // In process, the old address still works, for clients that knew it and for new ones.
    mate.send(before.relayed(), b"as before");
    before.expect_data(mate.relayed(), b"as before");
    before.permit(&[after.relayed()]).unwrap();
    after.permit(&[before.relayed()]).unwrap();
    before.send(after.relayed(), b"from old to new");
    after.expect_data(before.relayed(), b"from old to new");
    after.send(before.relayed(), b"and back");
    before.expect_data(after.relayed(), b"and back");
}
