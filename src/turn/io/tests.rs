//! Tests of what cannot be caused from outside: deliveries that come too late, to clients over each transport.

use std::{
    net::{IpAddr, Ipv4Addr, UdpSocket},
    time::Duration,
};

use stun::{
    attributes::*,
    integrity::MessageIntegrity,
    message::{
        METHOD_ALLOCATE, METHOD_CREATE_PERMISSION, METHOD_REFRESH, METHOD_SEND, Message, MessageType, Method, Setter,
    },
    xoraddr::XorMappedAddress,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    task::spawn_blocking,
};

use super::*;
use crate::{
    credentials::{self, Credential, MemberKey, Secret, User},
    membership::{Directory, RoomTag},
    shutdown::Shutdown,
    turn::{
        self,
        core::five_tuple::FiveTuple,
        shared::{
            auth::{Authority, NonceKeys},
            peer_policy::{HostAddresses, Mode, PeerPolicy, PeerRules},
            quota::Quotas,
            relayed::{Home, OwnerTag},
        },
        wire::header::{HEADER_LEN, stun_len},
    },
    values::{
        addresses::{PeerAddr, RelayedAddr},
        family::{ByFamily, Family},
        relayed_address::RelayedAddress,
    },
};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Everything that must arrive has arrived after this time.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);
const OWN_ADDRESS: &str = "bimcc_rtc_turn_dropped_packets_total{reason=\"own_address\"}";

impl Paced for DuplexStream {
    fn poll_room(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }
}

struct World {
    metrics: Metrics,
    shared: Arc<Shared>,
    workers: Workers,
    server: SocketAddr,
    credential: Credential,
}

impl World {
    fn start() -> Self {
        Self::at(HERE, RelayPorts::None)
    }

    fn at(here: IpAddr, ports: RelayPorts) -> Self {
        let secret = Secret::new(*b"secret");
        let rules = PeerRules {
            members: Mode::Members,
            api: Mode::Public,
            allow: Vec::new(),
            deny: Vec::new(),
            trusted_proxies: Vec::new(),
            dangerously_allow_loopback: true,
        };
        let relayed = RelayedAddress { advertised: here, bind: here };
        let relay = ByFamily::new(|family| (family == Family::V4).then_some(relayed));
        let shared = Arc::new(Shared::new(
            NonceKeys::new(&[7; 32], None),
            Authority::new("realm".into(), vec![secret.clone()], &MemberKey::new(&[5; 32])),
            PeerPolicy::new(rules, HostAddresses { relay, ..HostAddresses::default() }),
            Arc::new(Directory::new()),
            Quotas::up_to(10, 10),
            turn::shared::Terms::default(),
            Shutdown::never(),
        ));
        let metrics = Metrics::new();
        let bound = BoundSockets::new(&[SocketAddr::new(here, 0)], 1).unwrap();
        let server = bound.addresses()[0];
        let workers =
            bound.start(shared.clone(), Relaying { ports, latency_budget: Duration::ZERO }, &metrics).unwrap();
        let credential = credentials::mint(&secret, &User::api("alice").unwrap(), 99_999_999_999);
        Self { metrics, shared, workers, server, credential }
    }

    fn own_address_drops(&self) -> u64 {
        self.metric(OWN_ADDRESS)
    }

    fn metric(&self, name: &str) -> u64 {
        let text = self.metrics.encode();
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().parse().unwrap()
    }

    /// The request of a client at `at`.
    fn request(&self, at: SocketAddr, method: Method, attribute: AttrType, value: &[u8]) -> Vec<u8> {
        let Credential { username, password, .. } = self.credential.clone();
        let mut message = Message::new();
        message.typ = MessageType::new(method, stun::message::CLASS_REQUEST);
        message.new_transaction_id().unwrap();
        message.write_header();
        message.add(attribute, value);
        message.add(ATTR_USERNAME, username.as_bytes());
        message.add(ATTR_REALM, b"realm");
        message.add(ATTR_NONCE, &self.shared.nonces.make(at, udp::read_clocks().unix));
        MessageIntegrity::new_long_term_integrity(username, "realm".into(), password).add_to(&mut message).unwrap();
        message.raw
    }
}

enum Wire {
    Udp(Arc<UdpSocket>),
    Stream(DuplexStream),
}

impl Wire {
    fn udp(world: &World) -> (SocketAddr, Self) {
        let socket = UdpSocket::bind((HERE, 0)).unwrap();
        socket.connect(world.server).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        (socket.local_addr().unwrap(), Self::Udp(socket.into()))
    }

    fn stream(world: &World) -> (SocketAddr, Self) {
        let at = SocketAddr::from(([192, 0, 2, 1], 1));
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let client = StreamClient {
            tuple: FiveTuple { client: at, server: world.server },
            transport: Transport::Tcp,
            without_allocation: std::time::Duration::from_secs(3600),
            on_allocation: Box::new(|_| {}),
        };
        let serving = world.workers.streams().clone().serve(theirs, client, std::future::pending());
        tokio::spawn(serving);
        (at, Self::Stream(ours))
    }

    async fn ask(&mut self, request: &[u8]) -> Vec<u8> {
        match self {
            Self::Udp(socket) => drop(socket.send(request).unwrap()),
            Self::Stream(stream) => stream.write_all(request).await.unwrap(),
        }
        self.next().await
    }

    async fn next(&mut self) -> Vec<u8> {
        tokio::time::timeout(PATIENCE, self.next_in_time()).await.unwrap()
    }

    async fn next_in_time(&mut self) -> Vec<u8> {
        match self {
            Self::Udp(socket) => {
                let socket = socket.clone();
                let receive = move || {
                    let mut buffer = vec![0; 2000];
                    let len = socket.recv(&mut buffer).unwrap();
                    buffer.truncate(len);
                    buffer
                };
                spawn_blocking(receive).await.unwrap()
            }
            Self::Stream(stream) => {
                let mut message = vec![0; HEADER_LEN];
                stream.read_exact(&mut message).await.unwrap();
                message.resize(stun_len(&message).unwrap(), 0);
                stream.read_exact(&mut message[HEADER_LEN..]).await.unwrap();
                message
            }
        }
    }
}

/// A client with an allocation and a permission for 127.0.0.1, and its relayed address.
async fn allocated(world: &World, (at, mut client): (SocketAddr, Wire)) -> (Wire, SocketAddr, Home) {
    let allocate = world.request(at, METHOD_ALLOCATE, ATTR_REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
    let mut answer = Message { raw: client.ask(&allocate).await, ..Message::default() };
    answer.decode().unwrap();
    let mut relayed = XorMappedAddress::default();
    relayed.get_from_as(&answer, ATTR_XOR_RELAYED_ADDRESS).unwrap();
    let peer = [0, 1, 0, 0, 0x5E, 0x12, 0xA4, 0x43];
    client.ask(&world.request(at, METHOD_CREATE_PERMISSION, ATTR_XOR_PEER_ADDRESS, &peer)).await;
    let home = world.shared.relayed.home(Family::V4, relayed.port).unwrap();
    (client, SocketAddr::new(relayed.ip, relayed.port), home)
}

/// A datagram that has waited finds another client at the address it was sent to, or the same client at another
/// address.
async fn what_comes_too_late_goes_nowhere(wire: fn(&World) -> (SocketAddr, Wire)) {
    let world = World::start();
    let (mut client, relayed, home) = allocated(&world, wire(&world)).await;
    let from = SocketAddr::new(HERE, 9);
    let send = |home, to, payload: &[u8]| {
        assert!(world.workers.mailboxes.send(0, home, (PeerAddr(from), RelayedAddr(to)), payload));
    };
    let other_owner = OwnerTag::Room(RoomTag(std::num::NonZeroU32::MIN));
    send(Home { owner: other_owner, ..home }, relayed, b"for the last owner");
    send(home, SocketAddr::new(HERE, relayed.port() ^ 1), b"for the last address");
    send(home, relayed, b"for this one");
    let data = client.next().await;
    assert!(data.windows(12).any(|part| part == b"for this one"), "{data:?}");
    assert_eq!(world.own_address_drops(), 2);
}

/// The directory's message that an owner is gone comes when another client is already in that slot.
async fn a_late_command_ends_no_other_allocation(wire: fn(&World) -> (SocketAddr, Wire)) {
    let world = World::start();
    let (mut client, relayed, home) = allocated(&world, wire(&world)).await;
    let entry = |generation: u64| AllocationRef { worker: home.worker, key: generation << 32 | u64::from(home.slot) };
    world.workers.mailboxes.end(entry(7));
    // A worker handles commands after datagrams, so when it takes the second datagram it has handled the command that
    // came before.
    for payload in [b"for this one", b"and once more"] as [&[u8]; 2] {
        assert!(world.workers.mailboxes.send(
            0,
            home,
            (PeerAddr(SocketAddr::new(HERE, 9)), RelayedAddr(relayed)),
            payload
        ));
        let data = client.next().await;
        assert!(data.windows(payload.len()).any(|part| part == payload), "{data:?}");
    }
    world.workers.mailboxes.end(entry(1));
    let ended = async {
        while world.shared.relayed.home(Family::V4, relayed.port()).is_some() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.unwrap();
}

#[tokio::test]
async fn what_comes_too_late_over_udp_goes_nowhere() {
    what_comes_too_late_goes_nowhere(Wire::udp).await;
}

#[tokio::test]
async fn what_comes_too_late_over_a_stream_goes_nowhere() {
    what_comes_too_late_goes_nowhere(Wire::stream).await;
}

#[tokio::test]
async fn a_late_command_ends_no_other_allocation_over_udp() {
    a_late_command_ends_no_other_allocation(Wire::udp).await;
}

#[tokio::test]
async fn a_late_command_ends_no_other_allocation_over_a_stream() {
    a_late_command_ends_no_other_allocation(Wire::stream).await;
}

/// The kernel has no room for one in a hundred sends. Each of these datagrams is lost and counted, and nothing else
/// happens.
#[tokio::test]
async fn failing_sends_are_counted_and_end_no_allocation() {
    const ROUNDS: u64 = 200;
    const EACH: u64 = 40;
    let world = World::at(faults::ADDRESS, RelayPorts::Range { first: 40_000, last: 60_000 });
    let at = Wire::udp(&world);
    let client_address = at.0;
    let (mut client, relayed, _) = allocated(&world, at).await;
    let Wire::Udp(socket) = &client else { unreachable!() };
    let peer = UdpSocket::bind((HERE, 0)).unwrap();
    for socket in [&peer, socket] {
        socket.set_nonblocking(true).unwrap();
    }
    let mut send = Message::new();
    send.typ = MessageType::new(METHOD_SEND, stun::message::CLASS_INDICATION);
    send.write_header();
    let peer_address = peer.local_addr().unwrap();
    XorMappedAddress { ip: HERE, port: peer_address.port() }.add_to_as(&mut send, ATTR_XOR_PEER_ADDRESS).unwrap();
    send.add(ATTR_DATA, b"payload");

    let relayed_packets = |direction| {
        world.metric(&format!("bimcc_rtc_turn_relayed_packets_total{{direction=\"{direction}\",path=\"kernel\"}}"))
    };
    let lost_packets = |reason| world.metric(&format!("bimcc_rtc_turn_dropped_packets_total{{reason=\"{reason}\"}}"));
    faults::ARE_THERE.store(true, std::sync::atomic::Ordering::Relaxed);
    let (mut to_peer, mut to_client) = (0, 0);
    let mut buffer = [0; 2000];
    let deadline = Instant::now() + PATIENCE;
    for round in 1..=ROUNDS {
        for _ in 0..EACH {
            socket.send(&send.raw).unwrap();
            peer.send_to(b"payload", relayed).unwrap();
        }
        let is_counted = |direction, reason| relayed_packets(direction) + lost_packets(reason) == round * EACH;
        while !is_counted("to_peer", "send_to_peer") || !is_counted("to_client", "send_to_client") {
            assert!(Instant::now() < deadline, "{}", world.metrics.encode());
            std::thread::yield_now();
        }
        while peer.recv(&mut buffer).is_ok() {
            to_peer += 1;
        }
        while socket.recv(&mut buffer).is_ok() {
            to_client += 1;
        }
    }
    faults::ARE_THERE.store(false, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(to_peer, relayed_packets("to_peer"));
    assert_eq!(to_client, relayed_packets("to_client"));
    for reason in ["send_to_peer", "send_to_client"] {
        let lost = lost_packets(reason);
        assert!((1..ROUNDS * EACH / 5).contains(&lost), "{reason}: {lost}");
    }
    socket.set_nonblocking(false).unwrap();
    let refresh = world.request(client_address, METHOD_REFRESH, ATTR_LIFETIME, &[0, 0, 2, 88]);
    let mut answer = Message { raw: client.ask(&refresh).await, ..Message::default() };
    answer.decode().unwrap();
    assert_eq!(answer.typ.class, stun::message::CLASS_SUCCESS_RESPONSE);
}
