//! The effects of an input to the core, as plain data. [`Service`](crate::signaling::service::Service) performs them.

use std::{net::IpAddr, sync::Arc, time::Duration};

use crate::{
    membership::RoomTag,
    signaling::{close_reason::CloseReason, core::resume::Resume},
    values::{label::labels, member::MemberId},
};

labels! {
    /// The reason for a member's removal that its peers are told.
    pub enum RemoveReason {
        /// It left the room.
        Left = "left",
        /// It joined the same room or another one again.
        Moved = "moved",
        /// Its connection ended, and so did its grace period if it had one.
        Disconnected = "disconnected",
        /// The operator removed it.
        Kicked = "kicked",
    }
}

/// A change that TURN must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MembershipChange {
    /// A member is in a room.
    Entered {
        /// The member.
        member: MemberId,
        /// Its room.
        room: RoomTag,
        /// Its address, if verified.
        address: Option<IpAddr>,
    },
    /// A member has a new connection.
    Reconnected {
        /// The member.
        member: MemberId,
        /// Its address, if verified.
        address: Option<IpAddr>,
    },
    /// A member is no longer in a room.
    Left {
        /// The member.
        member: MemberId,
    },
}

/// A room in events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomLabel {
    /// The tag, which is valid until the room closes.
    pub tag: RoomTag,
    /// The name. It is confidential, because anyone who knows it can join.
    pub name: Arc<str>,
}

/// What happened, for log and metrics. Nothing else depends on these events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoomEvent {
    /// A room was opened, because there was none of this name.
    RoomOpened {
        /// The room.
        room: RoomLabel,
    },
    /// The last member has left.
    RoomClosed {
        /// The room.
        room: RoomLabel,
        /// How long the room was open.
        lasted: Duration,
    },
    /// A newcomer joined, and the others were told.
    Joined {
        /// The newcomer.
        member: MemberId,
        /// Its room.
        room: RoomLabel,
        /// Its address, if verified.
        address: Option<IpAddr>,
        /// Whether it came back with a token, but too late for its old place.
        announced: bool,
        /// Its display name.
        name: Option<Box<str>>,
    },
    /// A member came back, and nobody was told.
    Resumed {
        /// The member.
        member: MemberId,
        /// Its room.
        room: RoomLabel,
        /// The address of its new connection, if verified.
        address: Option<IpAddr>,
        /// What happened to its old connection.
        how: Resume,
    },
    /// The connection of a member broke, and its place is kept for a while.
    Away {
        /// The member.
        member: MemberId,
        /// Its room.
        room: RoomLabel,
        /// The address of its last connection, if verified.
        address: Option<IpAddr>,
    },
    /// A member is gone. The others were told, unless the server is shutting down.
    Left {
        /// The member.
        member: MemberId,
        /// Its room.
        room: RoomLabel,
        /// The address of its last connection, if verified.
        address: Option<IpAddr>,
        /// Why it is gone.
        reason: RemoveReason,
        /// How long it was a member.
        stayed: Duration,
        /// Whether its connection had ended before.
        was_away: bool,
    },
}

/// To whose account a frame is charged; see [`Sent`](crate::signaling::sent::Sent).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Account {
    /// To the sender, as an answer to itself.
    Answer,
    /// To the sender, as a frame for others.
    Others,
    /// To nobody.
    Free,
}

/// What must be done, in this order: [`Self::membership`], [`Self::events`], the frames, [`Self::ended`],
/// [`Self::released`]. So TURN knows of a newcomer before anybody is told, and of a member's end before the others are
/// told.
///
/// After performing the effects, the service clears and keeps this value, so that the next effects reuse its memory.
#[derive(Debug)]
pub struct Effects<O> {
    /// Changes for the directory.
    pub membership: Vec<MembershipChange>,
    /// Events for log and metrics.
    pub events: Vec<RoomEvent>,
    frames: Vec<ForWhom>,
    /// The receivers of all frames, one frame after another.
    receivers: Vec<O>,
    /// Connections that must be closed once the frames queued for them are sent.
    pub ended: Vec<(O, CloseReason)>,
    /// Ids to which the room no longer has a claim.
    pub released: Vec<MemberId>,
}

#[derive(Debug)]
struct ForWhom {
    text: String,
    /// The end of its receivers in [`Effects::receivers`], exclusive.
    end: usize,
    account: Account,
}

impl<O> Default for Effects<O> {
    fn default() -> Self {
        Self {
            membership: Vec::new(),
            events: Vec::new(),
            frames: Vec::new(),
            receivers: Vec::new(),
            ended: Vec::new(),
            released: Vec::new(),
        }
    }
}

/// The largest capacity that is kept.
const MAX_KEPT: usize = 1024;

impl<O> Effects<O> {
    /// Clears everything after it has been performed.
    pub(crate) fn clear(&mut self) {
        self.membership.clear();
        self.events.clear();
        self.frames.clear();
        self.receivers.clear();
        self.receivers.shrink_to(MAX_KEPT);
        self.ended.clear();
        self.released.clear();
    }

    pub(super) fn deliver(&mut self, text: String, receivers: impl IntoIterator<Item = O>, account: Account) {
        let before = self.receivers.len();
        self.receivers.extend(receivers);
        if self.receivers.len() > before {
            self.frames.push(ForWhom { text, end: self.receivers.len(), account });
        }
    }

    /// The frames in their order, each with its receivers. The frames are taken out; the receivers stay until
    /// [`Self::clear`].
    pub(crate) fn deliveries(&mut self) -> impl Iterator<Item = (String, &[O], Account)> {
        let receivers = &self.receivers;
        let mut start = 0;
        self.frames.drain(..).map(move |ForWhom { text, end, account }| {
            let to = &receivers[std::mem::replace(&mut start, end)..end];
            (text, to, account)
        })
    }
}
