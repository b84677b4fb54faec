//! Crowds from many addresses and from one: honest clients of both families still get in, and so do operators.
#![allow(clippy::unwrap_used)]

mod common;

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, TcpStream},
    process::Command,
    thread,
    time::Instant,
};

use bimcc_rtc::credentials::Secret;
use common::{
    crowd::{HONEST, World, v6},
    patient,
    process::{PATIENCE, Process, Start},
    turn_client::Credentials,
};

/// The address of each client of a crowd, by its number.
type ByNumber = fn(u128) -> IpAddr;

fn is_closed(tcp: &mut TcpStream) -> bool {
    tcp.set_nonblocking(true).unwrap();
    !matches!(tcp.read(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

/// Strangers from everywhere, silent or slow or with an idle WebSocket, and honest clients one after another.
#[tokio::test(flavor = "multi_thread")]
async fn half_open_connections_from_many_networks_lock_nobody_out() {
    const FILES: usize = 512;
    const HALF_OPEN: usize = FILES / 8;
    let Some(world) = World::with_files(FILES, "") else { return };
    let floods: [(&str, ByNumber); 5] = [
        ("a /64 each of a /48", |index| v6("2001:db8:7::", 64, index)),
        ("a /56 each of a /48", |index| v6("2001:db8:7::", 56, index % 256)),
        ("a /48 each", |index| v6("2001:db8::", 48, 0x1000 + index)),
        ("addresses of IPv4", |index| IpAddr::from([198, 18, index as u8, 1])),
        ("both families", |index| {
            if index % 2 == 0 { IpAddr::from([198, 18, 7, index as u8]) } else { v6("2001:db8:7::", 64, index) }
        }),
    ];
    for (name, address) in floods {
        let mut flood = Vec::new();
        let come = |flood: &mut Vec<TcpStream>, count: usize| {
            for _ in 0..count {
                let mut tcp = world.connect_http(address(flood.len() as u128)).unwrap();
                // Silent, a handshake and a request that are begun.
                let beginning: [&[u8]; 3] =
                    [b"", &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC], b"GET / HTTP/1.1\r\nHost: h\r\nX: "];
                // The connection may already be closed.
                let _ = tcp.write_all(beginning[flood.len() % 3]);
                flood.push(tcp);
            }
        };
        come(&mut flood, 2 * HALF_OPEN);
        for honest in HONEST {
            let (member, mut spare) = world.honest_client(honest, 2).await;
            come(&mut flood, HALF_OPEN / 2);
            assert!(member.is_there(), "{name}: {honest}");
            assert!(!spare.iter_mut().any(is_closed), "{name}: {honest} has lost a connection that it may need");
        }
        let refused = world.server.metric("connections_refused_total{reason=\"too_many_half_open\"}");
        assert!(refused >= HALF_OPEN as i64, "{name}: {refused}");
        drop(flood);
        world.server.metric_becomes("members", 0);
    }
}

/// WebSockets that join no room are half open too.
#[tokio::test(flavor = "multi_thread")]
async fn who_joins_no_room_makes_room_for_others() {
    let Some(world) = World::with_files(512, "") else { return };
    let mut idle: Vec<_> = (0..100).map(|index| world.upgrade(v6("2001:db8:7::", 64, index)).1).collect();
    for honest in HONEST {
        let (member, _spare) = world.honest_client(honest, 2).await;
        assert!(member.is_there());
    }
    let deadline = Instant::now() + PATIENCE;
    while world.server.metric("connections_closed_total{reason=\"made_room\"}") < 100 - 64 {
        assert!(Instant::now() < deadline, "they stay");
    }
    let mut oldest = idle.remove(0);
    let mut rest = Vec::new();
    oldest.read_to_end(&mut rest).unwrap();
    assert!(rest.windows(4).any(|frame| frame[0] == 0x88 && frame[2..] == 1013_u16.to_be_bytes()), "{rest:?}");
}

/// Clients at one address join as often as they can, and then clients at many others do.
#[tokio::test(flavor = "multi_thread")]
async fn members_of_one_address_leave_files_for_others() {
    const FILES: usize = 600;
    let Some(world) = World::with_files(FILES, "") else { return };
    let (honest, _) = world.honest_client(HONEST[0], 2).await;
    for (greedy, refusal) in [(v6("2001:db8:7::", 64, 1), "429"), (IpAddr::from([198, 18, 0, 1]), "429")] {
        let site = |index: u128| if greedy.is_ipv4() { greedy } else { v6("2001:db8:7::", 64, index) };
        let (members, status) = world.join_all((0..).map(site));
        assert_eq!(status, refusal, "after {} members", members.len());
        assert!(members.len() >= 100, "a class comes in: {}", members.len());
        for address in HONEST {
            let (member, _spare) = world.honest_client(address, 2).await;
            assert!(member.is_there());
        }
        assert!(world.server.ask(world.server.admin, OPERATOR).starts_with("HTTP/1.1 200"));
        drop(members);
        world.server.metric_becomes("members", 1);
    }
    // Clients at many addresses together take all places. Members keep their places, and operators get in.
    let tcp = world.connect_http(HONEST[1].parse().unwrap()).unwrap();
    let (_early, credentials) = Process::joined(world.server.connect_over(tcp).await, "early").await;
    let many = (0..).map(|index: u128| IpAddr::from([198, 19, (index >> 8) as u8, index as u8]));
    let (members, status) = world.join_all(many);
    assert_eq!(status, "503");
    world.allocate(HONEST[1].parse().unwrap(), &credentials);
    assert!(world.server.ask(world.server.admin, OPERATOR).starts_with("HTTP/1.1 200"));
    assert!(world.server.ask(world.server.http, HEALTH).starts_with("HTTP/1.1 200"));
    assert!(world.server.metric("connections_refused_total{reason=\"too_many_websockets\"}") > 0);
    assert!(world.server.open_files() < FILES * 3 / 4, "{} files", world.server.open_files());
    assert!(honest.is_there());
    drop(members);
    world.server.metric_becomes("members", 2);
    let (again, _) = world.honest_client(HONEST[0], 0).await;
    assert!(again.is_there());
}

const SECRET: &str = "0123456789abcdef";

fn signed(username: String) -> Credentials {
    let password = bimcc_rtc::credentials::password(&Secret::new(SECRET.as_bytes()), &username);
    Credentials { username, password }
}

/// A client with valid credentials, of many users or without a user name, allocates as often as it can.
#[test]
fn one_address_leaves_allocations_for_others_whoever_it_says_it_is() {
    let attacker = Ipv4Addr::new(198, 18, 0, 1);
    let honest: IpAddr = HONEST[0].parse().unwrap();
    for (args, most) in [("--max-allocations 40", 20), ("--max-allocations 40 --max-allocations-per-ip 30", 30)] {
        let Some(world) = World::with_files(4096, &format!("{args} --secret {SECRET}")) else { return };
        let mut held = Vec::new();
        let refused = loop {
            let count = held.len() as u64;
            let of_nobody = (4_000_000_000 + count).to_string();
            let username = if count.is_multiple_of(2) { of_nobody } else { format!("4000000000:user {count}") };
            let mut turn = world.turn_over_udp(attacker, &signed(username));
            match turn.allocate() {
                Ok(_) => held.push(turn),
                Err(code) => break code,
            }
        };
        assert_eq!((held.len(), refused), (most, 486), "{args}");
        world.allocate(honest, &signed("4000000000:honest".to_owned()));
        assert_eq!(world.server.metric("turn_responses_total{method=\"allocate\",code=\"508\"}"), 0);
    }
}

#[test]
fn one_address_leaves_turn_connections_for_others() {
    const FILES: usize = 512;
    let attacker = IpAddr::from([198, 18, 0, 1]);
    let Some(world) = World::with_files(FILES, "") else { return };
    let credentials = world.server.mint("attacker");
    let mut held = Vec::new();
    for _ in 0..FILES / 8 {
        let mut turn = world.turn_over_tcp(attacker, &credentials);
        if !turn.is_in_step() {
            break;
        }
        turn.allocate().unwrap();
        held.push(turn);
    }
    assert_eq!(held.len(), FILES / 8 * 3 / 4);
    for honest in HONEST {
        world.allocate(honest.parse().unwrap(), &world.server.mint("honest"));
    }
    assert_eq!(world.server.metric("connections_refused_total{reason=\"too_many_turn_streams\"}"), 0);
    assert_eq!(world.server.metric("connections_refused_total{reason=\"too_many_from_address\"}"), 1);
    drop(held);
    world.server.metric_becomes("turn_streams{transport=\"tcp\"}", 0);
    world.allocate(attacker, &credentials);
}

const OPERATOR: &str = "GET /api/rooms HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// The limit is lowered below the number in use: operators still get a file, and nobody else does.
#[tokio::test(flavor = "multi_thread")]
async fn where_no_files_are_left_operators_come_in() {
    let server = Start::with("").files(256).serve();
    let (mut client, _) = server.member("room").await;
    let before = server.open_files();
    let lowered =
        Command::new("prlimit").args(["--pid", &server.pid().to_string(), "--nofile=10:256"]).status().unwrap();
    assert!(lowered.success());
    let stranger = TcpStream::connect(server.http).unwrap();
    // Idle connections of operators make room for each other.
    let _idle: Vec<_> = (0..100).map(|_| TcpStream::connect(server.admin).unwrap()).collect();
    for _ in 0..5 {
        assert!(server.ask(server.admin, OPERATOR).starts_with("HTTP/1.1 200"));
    }
    client.expect_nothing().await;
    assert!(server.open_files() <= before + 30, "{} files", server.open_files());
    // Waiting for a file uses no processor time.
    let spent = server.processor_time();
    let asked = Instant::now();
    thread::sleep(std::time::Duration::from_millis(500));
    assert!(server.processor_time() - spent < asked.elapsed() / 2);
    drop(stranger);
    patient(client.ws.close(None)).await.unwrap();
}
