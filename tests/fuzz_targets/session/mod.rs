//! Clients with valid credentials, members of rooms and users of the API, which do whatever the input says, in any
//! order and at any time; and a simple model of what each of them may do.
//!
//! The input is a list of steps, each a byte that says what happens and a few that say how (see [`World::step`]).
//! Messages are made and signed here, so that the input decides what is asked and not whether a checksum is right. The
//! model learns only from the server's answers. What must hold, besides answers being well-formed and signed:
//!
//! * Only a client that has proven a valid credential is granted anything, and never more than the policy and the
//!   quotas allow.
//! * Data passes only to and from peers with a permission in force that the policy still allows, unchanged, and between
//!   relayed addresses only within one room, or between users of the API. If data may pass, it does.
//! * No timer is due again at once, and when all clients have gone, nothing is left.

mod model;
mod owner;

use std::{
    net::{IpAddr, SocketAddr},
    sync::LazyLock,
    time::Duration,
};

use arbitrary::Unstructured;
use bimcc_rtc::{
    credentials::{self, User},
    turn::wire::{data::IcmpError, keys::long_term_key},
    values::member::MemberId,
};
use stun::{
    attributes::{
        ATTR_CHANNEL_NUMBER, ATTR_DATA, ATTR_EVEN_PORT, ATTR_LIFETIME, ATTR_NONCE, ATTR_REALM,
        ATTR_REQUESTED_ADDRESS_FAMILY, ATTR_REQUESTED_TRANSPORT, ATTR_RESERVATION_TOKEN, ATTR_USERNAME,
        ATTR_XOR_PEER_ADDRESS, AttrType,
    },
    fingerprint::FINGERPRINT,
    integrity::MessageIntegrity,
    message::{
        CLASS_INDICATION, CLASS_REQUEST, METHOD_ALLOCATE, METHOD_BINDING, METHOD_CHANNEL_BIND,
        METHOD_CREATE_PERMISSION, METHOD_REFRESH, METHOD_SEND, Message, MessageClass, MessageType, Method, Setter,
    },
    xoraddr::XorMappedAddress,
};

use self::{
    model::{Asked, Model},
    owner::{Heard, Owner, RELAY_V4, RELAY_V6, SHARED, SOMETIMES_GATEWAY, SOMETIMES_OWN, host, secrets},
};

const TURN_PORT: u16 = 3478;
const CLIENTS: usize = 6;
const MEMBERS: usize = 3;

/// How long ports are held.
const RESERVATION: Duration = Duration::from_secs(30);

/// More steps would not find more, and would take longer.
const MAX_STEPS: usize = 300;

pub fn run(input: &[u8]) {
    let mut world = World::new();
    let mut input = Unstructured::new(input);
    for _ in 0..MAX_STEPS {
        if input.is_empty() {
            break;
        }
        if world.step(&mut input).is_err() {
            break;
        }
        world.model.agrees_with(&world.owner);
    }
    world.end();
}

/// Users that each have a place in the quotas.
fn some_users() -> impl Iterator<Item = User> {
    (0..).map(|n| User::Member(MemberId::from_bits(1000 + n)))
}

fn member(index: usize) -> MemberId {
    MemberId::from_bits(index as u128 + 1)
}

/// The addresses of clients; two of them share an address.
fn client_address(index: usize) -> SocketAddr {
    let v4 = |host, port| SocketAddr::from(([192, 0, 2, host], port));
    match index {
        0 => v4(1, 1000),
        1 => v4(1, 1001),
        2 => v4(2, 1000),
        3 => v4(3, 1000),
        4 => v4(4, 1000),
        _ => SocketAddr::from(([0x2001, 0xdb8, 1, 0, 0, 0, 0, 1], 1000)),
    }
}

/// Usernames, each with the index of the secret for its password. Members come first.
const USERS: [(&str, usize); 8] = [
    ("2000000000:m-00000000000000000000000000000001", 0),
    ("2000000000:m-00000000000000000000000000000002", 0),
    ("2000000000:m-00000000000000000000000000000003", 1),
    ("1700005000:x", 0),
    ("2000000000:y", 1),
    ("1700000000:late", 0),
    ("2000000000:m-00000000000000000000000000000009", 0),
    ("alice", 0),
];

static KEYS: LazyLock<[[u8; 16]; USERS.len()]> = LazyLock::new(|| {
    USERS.map(|(username, secret)| {
        let shared = &secrets()[secret];
        let password = match credentials::parse_username(username) {
            Ok((_, User::Member(_))) => credentials::password(&owner::member_key().secret(shared), username),
            _ => credentials::password(shared, username),
        };
        long_term_key(username, owner::REALM, &password)
    })
});

/// The address at which a member's signaling connection comes in.
fn signaling_address(member: usize) -> IpAddr {
    IpAddr::from([[192, 168, 1, 2], SOMETIMES_OWN, [192, 168, 1, 3]][member])
}

const PEER_PORT: u16 = 7000;

const ADDITIONAL_ADDRESS_FAMILY: AttrType = AttrType(0x8000);

struct World {
    owner: Owner,
    model: Model,
    /// The last transaction of each client, for reuse.
    transactions: [u64; CLIENTS],
}

impl World {
    fn new() -> Self {
        SHARED.policy.set_host(host(false));
        let addresses: Vec<_> = (0..CLIENTS).map(client_address).collect();
        let mut world = Self { owner: Owner::new(&addresses), model: Model::new(), transactions: [0; CLIENTS] };
        for (member, room) in [(0, 0), (1, 0), (2, 1)] {
            world.enter(member, room, Some(signaling_address(member)));
        }
        world
    }

    /// Fails when the input ends.
    fn step(&mut self, input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
        match input.arbitrary::<u8>()? % 16 {
            0..=4 => self.request(input)?,
            5 | 6 => self.send(input)?,
            7 | 8 => self.send_channel_data(input)?,
            9 => self.hear_from_network(input)?,
            10 => {
                let how = input.arbitrary::<u8>()?;
                let seconds = [1, 10, 60, 299, 300, 301, 600, 3600][usize::from(how % 8)];
                self.owner.pass(Duration::from_secs(seconds));
                self.model.pass(seconds);
                if how < 128 {
                    self.serve_timers();
                }
            }
            11 => self.change_membership(input)?,
            12 => self.say_raw(input)?,
            13 => {
                let at_times = input.arbitrary()?;
                SHARED.policy.set_host(host(at_times));
                self.model.set_host(at_times);
            }
            14 => {
                let client = choose(input, CLIENTS)?;
                self.owner.end(client);
                self.model.end(client);
            }
            _ => match input.arbitrary::<u8>()? {
                0..128 => self.serve_commands(),
                how => self.bind(usize::from(how) % CLIENTS, how < 160),
            },
        }
        Ok(())
    }

    fn end(mut self) {
        for member in 0..MEMBERS {
            self.leave(member);
        }
        self.owner.serve_commands();
        for client in 0..CLIENTS {
            self.owner.end(client);
        }
        self.owner.pass(RESERVATION);
        self.owner.serve_timers();
        assert!(self.owner.is_empty(), "something is left");
    }

    fn serve_timers(&mut self) {
        self.owner.serve_timers();
        self.model.expire();
    }

    fn serve_commands(&mut self) {
        self.owner.serve_commands();
        self.model.all_have_heard();
    }

    fn enter(&mut self, index: usize, room: usize, address: Option<IpAddr>) {
        let tag = self.model.enter(index, room, address);
        SHARED.directory.enter(member(index), tag, address);
    }

    fn leave(&mut self, index: usize) {
        self.model.leave(index);
        SHARED.directory.leave(member(index));
    }

    fn change_membership(&mut self, input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
        let how = input.arbitrary::<u8>()?;
        let index = usize::from(how) % MEMBERS;
        let address = Some(signaling_address(index)).filter(|_| how & 64 == 0);
        match how / MEMBERS as u8 % 4 {
            0 => self.leave(index),
            1 => self.enter(index, 0, address),
            2 => self.enter(index, 1, address),
            _ => {
                let elsewhere = address.map(|_| IpAddr::from([10, 0, 0, 6]));
                self.model.reconnect(index, elsewhere);
                SHARED.directory.reconnect(member(index), elsewhere);
            }
        }
        // Otherwise it comes after what clients send.
        if how < 128 {
            self.serve_commands();
        }
        Ok(())
    }

    fn request(&mut self, input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
        const METHODS: [Method; 5] =
            [METHOD_ALLOCATE, METHOD_CREATE_PERMISSION, METHOD_CHANNEL_BIND, METHOD_REFRESH, METHOD_BINDING];
        let client = choose(input, CLIENTS)?;
        let method = METHODS[choose(input, METHODS.len())?];
        let user = choose(input, USERS.len())?;
        // Half of the requests are made correctly.
        let how = Some(input.arbitrary::<u8>()?).filter(|how| *how >= 128).unwrap_or(0);
        let [unsigned, wrong_key, wrong_nonce, fingerprint, again, odd] =
            [1, 2, 4, 8, 16, 32].map(|bit| how & bit != 0);
        if !again {
            self.transactions[client] += 1;
        }
        let mut message = new_message(method, CLASS_REQUEST, client, self.transactions[client]);
        let mut asked = Asked { client, method, user, is_plain: how == 0, ..Asked::default() };
        add_arguments(&mut message, &mut asked, input, (&self.owner.token, |peer| self.peer(peer)))?;
        if odd {
            let kind = input.arbitrary()?;
            asked.is_plain = false;
            message.add(AttrType(kind), input.arbitrary::<[u8; 4]>()?.as_slice());
        }
        let is_signed = method != METHOD_BINDING && !unsigned;
        if is_signed {
            let at = if wrong_nonce && how & 64 == 0 {
                client_address((client + 1) % CLIENTS)
            } else {
                client_address(client)
            };
            let made = if wrong_nonce && how & 64 != 0 { self.owner.now.unix - 3601 } else { self.owner.now.unix };
            message.add(ATTR_USERNAME, USERS[user].0.as_bytes());
            message.add(ATTR_REALM, owner::REALM.as_bytes());
            message.add(ATTR_NONCE, &SHARED.nonces.make(at, made));
            let key = KEYS[if wrong_key { (user + 1) % USERS.len() } else { user }];
            MessageIntegrity(key.to_vec()).add_to(&mut message).unwrap();
        }
        if fingerprint {
            FINGERPRINT.add_to(&mut message).unwrap();
        }
        asked.is_proven = is_signed && !wrong_key && !wrong_nonce && USERS[user].0.contains(':');
        asked.datagram = message.raw.clone();
        match self.owner.client_says(client, &message.raw) {
            Heard::Binds => {
                assert!(asked.is_proven && method == METHOD_ALLOCATE, "a stranger must not make sockets");
                self.model.binds(asked);
                if how & 64 == 0 {
                    self.bind(client, false);
                }
            }
            Heard::Reply(reply) => self.model.is_answered(&asked, &reply, &self.owner),
            Heard::Nothing => assert!(!asked.is_plain || self.owner.binds(client) || !asked.is_proven, "no answer"),
            Heard::Data { .. } => panic!("a request was relayed"),
        }
        Ok(())
    }

    fn bind(&mut self, client: usize, fails: bool) {
        let heard = self.owner.bind(client, fails);
        if let Some(asked) = self.model.take_binding(client)
            && let Heard::Reply(reply) = heard
        {
            self.model.is_answered(&asked, &reply, &self.owner);
        }
    }

    /// Addresses that may be peers, and relayed addresses.
    fn peer(&self, choice: u8) -> SocketAddr {
        let of = |ip: [u8; 4]| SocketAddr::from((ip, PEER_PORT));
        let of_v6 = |ip: [u16; 8]| SocketAddr::from((ip, PEER_PORT));
        match choice % 32 {
            0 | 1 => of([8, 8, 8, 8]),
            2 => of(SOMETIMES_GATEWAY),
            3 => of(SOMETIMES_OWN),
            4 => of([10, 0, 0, 6]),
            5 => of([192, 168, 1, 2]),
            6 => of([192, 168, 1, 3]),
            7 => of([127, 0, 0, 1]),
            8 => of([169, 254, 169, 254]),
            9 => of_v6([0x2606, 0x4700, 0, 0, 0, 0, 0, 1]),
            10 => of_v6([0, 0, 0, 0, 0, 0xffff, 0x7f00, 1]),
            11 => of_v6([0, 0, 0, 0, 0, 0xffff, 0x0a00, 0x0005]),
            12 => SocketAddr::new(RELAY_V4, TURN_PORT),
            13 => SocketAddr::new(RELAY_V6, TURN_PORT),
            choice @ 14..=19 => SocketAddr::new(client_address(usize::from(choice) - 14).ip(), PEER_PORT),
            choice => {
                let [v4, v6] = self.owner.relayed(usize::from(choice) % CLIENTS);
                v4.or(v6).unwrap_or(SocketAddr::new(RELAY_V4, TURN_PORT))
            }
        }
    }

    fn send(&mut self, input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
        let client = choose(input, CLIENTS)?;
        let peer = self.peer(input.arbitrary()?);
        let payload = payload(input)?;
        let mut message = new_message(METHOD_SEND, CLASS_INDICATION, client, 0);
        add_peer(&mut message, peer);
        message.add(ATTR_DATA, &payload);
        let heard = self.owner.client_says(client, &message.raw);
        let is_sent = self.relay(client, heard, |to, sent| to == peer && sent == payload);
        assert!(is_sent || !self.model.must_pass(client, peer), "{client} may send to {peer}");
        Ok(())
    }

    fn send_channel_data(&mut self, input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
        let client = choose(input, CLIENTS)?;
        let number = channel_number(input.arbitrary()?);
        let payload = payload(input)?;
        let datagram = [&number.to_be_bytes()[..], &(payload.len() as u16).to_be_bytes(), &payload].concat();
        let peer = self.model.channel_peer(client, number);
        let heard = self.owner.client_says(client, &datagram);
        let is_sent = self.relay(client, heard, |to, sent| Some(to) == peer && sent == payload);
        assert!(
            is_sent || peer.is_none_or(|peer| !self.model.must_pass(client, peer)),
            "{client} has bound {number:x}"
        );
        Ok(())
    }

    /// Delivers what a client has sent to a peer. Returns `false` if nothing was sent.
    fn relay(&mut self, client: usize, heard: Heard, is_right: impl Fn(SocketAddr, &[u8]) -> bool) -> bool {
        let Heard::Data { peer, payload, in_process } = heard else {
            assert!(matches!(heard, Heard::Nothing), "data is not answered");
            return false;
        };
        assert!(is_right(peer, &payload), "{peer} was not meant, or not so");
        self.model.may_pass(client, peer, in_process);
        if in_process && let Some(receiver) = self.owner.receiver(client, peer) {
            let from = self.owner.relayed(client)[usize::from(peer.is_ipv6())].expect("it sends from there");
            self.deliver(receiver, from, Some(client), &payload);
        }
        true
    }

    fn hear_from_network(&mut self, input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
        let client = choose(input, CLIENTS)?;
        let choice = input.arbitrary::<u8>()?;
        let from = self.peer(choice);
        let payload = payload(input)?;
        if choice < 224 {
            self.deliver(client, from, None, &payload);
            return Ok(());
        }
        let error = IcmpError { kind: payload.len() as u8 % 16, code: 0, data: 0 };
        if let Some(told) = self.owner.icmp_says(client, from, error) {
            self.model.may_pass(client, from, self.model.is_own(from.ip()));
            assert!(told.starts_with(&[0x00, 0x17]), "no Data indication");
        }
        Ok(())
    }

    fn deliver(&mut self, client: usize, from: SocketAddr, sender: Option<usize>, payload: &[u8]) {
        match self.owner.peer_says(client, from, sender.is_some(), payload) {
            Ok(message) => {
                self.model.may_pass(client, from, sender.is_some());
                if let Some(sender) = sender {
                    self.model.may_talk(sender, client);
                }
                self.model.is_told(client, from, payload, &message);
            }
            Err(reason) => {
                let is_own = sender.is_none() && self.model.is_own(from.ip());
                assert!(is_own || !self.model.must_pass(client, from), "{client} hears from {from}: {reason:?}");
            }
        }
    }

    fn say_raw(&mut self, input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
        let client = choose(input, CLIENTS)?;
        let len = usize::from(input.arbitrary::<u8>()?).min(input.len());
        let datagram = input.bytes(len)?.to_vec();
        match self.owner.client_says(client, &datagram) {
            Heard::Reply(reply) => {
                assert!(datagram.starts_with(&[0, 1]) || reply[0] & 1 == 1, "nothing is granted without a signature");
            }
            heard => _ = self.relay(client, heard, |_, _| true),
        }
        Ok(())
    }
}

fn choose(input: &mut Unstructured<'_>, count: usize) -> arbitrary::Result<usize> {
    Ok(usize::from(input.arbitrary::<u8>()?) % count)
}

fn payload(input: &mut Unstructured<'_>) -> arbitrary::Result<Vec<u8>> {
    let len = input.arbitrary::<u8>()?;
    Ok((0..len).collect())
}

/// There are only a few in most cases, so that they collide.
fn channel_number(choice: u8) -> u16 {
    match choice {
        0xFC => 0x3FFF,
        0xFD => 0x7FFF,
        0xFE => 0x8000,
        0xFF => 0xFFFF,
        choice => 0x4000 + u16::from(choice % 8),
    }
}

fn new_message(method: Method, class: MessageClass, client: usize, transaction: u64) -> Message {
    let mut message = Message::new();
    message.typ = MessageType::new(method, class);
    message.transaction_id.0[0] = client as u8;
    message.transaction_id.0[4..].copy_from_slice(&transaction.to_be_bytes());
    message.write_header();
    message
}

fn add_peer(message: &mut Message, peer: SocketAddr) {
    XorMappedAddress { ip: peer.ip(), port: peer.port() }.add_to_as(message, ATTR_XOR_PEER_ADDRESS).unwrap();
}

fn add_arguments(
    message: &mut Message,
    asked: &mut Asked,
    input: &mut Unstructured<'_>,
    (token, peer): (&[u8; 8], impl Fn(u8) -> SocketAddr),
) -> arbitrary::Result<()> {
    if asked.method == METHOD_ALLOCATE || asked.method == METHOD_REFRESH {
        let how = input.arbitrary::<u8>()?;
        if asked.method == METHOD_ALLOCATE {
            let protocol = if how & 0xC0 == 0xC0 { 6 } else { 17 };
            message.add(ATTR_REQUESTED_TRANSPORT, &[protocol, 0, 0, 0]);
            let even_port = how >> 4 & 3;
            match even_port {
                0 => {}
                1 => message.add(ATTR_RESERVATION_TOKEN, token),
                odd => message.add(ATTR_EVEN_PORT, &[odd << 7]),
            }
            asked.is_plain &= protocol == 17 && even_port == 0;
        }
        if let Some(lifetime) = [None, Some(0), Some(1200), Some(7200)][usize::from(how >> 2 & 3)] {
            message.add(ATTR_LIFETIME, &u32::to_be_bytes(lifetime));
        }
        if how & 3 == 3 && asked.method == METHOD_ALLOCATE {
            message.add(ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]);
        } else if how & 3 != 0 {
            message.add(ATTR_REQUESTED_ADDRESS_FAMILY, &[how & 3, 0, 0, 0]);
        }
        asked.family = how & 3;
        asked.is_plain &= how & 3 != 3;
    } else if asked.method == METHOD_CREATE_PERMISSION {
        for _ in 0..input.arbitrary::<u8>()? % 4 {
            asked.peers.push(peer(input.arbitrary()?));
        }
    } else if asked.method == METHOD_CHANNEL_BIND {
        asked.number = channel_number(input.arbitrary()?);
        message.add(ATTR_CHANNEL_NUMBER, &[(asked.number >> 8) as u8, asked.number as u8, 0, 0]);
        asked.peers.push(peer(input.arbitrary()?));
    }
    asked.peers.iter().for_each(|peer| add_peer(message, *peer));
    Ok(())
}
