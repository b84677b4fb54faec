//! Where a worker keeps a client, and what the directory calls its allocation.

use crate::membership::AllocationRef;

/// Where a client is found by its worker.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClientSlot {
    pub(super) slot: u32,
    /// Tells its allocation from earlier ones in the same slot.
    pub(super) generation: u32,
}

impl ClientSlot {
    /// What the directory calls the allocation there.
    pub(super) fn key(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.slot)
    }
}

/// The slot in the directory's key of an allocation.
pub(super) fn slot_of(allocation: AllocationRef) -> usize {
    allocation.key as u32 as usize
}
