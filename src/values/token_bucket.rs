//! A token bucket: limits how much may come at once, and how much in the long run.
//!
//! A bucket is one number, the time at which it will be full again. So a table of buckets is small, and threads can
//! share a bucket as an atomic. It counts in whole tokens outside and whole nanoseconds inside, and has no clock: the
//! caller passes the time since a moment that it has chosen for all its buckets. A time that is earlier than one passed
//! before gives no tokens back.
//!
//! [`Flow`] says how fast buckets of one kind fill, and how much they hold. [`TokenBucket::take`] is for things that
//! can be refused; [`TokenBucket::charge`] is for things that have already happened, and may leave a debt.

use std::{
    num::NonZeroU64,
    time::{Duration, Instant},
};

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// How fast a bucket fills, and how much it holds. At more than one token per nanosecond, fractions are rounded in
/// favour of the one who takes.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    per_second: NonZeroU64,
    /// The nanoseconds in which an empty bucket becomes full.
    whole: u64,
}

/// A time, in nanoseconds since a moment that the owner has chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nanos(u64);

/// See the module's header. The default is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenBucket {
    full_at: u64,
}

impl Flow {
    /// `burst` tokens at once, and `per_second` in the long run.
    pub const fn new(per_second: NonZeroU64, burst: u64) -> Self {
        let whole = burst as u128 * NANOS_PER_SECOND as u128 / per_second.get() as u128;
        Self { per_second, whole: if whole > u64::MAX as u128 { u64::MAX } else { whole as u64 } }
    }

    /// The nanoseconds in which this many tokens come. The product saturates.
    #[inline]
    const fn time_of(&self, tokens: u64) -> u64 {
        tokens.saturating_mul(NANOS_PER_SECOND) / self.per_second.get()
    }
}

impl Nanos {
    /// The time from `since` to `now`; zero if `now` is earlier.
    #[inline]
    pub fn between(since: Instant, now: Instant) -> Self {
        // It overflows after centuries.
        Self(now.saturating_duration_since(since).as_nanos() as u64)
    }
}

impl TokenBucket {
    /// The bucket that was stored as this number.
    #[inline]
    pub const fn from_bits(bits: u64) -> Self {
        Self { full_at: bits }
    }

    /// The bucket as a number; 0 is full.
    #[inline]
    pub const fn to_bits(self) -> u64 {
        self.full_at
    }

    /// Takes this many tokens. Returns `false`, and takes nothing, if there are not enough.
    #[inline]
    #[must_use]
    pub fn take(&mut self, tokens: u64, flow: &Flow, now: Nanos) -> bool {
        match self.without(tokens, flow, now) {
            Some(rest) => {
                *self = rest;
                true
            }
            None => false,
        }
    }

    /// The bucket after taking this many tokens, if it has them.
    #[inline]
    #[must_use]
    pub fn without(self, tokens: u64, flow: &Flow, now: Nanos) -> Option<Self> {
        let full_at = self.full_at.max(now.0).saturating_add(flow.time_of(tokens));
        (full_at <= now.0.saturating_add(flow.whole)).then_some(Self { full_at })
    }

    /// Takes this many tokens, whether or not it has them. The debt is at most `max_debt`.
    #[inline]
    pub fn charge(&mut self, tokens: u64, max_debt: u64, flow: &Flow, now: Nanos) {
        let most = now.0.saturating_add(flow.whole).saturating_add(flow.time_of(max_debt));
        self.full_at = self.full_at.max(now.0).saturating_add(flow.time_of(tokens)).min(most);
    }

    /// Puts this many tokens in, as far as there is room.
    #[inline]
    pub fn give_back(&mut self, tokens: u64, flow: &Flow) {
        self.full_at = self.full_at.saturating_sub(flow.time_of(tokens));
    }

    /// How long until it is out of debt; `None` if it has no debt.
    #[inline]
    pub fn debt(self, flow: &Flow, now: Nanos) -> Option<Duration> {
        let time = self.full_at.saturating_sub(now.0).saturating_sub(flow.whole);
        (time > 0).then(|| Duration::from_nanos(time))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn flow(per_second: u64, burst: u64) -> Flow {
        Flow::new(NonZeroU64::new(per_second).unwrap(), burst)
    }

    fn at(millis: u64) -> Nanos {
        Nanos(millis * 1_000_000)
    }

    fn taken(bucket: &mut TokenBucket, flow: &Flow, now: Nanos) -> usize {
        (0..10_000).take_while(|_| bucket.take(1, flow, now)).count()
    }

    #[test]
    fn what_comes_at_once_and_what_comes_for_ever() {
        let flow = flow(100, 1000);
        let mut bucket = TokenBucket::default();
        assert_eq!(taken(&mut bucket, &flow, at(0)), 1000);
        assert_eq!(taken(&mut bucket, &flow, at(500)), 50);
        assert_eq!(taken(&mut bucket, &flow, at(250)), 0, "the past gives nothing");
        assert_eq!(taken(&mut bucket, &flow, at(86_400_000)), 1000, "no more than it holds");
        assert!(!bucket.take(1001, &flow, at(200_000_000)), "nor ever");
        assert!(bucket.take(1000, &flow, at(200_000_000)));
    }

    #[test]
    fn a_debt_is_paid_by_time_or_by_what_is_given_back() {
        let flow = flow(100, 1000);
        let mut bucket = TokenBucket::default();
        bucket.charge(1500, u64::MAX, &flow, at(0));
        assert_eq!(bucket.debt(&flow, at(0)), Some(Duration::from_secs(5)));
        assert_eq!(bucket.debt(&flow, at(5_000)), None);
        assert!(!bucket.take(1, &flow, at(5_000)) && bucket.take(1, &flow, at(5_010)));
        bucket.charge(1_000_000, 300, &flow, at(5_010));
        assert_eq!(bucket.debt(&flow, at(5_010)), Some(Duration::from_secs(3)));
        bucket.give_back(310, &flow);
        assert_eq!(taken(&mut bucket, &flow, at(5_010)), 10);
        bucket.give_back(1 << 60, &flow);
        assert_eq!(taken(&mut bucket, &flow, at(5_010)), 1000);
    }

    #[test]
    fn numbers_without_measure_end_in_no_overflow() {
        for flow in [flow(u64::MAX, u64::MAX), flow(1, u64::MAX), flow(u64::MAX, 0), flow(1, 0)] {
            let mut bucket = TokenBucket::from_bits(u64::MAX);
            let _ = bucket.take(u64::MAX, &flow, Nanos(u64::MAX));
            bucket.charge(u64::MAX, u64::MAX, &flow, Nanos(u64::MAX));
            bucket.give_back(u64::MAX, &flow);
            let _ = bucket.debt(&flow, Nanos(0));
        }
    }

    proptest! {
        /// Compares with the usual model: a number of tokens that grows with time up to the burst.
        #[test]
        fn it_gives_what_counting_tokens_gives(
            per_second in 1..1_000_000_u64,
            burst in 1..1_000_000_u64,
            steps in prop::collection::vec((0..2_000_000_000_u64, 1..100_000_u64), 1..100),
        ) {
            let flow = flow(per_second, burst);
            let (mut bucket, mut tokens, mut now) = (TokenBucket::default(), burst as f64, 0);
            for (passed, wanted) in steps {
                now += passed;
                tokens = (tokens + passed as f64 * per_second as f64 / 1e9).min(burst as f64);
                let admitted = bucket.take(wanted, &flow, Nanos(now));
                // If the difference is only nanoseconds, either answer is right.
                if (tokens - wanted as f64).abs() > 1e-6 * per_second as f64 {
                    prop_assert_eq!(admitted, tokens >= wanted as f64, "{} of {}", wanted, tokens);
                }
                if admitted {
                    tokens -= wanted as f64;
                }
            }
        }
    }
}
