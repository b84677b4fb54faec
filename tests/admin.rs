//! The operators' API on `--admin-listen`, and requests that are not from an operator.
#![allow(clippy::unwrap_used)]

mod common;

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
};

use common::{
    process::{PATIENCE, Process},
    turn_client::TurnClient,
};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

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

/// This is how `nc -N` behaves.
#[test]
fn rfc9112_9_6_an_operator_that_ends_its_side_gets_its_answer() {
    let server = Process::start("");
    for path in ["/metrics", "/api/rooms", "/nothing"] {
        for _ in 0..20 {
            let mut tcp = TcpStream::connect(server.admin).unwrap();
            tcp.set_read_timeout(Some(PATIENCE)).unwrap();
            write!(tcp, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
            tcp.shutdown(Shutdown::Write).unwrap();
            let mut answer = String::new();
            tcp.read_to_string(&mut answer).unwrap();
            let status = if path == "/nothing" { "HTTP/1.1 404" } else { "HTTP/1.1 200" };
            assert!(answer.starts_with(status), "{path}: {answer:?}");
        }
    }
    // A request that is incomplete when the server ends is ended as well.
    let mut half = TcpStream::connect(server.admin).unwrap();
    half.write_all(b"GET /metrics HTTP/1.1\r\n").unwrap();
    server.stop();
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

/// An answer about one room, read without a tree of values: data from members is kept as text.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct OneRoom<'a> {
    room: String,
    #[serde(borrow)]
    peers: Vec<Peer<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Peer<'a> {
    socket_id: String,
    name: Option<String>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
    #[expect(dead_code, reason = "must be there")]
    away: bool,
}

/// Lets `client` join as the only member, with `metadata` as JSON text, and checks that operators get all of it.
async fn is_told_to_operators(server: &Process, client: &mut common::Client, room: &str, name: &str, metadata: &str) {
    let (room_text, name_text) = (json!(room).to_string(), json!(name).to_string());
    let fields = format!(r#"{{"room":{room_text},"name":{name_text},"metadata":{metadata}}}"#);
    client.send_text(format!(r#"{{"eventName":"__join","data":{fields}}}"#)).await;
    let id = client.next_text().await;
    assert!(id.contains(r#""_peers""#), "{fields}: {id}");

    let path: String = room.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let (status, body) = ask(server, &format!("GET /api/rooms/{path}"), "");
    assert_eq!(status, 200, "{fields}");
    let answer: OneRoom<'_> = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"));
    let [peer] = answer.peers.as_slice() else { panic!("{body}") };
    let room = &*bimcc_rtc::signaling::room_name::canonical(room);
    assert_eq!((&*answer.room, peer.name.as_deref()), (room, Some(name)));
    assert!(id.contains(&peer.socket_id), "{body}");
    assert_eq!(peer.metadata.map(RawValue::get), Some(metadata).filter(|text| *text != "null"));
    let rooms: Vec<Value> = serde_json::from_str(&ask(server, "GET /api/rooms", "").1).unwrap();
    assert_eq!(rooms, [json!({"room": room, "members": 1, "away": 0})]);
}

#[tokio::test]
async fn r1_2_metadata_that_no_tree_of_values_can_hold_is_told_as_it_came() {
    let server = Process::start("--workers 1");
    let mut client = server.connect().await;
    let (deep, deeper) = ("[".repeat(200) + &"]".repeat(200), "[".repeat(8192) + &"]".repeat(8192));
    let deep_objects = r#"{"a":"#.repeat(2000) + "1" + &"}".repeat(2000);
    for metadata in [
        "1e999",
        "-1e999",
        "[1E+400, 1e-400]",
        &format!("{}.5", "9".repeat(400)),
        &deep,
        &deeper,
        &deep_objects,
        r#""\ud800""#,
        r#""\udc00\ud800""#,
        r#"{"\ud83d":"x\udbff"}"#,
        r#"{"a":1,"a":2,"":{"":null}}"#,
        r#"{"$serde_json::private::RawValue":"1,"}"#,
        r#"{"$serde_json::private::Number":"x"}"#,
        "\"\u{2028}\u{7f}\u{fffe}\"",
        "[ 1 ,\t2\n]",
        "-0",
    ] {
        is_told_to_operators(&server, &mut client, "r", "n", metadata).await;
        client.send_text(format!(r#"{{"eventName":"__update","data":{{"metadata":{metadata}}}}}"#)).await;
        client.expect_nothing().await;
        assert!(ask(&server, "GET /api/rooms/r", "").1.contains(metadata), "{metadata}");
    }
    client.send_text(r#"{"eventName":"__join","data":{"room":"r","name":"\ud800"}}"#).await;
    client.expect_error("bad_message").await;
}

/// JSON text of any kind that the grammar allows.
fn any_json_text() -> impl Strategy<Value = String> {
    let string = r#"([ !#-\[\]-~\u{80}-\u{10FFFF}]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4}){0,20}"#;
    let string = string.prop_map(|inner| format!("\"{inner}\"")).boxed();
    let number = "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,30})?([eE][+-]?[0-9]{1,6})?";
    let leaf = prop_oneof![
        string.clone(),
        number,
        prop::sample::select(&["true", "false", "[]", "{}"][..]).prop_map(String::from)
    ];
    let nested = (leaf.clone(), 0..2000_usize).prop_map(|(leaf, depth)| "[".repeat(depth) + &leaf + &"]".repeat(depth));
    prop_oneof![leaf, nested].prop_recursive(4, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(|items| format!("[{}]", items.join(" ,"))),
            prop::collection::vec((string.clone(), inner), 0..5).prop_map(|fields| {
                let fields: Vec<_> = fields.iter().map(|(key, value)| format!("{key} :{value}")).collect();
                format!("{{{}}}", fields.join(",\n"))
            }),
        ]
    })
}

#[tokio::test]
async fn whatever_members_send_operators_get_json() {
    let server = Process::start("--workers 1 --log error");
    let mut client = server.connect().await;
    let mut runner = TestRunner::deterministic();
    let made = ("[^\\p{Cc}]{1,30}", "\\PC{0,40}|[\\x00-\\x1f\"\\\\]{0,9}", any_json_text());
    for _ in 0..200 {
        let (room, name, metadata) = made.new_tree(&mut runner).unwrap().current();
        if room.len() <= 128 && metadata.len() <= 16_384 {
            is_told_to_operators(&server, &mut client, &room, &name, &metadata).await;
        }
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
async fn r2_2_rooms_are_found_by_any_spelling() {
    let server = Process::start("--workers 1");
    let mut client = server.connect().await;
    let id = client.join("cafe\u{301}").await["you"].as_str().unwrap().to_owned();
    assert_eq!(ask_json(&server, "GET /api/rooms")[0]["room"], "caf\u{e9}");
    for path in ["cafe%CC%81", "caf%C3%A9"] {
        let room = ask_json(&server, &format!("GET /api/rooms/{path}"));
        assert_eq!((&room["room"], &room["peers"][0]["socketId"]), (&json!("caf\u{e9}"), &json!(id)));
    }
    assert_eq!(ask(&server, &format!("DELETE /api/rooms/cafe%CC%81/peers/{id}"), "").0, 204);
    let mut other = server.connect().await;
    other.join("caf\u{e9}").await;
    assert_eq!(ask(&server, "DELETE /api/rooms/cafe%CC%81", "").0, 204);
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
    // The public port does not offer this.
    let public = format!("DELETE {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert!(server.ask(server.http, &public).starts_with("HTTP/1.1 405"));
    client.expect_nothing().await;
}
