//! The request methods, one handler each, in the order of the RFC's numbered steps.
//!
//! A refusal is a value: handlers return `Err(RequestRefusal)`, and one place ([`Session::refuse`]) turns it into an
//! error response. RFC 8656 sections 7 (Allocate), 8 (Refresh), 10 (CreatePermission), 12 (ChannelBind); RFC 8489
//! section 9.2.

use crate::{
    credentials::{self, UsernameError},
    membership::{AllocationRef, Membership},
    turn::{
        core::{
            allocation::{AllocatingMember, Grant, Lease},
            event::{Allocated, Holder, MemberEntry, Objection, SessionEvent},
            session::{places::families, refusal::RequestRefusal, *},
        },
        shared::{auth::CredentialRefusal, reservation::Reservation},
        wire::{
            channel_data::CHANNEL_NUMBERS,
            code::TurnMethod,
            message::{MalformedAttribute, NotARequest, Response},
        },
    },
};

/// UDP in REQUESTED-TRANSPORT.
const PROTOCOL_UDP: u8 = 17;

/// Who a request comes from, proven by its signature.
struct Identity {
    username: Box<str>,
    signature: Signature,
}

impl Session {
    pub(super) fn handle_request<'p>(&mut self, datagram: &[u8], cx: &mut Context<'_>) -> Output<'p> {
        let request = match Request::decode(datagram) {
            Ok(request) if request.method() != TurnMethod::Other => request,
            // An unknown method is discarded (RFC 8489 section 6.3), and so is a response or a stray indication.
            Ok(_) | Err(NotARequest::OtherClass | NotARequest::Malformed) => {
                return Output::Dropped(DropReason::Malformed);
            }
        };
        let method = request.method();
        cx.events.push(SessionEvent::Requested(method));
        if method == TurnMethod::Binding {
            return self.handle_binding(&request, cx);
        }
        if self.is_being_answered(&request) {
            return Output::Nothing;
        }
        let identity = match self.authenticate(&request, cx) {
            Ok(identity) => identity,
            Err(refusal) => return self.refuse(&request, refusal, None, cx),
        };
        let signature = identity.signature;
        if let Some(reply) = self.earlier_reply(&request, &identity) {
            answered(method, Ok(()), cx);
            return Output::Reply(reply);
        }
        let unknown = request.unknown_attributes();
        let outcome = if unknown.is_empty() {
            match method {
                TurnMethod::Allocate => match self.handle_allocate(&request, identity, cx) {
                    Ok(pending) => return self.bind(request, pending),
                    Err(refusal) => Err(refusal),
                },
                TurnMethod::Refresh => self.handle_refresh(&request, &identity, cx),
                TurnMethod::CreatePermission => self.handle_create_permission(&request, &identity, cx),
                TurnMethod::ChannelBind => self.handle_channel_bind(&request, &identity, cx),
                TurnMethod::Binding | TurnMethod::Other => return Output::Nothing,
            }
        } else {
            Err(RequestRefusal::UnknownAttributes(unknown))
        };
        match outcome {
            Ok(reply) => {
                answered(method, Ok(()), cx);
                Output::Reply(reply)
            }
            Err(refusal) => self.refuse(&request, refusal, Some(signature), cx),
        }
    }

    /// RFC 8489 section 6.3.1. Needs no authentication; the answer stays under 1.5 times the size of the request.
    fn handle_binding<'p>(&self, request: &Request, cx: &mut Context<'_>) -> Output<'p> {
        if !self.may_answer(cx) {
            return Output::Dropped(DropReason::RateLimited);
        }
        let unknown = request.unknown_attributes();
        if !unknown.is_empty() {
            answered(TurnMethod::Binding, Err(ErrorCode::UnknownAttribute), cx);
            return Output::Reply(
                Response::error(request, ErrorCode::UnknownAttribute).unknown_attributes(&unknown).finish(),
            );
        }
        answered(TurnMethod::Binding, Ok(()), cx);
        Output::Reply(Response::success(request).mapped(self.tuple.client).finish())
    }

    /// The checks of RFC 8489 section 9.2.4.
    fn authenticate(&self, request: &Request, cx: &mut Context<'_>) -> Result<Identity, RequestRefusal> {
        let integrity = request.integrity().ok_or(RequestRefusal::Unproven(ErrorCode::Unauthenticated))?;
        let (Some(username), Some(nonce), Some(_)) = (request.username(), request.nonce(), request.realm()) else {
            return Err(RequestRefusal::Unproven(ErrorCode::BadRequest));
        };
        // This check comes first, so that no key is computed for a stranger.
        if !cx.shared.nonces.is_fresh(nonce, self.tuple.client, cx.now.unix) {
            return Err(RequestRefusal::Unproven(ErrorCode::StaleNonce));
        }
        // Every nonce of this server says that password algorithms are offered.
        let algorithm = request
            .password_algorithm()
            .map_err(|MalformedAttribute| RequestRefusal::Unproven(ErrorCode::BadRequest))?;
        let username: Box<str> = username.into();
        let known = self.allocation().map(|allocation| &allocation.grant);
        let proven = match known {
            Some(grant) if grant.username == username && grant.key.algorithm() == algorithm => {
                Some(grant.key).filter(|key| request.is_signed_with(key))
            }
            _ => {
                let (_, user) = user_of(&username, cx)?;
                cx.shared.authority.keys(&user, &username, algorithm).find(|key| request.is_signed_with(key))
            }
        };
        let key = proven.ok_or_else(|| credential_refused(CredentialRefusal::WrongPassword, cx))?;
        Ok(Identity { username, signature: Signature { key, integrity } })
    }

    /// RFC 8656 section 7.2, steps 1 to 11.
    fn handle_allocate(
        &mut self,
        request: &Request,
        identity: Identity,
        cx: &mut Context<'_>,
    ) -> Result<PendingAllocate, RequestRefusal> {
        // 1: what must be checked beyond the long-term mechanism: whether this user may allocate at all.
        let (expires_at, user) = user_of(&identity.username, cx)?;
        if expires_at <= cx.now.unix {
            return Err(credential_refused(CredentialRefusal::Expired, cx));
        }
        let owner = match &user {
            User::Member(id) => match cx.shared.directory.membership(*id) {
                Some(membership) => OwnerTag::Room(membership.room),
                None => return Err(credential_refused(CredentialRefusal::NotHere, cx)),
            },
            User::Api(_) => OwnerTag::Api,
        };
        // 2: the 5-tuple must be free. (A retransmission has been answered before.)
        match &self.state {
            SessionState::Idle | SessionState::Ended(_) => {}
            // 437, whichever user made the allocation: 441 is for requests other than Allocate (section 5), and 437
            // makes a client whose NAT gave it a used port try another one.
            SessionState::Binding(_) | SessionState::Allocated(_) => {
                return Err(RequestRefusal::Code(ErrorCode::AllocationMismatch));
            }
        }
        // 3: transport of the relayed address.
        match request.requested_transport()? {
            None => return Err(RequestRefusal::Code(ErrorCode::BadRequest)),
            Some(PROTOCOL_UDP) => {}
            Some(_) => return Err(RequestRefusal::Code(ErrorCode::UnsupportedTransport)),
        }
        let Wanted { wish, missing, token } = wanted(request, cx)?;
        let lifetime = cx.shared.terms.lifetimes.granted(request.lifetime()?);
        // 11: another server, or no allocation because of a shutdown. Members are not sent elsewhere, because no other
        // server knows them.
        let alternate = cx.shared.terms.alternates[Family::of(self.tuple.server.ip())];
        if let (User::Api(_), Some(alternate)) = (&user, alternate) {
            return Err(RequestRefusal::Alternate(alternate));
        }
        if cx.shared.shutdown.has_begun() {
            return Err(RequestRefusal::Code(ErrorCode::InsufficientCapacity));
        }
        let mut pending = PendingAllocate {
            username: identity.username,
            signature: identity.signature,
            user,
            credential_expires_at: expires_at,
            lifetime,
            owner,
            wish,
            places: ByFamily::default(),
            next_place: None,
            missing,
        };
        // 5 again, and 10: a reserved address, or a place in the quotas for each new address.
        match token {
            Some(token) => pending.take_reserved(&token, cx)?,
            None => pending.take_places(self.tuple.client.ip(), cx)?,
        }
        Ok(pending)
    }

    fn bind<'p>(&mut self, request: Request, pending: PendingAllocate) -> Output<'p> {
        let wish = pending.wish;
        self.state = SessionState::Binding(Box::new(Binding { request, pending }));
        Output::BindRelay(wish)
    }

    /// The relay sockets that an Allocate waits for are bound, or could not be bound. By `entry` the owner finds this
    /// session when the member leaves. Returns the reply for the client.
    ///
    /// For each address that is not used, a [`SessionEvent::RelayEnded`] is reported. The next port, if one was bound,
    /// becomes a reservation in any case.
    pub fn handle_relay_bound(
        &mut self,
        bound: BoundRelays,
        entry: AllocationRef,
        cx: &mut Context<'_>,
    ) -> Output<'static> {
        let SessionState::Binding(binding) = std::mem::replace(&mut self.state, SessionState::Idle) else {
            return_relays(&bound, cx);
            return Output::Nothing;
        };
        let Binding { request, mut pending } = *binding;
        let signature = pending.signature;
        if let Some(((token, relayed), place)) = bound.next.zip(pending.next_place.take()) {
            let reservation = Reservation { relayed, username: pending.username.clone(), owner: pending.owner, place };
            cx.shared.reservations.add(token, reservation, cx.now.instant + cx.shared.terms.lifetimes.reservation);
        }
        let expires = cx.now.instant + pending.lifetime;
        let leases = ByFamily::new(|family| {
            let place = pending.places[family].take();
            bound.relayed[family].zip(place).map(|(address, place)| Lease { address, expires, place })
        });
        if leases.iter().next().is_none() {
            return_relays(&bound, cx);
            return self.refuse(&request, RequestRefusal::Code(ErrorCode::InsufficientCapacity), Some(signature), cx);
        }
        let member = match pending.user {
            User::Member(id) => {
                // The member may have left meanwhile, or may have moved to another room.
                let membership = cx.shared.directory.membership(id);
                let opened = membership.filter(|_| cx.shared.directory.allocation_opened(id, entry));
                let is_here = still_in_room(pending.owner, id, cx.shared);
                let Some(Membership { watch, .. }) = opened.filter(|_| is_here) else {
                    cx.events.push(SessionEvent::Withdrawn(MemberEntry { id, entry }));
                    return_relays(&bound, cx);
                    let refusal = credential_refused(CredentialRefusal::NotHere, cx);
                    return self.refuse(&request, refusal, None, cx);
                };
                Some(AllocatingMember { id, seen: watch.revision(), watch, entry })
            }
            User::Api(_) => None,
        };
        let unbound = Family::BOTH.into_iter().find(|f| pending.wish.families.contains(*f) && leases[*f].is_none());
        pending.missing = unbound.map(|family| (family, ErrorCode::InsufficientCapacity)).or(pending.missing);
        let response = allocated_response(&request, &pending, &leases, bound.next.map(|(token, _)| token));
        let reply = sign(response.mapped(self.tuple.client), signature);
        let allocated = Allocated {
            holder: Holder {
                username: pending.username.clone(),
                owner: pending.owner,
                member: member.as_ref().map(|member| MemberEntry { id: member.id, entry }),
                tuple: self.tuple,
            },
            relayed: ByFamily::new(|family| leases[family].as_ref().map(|lease| lease.address)),
            lifetime: pending.lifetime,
        };
        cx.events.push(SessionEvent::Allocated(Box::new(allocated)));
        let grant = Grant {
            username: pending.username,
            key: signature.key,
            credential_expires_at: pending.credential_expires_at,
            owner: pending.owner,
            member,
            leases,
            made_by: (request.transaction_id(), reply.clone().into()),
            policy_revision: cx.shared.policy.revision(),
        };
        let allocation = Allocation::new(grant, cx.now.instant).limited_to(cx.shared.terms.bitrate);
        self.state = SessionState::Allocated(Box::new(allocation));
        answered(TurnMethod::Allocate, Ok(()), cx);
        Output::Reply(reply)
    }

    /// RFC 8656 section 8.2.
    fn handle_refresh(
        &mut self,
        request: &Request,
        identity: &Identity,
        cx: &mut Context<'_>,
    ) -> Result<Vec<u8>, RequestRefusal> {
        let allocation = self.allocation_of(identity, cx)?;
        // 1: REQUESTED-ADDRESS-FAMILY selects one relayed address, which must exist; without it all are meant.
        let families = match request.requested_family()? {
            None => Families::Both,
            Some(Some(family)) if allocation.relayed(family).is_some() => Families::One(family),
            Some(_) => return Err(RequestRefusal::Code(ErrorCode::PeerFamilyMismatch)),
        };
        // 2: the lifetime; 0 ends these addresses.
        let reply = |seconds: u32| sign(Response::success(request).lifetime(seconds), identity.signature);
        if request.lifetime()? == Some(0) {
            let reply = reply(0);
            for family in Family::BOTH.into_iter().filter(|family| families.contains(*family)) {
                allocation.give_up(family, cx.events);
            }
            if allocation.next_end().is_some() {
                allocation.gave_up_by = Some(Box::new((request.transaction_id(), reply.clone().into())));
                return Ok(reply);
            }
            self.end(EndReason::GivenUp, cx);
            self.state = SessionState::Ended(Box::new(LastReply {
                username: identity.username.clone(),
                by: request.transaction_id(),
                reply: reply.clone().into(),
                until: cx.now.instant + RETRANSMISSIONS,
            }));
            return Ok(reply);
        }
        let lifetime = cx.shared.terms.lifetimes.granted(request.lifetime()?);
        for family in Family::BOTH.into_iter().filter(|family| families.contains(*family)) {
            if let Some(lease) = &mut allocation.grant.leases[family] {
                lease.expires = cx.now.instant + lifetime;
            }
        }
        let is_after_expiry = allocation.grant.credential_expires_at <= cx.now.unix;
        cx.events.push(SessionEvent::Refreshed { lifetime, is_after_expiry });
        Ok(reply(lifetime.as_secs() as u32))
    }

    /// RFC 8656 section 10.2. Either all peers of a request are permitted, or none.
    fn handle_create_permission(
        &mut self,
        request: &Request,
        identity: &Identity,
        cx: &mut Context<'_>,
    ) -> Result<Vec<u8>, RequestRefusal> {
        self.judge_again(cx);
        let allocation = self.allocation_of(identity, cx)?;
        let peers = request.peers().collect::<Result<Vec<_>, _>>()?;
        if peers.is_empty() {
            return Err(RequestRefusal::Code(ErrorCode::BadRequest));
        }
        let permissions = peers
            .iter()
            .map(|peer| Ok((peer.ip(), permissible(allocation, *peer, cx)?)))
            .collect::<Result<Vec<_>, RequestRefusal>>()?;
        if !allocation.has_room_for(peers.iter().map(SocketAddr::ip)) {
            return Err(peer_refused(peers[0].ip(), PeerRefusal::TooManyPeers, cx));
        }
        for (ip, reach) in permissions {
            allocation.permit(ip, reach, cx.now.instant, cx.events);
        }
        Ok(sign(Response::success(request), identity.signature))
    }

    /// RFC 8656 section 12.2.
    fn handle_channel_bind(
        &mut self,
        request: &Request,
        identity: &Identity,
        cx: &mut Context<'_>,
    ) -> Result<Vec<u8>, RequestRefusal> {
        self.judge_again(cx);
        let allocation = self.allocation_of(identity, cx)?;
        let peer = request.peers().next().transpose()?;
        let (Some(number), Some(peer)) = (request.channel_number()?, peer) else {
            return Err(RequestRefusal::Code(ErrorCode::BadRequest));
        };
        if !CHANNEL_NUMBERS.contains(&number) || allocation.may_bind(number, peer).is_err() {
            return Err(RequestRefusal::Code(ErrorCode::BadRequest));
        }
        let reach = permissible(allocation, peer, cx)?;
        let fits = allocation.has_room_for([peer.ip()].into_iter());
        if !fits || allocation.bind(number, peer, cx.now.instant, cx.events).is_err() {
            return Err(peer_refused(peer.ip(), PeerRefusal::TooManyPeers, cx));
        }
        allocation.permit(peer.ip(), reach, cx.now.instant, cx.events);
        Ok(sign(Response::success(request), identity.signature))
    }

    /// The allocation that `identity` may act on: 437 if there is none, 441 if it is somebody else's.
    fn allocation_of(&mut self, identity: &Identity, cx: &mut Context<'_>) -> Result<&mut Allocation, RequestRefusal> {
        let departed = self.allocation().is_some_and(|Allocation { grant, .. }| {
            grant.member.as_ref().is_some_and(|member| !still_in_room(grant.owner, member.id, cx.shared))
        });
        if departed {
            self.end(EndReason::MemberLeft, cx);
        }
        match &mut self.state {
            SessionState::Allocated(allocation) if allocation.grant.username != identity.username => {
                Err(RequestRefusal::Code(ErrorCode::WrongCredentials))
            }
            SessionState::Allocated(allocation) => Ok(allocation),
            SessionState::Idle | SessionState::Binding(_) | SessionState::Ended(_) => {
                Err(RequestRefusal::Code(ErrorCode::AllocationMismatch))
            }
        }
    }

    /// Whether this is a retransmission of the Allocate that waits for its relay socket. Its answer is still to come.
    fn is_being_answered(&self, request: &Request) -> bool {
        match &self.state {
            SessionState::Binding(binding) => {
                request.method() == TurnMethod::Allocate && request.transaction_id() == binding.request.transaction_id()
            }
            _ => false,
        }
    }

    /// The earlier answer to this transaction, if it is a retransmission of one that must not be carried out twice.
    fn earlier_reply(&self, request: &Request, identity: &Identity) -> Option<Vec<u8>> {
        let (username, (transaction, reply)) = match (&self.state, request.method()) {
            (SessionState::Allocated(allocation), TurnMethod::Allocate) => {
                (&allocation.grant.username, (&allocation.grant.made_by.0, &allocation.grant.made_by.1))
            }
            (SessionState::Allocated(allocation), TurnMethod::Refresh) => {
                let (transaction, reply) = &**allocation.gave_up_by.as_ref()?;
                (&allocation.grant.username, (transaction, reply))
            }
            (SessionState::Ended(ended), TurnMethod::Refresh) => (&ended.username, (&ended.by, &ended.reply)),
            _ => return None,
        };
        let is_same = *transaction == request.transaction_id() && *username == identity.username;
        is_same.then(|| reply.to_vec())
    }

    /// Makes the error response, if the client gets one. It is signed if the client's signature is known.
    fn refuse<'p>(
        &self,
        request: &Request,
        refusal: RequestRefusal,
        signature: Option<Signature>,
        cx: &mut Context<'_>,
    ) -> Output<'p> {
        let (code, response) = match refusal {
            RequestRefusal::Unproven(code) => {
                if !self.is_on_stream && !request.may_be_an_allocate() {
                    return Output::Dropped(DropReason::TooShortToChallenge);
                }
                if !self.may_answer(cx) {
                    return Output::Dropped(DropReason::RateLimited);
                }
                let response = Response::error(request, code);
                answered(request.method(), Err(code), cx);
                if code == ErrorCode::BadRequest {
                    return Output::Reply(response.finish());
                }
                let nonce = cx.shared.nonces.make(self.tuple.client, cx.now.unix);
                return Output::Reply(response.challenge(cx.shared.authority.realm(), &nonce).finish());
            }
            RequestRefusal::Code(code) => (code, Response::error(request, code)),
            RequestRefusal::UnknownAttributes(numbers) => (
                ErrorCode::UnknownAttribute,
                Response::error(request, ErrorCode::UnknownAttribute).unknown_attributes(&numbers),
            ),
            RequestRefusal::Alternate(address) => {
                (ErrorCode::TryAlternate, Response::error(request, ErrorCode::TryAlternate).alternate_server(address))
            }
        };
        answered(request.method(), Err(code), cx);
        Output::Reply(match signature {
            Some(signature) => sign(response, signature),
            None => response.software().finish(),
        })
    }

    /// Whether this client gets an answer although its request does not prove who it is.
    fn may_answer(&self, cx: &mut Context<'_>) -> bool {
        let ip = self.tuple.client.ip();
        self.is_on_stream
            || self.allocation().is_some()
            || cx.limiter.admits(ip, cx.now.instant)
            || cx.shared.directory.is_connected_from(ip)
    }
}

/// RFC 8656 section 7.3: the success response to an Allocate.
fn allocated_response(
    request: &Request,
    pending: &PendingAllocate,
    leases: &ByFamily<Option<Lease>>,
    next: Option<ReservationToken>,
) -> Response {
    let mut response = Response::success(request);
    for lease in leases.iter() {
        response = response.relayed(lease.address);
    }
    response = response.lifetime(pending.lifetime.as_secs() as u32);
    if let Some((family, code)) = pending.missing {
        response = response.address_error(family, code);
    }
    if let Some(token) = next {
        response = response.reservation_token(&token);
    }
    response
}

/// What an Allocate requires of its relayed addresses.
struct Wanted {
    wish: RelayWish,
    /// The one of two families that is not available.
    missing: Option<(Family, ErrorCode)>,
    /// The token of an address that is held for it.
    token: Option<ReservationToken>,
}

/// RFC 8656 section 7.2, steps 4 to 9.
fn wanted(request: &Request, cx: &Context<'_>) -> Result<Wanted, RequestRefusal> {
    // 4: DONT-FRAGMENT is supported.
    let token = request.reservation_token()?;
    let even_port = request.even_port()?;
    let requested = request.requested_family()?;
    let additional = request.additional_family()?;
    // 5: a reserved address already has a port and a family, so the request must not name them.
    if token.is_some() && (even_port.is_some() || requested.is_some() || additional.is_some()) {
        return Err(RequestRefusal::Code(ErrorCode::BadRequest));
    }
    // 6: a request names one family, or an additional one, not both.
    if requested.is_some() && additional.is_some() {
        return Err(RequestRefusal::Code(ErrorCode::BadRequest));
    }
    // 8: an even port, and perhaps the next one as well.
    let port = match even_port {
        None => PortWish::Any,
        Some(even) if !even.reserves_next => PortWish::Even,
        Some(_) if additional.is_some() => return Err(RequestRefusal::Code(ErrorCode::BadRequest)),
        Some(_) => PortWish::EvenAndNext,
    };
    // 7, 9: families.
    let (families, missing) = families(requested, additional, cx)?;
    Ok(Wanted { wish: RelayWish { families, port }, missing, token })
}

fn answered(method: TurnMethod, outcome: Result<(), ErrorCode>, cx: &mut Context<'_>) {
    cx.events.push(SessionEvent::Answered { method, outcome });
}

/// Reports that relays were bound but are not used.
fn return_relays(bound: &BoundRelays, cx: &mut Context<'_>) {
    for (family, address) in Family::BOTH.into_iter().filter_map(|family| Some((family, bound.relayed[family]?))) {
        cx.events.push(SessionEvent::RelayEnded { family, address });
    }
}

/// When a username expires, and which user it names.
fn user_of(username: &str, cx: &mut Context<'_>) -> Result<(u64, User), RequestRefusal> {
    credentials::parse_username(username).map_err(|error| {
        let reason = match error {
            UsernameError::NoExpiry => CredentialRefusal::NoExpiry,
            UsernameError::NotSeconds => CredentialRefusal::NotSeconds,
        };
        credential_refused(reason, cx)
    })
}

fn credential_refused(reason: CredentialRefusal, cx: &mut Context<'_>) -> RequestRefusal {
    cx.events.push(SessionEvent::Refused(Objection::Credential(reason)));
    RequestRefusal::Unproven(ErrorCode::Unauthenticated)
}

/// The bytes of a response to a client that has proven who it is.
fn sign(response: Response, Signature { key, integrity }: Signature) -> Vec<u8> {
    response.software().signed(&key, integrity).finish()
}

/// Whether `peer` may be permitted, and how it is reached: 443 if the peer's family has no relayed address, 403 if the
/// policy refuses it. A permission that is in force because of a member is not checked again while that member is in
/// the room.
fn permissible(allocation: &Allocation, peer: SocketAddr, cx: &mut Context<'_>) -> Result<Reach, RequestRefusal> {
    if allocation.relayed(Family::of(peer.ip())).is_none() {
        return Err(RequestRefusal::Code(ErrorCode::PeerFamilyMismatch));
    }
    if let Some(permission) = allocation.permission(peer.ip(), cx.now.instant)
        && let Reach::Network { because_of: Some(member) } = permission.reach
        && still_in_room(allocation.grant.owner, member, cx.shared)
    {
        return Ok(permission.reach);
    }
    reach(allocation.grant.owner, peer.ip(), cx.shared).map_err(|reason| peer_refused(peer.ip(), reason, cx))
}

fn peer_refused(ip: IpAddr, reason: PeerRefusal, cx: &mut Context<'_>) -> RequestRefusal {
    cx.events.push(SessionEvent::Refused(Objection::Peer { ip, reason }));
    RequestRefusal::Code(ErrorCode::Forbidden)
}
