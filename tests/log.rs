//! What the log contains, and what it never contains.
#![allow(clippy::unwrap_used)]

mod common;

use std::{
    io::{PipeWriter, Read, Write},
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    time::Instant,
};

use common::{
    Client,
    process::{PATIENCE, Process, Start, find_credentials},
    turn_client::{Credentials, TurnClient, new_message},
    wire::Wire,
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use stun::{
    attributes::ATTR_REQUESTED_TRANSPORT,
    message::{CLASS_REQUEST, METHOD_ALLOCATE, Message},
};

const ROOM: &str = "where-we-meet";
const RELAYING: &str = "--dangerously-allow-loopback-peers --public-ip 127.0.0.1";

/// The lines with this message.
fn lines<'a>(log: &'a str, message: &str) -> Vec<&'a str> {
    log.lines().filter(|line| line.contains(&format!(": {message} "))).collect()
}

/// The value of a field in a line.
fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let value = line.split_once(&format!(" {name}=")).unwrap_or_else(|| panic!("no {name} in {line}")).1;
    value.split(' ').next().unwrap().trim_matches('"')
}

/// Everything that the server has logged until its end.
fn whole_log(mut server: Process) -> String {
    server.signal(Signal::SIGTERM);
    let (status, said) = server.wait();
    assert!(status.success(), "{said}");
    said
}

/// A member with a name, its `_peers`, and its credentials.
async fn named(server: &Process, name: &str) -> (Client, Value, Credentials) {
    let mut client = server.connect().await;
    client.send("__join", json!({"room": ROOM, "name": name})).await;
    let peers = client.expect("_peers").await;
    let credentials = find_credentials(&peers["iceServers"]).unwrap();
    (client, peers, credentials)
}

struct Call {
    log: String,
    ids: [String; 2],
    secrets: Vec<String>,
}

/// Two members with a relayed path between them, until one is removed and the other leaves.
async fn call(args: &str) -> Call {
    let server = Process::start(&format!("--log info {RELAYING} {args}"));
    let (mut alice, peers_a, credentials_a) = named(&server, "Ada").await;
    let (bob, peers_b, credentials_b) = named(&server, "Bob").await;
    let ids = [&peers_a, &peers_b].map(|peers| peers["you"].as_str().unwrap().to_owned());
    let mut secrets: Vec<_> = [&credentials_a, &credentials_b].map(|c| c.password.clone()).into();
    secrets.extend([&peers_a, &peers_b].map(|peers| peers["resume"].as_str().unwrap().to_owned()));

    let mut a = TurnClient::allocated(server.turn(), &credentials_a);
    let mut b = TurnClient::by(Wire::tcp(server.turn()), server.turn(), Some(&credentials_b));
    b.allocate().unwrap();
    a.permit(&[b.relayed()]).unwrap();
    b.permit(&[a.relayed()]).unwrap();
    a.send(b.relayed(), &[7; 1000]);
    b.expect_data(a.relayed(), &[7; 1000]);
    for _ in 0..2 {
        b.send(a.relayed(), &[8; 100]);
        a.expect_data(b.relayed(), &[8; 100]);
    }

    let kick =
        format!("DELETE /api/rooms/{ROOM}/peers/{} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", ids[1]);
    assert!(server.ask(server.admin, &kick).starts_with("HTTP/1.1 204"));
    server.metric_becomes("turn_allocations", 1);
    a.refresh(0).unwrap();
    drop(bob);
    assert_eq!(alice.expect("_new_peer").await["socketId"], ids[1]);
    alice.expect("_remove_peer").await;
    alice.send("__leave", json!({})).await;
    server.metric_becomes("rooms", 0);
    Call { log: whole_log(server), ids, secrets }
}

#[tokio::test]
async fn a_call_is_told_with_who_when_how_long_how_much_and_why_it_ended() {
    let Call { log, ids, secrets } = call("").await;
    let messages = [
        "started",
        "room opened",
        "member joined",
        "member joined",
        "allocation made",
        "allocation made",
        "member left",
        "allocation ended",
        "allocation ended",
        "member left",
        "room closed",
        "shutting down",
        "stopped",
    ];
    let told: Vec<_> = log.lines().collect();
    assert_eq!(told.len(), messages.len(), "{log}");
    let mut sorted: Vec<_> = told.iter().map(|line| line.split_once(": ").unwrap().1).collect();
    sorted.sort_unstable();
    let mut expected = messages;
    expected.sort_unstable();
    for (line, message) in sorted.iter().zip(expected) {
        assert!(line.starts_with(message), "{line} is not {message}:\n{log}");
    }
    assert!(told.iter().all(|line| line.contains("Z  INFO bimcc_rtc")), "{log}");

    let rooms: Vec<_> = told.iter().filter(|line| line.contains(" room=")).map(|line| field(line, "room")).collect();
    assert_eq!(rooms.len(), 6, "{log}");
    assert!(rooms.iter().all(|room| *room == rooms[0] && room.len() == 10), "{log}");
    let joined: Vec<_> = lines(&log, "member joined").iter().map(|line| field(line, "member")).collect();
    assert_eq!(joined, ids);
    let left = lines(&log, "member left");
    let left: Vec<_> = left.iter().map(|line| (field(line, "member"), field(line, "reason"))).collect();
    assert_eq!(left, [(&*ids[1], "kicked"), (&*ids[0], "left")]);
    for message in ["member left", "room closed", "allocation ended", "stopped"] {
        for line in lines(&log, message) {
            assert!(field(line, "seconds").parse::<u64>().is_ok(), "{line}");
        }
    }

    let of = |message: &str, id: &str| {
        let found: Vec<_> = lines(&log, message).into_iter().filter(|line| field(line, "member") == id).collect();
        assert_eq!(found.len(), 1, "{log}");
        found[0].to_owned()
    };
    for (id, transport, reason, sums) in [
        (&ids[0], "udp", "given_up", ["1000", "200", "1", "2"]),
        (&ids[1], "tcp", "member_left", ["200", "1000", "2", "1"]),
    ] {
        let (made, ended) = (of("allocation made", id), of("allocation ended", id));
        assert_eq!(field(&made, "allocation"), field(&ended, "allocation"));
        for line in [&made, &ended] {
            assert_eq!((field(line, "transport"), field(line, "family")), (transport, "ipv4"));
        }
        assert_eq!(field(&ended, "reason"), reason);
        let fields = ["bytes_from_client", "bytes_to_client", "packets_from_client", "packets_to_client"];
        assert_eq!(fields.map(|name| field(&ended, name)), sums, "{ended}");
    }

    for secret in secrets.iter().map(String::as_str).chain([ROOM, "Ada", "Bob", "127.0.0.1"]) {
        assert!(!log.contains(secret), "{secret} is in\n{log}");
    }
}

#[tokio::test]
async fn who_asks_for_people_gets_names_and_addresses_and_still_no_secret() {
    let Call { log, secrets, .. } = call("--log-people").await;
    let joined = lines(&log, "member joined");
    let names: Vec<_> = joined.iter().map(|line| field(line, "name")).collect();
    assert_eq!(names, ["Ada", "Bob"]);
    for message in ["member joined", "member left", "allocation made", "allocation ended"] {
        for line in lines(&log, message) {
            assert_eq!(field(line, "from"), "127.0.0.1", "{line}");
        }
    }
    assert_eq!(field(lines(&log, "room opened")[0], "room"), ROOM);
    for secret in &secrets {
        assert!(!log.contains(secret), "{secret} is in\n{log}");
    }
}

#[tokio::test]
async fn a_room_has_one_name_in_the_log_over_restarts() {
    let mut rooms = Vec::new();
    let mut state_dir = None;
    for _ in 0..2 {
        let mut start = Start::with("--log info");
        if let Some(state_dir) = state_dir.take() {
            start = start.state_dir(state_dir);
        }
        let server = start.serve();
        state_dir = Some(server.state_dir());
        let (client, _) = server.member(ROOM).await;
        drop(client);
        let log = whole_log(server);
        rooms.push(field(lines(&log, "room opened")[0], "room").to_owned());
    }
    assert_eq!(rooms[0], rooms[1]);
}

/// How many events have their own line, and how many are only counted.
fn told(log: &str, noun: &str, verb: &str) -> (usize, usize) {
    let together = log.lines().filter_map(|line| line.split_once(": and ")).map(|(_, counts)| {
        let counts = counts.split([',', ' ']).collect::<Vec<_>>();
        let plural = format!("{noun}s");
        let place = counts.windows(3).find(|words| [noun, &*plural].contains(&words[1]) && words[2] == verb);
        place.map_or(0, |words| words[0].parse().unwrap())
    });
    (lines(log, &format!("{noun} {verb}")).len(), together.sum())
}

#[tokio::test]
async fn who_comes_and_goes_without_end_fills_no_log() {
    const CONNECTIONS: usize = 200;
    const JOINS: usize = 50;
    let server = Process::start("--log info");
    let started = Instant::now();
    for connection in 0..CONNECTIONS {
        let mut client = server.connect().await;
        // They are sent all at once, which is less than the limit for one connection.
        for join in 0..JOINS {
            client.send("__join", json!({"room": format!("room {connection} {join}")})).await;
            client.send("__leave", json!({})).await;
        }
        for _ in 0..JOINS {
            client.expect("_peers").await;
        }
    }
    server.all_gauges_become_zero();
    let log = whole_log(server);
    // Each minute has its own limit.
    let most = 20 * (started.elapsed().as_secs() as usize / 60 + 2);
    for (noun, verb) in [("room", "opened"), ("member", "joined"), ("member", "left"), ("room", "closed")] {
        let (one_by_one, together) = told(&log, noun, verb);
        assert!(one_by_one <= most, "{one_by_one} {noun}s {verb}:\n{log}");
        assert_eq!(one_by_one + together, CONNECTIONS * JOINS, "{noun} {verb}:\n{log}");
    }
    assert!(log.contains(" from one address"), "{log}");
}

/// A request of a stranger, which is refused.
fn request() -> Message {
    let mut request = new_message(METHOD_ALLOCATE, CLASS_REQUEST);
    request.add(ATTR_REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
    request
}

#[tokio::test]
async fn strangers_leave_nothing_in_the_log() {
    let server = Process::start("--log info");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let request = request();
    for _ in 0..2000 {
        socket.send_to(&request.raw, server.turn()).unwrap();
    }
    let mut wrong = TurnClient::new(
        server.turn(),
        Some(&Credentials { username: "9999999999:mallory".to_owned(), password: "guessed".to_owned() }),
    );
    assert_eq!(wrong.allocate(), Err(401));
    for _ in 0..50 {
        server.ask(server.http, "GARBAGE\r\n\r\n");
        let mut client = server.connect().await;
        client.send("__offer", json!({"socketId": "nobody"})).await;
        client.expect("_error").await;
    }
    let log = whole_log(server);
    let messages: Vec<_> = log.lines().map(|line| line.split_once(": ").unwrap().1).collect();
    let expected = ["started", "shutting down", "stopped"];
    assert_eq!(messages.len(), expected.len(), "{log}");
    assert!(messages.iter().zip(expected).all(|(line, message)| line.starts_with(message)), "{log}");
}

#[tokio::test]
async fn refusals_are_told_to_who_asks_for_more() {
    let server = Process::start("--log debug");
    let mut wrong = TurnClient::new(
        server.turn(),
        Some(&Credentials { username: "9999999999:mallory".to_owned(), password: "guessed".to_owned() }),
    );
    assert_eq!(wrong.allocate(), Err(401));
    let mut client = server.connect().await;
    client.send("__offer", json!({"socketId": "nobody"})).await;
    client.expect("_error").await;
    drop(client);
    let log = whole_log(server);
    let refused = lines(&log, "credential refused");
    assert_eq!(refused.iter().map(|line| field(line, "reason")).collect::<Vec<_>>(), ["wrong_password"], "{log}");
    assert!(refused[0].contains("client{id="), "{log}");
    assert!(log.contains(": refused member=m-"), "{log}");
    for hidden in ["127.0.0.1", "mallory", "guessed"] {
        assert!(!log.contains(hidden), "{hidden} is in\n{log}");
    }
}

#[tokio::test]
async fn a_log_that_nobody_reads_holds_up_nobody_and_what_is_dropped_is_counted_and_told() {
    let (mut unread, log) = std::io::pipe().unwrap();
    let mut server = Start::with("--log debug").log_to(log).serve();
    let request = request();
    // Each refusal has a line, but an address gets only a limited number of answers.
    let address = |host| SocketAddr::from((Ipv4Addr::new(127, 0, 7, host), 0));
    let sockets: Vec<_> = (1..=50).map(|host| UdpSocket::bind(address(host)).unwrap()).collect();
    let deadline = Instant::now() + 2 * PATIENCE;
    while server.metric("log_lines_dropped_total") == 0 {
        assert!(Instant::now() < deadline, "nothing was dropped:\n{}", server.metrics());
        for socket in &sockets {
            for _ in 0..20 {
                socket.send_to(&request.raw, server.turn()).unwrap();
            }
        }
    }
    let (mut alice, credentials) = server.member("r").await;
    TurnClient::allocated(server.turn(), &credentials).refresh(0).unwrap();
    let (_bob, _) = server.member("r").await;
    alice.expect("_new_peer").await;

    // Once somebody reads, the log continues, and says how many lines were dropped.
    let (send, is_told) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        let mut buffer = [0; 65_536];
        while let Ok(len @ 1..) = unread.read(&mut buffer) {
            text.extend_from_slice(&buffer[..len]);
            if String::from_utf8_lossy(&text).contains("lines were dropped") {
                let _ = send.send(());
            }
        }
    });
    is_told.recv_timeout(PATIENCE).expect("it is told");
    server.signal(Signal::SIGTERM);
    assert!(server.wait().0.success());
    reader.join().unwrap();
}

#[test]
fn a_log_that_nobody_ever_reads_does_not_keep_the_server_from_its_end() {
    let (_unread, mut log) = std::io::pipe().unwrap();
    fill(&mut log);
    let mut server = Start::with("--log info").log_to(log).serve();
    server.signal(Signal::SIGTERM);
    assert!(server.wait().0.success());
}

/// Writes until the pipe is full.
fn fill(pipe: &mut PipeWriter) {
    rustix::io::ioctl_fionbio(&*pipe, true).unwrap();
    while pipe.write(&[b'\n'; 4096]).is_ok() {}
    rustix::io::ioctl_fionbio(&*pipe, false).unwrap();
}
