//! What happens to a packet: the path that it takes, or why it is dropped.

use crate::values::label::labels;

labels! {
    /// The path of a relayed packet, named after its direction.
    pub enum Path {
        /// From a client to a peer on the network: counted when the kernel has accepted it.
        ToPeerKernel = "to_peer",
        /// From a peer on the network to a client: counted when the kernel has accepted it.
        ToClientKernel = "to_client",
        /// From one client of this server to another without the kernel in between; counted once, at the receiving
        /// client.
        InProcess = "client_to_client",
    }
}

impl Path {
    /// What carries the packet.
    pub const fn through(self) -> &'static str {
        match self {
            Self::ToPeerKernel | Self::ToClientKernel => "kernel",
            Self::InProcess => "in_process",
        }
    }
}

labels! {
    /// Why a packet was dropped.
    pub enum DropReason {
        /// Neither STUN nor ChannelData, or broken.
        Malformed = "malformed",
        /// Too short to be a legal Allocate, so it gets no challenge (amplification).
        TooShortToChallenge = "too_short_to_challenge",
        /// The source has used up the answers that an unproven address gets.
        RateLimited = "rate_limited",
        /// Data or an indication without an allocation.
        NoAllocation = "no_allocation",
        /// No permission for the peer.
        NoPermission = "no_permission",
        /// Channel not bound.
        NoChannel = "no_channel",
        /// The peer is an address of this host that is not a live relayed address.
        OwnAddress = "own_address",
        /// The owners of the two relayed addresses may not exchange data (they are in different rooms).
        OtherRoom = "other_room",
        /// The receiving worker's queue is full.
        QueueFull = "queue_full",
        /// The kernel refused to send to a peer.
        SendToPeer = "send_to_peer",
        /// The kernel refused to send to a client.
        SendToClient = "send_to_client",
        /// A client on a stream reads more slowly than data arrives for it; the oldest waiting packet was dropped.
        SlowClient = "slow_client",
        /// The allocation has exceeded its bit rate.
        Bitrate = "bitrate",
    }
}
