//! Signaling over real sockets: the rules of docs/PROTOCOL.md that can only be tested with a connection.
#![allow(clippy::unwrap_used)]

mod common;

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use bimcc_rtc::{
    credentials::Secret,
    ice_servers::{Issuer, Transports},
    observe::metrics::Metrics,
    shutdown::Shutdown,
    signaling::{Arrival, Limits, ResumeKey, Signaling, Timing},
    values::host::Host,
};
use common::{Client, Options, Server, member, patient};
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::{
    Bytes, Message,
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};

#[tokio::test]
async fn r2_3_a_skyrtc_client_gets_through_its_whole_flow() {
    let server = Server::start().await;
    let mut first = server.connect().await;
    first.send("__join", json!({})).await;
    let peers = first.expect("_peers").await;
    assert_eq!((&peers["connections"], &peers["room"]), (&json!([]), &json!("__default")));
    let first_id = peers["you"].as_str().unwrap().to_owned();

    let mut second = server.connect().await;
    second.send("__join", json!({"room": "__default"})).await;
    let peers = second.expect("_peers").await;
    assert_eq!(peers["connections"], json!([first_id]));
    let second_id = peers["you"].as_str().unwrap().to_owned();
    let sdp = json!({"type": "offer", "sdp": "v=0\r\n"});
    second.send("__offer", json!({"sdp": sdp, "socketId": first_id})).await;
    let candidate = "candidate:1 1 udp 1 192.0.2.1 1 typ host";
    let trickled = json!({"label": 0, "candidate": candidate, "socketId": first_id});
    second.send("__ice_candidate", trickled).await;

    assert_eq!(first.expect("_new_peer").await, json!({"socketId": second_id}));
    assert_eq!(first.expect("_offer").await, json!({"sdp": sdp, "socketId": second_id}));
    let received = json!({"label": 0, "sdpMLineIndex": 0, "candidate": candidate, "socketId": second_id});
    assert_eq!(first.expect("_ice_candidate").await, received);
    first.send("__answer", json!({"sdp": sdp, "socketId": second_id})).await;
    assert_eq!(second.expect("_answer").await["socketId"], first_id);

    drop(first);
    assert_eq!(second.expect("_remove_peer").await, json!({"socketId": first_id, "reason": "disconnected"}));
    drop(second);
    server.all_gauges_become_zero().await;
}

#[tokio::test]
async fn r9_1_a_bimcc_client_names_its_room_in_the_url() {
    let server = Server::start().await;
    let mut by_url = server.connect_to("?room=room%201").await;
    by_url.send("__join", json!({"room": ""})).await;
    assert_eq!(by_url.expect("_peers").await["room"], "room 1");
    let mut by_both = server.connect_to("/any/path?room=other").await;
    assert_eq!(by_both.join("room 1").await["connections"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn r2_2_all_spellings_of_a_name_lead_to_one_room() {
    let server = Server::start().await;
    let mut composed = server.connect().await;
    composed.join("caf\u{e9} 한").await;
    let mut apart = server.connect().await;
    apart.send("__join", json!({"room": "cafe\u{301} \u{1112}\u{1161}\u{11ab}", "resume": ""})).await;
    let peers = apart.expect("_peers").await;
    assert_eq!((&peers["room"], peers["connections"].as_array().unwrap().len()), (&json!("caf\u{e9} 한"), 1));
    let mut by_url = server.connect_to("/?room=cafe%CC%81%20%E1%84%92%E1%85%A1%E1%86%AB").await;
    by_url.send("__join", json!({})).await;
    assert_eq!(by_url.expect("_peers").await["connections"].as_array().unwrap().len(), 2);
    assert_eq!(server.metric("rooms"), 1);

    drop(apart);
    server.metric_becomes("members_away", 1).await;
    let mut back = server.connect().await;
    back.send("__join", json!({"room": "caf\u{e9} 한", "resume": peers["resume"]})).await;
    assert_eq!(back.expect("_peers").await["resumed"], true);
    let mut long = server.connect().await;
    long.join(&"e\u{301}".repeat(64)).await;
    long.send("__join", json!({"room": "e\u{301}".repeat(65)})).await;
    long.expect_error("bad_room").await;
}

#[tokio::test]
async fn r4_2_rooms_are_walls() {
    let server = Server::start().await;
    let (mut alice, _) = member(&server, "one").await;
    let (mut bob, bob_id) = member(&server, "two").await;
    for event in ["__offer", "__answer", "__ice_candidate", "__message"] {
        alice.send(event, json!({"socketId": bob_id, "sdp": "s", "candidate": "c", "data": "d"})).await;
        let error = alice.expect_error("no_such_peer").await;
        assert_eq!((&error["eventName"], &error["socketId"]), (&json!(event), &json!(bob_id)));
    }
    alice.send("__message", json!({"data": "to all"})).await;
    alice.send("__update", json!({"name": "x"})).await;
    alice.expect_nothing().await;
    bob.expect_nothing().await;
}

#[tokio::test]
async fn r7_1_each_code_is_reached() {
    let limits = Limits { max_peers_per_room: 1, max_rooms: 1, max_message_bytes: 1000 };
    let server = Server::with(Options { limits, ..Options::default() }).await;
    let mut client = server.connect().await;
    client.send("__leave", json!({})).await;
    client.expect_error("not_joined").await;
    client.send_text("nonsense").await;
    client.expect_error("bad_message").await;
    client.ws.send(Message::binary(b"{}".to_vec())).await.unwrap();
    client.expect_error("bad_message").await;
    client.send("__nonsense", json!({})).await;
    assert_eq!(client.expect_error("unknown_event").await["eventName"], "__nonsense");
    client.send("__join", json!({"room": "\u{1}"})).await;
    client.expect_error("bad_room").await;
    client.join("r").await;
    let mut other = server.connect().await;
    other.send("__join", json!({"room": "r"})).await;
    other.expect_error("room_full").await;
    other.send("__join", json!({"room": "s"})).await;
    other.expect_error("too_many_rooms").await;
    client.send("__answer", json!({"socketId": "x", "sdp": "s"})).await;
    client.expect_error("no_such_peer").await;
    client.send("__message", json!({"data": "x".repeat(1000)})).await;
    client.expect_error("too_large").await;
    assert_eq!(client.close_code().await, Some(1009));
}

#[tokio::test]
async fn r1_5_too_large_messages_close_with_1009_whole_or_in_fragments() {
    let limits = Limits { max_message_bytes: 10_000, ..Limits::default() };
    let server = Server::with(Options { limits, ..Options::default() }).await;
    let (mut witness, _) = member(&server, "r").await;

    let mut whole = server.connect().await;
    // This is far more than the server reads, but the Close frame must still get through.
    let _ = whole.ws.feed(Message::text("x".repeat(1_000_000))).await;
    let _ = whole.ws.flush().await;
    whole.expect_error("too_large").await;
    assert_eq!(whole.close_code().await, Some(1009));

    let mut split = server.connect().await;
    for i in 0..3 {
        let opcode = OpCode::Data(if i == 0 { Data::Text } else { Data::Continue });
        let fragment = Frame::message(vec![b'x'; 5000], opcode, false);
        split.ws.send(Message::Frame(fragment)).await.unwrap();
    }
    split.expect_error("too_large").await;
    assert_eq!(split.close_code().await, Some(1009));
    server.metric_becomes("connections_closed_total{reason=\"message_too_large\"}", 2).await;
    witness.expect_nothing().await;
}

#[tokio::test]
async fn r6_2_twenty_bad_messages_close_with_1008() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    for _ in 0..19 {
        client.send_text("{").await;
        client.expect_error("bad_message").await;
    }
    // Errors that also happen to good clients do not count.
    client.send("__leave", json!({})).await;
    client.expect_error("not_joined").await;
    client.expect_nothing().await;
    client.send_text("{").await;
    client.expect_error("bad_message").await;
    assert_eq!(client.close_code().await, Some(1008));
    server.metric_becomes("connections_closed_total{reason=\"too_many_errors\"}", 1).await;
}

#[tokio::test]
async fn r6_1_a_flood_is_told_and_slowed_and_others_are_not() {
    let server = Server::start().await;
    let (flooder, _) = member(&server, "r").await;
    let (mut witness, _) = member(&server, "elsewhere").await;
    let ping = json!({"eventName": "__ping", "data": {}}).to_string();
    let (mut sink, mut stream) = flooder.ws.split();
    let flood = tokio::spawn(async move {
        for _ in 0..3000 {
            sink.send(Message::text(ping.clone())).await.unwrap();
        }
        sink
    });
    let (mut pongs, mut refused) = (0, 0);
    patient(async {
        while refused < 10 {
            let message = stream.next().await.unwrap().unwrap().into_text().unwrap();
            match () {
                () if message.contains("_pong") => pongs += 1,
                () if message.contains("rate_limited") => refused += 1,
                () => {}
            }
        }
    })
    .await;
    assert!(pongs >= 2000, "{pongs} were let through");
    witness.expect_nothing().await;
    assert_eq!(server.metric("connections_closed_total{reason=\"too_many_errors\"}"), 0);
    flood.abort();
}

/// Fills a room with members that have the largest metadata. All but the last are idle.
async fn full_room(server: &Server, members: usize) -> Vec<common::Client> {
    let mut clients = Vec::new();
    for _ in 0..members {
        let mut client = server.connect().await;
        client.send("__join", json!({"room": "full", "metadata": "m".repeat(16_000)})).await;
        client.expect("_peers").await;
        clients.push(client);
    }
    clients
}

#[tokio::test]
async fn r6_1_a_join_costs_what_it_returns() {
    let server = Server::start().await;
    let mut members = full_room(&server, 31).await;
    let mut client = server.connect().await;
    let size = client.join("full").await.to_string().len();
    assert!(size > 31 * 16_000);
    let rejoin = json!({"eventName": "__join", "data": {"room": "full", "resume": ""}}).to_string();
    for message in [rejoin.as_str(), r#"{"eventName":"__join","data":{"room":"full"}}"#] {
        let (mut bytes, mut refused) = (0, 0);
        for _ in 0..100 {
            client.send_text(message).await;
            match client.next_text().await {
                text if text.contains("rate_limited") => refused += 1,
                text => bytes += text.len(),
            }
        }
        assert!(bytes < 30 * size, "{bytes}");
        assert!(refused > 70, "{refused} of 100 refused");
    }
    drop(client);
    server.metric_becomes("members", 31).await;

    // A client may join for the first time, again, or come back.
    let mut honest = server.connect().await;
    let peers = honest.join("full").await;
    for _ in 0..5 {
        honest.join("full").await;
    }
    honest.send("__leave", json!({})).await;
    assert_eq!(peers["peers"].as_array().unwrap().len(), 31);
    let mut first = members.swap_remove(0);
    for _ in 0..6 {
        while first.next().await.0 != "_new_peer" {}
    }
}

#[tokio::test]
async fn r6_1_what_reaches_many_costs_more() {
    let server = Server::start().await;
    let mut members = full_room(&server, 32).await;
    let mut sender = members.pop().unwrap();
    let reading: Vec<_> =
        members.into_iter().map(|client| tokio::spawn(client.ws.for_each(|_| std::future::ready(())))).collect();
    let update = json!({"eventName": "__update", "data": {"metadata": "m".repeat(16_000)}}).to_string();
    for _ in 0..600 {
        sender.send_text(update.clone()).await;
    }
    // Messages within the limit get no answer.
    for _ in 0..200 {
        sender.expect_error("rate_limited").await;
    }
    reading.iter().for_each(|task| task.abort());
}

#[tokio::test]
async fn a_room_of_thirty_meets_at_once() {
    const MEMBERS: usize = 30;
    const CANDIDATES: usize = 15;
    let server = Server::start().await;
    let mut tasks = Vec::new();
    for _ in 0..MEMBERS {
        let mut client = server.connect().await;
        tasks.push(tokio::spawn(async move {
            let peers = client.join("class").await;
            for peer in peers["connections"].as_array().unwrap() {
                client.send("__offer", json!({"socketId": peer, "sdp": "o".repeat(4000)})).await;
                for _ in 0..CANDIDATES {
                    client.send("__ice_candidate", json!({"socketId": peer, "candidate": "c", "label": 0})).await;
                }
            }
            // In each pair, the member that came later has offered; the other one answers, and both send candidates.
            let (mut offers, mut answers, mut candidates) = (0, 0, 0);
            while offers + answers < MEMBERS - 1 || candidates < (MEMBERS - 1) * CANDIDATES {
                let (event, data) = client.next().await;
                match event.as_str() {
                    "_offer" => {
                        offers += 1;
                        let peer = &data["socketId"];
                        client.send("__answer", json!({"socketId": peer, "sdp": "a".repeat(4000)})).await;
                        for _ in 0..CANDIDATES {
                            let data = json!({"socketId": peer, "candidate": "c", "label": 0});
                            client.send("__ice_candidate", data).await;
                        }
                    }
                    "_answer" => answers += 1,
                    "_ice_candidate" => candidates += 1,
                    "_new_peer" => {}
                    _ => panic!("{event} {data}"),
                }
            }
            client
        }));
    }
    let mut clients = Vec::new();
    for task in tasks {
        clients.push(patient(task).await.unwrap());
    }
    assert_eq!(server.metric("members"), MEMBERS as i64);
}

#[tokio::test]
async fn r6_3_who_does_not_read_is_closed_with_1013_and_slows_nobody() {
    let timing = Timing { farewell_timeout: Duration::from_secs(25), ..Timing::default() };
    let server = Server::with(Options { timing, ..Options::default() }).await;
    let mut slow = server.connect_narrow().await;
    let slow_id = slow.join("r").await["you"].clone();
    let (mut witness, _) = member(&server, "r").await;
    let (mut sender, _) = member(&server, "r").await;
    witness.expect("_new_peer").await;
    // The queue holds 2 MiB; a sender may send more than twice as much at once.
    for _ in 0..150 {
        sender.send("__message", json!({"data": "x".repeat(32_000)})).await;
        let (event, data) = witness.next().await;
        if event == "_remove_peer" {
            assert_eq!(data, json!({"socketId": slow_id, "reason": "disconnected"}));
            assert_eq!(slow.close_code().await, Some(1013));
            drop(slow);
            server.metric_becomes("connections_closed_total{reason=\"slow_reader\"}", 1).await;
            return;
        }
        assert_eq!(event, "_message");
    }
    panic!("the slow client is still there");
}

/// Four full rooms in which nobody reads and one talks.
#[tokio::test]
async fn r6_3_rooms_that_do_not_read_close_no_other_rooms_newcomer() {
    let server = Server::start().await;
    let metadata = "m".repeat(16_000);
    let mut honest = Vec::new();
    for _ in 0..20 {
        let mut client = server.connect().await;
        client.send("__join", json!({"room": "honest", "metadata": metadata})).await;
        client.expect("_peers").await;
        honest.push(client);
    }
    let mut deaf = Vec::new();
    for room in ["a", "b", "c", "d"] {
        for _ in 0..31 {
            let mut client = server.connect_narrow().await;
            client.join(room).await;
            deaf.push(client);
        }
        let (mut sender, _) = member(&server, room).await;
        // Each queue holds nearly as much as it may.
        for _ in 0..65 {
            sender.send("__message", json!({"data": "x".repeat(32_000)})).await;
        }
        sender.expect_nothing().await;
        deaf.push(sender);
        // `_peers` is 320 KB.
        let mut newcomer = server.connect().await;
        let peers = newcomer.join("honest").await;
        assert_eq!(peers["peers"].as_array().unwrap().len(), 20);
        newcomer.expect_nothing().await;
        newcomer.send("__leave", json!({})).await;
        newcomer.expect_nothing().await;
    }
}

#[tokio::test]
async fn r6_3_a_write_that_stalls_is_a_client_that_does_not_read() {
    let timing = Timing {
        write_timeout: Duration::from_millis(200),
        farewell_timeout: Duration::from_millis(100),
        ..Timing::default()
    };
    let server = Server::with(Options { timing, ..Options::default() }).await;
    let mut slow = server.connect_narrow().await;
    slow.join("r").await;
    let (mut sender, _) = member(&server, "r").await;
    // Less than the queue can hold.
    for _ in 0..60 {
        sender.send("__message", json!({"data": "x".repeat(32_000)})).await;
    }
    sender.expect("_remove_peer").await;
    server.metric_becomes("connections_closed_total{reason=\"slow_reader\"}", 1).await;
}

#[tokio::test]
async fn r6_4_silence_ends_a_connection_and_pongs_keep_it() {
    let timing =
        Timing { ping_interval: Duration::from_millis(100), idle_timeout: Duration::from_secs(4), ..Timing::default() };
    let server = Server::with(Options { timing, ..Options::default() }).await;
    let (mut live, _) = member(&server, "r").await;
    let (mut silent, silent_id) = member(&server, "r").await;
    live.expect("_new_peer").await;
    // The live client's library answers pings while it is polled; the silent one is not polled.
    assert_eq!(live.expect("_remove_peer").await["socketId"], silent_id);
    assert_eq!(silent.close_code().await, Some(1001));
    live.expect_nothing().await;
    server.metric_becomes("connections_closed_total{reason=\"idle\"}", 1).await;
}

#[tokio::test]
async fn r5_2_credentials_are_renewed_at_half_of_their_life() {
    let options = Options { credential_ttl: Some(Duration::from_secs(3)), ..Options::default() };
    let server = Server::with(options).await;
    let mut client = server.connect().await;
    let mut expires_at = client.join("r").await["expiresAt"].as_u64().unwrap();
    for _ in 0..2 {
        let renewed = client.expect("_ice_servers").await;
        let next = renewed["expiresAt"].as_u64().unwrap();
        assert!(next > expires_at);
        expires_at = next;
        assert_eq!(renewed["iceServers"][1]["urls"], json!(["turn:127.0.0.1:3478?transport=udp"]));
    }
}

#[tokio::test]
async fn r8_1_a_server_that_goes_says_so() {
    let server = Server::start().await;
    let (mut alice, _) = member(&server, "r").await;
    let (mut bob, _) = member(&server, "r").await;
    alice.expect("_new_peer").await;
    let mut outside = server.connect().await;
    server.begin_shutdown();
    for client in [&mut alice, &mut bob, &mut outside] {
        let after = client.expect("_closing").await["reconnectAfter"].as_u64().unwrap();
        assert!((1000..=5000).contains(&after), "{after}");
        assert_eq!(client.close_code().await, Some(1001), "and no _remove_peer before it");
    }
    server.all_gauges_become_zero().await;
    let address = server.address;
    server.shut_down().await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "it no longer listens");
}

#[tokio::test]
async fn shutdown_does_not_wait_for_those_who_do_not_answer() {
    let mut options = Options::default();
    options.http.timeouts.shutdown = Duration::from_millis(300);
    options.timing.farewell_timeout = Duration::from_secs(60);
    let server = Server::with(options).await;
    let _deaf = member(&server, "r").await;
    let metrics = server.metrics.clone();
    server.shut_down().await;
    assert_eq!(metrics.signaling.connections.get(), 0);
}

#[tokio::test]
async fn broken_websocket_closes_with_1002_and_1007() {
    let server = Server::start().await;
    // An unmasked text frame; text that is not UTF-8, masked with zeros.
    for (frame, code) in [(&b"\x81\x02{}"[..], 1002u16), (&b"\x81\x82\0\0\0\0\xc3\x28"[..], 1007)] {
        let mut tcp = raw_upgrade(&server).await;
        tcp.write_all(frame).await.unwrap();
        let mut answer = Vec::new();
        patient(tcp.read_to_end(&mut answer)).await.unwrap();
        assert_eq!(answer[0], 0x88, "{answer:?}");
        assert_eq!(answer[2..4], code.to_be_bytes());
    }
    let (mut client, _) = member(&server, "r").await;
    client.expect_nothing().await;
}

#[tokio::test]
async fn what_comes_right_behind_the_handshake_is_not_lost() {
    let server = Server::start().await;
    let text = br#"{"eventName":"__ping"}"#;
    let mut frame = vec![0x81, 0x80 | text.len() as u8, 0, 0, 0, 0];
    frame.extend_from_slice(text);
    let mut tcp = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let mut all = UPGRADE.as_bytes().to_vec();
    all.extend_from_slice(&frame);
    tcp.write_all(&all).await.unwrap();
    let mut answer = Vec::new();
    while !String::from_utf8_lossy(&answer).contains("_pong") {
        assert_ne!(patient(tcp.read_buf(&mut answer)).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn many_that_come_and_go_leave_nothing() {
    let server = Server::start().await;
    for round in 0..20 {
        let mut clients: Vec<Client> = Vec::new();
        for i in 0..20 {
            let mut client = server.connect().await;
            client.join(&format!("room {}", i % 5)).await;
            clients.push(client);
        }
        if round % 2 == 0 {
            for client in &mut clients {
                patient(client.ws.close(None)).await.unwrap();
            }
        }
    }
    server.all_gauges_become_zero().await;
    assert_eq!(server.metric("connections_opened_total"), 400);
    server.shut_down().await;
}

const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// An upgraded connection whose frames the test writes itself.
async fn raw_upgrade(server: &Server) -> tokio::net::TcpStream {
    let mut tcp = tokio::net::TcpStream::connect(server.address).await.unwrap();
    tcp.write_all(UPGRADE.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(patient(tcp.read_u8()).await.unwrap());
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
    tcp
}

/// The clock is virtual: it moves only when both sides wait.
#[tokio::test(start_paused = true)]
async fn r6_1_fragments_without_end_are_read_slowly() {
    let issuer =
        Issuer { secret: Secret::new(*b"test"), ttl: Duration::from_secs(21_600), transports: Transports::default() };
    let metrics = Arc::new(Metrics::new());
    let key = ResumeKey::new(&[7; 32]);
    let signaling =
        Signaling::new(Limits::default(), Timing::default(), issuer, key, Arc::default(), metrics, Shutdown::never());
    let (ours, theirs) = tokio::io::duplex(4096);
    let arrival =
        Arrival { address: None, reached: Host::from(IpAddr::from(Ipv4Addr::LOCALHOST)).into(), url_room: None };
    let serve = signaling.serve(ours, Bytes::new(), arrival, |_| (), std::future::pending());
    let (_answers, mut frames) = tokio::io::split(theirs);
    let flood = async {
        // A text begins, and continues with empty frames.
        frames.write_all(&[0x01, 0x80, 0, 0, 0, 0]).await.unwrap();
        let before = tokio::time::Instant::now();
        for _ in 0..1000 {
            frames.write_all(&[0x00, 0x80, 0, 0, 0, 0].repeat(150)).await.unwrap();
        }
        before.elapsed()
    };
    tokio::select! {
        took = flood => assert!(took > Duration::from_secs(5), "900 kB of nothing in {took:?}"),
        () = serve => panic!("it was closed"),
    }
}
