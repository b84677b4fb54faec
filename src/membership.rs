//! Which members are in which room, and at which addresses: the information that signaling gives to TURN.
//!
//! Signaling writes ([`Directory::enter`], [`Directory::reconnect`], [`Directory::leave`]), TURN reads, and adds what
//! it has verified itself ([`Directory::verify_address`], [`Directory::allocation_opened`]). TURN asks when a client
//! allocates, asks for a permission or binds a channel, never for a packet: it keeps the room's [`RoomWatch`], and asks
//! again only when the revision of that has changed.
//!
//! The order matters in two places. A newcomer must be entered before its `_peers` is queued, and an allocation must be
//! opened before its success response is sent, because the client's next packet may already depend on either.
//!
//! The module has no I/O and no clock. There is one lock for everything, which is taken when somebody joins, leaves or
//! allocates, but not for messages or media.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    net::IpAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    locks::{self, LockName, ReadGuard, ReadWriteLock, WriteGuard},
    values::{member::MemberId, roomy::give_back_room},
};

/// How many verified addresses are kept for a member; these are the latest ones.
pub const MAX_ADDRESSES_PER_MEMBER: usize = 16;

/// Identifies a room from its first member to its last. It is never 0; a room that is opened again gets another tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomTag(pub std::num::NonZeroU32);

/// A revision that changes whenever a member leaves the room, so that permissions granted because of that member are
/// judged again.
#[derive(Debug, Default)]
pub struct RoomWatch {
    revision: AtomicU64,
}

impl RoomWatch {
    /// The current revision. Reading it is cheap enough for each packet.
    pub fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    fn advance(&self) {
        self.revision.fetch_add(1, Ordering::AcqRel);
    }
}

/// A reference to an allocation, by which its owner can find and end it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AllocationRef {
    /// Index of the worker (or stream registry) that owns the client session.
    pub worker: u16,
    /// The owner's key of the session.
    pub key: u64,
}

/// What TURN knows about a member.
#[derive(Clone, Debug)]
pub struct Membership {
    /// The room the member is in.
    pub room: RoomTag,
    /// That room's watch.
    pub watch: Arc<RoomWatch>,
}

/// Called to end an allocation whose owner is no longer a member.
pub type EndAllocation = Box<dyn Fn(AllocationRef) + Send + Sync>;

/// The shared, read-mostly directory of members. See the module's header.
pub struct Directory {
    state: ReadWriteLock<DirectoryState>,
    end_allocation: OnceLock<EndAllocation>,
}

#[derive(Default)]
struct DirectoryState {
    members: HashMap<MemberId, DirectoryMember>,
    rooms: HashMap<RoomTag, DirectoryRoom>,
    /// For each address, the number of members with a signaling connection from it.
    connected: HashMap<IpAddr, u32>,
}

struct DirectoryMember {
    room: RoomTag,
    /// The signaling address, if verified, and verified addresses of TURN clients; the oldest first.
    addresses: Vec<IpAddr>,
    /// The address that is counted in `DirectoryState::connected`.
    connected_from: Option<IpAddr>,
    allocations: BTreeSet<AllocationRef>,
}

impl DirectoryMember {
    fn add_address(&mut self, address: IpAddr) {
        self.addresses.retain(|known| *known != address);
        self.addresses.push(address);
        if self.addresses.len() > MAX_ADDRESSES_PER_MEMBER {
            self.addresses.remove(0);
        }
    }
}

#[derive(Default)]
struct DirectoryRoom {
    members: Vec<MemberId>,
    watch: Arc<RoomWatch>,
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory").field("members", &self.len()).finish_non_exhaustive()
    }
}

impl Directory {
    /// An empty directory.
    pub fn new() -> Self {
        Self {
            state: ReadWriteLock::new(LockName("directory", 0), DirectoryState::default()),
            end_allocation: OnceLock::new(),
        }
    }

    /// Sets the function that ends the allocations of members that have left. Only the first call counts.
    pub fn on_end_allocation(&self, end: EndAllocation) {
        let _ = self.end_allocation.set(end);
    }

    /// `member` is now in `room`. `address` is its signaling address, if that is verified (it is not if an untrusted
    /// proxy is in between). A member of another room leaves that first.
    pub fn enter(&self, member: MemberId, room: RoomTag, address: Option<IpAddr>) {
        let address = address.map(|ip| ip.to_canonical());
        self.leave(member);
        let mut state = self.write();
        state.rooms.entry(room).or_default().members.push(member);
        if let Some(ip) = address {
            *state.connected.entry(ip).or_default() += 1;
        }
        let entry = DirectoryMember {
            room,
            addresses: Vec::from_iter(address),
            connected_from: address,
            allocations: BTreeSet::new(),
        };
        state.members.insert(member, entry);
    }

    /// `member` has come back over another connection, from `address` if that is verified. It has been a member all the
    /// time, so its allocations and verified addresses stay.
    pub fn reconnect(&self, member: MemberId, address: Option<IpAddr>) {
        let address = address.map(|ip| ip.to_canonical());
        let mut state = self.write();
        let Some(entry) = state.members.get_mut(&member) else {
            return;
        };
        let before = std::mem::replace(&mut entry.connected_from, address);
        if let Some(ip) = address {
            entry.add_address(ip);
            *state.connected.entry(ip).or_default() += 1;
        }
        if let Some(ip) = before {
            state.disconnected(ip);
        }
    }

    /// `member` has left: its allocations end, and so do the permissions of others that were granted because of it.
    pub fn leave(&self, member: MemberId) {
        let mut state = self.write();
        let Some(entry) = state.members.remove(&member) else {
            return;
        };
        give_back_room(&mut state.members);
        if let Some(room) = state.rooms.get_mut(&entry.room) {
            room.members.retain(|other| *other != member);
            room.watch.advance();
            if room.members.is_empty() {
                state.rooms.remove(&entry.room);
                give_back_room(&mut state.rooms);
            }
        }
        if let Some(ip) = entry.connected_from {
            state.disconnected(ip);
        }
        drop(state);
        locks::assert_none_held("end allocations");
        if let Some(end) = self.end_allocation.get() {
            entry.allocations.into_iter().for_each(end);
        }
    }

    /// The room of `member`, if it is a member.
    pub fn membership(&self, member: MemberId) -> Option<Membership> {
        let state = self.read();
        let room = state.members.get(&member)?.room;
        let watch = state.rooms.get(&room)?.watch.clone();
        Some(Membership { room, watch })
    }

    /// Whether `member` is in `room`.
    pub fn is_in_room(&self, member: MemberId, room: RoomTag) -> bool {
        self.read().members.get(&member).is_some_and(|entry| entry.room == room)
    }

    /// A member of `room` that has been verified at `address`. The member that asks counts too, so that its own devices
    /// can connect to each other.
    pub fn member_at(&self, room: RoomTag, address: IpAddr) -> Option<MemberId> {
        let address = address.to_canonical();
        let state = self.read();
        let members = &state.rooms.get(&room)?.members;
        members.iter().copied().find(|id| state.members.get(id).is_some_and(|entry| entry.addresses.contains(&address)))
    }

    /// Whether a member's signaling connection comes from `address`.
    pub fn is_connected_from(&self, address: IpAddr) -> bool {
        self.read().connected.contains_key(&address.to_canonical())
    }

    /// `member` has proven, with its TURN credential, that it is at `address`.
    pub fn verify_address(&self, member: MemberId, address: IpAddr) {
        let address = address.to_canonical();
        if let Some(entry) = self.write().members.get_mut(&member) {
            entry.add_address(address);
        }
    }

    /// Notes an allocation of `member`, so that it ends with the membership. Returns `false` if the member has already
    /// left; then the allocation must not be granted.
    #[must_use]
    pub fn allocation_opened(&self, member: MemberId, allocation: AllocationRef) -> bool {
        match self.write().members.get_mut(&member) {
            Some(entry) => {
                entry.allocations.insert(allocation);
                true
            }
            None => false,
        }
    }

    /// The counterpart of [`Self::allocation_opened`], for allocations that end before the membership does.
    pub fn allocation_closed(&self, member: MemberId, allocation: AllocationRef) {
        if let Some(entry) = self.write().members.get_mut(&member) {
            entry.allocations.remove(&allocation);
        }
    }

    /// How many members the directory holds.
    pub fn len(&self) -> usize {
        self.read().members.len()
    }

    /// Whether there are no members.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn read(&self) -> ReadGuard<'_, DirectoryState> {
        self.state.read()
    }

    fn write(&self) -> WriteGuard<'_, DirectoryState> {
        self.state.write()
    }
}

impl Default for Directory {
    fn default() -> Self {
        Self::new()
    }
}

impl DirectoryState {
    fn disconnected(&mut self, ip: IpAddr) {
        if let Some(count) = self.connected.get_mut(&ip) {
            *count -= 1;
            if *count == 0 {
                self.connected.remove(&ip);
                give_back_room(&mut self.connected);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    const ALICE: MemberId = MemberId::from_bits(1);
    const BOB: MemberId = MemberId::from_bits(2);

    fn room(n: u32) -> RoomTag {
        RoomTag(n.try_into().unwrap())
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_count_within_the_room_only() {
        let directory = Directory::new();
        directory.enter(ALICE, room(1), Some(ip("192.168.0.2")));
        directory.enter(BOB, room(2), Some(ip("::ffff:192.168.0.3")));
        assert_eq!(directory.member_at(room(1), ip("192.168.0.2")), Some(ALICE));
        assert_eq!(directory.member_at(room(2), ip("192.168.0.3")), Some(BOB));
        assert_eq!(directory.member_at(room(1), ip("192.168.0.3")), None);
        assert!(directory.is_connected_from(ip("192.168.0.3")));
    }

    #[test]
    fn leaving_ends_allocations_and_moves_the_watch() {
        let directory = Directory::new();
        let ended = Arc::new(Mutex::new(Vec::new()));
        let sink = ended.clone();
        directory.on_end_allocation(Box::new(move |allocation| sink.lock().unwrap().push(allocation)));
        directory.enter(ALICE, room(1), Some(ip("10.0.0.1")));
        directory.enter(BOB, room(1), None);
        let watch = directory.membership(BOB).unwrap().watch;
        let before = watch.revision();
        let kept = AllocationRef { worker: 0, key: 1 };
        let closed = AllocationRef { worker: 1, key: 2 };
        assert!(directory.allocation_opened(ALICE, kept));
        assert!(directory.allocation_opened(ALICE, closed));
        directory.allocation_closed(ALICE, closed);

        directory.leave(ALICE);

        assert_eq!(*ended.lock().unwrap(), [kept]);
        assert_ne!(watch.revision(), before);
        assert!(!directory.is_connected_from(ip("10.0.0.1")));
        assert!(!directory.allocation_opened(ALICE, kept));
        assert!(directory.membership(ALICE).is_none());
        assert_eq!(directory.len(), 1);
    }

    #[test]
    fn who_reconnects_keeps_what_it_has() {
        let directory = Directory::new();
        let ended = Arc::new(Mutex::new(Vec::new()));
        let sink = ended.clone();
        directory.on_end_allocation(Box::new(move |allocation| sink.lock().unwrap().push(allocation)));
        directory.enter(ALICE, room(1), Some(ip("10.0.0.1")));
        let allocation = AllocationRef { worker: 0, key: 1 };
        assert!(directory.allocation_opened(ALICE, allocation));
        let watch = directory.membership(ALICE).unwrap().watch;
        let before = watch.revision();

        directory.reconnect(ALICE, Some(ip("10.0.0.2")));

        assert_eq!((directory.len(), watch.revision()), (1, before));
        assert!(ended.lock().unwrap().is_empty());
        for address in ["10.0.0.1", "10.0.0.2"] {
            assert_eq!(directory.member_at(room(1), ip(address)), Some(ALICE));
        }
        assert!(!directory.is_connected_from(ip("10.0.0.1")));
        assert!(directory.is_connected_from(ip("10.0.0.2")));
        directory.reconnect(ALICE, None);
        assert!(!directory.is_connected_from(ip("10.0.0.2")));
        directory.reconnect(BOB, Some(ip("10.0.0.3")));
        assert!(!directory.is_connected_from(ip("10.0.0.3")), "not a member");
        directory.leave(ALICE);
        assert_eq!(*ended.lock().unwrap(), [allocation]);
        assert!(directory.write().connected.is_empty());
    }

    #[test]
    fn only_the_latest_addresses_are_kept() {
        let directory = Directory::new();
        directory.enter(ALICE, room(1), None);
        for n in 0..=MAX_ADDRESSES_PER_MEMBER as u8 {
            directory.verify_address(ALICE, IpAddr::from([10, 0, 0, n]));
        }
        assert_eq!(directory.member_at(room(1), ip("10.0.0.0")), None);
        assert_eq!(directory.member_at(room(1), ip("10.0.0.1")), Some(ALICE));
        assert_eq!(directory.member_at(room(1), ip("10.0.0.16")), Some(ALICE));
    }
}
