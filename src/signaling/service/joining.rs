//! How a client gets into a room: for the first time, again, from another room, or back to its old place.

use super::{client::Seated, *};

/// What a join asks for, after parsing.
struct JoinRequest<'a> {
    pass: Pass<'a>,
    shard: usize,
    key: RoomKey,
    profile: Profile,
    /// The epoch of the token by which it comes back.
    epoch: Option<u32>,
}

impl<O: Outbox + Clone> Service<O> {
    pub(super) fn join(
        &self,
        client: &mut Client<O>,
        name: Option<&str>,
        profile: Profile,
        resume: Option<&str>,
        now: Clocks,
    ) -> Result<Outcome, Refusal> {
        // This is a copy, because `client` is changed below.
        let name = &*room_name::meant(name, client.url_room.as_deref())?.into_owned();
        let token = resume.filter(|token| !token.is_empty());
        let token = token.map(|token| self.verify(token, name, now)).transpose()?;
        // A connection that lost its place must not use the id again, because another connection uses it.
        if client.is_joined() && self.room_of(client).is_none() {
            return Err(replaced());
        }
        // A client that is in a room and shows its own token joins again as it would without a token.
        let comes_back = token.filter(|token| !client.is_joined() || token.id != client.id);
        let (shard, key) = self.shard_of(name);
        let id = comes_back.map_or(client.id, |token| token.id);
        let gives_up_a_place = client.room.as_ref().is_some_and(|room| room.key == key);
        let pass = Pass { room: name, id, token, comes_back: comes_back.is_some(), gives_up_a_place };
        let request = JoinRequest { pass, shard, key, profile, epoch: comes_back.map(|token| token.epoch) };
        match &client.room {
            None => self.join_first(client, request, now)?,
            Some(_) if gives_up_a_place && comes_back.is_none() => self.rejoin(client, request, now)?,
            Some(_) => self.move_to(client, request, now)?,
        }
        client.may_return = resume.is_some();
        Ok(Outcome::CredentialsIssued)
    }

    /// Checks the signature and the age of a token. Only the owner of the room knows whether it is revoked.
    fn verify(&self, token: &str, room: &str, now: Clocks) -> Result<Claims, Refusal> {
        let claims = self.resume_key.verify(token, room);
        let claims = claims.ok_or_else(|| bad_token("the resume token is not of this server and room"))?;
        if !self.steps.load().is_younger(claims.issued_at, self.issuer.ttl.as_secs(), now.unix) {
            return Err(bad_token("the resume token has expired"));
        }
        Ok(claims)
    }

    /// A client joins that is in no room.
    fn join_first(&self, client: &mut Client<O>, request: JoinRequest<'_>, now: Clocks) -> Result<(), Refusal> {
        self.claim(request.pass, request.key)?;
        self.take_place(client, request, None, now)
    }

    /// A client joins its room again.
    fn rejoin(&self, client: &mut Client<O>, request: JoinRequest<'_>, now: Clocks) -> Result<(), Refusal> {
        let (shard, place) = client.place()?;
        let parting = self.parting(now);
        let epoch = client.epoch.saturating_add(1);
        let place = self.with_newcomer(client, request, epoch, now, |newcomer, sent| {
            self.perform_for(shard, sent, |hub, effects| {
                hub.handle_rejoin(place, newcomer, parting, now.instant, effects)
            })
        })?;
        client.epoch = epoch;
        if let Some(room) = &mut client.room {
            room.place = place;
        }
        Ok(())
    }

    /// A client joins that is in another room, or comes back as another member. It leaves the old room only when its
    /// new place is certain.
    fn move_to(&self, client: &mut Client<O>, request: JoinRequest<'_>, now: Clocks) -> Result<(), Refusal> {
        let JoinRequest { pass, shard, key, .. } = request;
        if pass.comes_back {
            self.claim(pass, key)?;
        }
        let hold = self.with_permit(pass.room, |permit| {
            self.perform_for(shard, &mut client.sent, |hub, effects| {
                hub.handle_hold(pass, permit, now.instant, effects)
            })
        });
        let hold = hold.inspect_err(|_| {
            if pass.comes_back {
                self.release(pass.id);
            }
        })?;
        let left = self.leave(client, RemoveReason::Moved, now);
        // Only now is its id free for the new room.
        let claimed = left.and_then(|()| if pass.comes_back { Ok(()) } else { self.claim(pass, key) });
        if let Err(refusal) = claimed {
            self.perform_for(shard, &mut client.sent, |hub, effects| hub.handle_unhold(hold, now.instant, effects));
            if pass.comes_back {
                self.release(pass.id);
            }
            return Err(refusal);
        }
        self.take_place(client, request, Some(hold), now)
    }

    /// The last step. The id is claimed, and the client is in no room.
    fn take_place(
        &self,
        client: &mut Client<O>,
        request: JoinRequest<'_>,
        hold: Option<Hold>,
        now: Clocks,
    ) -> Result<(), Refusal> {
        let JoinRequest { pass, shard, key, epoch, .. } = request;
        let epoch = epoch.unwrap_or(client.epoch);
        let joined = self.with_newcomer(client, request, epoch, now, |newcomer, sent| {
            self.with_permit(pass.room, |permit| {
                self.perform_for(shard, sent, |hub, effects| {
                    hub.handle_join(newcomer, hold, permit, now.instant, effects)
                })
            })
        });
        let place = joined.inspect_err(|_| self.release(pass.id))?;
        client.id = pass.id;
        client.epoch = epoch;
        client.room = Some(Seated { shard, key, place });
        Ok(())
    }

    /// Calls `enter` with everything that a client brings and gets.
    fn with_newcomer<R>(
        &self,
        client: &mut Client<O>,
        request: JoinRequest<'_>,
        epoch: u32,
        now: Clocks,
        enter: impl FnOnce(&mut Newcomer<'_, O>, &mut Sent) -> R,
    ) -> R {
        let JoinRequest { pass, profile, .. } = request;
        let ice = &self.issuer.issue(&User::Member(pass.id), now.unix, &client.reached);
        let resume = &self.resume_token(pass.id, epoch, pass.room, now);
        let holder = self.last_holder.fetch_add(1, Ordering::Relaxed);
        let (outbox, address) = (client.outbox.clone(), client.address);
        let server = &*self.server;
        let mut newcomer = Newcomer { pass, holder, epoch, outbox, address, profile, server, ice, resume };
        enter(&mut newcomer, &mut client.sent)
    }

    /// Calls `enter`. If there is no such room, calls it again with the permission to open it, if there may be one more
    /// room.
    fn with_permit<T>(
        &self,
        room: &str,
        mut enter: impl FnMut(&mut Option<Permit>) -> Result<T, Denied>,
    ) -> Result<T, Refusal> {
        let mut permit = None;
        let mut outcome = enter(&mut permit);
        if matches!(outcome, Err(Denied::NoSuchRoom)) {
            permit = match self.rooms.owner(room) {
                Owner::Here(permit) => Some(permit),
                Owner::Elsewhere(nowhere) => match nowhere {},
                Owner::Nobody => return Err(too_many_rooms()),
            };
            outcome = enter(&mut permit);
            // Somebody else has opened the room meanwhile.
            if permit.is_some() {
                self.rooms.give_up(room);
            }
        }
        outcome.map_err(|denied| match denied {
            Denied::Refused(refusal) => refusal,
            Denied::NoSuchRoom => too_many_rooms(),
        })
    }

    fn claim(&self, pass: Pass<'_>, key: RoomKey) -> Result<(), Refusal> {
        let claimed = self.roster_of(pass.id).lock().claim(pass.id, key);
        claimed.map_err(
            |InAnotherRoom| {
                if pass.comes_back { bad_token("the member is in another room") } else { replaced() }
            },
        )
    }

    fn release(&self, id: MemberId) {
        self.roster_of(id).lock().release(id);
    }
}

fn too_many_rooms() -> Refusal {
    Refusal::new(Code::TooManyRooms, "the server has no place for another room")
}
