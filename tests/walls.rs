//! Rooms are walls: what members of one room cannot reach, with the default policy, in any way.
#![allow(clippy::unwrap_used)]

mod common;

use std::net::{IpAddr, SocketAddr, UdpSocket};

use common::{Client, process::Process, turn_client::TurnClient};
use serde_json::json;

const OTHER_ROOM: &str = "turn_dropped_packets_total{reason=\"other_room\"}";
const OWN_ADDRESS: &str = "turn_dropped_packets_total{reason=\"own_address\"}";

/// Members of `room`, each with an allocation.
async fn room_of(server: &Process, room: &str, size: usize) -> Vec<(Client, TurnClient)> {
    let mut members = Vec::new();
    for _ in 0..size {
        let (client, credentials) = server.member(room).await;
        members.push((client, TurnClient::allocated(server.turn(), &credentials)));
    }
    members
}

fn addresses(members: &[(Client, TurnClient)]) -> Vec<SocketAddr> {
    members.iter().map(|(_, turn)| turn.relayed()).collect()
}

/// Everybody permits this server's relay address and binds channels to all of these relayed addresses.
fn open_all(members: &mut [(Client, TurnClient)], peers: &[SocketAddr]) {
    for (_, turn) in members {
        turn.permit(peers).unwrap();
        for (number, peer) in (0x4000..).zip(peers) {
            turn.bind_channel(number, *peer).unwrap();
        }
    }
}

/// Sends from each member to each peer, once by Send and once by channel. Returns the number of datagrams.
fn send_to_all(members: &mut [(Client, TurnClient)], peers: &[SocketAddr], payload: &str) -> i64 {
    for (_, turn) in &mut *members {
        for (number, peer) in (0x4000..).zip(peers) {
            turn.send(*peer, format!("{payload} by Send").as_bytes());
            turn.send_channel(number, format!("{payload} by channel").as_bytes());
        }
    }
    (members.len() * peers.len() * 2) as i64
}

/// With several workers, both sides are sometimes on the same worker and sometimes on two.
async fn rooms_are_walls(workers: usize) {
    let server = Process::start(&format!("--workers {workers}"));
    let mut reds = room_of(&server, "red", 5).await;
    let mut blues = room_of(&server, "blue", 5).await;
    let (red, blue) = (addresses(&reds), addresses(&blues));
    open_all(&mut reds, &[&blue[..], &red].concat());
    open_all(&mut blues, &[&red[..], &blue].concat());
    let crossed = send_to_all(&mut reds, &blue, "from red") + send_to_all(&mut blues, &red, "from blue");
    server.metric_becomes(OTHER_ROOM, crossed);
    // Anything that passed before would arrive before this, because the clients and channels are the same.
    for (members, peers, color) in [(&mut reds, &red, "red"), (&mut blues, &blue, "blue")] {
        for (_, turn) in &mut *members {
            turn.expect_nothing();
        }
        for sender in 0..members.len() {
            let receiver = (sender + 1) % members.len();
            members[sender].1.send(peers[receiver], color.as_bytes());
            // Channels to the own room come after those to the other room.
            let number = 0x4000 + (members.len() + sender) as u16;
            members[receiver].1.expect_channel_data(number, color.as_bytes());
            let number = 0x4000 + (members.len() + receiver) as u16;
            members[sender].1.send_channel(number, b"channel");
            let number = 0x4000 + (members.len() + sender) as u16;
            members[receiver].1.expect_channel_data(number, b"channel");
        }
    }
    // A packet is counted after the kernel has accepted it, so the last one may arrive before it is counted.
    server.metric_becomes("turn_relayed_packets_total{direction=\"client_to_client\",path=\"in_process\"}", 20);
    assert_eq!(server.metric(OTHER_ROOM), crossed);
    drop((reds, blues));
    server.all_gauges_become_zero();
}

#[tokio::test]
async fn nothing_passes_between_rooms() {
    rooms_are_walls(1).await;
}

#[tokio::test]
async fn nothing_passes_between_rooms_on_different_workers() {
    rooms_are_walls(4).await;
}

#[tokio::test]
async fn nothing_passes_between_members_and_holders_of_minted_credentials() {
    let server = Process::start("--workers 2");
    let (_ws, member) = server.member("room").await;
    let mut member = TurnClient::allocated(server.turn(), &member);
    let mut outsider = TurnClient::allocated(server.turn(), &server.mint("outsider"));
    let mut other_outsider = TurnClient::allocated(server.turn(), &server.mint("other"));
    let (inside, outside) = (member.relayed(), outsider.relayed());
    member.permit(&[outside]).unwrap();
    member.bind_channel(0x4000, outside).unwrap();
    outsider.permit(&[inside]).unwrap();
    outsider.bind_channel(0x4000, inside).unwrap();
    for turn in [&mut member, &mut outsider] {
        let peer = if turn.relayed() == inside { outside } else { inside };
        turn.send(peer, b"by Send");
        turn.send_channel(0x4000, b"by channel");
    }
    server.metric_becomes(OTHER_ROOM, 4);
    member.expect_nothing();
    outsider.expect_nothing();
    // Users with minted credentials do reach each other.
    other_outsider.permit(&[outside]).unwrap();
    other_outsider.send(outside, b"control");
    outsider.expect_data(other_outsider.relayed(), b"control");
}

#[tokio::test]
async fn services_of_the_host_get_nothing() {
    let server = Process::start("");
    let (_ws, credentials) = server.member("room").await;
    let mut turn = TurnClient::allocated(server.turn(), &credentials);
    let service = UdpSocket::bind((turn.relayed().ip(), 0)).unwrap();
    let address = service.local_addr().unwrap();
    // Stale candidates of this server look just like this.
    turn.permit(&[address]).unwrap();
    turn.bind_channel(0x4000, address).unwrap();
    turn.send(address, b"by Send");
    turn.send_channel(0x4000, b"by channel");
    turn.send_unfragmented(address, b"by Send");
    let own_turn_port = SocketAddr::new(address.ip(), server.turn_port());
    turn.send(own_turn_port, b"to ourselves");
    server.metric_becomes(OWN_ADDRESS, 4);
    service.set_nonblocking(true).unwrap();
    let mut buffer = [0; 100];
    let nothing = service.recv(&mut buffer).unwrap_err();
    assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
    // Other programs can reach the service.
    UdpSocket::bind((address.ip(), 0)).unwrap().send_to(b"control", address).unwrap();
    service.set_nonblocking(false).unwrap();
    assert_eq!(service.recv(&mut buffer).unwrap(), b"control".len());
}

fn at(ip: &str) -> SocketAddr {
    SocketAddr::new(ip.parse::<IpAddr>().unwrap(), 53)
}

/// Every address is refused alone, by channel, and together with an allowed one.
fn all_are_refused(turn: &mut TurnClient, peers: &[&str]) {
    for ip in peers {
        let peer = at(ip);
        assert_eq!(turn.permit(&[peer]), Err(403), "{ip}");
        assert_eq!(turn.bind_channel(0x4000, peer), Err(403), "{ip}");
        assert_eq!(turn.permit(&[turn.relayed(), peer]), Err(403), "{ip}");
        turn.send(peer, b"anyway");
    }
}

const NEVER_V4: &[&str] = &[
    "169.254.169.254",
    "169.254.1.1",
    "127.0.0.1",
    "127.0.0.2",
    "127.255.255.254",
    "0.0.0.0",
    "0.1.2.3",
    "224.0.0.1",
    "239.255.255.250",
    "255.255.255.255",
    "168.63.129.16",
    "100.100.100.200",
];

const NO_MEMBER_THERE_V4: &[&str] = &["10.1.2.3", "172.16.5.4", "192.168.77.1", "100.64.9.9", "198.18.0.1"];

/// Loopback and the metadata service in every form of IPv4 in IPv6, and local addresses of IPv6 itself.
const NEVER_V6: &[&str] = &[
    "::1",
    "::",
    "::ffff:127.0.0.1",
    "::127.0.0.1",
    "::ffff:0:127.0.0.1",
    "2002:7f00:1::",
    "2002:7f00:1::1",
    "64:ff9b::127.0.0.1",
    "64:ff9b:1::127.0.0.1",
    "2001:0:4136:e378:8000:63bf:80ff:fffe",
    "fd12::5efe:7f00:1",
    "fd12::200:5efe:7f00:1",
    "::ffff:169.254.169.254",
    "2002:a9fe:a9fe::1",
    "64:ff9b::169.254.169.254",
    "2001:0:1:2:3:4:5601:5601",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "fd00:ec2::254",
];

const NO_MEMBER_THERE_V6: &[&str] =
    &["fd12:3456::1", "::ffff:10.1.2.3", "64:ff9b::192.168.77.1", "2002:0a01:0203::1", "2001:db8::1"];

#[tokio::test]
async fn addresses_of_nobody_in_the_room_are_refused() {
    let server = Process::start("");
    let (_ws, credentials) = server.member("room").await;
    let mut turn = TurnClient::allocated(server.turn(), &credentials);
    all_are_refused(&mut turn, NEVER_V4);
    all_are_refused(&mut turn, NO_MEMBER_THERE_V4);
    // Public addresses are refused too: a leaked credential reaches nobody outside its room.
    all_are_refused(&mut turn, &["8.8.8.8", "1.1.1.1"]);
    assert_eq!(server.metric("turn_permissions"), 0);
    let refused = (NEVER_V4.len() * 3) as i64;
    assert_eq!(server.metric("turn_peer_refusals_total{reason=\"never_allowed\"}"), refused);

    let mut minted = TurnClient::allocated(server.turn(), &server.mint("outsider"));
    all_are_refused(&mut minted, NEVER_V4);
    all_are_refused(&mut minted, NO_MEMBER_THERE_V4);
    assert_eq!(minted.permit(&[at("8.8.8.8")]), Ok(()));
}

/// The server gets addresses as its own that this host does not have, so the test does not depend on the host.
#[tokio::test]
async fn ipv4_in_ipv6_is_judged_by_what_is_inside() {
    let server = Process::start("--public-ip 198.51.100.7 --public-ip 2001:db8:77::7");
    let (_ws, credentials) = server.member("room").await;
    let mut turn = TurnClient::new(server.turn(), Some(&credentials));
    assert_eq!(turn.allocate_v6().unwrap().ip(), "2001:db8:77::7".parse::<IpAddr>().unwrap());
    all_are_refused(&mut turn, NEVER_V6);
    all_are_refused(&mut turn, NO_MEMBER_THERE_V6);
    assert_eq!(server.metric("turn_permissions"), 0);
    let refused = (NEVER_V6.len() * 3) as i64;
    assert_eq!(server.metric("turn_peer_refusals_total{reason=\"never_allowed\"}"), refused);

    let mut minted = TurnClient::new(server.turn(), Some(&server.mint("outsider")));
    minted.allocate_v6().unwrap();
    all_are_refused(&mut minted, NEVER_V6);
    all_are_refused(&mut minted, NO_MEMBER_THERE_V6);
    assert_eq!(minted.permit(&[at("2606:4700:4700::1111")]), Ok(()));
}

enum Departure {
    Leave,
    Disconnect,
    JoinElsewhere,
}

async fn departure_ends_allocations(how: Departure) {
    let server = Process::start("--workers 2");
    let (mut leaving, credentials) = server.member("room").await;
    let (_staying, stayer) = server.member("room").await;
    let mut gone = TurnClient::allocated(server.turn(), &credentials);
    let mut gone_too = TurnClient::allocated(server.turn(), &credentials);
    let mut stayer = TurnClient::allocated(server.turn(), &stayer);
    for turn in [&mut gone, &mut gone_too] {
        turn.permit(&[stayer.relayed()]).unwrap();
        stayer.permit(&[turn.relayed()]).unwrap();
        stayer.send(turn.relayed(), b"hello");
        turn.expect_data(stayer.relayed(), b"hello");
    }
    stayer.bind_channel(0x4000, gone.relayed()).unwrap();
    let is_member_elsewhere = matches!(how, Departure::JoinElsewhere);
    match how {
        Departure::Leave => leaving.send("__leave", json!({})).await,
        Departure::Disconnect => drop(leaving),
        Departure::JoinElsewhere => leaving.send("__join", json!({"room": "elsewhere"})).await,
    }
    server.metric_becomes("turn_allocations", 1);
    assert_eq!(gone.refresh(600), Err(437));
    assert_eq!(gone_too.refresh(600), Err(437));
    assert_eq!(gone.permit(&[stayer.relayed()]), Err(437));
    let mut back = TurnClient::new(server.turn(), Some(&credentials));
    if is_member_elsewhere {
        // The credential belongs to the member in any room: an allocation that it makes now belongs to the other room.
        back.allocate().unwrap();
        back.permit(&[stayer.relayed()]).unwrap();
        back.send(stayer.relayed(), b"back again");
        server.metric_becomes(OTHER_ROOM, 1);
        stayer.expect_nothing();
    } else {
        assert_eq!(gone.allocate(), Err(401), "on the same 5-tuple");
        assert_eq!(back.allocate(), Err(401), "on a new one");
    }
    let before = server.metric(OWN_ADDRESS);
    stayer.send(gone.relayed(), b"still there?");
    stayer.send_channel(0x4000, b"still there?");
    server.metric_becomes(OWN_ADDRESS, before + 2);
    gone.expect_nothing();
    gone_too.send(stayer.relayed(), b"still here");
    server.metric_becomes("turn_dropped_packets_total{reason=\"no_allocation\"}", 1);
    stayer.expect_nothing();
    assert_eq!(stayer.refresh(600), Ok(600), "others keep theirs");
}

#[tokio::test]
async fn leaving_ends_allocations() {
    departure_ends_allocations(Departure::Leave).await;
}

#[tokio::test]
async fn disconnecting_ends_allocations() {
    departure_ends_allocations(Departure::Disconnect).await;
}

#[tokio::test]
async fn joining_elsewhere_ends_allocations() {
    departure_ends_allocations(Departure::JoinElsewhere).await;
}
