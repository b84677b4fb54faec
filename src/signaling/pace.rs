//! How much one connection may send and cause: a token bucket for all its messages and for everything that the server
//! sends because of them, and a count of bad messages.
//!
//! The module reads no clock: the caller passes the time.

use std::{
    collections::VecDeque,
    num::NonZeroU64,
    time::{Duration, Instant},
};

use crate::{
    signaling::sent::Sent,
    values::token_bucket::{Flow, Nanos, TokenBucket},
};

/// How many messages may come at once. A newcomer to a room of 30 makes 29 offers, each with some 20 candidates, at
/// once, and then renegotiates.
const BURST: u64 = 2000;
/// How many messages per second may come in the long run.
const PER_SECOND: u64 = 200;
/// The bucket counts in bytes. A message costs this many, and the same again for each full unit of this size.
const BYTES_PER_MESSAGE: usize = 4096;
/// Frames to others cost less, because a room exists so that many hear one: the price of a message for each full unit
/// of this size.
const BYTES_TO_OTHERS_PER_MESSAGE: usize = 64 * 1024;
/// The largest debt: whatever a message caused, the connection is heard again after some seconds.
const MAX_DEBT: u64 = bytes_of(BURST / 2);

/// Rate and burst, in bytes.
const FLOW: Flow = Flow::new(NonZeroU64::new(bytes_of(PER_SECOND)).expect("some"), bytes_of(BURST));

const fn bytes_of(messages: u64) -> u64 {
    messages * BYTES_PER_MESSAGE as u64
}

/// This many bad messages ...
const MAX_BAD: usize = 20;
/// ... within this time end the connection.
const BAD_WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Pace {
    since: Instant,
    bucket: TokenBucket,
    /// When the latest message came.
    latest: Nanos,
    /// When the latest bad messages came; empty for all good clients. This is no token bucket, because the messages are
    /// so few that the time of each can be kept.
    bad: VecDeque<Instant>,
}

impl Pace {
    pub(crate) fn new(now: Instant) -> Self {
        Self { since: now, bucket: TokenBucket::default(), latest: Nanos::default(), bad: VecDeque::new() }
    }

    /// Whether a message of `len` bytes is allowed.
    pub(crate) fn admit(&mut self, len: usize, now: Instant) -> bool {
        self.latest = Nanos::between(self.since, now);
        // If --max-message-bytes allows more than a burst, such a message must still pass now and then.
        let cost = (1 + (len / BYTES_PER_MESSAGE) as u64).min(BURST);
        self.bucket.take(bytes_of(cost), &FLOW, self.latest)
    }

    /// Charges what a message of `len` bytes has caused. That is only known afterwards, so the bucket may go into debt.
    pub(crate) fn charge(&mut self, len: usize, sent: Sent) {
        let answer = sent.answered.saturating_sub(len) as u64;
        let others = bytes_of((sent.to_others / BYTES_TO_OTHERS_PER_MESSAGE) as u64);
        self.bucket.charge(answer.saturating_add(others), MAX_DEBT, &FLOW, self.latest);
    }

    /// Notes a bad message. Returns `false` if it was one too many.
    pub(crate) fn forgive(&mut self, now: Instant) -> bool {
        while self.bad.front().is_some_and(|first| now.saturating_duration_since(*first) > BAD_WITHIN) {
            self.bad.pop_front();
        }
        self.bad.push_back(now);
        self.bad.len() < MAX_BAD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newcomers_burst_passes_and_a_flood_does_not() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let offers_and_candidates = 29 * 21;
        assert!((0..3 * offers_and_candidates).all(|_| pace.admit(2000, start)));
        assert!(!(0..2000).all(|_| pace.admit(10, start)));
        let later = start + Duration::from_secs(1);
        assert_eq!((0..1000).filter(|_| pace.admit(10, later)).count(), PER_SECOND as usize);
    }

    #[test]
    fn bytes_count_too() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        assert_eq!((0..1000).filter(|_| pace.admit(65_536, start)).count(), 2000 / 17);
    }

    #[test]
    fn r6_1_what_an_answer_is_more_than_its_question_counts() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let mut join = |now| {
            let admitted = pace.admit(60, now);
            if admitted {
                pace.charge(60, Sent { answered: 470_000, ..Sent::default() });
            }
            admitted
        };
        assert_eq!((0..100).filter(|_| join(start)).count(), 18);
        let later = start + Duration::from_secs(10);
        assert_eq!((0..100).filter(|_| join(later)).count(), 17, "8 MB in ten seconds");

        let mut pace = Pace::new(start);
        let echo = Sent { answered: 4000, ..Sent::default() };
        let passed = (0..2000).filter(|_| {
            pace.charge(4000, echo);
            pace.admit(4000, start)
        });
        assert_eq!(passed.count(), 2000, "an echo is no more than what came");
    }

    #[test]
    fn r6_1_what_goes_to_many_counts_when_it_is_much() {
        let start = Instant::now();
        let count = |len: usize, others: usize| {
            let mut pace = Pace::new(start);
            let sent = Sent { to_others: len * others, ..Sent::default() };
            (0..3000)
                .filter(|_| {
                    pace.admit(len, start) && {
                        pace.charge(len, sent);
                        true
                    }
                })
                .count()
        };
        assert_eq!(count(1000, 31), 2000, "as many as ever");
        assert_eq!(count(16_384, 31), 2000 / (5 + 7) + 1);
        assert_eq!(count(65_536, 1), 2000 / (17 + 1));
    }

    #[test]
    fn r6_1_a_debt_is_paid_within_seconds() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        pace.charge(60, Sent { answered: 1 << 30, to_others: 1 << 30 });
        assert!(!pace.admit(1, start + Duration::from_secs(4)));
        assert!(pace.admit(1, start + Duration::from_secs(6)));
    }

    #[test]
    fn no_message_is_too_large_for_ever() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        assert!(pace.admit(16 << 20, start));
        assert!(!pace.admit(1, start));
        assert!(pace.admit(16 << 20, start + Duration::from_secs(10)));
    }

    #[test]
    fn tokens_do_not_pile_up() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let next_day = start + Duration::from_secs(86_400);
        assert_eq!((0..5000).filter(|_| pace.admit(1, next_day)).count(), BURST as usize);
    }

    #[test]
    fn the_twentieth_bad_message_within_ten_seconds_is_one_too_many() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        assert!((0..19).all(|i| pace.forgive(start + Duration::from_millis(i * 500))));
        assert!(!pace.forgive(start + Duration::from_secs(10)));

        let mut pace = Pace::new(start);
        assert!((0..100).all(|i| pace.forgive(start + Duration::from_millis(i * 600))));
    }
}
