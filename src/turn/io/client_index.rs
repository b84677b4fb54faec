//! Finds the slot of the client that a datagram comes from.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use crate::{turn::core::five_tuple::FiveTuple, values::roomy::room_to_keep};

/// Slots by their clients' 5-tuples. The tuples themselves are stored with the clients, so an entry takes five bytes
/// and not seventy.
#[derive(Debug, Default)]
pub(super) struct ClientIndex {
    slots: HashTable<u32>,
    hasher: RandomState,
}

impl ClientIndex {
    /// The slot of the client with this tuple. `tuple_of` returns the tuple of a slot's client.
    pub(super) fn find(&self, tuple: &FiveTuple, tuple_of: impl Fn(usize) -> Option<FiveTuple>) -> Option<usize> {
        let is_it = |slot: &u32| tuple_of(*slot as usize) == Some(*tuple);
        self.slots.find(self.hasher.hash_one(tuple), is_it).map(|slot| *slot as usize)
    }

    /// Adds a client that is not in the index. `tuple_of` must already know its slot.
    pub(super) fn insert(&mut self, tuple: &FiveTuple, slot: u32, tuple_of: impl Fn(usize) -> Option<FiveTuple>) {
        let Self { slots, hasher } = self;
        let hash = |slot: &u32| tuple_of(*slot as usize).map_or(0, |tuple| hasher.hash_one(tuple));
        slots.insert_unique(hasher.hash_one(tuple), slot, hash);
    }

    /// Removes the client with this tuple and slot, while `tuple_of` still knows the slot. Memory is given back when
    /// most of it is no longer needed.
    pub(super) fn remove(&mut self, tuple: &FiveTuple, slot: usize, tuple_of: impl Fn(usize) -> Option<FiveTuple>) {
        let Self { slots, hasher } = self;
        if let Ok(entry) = slots.find_entry(hasher.hash_one(tuple), |other| *other as usize == slot) {
            entry.remove();
        }
        if let Some(room) = room_to_keep(slots.len()) {
            slots.shrink_to(room, |slot| tuple_of(*slot as usize).map_or(0, |tuple| hasher.hash_one(tuple)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple(n: usize) -> Option<FiveTuple> {
        let client = ([192, 0, 2, (n >> 16) as u8], n as u16).into();
        Some(FiveTuple { client, server: ([198, 51, 100, 1], 3478).into() })
    }

    #[test]
    fn each_client_is_found_until_it_is_removed() {
        const CLIENTS: usize = 5000;
        let mut index = ClientIndex::default();
        for slot in 0..CLIENTS {
            index.insert(&tuple(slot).unwrap(), slot as u32, tuple);
        }
        let full = index.slots.capacity();
        for slot in 0..CLIENTS {
            assert_eq!(index.find(&tuple(slot).unwrap(), tuple), Some(slot));
            index.remove(&tuple(slot).unwrap(), slot, tuple);
            assert_eq!(index.find(&tuple(slot).unwrap(), tuple), None);
            assert!(slot + 1 == CLIENTS || index.find(&tuple(CLIENTS - 1).unwrap(), tuple).is_some(), "{slot}");
        }
        assert!(index.slots.is_empty() && index.slots.capacity() < full / 16);
    }
}
