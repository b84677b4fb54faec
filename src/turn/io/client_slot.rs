//! The place where a worker keeps a client, and the directory's key of that client's allocation.

use crate::membership::AllocationRef;

/// The place where a worker finds a client.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClientSlot {
    pub(super) slot: u32,
    /// Distinguishes the allocation from earlier ones in the same slot.
    pub(super) generation: u32,
}

impl ClientSlot {
    /// The directory's key of the allocation in this place.
    pub(super) fn key(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.slot)
    }
}

/// The slot that is part of the directory's key of an allocation.
pub(super) fn slot_of(allocation: AllocationRef) -> usize {
    allocation.key as u32 as usize
}
