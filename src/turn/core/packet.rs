//! What becomes of a packet: the way it goes, or why it goes nowhere.

use crate::values::label::labels;

labels! {
    /// The way of a relayed packet, named after its direction.
    pub enum Path {
        /// From a client to a peer on the network: counted when the kernel took it.
        ToPeerKernel = "to_peer",
        /// From a peer on the network to a client: counted when the kernel took it.
        ToClientKernel = "to_client",
        /// From one client of this server to another without the kernel between: counted at the receiving client, once.
        InProcess = "client_to_client",
    }
}

impl Path {
    /// What it went through.
    pub const fn through(self) -> &'static str {
        match self {
            Self::ToPeerKernel | Self::ToClientKernel => "kernel",
            Self::InProcess => "in_process",
        }
    }
}

labels! {
    /// Why a packet went nowhere.
    pub enum DropReason {
        /// Neither STUN nor ChannelData, or broken.
        Malformed = "malformed",
        /// Too short to be a legal Allocate, so not worth a challenge (amplification).
        TooShortToChallenge = "too_short_to_challenge",
        /// The source got its share of answers to unproven addresses.
        RateLimited = "rate_limited",
        /// Data or an indication without an allocation.
        NoAllocation = "no_allocation",
        /// No permission for the peer.
        NoPermission = "no_permission",
        /// Channel not bound.
        NoChannel = "no_channel",
        /// To an own address at which no relayed address lives.
        OwnAddress = "own_address",
        /// The owners of the two relayed addresses may not talk (another room).
        OtherRoom = "other_room",
        /// The receiving worker's queue is full.
        QueueFull = "queue_full",
        /// The kernel refused to send to a peer.
        SendToPeer = "send_to_peer",
        /// The kernel refused to send to a client.
        SendToClient = "send_to_client",
        /// The oldest that waited for a client on a stream, who takes less than is sent to it.
        SlowClient = "slow_client",
        /// More than an allocation may relay in its time.
        Bitrate = "bitrate",
    }
}
