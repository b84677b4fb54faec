//! What a session reports: all rare events, in the order in which they happened.
//!
//! Logs, metrics, accounting and the directory learn from these events and from nothing else. Relayed data causes no
//! event: its totals come with [`Ended`].

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crate::{
    membership::{AllocationRef, Directory},
    turn::{
        core::{five_tuple::FiveTuple, reach::Reach, totals::Totals},
        shared::{auth::CredentialRefusal, peer_policy::PeerRefusal, relayed::OwnerTag},
        wire::code::{ErrorCode, TurnMethod},
    },
    values::{
        family::{ByFamily, Families, Family},
        label::labels,
        member::MemberId,
    },
};

/// One event that a session reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEvent {
    /// A request was read. Retransmissions are reported too.
    Requested(TurnMethod),
    /// A response was made, a success or an error. A retransmission causes another such event.
    Answered {
        /// The method of the request.
        method: TurnMethod,
        /// The result.
        outcome: Result<(), ErrorCode>,
    },
    /// The reason why a request was refused, where the error code does not say it.
    Refused(Objection),
    /// An allocation was made.
    Allocated(Box<Allocated>),
    /// One or all of the relayed addresses were refreshed.
    Refreshed {
        /// Their new lifetime.
        lifetime: Duration,
        /// Whether the credential has already expired. That does not end the allocation.
        is_after_expiry: bool,
    },
    /// A permission is in force, for [`crate::turn::core::allocation::PERMISSION_LIFETIME`] from now.
    Permitted {
        /// The peer's address.
        ip: IpAddr,
        /// How it is reached.
        reach: Reach,
        /// Whether it is new; otherwise it was refreshed.
        is_new: bool,
    },
    /// A permission has ended.
    PermissionEnded {
        /// The peer's address.
        ip: IpAddr,
    },
    /// A channel is bound, for [`crate::turn::core::allocation::CHANNEL_LIFETIME`] from now.
    ChannelBound {
        /// Its number.
        number: u16,
        /// The peer behind it.
        peer: SocketAddr,
        /// Whether it is new; otherwise it was refreshed.
        is_new: bool,
    },
    /// A channel is no longer bound.
    ChannelEnded {
        /// Its number.
        number: u16,
        /// The peer that was behind it.
        peer: SocketAddr,
    },
    /// A relayed address no longer belongs to the client, or was bound but not used. Its socket must be closed before
    /// anything else is done for this client.
    RelayEnded {
        /// Its family.
        family: Family,
        /// The address as it was advertised.
        address: SocketAddr,
    },
    /// The directory knows of an allocation that was not granted after all.
    Withdrawn(MemberEntry),
    /// The allocation is over. The end of everything that it had was reported before.
    Ended(Box<Ended>),
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objection {
    /// The credential is not accepted.
    Credential(CredentialRefusal),
    /// A peer is not allowed.
    Peer {
        /// Its address.
        ip: IpAddr,
        /// Why the peer is not allowed.
        reason: PeerRefusal,
    },
}

/// To whom an allocation belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The name in its credential.
    pub username: Box<str>,
    /// On whose behalf the allocation exists.
    pub owner: OwnerTag,
    /// The member, if the credential belongs to one.
    pub member: Option<MemberEntry>,
    /// The client's transport address, and the server address that it uses.
    pub tuple: FiveTuple,
}

/// An allocation of a member, as the directory knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberEntry {
    /// The member.
    pub id: MemberId,
    /// The directory's reference to the allocation.
    pub entry: AllocationRef,
}

/// An allocation that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocated {
    /// To whom it belongs.
    pub holder: Holder,
    /// The addresses that peers see.
    pub relayed: ByFamily<Option<SocketAddr>>,
    /// How long it lives unless refreshed.
    pub lifetime: Duration,
}

/// An allocation that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// To whom it belonged.
    pub holder: Holder,
    /// The families of its relayed addresses when it was made.
    pub families: Families,
    /// Why it ended.
    pub reason: EndReason,
    /// What it has relayed.
    pub totals: Totals,
    /// How long it lived.
    pub duration: Duration,
}

labels! {
    /// Why an allocation ended.
    pub enum EndReason {
        /// Its client did not refresh it.
        Expired = "expired",
        /// Its client refreshed it to 0.
        GivenUp = "given_up",
        /// Its member left the room.
        MemberLeft = "member_left",
        /// Its client's connection ended.
        TransportGone = "transport_gone",
        /// The server is shutting down, or needs the connection's place for another client.
        Server = "server",
    }
}

/// Events that sessions have reported and nobody has read yet. One queue can serve many sessions, if it is emptied
/// after each input.
#[derive(Debug, Default)]
pub struct EventQueue(VecDeque<SessionEvent>);

/// The end of an allocation with many peers causes many events. Afterwards the queue keeps at most this capacity.
const KEPT_CAPACITY: usize = 64;

impl EventQueue {
    /// An empty queue.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the oldest event.
    pub fn poll(&mut self) -> Option<SessionEvent> {
        let event = self.0.pop_front();
        if event.is_none() {
            self.0.shrink_to(KEPT_CAPACITY);
        }
        event
    }

    /// Whether all events were taken.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(in crate::turn) fn push(&mut self, event: SessionEvent) {
        self.0.push_back(event);
    }
}

impl SessionEvent {
    /// Tells `directory` what it must know. This must be called before the client gets the answer, because the client's
    /// next packet may depend on it.
    pub fn tell(&self, directory: &Directory) {
        match self {
            Self::Allocated(allocated) => {
                if let Some(MemberEntry { id, .. }) = allocated.holder.member {
                    directory.verify_address(id, allocated.holder.tuple.client.ip());
                }
            }
            Self::Ended(ended) => {
                if let Some(MemberEntry { id, entry }) = ended.holder.member {
                    directory.allocation_closed(id, entry);
                }
            }
            Self::Withdrawn(MemberEntry { id, entry }) => directory.allocation_closed(*id, *entry),
            Self::Requested(_)
            | Self::Answered { .. }
            | Self::Refused(_)
            | Self::Refreshed { .. }
            | Self::Permitted { .. }
            | Self::PermissionEnded { .. }
            | Self::ChannelBound { .. }
            | Self::ChannelEnded { .. }
            | Self::RelayEnded { .. } => {}
        }
    }
}
