//! Section 10 of docs/PROTOCOL.md: members that come back.

use super::*;

/// Alice and Bob in room `r`; Bob asked for a grace period.
fn pair_with_grace(world: &World) -> (Client<Log>, Client<Log>, String) {
    let (mut alice, mut bob) = (world.client("alice"), world.client("bob"));
    world.say(&mut alice, "__join", json!({"room": "r"}));
    world.say(&mut bob, "__join", json!({"room": "r", "name": "Bob", "metadata": [1], "resume": ""}));
    let token = world.drain().pop().unwrap().2["resume"].as_str().unwrap().to_owned();
    (alice, bob, token)
}

fn events(world: &World) -> Vec<(&'static str, String)> {
    world.drain().into_iter().map(|(to, event, _)| (to, event)).collect()
}

fn named(events: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    events.iter().map(|(to, event)| (*to, (*event).to_owned())).collect()
}

fn resumes(world: &World) -> [u64; 3] {
    [Resume::WithinGrace, Resume::Takeover, Resume::Announced].map(|how| {
        world
            .metrics
            .signaling
            .resumes
            .get_or_create(&crate::observe::metrics::ResumeLabel { how: crate::observe::metrics::LabelValue(how) })
            .get()
    })
}

#[test]
fn r10_1_tokens_come_with_peers_and_with_ice_servers() {
    let world = World::new();
    let mut alice = world.client("alice");
    world.say(&mut alice, "__join", json!({"room": "r"}));
    assert_eq!(world.drain()[0].2["resume"], world.token(&alice, "r"), "also for who does not ask");
    world.service.push_ice_servers(&alice, world.clocks(NOW + 300));
    let renewed = Claims { id: alice.id(), epoch: 0, issued_at: NOW + 300 };
    assert_eq!(world.drain()[0].2["resume"], world.service.resume_key.sign(renewed, "r"));
}

#[test]
fn r10_3_within_grace_nobody_notices() {
    let world = World::new();
    let (alice, mut bob, token) = pair_with_grace(&world);
    let bob_id = bob.id();
    let room = world.directory.membership(bob_id).unwrap().room;
    world.disconnect(&mut bob);
    assert_eq!(world.service.expire(world.start), Some(world.start + GRACE));
    assert_eq!(world.drain(), []);
    assert_eq!(world.directory.membership(bob_id).unwrap().room, room, "allocations live on");
    let signaling = &world.metrics.signaling;
    assert_eq!((signaling.members.get(), signaling.members_away.get()), (2, 1));

    let mut back = world.client("back");
    back.address = Some([198, 51, 100, 9].into());
    assert_ne!(back.id(), bob_id);
    assert_eq!(world.say(&mut back, "__join", json!({"room": "r", "resume": token})), Outcome::CredentialsIssued);

    let sent = world.drain();
    let [("back", event, peers)] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!(event, "_peers");
    assert_eq!((&peers["resumed"], &peers["you"]), (&json!(true), &json!(bob_id.to_string())));
    assert_eq!(peers["connections"], json!([alice.id().to_string()]));
    assert_eq!(back.id(), bob_id);
    assert_eq!(world.directory.member_at(room, [192, 0, 2, 7].into()), Some(alice.id()));
    assert_eq!(world.directory.member_at(room, [198, 51, 100, 9].into()), Some(bob_id));
    assert!(world.directory.is_connected_from([198, 51, 100, 9].into()));
    assert_eq!(world.service.expire(world.start + 2 * GRACE), None, "no longer awaited");
    assert_eq!((signaling.members.get(), signaling.members_away.get()), (2, 0));
    assert_eq!(resumes(&world), [1, 0, 0]);

    // It is a member as before.
    world.say(&mut back, "__message", json!({"data": 1}));
    assert_eq!(world.drain()[0].2["socketId"], bob_id.to_string());
}

#[test]
fn r10_3_what_changed_meanwhile_is_told() {
    let world = World::new();
    let (_alice, mut bob, token) = pair_with_grace(&world);
    let id = bob.id().to_string();
    for (data, updated) in [
        (json!({"name": "Robert"}), Some(json!({"socketId": id, "name": "Robert"}))),
        (json!({"name": "Robert", "metadata": [1]}), None),
        (json!({"metadata": [2]}), Some(json!({"socketId": id, "metadata": [2]}))),
        (json!({}), None),
    ] {
        world.disconnect(&mut bob);
        bob = world.client("bob");
        let mut join = data.clone();
        join["room"] = json!("r");
        join["resume"] = json!(token);
        world.say(&mut bob, "__join", join);
        let mut sent = world.drain();
        assert_eq!(sent.pop().unwrap().1, "_peers");
        let expected: Vec<_> = updated.into_iter().map(|data| ("alice", "_peer_updated".to_owned(), data)).collect();
        assert_eq!(sent, expected, "{data}");
    }
    let mut carol = world.client("carol");
    world.say(&mut carol, "__join", json!({"room": "r"}));
    let peers = world.drain().pop().unwrap().2;
    assert_eq!(peers["peers"][1], json!({"socketId": id, "name": "Robert", "metadata": [2]}));
}

#[test]
fn r10_3_who_is_away_keeps_its_place_and_is_listed() {
    let world = World::with(Limits { max_peers_per_room: 3, max_rooms: 1, ..Limits::default() });
    let (mut alice, mut bob, token) = pair_with_grace(&world);
    let bob_id = bob.id().to_string();
    world.disconnect(&mut bob);

    let mut carol = world.client("carol");
    world.say(&mut carol, "__join", json!({"room": "r"}));
    assert_eq!(world.drain().pop().unwrap().2["connections"], json!([alice.id().to_string(), bob_id]));
    let mut dave = world.client("dave");
    world.say(&mut dave, "__join", json!({"room": "r"}));
    assert_eq!(world.error(), ("dave", "room_full".into()));

    // A room stays open although all members are away or gone.
    world.say(&mut alice, "__leave", json!({}));
    world.say(&mut carol, "__leave", json!({}));
    world.drain();
    world.say(&mut dave, "__join", json!({"room": "other"}));
    assert_eq!(world.error(), ("dave", "too_many_rooms".into()));
    assert_eq!(world.metrics.signaling.rooms.get(), 1);

    let mut back = world.client("back");
    world.say(&mut back, "__join", json!({"room": "r", "resume": token}));
    assert_eq!(world.drain()[0].2["resumed"], true);
}

#[test]
fn r10_4_what_is_sent_to_who_is_away_is_refused_or_lost() {
    let world = World::new();
    let (mut alice, mut bob, token) = pair_with_grace(&world);
    let bob_id = bob.id().to_string();
    world.disconnect(&mut bob);
    for event in ["__offer", "__answer", "__ice_candidate", "__message"] {
        let data = json!({"socketId": bob_id, "sdp": "s", "candidate": "c", "data": 1});
        assert_eq!(world.say(&mut alice, event, data), Outcome::Refused);
        let sent = world.drain();
        let [("alice", name, error)] = &sent[..] else { panic!("{sent:?}") };
        assert_eq!((name.as_str(), &error["code"]), ("_error", &json!("peer_away")));
        assert_eq!((&error["eventName"], &error["socketId"]), (&json!(event), &json!(bob_id)));
    }
    world.say(&mut alice, "__message", json!({"data": 1}));
    world.say(&mut alice, "__update", json!({"name": "A"}));
    assert_eq!(world.drain(), []);
    let mut back = world.client("back");
    world.say(&mut back, "__join", json!({"room": "r", "resume": token}));
    let sent = world.drain();
    assert_eq!(sent.len(), 1, "nothing was kept: {sent:?}");
    assert_eq!(sent[0].2["peers"], json!([{"socketId": alice.id().to_string(), "name": "A"}]));
}

#[test]
fn r10_5_after_grace_the_member_is_a_newcomer_with_its_id() {
    let world = World::new();
    let (_alice, mut bob, token) = pair_with_grace(&world);
    let bob_id = bob.id();
    world.disconnect(&mut bob);
    assert_eq!(world.service.expire(world.start + GRACE), None);
    let farewell = json!({"socketId": bob_id.to_string(), "reason": "disconnected"});
    assert_eq!(world.drain(), [("alice", "_remove_peer".into(), farewell)]);
    assert!(world.directory.membership(bob_id).is_none());
    assert_eq!(world.metrics.signaling.members_away.get(), 0);

    let mut back = world.client("back");
    world.say(&mut back, "__join", json!({"room": "r", "resume": token}));
    let sent = world.drain();
    assert_eq!(sent[0], ("alice", "_new_peer".into(), json!({"socketId": bob_id.to_string()})));
    assert_eq!((sent[1].0, sent.len()), ("back", 2));
    assert_eq!((&sent[1].2["you"], &sent[1].2["resumed"]), (&json!(bob_id.to_string()), &json!(false)));
    assert!(world.directory.membership(bob_id).is_some());
    assert_eq!(resumes(&world), [0, 0, 1]);
}

#[test]
fn r10_5_after_a_restart_too() {
    let before = World::new();
    let (_, bob, token) = pair_with_grace(&before);
    let world = World::new();
    let mut alice = world.client("alice");
    world.say(&mut alice, "__join", json!({"room": "r"}));
    world.drain();
    let mut back = world.client_with_id("back", MemberId::from_bits(77));
    world.say(&mut back, "__join", json!({"room": "r", "resume": token}));
    assert_eq!(events(&world), named(&[("alice", "_new_peer"), ("back", "_peers")]));
    assert_eq!(back.id(), bob.id());
}

#[test]
fn r10_2_without_asking_there_is_no_grace_but_the_token_is_good() {
    let world = World::new();
    let (_alice, mut bob) = world.pair();
    let (id, token) = (bob.id(), world.token(&bob, "r"));
    world.disconnect(&mut bob);
    assert_eq!(events(&world), named(&[("alice", "_remove_peer")]));
    for nothing in [json!(null), json!({"room": "r", "resume": null})] {
        let mut client = world.client("client");
        world.say(&mut client, "__join", nothing);
        assert!(!client.may_return);
    }
    world.drain();
    let mut back = world.client("back");
    world.say(&mut back, "__join", json!({"room": "r", "resume": token}));
    assert_eq!(back.id(), id);
    world.drain();
    // The second join does not ask for a grace period, so there is none any more.
    world.say(&mut back, "__join", json!({"room": "r"}));
    world.drain();
    world.disconnect(&mut back);
    assert!(events(&world).iter().all(|(_, event)| event == "_remove_peer"));
}

#[test]
fn r10_6_a_second_holder_takes_over() {
    let world = World::new();
    let (mut alice, mut old, token) = pair_with_grace(&world);
    let id = old.id();
    let mut new = world.client("new");
    world.say(&mut new, "__join", json!({"room": "r", "resume": token}));
    let sent = world.drain();
    assert_eq!(
        sent.iter().map(|(to, event, _)| (*to, event.clone())).collect::<Vec<_>>(),
        named(&[("new", "_peers"), ("bob", "_error"), ("bob", "(closed)")])
    );
    assert_eq!((&sent[0].2["resumed"], &sent[0].2["you"]), (&json!(true), &json!(id.to_string())));
    assert_eq!((&sent[1].2["code"], &sent[2].2), (&json!("replaced"), &json!("replaced")));
    assert_eq!(resumes(&world), [0, 1, 0]);

    // Until it is closed, the old connection can do nothing in the member's name.
    let target = alice.id().to_string();
    for (event, data) in [
        ("__offer", json!({"socketId": target, "sdp": "s"})),
        ("__message", json!({"data": 1})),
        ("__update", json!({"name": "evil"})),
        ("__ice_servers", json!({})),
        ("__leave", json!({})),
        ("__join", json!({"room": "r"})),
        ("__join", json!({"room": "elsewhere"})),
    ] {
        assert_eq!(world.say(&mut old, event, data), Outcome::Refused, "{event}");
        assert_eq!(world.error(), ("bob", "replaced".into()), "{event}");
    }
    world.service.push_ice_servers(&old, world.clocks(NOW));
    world.disconnect(&mut old);
    assert_eq!(world.drain(), []);
    assert_eq!(world.service.expire(world.start + GRACE), None);
    world.say(&mut alice, "__message", json!({"data": 1, "socketId": id.to_string()}));
    assert_eq!(events(&world), named(&[("new", "_message")]));
    assert_eq!(world.metrics.signaling.members.get(), 2);
}

#[test]
fn r10_7_who_left_does_not_come_back() {
    for leave in ["__leave", "move", "anew"] {
        let world = World::new();
        let (_alice, mut bob, token) = pair_with_grace(&world);
        match leave {
            "__leave" => world.say(&mut bob, "__leave", json!({})),
            "move" => world.say(&mut bob, "__join", json!({"room": "s"})),
            _ => world.say(&mut bob, "__join", json!({"room": "r", "resume": ""})),
        };
        world.drain();
        let mut back = world.client("back");
        assert_eq!(world.say(&mut back, "__join", json!({"room": "r", "resume": token})), Outcome::Refused);
        assert_eq!(world.error(), ("back", "bad_token".into()), "{leave}");
        assert!(!back.is_joined());
        assert_ne!(back.id(), bob.id());
        // A client that stays connected may join again, and then its token is valid.
        let id = bob.id();
        world.say(&mut bob, "__join", json!({"room": "r", "resume": ""}));
        let fresh = world.token(&bob, "r");
        world.disconnect(&mut bob);
        world.drain();
        world.say(&mut back, "__join", json!({"room": "r", "resume": fresh}));
        assert_eq!((back.id(), &world.drain()[0].2["resumed"]), (id, &json!(true)));
    }
}

#[test]
fn r10_7_who_is_kicked_does_not_come_back() {
    let world = World::new();
    let (_alice, mut bob, token) = pair_with_grace(&world);
    assert!(!world.service.kick("s", bob.id(), world.clocks(NOW)));
    assert!(world.service.kick("r", bob.id(), world.clocks(NOW)));
    assert!(!world.service.kick("r", bob.id(), world.clocks(NOW)));
    let farewell = json!({"socketId": bob.id().to_string(), "reason": "kicked"});
    let expected = [("alice", "_remove_peer".into(), farewell), ("bob", "(closed)".into(), json!("kicked"))];
    assert_eq!(world.drain(), expected);
    assert!(world.directory.membership(bob.id()).is_none());
    for data in [json!({"room": "r"}), json!({"room": "s"})] {
        world.say(&mut bob, "__join", data);
        assert_eq!(world.error(), ("bob", "replaced".into()));
    }
    world.disconnect(&mut bob);
    let mut back = world.client("back");
    world.say(&mut back, "__join", json!({"room": "r", "resume": token}));
    assert_eq!(world.error(), ("back", "bad_token".into()));
}

#[test]
fn r10_7_who_is_away_can_be_kicked() {
    let world = World::new();
    let (_alice, mut bob, token) = pair_with_grace(&world);
    world.disconnect(&mut bob);
    assert!(world.service.kick("r", bob.id(), world.clocks(NOW)));
    assert_eq!(events(&world), named(&[("alice", "_remove_peer")]));
    assert_eq!(world.service.expire(world.start), None);
    let mut back = world.client("back");
    world.say(&mut back, "__join", json!({"room": "r", "resume": token}));
    assert_eq!(world.error(), ("back", "bad_token".into()));
}

#[test]
fn r10_8_bad_tokens_are_refused_and_change_nothing() {
    let world = World::new();
    let (_alice, mut bob, token) = pair_with_grace(&world);
    let good = Claims { id: bob.id(), epoch: 0, issued_at: NOW };
    let foreign = ResumeKey::new(&[8; 32]).sign(good, "r");
    let expired = world.service.resume_key.sign(Claims { issued_at: NOW - TTL, ..good }, "r");
    let elsewhere = world.service.resume_key.sign(good, "s");
    let long = "x".repeat(60_000);
    world.disconnect(&mut bob);
    for bad in [&foreign, &expired, &elsewhere, "x", " ", &long, &token[1..]] {
        let mut client = world.client("client");
        let id = client.id();
        assert_eq!(world.say(&mut client, "__join", json!({"room": "r", "resume": bad})), Outcome::Refused);
        assert_eq!(world.error(), ("client", "bad_token".into()), "{bad}");
        assert!(!client.is_joined());
        assert_eq!(client.id(), id);
        // A client that is refused stays where it is.
        world.say(&mut client, "__join", json!({"room": "s"}));
        world.drain();
        world.say(&mut client, "__join", json!({"room": "r", "resume": bad}));
        assert_eq!(world.error(), ("client", "bad_token".into()), "{bad}");
        world.say(&mut client, "__leave", json!({}));
        assert_eq!(world.drain(), []);
    }
    for wrong in [json!(1), json!(true), json!({}), json!([token])] {
        let mut client = world.client("client");
        world.say(&mut client, "__join", json!({"room": "r", "resume": wrong}));
        assert_eq!(world.error(), ("client", "bad_message".into()), "{wrong}");
    }
    // A token is valid until the last moment.
    let last = world.service.resume_key.sign(Claims { issued_at: NOW - TTL + 1, ..good }, "r");
    let mut back = world.client("back");
    world.say(&mut back, "__join", json!({"room": "r", "resume": last}));
    assert_eq!(world.drain()[0].2["resumed"], true);
}

#[test]
fn a_member_of_two_rooms_is_impossible() {
    // After a restart nobody remembers that the member had moved from `r` to `s`.
    let world = World::new();
    let id = MemberId::from_bits(50);
    let token = |epoch, room| world.service.resume_key.sign(Claims { id, epoch, issued_at: NOW }, room);
    let (mut first, mut second) = (world.client("first"), world.client("second"));
    world.say(&mut first, "__join", json!({"room": "s", "resume": token(1, "s")}));
    world.drain();
    world.say(&mut second, "__join", json!({"room": "r", "resume": token(0, "r")}));
    assert_eq!(world.error(), ("second", "bad_token".into()));
}

#[test]
fn an_older_life_of_a_member_gives_way_to_a_younger_one() {
    // After a restart nobody remembers that the member had left `r` once.
    let world = World::new();
    let id = MemberId::from_bits(50);
    let token = |epoch| world.service.resume_key.sign(Claims { id, epoch, issued_at: NOW }, "r");
    let (mut old, mut young) = (world.client("old"), world.client("young"));
    world.say(&mut old, "__join", json!({"room": "r", "resume": token(0)}));
    world.drain();
    world.say(&mut young, "__join", json!({"room": "r", "resume": token(1)}));
    assert_eq!(events(&world), named(&[("young", "_peers"), ("old", "_error"), ("old", "(closed)")]));
    let mut again = world.client("again");
    world.say(&mut again, "__join", json!({"room": "r", "resume": token(0)}));
    assert_eq!(world.error(), ("again", "bad_token".into()));
    world.say(&mut young, "__leave", json!({}));
    world.say(&mut again, "__join", json!({"room": "r", "resume": token(1)}));
    assert_eq!(world.error(), ("again", "bad_token".into()));
    // A connection that lost its place does not become the member again either.
    world.say(&mut old, "__leave", json!({}));
    world.say(&mut old, "__join", json!({"room": "r"}));
    assert_eq!(events(&world), named(&[("old", "_error"), ("old", "_error")]));
}

#[test]
fn who_is_in_a_room_may_come_back_to_another() {
    let world = World::new();
    let (_alice, mut bob, token) = pair_with_grace(&world);
    world.disconnect(&mut bob);
    let mut mover = world.client("mover");
    let mut witness = world.client("witness");
    world.say(&mut witness, "__join", json!({"room": "s"}));
    world.say(&mut mover, "__join", json!({"room": "s"}));
    let old_id = mover.id();
    world.drain();
    world.say(&mut mover, "__join", json!({"room": "r", "resume": token}));
    assert_eq!(events(&world), named(&[("witness", "_remove_peer"), ("mover", "_peers")]));
    assert_eq!(mover.id(), bob.id());
    assert!(world.directory.membership(old_id).is_none());
    // A member that shows its own token joins as it would without.
    let own = world.token(&mover, "r");
    world.say(&mut mover, "__join", json!({"room": "r", "resume": own}));
    assert_eq!(events(&world), named(&[("alice", "_remove_peer"), ("alice", "_new_peer"), ("mover", "_peers")]));
}

#[test]
fn r10_9_while_draining_nobody_is_awaited() {
    let world = World::new();
    let (mut alice, mut bob, _) = pair_with_grace(&world);
    let mut carol = world.client("carol");
    world.say(&mut carol, "__join", json!({"room": "r", "resume": ""}));
    world.drain();
    world.disconnect(&mut bob);
    world.trigger.begin();
    assert_eq!(world.service.expire(world.start), None);
    world.disconnect(&mut carol);
    world.disconnect(&mut alice);
    assert_eq!(world.drain(), []);
    assert!(world.is_empty());
    let signaling = &world.metrics.signaling;
    assert_eq!([signaling.rooms.get(), signaling.members.get(), signaling.members_away.get()], [0, 0, 0]);
}

#[derive(Clone, Debug)]
enum Step {
    Join { who: usize, room: usize, asks: bool },
    Leave(usize),
    Drop(usize),
    Resume(usize),
    Kick(usize),
    PassGrace,
    Message(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let who = || 0..4usize;
    prop_oneof![
        (who(), 0..2usize, any::<bool>()).prop_map(|(who, room, asks)| Step::Join { who, room, asks }),
        who().prop_map(Step::Leave),
        who().prop_map(Step::Drop),
        who().prop_map(Step::Drop),
        who().prop_map(Step::Resume),
        who().prop_map(Step::Resume),
        who().prop_map(Step::Kick),
        Just(Step::PassGrace),
        who().prop_map(Step::Message),
    ]
}

/// A person that joins, loses its connection and comes back over one new connection after another.
struct Person {
    connection: Client<Log>,
    /// Whether the connection has ended.
    is_cut: bool,
    /// Connections that lost their place and do not know it yet.
    stale: Vec<Client<Log>>,
    room: Option<usize>,
    is_away: bool,
    /// Token and room, until the token must have become invalid.
    token: Option<(String, usize)>,
    known: HashSet<String>,
}

proptest! {
    /// Whatever members do (join, lose their connection, resume, take over, are kicked): a member knows who is there,
    /// has one id, and messages reach exactly those who are there and not away.
    #[test]
    fn members_always_know_who_is_there_or_awaited(steps in prop::collection::vec(step(), 0..60)) {
        const NAMES: [&str; 4] = ["0", "1", "2", "3"];
        let world = World::with(Limits { max_peers_per_room: 4, ..Limits::default() });
        let mut people = NAMES.map(|name| Person {
            connection: world.client(name),
            is_cut: false,
            stale: Vec::new(),
            room: None,
            is_away: false,
            token: None,
            known: HashSet::new(),
        });
        for (i, step) in steps.into_iter().enumerate() {
            let mut expected = Vec::new();
            let mut who_resumes = None;
            match step {
                Step::Join { who, room, asks } => {
                    let person = &mut people[who];
                    if person.is_away {
                        continue;
                    }
                    if person.is_cut {
                        person.connection = world.client(NAMES[who]);
                        person.is_cut = false;
                    }
                    let mut data = json!({"room": room.to_string()});
                    if asks {
                        data["resume"] = json!("");
                    }
                    let verdict = world.say(&mut person.connection, "__join", data);
                    prop_assert_eq!(verdict, Outcome::CredentialsIssued);
                    person.room = Some(room);
                }
                Step::Leave(who) if !people[who].is_away => {
                    world.say(&mut people[who].connection, "__leave", json!({}));
                    if people[who].room.take().is_some() {
                        people[who].token = None;
                    }
                }
                Step::Drop(who) => {
                    let person = &mut people[who];
                    for stale in &mut person.stale {
                        world.disconnect(stale);
                    }
                    person.stale.clear();
                    if !person.is_cut {
                        person.is_cut = true;
                        person.is_away = person.room.is_some() && person.connection.may_return;
                        world.disconnect(&mut person.connection);
                        if !person.is_away {
                            person.room = None;
                        }
                    }
                }
                Step::Resume(who) => {
                    let person = &mut people[who];
                    let Some((token, room)) = person.token.clone() else { continue };
                    let mut connection = world.client(NAMES[who]);
                    let data = json!({"room": room.to_string(), "resume": token});
                    prop_assert_eq!(world.say(&mut connection, "__join", data), Outcome::CredentialsIssued);
                    who_resumes = Some((who, person.room.is_some()));
                    let old = std::mem::replace(&mut person.connection, connection);
                    if !person.is_cut {
                        person.stale.push(old);
                    }
                    person.is_cut = false;
                    person.is_away = false;
                    person.room = Some(room);
                }
                Step::Kick(who) => {
                    let person = &mut people[who];
                    let Some(room) = person.room.take() else { continue };
                    prop_assert!(world.service.kick(&room.to_string(), person.connection.id(), world.clocks(NOW)));
                    world.disconnect(&mut person.connection);
                    (person.is_cut, person.is_away, person.token) = (true, false, None);
                }
                Step::PassGrace => {
                    world.service.expire(world.start + GRACE);
                    for person in people.iter_mut().filter(|person| person.is_away) {
                        (person.is_away, person.room) = (false, None);
                    }
                }
                Step::Message(who) => {
                    world.say(&mut people[who].connection, "__message", json!({"data": 1}));
                    for stale in &mut people[who].stale {
                        world.say(stale, "__message", json!({"data": "stale"}));
                    }
                    let room = people[who].room.filter(|_| !people[who].is_away);
                    expected = (0..4)
                        .filter(|j| *j != who && room.is_some() && people[*j].room == room && !people[*j].is_away)
                        .collect();
                }
                Step::Leave(_) => {}
            }
            let mut received = Vec::new();
            for (to, event, data) in world.drain() {
                let to: usize = to.parse().unwrap();
                let id = || data["socketId"].as_str().unwrap().to_owned();
                let person = &mut people[to];
                match event.as_str() {
                    "_peers" => {
                        person.known = data["connections"].as_array().unwrap().iter()
                            .map(|id| id.as_str().unwrap().to_owned()).collect();
                        person.token = Some((data["resume"].as_str().unwrap().to_owned(), person.room.unwrap()));
                        let resumed = who_resumes.is_some_and(|(who, was_there)| who == to && was_there);
                        prop_assert_eq!(&data["resumed"], &json!(resumed));
                    }
                    "_new_peer" => prop_assert!(person.known.insert(id()), "step {i}"),
                    "_remove_peer" => prop_assert!(person.known.remove(&id()), "step {i}"),
                    "_message" => received.push(to),
                    _ => {}
                }
            }
            received.sort_unstable();
            prop_assert_eq!(received, expected);
            for (i, person) in people.iter().enumerate().filter(|(_, person)| person.room.is_some() && !person.is_away) {
                let there = people.iter().enumerate().filter(|(j, other)| *j != i && other.room == person.room);
                let there: HashSet<_> = there.map(|(_, other)| other.connection.id().to_string()).collect();
                prop_assert_eq!(&person.known, &there);
            }
            let members = people.iter().filter(|person| person.room.is_some()).count();
            prop_assert_eq!(world.directory.len(), members);
            let signaling = &world.metrics.signaling;
            let away = people.iter().filter(|person| person.is_away).count();
            prop_assert_eq!([signaling.members.get(), signaling.members_away.get()], [members as i64, away as i64]);
        }
        for person in &mut people {
            person.stale.iter_mut().for_each(|stale| world.disconnect(stale));
            world.disconnect(&mut person.connection);
        }
        world.service.expire(world.start + GRACE);
        prop_assert!(world.is_empty());
    }
}
