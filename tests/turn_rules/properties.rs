//! Random input: nothing panics, only requests are answered, and every count stays true.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use bimcc_rtc::turn::core::reach::Reach;
use proptest::{collection::vec, prelude::*, sample::Index};

use crate::harness::*;

const PEERS: [&str; 4] = ["203.0.113.1:7000", "203.0.113.1:7001", "203.0.113.2:7000", "198.51.100.1:50000"];
const NUMBERS: [u16; 3] = [0x4000, 0x4001, 0x7FFF];

/// A world in which alice has an allocation, a permission and a channel.
fn furnished() -> (World, Client) {
    let mut world = World::new();
    let alice = world.alice();
    assert_eq!(world.request(&alice, Req::channel_bind(0x4000, PEERS[0])).code(), 0);
    (world, alice)
}

/// Messages of every kind that a client might send.
fn valid_messages(alice: &Client) -> Vec<Vec<u8>> {
    let requests = [
        Req::allocate().lifetime(700).family(1),
        Req::refresh(600),
        Req::permission(&PEERS),
        Req::channel_bind(0x4001, PEERS[2]),
    ];
    let signed = requests.into_iter().flat_map(|request| {
        let signed = request.auth(alice);
        [signed.clone().fingerprint(), signed]
    });
    let others = [
        Req::new(METHOD_BINDING),
        Req::allocate(),
        Req::send(addr(PEERS[0]), b"payload").with(attr::ATTR_DONT_FRAGMENT, b""),
        Req::of_class(METHOD_BINDING, CLASS_INDICATION),
    ];
    let mut messages: Vec<_> = signed.chain(others).map(|request| request.bytes().to_vec()).collect();
    messages.push(channel_data(0x4000, b"payload"));
    messages
}

/// Whether these bytes announce a STUN request.
fn is_request(bytes: &[u8]) -> bool {
    bytes.len() >= 20 && bytes[0] & 0xC1 == 0 && bytes[1] & 0x10 == 0
}

/// The part that MESSAGE-INTEGRITY covers, except for the length in the header: everything except FINGERPRINT.
fn signed_part(message: &[u8]) -> &[u8] {
    let fingerprint = message.len() - 8;
    if message[fingerprint..].starts_with(&[0x80, 0x28]) { &message[..fingerprint] } else { message }
}

/// One way to damage bytes.
#[derive(Clone, Debug)]
enum Mutation {
    Flip(Index, u8),
    Cut(Index),
    Insert(Index, Vec<u8>),
    Remove(Index),
    /// Sets the length in the header to the real length.
    FixLength,
}

impl Mutation {
    fn any() -> impl Strategy<Value = Self> {
        prop_oneof![
            4 => (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Self::Flip(at, 1 << bit)),
            1 => any::<Index>().prop_map(Self::Cut),
            2 => (any::<Index>(), vec(any::<u8>(), 1..12)).prop_map(|(at, bytes)| Self::Insert(at, bytes)),
            1 => any::<Index>().prop_map(Self::Remove),
            2 => Just(Self::FixLength),
        ]
    }

    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        match self {
            Self::Flip(at, bit) => {
                let at = at.index(bytes.len());
                bytes[at] ^= bit;
            }
            Self::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Self::Insert(at, more) => {
                let at = at.index(bytes.len());
                bytes.splice(at..at, more.iter().copied());
            }
            Self::Remove(at) => {
                bytes.remove(at.index(bytes.len()));
            }
            Self::FixLength if bytes.len() >= 20 => {
                bytes.resize(bytes.len().next_multiple_of(4), 0);
                let len = (bytes.len() - 20) as u16;
                bytes[2..4].copy_from_slice(&len.to_be_bytes());
            }
            Self::FixLength => {}
        }
    }
}

/// The next action of a client, of a peer, or of time. Indices choose among few, so that they collide often.
#[derive(Clone, Debug)]
enum Step {
    Allocate(usize),
    Refresh(usize, u32),
    Permit(usize, Vec<usize>),
    Bind(usize, usize, usize),
    Send(usize, usize),
    ChannelData(usize, usize),
    FromPeer(usize, usize),
    Junk(usize, Vec<u8>),
    Repeat(usize),
    Enter(u128, u32),
    Leave(u128),
    Pass(u64),
}

impl Step {
    fn any() -> impl Strategy<Value = Self> {
        let client = || 0..4_usize;
        let peer = || 0..PEERS.len();
        prop_oneof![
            3 => client().prop_map(Self::Allocate),
            3 => (client(), prop_oneof![Just(0), Just(600), any::<u32>()]).prop_map(|(c, l)| Self::Refresh(c, l)),
            4 => (client(), vec(peer(), 0..3)).prop_map(|(c, peers)| Self::Permit(c, peers)),
            4 => (client(), 0..NUMBERS.len(), peer()).prop_map(|(c, n, p)| Self::Bind(c, n, p)),
            4 => (client(), peer()).prop_map(|(c, p)| Self::Send(c, p)),
            4 => (client(), 0..NUMBERS.len()).prop_map(|(c, n)| Self::ChannelData(c, n)),
            4 => (client(), peer()).prop_map(|(c, p)| Self::FromPeer(c, p)),
            1 => (client(), vec(any::<u8>(), 0..64)).prop_map(|(c, bytes)| Self::Junk(c, bytes)),
            1 => client().prop_map(Self::Repeat),
            1 => (1..3_u128, 1..3_u32).prop_map(|(member, room)| Self::Enter(member, room)),
            1 => (1..3_u128).prop_map(Self::Leave),
            4 => prop_oneof![Just(1), Just(60), Just(299), Just(300), Just(600)].prop_map(Self::Pass),
        ]
    }
}

/// The rights that a client has, by the answers that it got.
#[derive(Default)]
struct Rights {
    permissions: BTreeMap<IpAddr, Instant>,
    channels: BTreeMap<u16, (SocketAddr, Instant)>,
}

/// Sessions, and a record of their answers.
struct Checked {
    world: World,
    clients: Vec<Client>,
    rights: HashMap<usize, Rights>,
    last: Vec<Option<Vec<u8>>>,
}

impl Checked {
    fn new() -> Self {
        let mut world = World::new();
        for member in [1, 2] {
            world.enter(member, 1, Some("203.0.113.1"));
        }
        let clients = vec![
            world.api_client("alice", "192.0.2.1:1000"),
            world.api_client("bob", "192.0.2.2:1000"),
            world.member_client(1, "203.0.113.1:1000"),
            world.member_client(2, "203.0.113.2:1000"),
        ];
        Self { world, last: vec![None; clients.len()], clients, rights: HashMap::new() }
    }

    fn request(&mut self, client: usize, request: Req) -> Option<Reply> {
        let signed = request.auth(&self.clients[client]);
        // Only requests whose repetition gives no new rights.
        if [METHOD_ALLOCATE, METHOD_REFRESH].contains(&signed.0.typ.method) {
            self.last[client] = Some(signed.bytes().to_vec());
        }
        self.exchange(client, signed.bytes())
    }

    fn exchange(&mut self, client: usize, bytes: &[u8]) -> Option<Reply> {
        match self.world.send(self.clients[client].at, bytes) {
            Outcome::Reply(reply) if reply.code() == 438 => {
                self.clients[client].nonce = reply.nonce();
                None
            }
            Outcome::Reply(reply) => Some(reply),
            Outcome::Silence => None,
            other => panic!("a request became {other:?}"),
        }
    }

    fn rights(&mut self, client: usize) -> &mut Rights {
        self.rights.entry(client).or_default()
    }

    /// Checks that the client may send what the session wants sent.
    fn check_sent(&mut self, client: usize, outcome: Outcome, expected: SocketAddr) {
        let Outcome::ToPeer { peer, payload, reach, .. } = outcome else {
            assert!(matches!(outcome, Outcome::Silence));
            return;
        };
        let now = self.world.now.instant;
        assert_eq!((peer, &payload[..]), (expected, &b"out"[..]));
        assert!(self.rights(client).permissions.get(&peer.ip()).is_some_and(|until| now < *until), "{peer}");
        assert_eq!(reach == Reach::Own, peer.ip() == ip(SERVER_V4));
    }

    fn take(&mut self, step: Step) {
        let now = self.world.now.instant;
        match step {
            Step::Allocate(client) => {
                let is_new = self.world.relayed(self.clients[client].at).is_none();
                if self.request(client, Req::allocate()).is_some_and(|reply| reply.code() == 0) {
                    assert!(is_new);
                    self.rights.insert(client, Rights::default());
                }
            }
            Step::Refresh(client, lifetime) => {
                let reply = self.request(client, Req::refresh(lifetime));
                if let Some(reply) = reply.filter(|reply| reply.code() == 0) {
                    assert_eq!(reply.lifetime(), if lifetime == 0 { 0 } else { lifetime.clamp(600, 3600) });
                }
            }
            Step::Permit(client, peers) => {
                let peers: Vec<_> = peers.into_iter().map(|peer| PEERS[peer]).collect();
                if self.request(client, Req::permission(&peers)).is_some_and(|reply| reply.code() == 0) {
                    assert!(!peers.is_empty());
                    let until = now + minutes(5);
                    self.rights(client).permissions.extend(peers.iter().map(|peer| (addr(peer).ip(), until)));
                }
            }
            Step::Bind(client, number, peer) => {
                let (number, peer) = (NUMBERS[number], PEERS[peer]);
                if self.request(client, Req::channel_bind(number, peer)).is_some_and(|reply| reply.code() == 0) {
                    let peer = addr(peer);
                    let rights = self.rights(client);
                    for (other, (bound, until)) in &rights.channels {
                        let conflicts = (*other == number) != (*bound == peer) && now < *until + minutes(5);
                        assert!(!conflicts, "{number:#x} to {peer} although {other:#x} was bound to {bound}");
                    }
                    rights.channels.insert(number, (peer, now + minutes(10)));
                    rights.permissions.insert(peer.ip(), now + minutes(5));
                }
            }
            Step::Send(client, peer) => {
                let peer = addr(PEERS[peer]);
                let outcome = self.world.send(self.clients[client].at, Req::send(peer, b"out").bytes());
                self.check_sent(client, outcome, peer);
            }
            Step::ChannelData(client, number) => {
                let number = NUMBERS[number];
                let outcome = self.world.send(self.clients[client].at, &channel_data(number, b"out"));
                if let Outcome::ToPeer { .. } = outcome {
                    let (peer, until) = self.rights(client).channels[&number];
                    assert!(now < until);
                    self.check_sent(client, outcome, peer);
                }
            }
            Step::FromPeer(client, peer) => {
                let peer = addr(PEERS[peer]);
                if let Some(got) = self.world.peer_sends(self.clients[client].at, peer, b"in") {
                    let rights = self.rights(client);
                    assert!(rights.permissions.get(&peer.ip()).is_some_and(|until| now < *until), "{peer}");
                    let mut channels = rights.channels.iter();
                    let channel = channels.find(|(_, (bound, until))| *bound == peer && now < *until);
                    let payload = b"in".to_vec();
                    assert_eq!(
                        got,
                        match channel {
                            Some((number, _)) => FromPeer::Channel { number: *number, payload },
                            None => FromPeer::Data { peer, payload },
                        }
                    );
                }
            }
            Step::Junk(client, bytes) => {
                let outcome = self.world.send(self.clients[client].at, &bytes);
                assert!(is_request(&bytes) || !matches!(outcome, Outcome::Reply(_)));
            }
            Step::Repeat(client) => {
                if let Some(bytes) = self.last[client].clone() {
                    self.exchange(client, &bytes);
                }
            }
            Step::Enter(member, room) => {
                self.world.enter(member, room, Some("203.0.113.1"));
                self.world.end_told();
            }
            Step::Leave(member) => self.world.leave(member),
            Step::Pass(time) => self.world.pass(Duration::from_secs(time)),
        }
    }

    fn check_counts(&mut self) {
        let (now, world) = (self.world.now.instant, &self.world);
        let lives = |client: &usize| world.relayed(self.clients[*client].at).is_some();
        let allocations = (0..self.clients.len()).filter(lives).count() as u64;
        assert_eq!(world.metric("allocations"), allocations);
        self.rights.retain(|client, _| lives(client));
        for rights in self.rights.values_mut() {
            rights.permissions.retain(|_, until| now < *until);
        }
        let permissions: u64 = self.rights.values().map(|rights| rights.permissions.len() as u64).sum();
        let bound = |rights: &Rights| rights.channels.values().filter(|(_, until)| now < *until).count() as u64;
        assert_eq!(world.metric("channels"), self.rights.values().map(bound).sum::<u64>());
        // Permissions because of a member end with that member, so members may have fewer.
        let members = [2, 3].iter().any(|member| self.rights.contains_key(member));
        let counted = world.metric("permissions");
        assert!(if members { counted <= permissions } else { counted == permissions }, "{counted} of {permissions}");
    }

    fn check_end(mut self) {
        for at in self.world.clients() {
            self.world.end(at);
        }
        self.world.pass(minutes(1));
        assert_eq!(self.world.clients(), []);
        for held in ["allocations", "permissions", "channels"] {
            assert_eq!(self.world.metric(held), 0, "{held}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn random_bytes_do_no_harm(datagrams in vec(vec(any::<u8>(), 0..300), 1..20)) {
        let (mut world, alice) = furnished();
        for at in [alice.at, addr("192.0.2.99:1")] {
            for bytes in &datagrams {
                let outcome = world.send(at, bytes);
                prop_assert!(is_request(bytes) || !matches!(outcome, Outcome::Reply(_)));
            }
        }
        prop_assert_eq!(world.metric("permissions"), 1);
    }

    #[test]
    fn random_attributes_do_no_harm(
        kind in 0..0x4000_u16,
        attributes in vec((prop_oneof![0..0x30_u16, any::<u16>()], vec(any::<u8>(), 0..24)), 0..8),
        signed in any::<bool>(),
    ) {
        let (mut world, alice) = furnished();
        let mut request = Req::new(METHOD_BINDING);
        request.0.typ.read_value(kind);
        request.0.write_type();
        let request = attributes.iter().fold(request, |request, (number, value)| request.with(attr::AttrType(*number), value));
        let has_fingerprint = attributes.iter().any(|(number, _)| *number == 0x8028);
        let request = if signed && !has_fingerprint { request.auth(&alice) } else { request };
        for at in [alice.at, addr("192.0.2.99:1")] {
            let outcome = world.send(at, request.bytes());
            prop_assert!(is_request(request.bytes()) || !matches!(outcome, Outcome::Reply(_)));
        }
    }

    #[test]
    fn spoiled_messages_do_no_harm(which in any::<Index>(), mutations in vec(Mutation::any(), 1..4)) {
        let (mut world, alice) = furnished();
        let messages = valid_messages(&alice);
        let original = which.get(&messages);
        let mut bytes = original.clone();
        mutations.iter().for_each(|mutation| mutation.apply(&mut bytes));
        for at in [alice.at, addr("192.0.2.99:1")] {
            let outcome = world.send(at, &bytes);
            prop_assert!(is_request(&bytes) || !matches!(outcome, Outcome::Reply(_)));
        }
        let (before, after) = (signed_part(original), &bytes[..bytes.len().min(signed_part(original).len())]);
        if before.iter().zip(after).enumerate().any(|(at, (a, b))| a != b && !(2..4).contains(&at)) {
            prop_assert_eq!(world.metric("permissions"), 1, "an altered request was carried out");
        }
        prop_assert!(!world.has_session(addr("192.0.2.99:1")));
    }

    #[test]
    fn peer_data_of_every_size_arrives_whole(payload in vec(any::<u8>(), 0..2000), channel in any::<bool>()) {
        let (mut world, alice) = furnished();
        let peer = addr(if channel { PEERS[0] } else { PEERS[1] });
        let got = world.peer_sends(alice.at, peer, &payload);
        prop_assert_eq!(got, Some(if channel { FromPeer::Channel { number: 0x4000, payload } } else { FromPeer::Data { peer, payload } }));
    }

    #[test]
    fn whatever_clients_do_nobody_gets_more_than_was_granted(steps in vec(Step::any(), 1..80)) {
        let mut checked = Checked::new();
        for step in steps {
            checked.take(step);
            checked.check_counts();
        }
        checked.check_end();
    }
}
