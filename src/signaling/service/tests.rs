//! The rules of rooms, each with the exact list of frames and receivers. The numbers are those of docs/PROTOCOL.md.

use std::{
    cell::{Cell, RefCell},
    collections::HashSet,
    rc::Rc,
    time::Duration,
};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    credentials::Secret,
    ice_servers::Transports,
    observe::metrics::{ErrorCodeLabel, EventLabel, Metrics},
    shutdown::ShutdownTrigger,
    signaling::{close_reason::CloseReason, core::resume::Resume, outbox::QueueFull},
    values::host::Host,
};

const NOW: u64 = 1_000_000;
const TTL: u64 = 600;
const GRACE: Duration = Duration::from_secs(15);

mod interleavings;
mod locking;
mod messages;
mod resume;

#[test]
fn r2_3_members_are_told_before_the_newcomer_knows() {
    let world = World::new();
    let mut alice = world.client("alice");
    let mut bob = world.client("bob");
    let mut carol = world.client("carol");
    for client in [&mut alice, &mut bob] {
        world.say(client, "__join", json!({"room": "r"}));
    }
    world.drain();

    world.say(&mut carol, "__join", json!({"room": "r", "name": "Carol", "metadata": {"z": 1, "a": 2}}));

    let new_peer = json!({"socketId": carol.id().to_string(), "name": "Carol", "metadata": {"z": 1, "a": 2}});
    let order: Vec<_> = world.drain();
    assert_eq!(order[0], ("alice", "_new_peer".into(), new_peer.clone()));
    assert_eq!(order[1], ("bob", "_new_peer".into(), new_peer));
    assert_eq!((order[2].0, order[2].1.as_str(), order.len()), ("carol", "_peers", 3));
}

#[test]
fn r2_4_peers_has_all_that_was_promised() {
    let world = World::new();
    let mut alice = world.client("alice");
    let mut bob = world.client("bob");
    world.say(&mut alice, "__join", json!({"room": "r", "name": "Alice"}));
    world.drain();
    world.say(&mut bob, "__join", json!({"room": "r"}));

    let (alice_id, bob_id) = (alice.id().to_string(), bob.id().to_string());
    let username = format!("{}:{bob_id}", NOW + TTL);
    let password = crate::credentials::password(&Secret::new(*b"s"), &username);
    let expected = json!({
        "connections": [alice_id],
        "you": bob_id,
        "iceServers": [
            {"urls": ["stun:192.0.2.1:3478"]},
            {"urls": ["turn:192.0.2.1:3478?transport=udp"], "username": username, "credential": password},
        ],
        "expiresAt": NOW + TTL,
        "peers": [{"socketId": alice_id, "name": "Alice"}],
        "resume": world.token(&bob, "r"),
        "resumed": false,
        "room": "r",
        "server": "this-run",
    });
    assert_eq!(world.drain().pop().unwrap(), ("bob", "_peers".into(), expected));
}

#[test]
fn r6_1_what_a_message_causes_is_known() {
    let world = World::new();
    let (mut alice, mut bob) = world.pair();
    let mut carol = world.client("carol");
    let caused = |world: &World, client: &mut Client<Log>, event: &str, data: Value| {
        client.take_sent();
        let before = world.drain_text();
        assert!(before.is_empty(), "{before:?}");
        world.say(client, event, data);
        let sent = world.drain_text();
        let name = client.outbox.name;
        let bytes = |own: bool| sent.iter().filter(|(to, _)| (*to == name) == own).map(|(_, text)| text.len()).sum();
        let expected: (usize, usize) = (bytes(true), bytes(false));
        let Sent { answered, to_others, .. } = client.take_sent();
        assert_eq!((answered, to_others), expected, "{event}");
        expected
    };
    let metadata = json!({"room": "r", "metadata": "m".repeat(1000)});
    assert!(caused(&world, &mut carol, "__join", metadata.clone()).1 > 2000, "two are told");
    assert!(caused(&world, &mut alice, "__join", metadata).0 > 1000, "also who joins anew");
    let token = world.token(&bob, "r");
    caused(&world, &mut bob, "__join", json!({"room": "r", "resume": token}));
    let target = carol.id().to_string();
    for (event, data) in [
        ("__ice_servers", json!({})),
        ("__ping", json!([1, 2])),
        ("__update", json!({"name": "A"})),
        ("__message", json!({"data": 1})),
        ("__message", json!({"data": 1, "socketId": target})),
        ("__offer", json!({"sdp": "s", "socketId": target})),
        ("__leave", json!({})),
    ] {
        let (answered, to_others) = caused(&world, &mut alice, event, data);
        assert!(answered + to_others > 0, "{event}");
    }
}

#[test]
fn r2_4_the_first_member_gets_empty_arrays() {
    let world = World::new();
    let mut alice = world.client("alice");
    world.say(&mut alice, "__join", json!({}));
    let (_, _, peers) = world.drain().pop().unwrap();
    assert_eq!((&peers["connections"], &peers["peers"]), (&json!([]), &json!([])));
    assert_eq!(peers["room"], "__default");
}

#[test]
fn the_directory_knows_a_newcomer_before_anybody_is_told() {
    let world = World::new();
    let mut alice = world.client("alice");
    world.say(&mut alice, "__join", json!({"room": "r"}));
    let directory = world.directory.clone();
    let seen = Rc::new(Cell::new(0));
    let witness = seen.clone();
    let expected_id = MemberId::from_bits(99);
    *world.on_send.borrow_mut() = Some(Box::new(move || {
        assert!(directory.membership(expected_id).is_some());
        witness.set(witness.get() + 1);
    }));
    let mut bob = world.client_with_id("bob", expected_id);
    world.say(&mut bob, "__join", json!({"room": "r"}));
    assert_eq!(seen.get(), 2, "_new_peer and _peers");
}

#[test]
fn r2_1_the_room_is_that_of_the_message_else_of_the_url_else_the_default() {
    for (url, data, room) in [
        (Some("u"), json!({"room": "d"}), "d"),
        (Some("u"), json!({}), "u"),
        (Some("u"), json!({"room": null}), "u"),
        (Some("u"), json!({"room": ""}), "u"),
        (None, json!({"room": "d"}), "d"),
        (None, json!({}), "__default"),
        (None, json!({"room": null}), "__default"),
    ] {
        let world = World::new();
        let mut client = world.client_from_url("c", url);
        world.say(&mut client, "__join", data.clone());
        assert_eq!(world.drain()[0].2["room"], room, "{url:?} {data}");
    }
}

#[test]
fn r2_2_room_names_are_bounded() {
    let world = World::new();
    let long = "é".repeat(65);
    for name in ["", "a\nb", "\u{0}", "\u{7f}", "\u{85}", &long] {
        let mut client = world.client("c");
        assert_eq!(world.say(&mut client, "__join", json!({"room": name})), Outcome::Bad);
        assert_eq!(world.error(), ("c", "bad_room".into()), "{name:?}");
        assert!(!client.is_joined());
    }
    let mut client = world.client("c");
    assert_eq!(world.say(&mut client, "__join", json!({"room": "é".repeat(64)})), Outcome::CredentialsIssued);
}

#[test]
fn r2_5_names_and_metadata_are_bounded() {
    let world = World::new();
    let mut client = world.client("c");
    for data in [json!({"name": "n".repeat(1025)}), json!({"metadata": "m".repeat(16 * 1024)})] {
        world.say(&mut client, "__join", data);
        assert_eq!(world.error(), ("c", "too_large".into()));
    }
    world.say(&mut client, "__join", json!({"name": "n".repeat(1024), "metadata": "m".repeat(16 * 1024 - 2)}));
    assert!(client.is_joined());
}

#[test]
fn r2_6_rooms_and_members_are_bounded_and_who_is_refused_stays() {
    let world = World::with(Limits { max_peers_per_room: 2, max_rooms: 2, ..Limits::default() });
    let mut clients = ["a", "b", "c"].map(|name| world.client(name));
    let [a, b, c] = &mut clients;
    world.say(a, "__join", json!({"room": "one"}));
    world.say(b, "__join", json!({"room": "one"}));
    world.say(c, "__join", json!({"room": "two"}));
    world.drain();

    assert_eq!(world.say(c, "__join", json!({"room": "one"})), Outcome::Refused);
    assert_eq!(world.error(), ("c", "room_full".into()));
    assert_eq!(world.say(b, "__join", json!({"room": "three"})), Outcome::Refused);
    assert_eq!(world.error(), ("b", "too_many_rooms".into()));

    world.say(b, "__message", json!({"data": 1}));
    assert_eq!(world.drain().len(), 1, "still with a");
    // Members of a full room may join it again.
    assert_eq!(world.say(b, "__join", json!({"room": "one"})), Outcome::CredentialsIssued);
    world.say(a, "__leave", json!({}));
    world.say(b, "__leave", json!({}));
    assert_eq!(world.say(a, "__join", json!({"room": "three"})), Outcome::CredentialsIssued);
}

#[test]
fn r2_7_a_second_join_moves() {
    let world = World::new();
    let mut alice = world.client("alice");
    let mut bob = world.client("bob");
    let mut mover = world.client("mover");
    world.say(&mut alice, "__join", json!({"room": "old"}));
    world.say(&mut bob, "__join", json!({"room": "new"}));
    world.say(&mut mover, "__join", json!({"room": "old"}));
    world.drain();

    world.say(&mut mover, "__join", json!({"room": "new"}));

    let id = mover.id().to_string();
    let sent = world.drain();
    assert_eq!(sent[0], ("alice", "_remove_peer".into(), json!({"socketId": id, "reason": "moved"})));
    assert_eq!(sent[1], ("bob", "_new_peer".into(), json!({"socketId": id})));
    assert_eq!((sent[2].0, sent[2].2["you"].as_str(), sent.len()), ("mover", Some(id.as_str()), 3));
    assert_eq!(sent[2].2["connections"], json!([bob.id().to_string()]));
    let room_of = |client: &Client<Log>| world.directory.membership(client.id()).unwrap().room;
    assert_eq!(room_of(&mover), room_of(&bob));

    // A member that joins its room again: everyone starts afresh.
    world.say(&mut mover, "__join", json!({"room": "new"}));
    let events: Vec<_> = world.drain().into_iter().map(|(to, event, _)| (to, event)).collect();
    let expected = [("bob", "_remove_peer"), ("bob", "_new_peer"), ("mover", "_peers")];
    assert_eq!(events, expected.map(|(to, event)| (to, event.to_owned())));
}

#[test]
fn r3_1_leaving_keeps_the_connection() {
    let world = World::new();
    let mut alice = world.client("alice");
    let mut bob = world.client("bob");
    world.say(&mut alice, "__join", json!({"room": "r"}));
    world.say(&mut bob, "__join", json!({"room": "r"}));
    world.drain();
    world.say(&mut bob, "__leave", Value::Null);
    let farewell = json!({"socketId": bob.id().to_string(), "reason": "left"});
    assert_eq!(world.drain(), [("alice", "_remove_peer".into(), farewell)]);
    assert_eq!(world.directory.membership(bob.id()).map(|m| m.room), None);
    world.say(&mut bob, "__leave", json!({}));
    assert_eq!(world.error(), ("bob", "not_joined".into()));
    world.say(&mut bob, "__join", json!({"room": "r"}));
    assert!(bob.is_joined());
}

#[test]
fn r3_2_who_disconnects_is_reported_once() {
    let world = World::new();
    let mut alice = world.client("alice");
    let mut bob = world.client("bob");
    world.say(&mut alice, "__join", json!({"room": "r"}));
    world.say(&mut bob, "__join", json!({"room": "r"}));
    world.drain();
    world.disconnect(&mut bob);
    world.disconnect(&mut bob);
    let farewell = json!({"socketId": bob.id().to_string(), "reason": "disconnected"});
    assert_eq!(world.drain(), [("alice", "_remove_peer".into(), farewell)]);
}

#[test]
fn r3_3_while_draining_nobody_is_reported() {
    let world = World::new();
    let mut alice = world.client("alice");
    let mut bob = world.client("bob");
    world.say(&mut alice, "__join", json!({"room": "r"}));
    world.say(&mut bob, "__join", json!({"room": "r"}));
    world.drain();
    world.trigger.begin();
    world.disconnect(&mut bob);
    assert_eq!(world.drain(), []);
    assert_eq!(world.directory.len(), 1, "the relay knows all the same");
}

#[test]
fn r5_2_fresh_credentials_on_request_and_on_time() {
    let world = World::new();
    let mut alice = world.client("alice");
    world.service.push_ice_servers(&alice, world.clocks(NOW));
    assert_eq!(world.drain(), [], "of no use outside of a room");
    world.say(&mut alice, "__join", json!({}));
    world.drain();
    assert_eq!(world.say(&mut alice, "__ice_servers", Value::Null), Outcome::CredentialsIssued);
    world.service.push_ice_servers(&alice, world.clocks(NOW + 300));
    let sent = world.drain();
    assert_eq!(sent.iter().map(|(_, event, _)| event.as_str()).collect::<Vec<_>>(), ["_ice_servers", "_ice_servers"]);
    assert_eq!([&sent[0].2["expiresAt"], &sent[1].2["expiresAt"]], [&json!(NOW + TTL), &json!(NOW + 300 + TTL)]);
    assert_eq!(sent[0].2["iceServers"].as_array().unwrap().len(), 2);
}

#[test]
fn r1_3_bad_messages_are_answered_and_change_nothing() {
    let world = World::new();
    let (mut alice, bob) = world.pair();
    let to = bob.id();
    for text in [
        "",
        "x",
        "{",
        "null",
        "7",
        "\"__join\"",
        "[]",
        r#"["__join",{}]"#,
        "{}",
        r#"{"eventName":null}"#,
        r#"{"eventName":5,"data":{}}"#,
        r#"{"eventName":["__join"],"data":{}}"#,
        r#"{"eventName":"__join","data":{}} x"#,
        r#"{"eventName":"__join","data":[]}"#,
        r#"{"eventName":"__join","data":"r"}"#,
        r#"{"eventName":"__join","data":{"room":5}}"#,
        r#"{"eventName":"__join","data":{"name":{}}}"#,
        r#"{"eventName":"__update","data":{"name":5}}"#,
        r#"{"eventName":"__offer"}"#,
        r#"{"eventName":"__offer","data":{"sdp":"s"}}"#,
        &format!(r#"{{"eventName":"__offer","data":{{"socketId":"{to}"}}}}"#),
        &format!(r#"{{"eventName":"__offer","data":{{"socketId":"{to}","sdp":null}}}}"#),
        &format!(r#"{{"eventName":"__answer","data":{{"socketId":"{to}","sdp":5}}}}"#),
        r#"{"eventName":"__offer","data":{"socketId":5,"sdp":"s"}}"#,
        &format!(r#"{{"eventName":"__ice_candidate","data":{{"socketId":"{to}"}}}}"#),
        &format!(r#"{{"eventName":"__ice_candidate","data":{{"socketId":"{to}","candidate":5}}}}"#),
        &format!(r#"{{"eventName":"__ice_candidate","data":{{"socketId":"{to}","candidate":"c","label":"x"}}}}"#),
        &format!(r#"{{"eventName":"__ice_candidate","data":{{"socketId":"{to}","candidate":"c","label":-1}}}}"#),
        &format!(
            r#"{{"eventName":"__ice_candidate","data":{{"socketId":"{to}","candidate":"c","sdpMLineIndex":65536}}}}"#
        ),
        r#"{"eventName":"__message","data":{}}"#,
        r#"{"eventName":"__message","data":{"data":1,"socketId":[]}}"#,
        r#"{"eventName":"__message","data":{"data":"\ud800"x}}"#,
    ] {
        assert_eq!(world.say_text(&mut alice, text), Outcome::Bad, "{text}");
        assert_eq!(world.error(), ("alice", "bad_message".into()), "{text}");
    }
    for event in ["join", "_join", "__JOIN", "__nothing", "", "ready"] {
        assert_eq!(world.say(&mut alice, event, json!({})), Outcome::Bad);
        assert_eq!(world.error(), ("alice", "unknown_event".into()), "{event}");
    }
    let long = "_".repeat(60_000);
    world.say(&mut alice, &long, json!({}));
    assert!(world.drain_text()[0].1.len() < 200, "what is long is not sent back");
}

#[test]
fn metrics_count_what_happened() {
    let world = World::new();
    let (mut alice, mut bob) = world.pair();
    let signaling = &world.metrics.signaling;
    assert_eq!((signaling.rooms.get(), signaling.members.get()), (1, 2));
    assert_eq!(signaling.messages_sent.get(), 3, "two _peers and one _new_peer");
    world.say(&mut alice, "__offer", json!({"socketId": "x", "sdp": "s"}));
    world.say(&mut alice, "__nothing", json!({}));
    world.say_text(&mut alice, "x");
    let received = |event| signaling.messages_received.get_or_create(&EventLabel { event }).get();
    let counted = ["__join", "__offer", "unknown", "malformed"].map(received);
    assert_eq!(counted, [2, 1, 1, 1]);
    let errors = |code| signaling.errors.get_or_create(&ErrorCodeLabel { code }).get();
    assert_eq!(["no_such_peer", "unknown_event", "bad_message", "room_full"].map(errors), [1, 1, 1, 0]);
    world.disconnect(&mut alice);
    world.disconnect(&mut bob);
    assert_eq!((signaling.rooms.get(), signaling.members.get(), world.directory.len()), (0, 0, 0));
    assert!(world.is_empty());
}

#[derive(Clone, Debug)]
enum Step {
    Join(usize, usize),
    Leave(usize),
    Disconnect(usize),
    Message(usize),
    Offer(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..5usize, 0..3usize).prop_map(|(who, room)| Step::Join(who, room)),
        (0..5usize).prop_map(Step::Leave),
        (0..5usize).prop_map(Step::Disconnect),
        (0..5usize).prop_map(Step::Message),
        (0..5usize, 0..5usize).prop_map(|(who, to)| Step::Offer(who, to)),
    ]
}

proptest! {
    /// What `_peers`, `_new_peer` and `_remove_peer` have told a member is always the true list of members, and exactly
    /// these members get its messages.
    #[test]
    fn members_always_know_who_is_there(steps in prop::collection::vec(step(), 0..60)) {
        const NAMES: [&str; 5] = ["0", "1", "2", "3", "4"];
        let world = World::with(Limits { max_peers_per_room: 3, max_rooms: 2, ..Limits::default() });
        let mut clients = NAMES.map(|name| world.client(name));
        let ids = clients.each_ref().map(|client| client.id().to_string());
        let mut rooms: [Option<usize>; 5] = [None; 5];
        let mut known: [HashSet<String>; 5] = Default::default();
        for step in steps {
            let mut expected = Vec::new();
            match step {
                Step::Join(who, room) => {
                    let verdict = world.say(&mut clients[who], "__join", json!({"room": room.to_string()}));
                    if verdict == Outcome::CredentialsIssued {
                        rooms[who] = Some(room);
                    }
                }
                Step::Leave(who) => {
                    world.say(&mut clients[who], "__leave", json!({}));
                    rooms[who] = None;
                }
                Step::Disconnect(who) => {
                    world.disconnect(&mut clients[who]);
                    rooms[who] = None;
                }
                Step::Message(who) => {
                    world.say(&mut clients[who], "__message", json!({"data": 1}));
                    expected = (0..5).filter(|i| *i != who && rooms[who].is_some() && rooms[*i] == rooms[who]).collect();
                }
                Step::Offer(who, to) => {
                    world.say(&mut clients[who], "__offer", json!({"socketId": ids[to], "sdp": "s"}));
                    expected = (0..5).filter(|i| *i == to && rooms[who].is_some() && rooms[to] == rooms[who]).collect();
                }
            }
            let mut received = Vec::new();
            for (to, event, data) in world.drain() {
                let to: usize = to.parse().unwrap();
                let id = || data["socketId"].as_str().unwrap().to_owned();
                match event.as_str() {
                    "_peers" => known[to] = data["connections"].as_array().unwrap().iter()
                        .map(|id| id.as_str().unwrap().to_owned()).collect(),
                    "_new_peer" => prop_assert!(known[to].insert(id())),
                    "_remove_peer" => prop_assert!(known[to].remove(&id())),
                    "_message" | "_offer" => received.push(to),
                    _ => {}
                }
            }
            received.sort_unstable();
            prop_assert_eq!(received, expected);
            for (i, room) in rooms.iter().enumerate().filter(|(_, room)| room.is_some()) {
                let there = (0..5).filter(|j| *j != i && rooms[*j] == *room).map(|j| ids[j].clone());
                prop_assert_eq!(&known[i], &there.collect::<HashSet<_>>());
            }
            prop_assert_eq!(world.directory.len(), rooms.iter().flatten().count());
        }
        for client in &mut clients {
            world.disconnect(client);
        }
        prop_assert!(world.is_empty());
    }
}

/// Called when something is sent.
type Hook = Rc<RefCell<Option<Box<dyn Fn()>>>>;
type Frames = Vec<(&'static str, Frame)>;

#[derive(Clone)]
struct Log {
    name: &'static str,
    sent: Rc<RefCell<Frames>>,
    on_send: Hook,
    is_full: Rc<Cell<bool>>,
}

impl Outbox for Log {
    fn try_send(&self, frame: Frame) -> Result<(), QueueFull> {
        if self.is_full.get() {
            return Err(QueueFull);
        }
        if let Some(hook) = &*self.on_send.borrow() {
            hook();
        }
        self.sent.borrow_mut().push((self.name, frame));
        Ok(())
    }

    fn end(&self, reason: CloseReason) {
        let frame = json!({"eventName": "(closed)", "data": reason.as_str()}).to_string();
        self.sent.borrow_mut().push((self.name, frame.into()));
    }
}

/// A service, and one log of everything that its clients are sent, in order.
struct World {
    /// Not the real time: only differences from it count.
    start: Instant,
    service: Service<Log>,
    trigger: ShutdownTrigger,
    directory: Arc<Directory>,
    metrics: Metrics,
    log: Rc<RefCell<Frames>>,
    on_send: Hook,
    clients: Cell<u128>,
}

impl World {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        let metrics = Metrics::new();
        let directory = Arc::new(Directory::new());
        let issuer = Issuer {
            secret: Secret::new(*b"s"),
            ttl: Duration::from_secs(TTL),
            transports: Transports { udp: Some(3478), ..Transports::default() },
        };
        let (trigger, shutdown) = Shutdown::new();
        let service = Service::new(
            limits,
            "this-run",
            issuer,
            ResumeKey::new(&[7; 32]),
            directory.clone(),
            &metrics.signaling,
            shutdown,
        );
        let start = Instant::now();
        Self {
            start,
            service,
            trigger,
            directory,
            metrics,
            log: Rc::default(),
            on_send: Rc::default(),
            clients: Cell::new(1),
        }
    }

    fn client(&self, name: &'static str) -> Client<Log> {
        self.client_from_url(name, None)
    }

    fn client_from_url(&self, name: &'static str, room: Option<&str>) -> Client<Log> {
        self.clients.set(self.clients.get() + 1);
        let mut client = self.client_with_id(name, MemberId::from_bits(self.clients.get()));
        client.url_room = room.map(Into::into);
        client
    }

    fn client_with_id(&self, name: &'static str, id: MemberId) -> Client<Log> {
        let outbox = Log { name, sent: self.log.clone(), on_send: self.on_send.clone(), is_full: Rc::default() };
        Client::new(id, outbox, Some([192, 0, 2, 7].into()), Host::parse("192.0.2.1").unwrap().into(), None)
    }

    /// Alice and Bob in room `r`, with nothing left to hear.
    fn pair(&self) -> (Client<Log>, Client<Log>) {
        let (mut alice, mut bob) = (self.client("alice"), self.client("bob"));
        self.say(&mut alice, "__join", json!({"room": "r"}));
        self.say(&mut bob, "__join", json!({"room": "r"}));
        self.drain();
        (alice, bob)
    }

    /// Its grace period ends at `self.start + GRACE`.
    fn disconnect(&self, client: &mut Client<Log>) {
        self.service.disconnect(client, self.start + GRACE, self.start);
    }

    fn say(&self, client: &mut Client<Log>, event: &str, data: Value) -> Outcome {
        self.say_text(client, &json!({"eventName": event, "data": data}).to_string())
    }

    fn say_text(&self, client: &mut Client<Log>, text: &str) -> Outcome {
        self.service.handle_text(client, text, self.clocks(NOW))
    }

    fn clocks(&self, unix: u64) -> Clocks {
        Clocks { instant: self.start, unix }
    }

    fn drain_text(&self) -> Vec<(&'static str, String)> {
        self.log.take().into_iter().map(|(to, frame)| (to, frame.as_str().to_owned())).collect()
    }

    fn drain(&self) -> Vec<(&'static str, String, Value)> {
        let parsed = self.drain_text().into_iter().map(|(to, text)| {
            let mut frame: Value = serde_json::from_str(&text).unwrap();
            (to, frame["eventName"].as_str().unwrap().to_owned(), frame["data"].take())
        });
        parsed.collect()
    }

    /// The token that `client` was given for `room`.
    fn token(&self, client: &Client<Log>, room: &str) -> String {
        self.service.resume_key.sign(Claims { id: client.id(), epoch: client.epoch, issued_at: NOW }, room)
    }

    fn is_empty(&self) -> bool {
        self.service.shards.iter().all(|shard| shard.owned.lock().hub.is_empty())
            && self.service.rosters.iter().all(|roster| roster.lock().is_empty())
            && self.service.rooms.open() == 0
            && self.directory.is_empty()
    }

    /// Expects that exactly one `_error` was sent. Returns its receiver and its code.
    fn error(&self) -> (&'static str, String) {
        let sent = self.drain();
        let [(to, event, data)] = &sent[..] else { panic!("{sent:?}") };
        assert_eq!(event, "_error");
        assert!(data["message"].as_str().is_some_and(|text| !text.is_empty()));
        (to, data["code"].as_str().unwrap().to_owned())
    }
}
