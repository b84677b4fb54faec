//! One connection as the service knows it.

use std::net::IpAddr;

use crate::{
    ice_servers::Reached,
    signaling::{
        core::{hub::PlacedSeat, roster::RoomKey},
        error::{Code, Refusal},
        sent::Sent,
    },
    values::member::MemberId,
};

/// One connection as the service knows it.
pub struct Client<O> {
    pub(super) id: MemberId,
    pub(super) outbox: O,
    /// Its address, if it is verified (no unknown proxy is in between).
    pub(super) address: Option<IpAddr>,
    /// How it reached this server, for its iceServers.
    pub(super) reached: Reached,
    /// `?room=` of its URL.
    pub(super) url_room: Option<Box<str>>,
    /// How often this member has left a room; see [`crate::signaling::core::resume`].
    pub(super) epoch: u32,
    /// Whether its place is kept when its connection breaks.
    pub(super) may_return: bool,
    /// Its room and place, unless another connection has taken over.
    pub(super) room: Option<Seated>,
    /// What was queued because of its messages; see [`Client::take_sent`].
    pub(super) sent: Sent,
}

/// The room that a client is in, and its place there.
pub(super) struct Seated {
    pub(super) shard: usize,
    pub(super) key: RoomKey,
    pub(super) place: PlacedSeat,
}

/// What a message means for the connection that sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The message was handled.
    Fine,
    /// The message was handled, and the client got fresh credentials.
    CredentialsIssued,
    /// The message was refused, as can happen to good clients.
    Refused,
    /// The message was refused for a fault that only a bad client makes.
    Bad,
}

impl<O> Client<O> {
    /// A connection that has not joined. `id` should be random; `address` is `None` if it is not verified.
    pub fn new(id: MemberId, outbox: O, address: Option<IpAddr>, reached: Reached, url_room: Option<Box<str>>) -> Self {
        Self { id, outbox, address, reached, url_room, epoch: 0, may_return: false, room: None, sent: Sent::default() }
    }

    /// Its id as a member. The id changes when the client comes back by a resume token.
    pub fn id(&self) -> MemberId {
        self.id
    }

    /// Its outbox.
    pub fn outbox(&self) -> &O {
        &self.outbox
    }

    /// What was queued because of its messages since the last call, without refusals.
    pub fn take_sent(&mut self) -> Sent {
        std::mem::take(&mut self.sent)
    }

    /// Whether it is in a room.
    pub fn is_joined(&self) -> bool {
        self.room.is_some()
    }

    /// The shard of its room, and its place there.
    pub(super) fn place(&self) -> Result<(usize, PlacedSeat), Refusal> {
        let room = self.room.as_ref().ok_or_else(|| Refusal::new(Code::NotJoined, "join a room first"))?;
        Ok((room.shard, room.place))
    }
}
