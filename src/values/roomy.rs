//! Gives back the memory of maps that once held many entries and now hold few.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash},
};

/// Room for this many entries is never worth giving back.
const LEAST: usize = 64;

/// How much room to keep, if it is time to give some back, which is after each removal that halves the number of
/// entries. So no more entries are moved than were removed, and the number of those that are left can double.
pub(crate) fn room_to_keep(len: usize) -> Option<usize> {
    (len == 0 || len.is_power_of_two()).then(|| LEAST.max(2 * len))
}

/// Gives memory back when most of it is no longer needed. Must be called after each removal.
pub(crate) fn give_back_room<K: Eq + Hash, V, S: BuildHasher>(map: &mut HashMap<K, V, S>) {
    if let Some(room) = room_to_keep(map.len()) {
        map.shrink_to(room);
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, hash::DefaultHasher};

    use super::*;

    /// Counts how often something is hashed.
    #[derive(Default)]
    struct Counting(Cell<usize>);

    impl BuildHasher for Counting {
        type Hasher = DefaultHasher;

        fn build_hasher(&self) -> DefaultHasher {
            self.0.set(self.0.get() + 1);
            DefaultHasher::new()
        }
    }

    /// Removes this entry, and returns how many others were moved by that.
    fn remove(map: &mut HashMap<usize, usize, Counting>, key: usize) -> usize {
        map.remove(&key);
        let before = map.hasher().0.get();
        give_back_room(map);
        map.hasher().0.get() - before
    }

    #[test]
    fn what_is_nearly_empty_is_small_and_moves_seldom() {
        const MOST: usize = 50_000;
        let mut map = HashMap::<_, _, Counting>::default();
        map.extend((0..MOST).map(|n| (n, n)));
        let moved: usize = (0..MOST - 1000).map(|n| remove(&mut map, n)).sum();
        assert!(moved <= MOST, "{moved}");
        assert!(map.capacity() <= 8 * map.len(), "{} for {}", map.capacity(), map.len());
        for n in 0..1000 {
            map.insert(n, n);
            assert_eq!(remove(&mut map, n), 0, "nothing to and fro");
        }
        let moved: usize = (MOST - 1000..MOST).map(|n| remove(&mut map, n)).sum();
        assert!(moved <= 1000 && map.capacity() <= 4 * LEAST, "{moved} {}", map.capacity());
    }
}
