//! Members join, leave, lose their connection, come back, are kicked and talk at the same time, while TURN asks about
//! them, in an order that depends on a seed. TURN must know everything before anybody is told, and every end must be
//! told once.
//!
//! `BIMCC_RTC_SEED` runs only the interleaving of that seed.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Mutex, MutexGuard},
};

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;
use crate::{
    interleaving,
    membership::{AllocationRef, RoomTag},
};

const SHORT: u64 = 300;
const LONG: u64 = 100_000;
/// How many people have connections and tokens.
const PEOPLE: usize = 3;
const ROOMS: usize = 2;
const STEPS: usize = 5;

#[test]
fn turn_knows_before_anybody_is_told_and_what_has_ended_is_told_once() {
    let given = std::env::var("BIMCC_RTC_SEED").ok().map(|seed| seed.parse().expect("a number"));
    let count = if std::env::var("BIMCC_RTC_LONG").is_ok_and(|long| long == "1") { LONG } else { SHORT };
    let first = given.unwrap_or_else(rand::random::<u32>).into();
    let count = if given.is_some() { 1 } else { count };
    for seed in first..first + count {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(seed))) {
            eprintln!("once more with BIMCC_RTC_SEED={seed}");
            resume_unwind(panic);
        }
    }
}

fn run(seed: u64) {
    let mut plan = StdRng::seed_from_u64(seed);
    let stage = Arc::new(Stage::new());
    let mut actors: Vec<Box<dyn FnOnce() + Send>> = Vec::new();
    for person in 0..PEOPLE {
        let (stage, plan) = (stage.clone(), StdRng::from_rng(&mut plan));
        actors.push(Box::new(move || Person::new(person, stage, plan).act()));
    }
    let (turn, turn_plan) = (stage.clone(), StdRng::from_rng(&mut plan));
    actors.push(Box::new(move || turn.ask_as_turn(turn_plan)));
    interleaving::run(seed, actors);
    stage.service.expire(stage.start + GRACE);
    stage.is_over();
}

/// What all threads share.
struct Stage {
    start: Instant,
    service: Service<Connection>,
    directory: Arc<Directory>,
    metrics: Metrics,
    seen: Arc<Seen>,
}

/// What has been told. This lock is not a [`Lock`], so threads do not change within it.
#[derive(Default)]
struct Seen(Mutex<Facts>);

#[derive(Default)]
struct Facts {
    /// For each person: the newest token, its room, and the member that it is for.
    tokens: [Option<(String, String, MemberId)>; PEOPLE],
    /// The member of each allocation, until the allocation has ended.
    allocations: HashMap<u64, MemberId>,
    last_allocation: u64,
    last_id: u128,
}

impl Seen {
    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.0.lock().unwrap()
    }
}

impl Stage {
    fn new() -> Self {
        let World { start, directory, metrics, .. } = World::new();
        let seen = Arc::new(Seen::default());
        let sink = seen.clone();
        directory.on_end_allocation(Box::new(move |ended: AllocationRef| {
            interleaving::point();
            assert!(sink.facts().allocations.remove(&ended.key).is_some(), "ended twice");
        }));
        let issuer =
            Issuer { secret: Secret::new(*b"s"), ttl: Duration::from_secs(TTL), transports: Transports::default() };
        let limits = Limits { max_peers_per_room: PEOPLE - 1, ..Limits::default() };
        let key = ResumeKey::new(&[7; 32]);
        let service =
            Service::new(limits, "this-run", issuer, key, directory.clone(), &metrics.signaling, Shutdown::never());
        Self { start, service, directory, metrics, seen }
    }

    fn now(&self) -> Clocks {
        Clocks { instant: self.start, unix: NOW }
    }

    fn room_of(&self, id: MemberId) -> Option<RoomTag> {
        self.directory.membership(id).map(|membership| membership.room)
    }

    /// Allocates for members that it has heard of, and asks for permissions.
    fn ask_as_turn(&self, mut plan: StdRng) {
        for _ in 0..PEOPLE * STEPS {
            let known = self.seen.facts().tokens[plan.random_range(0..PEOPLE)].as_ref().map(|(.., id)| *id);
            interleaving::point();
            let Some(id) = known else { continue };
            let Some(room) = self.room_of(id) else { continue };
            let key = {
                let mut facts = self.seen.facts();
                facts.last_allocation += 1;
                facts.last_allocation
            };
            let allocation = AllocationRef { worker: 0, key };
            if self.directory.allocation_opened(id, allocation) {
                // No other thread runs between these two.
                self.seen.facts().allocations.insert(key, id);
                self.directory.verify_address(id, [192, 0, 2, 7].into());
            }
            if let Some(peer) = self.directory.member_at(room, [192, 0, 2, 7].into()) {
                let _ = self.directory.is_in_room(peer, room);
            }
        }
    }

    fn is_over(&self) {
        assert!(self.seen.facts().allocations.is_empty(), "allocations of nobody");
        assert!(self.directory.is_empty());
        assert!(self.service.shards.iter().all(|shard| shard.owned.lock().hub.is_empty()));
        assert!(self.service.rosters.iter().all(|roster| roster.lock().is_empty()));
        assert_eq!(self.service.rooms.open(), 0);
        let signaling = &self.metrics.signaling;
        assert_eq!([signaling.rooms.get(), signaling.members.get(), signaling.members_away.get()], [0, 0, 0]);
    }
}

/// What one connection receives, and what it knows from that.
#[derive(Clone)]
struct Connection(Arc<Inbox>);

struct Inbox {
    person: usize,
    seen: Arc<Seen>,
    directory: Arc<Directory>,
    state: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    you: Option<MemberId>,
    /// The other members, if the connection is in a room.
    others: Option<HashSet<MemberId>>,
}

impl Inbox {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.state.lock().unwrap()
    }

    fn room_of(&self, id: MemberId) -> Option<RoomTag> {
        self.directory.membership(id).map(|membership| membership.room)
    }
}

impl Outbox for Connection {
    fn try_send(&self, frame: Frame) -> Result<(), QueueFull> {
        interleaving::point();
        let Inbox { person, seen, .. } = &*self.0;
        let mut message: Value = serde_json::from_str(frame.as_str()).unwrap();
        let event = message["eventName"].as_str().unwrap().to_owned();
        let data = message["data"].take();
        let id = |value: &Value| value.as_str().unwrap().parse::<MemberId>().unwrap();
        match event.as_str() {
            "_peers" => {
                let you = id(&data["you"]);
                let others: HashSet<_> = data["connections"].as_array().unwrap().iter().map(id).collect();
                let room = self.0.room_of(you);
                assert!(room.is_some(), "TURN does not know who it is that is told");
                for other in &others {
                    assert_eq!(self.0.room_of(*other), room, "TURN does not know of a peer");
                }
                let text = |value: &Value| value.as_str().unwrap().to_owned();
                seen.facts().tokens[*person] = Some((text(&data["resume"]), text(&data["room"]), you));
                *self.0.known() = Known { you: Some(you), others: Some(others) };
            }
            "_new_peer" => {
                let newcomer = id(&data["socketId"]);
                let room = self.0.room_of(newcomer);
                assert!(room.is_some(), "TURN does not know the newcomer");
                let mut known = self.0.known();
                assert_eq!(self.0.room_of(known.you.unwrap()), room, "of another room");
                let others = known.others.as_mut().expect("told of a room in which it is not");
                assert!(others.insert(newcomer), "a newcomer is told twice");
            }
            "_remove_peer" => {
                let gone = id(&data["socketId"]);
                let mut known = self.0.known();
                if data["reason"] != "moved" {
                    let room = self.0.room_of(known.you.unwrap());
                    assert!(
                        self.0.room_of(gone).is_none_or(|other| Some(other) != room),
                        "TURN still knows who is gone"
                    );
                    let lives_on = seen.facts().allocations.values().any(|owner| *owner == gone);
                    assert!(!lives_on || self.0.room_of(gone).is_some(), "an allocation of who is gone");
                }
                let others = known.others.as_mut().expect("told of a room in which it is not");
                assert!(others.remove(&gone), "the end of a member is told twice");
            }
            "_message" => {
                let sender = id(&data["socketId"]);
                let known = self.0.known();
                let others = known.others.as_ref().expect("told of a room in which it is not");
                assert!(others.contains(&sender), "a message of a stranger");
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&self, _: CloseReason) {
        self.0.known().others = None;
    }
}

/// A person that acts on what it received, over one new connection after another.
struct Person {
    number: usize,
    stage: Arc<Stage>,
    plan: StdRng,
    client: Client<Connection>,
    /// Connections that were replaced by others and are not closed yet.
    older: Vec<Client<Connection>>,
}

impl Person {
    fn new(number: usize, stage: Arc<Stage>, plan: StdRng) -> Self {
        let client = Self::connect(number, &stage);
        Self { number, stage, plan, client, older: Vec::new() }
    }

    fn connect(number: usize, stage: &Stage) -> Client<Connection> {
        let id = {
            let mut facts = stage.seen.facts();
            facts.last_id += 1;
            MemberId::from_bits(facts.last_id)
        };
        let inbox = Inbox {
            person: number,
            seen: stage.seen.clone(),
            directory: stage.directory.clone(),
            state: Mutex::default(),
        };
        let address = Some([192, 0, 2, 7].into());
        Client::new(id, Connection(Arc::new(inbox)), address, Host::parse("192.0.2.1").unwrap().into(), None)
    }

    fn act(mut self) {
        for _ in 0..STEPS {
            let whose = self.plan.random_range(0..PEOPLE);
            match self.plan.random_range(0..12) {
                0..3 => {
                    let room = self.plan.random_range(0..ROOMS).to_string();
                    let data =
                        if self.plan.random() { json!({"room": room, "resume": ""}) } else { json!({"room": room}) };
                    self.say("__join", data);
                }
                3 => {
                    self.say("__leave", json!({}));
                    if !self.client.is_joined() {
                        self.client.outbox().0.known().others = None;
                    }
                }
                4 => self.disconnect(),
                5..8 => self.come_back(whose),
                8 => {
                    let token = self.stage.seen.facts().tokens[whose].clone();
                    let Some((_, room, id)) = token else { continue };
                    self.stage.service.kick(&room, id, self.stage.now());
                }
                9 => _ = self.stage.service.expire(self.stage.start + GRACE),
                _ => self.say("__message", json!({"data": 1})),
            }
        }
        self.disconnect();
        for mut older in self.older {
            self.stage.service.disconnect(&mut older, self.stage.start + GRACE, self.stage.start);
        }
    }

    fn say(&mut self, event: &str, data: Value) {
        let text = json!({"eventName": event, "data": data}).to_string();
        self.stage.service.handle_text(&mut self.client, &text, self.stage.now());
    }

    fn disconnect(&mut self) {
        let mut client = std::mem::replace(&mut self.client, Self::connect(self.number, &self.stage));
        self.stage.service.disconnect(&mut client, self.stage.start + GRACE, self.stage.start);
        client.outbox().0.known().others = None;
    }

    /// Comes back over another connection, with the token of a person that may be present, away or gone.
    fn come_back(&mut self, whose: usize) {
        let token = self.stage.seen.facts().tokens[whose].clone();
        let Some((token, room, _)) = token else { return };
        let before = std::mem::replace(&mut self.client, Self::connect(self.number, &self.stage));
        self.older.push(before);
        self.say("__join", json!({"room": room, "resume": token}));
    }
}
