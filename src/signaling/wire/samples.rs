//! The sample messages, which the tests of the browser client read too: `tests/data/signaling`.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Value, json};

use super::*;
use crate::{
    ice_servers::{IceServer, IceServers},
    values::member::MemberId,
};

const SENDER: MemberId = MemberId::from_bits(3);
const PEER: MemberId = MemberId::from_bits(5);
const OTHER: MemberId = MemberId::from_bits(255);

#[derive(Deserialize)]
struct Sample {
    about: String,
    message: Value,
    arrives: Option<Value>,
    refused: Option<String>,
}

fn samples(text: &str) -> Vec<Sample> {
    serde_json::from_str(text).unwrap()
}

fn value(frame: &str) -> Value {
    serde_json::from_str(frame).unwrap()
}

#[test]
fn what_clients_say_is_understood_and_forwarded_as_the_samples_have_it() {
    let mut events = BTreeSet::new();
    for sample in samples(include_str!("../../../tests/data/signaling/client.json")) {
        let text = sample.message.to_string();
        let message = match (parse(&text), sample.refused) {
            (Ok(message), None) => message,
            (Err(refusal), Some(code)) => {
                assert_eq!(refusal.code.as_str(), code, "{}", sample.about);
                continue;
            }
            (Ok(_), Some(_)) => panic!("{}: it was understood", sample.about),
            (Err(refusal), None) => panic!("{}: {}", sample.about, refusal.message),
        };
        assert_eq!(message.event(), sample.message["eventName"], "{}", sample.about);
        events.insert(message.event());
        let data = &sample.message["data"];
        let target = |target: Option<&str>| assert_eq!(json!(target), data["socketId"], "{}", sample.about);
        let frame = match &message {
            ClientMessage::Join { room, profile, resume } => {
                assert_eq!((&json!(room), &json!(resume)), (&data["room"], &data["resume"]), "{}", sample.about);
                let profile = (&json!(profile.name), &json!(profile.metadata));
                assert_eq!(profile, (&data["name"], &data["metadata"]), "{}", sample.about);
                None
            }
            ClientMessage::Directed { event, target: to, fields } => {
                target(Some(to));
                Some(directed(*event, SENDER, fields))
            }
            ClientMessage::Message { target: to, fields } => {
                target(to.as_deref());
                Some(super::message(SENDER, fields))
            }
            ClientMessage::Update { fields, .. } => Some(peer_updated(SENDER, fields)),
            ClientMessage::Ping { data } => Some(pong(data)),
            ClientMessage::IceServers | ClientMessage::Leave => None,
        };
        assert_eq!(frame.as_deref().map(value), sample.arrives, "{}", sample.about);
    }
    assert_eq!(events, CLIENT_EVENTS.into(), "every event has a sample");
}

#[test]
fn what_the_server_says_is_what_the_samples_have() {
    let metadata = |json: Value| Some(serde_json::value::to_raw_value(&json).unwrap());
    let urls = |urls: &[&str]| urls.iter().map(|url| (*url).to_owned()).collect();
    let stun = IceServer { urls: urls(&["stun:rtc.example:3478"]), username: None, credential: None };
    let turn = IceServer {
        urls: urls(&["turn:rtc.example:3478?transport=udp", "turns:[2001:db8::1]:443?transport=tcp"]),
        username: Some(format!("1700000000:{SENDER}")),
        credential: Some("c2VjcmV0".to_owned()),
    };
    let ice = IceServers { servers: vec![stun, turn], expires_at: 1_700_000_000 };
    let nobody = Profile::default();
    let named = Profile { name: Some("Zoë \"Z\"\n".into()), metadata: metadata(json!({"color": "#0af"})) };
    let alone = Peers {
        you: SENDER,
        room: "lobby",
        server: "0123456789abcdef",
        ice: &ice,
        resume: "opaque.token",
        resumed: false,
    };
    let back = Peers { room: "Küche 🍲", resumed: true, ..alone };
    let with_metadata = Profile { name: Some("世界".into()), metadata: metadata(json!([1, "two", null])) };
    let renamed = Profile { name: Some("Bob".into()), metadata: None };
    let said = [
        alone.frame([].into_iter()),
        back.frame([(PEER, &named), (OTHER, &nobody)].into_iter()),
        new_peer(PEER, &nobody),
        new_peer(PEER, &with_metadata),
        remove_peer(PEER, "left"),
        remove_peer(PEER, "kicked"),
        peer_renewed(PEER, &renamed),
        ice_servers(&ice, "newer.token"),
        pong("{\"t\": 1.5}"),
        error(&Refusal::new(Code::RateLimited, "too much at once")),
        error(
            &Refusal::new(Code::NoSuchPeer, "the target is not in this room")
                .of_event("__offer")
                .of_target("x\0\u{201d}"),
        ),
        closing(1234),
    ];
    let samples = samples(include_str!("../../../tests/data/signaling/server.json"));
    assert_eq!(said.len(), samples.len());
    for (said, sample) in said.iter().zip(samples) {
        assert_eq!(value(said), sample.message, "{}", sample.about);
    }
}
