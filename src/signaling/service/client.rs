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
    /// Its address, if nobody unknown stands between.
    pub(super) address: Option<IpAddr>,
    /// How it reached us, for its iceServers.
    pub(super) reached: Reached,
    /// `?room=` of its URL.
    pub(super) url_room: Option<Box<str>>,
    /// How often this member has left a room; see [`crate::signaling::core::resume`].
    pub(super) epoch: u32,
    /// Whether it is waited for when its connection breaks.
    pub(super) may_return: bool,
    /// Where it sits, unless another connection has taken over.
    pub(super) room: Option<Seated>,
    /// What its messages had queued; see [`Client::take_sent`].
    pub(super) sent: Sent,
}

/// The room that a client is in, and its place there.
pub(super) struct Seated {
    pub(super) shard: usize,
    pub(super) key: RoomKey,
    pub(super) place: PlacedSeat,
}

/// What a message meant for the connection that sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Fine,
    /// Done, and the client got fresh credentials.
    CredentialsIssued,
    /// Refused, as happens to good clients.
    Refused,
    /// Refused for a fault that only a bad client makes.
    Bad,
}

impl<O> Client<O> {
    /// A connection that has not joined. `id` should be random; `address` is `None` if it is not verified.
    pub fn new(id: MemberId, outbox: O, address: Option<IpAddr>, reached: Reached, url_room: Option<Box<str>>) -> Self {
        Self { id, outbox, address, reached, url_room, epoch: 0, may_return: false, room: None, sent: Sent::default() }
    }

    /// Its id as a member. Another one after it has come back by a resume token.
    pub fn id(&self) -> MemberId {
        self.id
    }

    /// Its outbox.
    pub fn outbox(&self) -> &O {
        &self.outbox
    }

    /// What its messages had queued since the last call, refusals aside.
    pub fn take_sent(&mut self) -> Sent {
        std::mem::take(&mut self.sent)
    }

    /// Whether it is in a room.
    pub fn is_joined(&self) -> bool {
        self.room.is_some()
    }

    /// Its room's shard, and where it sits there.
    pub(super) fn place(&self) -> Result<(usize, PlacedSeat), Refusal> {
        let room = self.room.as_ref().ok_or_else(|| Refusal::new(Code::NotJoined, "join a room first"))?;
        Ok((room.shard, room.place))
    }
}
