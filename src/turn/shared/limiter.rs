//! How often an unproven address gets an answer.
//!
//! A UDP source can be forged, so every answer to a stranger may hit a victim. Each source (an IPv4 address, an IPv6
//! /64) has a token bucket, which all workers share; without a token the request is dropped, not answered. The buckets
//! live in a table of fixed size, found by a keyed hash, so strangers create no state. Sources that share a bucket
//! share its tokens; because the hash is keyed, an attacker cannot choose to share the bucket of a victim.

use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    num::NonZeroU64,
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use crate::values::token_bucket::{Flow, Nanos, TokenBucket};

/// Answers per second that one source gets in the long run.
pub const ANSWERS_PER_SECOND: u32 = 500;

/// Answers that one source gets at once: enough for a school class behind one address that starts its calls.
pub const BURST: u32 = 5000;

const BUCKETS: usize = 8192;

const FLOW: Flow = Flow::new(NonZeroU64::new(ANSWERS_PER_SECOND as u64).expect("some"), BURST as u64);

/// The buckets of the process. Sans-IO: time comes in.
#[derive(Debug)]
pub struct AnswerLimiter {
    hasher: RandomState,
    started: Instant,
    /// Each is a [`TokenBucket`] in time since `started`. It is one number, so no lock is needed.
    buckets: Box<[AtomicU64]>,
}

impl AnswerLimiter {
    /// A limiter with full buckets. `hasher` holds the random key.
    pub fn new(hasher: RandomState, now: Instant) -> Self {
        Self {
            hasher,
            started: now,
            buckets: (0..BUCKETS).map(|_| AtomicU64::new(TokenBucket::default().to_bits())).collect(),
        }
    }

    /// Takes a token of `source`; `false` if it has none.
    pub fn admits(&self, source: IpAddr, now: Instant) -> bool {
        let key = match source.to_canonical() {
            IpAddr::V4(ip) => u128::from(u32::from(ip)),
            IpAddr::V6(ip) => u128::from(ip) >> 64 << 64,
        };
        let bucket = &self.buckets[self.hasher.hash_one(key) as usize % BUCKETS];
        let now = Nanos::between(self.started, now);
        let take = |bits| TokenBucket::from_bits(bits).without(1, &FLOW, now).map(TokenBucket::to_bits);
        bucket.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn admitted(limiter: &AnswerLimiter, now: Instant) -> u32 {
        (0..10_000).map(|_| u32::from(limiter.admits(SOURCE, now))).sum()
    }

    #[test]
    fn a_source_gets_its_burst_and_then_its_rate() {
        let start = Instant::now();
        let limiter = AnswerLimiter::new(RandomState::new(), start);
        assert_eq!(admitted(&limiter, start), BURST);
        assert_eq!(admitted(&limiter, start + Duration::from_secs(1)), ANSWERS_PER_SECOND);
        assert_eq!(admitted(&limiter, start + Duration::from_millis(1002)), 1);
        assert_eq!(admitted(&limiter, start + Duration::from_secs(3600)), BURST);
    }

    #[test]
    fn all_workers_together_give_no_more() {
        let start = Instant::now();
        let limiter = AnswerLimiter::new(RandomState::new(), start);
        let given: u32 = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..4).map(|_| scope.spawn(|| admitted(&limiter, start))).collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        });
        assert_eq!(given, BURST);
        // A time in the past gives no tokens either.
        assert_eq!(admitted(&limiter, start + Duration::from_secs(1)), ANSWERS_PER_SECOND);
        assert_eq!(admitted(&limiter, start), 0);
    }

    #[test]
    fn one_ipv6_network_is_one_source() {
        let start = Instant::now();
        let limiter = AnswerLimiter::new(RandomState::new(), start);
        let address = |n: u128| IpAddr::V6((0x2001_0db8_u128 << 96 | n).into());
        assert_eq!((0..10_000).filter(|n| limiter.admits(address(*n), start)).count(), BURST as usize);
    }
}
