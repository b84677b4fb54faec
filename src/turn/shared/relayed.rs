//! The table of live relayed addresses of this process.
//!
//! Data for one of them never goes to the kernel: its owner is found here, by the exact address, and gets the data
//! directly. This is the main case (two browsers behind bad NATs), and it needs no hairpinning. It also closes the hole
//! that permissions for IP addresses leave: a permission for this server's IP address reaches only the relayed
//! addresses of clients that may exchange data, and no service of this host.
//!
//! There is one word for each port and family, and one load reads it, so the packet path takes no lock. A port is used
//! once per family, even if the advertised address has changed meanwhile. So the port is enough to find the owner,
//! which then compares the whole address.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use rand::Rng;

use crate::{
    membership::RoomTag,
    turn::shared::free_ports::{FreePorts, PortKind},
    values::{
        family::{ByFamily, Family},
        ports::RelayPorts,
    },
};

/// How many workers the table can distinguish.
pub const MAX_WORKERS: usize = 1023;

const SLOT_BITS: u32 = 22;

/// A port that is held for a later allocation. The word names no worker, so [`RelayedTable::home`] finds nobody.
const HELD: u64 = 1;

/// On whose behalf an allocation exists. This decides between which allocations data may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OwnerTag {
    /// A member of this room.
    Room(RoomTag),
    /// A user with a credential from the API or from `mint`.
    Api,
}

/// The session that owns a relayed address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Home {
    /// The worker that owns the session.
    pub worker: u16,
    /// The slot of the session in that worker.
    pub slot: u32,
    /// On whose behalf the allocation exists.
    pub owner: OwnerTag,
}

impl Home {
    /// `owner:32 | worker + 1:10 | slot:22`; 0 means nobody.
    fn pack(self) -> Option<u64> {
        let owner = match self.owner {
            OwnerTag::Room(tag) => tag.0.get(),
            OwnerTag::Api => 0,
        };
        let fits = usize::from(self.worker) < MAX_WORKERS && self.slot < 1 << SLOT_BITS;
        fits.then(|| u64::from(owner) << 32 | u64::from(self.worker + 1) << SLOT_BITS | u64::from(self.slot))
    }

    fn unpack(word: u64) -> Option<Self> {
        let worker = (word as u32 >> SLOT_BITS) as u16;
        let owner = match ((word >> 32) as u32).try_into() {
            Ok(tag) => OwnerTag::Room(RoomTag(tag)),
            Err(_) => OwnerTag::Api,
        };
        Some(Self { worker: worker.checked_sub(1)?, slot: word as u32 & ((1 << SLOT_BITS) - 1), owner })
    }
}

/// See the module's header.
#[derive(Debug)]
pub struct RelayedTable {
    v4: Box<[AtomicU64]>,
    v6: Box<[AtomicU64]>,
    /// Used when a relayed address begins or ends, never per packet.
    free: ByFamily<Mutex<FreePorts>>,
}

impl RelayedTable {
    /// An empty table: 1 MiB of address space, touched as ports are used. No port is [offered](Self::offer) yet.
    pub fn new() -> Self {
        let ports = || std::iter::repeat_with(AtomicU64::default).take(1 << 16).collect();
        Self { v4: ports(), v6: ports(), free: ByFamily::default() }
    }

    /// Says which ports [`Self::take`] chooses from.
    pub fn offer(&self, ports: RelayPorts) {
        Family::BOTH.into_iter().for_each(|family| self.free(family).offer(ports));
    }

    /// Takes a random free port of this kind, and the next port too if the kind says so. The port must then be claimed
    /// or held, and finally released.
    pub fn take(&self, family: Family, kind: PortKind, rng: &mut impl Rng) -> Option<u16> {
        self.free(family).take(kind, rng)
    }

    /// Claims `port` for `home`. `false` if another allocation has it, or `home` is out of range.
    #[must_use]
    pub fn claim(&self, family: Family, port: u16, home: Home) -> bool {
        let Some(word) = home.pack() else {
            return false;
        };
        self.port(family, port).compare_exchange(0, word, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Holds `port` for a later allocation. `false` if an allocation has it, or it is held already.
    #[must_use]
    pub fn hold(&self, family: Family, port: u16) -> bool {
        self.port(family, port).compare_exchange(0, HELD, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Gives a `port` that was held to `home`. `false` if it was not held, or `home` is out of range.
    #[must_use]
    pub fn hand_over(&self, family: Family, port: u16, home: Home) -> bool {
        let Some(word) = home.pack() else {
            return false;
        };
        self.port(family, port).compare_exchange(HELD, word, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Gives `port` back. Whoever takes it next must be able to bind it.
    pub fn release(&self, family: Family, port: u16) {
        self.port(family, port).store(0, Ordering::Release);
        self.free(family).give_back(port);
    }

    /// Marks `port` as used by another program.
    pub fn leave_to_others(&self, family: Family, port: u16) {
        self.port(family, port).store(0, Ordering::Release);
        self.free(family).leave_to_others(port);
    }

    /// Makes the port free that was marked as used by another program longest ago. `false` if there is none.
    pub fn try_again(&self, family: Family) -> bool {
        self.free(family).try_again()
    }

    /// The owner of `port`.
    pub fn home(&self, family: Family, port: u16) -> Option<Home> {
        Home::unpack(self.port(family, port).load(Ordering::Acquire))
    }

    fn free(&self, family: Family) -> MutexGuard<'_, FreePorts> {
        self.free[family].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn port(&self, family: Family, port: u16) -> &AtomicU64 {
        match family {
            Family::V4 => &self.v4[usize::from(port)],
            Family::V6 => &self.v6[usize::from(port)],
        }
    }
}

impl Default for RelayedTable {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_has_one_owner_per_family() {
        let table = RelayedTable::new();
        let alice = Home { worker: 0, slot: 0, owner: OwnerTag::Api };
        let bob =
            Home { worker: 1022, slot: (1 << 22) - 1, owner: OwnerTag::Room(RoomTag(u32::MAX.try_into().unwrap())) };
        assert!(table.claim(Family::V4, 50_000, alice));
        assert!(!table.claim(Family::V4, 50_000, bob));
        assert!(table.claim(Family::V6, 50_000, bob));
        assert_eq!(table.home(Family::V4, 50_000), Some(alice));
        assert_eq!(table.home(Family::V6, 50_000), Some(bob));
        assert_eq!(table.home(Family::V4, 50_001), None);
        table.release(Family::V4, 50_000);
        assert!(table.claim(Family::V4, 50_000, bob));
    }

    #[test]
    fn a_held_port_is_nobodys_until_it_is_handed_over() {
        let table = RelayedTable::new();
        let alice = Home { worker: 0, slot: 0, owner: OwnerTag::Api };
        assert!(!table.hand_over(Family::V4, 1, alice), "it is not held");
        assert!(table.hold(Family::V4, 1));
        assert_eq!(table.home(Family::V4, 1), None);
        assert!(!table.claim(Family::V4, 1, alice) && !table.hold(Family::V4, 1));
        assert!(table.hand_over(Family::V4, 1, alice));
        assert_eq!(table.home(Family::V4, 1), Some(alice));
        table.release(Family::V4, 1);
        assert!(table.hold(Family::V4, 1));
    }

    #[test]
    fn homes_out_of_range_are_refused() {
        let table = RelayedTable::new();
        assert!(!table.claim(Family::V4, 1, Home { worker: 1023, slot: 0, owner: OwnerTag::Api }));
        assert!(!table.claim(Family::V4, 1, Home { worker: 0, slot: 1 << 22, owner: OwnerTag::Api }));
    }
}
