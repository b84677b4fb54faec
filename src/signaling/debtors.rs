//! Which queue is given up when all queues together hold too much: the one whose waiting bytes, multiplied by the time
//! that the oldest of them has waited, are most.
//!
//! So a client is not punished for coming late, a client cannot hide by staying below the largest one, and a client
//! that only reads a little now and then still has an old message in front. Queues are sorted by size to a factor of
//! two, and by age within that. So the worst of a hundred thousand queues is found by looking at a dozen.
//!
//! The module is pure: no clock, no lock.

use std::collections::{BTreeMap, HashMap};

/// The smallest class: queues that hold less than twice this many bytes.
const SMALLEST: u32 = (64_u32 * 1024).ilog2();
const CLASSES: usize = 10;

/// Time in steps of 1/16 s, from some start. With finer steps, the list would change with every frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tick(pub(super) u32);

impl Tick {
    pub(super) fn after(elapsed: std::time::Duration) -> Self {
        Self((elapsed.as_millis() * 16 / 1000) as u32)
    }
}

/// The position of a queue among the debtors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    class: usize,
    since: Tick,
}

impl Standing {
    /// The standing of a queue that holds `bytes`, of which the oldest came at `since`.
    pub(super) fn new(bytes: usize, since: Tick) -> Self {
        let class = bytes.checked_ilog2().unwrap_or(0).saturating_sub(SMALLEST) as usize;
        Self { class: class.min(CLASSES - 1), since }
    }

    /// The standing as a number, which can be stored without a lock; 0 stands for none.
    pub(super) fn to_number(standing: Option<Self>) -> u64 {
        standing.map_or(0, |Self { class, since }| (class as u64 + 1) << 32 | u64::from(since.0))
    }

    /// The counterpart of [`Self::to_number`].
    pub(super) fn from_number(number: u64) -> Option<Self> {
        let class = (number >> 32).checked_sub(1)?;
        Some(Self { class: class as usize, since: Tick(number as u32) })
    }

    fn weight(self, now: Tick) -> u64 {
        (u64::from(now.0.saturating_sub(self.since.0)) + 1) << self.class
    }
}

/// The queues that hold more than their own share, each with its number and a reference to it.
#[derive(Debug)]
pub(super) struct Debtors<T> {
    classes: [BTreeMap<(Tick, u64), T>; CLASSES],
    /// The standing under which each of them is listed.
    standings: HashMap<u64, Standing>,
}

impl<T> Default for Debtors<T> {
    fn default() -> Self {
        Self { classes: std::array::from_fn(|_| BTreeMap::new()), standings: HashMap::new() }
    }
}

impl<T> Debtors<T> {
    pub(super) fn insert(&mut self, number: u64, standing: Standing, reach: T) {
        self.classes[standing.class].insert((standing.since, number), reach);
        self.standings.insert(number, standing);
    }

    /// Notes the standing of a queue, or that it owes nothing any more. `reach` is needed if the queue is not on the
    /// list; a queue that is about to pay is not.
    pub(super) fn note(&mut self, number: u64, standing: Option<Standing>, reach: Option<impl FnOnce() -> T>) {
        if self.standings.get(&number) == standing.as_ref() {
            return;
        }
        let listed = self.remove(number);
        if let Some(standing) = standing
            && let Some(reach) = listed.or_else(|| reach.map(|reach| reach()))
        {
            self.insert(number, standing, reach);
        }
    }

    fn remove(&mut self, number: u64) -> Option<T> {
        let standing = self.standings.remove(&number)?;
        self.classes[standing.class].remove(&(standing.since, number))
    }

    /// Takes out the queue that must pay.
    pub(super) fn take_worst(&mut self, now: Tick) -> Option<T> {
        let oldest = self.classes.iter().enumerate().filter_map(|(class, debtors)| {
            let ((since, number), _) = debtors.first_key_value()?;
            Some((Standing { class, since: *since }, *number))
        });
        // Among equals, the queue that connected first pays: coming late must not be a disadvantage.
        let worst = oldest.max_by_key(|(standing, number)| (standing.weight(now), u64::MAX - number));
        worst.and_then(|(_, number)| self.remove(number))
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.classes.iter().all(BTreeMap::is_empty) && self.standings.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KIB: usize = 1024;

    /// The index of the queue that pays at tick 100. Each queue is given by its bytes and the tick of the oldest.
    fn payer<const N: usize>(queues: [(usize, u32); N]) -> usize {
        let mut debtors = Debtors::default();
        for (index, (bytes, since)) in queues.into_iter().enumerate() {
            debtors.insert(index as u64, Standing::new(bytes, Tick(since)), index);
        }
        debtors.take_worst(Tick(100)).unwrap()
    }

    #[test]
    fn r6_3_size_and_time_both_count() {
        assert_eq!(payer([(100 * KIB, 50), (2000 * KIB, 50)]), 1, "the larger of one age");
        assert_eq!(payer([(500 * KIB, 99), (500 * KIB, 80)]), 1, "the older of one size");
        assert_eq!(payer([(470 * KIB, 100), (65 * KIB, 80), (65 * KIB, 81)]), 1, "a newcomer does not for its size");
        assert_eq!(payer([(470 * KIB, 100), (470 * KIB, 100)]), 0, "nor for being the last");
        assert_eq!(payer([(70 * KIB, 40), (2000 * KIB, 95)]), 1, "a short stall with little is nothing");
        assert_eq!(payer([(usize::MAX, 100), (0, 0)]), 0);
    }

    proptest! {
        #[test]
        fn r6_3_the_worst_pays_to_a_factor_of_two(queues in prop::collection::vec((65_536..4_000_000_usize, 0..100_u32), 1..50)) {
            let mut debtors = Debtors::default();
            for (index, (bytes, since)) in queues.iter().enumerate() {
                debtors.insert(index as u64, Standing::new(*bytes, Tick(*since)), index);
            }
            let product = |index: usize| queues[index].0 as u64 * u64::from(101 - queues[index].1);
            let mut left: Vec<_> = (0..queues.len()).collect();
            while let Some(index) = debtors.take_worst(Tick(100)) {
                let most = left.iter().map(|index| product(*index)).max().unwrap();
                prop_assert!(product(index) * 2 >= most);
                left.retain(|other| *other != index);
            }
            prop_assert!(left.is_empty());
        }
    }
}
