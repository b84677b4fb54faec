//! What a session tells: all that is rare, in the order in which it happened.
//!
//! Logs, metrics, accounting and the directory learn from these and from nothing else. Data that is relayed is no event:
//! its sums come with [`Ended`].

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

/// One thing that a session tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEvent {
    /// A request was read. Retransmissions are told too.
    Requested(TurnMethod),
    /// A response was made, a success or an error; the same again for a retransmission.
    Answered {
        /// What was asked for.
        method: TurnMethod,
        /// What became of it.
        outcome: Result<(), ErrorCode>,
    },
    /// More about a request that is not granted, where the code does not say why.
    Refused(Objection),
    /// There is an allocation.
    Allocated(Box<Allocated>),
    /// All or one of its relayed addresses live on.
    Refreshed {
        /// How long.
        lifetime: Duration,
        /// The credential's expiry has passed, which ends nothing.
        is_after_expiry: bool,
    },
    /// A permission is in force, for [`crate::turn::core::allocation::PERMISSION_LIFETIME`] from now.
    Permitted {
        /// The peer's address.
        ip: IpAddr,
        /// How it is reached.
        reach: Reach,
        /// Else it was refreshed.
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
        /// Else it was refreshed.
        is_new: bool,
    },
    /// A channel is bound no more.
    ChannelEnded {
        /// Its number.
        number: u16,
        /// The peer that was behind it.
        peer: SocketAddr,
    },
    /// A relayed address is the client's no more, or never came to be: its socket must be closed before anything else is
    /// done for this client.
    RelayEnded {
        /// Its family.
        family: Family,
        /// The address as it was advertised.
        address: SocketAddr,
    },
    /// The directory knows of an allocation that then was not granted.
    Withdrawn(MemberEntry),
    /// The allocation is over. All that it had was told to have ended before.
    Ended(Box<Ended>),
}

/// Why something is not granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objection {
    /// Credentials.
    Credential(CredentialRefusal),
    /// A peer.
    Peer {
        /// Its address.
        ip: IpAddr,
        /// What is against it.
        reason: PeerRefusal,
    },
}

/// Whose an allocation is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The name in its credential.
    pub username: Box<str>,
    /// On whose behalf it lives.
    pub owner: OwnerTag,
    /// The member, for member credentials.
    pub member: Option<MemberEntry>,
    /// The client's transport address, and that of ours that it uses.
    pub tuple: FiveTuple,
}

/// An allocation of a member, as the directory knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberEntry {
    /// The member.
    pub id: MemberId,
    /// How the directory calls the allocation.
    pub entry: AllocationRef,
}

/// An allocation that has come to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocated {
    /// Whose it is.
    pub holder: Holder,
    /// What peers see.
    pub relayed: ByFamily<Option<SocketAddr>>,
    /// How long it lives unless refreshed.
    pub lifetime: Duration,
}

/// An allocation that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Whose it was.
    pub holder: Holder,
    /// Of which families it had relayed addresses when it was made.
    pub families: Families,
    /// Why.
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
        /// The server ends, or needs the connection's place for somebody else.
        Server = "server",
    }
}

/// What sessions have told and nobody has heard yet. One queue serves many sessions, if it is heard after each input.
#[derive(Debug, Default)]
pub struct EventQueue(VecDeque<SessionEvent>);

/// An allocation with many peers tells much when it ends; so much room is kept.
const KEPT_CAPACITY: usize = 64;

impl EventQueue {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The oldest that nobody has heard.
    pub fn poll(&mut self) -> Option<SessionEvent> {
        let event = self.0.pop_front();
        if event.is_none() {
            self.0.shrink_to(KEPT_CAPACITY);
        }
        event
    }

    /// Whether all was heard.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(in crate::turn) fn push(&mut self, event: SessionEvent) {
        self.0.push_back(event);
    }
}

impl SessionEvent {
    /// Tells `directory` what it must know. Before the client gets the answer: its next packet may depend on it.
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
