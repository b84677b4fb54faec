//! Notices steps of the wall clock, and takes them into account for everything that is dated by it.
//!
//! The wall clock steps when a computer without a hardware clock learns the time some while after its start, when an
//! administrator sets it, or when a virtual machine wakes up. Timers by the monotonic clock (renewal) do not notice
//! this, and things that are dated by the wall clock (credentials, resume tokens) are suddenly old, or dated in the
//! future.
//!
//! The module is pure: the caller passes what the clocks show. They are compared now and then, which works in every
//! kernel, container and test, and also after a machine was asleep. A delay of a few seconds does no harm, because
//! credentials live for hours.

use std::{
    collections::VecDeque,
    time::{Duration, Instant, SystemTime},
};

/// Smaller differences are no steps: a clock that is being adjusted drifts by less than this between two renewals.
const MIN_STEP: Duration = Duration::from_secs(5);

/// Compares the two clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StepWatch {
    at: Instant,
    shown: SystemTime,
}

impl StepWatch {
    /// Takes what both clocks show at the start.
    pub(crate) fn new(at: Instant, shown: SystemTime) -> Self {
        Self { at, shown }
    }

    /// The step that the wall clock has made since the last look, if any.
    pub(crate) fn look(&mut self, now: Instant, shown: SystemTime) -> Option<Step> {
        let expected = self.shown.checked_add(now.saturating_duration_since(self.at))?;
        let size = shown.duration_since(expected).unwrap_or_else(|ahead| ahead.duration());
        if size < MIN_STEP {
            return None;
        }
        *self = Self::new(now, shown);
        Some(Step { before: unix(expected), after: unix(shown) })
    }
}

/// Unix seconds; 0 for times before 1970.
pub(crate) fn unix(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// What the wall clock would have shown, and what it showed instead, in Unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// What it would show without the step.
    pub(crate) before: u64,
    /// What it shows.
    pub(crate) after: u64,
}

impl Step {
    /// The same moment by the clock after the step.
    pub(crate) fn carried_over(self, time: u64) -> u64 {
        if self.after >= self.before {
            time.saturating_add(self.after - self.before)
        } else {
            time.saturating_sub(self.before - self.after)
        }
    }

    /// The same moment by the clock before the step.
    fn undone(self, time: u64) -> u64 {
        Self { before: self.after, after: self.before }.carried_over(time)
    }
}

/// More steps are not remembered: a clock that steps more often is of no use.
const MAX_STEPS: usize = 16;

/// The latest steps.
#[derive(Clone, Debug, Default)]
pub(crate) struct Steps(VecDeque<Step>);

impl Steps {
    pub(crate) fn push(&mut self, step: Step) {
        if self.0.len() == MAX_STEPS {
            self.0.pop_front();
        }
        self.0.push_back(step);
    }

    /// Whether something dated `issued_at`, by the clock as it was then, is younger than `ttl` at `now`.
    pub(crate) fn is_younger(&self, issued_at: u64, ttl: u64, now: u64) -> bool {
        // The simple case: the date comes from before the start of this process, or from the clock as it is now. A date
        // in the future came from a clock that was ahead: the clock of this process before a step (then the steps below
        // tell the age), or the clock of another process.
        let is_ahead = issued_at > now && self.0.iter().any(|step| issued_at <= step.before);
        if now < issued_at.saturating_add(ttl) && !is_ahead {
            return true;
        }
        let mut now_then = now;
        self.0.iter().rev().any(|step| {
            now_then = step.undone(now_then);
            issued_at <= step.before && now_then.checked_sub(issued_at).is_some_and(|age| age < ttl)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_000_000;
    const TTL: u64 = 600;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn steps_are_told_from_drift_and_from_delay() {
        let begin = Instant::now();
        let mut watch = StepWatch::new(begin, at(START));
        let after = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(watch.look(after(100), at(START + 100)), None);
        assert_eq!(watch.look(after(200), at(START + 203)), None, "adjusted");
        let forward = Step { before: START + 300, after: START + 90_000 };
        assert_eq!(watch.look(after(300), at(START + 90_000)), Some(forward));
        assert_eq!(watch.look(after(301), at(START + 90_001)), None, "told once");
        let backward = Step { before: START + 90_100, after: START + 400 };
        assert_eq!(watch.look(after(400), at(START + 400)), Some(backward));
        assert_eq!(watch.look(after(86_800), at(START + 86_800)), None, "looked at late");
        assert!(watch.look(after(86_801), SystemTime::UNIX_EPOCH - Duration::from_secs(5)).is_some());
    }

    #[test]
    fn what_was_dated_before_a_step_grows_old_as_if_there_was_none() {
        for after in [0, 500_000, START - 300, START + 300, START + 90_000, 2_000_000_000] {
            let mut steps = Steps::default();
            let step = Step { before: START, after };
            steps.push(step);
            for age in [0, 1, 100, TTL - 1, TTL, TTL + 1, 100_000] {
                // Issued `age` seconds ago. The step was just now, or in the middle of that time.
                for since in [0, age / 2] {
                    let given_at = START - (age - since);
                    let young = steps.is_younger(given_at, TTL, after + since);
                    let by_either = given_at <= after + since && after + since < given_at + TTL;
                    assert_eq!(young, age < TTL || by_either, "{after} {age} {since}");
                }
            }
            assert!(steps.is_younger(after, TTL, after + TTL - 1));
            assert!(!steps.is_younger(after, TTL, after + TTL));
        }
    }

    #[test]
    fn steps_there_and_back_leave_things_as_they_were() {
        let mut steps = Steps::default();
        steps.push(Step { before: START, after: START + 30_000 });
        steps.push(Step { before: START + 30_010, after: START + 10 });
        assert!(steps.is_younger(START - 5, TTL, START + 20));
        assert!(steps.is_younger(START + 30_005, TTL, START + 20), "given in between");
        assert!(!steps.is_younger(START + 30_005, TTL, START + 5 + TTL), "and no longer than others");
        for index in 0..100 {
            steps.push(Step { before: START + index, after: START + index });
        }
        assert_eq!(steps.0.len(), MAX_STEPS);
    }
}
