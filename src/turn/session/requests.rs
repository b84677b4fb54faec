//! The request methods, one handler each, in the order of the RFC's numbered steps.
//!
//! A refusal is a value: handlers return `Err(Refusal)` and the one place that knows how to say no turns it into an error
//! response. RFC 8656 sections 7 (Allocate), 8 (Refresh), 10 (CreatePermission), 12 (ChannelBind); RFC 8489 section 9.2.

use super::*;
use crate::{
    credentials,
    membership::{AllocationRef, Membership},
    metrics::TurnMethod,
    turn::{
        allocation::{AllocatingMember, Grant},
        channel_data::CHANNEL_NUMBERS,
        message::{MalformedAttribute, NotARequest, Response},
        quota::QuotaExceeded,
    },
};

/// UDP in REQUESTED-TRANSPORT.
const PROTOCOL_UDP: u8 = 17;

/// Why a request is not granted.
#[derive(Debug)]
enum Refusal {
    /// The client has not proven who it is: 401 or 438 with REALM and NONCE, and only as often as strangers are answered.
    Unproven(u16),
    /// An error for a client that has.
    Code(u16),
    /// 420 with the list.
    UnknownAttributes(Vec<u16>),
}

impl From<MalformedAttribute> for Refusal {
    fn from(_: MalformedAttribute) -> Self {
        Self::Code(400)
    }
}

/// Who a request comes from, proven by MESSAGE-INTEGRITY.
struct Identity {
    username: Box<str>,
    key: [u8; 16],
}

impl Session {
    pub(super) fn handle_request<'p>(&mut self, datagram: &[u8], cx: &mut Context<'_>) -> Output<'p> {
        let mut request = match Request::decode(datagram) {
            Ok(request) if request.method() != TurnMethod::Other => request,
            // An unknown method is discarded (RFC 8489 section 6.3), and so is a response or a stray indication.
            Ok(_) | Err(NotARequest::OtherClass | NotARequest::Malformed) => {
                return self.dropped(DropReason::Malformed, cx);
            }
        };
        let method = request.method();
        cx.counters.request(method);
        if method == TurnMethod::Binding {
            return self.handle_binding(&request, cx);
        }
        if self.is_being_answered(&request) {
            return Output::Nothing;
        }
        let identity = match self.authenticate(&mut request, cx) {
            Ok(identity) => identity,
            Err(refusal) => return self.refuse(&request, refusal, None, cx),
        };
        let key = identity.key;
        if let Some(reply) = self.earlier_reply(&request) {
            cx.counters.response(method, 0);
            return Output::Reply(reply);
        }
        let unknown = request.unknown_attributes();
        let outcome = if unknown.is_empty() {
            match method {
                TurnMethod::Allocate => match self.handle_allocate(&request, identity, cx) {
                    Ok(family) => return self.bind(request, family),
                    Err(refusal) => Err(refusal),
                },
                TurnMethod::Refresh => self.handle_refresh(&request, &identity, cx),
                TurnMethod::CreatePermission => self.handle_create_permission(&request, &identity, cx),
                TurnMethod::ChannelBind => self.handle_channel_bind(&request, &identity, cx),
                TurnMethod::Binding | TurnMethod::Other => return Output::Nothing,
            }
        } else {
            Err(Refusal::UnknownAttributes(unknown))
        };
        match outcome {
            Ok(reply) => {
                cx.counters.response(method, 0);
                Output::Reply(reply)
            }
            Err(refusal) => self.refuse(&request, refusal, Some(&key), cx),
        }
    }

    /// RFC 8489 section 6.3.1. No authentication; the answer stays under 1.5 times the request.
    fn handle_binding<'p>(&self, request: &Request, cx: &mut Context<'_>) -> Output<'p> {
        if !self.may_answer(cx) {
            return self.dropped(DropReason::RateLimited, cx);
        }
        let unknown = request.unknown_attributes();
        if !unknown.is_empty() {
            cx.counters.response(TurnMethod::Binding, 420);
            return Output::Reply(Response::error(request, 420).unknown_attributes(&unknown).finish());
        }
        cx.counters.response(TurnMethod::Binding, 0);
        Output::Reply(Response::success(request).mapped(self.tuple.client).finish())
    }

    /// The checks of RFC 8489 section 9.2.4.
    fn authenticate(&self, request: &mut Request, cx: &Context<'_>) -> Result<Identity, Refusal> {
        if !request.has_integrity() {
            return Err(Refusal::Unproven(401));
        }
        let (Some(username), Some(nonce), Some(_)) = (request.username(), request.nonce(), request.realm()) else {
            return Err(Refusal::Unproven(400));
        };
        // Before anything is computed for a stranger.
        if !cx.shared.nonces.is_fresh(nonce, self.tuple.client, cx.now.unix) {
            return Err(Refusal::Unproven(438));
        }
        let username: Box<str> = username.into();
        if let Some(allocation) = self.allocation().filter(|allocation| allocation.grant.username == username) {
            let key = allocation.grant.key;
            return if request.integrity_is(&key) {
                Ok(Identity { username, key })
            } else {
                Err(Refusal::Unproven(401))
            };
        }
        if credentials::parse_username(&username).is_none() {
            return Err(Refusal::Unproven(401));
        }
        let proven = cx.shared.authority.keys(&username).find(|key| request.integrity_is(key));
        let key = proven.ok_or(Refusal::Unproven(401))?;
        Ok(Identity { username, key })
    }

    /// RFC 8656 section 7.2, steps 1 to 11.
    fn handle_allocate(
        &mut self,
        request: &Request,
        identity: Identity,
        cx: &Context<'_>,
    ) -> Result<(Family, PendingAllocate), Refusal> {
        // 1: authentication, as far as it is more than the long-term mechanism. Who may allocate at all?
        let (expires_at, user) = credentials::parse_username(&identity.username).ok_or(Refusal::Unproven(401))?;
        if expires_at <= cx.now.unix {
            return Err(Refusal::Unproven(401));
        }
        let owner = match &user {
            User::Member(id) => OwnerTag::Room(self.membership(*id, cx).ok_or(Refusal::Unproven(401))?.room),
            User::Api(_) => OwnerTag::Api,
        };
        // 2: the 5-tuple must be free. (A retransmission was answered before.)
        match &self.state {
            State::Idle | State::Ended(_) => {}
            // Whoever made it: 441 is for requests other than Allocate (section 5), and 437 lets a client whose NAT gave
            // it a used port try another.
            State::Binding(_) | State::Allocated(_) => return Err(Refusal::Code(437)),
        }
        // 3: transport of the relayed address.
        match request.requested_transport()? {
            None => return Err(Refusal::Code(400)),
            Some(PROTOCOL_UDP) => {}
            Some(_) => return Err(Refusal::Code(442)),
        }
        // 4: DONT-FRAGMENT is supported.
        // 5: RESERVATION-TOKEN is not, and was answered with 420, like 8: EVEN-PORT with the R bit. Without it:
        let even_port = request.even_port()?;
        // 6, 9: ADDITIONAL-ADDRESS-FAMILY is comprehension-optional, not supported and so ignored.
        // 7: family. Without the attribute the RFC means IPv4; browsers never send it, so a host without IPv4 gives IPv6.
        let host = cx.shared.policy.host();
        let family = match request.requested_family()? {
            None if host.relay_v4.is_some() => Family::V4,
            None if host.relay_v6.is_some() => Family::V6,
            None => return Err(Refusal::Code(508)),
            Some(Some(family)) if host.relay(family).is_some() => family,
            Some(_) => return Err(Refusal::Code(440)),
        };
        let lifetime = cx.shared.lifetimes.granted(request.lifetime()?);
        // 10: quotas.
        let place = cx.shared.quotas.take(&user).map_err(|exceeded| match exceeded {
            QuotaExceeded::User => Refusal::Code(486),
            QuotaExceeded::Server => Refusal::Code(508),
        })?;
        // 11: no ALTERNATE-SERVER.
        let pending = PendingAllocate {
            username: identity.username,
            key: identity.key,
            user,
            credential_expires_at: expires_at,
            lifetime,
            owner,
            even_port,
            place,
        };
        Ok((family, pending))
    }

    fn bind<'p>(&mut self, request: Request, (family, pending): (Family, PendingAllocate)) -> Output<'p> {
        self.state = State::Binding(Box::new(Binding { request, pending }));
        Output::BindRelay(family)
    }

    /// Whether the Allocate that waits for its relay socket asks for an even port.
    pub fn needs_even_port(&self) -> bool {
        matches!(&self.state, State::Binding(binding) if binding.pending.even_port)
    }

    /// The relay socket that an Allocate waits for is bound to (or rather, advertised as) `relayed`, or could not be.
    /// `entry` is how the owner finds this session when the member leaves. Returns the reply for the client.
    ///
    /// After an error reply [`Self::relayed`] is `None`: a socket that was bound must be closed.
    pub fn handle_relay_bound(
        &mut self,
        relayed: Result<SocketAddr, NoRelay>,
        entry: AllocationRef,
        cx: &mut Context<'_>,
    ) -> Output<'static> {
        let State::Binding(binding) = std::mem::replace(&mut self.state, State::Idle) else {
            return Output::Nothing;
        };
        let Binding { request, pending } = *binding;
        let key = pending.key;
        let Ok(relayed) = relayed else {
            return self.refuse(&request, Refusal::Code(508), Some(&key), cx);
        };
        let member = match pending.user {
            User::Member(id) => {
                // It may have left meanwhile, or have moved to another room.
                let membership = self.membership(id, cx);
                let opened = membership.filter(|_| cx.shared.directory.allocation_opened(id, entry));
                let is_here = still_in_room(pending.owner, id, cx);
                let Some(Membership { watch, .. }) = opened.filter(|_| is_here) else {
                    cx.shared.directory.allocation_closed(id, entry);
                    return self.refuse(&request, Refusal::Unproven(401), None, cx);
                };
                cx.shared.directory.verify_address(id, self.tuple.client.ip());
                Some(AllocatingMember { id, seen: watch.revision(), watch, entry })
            }
            User::Api(_) => None,
        };
        let reply = Response::success(&request)
            .relayed(relayed)
            .lifetime(pending.lifetime.as_secs() as u32)
            .mapped(self.tuple.client)
            .software()
            .integrity(&key)
            .finish();
        let grant = Grant {
            username: pending.username,
            key,
            credential_expires_at: pending.credential_expires_at,
            owner: pending.owner,
            member,
            relayed,
            expires: cx.now.instant + pending.lifetime,
            made_by: (request.transaction_id(), reply.clone().into()),
            policy_revision: cx.shared.policy.revision(),
            place: pending.place,
        };
        self.state = State::Allocated(Box::new(Allocation::new(grant, cx.counters.clone())));
        cx.counters.response(TurnMethod::Allocate, 0);
        Output::Reply(reply)
    }

    /// RFC 8656 section 8.2.
    fn handle_refresh(&mut self, request: &Request, identity: &Identity, cx: &Context<'_>) -> Result<Vec<u8>, Refusal> {
        let allocation = self.allocation_of(identity, cx)?;
        // 1: REQUESTED-ADDRESS-FAMILY must be that of the relayed address.
        if let Some(family) = request.requested_family()?
            && family != Some(Family::of(allocation.grant.relayed.ip()))
        {
            return Err(Refusal::Code(443));
        }
        // 2: the lifetime, where 0 ends the allocation.
        let reply =
            |seconds: u32| Response::success(request).lifetime(seconds).software().integrity(&identity.key).finish();
        if request.lifetime()? == Some(0) {
            let reply = reply(0);
            self.end(cx);
            self.state = State::Ended(Box::new(Ended {
                by: request.transaction_id(),
                reply: reply.clone().into(),
                until: cx.now.instant + RETRANSMISSIONS,
            }));
            return Ok(reply);
        }
        let lifetime = cx.shared.lifetimes.granted(request.lifetime()?);
        allocation.grant.expires = cx.now.instant + lifetime;
        if allocation.grant.credential_expires_at <= cx.now.unix {
            cx.counters.refreshed_after_expiry();
        }
        Ok(reply(lifetime.as_secs() as u32))
    }

    /// RFC 8656 section 10.2. All peers of one request are permitted, or none.
    fn handle_create_permission(
        &mut self,
        request: &Request,
        identity: &Identity,
        cx: &Context<'_>,
    ) -> Result<Vec<u8>, Refusal> {
        self.judge_again(cx);
        let allocation = self.allocation_of(identity, cx)?;
        let peers = request.peers().collect::<Result<Vec<_>, _>>()?;
        if peers.is_empty() {
            return Err(Refusal::Code(400));
        }
        let permissions = peers
            .iter()
            .map(|peer| Ok((peer.ip(), permissible(allocation, *peer, cx)?)))
            .collect::<Result<Vec<_>, Refusal>>()?;
        if !allocation.has_room_for(peers.iter().map(SocketAddr::ip)) {
            return Err(peer_refused(PeerRefusal::TooManyPeers, cx));
        }
        for (ip, reach) in permissions {
            allocation.permit(ip, reach, cx.now.instant);
        }
        Ok(Response::success(request).software().integrity(&identity.key).finish())
    }

    /// RFC 8656 section 12.2.
    fn handle_channel_bind(
        &mut self,
        request: &Request,
        identity: &Identity,
        cx: &Context<'_>,
    ) -> Result<Vec<u8>, Refusal> {
        self.judge_again(cx);
        let allocation = self.allocation_of(identity, cx)?;
        let peer = request.peers().next().transpose()?;
        let (Some(number), Some(peer)) = (request.channel_number()?, peer) else {
            return Err(Refusal::Code(400));
        };
        if !CHANNEL_NUMBERS.contains(&number) || allocation.may_bind(number, peer).is_err() {
            return Err(Refusal::Code(400));
        }
        let reach = permissible(allocation, peer, cx)?;
        let fits = allocation.has_room_for([peer.ip()].into_iter());
        if !fits || allocation.bind(number, peer, cx.now.instant).is_err() {
            return Err(peer_refused(PeerRefusal::TooManyPeers, cx));
        }
        allocation.permit(peer.ip(), reach, cx.now.instant);
        Ok(Response::success(request).software().integrity(&identity.key).finish())
    }

    /// The allocation that `identity` may act on: 437 if there is none, 441 if it is somebody else's.
    fn allocation_of(&mut self, identity: &Identity, cx: &Context<'_>) -> Result<&mut Allocation, Refusal> {
        let departed = self.allocation().is_some_and(|Allocation { grant, .. }| {
            grant.member.as_ref().is_some_and(|member| !still_in_room(grant.owner, member.id, cx))
        });
        if departed {
            self.end(cx);
        }
        match &mut self.state {
            State::Allocated(allocation) if allocation.grant.username != identity.username => Err(Refusal::Code(441)),
            State::Allocated(allocation) => Ok(allocation),
            State::Idle | State::Binding(_) | State::Ended(_) => Err(Refusal::Code(437)),
        }
    }

    /// Whether this is the Allocate that waits for its relay socket, sent again: its answer comes.
    fn is_being_answered(&self, request: &Request) -> bool {
        match &self.state {
            State::Binding(binding) => {
                request.method() == TurnMethod::Allocate && request.transaction_id() == binding.request.transaction_id()
            }
            _ => false,
        }
    }

    /// The answer to a transaction that must not be carried out twice.
    fn earlier_reply(&self, request: &Request) -> Option<Vec<u8>> {
        let (transaction, reply) = match (&self.state, request.method()) {
            (State::Allocated(allocation), TurnMethod::Allocate) => {
                (allocation.grant.made_by.0, &allocation.grant.made_by.1)
            }
            (State::Ended(ended), TurnMethod::Refresh) => (ended.by, &ended.reply),
            _ => return None,
        };
        (transaction == request.transaction_id()).then(|| reply.to_vec())
    }

    /// Says no, if that is worth an answer. With `key` the answer is signed.
    fn refuse<'p>(
        &self,
        request: &Request,
        refusal: Refusal,
        key: Option<&[u8; 16]>,
        cx: &mut Context<'_>,
    ) -> Output<'p> {
        let (code, response) = match refusal {
            Refusal::Unproven(code) => {
                if !request.may_be_an_allocate() {
                    return self.dropped(DropReason::TooShortToChallenge, cx);
                }
                if !self.may_answer(cx) {
                    return self.dropped(DropReason::RateLimited, cx);
                }
                let response = Response::error(request, code);
                cx.counters.response(request.method(), code);
                if code == 400 {
                    return Output::Reply(response.finish());
                }
                let nonce = cx.shared.nonces.make(self.tuple.client, cx.now.unix);
                return Output::Reply(response.challenge(cx.shared.authority.realm(), &nonce).finish());
            }
            Refusal::Code(code) => (code, Response::error(request, code)),
            Refusal::UnknownAttributes(numbers) => (420, Response::error(request, 420).unknown_attributes(&numbers)),
        };
        cx.counters.response(request.method(), code);
        let response = response.software();
        Output::Reply(match key {
            Some(key) => response.integrity(key).finish(),
            None => response.finish(),
        })
    }

    /// Whether this client gets an answer although its request proves nothing.
    fn may_answer(&self, cx: &mut Context<'_>) -> bool {
        let ip = self.tuple.client.ip();
        self.allocation().is_some()
            || cx.limiter.admits(ip, cx.now.instant)
            || cx.shared.directory.is_connected_from(ip)
    }

    fn membership(&self, id: MemberId, cx: &Context<'_>) -> Option<Membership> {
        cx.shared.directory.membership(id)
    }
}

/// Whether `peer` may be permitted, and how it is reached: 443 for the other family, 403 for the policy. A permission in
/// force that stands because of a member is not judged again while that member is in the room.
fn permissible(allocation: &Allocation, peer: SocketAddr, cx: &Context<'_>) -> Result<Reach, Refusal> {
    if Family::of(peer.ip()) != Family::of(allocation.grant.relayed.ip()) {
        return Err(Refusal::Code(443));
    }
    if let Some(permission) = allocation.permission(peer.ip(), cx.now.instant)
        && let Reach::Network { because_of: Some(member) } = permission.reach
        && still_in_room(allocation.grant.owner, member, cx)
    {
        return Ok(permission.reach);
    }
    reach(allocation.grant.owner, peer.ip(), cx).map_err(|reason| peer_refused(reason, cx))
}

fn peer_refused(reason: PeerRefusal, cx: &Context<'_>) -> Refusal {
    cx.counters.peer_refused(reason);
    Refusal::Code(403)
}
