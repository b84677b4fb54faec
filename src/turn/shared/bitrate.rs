//! How much one allocation may relay: a token bucket for each direction.

use std::{
    num::NonZeroU64,
    time::{Duration, Instant},
};

use crate::values::token_bucket::{Flow, Nanos, TokenBucket};

/// The amount that may come at once is what the rate allows in this time: enough for a key frame of a video, or for a
/// burst of a file.
const BURST: Duration = Duration::from_millis(500);

/// The smallest burst, in bytes: one datagram of full size passes at any rate.
const LEAST_BURST: u64 = 65_536;

/// Bits per second of payload, in each direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bitrate(pub NonZeroU64);

/// Which way data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to its peers.
    FromClient,
    /// From peers to the client.
    ToClient,
}

/// What an allocation has left of its rate. Sans-IO: time comes in.
#[derive(Debug)]
pub struct Meter {
    /// Rate and burst, in bits.
    flow: Flow,
    since: Instant,
    from_client: TokenBucket,
    to_client: TokenBucket,
}

impl Meter {
    /// A meter with full buckets.
    pub fn new(rate: Bitrate, now: Instant) -> Self {
        let full = TokenBucket::default();
        Self { flow: Flow::new(rate.0, rate.burst()), since: now, from_client: full, to_client: full }
    }

    /// Takes `bytes` of payload. Returns `false`, and takes nothing, if that is too much.
    pub fn admits(&mut self, direction: Direction, bytes: usize, now: Instant) -> bool {
        let bucket = match direction {
            Direction::FromClient => &mut self.from_client,
            Direction::ToClient => &mut self.to_client,
        };
        bucket.take(8 * bytes as u64, &self.flow, Nanos::between(self.since, now))
    }
}

impl Bitrate {
    fn burst(self) -> u64 {
        let burst = u128::from(self.0.get()) * BURST.as_millis() / 1000;
        u64::try_from(burst).unwrap_or(u64::MAX).max(8 * LEAST_BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many bytes pass within a second if some are offered every 10 ms.
    fn in_a_second(meter: &mut Meter, direction: Direction, start: Instant) -> usize {
        let mut passed = 0;
        for step in 1..=100 {
            let now = start + Duration::from_millis(10 * step);
            passed += (0..1000).take_while(|_| meter.admits(direction, 1000, now)).count() * 1000;
        }
        passed
    }

    #[test]
    fn the_rate_holds_in_the_long_run_each_way() {
        let rate = Bitrate(NonZeroU64::new(8_000_000).unwrap());
        let mut start = Instant::now();
        let mut meter = Meter::new(rate, start);
        let first = in_a_second(&mut meter, Direction::FromClient, start);
        assert!((1_400_000..=1_510_000).contains(&first), "burst and rate: {first}");
        for _ in 0..3 {
            start += Duration::from_secs(1);
            let passed = in_a_second(&mut meter, Direction::FromClient, start);
            assert!((990_000..=1_010_000).contains(&passed), "{passed}");
        }
        assert!(meter.admits(Direction::ToClient, 500_000, start), "the other way has its own");
    }

    #[test]
    fn a_small_rate_lets_whole_datagrams_through() {
        let start = Instant::now();
        let mut meter = Meter::new(Bitrate(NonZeroU64::MIN), start);
        assert!(meter.admits(Direction::FromClient, 65_507, start));
        assert!(!meter.admits(Direction::FromClient, 65_507, start));
    }
}
