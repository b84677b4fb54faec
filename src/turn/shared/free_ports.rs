//! The free ports of one address family, chosen at random.
//!
//! Every free port is equally likely to be the next, however many are taken, so nobody can predict it (RFC 8656 section
//! 7.2, RFC 6056). Finding it takes the same few steps whether one port is free or all are, because the free ports are
//! counted by groups.

use std::collections::VecDeque;

use rand::Rng;

use crate::values::ports::RelayPorts;

/// The number of ports that have a bit in one word.
const PER_WORD: usize = u64::BITS as usize;

/// The number of words for all ports. An even port and the next one are in the same word.
const WORDS: usize = (1 << 16) / PER_WORD;

/// The number of words in a group, and the number of groups. Both are small, because a search goes through them.
const PER_GROUP: usize = 32;
const GROUPS: usize = WORDS / PER_GROUP;

/// The bits of even ports.
const EVEN: u64 = u64::MAX / 3;

/// What a free port must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortKind {
    /// Any port.
    Any,
    /// An even port.
    Even,
    /// An even port whose next port is free too; both are taken.
    EvenAndNext,
}

impl PortKind {
    const ALL: [Self; 3] = [Self::Any, Self::Even, Self::EvenAndNext];

    /// The free ports in a word that are of this kind.
    fn among(self, free: u64) -> u64 {
        match self {
            Self::Any => free,
            Self::Even => free & EVEN,
            Self::EvenAndNext => free & free >> 1 & EVEN,
        }
    }
}

/// See the module's header. Nothing is free until it is offered.
#[derive(Debug)]
pub struct FreePorts {
    offered: Option<(u16, u16)>,
    /// A bit for each port.
    words: Box<[u64]>,
    /// How many ports of each kind are free in each group of words.
    counts: [[u16; GROUPS]; PortKind::ALL.len()],
    /// The ports that another program used when they were tried, the oldest first.
    elsewhere: VecDeque<u16>,
}

impl FreePorts {
    /// Offers these ports, all of which are free.
    pub fn offer(&mut self, ports: RelayPorts) {
        let (first, last) = ports.bounds();
        *self = Self { offered: Some((first, last)), ..Self::default() };
        (first..=last).for_each(|port| self.give_back(port));
    }

    /// Takes a free port of this kind at random.
    pub fn take(&mut self, kind: PortKind, rng: &mut impl Rng) -> Option<u16> {
        let in_group = |group: usize| u32::from(self.counts[kind as usize][group]);
        let free = (0..GROUPS).map(in_group).sum::<u32>();
        if free == 0 {
            return None;
        }
        let (group, nth) = nth_of(rng.random_range(0..free), 0..GROUPS, in_group)?;
        let words = group * PER_GROUP..(group + 1) * PER_GROUP;
        let (word, nth) = nth_of(nth, words, |word| kind.among(self.words[word]).count_ones())?;
        let candidates = (0..nth).fold(kind.among(self.words[word]), |left, _| left & (left - 1));
        let bit = candidates.trailing_zeros() as usize;
        let taken = if kind == PortKind::EvenAndNext { 0b11 } else { 0b1 };
        self.set_word(word, self.words[word] & !(taken << bit));
        u16::try_from(word * PER_WORD + bit).ok()
    }

    /// Gives a port back. A port that was not offered does not become free.
    pub fn give_back(&mut self, port: u16) {
        if self.offered.is_some_and(|(first, last)| (first..=last).contains(&port)) {
            let (word, bit) = (usize::from(port) / PER_WORD, usize::from(port) % PER_WORD);
            self.set_word(word, self.words[word] | 1 << bit);
        }
    }

    /// Marks a port that was taken as used by another program.
    pub fn leave_to_others(&mut self, port: u16) {
        self.elsewhere.push_back(port);
    }

    /// Makes the port free that was marked as used by another program longest ago. `false` if there is none.
    pub fn try_again(&mut self) -> bool {
        let port = self.elsewhere.pop_front();
        port.into_iter().for_each(|port| self.give_back(port));
        port.is_some()
    }

    fn set_word(&mut self, word: usize, free: u64) {
        for kind in PortKind::ALL {
            let count = &mut self.counts[kind as usize][word / PER_GROUP];
            *count -= kind.among(self.words[word]).count_ones() as u16;
            *count += kind.among(free).count_ones() as u16;
        }
        self.words[word] = free;
    }
}

impl Default for FreePorts {
    fn default() -> Self {
        Self {
            offered: None,
            words: vec![0; WORDS].into(),
            counts: [[0; GROUPS]; PortKind::ALL.len()],
            elsewhere: VecDeque::new(),
        }
    }
}

/// Finds the place that holds the `nth` item of all, and the item's number within that place. `count` tells how many
/// items each of `places` holds.
fn nth_of(mut nth: u32, mut places: impl Iterator<Item = usize>, count: impl Fn(usize) -> u32) -> Option<(usize, u32)> {
    places.find_map(|place| match nth.checked_sub(count(place)) {
        Some(behind) => {
            nth = behind;
            None
        }
        None => Some((place, nth)),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    fn range(first: u16, last: u16) -> FreePorts {
        let mut ports = FreePorts::default();
        ports.offer(RelayPorts::Range { first, last });
        ports
    }

    fn all_of(ports: &mut FreePorts, kind: PortKind, rng: &mut StdRng) -> Vec<u16> {
        std::iter::from_fn(|| ports.take(kind, rng)).collect()
    }

    #[test]
    fn each_is_taken_once_and_in_no_order() {
        let rng = &mut StdRng::seed_from_u64(1);
        for (first, last) in [(0, u16::MAX), (49_152, u16::MAX), (50_001, 50_001), (1, 130), (50_063, 50_064)] {
            let mut ports = range(first, last);
            for _ in 0..2 {
                let mut taken = all_of(&mut ports, PortKind::Any, rng);
                assert!(taken.len() < 100 || !taken.is_sorted());
                taken.iter().for_each(|port| ports.give_back(*port));
                taken.sort_unstable();
                assert!(taken.into_iter().eq(first..=last), "{first} to {last}");
            }
        }
    }

    #[test]
    fn even_ones_and_pairs_are_all_found() {
        let rng = &mut StdRng::seed_from_u64(2);
        for (first, last, even, pairs) in [(1, 9, 4, 4), (2, 10, 5, 4), (7, 7, 0, 0), (8, 8, 1, 0), (60, 69, 5, 5)] {
            let mut ports = range(first, last);
            let taken = all_of(&mut ports, PortKind::Even, rng);
            assert!(taken.len() == even && taken.iter().all(|port| port.is_multiple_of(2)), "{taken:?}");
            taken.into_iter().for_each(|port| ports.give_back(port));
            let taken = all_of(&mut ports, PortKind::EvenAndNext, rng);
            assert!(taken.len() == pairs && taken.iter().all(|port| port.is_multiple_of(2)), "{taken:?}");
            let alone = usize::from(last - first) + 1 - 2 * pairs;
            assert_eq!(all_of(&mut ports, PortKind::Any, rng).len(), alone, "the next of each is taken too");
            ports.give_back(taken.first().copied().unwrap_or(0));
            assert_eq!(ports.take(PortKind::EvenAndNext, rng), None, "half a pair");
        }
    }

    #[test]
    fn those_that_are_left_are_equally_likely() {
        let rng = &mut StdRng::seed_from_u64(3);
        let mut ports = range(1000, 60_000);
        all_of(&mut ports, PortKind::Any, rng);
        // A single port, a few in a row, and one at each end.
        let left = [1000, 1064, 20_000, 20_001, 20_002, 20_003, 43_210, 60_000];
        left.iter().for_each(|port| ports.give_back(*port));
        let mut counts = BTreeMap::<u16, u32>::new();
        for _ in 0..8000 {
            let port = ports.take(PortKind::Any, rng).unwrap();
            *counts.entry(port).or_default() += 1;
            ports.give_back(port);
        }
        assert!(counts.keys().eq(&left) && counts.values().all(|count| (850..1150).contains(count)), "{counts:?}");
    }

    #[test]
    fn what_others_have_is_tried_again_the_oldest_first() {
        let rng = &mut StdRng::seed_from_u64(4);
        let mut ports = range(10, 12);
        let taken = all_of(&mut ports, PortKind::Any, rng);
        assert!(!ports.try_again());
        taken.iter().for_each(|port| ports.leave_to_others(*port));
        for port in taken {
            assert_eq!(ports.take(PortKind::Any, rng), None);
            assert!(ports.try_again());
            assert_eq!(ports.take(PortKind::Any, rng), Some(port));
        }
        assert!(!ports.try_again());
    }

    #[test]
    fn what_is_not_offered_is_not_free() {
        let rng = &mut StdRng::seed_from_u64(5);
        let mut ports = FreePorts::default();
        ports.give_back(7);
        assert_eq!(ports.take(PortKind::Any, rng), None);
        let mut ports = range(8, 8);
        (0..3).for_each(|_| ports.give_back(8));
        ports.give_back(9);
        assert_eq!(all_of(&mut ports, PortKind::Any, rng), [8]);
    }
}
