//! What follows from an input to the core: plain data, to be performed by [`Service`](crate::signaling::service::Service).

use std::{net::IpAddr, sync::Arc, time::Duration};

use crate::{
    membership::RoomTag,
    signaling::{close_reason::CloseReason, core::resume::Resume},
    values::{label::labels, member::MemberId},
};

labels! {
    /// Why a member was removed, as its peers are told.
    pub enum RemoveReason {
        /// It said so.
        Left = "left",
        /// It joined a room anew.
        Moved = "moved",
        /// Its connection ended, and so did its grace if it had one.
        Disconnected = "disconnected",
        /// The operator removed it.
        Kicked = "kicked",
    }
}

/// What TURN is to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MembershipChange {
    /// A member is in a room.
    Entered {
        /// Who.
        member: MemberId,
        /// Where.
        room: RoomTag,
        /// Its address, if verified.
        address: Option<IpAddr>,
    },
    /// A member has another connection than before.
    Reconnected {
        /// Who.
        member: MemberId,
        /// Its address, if verified.
        address: Option<IpAddr>,
    },
    /// A member is in no room any more.
    Left {
        /// Who.
        member: MemberId,
    },
}

/// A room as events name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomLabel {
    /// Of this life of the room.
    pub tag: RoomTag,
    /// Its name, which lets people in.
    pub name: Arc<str>,
}

/// What happened, for log and metrics. Nothing depends on who hears it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoomEvent {
    /// There was no such room.
    RoomOpened {
        /// Which.
        room: RoomLabel,
    },
    /// The last member has left.
    RoomClosed {
        /// Which.
        room: RoomLabel,
        /// How long there was one.
        lasted: Duration,
    },
    /// The others were told of a newcomer.
    Joined {
        /// Who.
        member: MemberId,
        /// Where.
        room: RoomLabel,
        /// Its address, if verified.
        address: Option<IpAddr>,
        /// It came back by a token, but too late for its place.
        announced: bool,
        /// What it calls itself.
        name: Option<Box<str>>,
    },
    /// A member came back and nobody was told.
    Resumed {
        /// Who.
        member: MemberId,
        /// Where.
        room: RoomLabel,
        /// The address of its new connection, if verified.
        address: Option<IpAddr>,
        /// What became of the one before.
        how: Resume,
    },
    /// A member's connection broke, and it is waited for.
    Away {
        /// Who.
        member: MemberId,
        /// Where.
        room: RoomLabel,
        /// The address of its last connection, if verified.
        address: Option<IpAddr>,
    },
    /// The others were told that a member is gone, unless the server is going itself.
    Left {
        /// Who.
        member: MemberId,
        /// Where.
        room: RoomLabel,
        /// The address of its last connection, if verified.
        address: Option<IpAddr>,
        /// Why.
        reason: RemoveReason,
        /// How long it was a member.
        stayed: Duration,
        /// Its connection was gone before.
        was_away: bool,
    },
}

/// On whose account a frame goes; see [`Sent`](crate::signaling::sent::Sent).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Account {
    /// The sender's, for what it gets itself.
    Answer,
    /// The sender's, for what others get.
    Others,
    /// Nobody's.
    Free,
}

/// What is to be done, in this order: [`Self::membership`], [`Self::events`], the frames, [`Self::ended`],
/// [`Self::released`]. TURN knows a newcomer before anybody is told, and the end of a member before the others are.
///
/// Who performs them clears and keeps them, so that what comes next finds its room allocated.
#[derive(Debug)]
pub struct Effects<O> {
    /// For the directory.
    pub membership: Vec<MembershipChange>,
    /// For log and metrics.
    pub events: Vec<RoomEvent>,
    frames: Vec<ForWhom>,
    /// Of all frames, one after another.
    receivers: Vec<O>,
    /// Connections that are to be closed once what is queued for them is out.
    pub ended: Vec<(O, CloseReason)>,
    /// Ids that this room has no claim to any more.
    pub released: Vec<MemberId>,
}

#[derive(Debug)]
struct ForWhom {
    text: String,
    /// Its last receiver is the one before this.
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

/// More is not kept.
const MAX_KEPT: usize = 1024;

impl<O> Effects<O> {
    /// Forgets what has been done.
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

    /// The frames in their order, each with its receivers. They are taken out; the receivers stay until [`Self::clear`].
    pub(crate) fn deliveries(&mut self) -> impl Iterator<Item = (String, &[O], Account)> {
        let receivers = &self.receivers;
        let mut start = 0;
        self.frames.drain(..).map(move |ForWhom { text, end, account }| {
            let to = &receivers[std::mem::replace(&mut start, end)..end];
            (text, to, account)
        })
    }
}
