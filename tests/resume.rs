//! Members that come back, over real sockets: section 10 of docs/PROTOCOL.md.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use bimcc_rtc::{
    credentials::Secret,
    signaling::{Limits, Timing},
};
use common::{
    Client, Options, Server, patient,
    process::{Process, Start},
    turn_client::{Credentials, TurnClient},
};
use serde_json::{Value, json};

/// A member that will come back, and its `_peers`.
async fn asking(mut client: Client, room: &str) -> (Client, Value) {
    client.send("__join", json!({"room": room, "resume": ""})).await;
    let peers = client.expect("_peers").await;
    (client, peers)
}

async fn resume(client: &mut Client, room: &str, token: &Value) {
    client.send("__join", json!({"room": room, "resume": token})).await;
}

fn with_grace(grace: Duration) -> Options {
    Options { timing: Timing { resume_grace: grace, ..Timing::default() }, ..Options::default() }
}

/// Longer than any test.
const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(50);

#[tokio::test]
async fn r10_3_within_grace_the_others_hear_nothing() {
    let server = Server::with(with_grace(LONG)).await;
    let mut witness = server.connect().await;
    witness.join("r").await;
    let (bob, peers) = asking(server.connect().await, "r").await;
    witness.expect("_new_peer").await;
    // The connection breaks without a Close frame.
    drop(bob);
    server.metric_becomes("members_away", 1).await;

    let mut back = server.connect().await;
    resume(&mut back, "r", &peers["resume"]).await;
    let again = back.expect("_peers").await;
    assert_eq!((&again["resumed"], &again["you"]), (&json!(true), &peers["you"]));
    assert_eq!(again["connections"], peers["connections"]);
    witness.expect_nothing().await;
    witness.send("__message", json!({"socketId": peers["you"], "data": 1})).await;
    back.expect("_message").await;
    back.send("__offer", json!({"socketId": again["connections"][0], "sdp": "s"})).await;
    assert_eq!(witness.expect("_offer").await["socketId"], peers["you"]);

    // The same happens after a Close frame, and with a renewed token.
    back.send("__ice_servers", json!({})).await;
    let renewed = back.expect("_ice_servers").await["resume"].clone();
    patient(back.ws.close(None)).await.unwrap();
    server.metric_becomes("members_away", 1).await;
    let mut back = server.connect().await;
    resume(&mut back, "r", &renewed).await;
    assert_eq!(back.expect("_peers").await["resumed"], true);
    witness.expect_nothing().await;
    assert_eq!(server.metric("resumes_total{how=\"within_grace\"}"), 2);
}

#[tokio::test]
async fn r10_5_when_grace_has_run_out_the_others_are_told() {
    let server = Server::with(with_grace(SHORT)).await;
    let mut witness = server.connect().await;
    witness.join("r").await;
    let (bob, peers) = asking(server.connect().await, "r").await;
    witness.expect("_new_peer").await;
    drop(bob);
    let farewell = json!({"socketId": peers["you"], "reason": "disconnected"});
    assert_eq!(witness.expect("_remove_peer").await, farewell);

    let mut back = server.connect().await;
    resume(&mut back, "r", &peers["resume"]).await;
    let again = back.expect("_peers").await;
    assert_eq!((&again["resumed"], &again["you"]), (&json!(false), &peers["you"]));
    assert_eq!(witness.expect("_new_peer").await["socketId"], peers["you"]);
    drop((back, witness));
    server.all_gauges_become_zero().await;
    assert_eq!(server.metric("members_away"), 0);
}

#[tokio::test]
async fn r10_3_each_grace_has_its_own_end() {
    let server = Server::with(with_grace(SHORT)).await;
    let mut witness = server.connect().await;
    witness.join("r").await;
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let (client, peers) = asking(server.connect().await, "r").await;
        drop(client);
        waiting.push(peers["you"].clone());
    }
    // On a slow machine, the first members are removed before the last ones have come.
    let (mut added, mut removed) = (Vec::new(), Vec::new());
    while removed.len() < waiting.len() {
        let (event, data) = witness.next().await;
        match event.as_str() {
            "_new_peer" => added.push(data["socketId"].clone()),
            "_remove_peer" => {
                assert!(added.contains(&data["socketId"]), "{data}");
                removed.push(data["socketId"].clone());
            }
            _ => panic!("{event}: {data}"),
        }
    }
    assert!(waiting.iter().all(|id| removed.contains(id)));
    server.metric_becomes("members", 1).await;
}

#[tokio::test]
async fn r10_6_the_older_socket_is_closed_with_4001() {
    let server = Server::with(with_grace(LONG)).await;
    let mut witness = server.connect().await;
    witness.join("r").await;
    let (mut old, peers) = asking(server.connect().await, "r").await;
    witness.expect("_new_peer").await;
    let mut new = server.connect().await;
    resume(&mut new, "r", &peers["resume"]).await;
    assert_eq!(new.expect("_peers").await["resumed"], true);
    old.expect_error("replaced").await;
    assert_eq!(old.close_code().await, Some(4001));
    server.metric_becomes("connections_closed_total{reason=\"replaced\"}", 1).await;
    server.metric_becomes("connections", 2).await;
    witness.expect_nothing().await;
    new.send("__message", json!({"data": 1})).await;
    assert_eq!(witness.expect("_message").await["socketId"], peers["you"]);
}

#[tokio::test]
async fn r10_6_a_connection_that_hangs_is_taken_over_too() {
    let server = Server::with(with_grace(LONG)).await;
    let mut narrow = server.connect_narrow().await;
    narrow.send("__join", json!({"room": "r", "resume": ""})).await;
    let peers = narrow.expect("_peers").await;
    let mut sender = server.connect().await;
    sender.join("r").await;
    // Less than the queue can hold, more than the kernel can.
    for _ in 0..60 {
        sender.send("__message", json!({"data": "x".repeat(32_000)})).await;
    }
    sender.expect_nothing().await;
    let mut new = server.connect().await;
    resume(&mut new, "r", &peers["resume"]).await;
    assert_eq!(new.expect("_peers").await["resumed"], true);
    server.metric_becomes("connections_closed_total{reason=\"replaced\"}", 1).await;
    sender.send("__message", json!({"socketId": peers["you"], "data": 1})).await;
    new.expect("_message").await;
    sender.expect_nothing().await;
}

#[tokio::test]
async fn r10_7_after_leaving_the_token_is_dead() {
    let server = Server::with(with_grace(LONG)).await;
    let (mut client, peers) = asking(server.connect().await, "r").await;
    client.send("__leave", json!({})).await;
    client.expect_nothing().await;
    drop(client);
    let mut back = server.connect().await;
    resume(&mut back, "r", &peers["resume"]).await;
    assert_eq!(back.expect_error("bad_token").await["eventName"], "__join");
    back.send("__message", json!({"data": 1})).await;
    back.expect_error("not_joined").await;
    // Without the token it may join as a new member.
    assert_ne!(back.join("r").await["you"], peers["you"]);
}

#[tokio::test]
async fn r10_8_tokens_of_other_rooms_and_times_are_bad() {
    let options = Options { credential_ttl: Some(Duration::from_secs(1)), ..with_grace(LONG) };
    let server = Server::with(options).await;
    let (_client, peers) = asking(server.connect().await, "r").await;
    let mut back = server.connect().await;
    for (room, token) in [("s", &peers["resume"]), ("r", &json!("forged"))] {
        resume(&mut back, room, token).await;
        back.expect_error("bad_token").await;
    }
    loop {
        let mut late = server.connect().await;
        resume(&mut late, "r", &peers["resume"]).await;
        // The token is valid until it expires.
        let (event, data) = late.next().await;
        if event == "_error" {
            assert_eq!(data["code"], "bad_token");
            break;
        }
        assert_eq!(event, "_peers");
    }
}

#[tokio::test]
async fn r10_3_a_room_of_absent_members_counts() {
    let limits = Limits { max_peers_per_room: 1, max_rooms: 1, ..Limits::default() };
    let server = Server::with(Options { limits, ..with_grace(LONG) }).await;
    let (bob, peers) = asking(server.connect().await, "r").await;
    drop(bob);
    server.metric_becomes("members_away", 1).await;
    let mut other = server.connect().await;
    other.send("__join", json!({"room": "s"})).await;
    other.expect_error("too_many_rooms").await;
    other.send("__join", json!({"room": "r"})).await;
    other.expect_error("room_full").await;
    resume(&mut other, "r", &peers["resume"]).await;
    assert_eq!(other.expect("_peers").await["resumed"], true);
}

#[tokio::test]
async fn r10_9_shutdown_waits_for_nobody_who_is_away() {
    let server = Server::with(with_grace(LONG)).await;
    let (bob, _) = asking(server.connect().await, "r").await;
    drop(bob);
    server.metric_becomes("members_away", 1).await;
    let (mut carol, _) = asking(server.connect().await, "r").await;
    server.begin_shutdown();
    carol.expect("_closing").await;
    assert_eq!(carol.close_code().await, Some(1001));
    server.all_gauges_become_zero().await;
    server.metric_becomes("members_away", 0).await;
    server.shut_down().await;
}

fn credentials(peers: &Value) -> Credentials {
    let turn = &peers["iceServers"][1];
    let text = |name: &str| turn[name].as_str().unwrap().to_owned();
    Credentials { username: text("username"), password: text("credential") }
}

#[tokio::test]
async fn r10_3_allocations_survive_the_grace() {
    let server = Process::start("--dangerously-allow-loopback-peers");
    let (bob, peers) = asking(server.connect().await, "r").await;
    let (mut alice, alice_peers) = asking(server.connect().await, "r").await;
    let mut bobs = TurnClient::allocated(server.turn(), &credentials(&peers));
    let mut alices = TurnClient::allocated(server.turn(), &credentials(&alice_peers));
    bobs.permit(&[alices.relayed()]).unwrap();
    alices.permit(&[bobs.relayed()]).unwrap();
    drop(bob);
    server.metric_becomes("members_away", 1);

    alices.send(bobs.relayed(), b"while away");
    bobs.expect_data(alices.relayed(), b"while away");
    assert!(bobs.refresh(600).is_ok());
    bobs.permit(&[alices.relayed()]).unwrap();
    let mut another = TurnClient::new(server.turn(), Some(&credentials(&peers)));
    another.allocate().unwrap();

    let mut back = server.connect().await;
    resume(&mut back, "r", &peers["resume"]).await;
    let again = back.expect("_peers").await;
    assert_eq!(again["resumed"], true);
    bobs.send(alices.relayed(), b"back");
    alices.expect_data(bobs.relayed(), b"back");
    assert_eq!(server.metric("turn_allocations"), 3);

    // The credentials end with the membership.
    back.send("__leave", json!({})).await;
    assert_eq!(alice.expect("_remove_peer").await["reason"], "left");
    server.metric_becomes("turn_allocations", 1);
    server.stop();
}

#[tokio::test]
async fn r10_5_after_a_restart_members_have_their_ids_again() {
    let server = Process::start("");
    let (_bob, peers) = asking(server.connect().await, "r").await;
    let (alice, alice_peers) = asking(server.connect().await, "r").await;
    // It makes no difference whether a member is present or away when the server stops.
    drop(alice);
    server.metric_becomes("members_away", 1);
    let state_dir = server.state_dir();
    server.stop();

    let server = Start::with("").state_dir(state_dir).serve();
    let mut first = server.connect().await;
    resume(&mut first, "r", &alice_peers["resume"]).await;
    let again = first.expect("_peers").await;
    assert_eq!((&again["you"], &again["resumed"]), (&alice_peers["you"], &json!(false)));
    assert_ne!(again["server"], alice_peers["server"]);
    let mut second = server.connect().await;
    resume(&mut second, "r", &peers["resume"]).await;
    let again = second.expect("_peers").await;
    assert_eq!((&again["you"], &again["connections"]), (&peers["you"], &json!([alice_peers["you"]])));
    assert_eq!(first.expect("_new_peer").await["socketId"], peers["you"]);
    TurnClient::allocated(server.turn(), &credentials(&again));
    drop((first, second));
    server.stop();

    // A server with another state directory does not accept the tokens.
    let stranger = Process::start("");
    let mut client = stranger.connect().await;
    resume(&mut client, "r", &peers["resume"]).await;
    client.expect_error("bad_token").await;
    drop(client);
    stranger.stop();
}

/// This also works if the secret is replaced at the restart. Only the back end that shares the secret must change.
#[tokio::test]
async fn r10_5_credentials_of_members_outlive_a_restart() {
    let server = Process::start("--secret first-secret");
    let (_client, peers) = asking(server.connect().await, "r").await;
    let issued = credentials(&peers);
    let state_dir = server.state_dir();
    server.stop();

    let server = Start::with("--secret second-secret --secret first-secret").state_dir(state_dir).serve();
    let mut back = server.connect().await;
    resume(&mut back, "r", &peers["resume"]).await;
    let fresh = credentials(&back.expect("_peers").await);
    for credentials in [&issued, &fresh] {
        TurnClient::allocated(server.turn(), credentials);
    }
    let id = peers["you"].as_str().unwrap();
    for username in [issued.username.clone(), fresh.username, format!("{id}:4000000000"), format!("4000000000:{id}")] {
        for secret in ["first-secret", "second-secret"] {
            let password = bimcc_rtc::credentials::password(&Secret::new(secret.as_bytes()), &username);
            let forged = Credentials { username: username.clone(), password };
            assert_eq!(TurnClient::new(server.turn(), Some(&forged)).allocate(), Err(401), "{username}");
        }
    }
    assert_eq!(server.metric("turn_credential_refusals_total{reason=\"wrong_password\"}"), 8);
    drop(back);
    server.stop();
}

/// A server whose clock can be set, with short waits for that.
async fn with_clock() -> (Server, impl Fn(i64)) {
    let timing = Timing {
        resume_grace: LONG,
        clock_period: Duration::from_millis(20),
        clock_spread: Duration::from_millis(200),
        ..Timing::default()
    };
    let options = Options { timing, ..Options::default() };
    let ahead = options.ahead.clone();
    (Server::with(options).await, move |seconds| ahead.store(seconds, std::sync::atomic::Ordering::Relaxed))
}

const DAYS: i64 = 20_000 * 86_400;

#[tokio::test]
async fn r5_2_when_the_clock_is_set_all_members_get_what_is_good_by_it() {
    for step in [DAYS, -DAYS, 3 * 3600, -3 * 3600, 60] {
        let (server, set_ahead) = with_clock().await;
        let mut members = Vec::new();
        for room in ["a", "a", "b"] {
            members.push(asking(server.connect().await, room).await);
        }
        members[0].0.expect("_new_peer").await;
        let mut outside = server.connect().await;
        set_ahead(step);
        for (client, peers) in &mut members {
            let fresh = client.expect("_ice_servers").await;
            let moved = fresh["expiresAt"].as_i64().unwrap() - peers["expiresAt"].as_i64().unwrap();
            assert!((step..step + 60).contains(&moved), "{step}: {moved}");
            assert_ne!(fresh["resume"], peers["resume"]);
            client.expect_nothing().await;
            peers["resume"] = fresh["resume"].clone();
        }
        outside.expect_nothing().await;
        let (client, peers) = members.pop().unwrap();
        drop(client);
        server.metric_becomes("members_away", 1).await;
        let mut back = server.connect().await;
        resume(&mut back, "b", &peers["resume"]).await;
        assert_eq!(back.expect("_peers").await["resumed"], true, "{step}");
    }
}

#[tokio::test]
async fn r10_3_a_member_that_is_away_while_the_clock_is_set_comes_back() {
    for step in [DAYS, -DAYS, 7 * 3600, -7 * 3600] {
        let (server, set_ahead) = with_clock().await;
        let (mut witness, _) = asking(server.connect().await, "r").await;
        let (bob, peers) = asking(server.connect().await, "r").await;
        witness.expect("_new_peer").await;
        drop(bob);
        server.metric_becomes("members_away", 1).await;
        set_ahead(step);
        witness.expect("_ice_servers").await;
        let mut back = server.connect().await;
        resume(&mut back, "r", &peers["resume"]).await;
        let again = back.expect("_peers").await;
        assert_eq!((&again["resumed"], &again["you"]), (&json!(true), &peers["you"]), "{step}");
        witness.expect_nothing().await;
    }
}

#[tokio::test]
async fn r10_7_a_dead_token_stays_dead_when_the_clock_is_set_there_and_back() {
    for steps in [[DAYS, 0], [-DAYS, 0], [7 * 3600, 0], [-7 * 3600, 7 * 3600]] {
        let (server, set_ahead) = with_clock().await;
        let (mut witness, _) = asking(server.connect().await, "r").await;
        let (mut bob, peers) = asking(server.connect().await, "r").await;
        witness.expect("_new_peer").await;
        bob.send("__leave", json!({})).await;
        witness.expect("_remove_peer").await;
        for step in steps {
            set_ahead(step);
            witness.expect("_ice_servers").await;
            // When others leave, the server forgets expired revocations.
            bob.join("elsewhere").await;
            bob.send("__leave", json!({})).await;
            let mut again = server.connect().await;
            resume(&mut again, "r", &peers["resume"]).await;
            again.expect_error("bad_token").await;
        }
    }
}
