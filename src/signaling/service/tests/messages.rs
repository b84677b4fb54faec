//! What members say to each other.

use super::*;

#[test]
fn r4_1_and_1_2_directed_events_go_through_untouched() {
    let world = World::new();
    let (mut alice, bob) = world.pair();
    let (alice_id, bob_id) = (alice.id(), bob.id());
    for (event, forwarded) in [("__offer", "_offer"), ("__answer", "_answer")] {
        let data = format!(
            r#"{{"z":1.50,"big":123456789012345678901234567890,"sdp":{{"type":"x", "sdp":"v=0\r\n"}},"socketId":"{bob_id}","\u0061":[ ]}}"#
        );
        world.say_text(&mut alice, &format!(r#"{{"eventName":"{event}","data":{data}}}"#));
        let expected = format!(
            r#"{{"eventName":"{forwarded}","data":{{"socketId":"{alice_id}","z":1.50,"big":123456789012345678901234567890,"sdp":{{"type":"x", "sdp":"v=0\r\n"}},"a":[ ]}}}}"#
        );
        assert_eq!(world.drain_text(), [("bob", expected)]);
    }
}

#[test]
fn r1_2_of_two_keys_the_last_one_counts() {
    let world = World::new();
    let (mut alice, bob) = world.pair();
    let (alice_id, bob_id) = (alice.id(), bob.id());
    let text = format!(
        r#"{{"eventName":"__offer","data":{{"socketId":"nobody","socketId":"{bob_id}","sdp":"s"}},"data":{{"socketId":"{bob_id}","sdp":"t"}}}}"#
    );
    world.say_text(&mut alice, &text);
    let expected = format!(r#"{{"eventName":"_offer","data":{{"socketId":"{alice_id}","sdp":"t"}}}}"#);
    assert_eq!(world.drain_text(), [("bob", expected)]);
}

#[test]
fn r4_2_ids_do_not_reach_across_rooms() {
    let world = World::new();
    let (mut alice, bob) = world.pair();
    let mut stranger = world.client("stranger");
    world.say(&mut stranger, "__join", json!({"room": "elsewhere"}));
    let mut gone = world.client("gone");
    world.say(&mut gone, "__join", json!({"room": "r"}));
    world.disconnect(&mut gone);
    world.drain();
    let targets = [stranger.id().to_string(), gone.id().to_string(), "7".into(), "".into(), "m-0".into()];
    for target in targets {
        for event in ["__offer", "__answer", "__ice_candidate", "__message"] {
            let data = json!({"socketId": target, "sdp": "s", "candidate": "c", "data": 1});
            assert_eq!(world.say(&mut alice, event, data), Outcome::Refused);
            let sent = world.drain();
            let [(to, name, error)] = &sent[..] else { panic!("{sent:?}") };
            assert_eq!((*to, name.as_str()), ("alice", "_error"));
            assert_eq!(error["code"], "no_such_peer");
            assert_eq!((error["eventName"].as_str(), &error["socketId"]), (Some(event), &json!(target)));
        }
    }
    drop(bob);
}

#[test]
fn r4_3_label_and_line_index_complete_each_other() {
    for (sent, received) in [
        (json!({"label": 1}), json!({"label": 1, "sdpMLineIndex": 1})),
        (json!({"label": 0, "sdpMLineIndex": null}), json!({"label": 0, "sdpMLineIndex": 0})),
        (json!({"sdpMLineIndex": 2, "sdpMid": "a"}), json!({"label": 2, "sdpMLineIndex": 2, "sdpMid": "a"})),
        (json!({"label": 1, "sdpMLineIndex": 2}), json!({"label": 1, "sdpMLineIndex": 2})),
        (json!({"sdpMid": "a"}), json!({"sdpMid": "a"})),
        (json!({"label": null}), json!({"label": null})),
    ] {
        let world = World::new();
        let (mut alice, bob) = world.pair();
        let mut data = sent.clone();
        data["candidate"] = json!("candidate:1");
        data["socketId"] = json!(bob.id().to_string());
        world.say(&mut alice, "__ice_candidate", data);
        let mut expected = received;
        expected["candidate"] = json!("candidate:1");
        expected["socketId"] = json!(alice.id().to_string());
        assert_eq!(world.drain(), [("bob", "_ice_candidate".into(), expected)], "{sent}");
    }
}

#[test]
fn r4_4_messages_reach_one_or_all_others() {
    let world = World::new();
    let (mut alice, bob) = world.pair();
    let mut carol = world.client("carol");
    world.say(&mut carol, "__join", json!({"room": "r"}));
    world.drain();
    let received = json!({"socketId": alice.id().to_string(), "data": null, "extra": [1]});
    world.say(&mut alice, "__message", json!({"data": null, "extra": [1]}));
    let all = [("bob", "_message".to_owned(), received.clone()), ("carol", "_message".to_owned(), received.clone())];
    assert_eq!(world.drain(), all);
    world.say(&mut alice, "__message", json!({"data": null, "extra": [1], "socketId": bob.id().to_string()}));
    assert_eq!(world.drain(), all[..1]);
    drop(carol);
}

#[test]
fn r4_4_a_broadcast_is_serialized_once() {
    let world = World::new();
    let (mut alice, _bob) = world.pair();
    let mut carol = world.client("carol");
    world.say(&mut carol, "__join", json!({"room": "r"}));
    world.drain();
    world.say(&mut alice, "__message", json!({"data": "x"}));
    let log = world.log.borrow();
    assert_eq!(log[0].1.as_str().as_ptr(), log[1].1.as_str().as_ptr());
}

#[test]
fn r4_5_updates_reach_members_and_newcomers() {
    let world = World::new();
    let (mut alice, _bob) = world.pair();
    world.say(&mut alice, "__update", json!({"name": "A", "metadata": [1], "more": true}));
    let updated = json!({"socketId": alice.id().to_string(), "name": "A", "metadata": [1], "more": true});
    assert_eq!(world.drain(), [("bob", "_peer_updated".into(), updated)]);
    world.say(&mut alice, "__update", json!({"metadata": null}));
    world.drain();
    let mut carol = world.client("carol");
    world.say(&mut carol, "__join", json!({"room": "r"}));
    let (_, _, peers) = world.drain().pop().unwrap();
    assert_eq!(peers["peers"][0], json!({"socketId": alice.id().to_string(), "name": "A"}));
}

#[test]
fn r4_6_outside_of_a_room_there_is_nobody_to_talk_to() {
    let world = World::new();
    let mut alice = world.client("alice");
    let data = json!({"socketId": "x", "sdp": "s", "candidate": "c", "data": 1});
    for event in ["__offer", "__answer", "__ice_candidate", "__message", "__update", "__ice_servers", "__leave"] {
        assert_eq!(world.say(&mut alice, event, data.clone()), Outcome::Refused);
        assert_eq!(world.error(), ("alice", "not_joined".into()), "{event}");
    }
}

#[test]
fn r4_7_pings_are_answered_with_their_data() {
    let world = World::new();
    let mut alice = world.client("alice");
    for data in ["{}", "null", "7", r#"[1.0,"x"]"#, r#"{"a":1e400}"#] {
        world.say_text(&mut alice, &format!(r#"{{"eventName":"__ping","data":{data}}}"#));
        assert_eq!(world.drain_text(), [("alice", format!(r#"{{"eventName":"_pong","data":{data}}}"#))]);
    }
    world.say_text(&mut alice, r#"{"eventName":"__ping"}"#);
    assert_eq!(world.drain_text(), [("alice", r#"{"eventName":"_pong","data":{}}"#.to_owned())]);
}

#[test]
fn deep_nesting_is_forwarded_without_harm() {
    let world = World::new();
    let (mut alice, _bob) = world.pair();
    let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
    world.say_text(&mut alice, &format!(r#"{{"eventName":"__message","data":{{"data":{deep}}}}}"#));
    assert_eq!(world.log.borrow().len(), 1);
    world.say_text(&mut alice, &"[".repeat(60_000));
    assert!(world.drain_text()[1].1.contains("bad_message"));
}

#[test]
fn a_full_outbox_disturbs_nobody_else() {
    let world = World::new();
    let (mut alice, bob) = world.pair();
    let mut carol = world.client("carol");
    world.say(&mut carol, "__join", json!({"room": "r"}));
    world.drain();
    bob.outbox().is_full.set(true);
    world.say(&mut alice, "__message", json!({"data": 1}));
    assert_eq!(world.drain().iter().map(|(to, ..)| *to).collect::<Vec<_>>(), ["carol"]);
    assert_eq!(world.say(&mut alice, "__message", json!({"data": 1, "socketId": bob.id().to_string()})), Outcome::Fine);
}
