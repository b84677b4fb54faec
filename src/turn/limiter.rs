//! How often addresses that have proven nothing get an answer.
//!
//! A UDP source can be forged, so every answer to a stranger may hit a victim. Each source (an IPv4 address, an IPv6 /64)
//! gets a token bucket; without a token the request is dropped, not answered. The buckets live in a table of fixed size,
//! found by a keyed hash: strangers create no state, and sources that share a bucket share its tokens, which an attacker
//! cannot arrange for a chosen victim.

use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    time::Instant,
};

/// Answers per second that one source gets from one worker in the long run.
pub const ANSWERS_PER_SECOND: u32 = 1000;

/// Answers that one source gets at once from one worker: a class behind one address starting its calls.
pub const BURST: u32 = 3000;

const BUCKETS: usize = 8192;

/// Tokens in thousandths, so that short intervals are not rounded away.
const MILLI: u64 = 1000;

/// The buckets of one worker. Sans-IO: time comes in.
#[derive(Debug)]
pub struct AnswerLimiter {
    hasher: RandomState,
    started: Instant,
    buckets: Box<[Bucket]>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    milli_tokens: u32,
    /// Milliseconds since `started`.
    refilled: u32,
}

impl AnswerLimiter {
    /// Full buckets. `hasher` holds the random key.
    pub fn new(hasher: RandomState, now: Instant) -> Self {
        let full = Bucket { milli_tokens: BURST * MILLI as u32, refilled: 0 };
        Self { hasher, started: now, buckets: vec![full; BUCKETS].into() }
    }

    /// For inputs that answer nobody: without buckets, nobody is admitted.
    pub fn none(now: Instant) -> Self {
        Self { hasher: RandomState::new(), started: now, buckets: Box::default() }
    }

    /// Takes a token of `source`; `false` if it has none.
    pub fn admits(&mut self, source: IpAddr, now: Instant) -> bool {
        let key = match source.to_canonical() {
            IpAddr::V4(ip) => u128::from(u32::from(ip)),
            IpAddr::V6(ip) => u128::from(ip) >> 64 << 64,
        };
        let index = self.hasher.hash_one(key) as usize % BUCKETS;
        // Wraps after 49 days, which at worst refills a bucket too late by one call.
        let elapsed = now.saturating_duration_since(self.started).as_millis() as u32;
        let Some(bucket) = self.buckets.get_mut(index) else {
            return false;
        };
        let gained = u64::from(elapsed.wrapping_sub(bucket.refilled)) * u64::from(ANSWERS_PER_SECOND);
        let tokens = (u64::from(bucket.milli_tokens) + gained).min(u64::from(BURST) * MILLI);
        bucket.refilled = elapsed;
        let admitted = tokens >= MILLI;
        bucket.milli_tokens = (tokens - if admitted { MILLI } else { 0 }) as u32;
        admitted
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_source_gets_its_burst_and_then_its_rate() {
        let start = Instant::now();
        let mut limiter = AnswerLimiter::new(RandomState::new(), start);
        let source = IpAddr::from([192, 0, 2, 1]);
        let admitted = |limiter: &mut AnswerLimiter, now| (0..10_000).filter(|_| limiter.admits(source, now)).count();
        assert_eq!(admitted(&mut limiter, start), BURST as usize);
        assert_eq!(admitted(&mut limiter, start + Duration::from_secs(1)), ANSWERS_PER_SECOND as usize);
        assert_eq!(admitted(&mut limiter, start + Duration::from_secs(3600)), BURST as usize);
    }

    #[test]
    fn one_ipv6_network_is_one_source() {
        let start = Instant::now();
        let mut limiter = AnswerLimiter::new(RandomState::new(), start);
        let address = |n: u128| IpAddr::V6((0x2001_0db8_u128 << 96 | n).into());
        assert_eq!((0..10_000).filter(|n| limiter.admits(address(*n), start)).count(), BURST as usize);
    }
}
