//! An allocation with its permissions and channels, and their lifetimes (RFC 8656 sections 7 to 12).
//!
//! An allocation has few of them, so they are kept in short sorted lists: compact, and a binary search finds them on
//! the packet path. Rules that need the outside world (policy, quotas) are in [`super::session`].

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    membership::{AllocationRef, RoomWatch},
    turn::{
        core::{
            event::{EndReason, Ended, EventQueue, Holder, MemberEntry, SessionEvent},
            five_tuple::FiveTuple,
            packet::DropReason,
            reach::Reach,
            totals::Totals,
        },
        shared::{
            bitrate::{Bitrate, Direction, Meter},
            quota::QuotaPlace,
            relayed::OwnerTag,
        },
        wire::{header::TransactionId, keys::Key},
    },
    values::{
        family::{ByFamily, Families, Family},
        member::MemberId,
    },
};

/// Lifetime of a permission (RFC 8656 section 9).
pub const PERMISSION_LIFETIME: Duration = Duration::from_secs(300);

/// Lifetime of a channel binding (RFC 8656 section 12).
pub const CHANNEL_LIFETIME: Duration = Duration::from_secs(600);

/// How long the number and the peer of an expired channel cannot be bound to anything else (RFC 8656 section 12).
pub const CHANNEL_REST: Duration = Duration::from_secs(300);

/// How many permissions, and how many channels, one allocation may have. A browser needs one for each candidate of its
/// peers.
pub const MAX_PEERS: usize = 256;

/// Permission to exchange data with an IP address.
#[derive(Clone, Copy, Debug)]
pub struct Permission {
    /// The peer's address; the port does not matter.
    pub ip: IpAddr,
    /// How the peer is reached.
    pub reach: Reach,
    expires: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Channel {
    number: u16,
    peer: SocketAddr,
    bound_until: Instant,
    is_bound: bool,
}

/// The number or the peer of a ChannelBind is already bound to something else; the answer is 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("channel number or peer bound otherwise")]
pub struct ChannelConflict;

/// There are [`MAX_PEERS`] already; the answer is 403.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many permissions or channels")]
pub struct TooManyPeers;

/// See the module's header.
#[derive(Debug)]
pub struct Allocation {
    /// What was granted, and to whom.
    pub grant: Grant,
    permissions: Vec<Permission>,
    channels: Vec<Channel>,
    meter: Option<Box<Meter>>,
    /// The transaction that gave up one of two relayed addresses, and its answer, which a retransmission gets again.
    pub gave_up_by: Option<Box<(TransactionId, Box<[u8]>)>>,
    families: Families,
    since: Instant,
    totals: Totals,
}

/// The terms of an allocation.
#[derive(Debug)]
pub struct Grant {
    /// The username that made the allocation. No other user may use it.
    pub username: Box<str>,
    /// The long-term key of that user.
    pub key: Key,
    /// When the credential expires, in Unix seconds. The allocation may live longer.
    pub credential_expires_at: u64,
    /// On whose behalf the allocation exists.
    pub owner: OwnerTag,
    /// The member, if the credential belongs to one.
    pub member: Option<AllocatingMember>,
    /// The relayed addresses: one, or one of each family.
    pub leases: ByFamily<Option<Lease>>,
    /// The transaction that made the allocation, and its answer, which a retransmission gets again.
    pub made_by: (TransactionId, Box<[u8]>),
    /// The policy's revision for which the permissions were last checked.
    pub policy_revision: u64,
}

/// A relayed address, which has a lifetime of its own (RFC 8656 section 8.1).
#[derive(Debug)]
pub struct Lease {
    /// The address that peers see.
    pub address: SocketAddr,
    /// When it ends unless refreshed.
    pub expires: Instant,
    /// The place in the quotas. Dropping this gives it back.
    pub place: QuotaPlace,
}

/// The member behind an allocation.
#[derive(Debug)]
pub struct AllocatingMember {
    /// Its id.
    pub id: MemberId,
    /// Its room's watch.
    pub watch: Arc<RoomWatch>,
    /// The watch's revision for which the permissions were last checked.
    pub seen: u64,
    /// The directory's reference to the allocation.
    pub entry: AllocationRef,
}

impl Allocation {
    /// A new allocation without permissions and channels.
    pub fn new(grant: Grant, now: Instant) -> Self {
        Self {
            families: Families::of(&grant.leases),
            grant,
            permissions: Vec::new(),
            channels: Vec::new(),
            meter: None,
            gave_up_by: None,
            since: now,
            totals: Totals::default(),
        }
    }

    /// Limits the rate at which it may relay, from its beginning.
    #[must_use]
    pub fn limited_to(mut self, rate: Option<Bitrate>) -> Self {
        self.meter = rate.map(|rate| Box::new(Meter::new(rate, self.since)));
        self
    }

    /// Lets `bytes` of payload pass in this direction: takes them off the rate limit, and adds them to the totals.
    ///
    /// # Errors
    /// [`DropReason::Bitrate`] if the limit does not allow that many; then nothing is taken.
    #[inline]
    pub fn admit(&mut self, direction: Direction, bytes: usize, now: Instant) -> Result<(), DropReason> {
        if let Some(meter) = &mut self.meter
            && !meter.admits(direction, bytes, now)
        {
            return Err(DropReason::Bitrate);
        }
        let total = match direction {
            Direction::FromClient => &mut self.totals.from_client,
            Direction::ToClient => &mut self.totals.to_client,
        };
        total.packets += 1;
        total.bytes += bytes as u64;
        Ok(())
    }

    /// The relayed address of this family.
    pub fn relayed(&self, family: Family) -> Option<SocketAddr> {
        self.grant.leases[family].as_ref().map(|lease| lease.address)
    }

    /// When the next relayed address ends; `None` if there is none left.
    pub fn next_end(&self) -> Option<Instant> {
        self.grant.leases.iter().map(|lease| lease.expires).min()
    }

    /// Gives up the relayed address of this family, with the permissions and channels of peers of that family.
    pub fn give_up(&mut self, family: Family, events: &mut EventQueue) {
        let Some(lease) = self.grant.leases[family].take() else {
            return;
        };
        self.judge_again(|permission| (Family::of(permission.ip) != family).then_some(permission.reach), events);
        self.channels.retain(|channel| {
            let is_over = Family::of(channel.peer.ip()) == family;
            if is_over && channel.is_bound {
                events.push(SessionEvent::ChannelEnded { number: channel.number, peer: channel.peer });
            }
            !is_over
        });
        events.push(SessionEvent::RelayEnded { family, address: lease.address });
    }

    /// Ends the whole allocation.
    pub fn end(mut self, tuple: FiveTuple, reason: EndReason, now: Instant, events: &mut EventQueue) {
        for family in Family::BOTH {
            self.give_up(family, events);
        }
        let Self { grant: Grant { username, owner, member, .. }, families, totals, since, .. } = self;
        let member = member.map(|AllocatingMember { id, entry, .. }| MemberEntry { id, entry });
        let holder = Holder { username, owner, member, tuple };
        let duration = now.saturating_duration_since(since);
        events.push(SessionEvent::Ended(Box::new(Ended { holder, families, reason, totals, duration })));
    }

    /// The permission for `ip`, if one is in force.
    pub fn permission(&self, ip: IpAddr, now: Instant) -> Option<&Permission> {
        let index = self.permissions.binary_search_by(|p| p.ip.cmp(&ip)).ok()?;
        Some(&self.permissions[index]).filter(|p| now < p.expires)
    }

    /// Whether permissions for all of `ips` would fit.
    pub fn has_room_for(&self, ips: impl Iterator<Item = IpAddr>) -> bool {
        let mut new: Vec<_> = ips.filter(|ip| self.permissions.binary_search_by(|p| p.ip.cmp(ip)).is_err()).collect();
        new.sort_unstable();
        new.dedup();
        self.permissions.len() + new.len() <= MAX_PEERS
    }

    /// Installs or refreshes a permission.
    pub fn permit(&mut self, ip: IpAddr, reach: Reach, now: Instant, events: &mut EventQueue) {
        let permission = Permission { ip, reach, expires: now + PERMISSION_LIFETIME };
        let found = self.permissions.binary_search_by(|p| p.ip.cmp(&ip));
        match found {
            Ok(index) => self.permissions[index] = permission,
            Err(index) => self.permissions.insert(index, permission),
        }
        events.push(SessionEvent::Permitted { ip, reach, is_new: found.is_err() });
    }

    /// Checks every permission again: `judge` returns the new reach, or `None` to end the permission.
    pub fn judge_again(&mut self, mut judge: impl FnMut(&Permission) -> Option<Reach>, events: &mut EventQueue) {
        self.permissions.retain_mut(|permission| match judge(permission) {
            Some(reach) => {
                permission.reach = reach;
                true
            }
            None => {
                events.push(SessionEvent::PermissionEnded { ip: permission.ip });
                false
            }
        });
    }

    /// Whether `number` may be bound to `peer` (RFC 8656 section 12.2).
    ///
    /// # Errors
    /// [`ChannelConflict`] if either is taken, or was taken until less than [`CHANNEL_REST`] ago.
    pub fn may_bind(&self, number: u16, peer: SocketAddr) -> Result<(), ChannelConflict> {
        let conflicts = |c: &Channel| (c.number == number) != (c.peer == peer);
        if self.channels.iter().any(conflicts) { Err(ChannelConflict) } else { Ok(()) }
    }

    /// Binds or refreshes a channel that [`Self::may_bind`] has allowed.
    ///
    /// # Errors
    /// [`TooManyPeers`] if there are [`MAX_PEERS`] channels already.
    pub fn bind(
        &mut self,
        number: u16,
        peer: SocketAddr,
        now: Instant,
        events: &mut EventQueue,
    ) -> Result<(), TooManyPeers> {
        let bound = Channel { number, peer, bound_until: now + CHANNEL_LIFETIME, is_bound: true };
        let is_new = match self.channels.binary_search_by_key(&number, |c| c.number) {
            Ok(index) => !std::mem::replace(&mut self.channels[index], bound).is_bound,
            Err(_) if self.channels.len() >= MAX_PEERS => return Err(TooManyPeers),
            Err(index) => {
                self.channels.insert(index, bound);
                true
            }
        };
        events.push(SessionEvent::ChannelBound { number, peer, is_new });
        Ok(())
    }

    /// The peer behind a channel number.
    pub fn channel_peer(&self, number: u16, now: Instant) -> Option<SocketAddr> {
        let index = self.channels.binary_search_by_key(&number, |c| c.number).ok()?;
        let channel = &self.channels[index];
        (now < channel.bound_until).then_some(channel.peer)
    }

    /// The channel that is bound to a peer.
    pub fn channel_of(&self, peer: SocketAddr, now: Instant) -> Option<u16> {
        self.channels.iter().find(|c| c.peer == peer && now < c.bound_until).map(|c| c.number)
    }

    /// When the next lease, permission or channel ends; `None` if there is none.
    pub fn next_deadline(&self) -> Option<Instant> {
        let permissions = self.permissions.iter().map(|p| p.expires);
        let channels =
            self.channels.iter().map(|c| if c.is_bound { c.bound_until } else { c.bound_until + CHANNEL_REST });
        permissions.chain(channels).chain(self.next_end()).min()
    }

    /// Drops what has expired. The allocation is over when no relayed address is left.
    pub fn expire(&mut self, now: Instant, events: &mut EventQueue) {
        for family in Family::BOTH {
            if self.grant.leases[family].as_ref().is_some_and(|lease| lease.expires <= now) {
                self.give_up(family, events);
            }
        }
        self.judge_again(|p| (now < p.expires).then_some(p.reach), events);
        for channel in &mut self.channels {
            if channel.is_bound && channel.bound_until <= now {
                channel.is_bound = false;
                events.push(SessionEvent::ChannelEnded { number: channel.number, peer: channel.peer });
            }
        }
        self.channels.retain(|c| now < c.bound_until + CHANNEL_REST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        credentials::User,
        turn::{shared::quota::Quotas, wire::keys::PasswordAlgorithm},
    };

    const HOUR: Duration = Duration::from_secs(3600);

    fn allocation(now: Instant) -> Allocation {
        let quotas = Quotas::up_to(2, 2);
        let new = Grant {
            username: "1:alice".into(),
            key: Key::new(PasswordAlgorithm::Md5, "1:alice", "realm", "password"),
            credential_expires_at: 1,
            owner: OwnerTag::Api,
            member: None,
            leases: ByFamily::new(|family| {
                let address = match family {
                    Family::V4 => "198.51.100.1:50000",
                    Family::V6 => "[2001:db8::1]:50000",
                };
                Some(Lease {
                    address: address.parse().unwrap(),
                    expires: now + HOUR,
                    place: quotas.take(&User::Api("alice".into()), "192.0.2.1".parse().unwrap(), Family::V4).unwrap(),
                })
            }),
            made_by: (TransactionId([0; 12]), Box::default()),
            policy_revision: 0,
        };
        Allocation::new(new, now)
    }

    fn peer(n: u16) -> SocketAddr {
        SocketAddr::from(([203, 0, 113, 1], n))
    }

    #[test]
    fn the_next_deadline_is_whatever_ends_first() {
        let now = Instant::now();
        let mut allocation = allocation(now);
        let events = &mut EventQueue::new();
        assert_eq!(allocation.next_deadline(), Some(now + HOUR));
        allocation.bind(0x4000, peer(1), now, events).unwrap();
        assert_eq!(allocation.next_deadline(), Some(now + CHANNEL_LIFETIME));
        allocation.permit(peer(1).ip(), Reach::Own, now, events);
        assert_eq!(allocation.next_deadline(), Some(now + PERMISSION_LIFETIME));
        allocation.expire(now + PERMISSION_LIFETIME, events);
        assert_eq!(allocation.next_deadline(), Some(now + CHANNEL_LIFETIME));
        allocation.expire(now + CHANNEL_LIFETIME, events);
        assert_eq!(allocation.next_deadline(), Some(now + CHANNEL_LIFETIME + CHANNEL_REST));
        allocation.expire(now + CHANNEL_LIFETIME + CHANNEL_REST, events);
        assert_eq!(allocation.next_deadline(), Some(now + HOUR));
        allocation.expire(now + HOUR, events);
        assert_eq!(allocation.next_deadline(), None);
    }

    #[test]
    fn each_deadline_is_followed_by_a_later_one() {
        let now = Instant::now();
        let mut allocation = allocation(now);
        let events = &mut EventQueue::new();
        for n in 0..10 {
            let later = now + Duration::from_secs(n * 7);
            allocation.bind(0x4000 + n as u16, peer(n as u16), later, events).unwrap();
            allocation.permit(IpAddr::from([203, 0, 113, n as u8]), Reach::Own, later, events);
        }
        let mut deadline = allocation.next_deadline().unwrap();
        while let Some(next) = {
            allocation.expire(deadline, events);
            allocation.next_deadline()
        } {
            assert!(next > deadline, "a timer at a deadline must get something done");
            deadline = next;
        }
        assert_eq!(deadline, now + HOUR);
        assert!(allocation.permissions.is_empty() && allocation.channels.is_empty());
    }

    #[test]
    fn an_order_of_binding_does_not_matter_to_looking_up() {
        let now = Instant::now();
        let mut allocation = allocation(now);
        let events = &mut EventQueue::new();
        for n in [5, 1, 9, 3, 7] {
            allocation.bind(0x4000 + n, peer(n), now, events).unwrap();
            allocation.permit(IpAddr::from([203, 0, 113, n as u8]), Reach::Own, now, events);
        }
        for n in 0..10 {
            let is_there = [5, 1, 9, 3, 7].contains(&n);
            assert_eq!(allocation.channel_peer(0x4000 + n, now), is_there.then(|| peer(n)));
            assert_eq!(allocation.channel_of(peer(n), now), is_there.then_some(0x4000 + n));
            assert_eq!(allocation.permission(IpAddr::from([203, 0, 113, n as u8]), now).is_some(), is_there);
        }
    }
}
