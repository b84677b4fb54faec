//! Reading messages, and writing what was read.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

use crate::values::member::MemberId;

const SENDER: MemberId = MemberId::from_bits(3);

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC*".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("\\PC*", inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Keys with a meaning for the server, and others.
fn any_fields() -> impl Strategy<Value = Map<String, Value>> {
    let key = prop_oneof![
        prop::sample::select(&["socketId", "sdp", "candidate", "label", "sdpMLineIndex", "room", "name", "data"][..])
            .prop_map(String::from),
        "\\PC*",
    ];
    prop::collection::btree_map(key, any_json(), 0..6).prop_map(|map| map.into_iter().collect())
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC*") {
        let _ = parse(&text);
    }

    #[test]
    fn any_mutilated_message_is_read_or_refused(
        event in prop::sample::select(&CLIENT_EVENTS[..]),
        data in any_json(),
        cut in any::<prop::sample::Index>(),
        junk in any::<char>(),
    ) {
        let mut text: Vec<char> = json!({"eventName": event, "data": data}).to_string().chars().collect();
        let at = cut.index(text.len());
        text[at] = junk;
        let text = String::from_iter(text);
        let _ = parse(&text);
        let _ = parse(text.get(..at).unwrap_or(""));
    }

    #[test]
    fn what_is_read_is_forwarded_untouched(
        event in prop::sample::select(&CLIENT_EVENTS[..]),
        data in any_fields(),
    ) {
        let text = json!({"eventName": event, "data": data}).to_string();
        let (frame, may_differ): (_, &[&str]) = match parse(&text) {
            Ok(ClientMessage::Directed { event, fields, .. }) => {
                (directed(event, SENDER, &fields), &["label", "sdpMLineIndex"])
            }
            Ok(ClientMessage::Message { fields, .. }) => (message(SENDER, &fields), &[]),
            Ok(ClientMessage::Update { fields, .. }) => (peer_updated(SENDER, &fields), &[]),
            _ => return Ok(()),
        };
        let mut received: Value = serde_json::from_str(frame.as_str()).unwrap();
        let mut received = received["data"].as_object_mut().unwrap().clone();
        let mut sent = data;
        sent.insert("socketId".into(), SENDER.to_string().into());
        for key in may_differ {
            received.remove(*key);
            sent.remove(*key);
        }
        prop_assert_eq!(received, sent);
    }

    #[test]
    fn names_come_out_as_they_went_in(name in "\\PC{0,200}", metadata in any_json()) {
        let text = json!({"eventName": "__join", "data": {"name": name, "metadata": metadata}}).to_string();
        let Ok(ClientMessage::Join { profile, .. }) = parse(&text) else { panic!("{text}") };
        let frame: Value = serde_json::from_str(new_peer(SENDER, &profile).as_str()).unwrap();
        prop_assert_eq!(&frame["data"]["name"], &Value::from(name));
        prop_assert_eq!(&frame["data"]["metadata"], &metadata);
    }
}

#[test]
fn r2_5_what_is_long_is_told_apart_from_what_is_wrong() {
    let long = json!({"eventName": "__join", "data": {"name": "x".repeat(2000)}}).to_string();
    assert_eq!(parse(&long).unwrap_err().code, Code::TooLarge);
}
