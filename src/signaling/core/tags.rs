//! Tags of rooms: numbers that no two open rooms share, even if their owners know nothing of each other.

use std::{collections::BTreeSet, num::NonZeroU32};

use crate::membership::RoomTag;

/// The tags of one owner: one for each of its rooms.
#[derive(Debug)]
pub(super) struct Tags {
    last: u32,
    /// The difference between two tags of this owner.
    step: u32,
    in_use: BTreeSet<NonZeroU32>,
}

impl Tags {
    /// The tags of owner `number` of `owners`, which must be a power of two.
    pub(super) fn new(number: u32, owners: u32) -> Self {
        debug_assert!(owners.is_power_of_two(), "else tags are no longer apart when they begin anew");
        Self { last: number, step: owners, in_use: BTreeSet::new() }
    }

    pub(super) fn take(&mut self) -> RoomTag {
        loop {
            self.last = self.last.wrapping_add(self.step);
            if let Some(tag) = NonZeroU32::new(self.last)
                && self.in_use.insert(tag)
            {
                return RoomTag(tag);
            }
        }
    }

    /// Frees the tag of a room that was closed.
    pub(super) fn give_back(&mut self, tag: RoomTag) {
        self.in_use.remove(&tag.0);
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.in_use.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_never_zero_and_skip_those_in_use() {
        let mut tags = Tags { last: u32::MAX - 1, ..Tags::new(0, 1) };
        let numbers: Vec<_> = (0..3).map(|_| tags.take().0.get()).collect();
        assert_eq!(numbers, [u32::MAX, 1, 2]);
        tags.last = u32::MAX - 1;
        assert_eq!(tags.take().0.get(), 3);
    }

    #[test]
    fn tags_of_two_owners_differ() {
        let [mut even, mut odd] = [0, 1].map(|number| Tags { last: u32::MAX - 7 + number, ..Tags::new(number, 2) });
        let numbers: Vec<_> = (0..6).flat_map(|_| [even.take().0.get(), odd.take().0.get()]).collect();
        assert!(numbers.chunks(2).all(|pair| pair[0] % 2 == 0 && pair[1] % 2 == 1), "{numbers:?}");
    }
}
