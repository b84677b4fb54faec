//! One client's TURN session: a sans-IO state machine (RFC 8656; RFC 8489 for Binding and authentication).
//!
//! All TURN state belongs to the 5-tuple of one client, so there is one session for each, and no object that holds all
//! clients. The owner of the client's transport drives the session:
//!
//! 1. Hand each datagram of the client to [`Session::handle_client`] and perform the [`Output`].
//! 2. On [`Output::BindRelay`], bind relay sockets, then call [`Session::handle_relay_bound`] and send its reply.
//! 3. Hand each datagram that reaches a relayed address to [`Session::handle_peer`] and send what it wrote; hand errors
//!    that the network reports about datagrams sent to peers to [`Session::handle_icmp`].
//! 4. At [`Session::next_deadline`], call [`Session::handle_timeout`].
//! 5. After each of these, and before performing what they return, read all of [`Context::events`]: each
//!    [`SessionEvent::RelayEnded`](crate::turn::core::event::SessionEvent::RelayEnded) closes a relay socket. Then
//!    forget the session if it [`is_idle`](Session::is_idle). A session for a stranger is made on the stack and
//!    forgotten at once, so strangers create no state.
//!
//! The session uses no clock, no socket and no runtime, and it counts and logs nothing: [`Context`] brings the time and
//! everything that sessions share, and takes the events. Methods that handle a packet of data do not allocate.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use crate::{
    credentials::User,
    turn::{
        core::{
            allocation::{Allocation, Permission},
            event::{EndReason, EventQueue},
            five_tuple::FiveTuple,
            packet::DropReason,
            reach::Reach,
        },
        shared::{
            Shared,
            bitrate::Direction,
            limiter::AnswerLimiter,
            peer_policy::{PeerRefusal, Verdict},
            quota::QuotaPlace,
            relayed::OwnerTag,
        },
        wire::{
            channel_data,
            code::ErrorCode,
            data::{self, IcmpError, SendIndication},
            header::TransactionId,
            keys::{Integrity, Key},
            message::{Request, ReservationToken},
        },
    },
    values::{
        family::{ByFamily, Families, Family},
        member::MemberId,
    },
};

mod places;
mod refusal;
mod requests;

/// How long the answer to the Refresh that ended an allocation is kept for retransmissions. A client gives up after
/// 39.5 s (RFC 8489 section 6.2.1).
const RETRANSMISSIONS: Duration = Duration::from_secs(40);

/// The time by both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Monotonic time, for lifetimes.
    pub instant: Instant,
    /// Unix time in seconds, for credentials and nonces.
    pub unix: u64,
}

/// What a session is given from outside with each input.
#[derive(Debug)]
pub struct Context<'a> {
    /// The time.
    pub now: Now,
    /// What all sessions share.
    pub shared: &'a Shared,
    /// Limits answers to strangers.
    pub limiter: &'a AnswerLimiter,
    /// Where sessions put what they have to report.
    pub events: &'a mut EventQueue,
}

/// What the owner must do.
#[derive(Debug, PartialEq, Eq)]
pub enum Output<'p> {
    /// Nothing.
    Nothing,
    /// Drop the datagram.
    Dropped(DropReason),
    /// Send this to the client.
    Reply(Vec<u8>),
    /// Bind relay sockets and call [`Session::handle_relay_bound`].
    BindRelay(RelayWish),
    /// Send `payload` to `peer`.
    ToPeer {
        /// The peer's transport address.
        peer: SocketAddr,
        /// The payload, a part of the client's datagram.
        payload: &'p [u8],
        /// How the peer is reached.
        reach: Reach,
        /// Send with DF set.
        dont_fragment: bool,
    },
}

/// How a peer's datagram reached the relayed address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// From the relay socket.
    Network,
    /// From another client of this process. The peer's address is the relayed address of that client.
    InProcess,
}

/// The relayed addresses that an Allocate waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayWish {
    /// Their families.
    pub families: Families,
    /// Their ports.
    pub port: PortWish,
}

/// What a request requires of the port of a relayed address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortWish {
    /// Any free port.
    Any,
    /// EVEN-PORT: an even port.
    Even,
    /// EVEN-PORT with the R bit: an even port, and the next port is held for
    /// [`crate::turn::shared::Lifetimes::reservation`].
    EvenAndNext,
    /// RESERVATION-TOKEN: this address, which is already held.
    Reserved(SocketAddr),
}

/// What was bound for a [`RelayWish`]: all of it, or one of two families. If nothing was bound, the client gets 508.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BoundRelays {
    /// The relayed addresses as they are advertised.
    pub relayed: ByFamily<Option<SocketAddr>>,
    /// The next port, which is held, and a random token for it.
    pub next: Option<(ReservationToken, SocketAddr)>,
}

/// See the module's header.
#[derive(Debug)]
pub struct Session {
    tuple: FiveTuple,
    /// Whether the client is on a connection. Its address cannot be forged then, because there was a handshake.
    is_on_stream: bool,
    state: SessionState,
    /// Numbers Data indications.
    indications: u64,
}

#[derive(Debug)]
enum SessionState {
    /// There is no state.
    Idle,
    /// An Allocate waits for its relay socket.
    Binding(Box<Binding>),
    Allocated(Box<Allocation>),
    /// The client ended the allocation. It may retransmit that request, and then gets the same answer.
    Ended(Box<LastReply>),
}

/// The state of [`SessionState::Binding`].
#[derive(Debug)]
struct Binding {
    request: Request,
    pending: PendingAllocate,
}

/// What is decided before the relay socket is bound.
#[derive(Debug)]
struct PendingAllocate {
    username: Box<str>,
    signature: Signature,
    user: User,
    credential_expires_at: u64,
    lifetime: Duration,
    owner: OwnerTag,
    wish: RelayWish,
    places: ByFamily<Option<QuotaPlace>>,
    /// The place in the quotas for the port that is held.
    next_place: Option<QuotaPlace>,
    /// A requested family that is not available, and why.
    missing: Option<(Family, ErrorCode)>,
}

/// How a client signs its requests. The answers are signed in the same way.
#[derive(Clone, Copy, Debug)]
struct Signature {
    key: Key,
    integrity: Integrity,
}

#[derive(Debug)]
struct LastReply {
    username: Box<str>,
    by: TransactionId,
    reply: Box<[u8]>,
    until: Instant,
}

impl Session {
    /// A session without state, of a client that sends datagrams.
    pub fn new(tuple: FiveTuple) -> Self {
        Self { tuple, is_on_stream: false, state: SessionState::Idle, indications: 0 }
    }

    /// A session without state, of a client on a connection. Answers on a connection reach nobody else, so their size
    /// and number are not limited: a client that does not read them soon cannot send any more.
    pub fn on_stream(tuple: FiveTuple) -> Self {
        Self { is_on_stream: true, ..Self::new(tuple) }
    }

    /// The 5-tuple that the session was made for.
    pub fn tuple(&self) -> FiveTuple {
        self.tuple
    }

    /// Whether the session has no state, so that it can be forgotten.
    pub fn is_idle(&self) -> bool {
        matches!(self.state, SessionState::Idle)
    }

    /// Whether the session only keeps its last answer, in case the client retransmits. An owner that holds too many
    /// such sessions may [`Self::end`] them.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, SessionState::Ended(_))
    }

    /// Whether there is an allocation.
    pub fn is_allocated(&self) -> bool {
        matches!(self.state, SessionState::Allocated(_))
    }

    /// The relayed address of a family, if there is one.
    pub fn relayed(&self, family: Family) -> Option<SocketAddr> {
        self.allocation()?.relayed(family)
    }

    /// On whose behalf the allocation exists or is being made.
    pub fn owner(&self) -> Option<OwnerTag> {
        match &self.state {
            SessionState::Binding(binding) => Some(binding.pending.owner),
            SessionState::Allocated(allocation) => Some(allocation.grant.owner),
            SessionState::Idle | SessionState::Ended(_) => None,
        }
    }

    /// A datagram from the client.
    pub fn handle_client<'p>(&mut self, datagram: &'p [u8], cx: &mut Context<'_>) -> Output<'p> {
        self.expire(cx);
        let Some(first) = datagram.first() else {
            return Output::Dropped(DropReason::Malformed);
        };
        let outcome = if channel_data::is_channel_data(*first) {
            self.handle_channel_data(datagram, cx)
        } else if data::is_send_indication(datagram) {
            self.handle_send(datagram, cx)
        } else {
            return self.handle_request(datagram, cx);
        };
        outcome.unwrap_or_else(Output::Dropped)
    }

    /// A datagram from `peer` reached the relayed address; its payload is at `buffer[start..end]`. Writes the message
    /// for the client in place and returns its range. The buffer needs [`data::HEADROOM`] before and [`data::TAILROOM`]
    /// behind the payload.
    ///
    /// A permission for an address of this host admits only data that comes in process. From the network, such a source
    /// address is forged, or belongs to a service of this host that must not be relayed.
    ///
    /// RFC 8656 sections 11.3 and 12.7.
    pub fn handle_peer(
        &mut self,
        (peer, via): (SocketAddr, Via),
        buffer: &mut [u8],
        start: usize,
        end: usize,
        cx: &mut Context<'_>,
    ) -> Result<(usize, usize), DropReason> {
        self.expire(cx);
        self.judge_again(cx);
        self.indications = self.indications.wrapping_add(1);
        let (now, id) = (cx.now.instant, self.indication_id());
        let allocation = self.allocation_mut().ok_or(DropReason::NoAllocation)?;
        let permission = allocation.permission(peer.ip(), now).ok_or(DropReason::NoPermission)?;
        if via == Via::Network && permission.reach == Reach::Own {
            return Err(DropReason::OwnAddress);
        }
        allocation.admit(Direction::ToClient, end.saturating_sub(start), now)?;
        let written = match allocation.channel_of(peer, now) {
            Some(number) => channel_data::encode_before(buffer, start, end, number).map(|begin| (begin, end)),
            None => data::write_data_indication(buffer, start, end, peer, id),
        };
        written.ok_or(DropReason::Malformed)
    }

    /// The network reports an error about a datagram to `peer`. Returns the message for the client, if the client is
    /// told.
    ///
    /// RFC 8656 section 11.5.
    pub fn handle_icmp(&mut self, peer: SocketAddr, error: IcmpError, cx: &mut Context<'_>) -> Option<Vec<u8>> {
        self.expire(cx);
        self.judge_again(cx);
        // Destination unreachable and time exceeded; for ICMPv6 also packet too big.
        let is_told = match Family::of(peer.ip()) {
            Family::V4 => matches!(error.kind, 3 | 11),
            Family::V6 => matches!(error.kind, 1..=3),
        };
        self.allocation()?.permission(peer.ip(), cx.now.instant).filter(|_| is_told)?;
        self.indications = self.indications.wrapping_add(1);
        Some(data::icmp_indication(peer, error, self.indication_id()))
    }

    /// The ids must differ but may be guessable, because nobody answers an indication.
    fn indication_id(&self) -> TransactionId {
        let mut id = [0; 12];
        id[4..].copy_from_slice(&self.indications.to_be_bytes());
        TransactionId(id)
    }

    /// When to call [`Self::handle_timeout`], if ever.
    pub fn next_deadline(&self) -> Option<Instant> {
        match &self.state {
            SessionState::Idle | SessionState::Binding(_) => None,
            SessionState::Allocated(allocation) => allocation.next_deadline(),
            SessionState::Ended(ended) => Some(ended.until),
        }
    }

    /// Ends everything that has expired.
    pub fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        let now = cx.now.instant;
        match &mut self.state {
            SessionState::Allocated(allocation) => {
                allocation.expire(now, cx.events);
                if allocation.next_end().is_none() {
                    self.end(EndReason::Expired, cx);
                }
            }
            SessionState::Ended(ended) if ended.until <= now => self.state = SessionState::Idle,
            _ => {}
        }
    }

    /// Ends an expired allocation even if its timer is late: an expired relayed address must not relay, and must not be
    /// refreshed.
    fn expire(&mut self, cx: &mut Context<'_>) {
        let next_end = self.allocation().and_then(Allocation::next_end);
        if next_end.is_some_and(|end| end <= cx.now.instant) {
            self.handle_timeout(cx);
        }
    }

    /// Ends the allocation, if there is one, and forgets all state.
    pub fn end(&mut self, reason: EndReason, cx: &mut Context<'_>) {
        if let SessionState::Allocated(allocation) = std::mem::replace(&mut self.state, SessionState::Idle) {
            allocation.end(self.tuple, reason, cx.now.instant, cx.events);
        }
    }

    /// RFC 8656 section 12.6.
    fn handle_channel_data<'p>(&mut self, datagram: &'p [u8], cx: &mut Context<'_>) -> Result<Output<'p>, DropReason> {
        self.judge_again(cx);
        let allocation = self.allocation_mut().ok_or(DropReason::NoAllocation)?;
        let (number, payload) = channel_data::decode(datagram).ok_or(DropReason::Malformed)?;
        let peer = allocation.channel_peer(number, cx.now.instant).ok_or(DropReason::NoChannel)?;
        let permission = allocation.permission(peer.ip(), cx.now.instant).ok_or(DropReason::NoPermission)?;
        let reach = permission.reach;
        allocation.admit(Direction::FromClient, payload.len(), cx.now.instant)?;
        Ok(Output::ToPeer { peer, payload, reach, dont_fragment: false })
    }

    /// RFC 8656 section 11.2.
    fn handle_send<'p>(&mut self, datagram: &'p [u8], cx: &mut Context<'_>) -> Result<Output<'p>, DropReason> {
        self.judge_again(cx);
        let allocation = self.allocation_mut().ok_or(DropReason::NoAllocation)?;
        let SendIndication { peer, payload, dont_fragment } =
            SendIndication::decode(datagram).ok_or(DropReason::Malformed)?;
        let permission = allocation.permission(peer.ip(), cx.now.instant).ok_or(DropReason::NoPermission)?;
        let reach = permission.reach;
        allocation.admit(Direction::FromClient, payload.len(), cx.now.instant)?;
        Ok(Output::ToPeer { peer, payload, reach, dont_fragment })
    }

    /// Checks the permissions again if a member has left the room or the host's addresses have changed. Otherwise this
    /// costs two loads.
    #[inline]
    fn judge_again(&mut self, cx: &mut Context<'_>) {
        let Some(allocation) = self.allocation() else {
            return;
        };
        let policy_revision = cx.shared.policy.revision();
        let host_changed = allocation.grant.policy_revision != policy_revision;
        let room_changed =
            allocation.grant.member.as_ref().is_some_and(|member| member.seen != member.watch.revision());
        if host_changed || room_changed {
            self.judge_anew(host_changed, policy_revision, cx);
        }
    }

    #[cold]
    fn judge_anew(&mut self, host_changed: bool, policy_revision: u64, cx: &mut Context<'_>) {
        let SessionState::Allocated(allocation) = &mut self.state else {
            return;
        };
        let shared = cx.shared;
        allocation.grant.policy_revision = policy_revision;
        if let Some(member) = &mut allocation.grant.member {
            member.seen = member.watch.revision();
        }
        let owner = allocation.grant.owner;
        let member = allocation.grant.member.as_ref();
        if member.is_some_and(|member| !still_in_room(owner, member.id, shared)) {
            return self.end(EndReason::MemberLeft, cx);
        }
        let judge = |permission: &Permission| {
            let member_stays = match permission.reach {
                Reach::Network { because_of: Some(member) } => Some(still_in_room(owner, member, shared)),
                Reach::Network { because_of: None } | Reach::Own => None,
            };
            if !host_changed && member_stays != Some(false) {
                return Some(permission.reach);
            }
            match reach(owner, permission.ip, shared) {
                Ok(reach) => Some(reach),
                // The address is no longer among the member's latest, but that does not end a permission in force.
                Err(PeerRefusal::NotInRoom | PeerRefusal::NotPublic) if member_stays == Some(true) => {
                    Some(permission.reach)
                }
                Err(_) => None,
            }
        };
        allocation.judge_again(judge, cx.events);
    }

    fn allocation(&self) -> Option<&Allocation> {
        match &self.state {
            SessionState::Allocated(allocation) => Some(allocation),
            _ => None,
        }
    }

    fn allocation_mut(&mut self) -> Option<&mut Allocation> {
        match &mut self.state {
            SessionState::Allocated(allocation) => Some(allocation),
            _ => None,
        }
    }
}

/// How `owner` may reach `ip` now.
fn reach(owner: OwnerTag, ip: IpAddr, shared: &Shared) -> Result<Reach, PeerRefusal> {
    match shared.policy.judge(owner, ip, &shared.directory) {
        Verdict::Own => Ok(Reach::Own),
        Verdict::Allowed { because_of } => Ok(Reach::Network { because_of }),
        Verdict::Refused(reason) => Err(reason),
    }
}

fn still_in_room(owner: OwnerTag, member: MemberId, shared: &Shared) -> bool {
    match owner {
        OwnerTag::Room(room) => shared.directory.is_in_room(member, room),
        OwnerTag::Api => false,
    }
}
