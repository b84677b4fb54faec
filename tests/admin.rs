//! What operators ask on `--admin-listen`, and who is no operator.
#![allow(clippy::unwrap_used)]

mod common;

use common::{process::Process, turn_client::TurnClient};
use serde_json::{Value, json};

/// An answer's status and body.
fn ask(server: &Process, request: &str, headers: &str) -> (u16, String) {
    let answer = server
        .ask(server.admin, &format!("{request} HTTP/1.1\r\nHost: localhost\r\n{headers}Connection: close\r\n\r\n"));
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn ask_json(server: &Process, request: &str) -> Value {
    let (status, body) = ask(server, request, "");
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

#[tokio::test]
async fn rooms_and_their_members_are_listed() {
    let server = Process::start("--workers 1");
    assert_eq!(ask_json(&server, "GET /api/rooms"), json!([]));
    let (mut alice, mut bob) = (server.connect().await, server.connect().await);
    alice.send("__join", json!({"room": "a/b ü", "name": "Alice", "metadata": {"n": 1.0}})).await;
    let alice_id = alice.expect("_peers").await["you"].clone();
    let bob_id = bob.join("other").await["you"].clone();

    let rooms = ask_json(&server, "GET /api/rooms");
    assert_eq!(rooms, json!([{"room": "a/b ü", "members": 1, "away": 0}, {"room": "other", "members": 1, "away": 0}]));
    let room = ask_json(&server, "GET /api/rooms/a%2Fb%20%C3%BC");
    let peer = json!({"socketId": alice_id, "name": "Alice", "metadata": {"n": 1.0}, "away": false});
    assert_eq!(room, json!({"room": "a/b ü", "peers": [peer]}));
    let other = ask_json(&server, "GET /api/rooms/other");
    assert_eq!(other["peers"], json!([{"socketId": bob_id, "away": false}]));
    for path in ["/api/rooms/none", "/api/rooms/a", "/api/rooms/", "/api/rooms/%00"] {
        assert_eq!(ask(&server, &format!("GET {path}"), "").0, 404, "{path}");
    }
}

#[tokio::test]
async fn r10_7_a_kicked_member_loses_connection_relay_and_return() {
    let server = Process::start("--workers 1");
    let (mut witness, _) = server.member("r").await;
    let mut bob = server.connect().await;
    bob.send("__join", json!({"room": "r", "resume": ""})).await;
    let peers = bob.expect("_peers").await;
    witness.expect("_new_peer").await;
    let credentials = common::process::find_credentials(&peers["iceServers"]).unwrap();
    let mut relay = TurnClient::allocated(server.turn(), &credentials);
    let id = peers["you"].as_str().unwrap();

    for path in ["/api/rooms/other/peers/", "/api/rooms/r/peers/x"] {
        assert_eq!(ask(&server, &format!("DELETE {path}{id}"), "").0, 404, "{path}");
    }
    assert_eq!(server.metric("turn_allocations"), 1);
    assert_eq!(ask(&server, &format!("DELETE /api/rooms/r/peers/{id}"), ""), (204, String::new()));

    assert_eq!(witness.expect("_remove_peer").await, json!({"socketId": id, "reason": "kicked"}));
    assert_eq!(bob.close_code().await, Some(4002));
    server.metric_becomes("turn_allocations", 0);
    assert_eq!(relay.refresh(600), Err(437));
    let mut back = server.connect().await;
    back.send("__join", json!({"room": "r", "resume": peers["resume"]})).await;
    assert_eq!(back.expect("_error").await["code"], "bad_token");
    assert_eq!(ask(&server, &format!("DELETE /api/rooms/r/peers/{id}"), "").0, 404, "it is gone");
}

#[tokio::test]
async fn a_room_is_emptied_as_a_whole() {
    let server = Process::start("--workers 1");
    let (mut a, mut b) = (server.connect().await, server.connect().await);
    a.join("r").await;
    b.join("r").await;
    let (mut other, _) = server.member("other").await;
    assert_eq!(ask(&server, "DELETE /api/rooms/r", "").0, 204);
    for client in [&mut a, &mut b] {
        assert_eq!(client.close_code().await, Some(4002));
    }
    other.expect_nothing().await;
    assert_eq!(ask_json(&server, "GET /api/rooms").as_array().unwrap().len(), 1);
    assert_eq!(ask(&server, "DELETE /api/rooms/r", "").0, 404);
}

#[tokio::test]
async fn pages_of_other_origins_change_and_read_nothing() {
    let server = Process::start("--workers 1");
    let mut client = server.connect().await;
    let id = client.join("r").await["you"].as_str().unwrap().to_owned();
    let path = format!("/api/rooms/r/peers/{id}");
    for headers in ["Origin: https://evil.example\r\n", "Origin: null\r\n", "Sec-Fetch-Site: cross-site\r\n"] {
        assert_eq!(ask(&server, &format!("DELETE {path}"), headers).0, 403, "{headers}");
    }
    assert_eq!(ask(&server, "GET /api/rooms", "Origin: https://evil.example\r\n").0, 403);
    let preflight = "Origin: https://evil.example\r\nAccess-Control-Request-Method: DELETE\r\n";
    assert_eq!(ask(&server, &format!("OPTIONS {path}"), preflight).0, 403);
    let rebound = format!("DELETE {path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
    assert!(server.ask(server.admin, &rebound).starts_with("HTTP/1.1 403"));
    // And over the port for everybody there is no such thing.
    let public = format!("DELETE {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert!(server.ask(server.http, &public).starts_with("HTTP/1.1 405"));
    client.expect_nothing().await;
}
