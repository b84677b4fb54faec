//! What each client may do, in simple terms, learnt from its requests and their answers.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
};

use bimcc_rtc::{
    membership::RoomTag,
    turn::{
        core::{allocation::MAX_PEERS, held::Held},
        wire::channel_data::CHANNEL_NUMBERS,
    },
};
use stun::{
    attributes::{
        ATTR_DATA, ATTR_LIFETIME, ATTR_MESSAGE_INTEGRITY, ATTR_XOR_PEER_ADDRESS, ATTR_XOR_RELAYED_ADDRESS,
        ATTR_XORMAPPED_ADDRESS, AttrType,
    },
    error_code::ErrorCodeAttribute,
    integrity::MessageIntegrity,
    message::{
        CLASS_ERROR_RESPONSE, CLASS_INDICATION, CLASS_SUCCESS_RESPONSE, Getter, METHOD_ALLOCATE, METHOD_BINDING,
        METHOD_CHANNEL_BIND, METHOD_CREATE_PERMISSION, METHOD_DATA, METHOD_REFRESH, Message, MessageType, Method,
    },
    xoraddr::XorMappedAddress,
};

use super::{
    CLIENTS, KEYS, MEMBERS, USERS, client_address,
    owner::{MAX_ALLOCATIONS, MAX_PER_USER, Owner, RELAY_V4, RELAY_V6, SOMETIMES_GATEWAY, SOMETIMES_OWN, holds_ports},
};

const PERMISSION_LIFETIME: u64 = 300;
const CHANNEL_LIFETIME: u64 = 600;
const CHANNEL_REST: u64 = 300;

/// A request that a client makes.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub client: usize,
    pub method: Method,
    pub user: usize,
    pub peers: Vec<SocketAddr>,
    pub number: u16,
    /// REQUESTED-ADDRESS-FAMILY of a Refresh; 0 means without it.
    pub family: u8,
    pub datagram: Vec<u8>,
    /// Whether it is made like that of an honest client.
    pub is_plain: bool,
    /// Whether it is signed with the key of a valid username, and with a valid nonce.
    pub is_proven: bool,
}

struct Member {
    room: RoomTag,
    /// The addresses at which it has been verified since it joined.
    verified: HashSet<IpAddr>,
}

struct Allocation {
    user: usize,
    /// None for users of the API.
    room: Option<RoomTag>,
    /// By family, each with the time of its end. All times are in seconds since the beginning.
    relayed: [Option<(SocketAddr, u64)>; 2],
    permissions: HashMap<IpAddr, Permission>,
    channels: HashMap<u16, (SocketAddr, u64)>,
    /// Whether its member has left, so that it ends when its owner learns this, or before.
    is_condemned: bool,
}

impl Allocation {
    fn is_over(&self, time: u64) -> bool {
        self.relayed.iter().flatten().all(|(_, expires)| *expires <= time)
    }

    /// Ends a relayed address, and everything that belongs to it.
    fn end_family(&mut self, index: usize) -> Option<(SocketAddr, u64)> {
        self.permissions.retain(|ip, _| usize::from(ip.is_ipv6()) != index);
        self.channels.retain(|_, (peer, _)| usize::from(peer.is_ipv6()) != index);
        self.relayed[index].take()
    }

    /// Whether there is a relayed address of the peer's family.
    fn serves(&self, peer: SocketAddr, time: u64) -> bool {
        self.relayed[usize::from(peer.is_ipv6())].is_some_and(|(_, expires)| time < expires)
    }
}

struct Kept {
    reply: Vec<u8>,
    user: usize,
}

struct Permission {
    expires: u64,
    /// The number of disturbances when it was granted.
    disturbances: u32,
}

pub struct Model {
    time: u64,
    /// How often something happened that may end permissions.
    disturbances: u32,
    at_times: bool,
    members: [Option<Member>; MEMBERS],
    /// Where members were verified before they left and came to the same room again.
    formerly: HashSet<(usize, RoomTag, IpAddr)>,
    rooms: [Option<RoomTag>; 2],
    last_tag: u32,
    allocations: [Option<Allocation>; CLIENTS],
    bindings: [Option<Asked>; CLIENTS],
    /// The last answer that made an allocation, the last that gave up a relayed address, and the user of each. A
    /// request in the same transaction gets the answer again.
    kept: [[Option<Kept>; 2]; CLIENTS],
}

impl Model {
    pub fn new() -> Self {
        Self {
            time: 0,
            disturbances: 0,
            at_times: false,
            members: Default::default(),
            formerly: HashSet::new(),
            rooms: [None; 2],
            last_tag: 0,
            allocations: Default::default(),
            bindings: Default::default(),
            kept: Default::default(),
        }
    }

    pub fn pass(&mut self, seconds: u64) {
        self.time += seconds;
    }

    /// All timers were served.
    pub fn expire(&mut self) {
        for allocation in &mut self.allocations {
            if let Some(allocation) = allocation {
                for index in 0..2 {
                    if allocation.relayed[index].is_some_and(|(_, expires)| expires <= self.time) {
                        allocation.end_family(index);
                    }
                }
                allocation.channels.retain(|_, (_, expires)| self.time < *expires + CHANNEL_REST);
            }
            allocation.take_if(|allocation| allocation.is_over(self.time));
        }
    }

    /// All owners know which members have left.
    pub fn all_have_heard(&mut self) {
        self.allocations.iter_mut().for_each(|allocation| _ = allocation.take_if(|allocation| allocation.is_condemned));
    }

    pub fn end(&mut self, client: usize) {
        self.allocations[client] = None;
        self.bindings[client] = None;
    }

    pub fn set_host(&mut self, at_times: bool) {
        self.at_times = at_times;
        self.disturbances += 1;
    }

    /// A room that all have left is a new room afterwards.
    pub fn enter(&mut self, member: usize, room: usize, address: Option<IpAddr>) -> RoomTag {
        self.leave(member);
        let is_there = |tag| self.members.iter().flatten().any(|member| Some(member.room) == tag);
        if self.rooms[room].is_none() || !is_there(self.rooms[room]) {
            self.last_tag += 1;
            self.rooms[room] = self.last_tag.try_into().ok().map(RoomTag);
        }
        let room = self.rooms[room].expect("it was just made");
        self.members[member] = Some(Member { room, verified: address.into_iter().collect() });
        room
    }

    pub fn leave(&mut self, member: usize) {
        if let Some(Member { room, verified }) = self.members[member].take() {
            self.disturbances += 1;
            self.formerly.extend(verified.into_iter().map(|ip| (member, room, ip)));
            let of_member = self.allocations.iter_mut().flatten().filter(|allocation| allocation.user == member);
            of_member.for_each(|allocation| allocation.is_condemned = true);
        }
    }

    pub fn reconnect(&mut self, member: usize, address: Option<IpAddr>) {
        if let Some(member) = &mut self.members[member] {
            member.verified.extend(address);
        }
    }

    pub fn binds(&mut self, asked: Asked) {
        let client = asked.client;
        assert!(self.bindings[client].replace(asked).is_none(), "one at a time");
    }

    pub fn take_binding(&mut self, client: usize) -> Option<Asked> {
        self.bindings[client].take()
    }

    fn alive(&self, client: usize) -> Option<&Allocation> {
        self.allocations[client].as_ref().filter(|allocation| !allocation.is_over(self.time))
    }

    pub fn is_own(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        [RELAY_V4, RELAY_V6].contains(&ip) || (self.at_times && ip == IpAddr::from(SOMETIMES_OWN))
    }

    /// The documented policy, for the addresses that are used here.
    fn may_reach(&self, room: Option<RoomTag>, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        let is_gateway = self.at_times && ip == IpAddr::from(SOMETIMES_GATEWAY);
        if ip.is_loopback() || ip == IpAddr::from([169, 254, 169, 254]) || is_gateway {
            return false;
        }
        let public = [[8, 8, 8, 8], SOMETIMES_GATEWAY].map(IpAddr::from);
        let is_public = public.contains(&ip) || matches!(ip, IpAddr::V6(ip) if ip.segments()[0] == 0x2606);
        let has_member = |room| {
            let members = self.members.iter().flatten().filter(|member| member.room == room);
            members.into_iter().any(|member| member.verified.contains(&ip))
        };
        self.is_own(ip) || room.map_or(is_public, has_member)
    }

    /// Whether a permission that is in force may stay. A permission that was granted because of a member stays if this
    /// member leaves and is back in the same room before the next check.
    fn may_keep(&self, room: Option<RoomTag>, ip: IpAddr) -> bool {
        let came_back = |(member, tag, at): &(usize, RoomTag, IpAddr)| {
            Some(*tag) == room && self.is_in(*member, *tag) && *at == ip.to_canonical()
        };
        self.may_reach(room, ip) || self.formerly.iter().any(came_back)
    }

    /// Checks that data between a client and a peer was allowed to pass.
    pub fn may_pass(&self, client: usize, peer: SocketAddr, in_process: bool) {
        let allocation = self.alive(client).expect("data takes an allocation");
        assert!(allocation.serves(peer, self.time), "data takes a relayed address");
        let permission = allocation.permissions.get(&peer.ip()).filter(|permission| self.time < permission.expires);
        assert!(permission.is_some(), "data takes a permission for {peer}");
        assert!(self.may_keep(allocation.room, peer.ip()), "the policy bars {peer}");
        assert_eq!(in_process, self.is_own(peer.ip()), "the wrong way to {peer}");
        assert!(allocation.room.is_none_or(|room| self.is_in(allocation.user, room)), "the member has left");
    }

    /// Checks that data between two clients was allowed to pass.
    pub fn may_talk(&self, sender: usize, receiver: usize) {
        let room = |client| self.alive(client).expect("data takes an allocation").room;
        assert_eq!(room(sender), room(receiver), "data passed between rooms");
    }

    /// Whether data between a client and a peer must not be dropped.
    pub fn must_pass(&self, client: usize, peer: SocketAddr) -> bool {
        self.alive(client).is_some_and(|allocation| {
            let is_in_force = |permission: &Permission| {
                self.time < permission.expires && permission.disturbances == self.disturbances
            };
            let is_there = !allocation.is_condemned && allocation.serves(peer, self.time);
            is_there && allocation.permissions.get(&peer.ip()).is_some_and(is_in_force)
        })
    }

    /// The peer that a channel is bound to.
    pub fn channel_peer(&self, client: usize, number: u16) -> Option<SocketAddr> {
        let (peer, expires) = self.alive(client)?.channels.get(&number)?;
        (self.time < *expires).then_some(*peer)
    }

    /// Checks `message`, which a client got because of `payload` from `peer`.
    pub fn is_told(&self, client: usize, peer: SocketAddr, payload: &[u8], message: &[u8]) {
        let allocation = self.alive(client).expect("data takes an allocation");
        let mut channels = allocation.channels.iter();
        let number = channels.find(|(_, (to, expires))| *to == peer && self.time < *expires).map(|(number, _)| *number);
        if let Some(number) = number {
            let head = [number.to_be_bytes(), (payload.len() as u16).to_be_bytes()].concat();
            assert_eq!(message, [&head, payload].concat(), "ChannelData for a peer with a channel");
            return;
        }
        let message = decoded(message);
        assert_eq!(message.typ, MessageType::new(METHOD_DATA, CLASS_INDICATION));
        assert_eq!(address(&message, ATTR_XOR_PEER_ADDRESS), peer);
        assert_eq!(message.get(ATTR_DATA).unwrap(), payload);
    }

    pub fn is_answered(&mut self, asked: &Asked, reply: &[u8], owner: &Owner) {
        let mut answer = decoded(reply);
        assert_eq!(answer.transaction_id.0, asked.datagram[8..20], "the answer to another question");
        assert_eq!(answer.typ.method, asked.method);
        if answer.contains(ATTR_MESSAGE_INTEGRITY) {
            assert!(asked.is_proven, "signed for a stranger");
            let kept = self.kept[asked.client].iter().flatten().find(|kept| kept.reply == reply);
            let key = KEYS[kept.map_or(asked.user, |kept| kept.user)];
            assert!(MessageIntegrity(key.to_vec()).check(&mut answer).is_ok(), "signed with another key");
        }
        if asked.method == METHOD_BINDING {
            assert!(wire_len(asked, reply) * 2 <= wire_len(asked, &asked.datagram) * 3, "a large answer");
            if answer.typ.class == CLASS_SUCCESS_RESPONSE {
                assert_eq!(address(&answer, ATTR_XORMAPPED_ADDRESS), client_address(asked.client));
            }
        } else if answer.typ.class == CLASS_SUCCESS_RESPONSE {
            assert!(asked.is_proven, "granted to a stranger");
            assert!(answer.contains(ATTR_MESSAGE_INTEGRITY), "the server must prove itself, too");
            self.is_granted(asked, reply, &answer, owner);
        } else {
            assert_eq!(answer.typ.class, CLASS_ERROR_RESPONSE);
            let mut error = ErrorCodeAttribute::default();
            error.get_from(&answer).unwrap();
            self.is_refused(asked, reply, error.code.0);
        }
    }

    fn is_granted(&mut self, asked: &Asked, reply: &[u8], answer: &Message, owner: &Owner) {
        let (client, user) = (asked.client, asked.user);
        let lifetime =
            || u64::from(u32::from_be_bytes(answer.get(ATTR_LIFETIME).unwrap().try_into().expect("four bytes")));
        let is_again = self.kept[client].iter().flatten().any(|kept| kept.reply == reply);
        let (time, disturbances) = (self.time, self.disturbances);
        if asked.method == METHOD_ALLOCATE {
            if is_again && self.alive(client).is_some() {
                return;
            }
            let is_over = |old: &Allocation| old.is_over(time) || old.is_condemned;
            assert!(self.allocations[client].as_ref().is_none_or(is_over), "a second allocation");
            let relayed = owner.relayed(client);
            assert!(relayed.contains(&Some(address(answer, ATTR_XOR_RELAYED_ADDRESS))));
            let named = answer.attributes.0.iter().filter(|attribute| attribute.typ == ATTR_XOR_RELAYED_ADDRESS);
            assert_eq!(named.count(), relayed.iter().flatten().count());
            assert_eq!(address(answer, ATTR_XORMAPPED_ADDRESS), client_address(client));
            assert!((600..=3600).contains(&lifetime()));
            let room = self.members.get_mut(user).map(|member| {
                let member = member.as_mut().expect("only who is here allocates");
                member.verified.insert(client_address(client).ip());
                member.room
            });
            assert!(room.is_some() || [3, 4].contains(&user), "{} may not allocate", USERS[user].0);
            self.kept[client][0] = Some(Kept { reply: reply.to_vec(), user });
            self.allocations[client] = Some(Allocation {
                user,
                room,
                relayed: relayed.map(|relayed| Some((relayed?, time + lifetime()))),
                permissions: HashMap::new(),
                channels: HashMap::new(),
                is_condemned: false,
            });
            return;
        }
        if asked.method == METHOD_REFRESH && is_again && self.alive(client).is_none() {
            return;
        }
        let allocation = self.alive(client).expect("granted without an allocation");
        assert_eq!(allocation.user, user, "granted to somebody else");
        assert_eq!(asked.peers.is_empty(), asked.method == METHOD_REFRESH, "granted for nobody");
        for peer in &asked.peers {
            assert!(allocation.serves(*peer, time), "the other family");
            let held = allocation.permissions.get(&peer.ip()).is_some_and(|held| time < held.expires);
            let may = if held { Self::may_keep } else { Self::may_reach };
            assert!(may(self, allocation.room, peer.ip()), "granted for {peer}, whom the policy bars");
        }
        if asked.method == METHOD_CHANNEL_BIND {
            assert!(Self::may_bind(allocation, asked, time), "channel {:x} is taken", asked.number);
        }
        let allocation = self.allocations[client].as_mut().expect("it is alive");
        if asked.method == METHOD_REFRESH {
            for (index, relayed) in owner.relayed(client).into_iter().enumerate() {
                let is_meant = asked.family == 0 || usize::from(asked.family) == index + 1;
                let lease = allocation.relayed[index].as_mut();
                let Some((_, expires)) = lease.filter(|(_, expires)| is_meant && time < *expires) else {
                    continue;
                };
                if lifetime() > 0 {
                    *expires = time + lifetime();
                } else if relayed.is_none() {
                    allocation.end_family(index);
                } else {
                    assert!(is_again, "given back, but still there");
                }
            }
            if lifetime() == 0 {
                self.kept[client][1] = Some(Kept { reply: reply.to_vec(), user });
                self.allocations[client].take_if(|allocation| allocation.is_over(time));
            }
            return;
        }
        for peer in &asked.peers {
            let permission = Permission { expires: time + PERMISSION_LIFETIME, disturbances };
            allocation.permissions.insert(peer.ip(), permission);
            if asked.method == METHOD_CHANNEL_BIND {
                allocation.channels.insert(asked.number, (*peer, time + CHANNEL_LIFETIME));
            }
        }
        assert!(allocation.permissions.len() <= MAX_PEERS);
    }

    /// Whether neither number nor peer is bound to something else, or still resting, at `time`; 0 means the time when
    /// timers were last served.
    fn may_bind(allocation: &Allocation, asked: &Asked, time: u64) -> bool {
        let mut taken = allocation.channels.iter().filter(|(_, (_, expires))| time < expires + CHANNEL_REST);
        let peer = asked.peers[0];
        CHANNEL_NUMBERS.contains(&asked.number)
            && taken.all(|(number, (to, _))| (*number == asked.number) == (*to == peer))
    }

    fn is_refused(&self, asked: &Asked, reply: &[u8], code: u16) {
        if !asked.is_proven {
            assert!([400, 401, 438].contains(&code), "{code} tells a stranger something");
            assert!(wire_len(asked, reply) < wire_len(asked, &asked.datagram) * 3, "a large answer");
            return;
        }
        if !asked.is_plain {
            return;
        }
        let is_justified = match (asked.method, code) {
            (METHOD_ALLOCATE, 401) => {
                let is_here = self.members.get(asked.user).is_some_and(Option::is_some);
                let expiry: u64 = USERS[asked.user].0.split_once(':').unwrap().0.parse().unwrap();
                !is_here && (expiry <= 1_700_000_000 + self.time || ![3, 4].contains(&asked.user))
            }
            (METHOD_ALLOCATE, 437) => self.allocations[asked.client].is_some() || self.bindings[asked.client].is_some(),
            (METHOD_ALLOCATE, 486) => holds_ports() || self.count(|user| user == asked.user) >= MAX_PER_USER,
            (METHOD_ALLOCATE, 508) => holds_ports() || self.count(|_| true) >= MAX_ALLOCATIONS,
            (METHOD_ALLOCATE, _) => false,
            _ => match (self.alive(asked.client).filter(|allocation| !allocation.is_condemned), code) {
                (None, code) => code == 437 || self.alive(asked.client).is_some(),
                (Some(allocation), 441) => allocation.user != asked.user,
                (Some(allocation), 443) => {
                    let differs = |peer: &SocketAddr| !allocation.serves(*peer, self.time);
                    asked.method == METHOD_REFRESH || asked.peers.iter().any(differs)
                }
                (Some(allocation), 403) => asked.peers.iter().any(|peer| !self.may_reach(allocation.room, peer.ip())),
                (Some(_), 400) if asked.method == METHOD_CREATE_PERMISSION => asked.peers.is_empty(),
                (Some(allocation), 400) => asked.method == METHOD_CHANNEL_BIND && !Self::may_bind(allocation, asked, 0),
                (Some(_), _) => false,
            },
        };
        assert!(is_justified, "{code} for {asked:?}");
    }

    /// The most places that such users can have taken, including those of relayed addresses that are being bound.
    fn count(&self, is_one: impl Fn(usize) -> bool) -> usize {
        let waiting = self.bindings.iter().flatten().filter(|asked| is_one(asked.user));
        self.held(&is_one) + waiting.map(|asked| if asked.is_plain { 1 } else { 2 }).sum::<usize>()
    }

    /// Relayed addresses of such users.
    fn held(&self, is_one: impl Fn(usize) -> bool) -> usize {
        let held = self.allocations.iter().flatten().filter(|allocation| is_one(allocation.user));
        held.map(|allocation| allocation.relayed.iter().flatten().count()).sum()
    }

    fn is_in(&self, member: usize, room: RoomTag) -> bool {
        self.members[member].as_ref().is_some_and(|member| member.room == room)
    }

    /// Compares the model with the owner after each step.
    pub fn agrees_with(&mut self, owner: &Owner) {
        let time = self.time;
        for (client, slot) in self.allocations.iter_mut().enumerate() {
            let relayed = owner.relayed(client);
            let Some(allocation) = slot else {
                assert_eq!(relayed, [None; 2], "nobody asked for it");
                continue;
            };
            for (index, relayed) in relayed.into_iter().enumerate() {
                if relayed.is_none() {
                    let is_condemned = allocation.is_condemned;
                    let may_end = |(_, expires)| expires <= time || is_condemned;
                    assert!(allocation.end_family(index).is_none_or(may_end), "it ended by itself");
                }
                assert_eq!(allocation.relayed[index].map(|(address, _)| address), relayed);
            }
            slot.take_if(|allocation| allocation.relayed == [None; 2]);
        }
        let held = self.allocations.iter().flatten().count();
        assert_eq!(held as i64, owner.held(Held::Allocations));
        assert!(self.held(|_| true) <= MAX_ALLOCATIONS, "more than there is place for");
        assert!((0..USERS.len()).all(|user| self.held(|one| one == user) <= MAX_PER_USER), "more than one's share");
    }
}

/// With the headers of IP and UDP.
fn wire_len(asked: &Asked, message: &[u8]) -> usize {
    message.len() + if client_address(asked.client).is_ipv4() { 28 } else { 48 }
}

fn decoded(bytes: &[u8]) -> Message {
    let mut message = Message::new();
    message.unmarshal_binary(bytes).expect("a STUN message");
    message
}

fn address(message: &Message, attribute: AttrType) -> SocketAddr {
    let mut address = XorMappedAddress::default();
    address.get_from_as(message, attribute).expect("the address is there");
    SocketAddr::new(address.ip, address.port)
}
