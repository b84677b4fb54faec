//! Connections that send anything to the rooms, break, come back and are removed.
//!
//! The input is lines. The first byte of each line chooses a connection, the second what happens to it, and the rest
//! how; most often it is a text frame, in which `$0` to `$3` stand for the connections' ids, `$r` for the newest resume
//! token of this one and `$t` for that of the next one. What must hold: everything that is sent is well-formed, nothing
//! passes between rooms, each message either reaches its receivers unchanged or is answered with an `_error`, and
//! gauges and directory agree at any time.

use std::{
    cell::{Cell, RefCell},
    net::IpAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bimcc_rtc::{
    credentials::Secret,
    ice_servers::{Issuer, Transports},
    membership::Directory,
    observe::metrics::SignalingMetrics,
    shutdown::Shutdown,
    signaling::{
        Limits, ResumeKey,
        close_reason::CloseReason,
        frame::Frame,
        outbox::{Outbox, QueueFull},
        service::{Client, Clocks, Outcome, Service},
    },
    values::{host::Host, member::MemberId},
};
use serde_json::{Map, Value};

const CONNECTIONS: usize = 4;
const LIMITS: Limits = Limits { max_peers_per_room: 3, max_rooms: 2, max_message_bytes: 65_536 };
const TTL: Duration = Duration::from_secs(600);
const GRACE: Duration = Duration::from_secs(15);

/// More lines would not find more, and would take longer.
const MAX_LINES: usize = 100;

const FORWARDED: [(&str, &str); 5] = [
    ("__offer", "_offer"),
    ("__answer", "_answer"),
    ("__ice_candidate", "_ice_candidate"),
    ("__message", "_message"),
    ("__update", "_peer_updated"),
];

pub fn run(input: &[u8]) {
    let mut world = World::new();
    for line in input.split(|byte| *byte == b'\n').take(MAX_LINES) {
        if let Some(([who, what], how)) = line.split_first_chunk() {
            world.step(usize::from(*who) % CONNECTIONS, *what, how);
            world.is_in_order();
        }
    }
    world.end();
}

/// What waits for one connection.
#[derive(Clone, Default)]
struct Inbox(Rc<Waiting>);

#[derive(Default)]
struct Waiting {
    frames: RefCell<Vec<Frame>>,
    ended: Cell<Option<CloseReason>>,
}

impl Outbox for Inbox {
    fn try_send(&self, frame: Frame) -> Result<(), QueueFull> {
        self.0.frames.borrow_mut().push(frame);
        Ok(())
    }

    fn end(&self, reason: CloseReason) {
        self.0.ended.set(Some(reason));
    }
}

/// A frame that a connection got: its event and data.
struct Got {
    by: usize,
    event: String,
    /// The data is null if it contains input that cannot be parsed, such as numbers that are too large.
    data: Value,
}

struct World {
    service: Service<Inbox>,
    metrics: SignalingMetrics,
    directory: Arc<Directory>,
    connections: Vec<Client<Inbox>>,
    tokens: [String; CONNECTIONS],
    last_id: u128,
    unix: u64,
    instant: Instant,
}

impl World {
    fn new() -> Self {
        let metrics = SignalingMetrics::default();
        let directory = Arc::new(Directory::new());
        let transports = Transports { udp: Some(3478), ..Transports::default() };
        let issuer = Issuer { secret: Secret::new(*b"fuzz"), ttl: TTL, transports };
        let service = Service::new(
            LIMITS,
            "this run",
            issuer,
            ResumeKey::new(&[7; 32]),
            directory.clone(),
            &metrics,
            Shutdown::never(),
        );
        let mut world = Self {
            service,
            metrics,
            directory,
            connections: Vec::new(),
            tokens: Default::default(),
            last_id: 0,
            unix: 1_000_000,
            instant: Instant::now(),
        };
        for _ in 0..CONNECTIONS {
            let connection = world.connect();
            world.connections.push(connection);
        }
        world
    }

    fn clocks(&self) -> Clocks {
        Clocks { instant: self.instant, unix: self.unix }
    }

    fn connect(&mut self) -> Client<Inbox> {
        self.last_id += 1;
        let address = IpAddr::from([192, 0, 2, self.last_id as u8]);
        let url_room = Some("of-the-url".into()).filter(|_| self.last_id.is_multiple_of(2));
        let host = Host::parse("192.0.2.1").unwrap();
        Client::new(MemberId::from_bits(self.last_id), Inbox::default(), Some(address), host.into(), url_room)
    }

    fn step(&mut self, who: usize, what: u8, how: &[u8]) {
        match what % 16 {
            0 => {
                let mut replaced = self.connect();
                std::mem::swap(&mut self.connections[who], &mut replaced);
                self.service.disconnect(&mut replaced, self.instant + GRACE, self.instant);
            }
            1 => {
                let seconds = u64::from(how.first().copied().unwrap_or(1));
                self.unix += seconds;
                self.instant += Duration::from_secs(seconds);
                let next = self.service.expire(self.instant);
                assert!(next.is_none_or(|next| next > self.instant), "a timer at once again");
            }
            2 => {
                let Ok(room) = str::from_utf8(how) else { return };
                let id = self.connections[who].id();
                let is_there =
                    self.service.members(room).is_some_and(|all| all.iter().any(|one| one.socket_id == id.to_string()));
                assert_eq!(self.service.kick(room, id, self.clocks()), is_there);
            }
            3 => self.service.push_ice_servers(&self.connections[who], self.clocks()),
            _ => {
                let how = self.filled_in(who, how);
                if let Ok(text) = str::from_utf8(&how) {
                    return self.say(who, text);
                }
            }
        }
        for got in self.drain() {
            self.may_get(&got);
            let is_forwarded = FORWARDED.iter().any(|(_, event)| got.event == *event);
            assert!(!is_forwarded, "{} out of nothing", got.event);
        }
    }

    /// The text with ids and tokens put in.
    fn filled_in(&self, who: usize, template: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        let mut rest = template.iter();
        while let Some(byte) = rest.next() {
            match (byte, rest.as_slice().first()) {
                (b'$', Some(digit @ b'0'..=b'3')) => {
                    text.extend(self.connections[usize::from(digit - b'0')].id().to_string().into_bytes());
                    rest.next();
                }
                (b'$', Some(whose @ (b'r' | b't'))) => {
                    let whose = if *whose == b'r' { who } else { (who + 1) % CONNECTIONS };
                    text.extend(self.tokens[whose].as_bytes());
                    rest.next();
                }
                (byte, _) => text.push(*byte),
            }
        }
        text
    }

    fn say(&mut self, who: usize, text: &str) {
        let id = self.connections[who].id();
        let roommates = self.roommates(who);
        let clocks = self.clocks();
        let verdict = self.service.handle_text(&mut self.connections[who], text, clocks);
        let got = self.drain();
        got.iter().for_each(|got| self.may_get(got));

        let errors = got.iter().filter(|got| got.by == who && got.event == "_error").count();
        let is_refused = matches!(verdict, Outcome::Bad | Outcome::Refused);
        assert_eq!(errors, usize::from(is_refused), "{verdict:?} for {text}");

        let said = serde_json::from_str::<Map<String, Value>>(text).ok();
        let event = said.as_ref().and_then(|said| said.get("eventName")?.as_str());
        let forwarded: Vec<_> = got.iter().filter(|got| FORWARDED.iter().any(|(_, to)| got.event == *to)).collect();
        if event.is_some_and(|event| event == "__join") {
            // A member that comes back may have changed its name.
            return assert!(forwarded.iter().all(|got| got.event == "_peer_updated"));
        }
        let Some((said, event)) = said.as_ref().zip(event) else {
            return;
        };
        let expected = FORWARDED.iter().find(|(from, _)| *from == event).map(|(_, to)| *to);
        assert!(forwarded.iter().all(|got| Some(got.event.as_str()) == expected), "{event} became another event");
        assert!(forwarded.is_empty() || !is_refused, "refused and forwarded");
        let sent = said.get("data").and_then(Value::as_object).cloned().unwrap_or_default();
        let target = sent.get("socketId").and_then(Value::as_str).filter(|_| event != "__update");
        // A sender only gets its own message if it is the target.
        let is_for = |other: &usize| match target {
            Some(target) => {
                let is_there = roommates.contains(other) || (*other == who && self.is_here(who));
                is_there && target == self.connections[*other].id().to_string()
            }
            None => roommates.contains(other),
        };
        if expected.is_some() && !is_refused {
            let to: Vec<_> = (0..CONNECTIONS).filter(is_for).collect();
            assert_eq!(forwarded.iter().map(|got| got.by).collect::<Vec<_>>(), to, "{text}");
        }
        for got in forwarded.iter().filter(|got| got.data.is_object()) {
            let Value::Object(mut received) = got.data.clone() else { continue };
            let mut sent = sent.clone();
            assert_eq!(received.get("socketId").and_then(Value::as_str), Some(&*id.to_string()), "from somebody else");
            for key in ["socketId", "label", "sdpMLineIndex"] {
                received.remove(key);
                sent.remove(key);
            }
            assert_eq!(received, sent, "contents changed");
        }
    }

    /// The others that a message to the room reaches: nobody, if another connection has taken over.
    fn roommates(&self, who: usize) -> Vec<usize> {
        let room = |one: usize| self.directory.membership(self.connections[one].id()).map(|found| found.room);
        let is_mate = |other: &usize| {
            let are_here = self.is_here(who) && self.is_here(*other);
            *other != who && are_here && room(*other).is_some() && room(*other) == room(who)
        };
        (0..CONNECTIONS).filter(is_mate).collect()
    }

    /// Whether the connection sits in a room.
    fn is_here(&self, one: usize) -> bool {
        self.connections[one].is_joined() && self.connections[one].outbox().0.ended.get().is_none()
    }

    /// Everything that was sent since the last call.
    fn drain(&mut self) -> Vec<Got> {
        let mut all = Vec::new();
        for (by, connection) in self.connections.iter().enumerate() {
            for frame in connection.outbox().0.frames.take() {
                let text = frame.as_str();
                let raw: Map<String, Value> = match serde_json::from_str(text) {
                    Ok(frame) => frame,
                    Err(_) => {
                        serde_json::from_str::<serde::de::IgnoredAny>(text).expect("all frames are JSON");
                        let head = text.strip_prefix("{\"eventName\":\"").expect("an event comes first");
                        let event = head.split('"').next().unwrap().to_owned();
                        Map::from_iter([("eventName".to_owned(), event.into()), ("data".to_owned(), Value::Null)])
                    }
                };
                let event = raw["eventName"].as_str().expect("it names the event").to_owned();
                let data = raw.get("data").expect("it has data").clone();
                if let Some(token) = data["resume"].as_str().filter(|_| ["_peers", "_ice_servers"].contains(&&*event)) {
                    self.tokens[by] = token.to_owned();
                }
                all.push(Got { by, event, data });
            }
        }
        all
    }

    /// Whether the connection may get this.
    fn may_get(&self, got: &Got) {
        let own = &self.connections[got.by];
        let room = |id: MemberId| self.directory.membership(id).map(|found| found.room);
        let id = |value: &Value| value.as_str().and_then(|id| id.parse::<MemberId>().ok());
        match got.event.as_str() {
            "_peers" => {
                let data = &got.data;
                let (Some(you), Some(others)) = (id(&data["you"]), data["connections"].as_array()) else {
                    // It contains a name or metadata that only its sender can parse.
                    return assert!(data.is_null());
                };
                assert_eq!(you, own.id());
                assert!(others.len() < LIMITS.max_peers_per_room);
                for other in others {
                    let other = id(other).expect("an id");
                    assert!(other != you && room(other) == room(you) && room(you).is_some(), "from another room");
                }
            }
            "_new_peer" | "_offer" | "_answer" | "_ice_candidate" | "_message" | "_peer_updated" => {
                if let Some(sender) = id(&got.data["socketId"]) {
                    let is_for_others = ["_new_peer", "_peer_updated"].contains(&&*got.event);
                    assert!(sender != own.id() || !is_for_others, "to itself");
                    assert!(room(sender).is_some() && room(sender) == room(own.id()), "passed between rooms");
                }
            }
            "_remove_peer" => assert_ne!(id(&got.data["socketId"]), Some(own.id())),
            "_error" => assert!(got.data["code"].is_string() && got.data["message"].is_string()),
            "_ice_servers" | "_pong" => {}
            other => panic!("{other} is no event"),
        }
    }

    /// Checks the conditions that are always true.
    fn is_in_order(&self) {
        let rooms = self.service.rooms();
        let members: usize = rooms.iter().map(|room| room.members).sum();
        let away: usize = rooms.iter().map(|room| room.away).sum();
        assert!(rooms.len() <= LIMITS.max_rooms && rooms.iter().all(|room| room.members <= LIMITS.max_peers_per_room));
        assert_eq!(self.metrics.rooms.get(), rooms.len() as i64);
        assert_eq!(self.metrics.members.get(), members as i64);
        assert_eq!(self.metrics.members_away.get(), away as i64);
        assert_eq!(self.directory.len(), members);
        let holders = (0..self.connections.len()).filter(|one| self.is_here(*one)).count();
        assert_eq!(holders, members - away, "one connection for each member");
    }

    fn end(mut self) {
        for connection in &mut self.connections {
            self.service.disconnect(connection, self.instant + GRACE, self.instant);
        }
        let late = self.instant + GRACE + Duration::from_secs(1);
        assert!(self.service.expire(late).is_none(), "nobody is waited for");
        self.connections.clear();
        self.is_in_order();
        assert!(self.directory.is_empty() && self.service.rooms().is_empty());
    }
}
