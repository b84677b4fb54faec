//! When a worker rests before it looks for more packets, so that several are there when it does.
//!
//! Under moderate load, packets come one by one, and waking up for each costs more than relaying it. A worker that
//! rests a moment after a turn finds several, and serves them with one wake-up, fewer calls, and longer runs. A rest
//! delays packets by at most its own length, so no delay exceeds the budget. A worker does not rest when nothing comes,
//! because it then waits in the kernel and the first packet wakes it, nor when fewer packets come than [`LEAST_RATE`].
//!
//! At higher rates, whether rests pay depends on the machine, the load and the clients: clients that wait for an answer
//! before they send more are only delayed. So [`Rests`] measures: it compares periods with and without rests by the
//! cost of a packet and by the number of packets, keeps the better way, and tries the other again from time to time.
//!
//! Sans-IO: the caller passes in the time and the processor time.

use std::time::{Duration, Instant};

/// How many packets a rest should bring. With more there is little left to gain, and the delay becomes noticeable.
const WANTED: f64 = 16.0;

/// If the budget is expected to bring fewer packets than this, a rest costs more than it saves.
const WORTH_IT: f64 = 3.0;

/// At fewer packets per second than this, nothing is delayed, whatever the budget.
const LEAST_RATE: f64 = 2_000.0;

/// The time over which the rate is averaged: longer than the pause between the runs of two video frames, shorter than
/// what a person notices.
const MEMORY: Duration = Duration::from_millis(20);

/// A rest shorter than this is not worth its timer.
const SHORTEST: Duration = Duration::from_micros(30);

/// How long one way is kept before it is evaluated.
const PERIOD: Duration = Duration::from_millis(40);

/// Fewer packets in a period than this say nothing about it.
const LEAST_PACKETS: usize = 60;

/// The other way is tried for one period out of this many.
const TRIAL: u32 = 16;

/// The weight of earlier periods in the average.
const KEPT: f64 = 0.6;

/// Decides how long one worker rests.
#[derive(Debug)]
pub(super) struct Rests {
    budget: Duration,
    /// Packets per second.
    rate: f64,
    /// When the last turn ended.
    since: Option<Instant>,
    period: Option<Period>,
    awake: Option<Experience>,
    resting: Option<Experience>,
    /// Whether the worker rests in this period.
    is_resting: bool,
    periods: u32,
}

/// A period that is not over yet.
#[derive(Debug)]
struct Period {
    start: Instant,
    /// The processor time of the thread at the start.
    cpu: Duration,
    packets: usize,
}

/// The average result of periods of one kind.
#[derive(Clone, Copy, Debug)]
struct Experience {
    /// Processor time per packet, in seconds.
    cost: f64,
    /// Packets per second.
    rate: f64,
}

impl Rests {
    /// Rests take at most `budget`; if it is zero, there are none.
    pub(super) fn new(budget: Duration) -> Self {
        Self { budget, rate: 0.0, since: None, period: None, awake: None, resting: None, is_resting: false, periods: 0 }
    }

    /// Must be called after a turn with this many packets; returns how long to rest, if at all. `cpu` returns the
    /// thread's processor time, and is called only once in a while.
    pub(super) fn after(&mut self, packets: usize, now: Instant, cpu: impl FnOnce() -> Duration) -> Option<Duration> {
        if self.budget.is_zero() {
            return None;
        }
        let since = self.since.replace(now)?;
        let passed = now.saturating_duration_since(since).as_secs_f64();
        if passed > 0.0 {
            let kept = (-passed / MEMORY.as_secs_f64()).exp();
            self.rate = kept * self.rate + (1.0 - kept) * packets as f64 / passed;
        }
        let expected = self.rate * self.budget.as_secs_f64();
        if self.rate < LEAST_RATE || expected < WORTH_IT {
            self.period = None;
            return None;
        }
        self.learn(packets, now, cpu);
        // A worker that has found nothing waits in the kernel for the next packet.
        if packets == 0 || !self.is_resting {
            return None;
        }
        let rest = self.budget.min(Duration::from_secs_f64(WANTED / self.rate));
        (rest >= SHORTEST).then_some(rest)
    }

    fn learn(&mut self, packets: usize, now: Instant, cpu: impl FnOnce() -> Duration) {
        let Some(period) = &mut self.period else {
            self.period = Some(Period { start: now, cpu: cpu(), packets: 0 });
            return;
        };
        period.packets += packets;
        let passed = now.saturating_duration_since(period.start);
        if passed < PERIOD {
            return;
        }
        let cpu = cpu();
        if period.packets >= LEAST_PACKETS {
            let count = period.packets as f64;
            let cost = cpu.saturating_sub(period.cpu).as_secs_f64() / count;
            let new = Experience { cost, rate: count / passed.as_secs_f64() };
            let known = if self.is_resting { &mut self.resting } else { &mut self.awake };
            *known = Some(known.map_or(new, |old| old.and(new)));
        }
        self.period = Some(Period { start: now, cpu, packets: 0 });
        self.periods += 1;
        let is_better = match (self.awake, self.resting) {
            (Some(awake), Some(resting)) => resting.is_better_than(awake),
            // The way that has no result yet is tried.
            (awake, resting) => awake.is_some() && resting.is_none(),
        };
        self.is_resting = is_better != self.periods.is_multiple_of(TRIAL);
    }
}

impl Experience {
    fn and(self, new: Self) -> Self {
        let mix = |old: f64, new: f64| KEPT * old + (1.0 - KEPT) * new;
        Self { cost: mix(self.cost, new.cost), rate: mix(self.rate, new.rate) }
    }

    /// Whether resting, described by `self`, pays: it is clearly cheaper, and clients do not send less because of it.
    fn is_better_than(self, awake: Self) -> bool {
        self.cost < 0.95 * awake.cost && self.rate > 0.9 * awake.rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Duration = Duration::from_micros(300);

    /// What a wake-up, a rest and a packet cost the thread.
    #[derive(Clone, Copy)]
    struct Machine {
        wake_up: u64,
        rest: u64,
        packet: u64,
    }

    const USUAL: Machine = Machine { wake_up: 12, rest: 6, packet: 3 };

    /// How packets come.
    #[derive(Clone, Copy)]
    enum Load {
        /// This many per second, whatever happens to them.
        Paced(u32),
        /// This many at a time; the next come after these were relayed.
        Closed(usize),
    }

    /// What was measured in a while.
    #[derive(Debug, Default)]
    struct Seen {
        packets: usize,
        turns: usize,
        rests: usize,
        longest: Duration,
        cpu: Duration,
        took: Duration,
    }

    fn run(rests: &mut Rests, machine: Machine, load: Load, seconds: u64) -> Seen {
        let start = Instant::now();
        let micros = Duration::from_micros;
        let (mut now, mut next) = (start, start);
        let mut seen = Seen::default();
        while now < start + Duration::from_secs(seconds) {
            if now < next {
                // The worker is asleep until a packet comes.
                now = next;
                seen.cpu += micros(machine.wake_up);
            }
            let mut found = 0;
            match load {
                Load::Paced(per_second) => {
                    while next <= now {
                        (found, next) = (found + 1, next + Duration::from_secs(1) / per_second);
                    }
                }
                Load::Closed(window) => {
                    // The clients need a moment to answer.
                    (found, next) = (window, now + micros(machine.packet * window as u64) + micros(20));
                }
            }
            let work = micros(machine.packet) * found as u32;
            (now, seen.cpu) = (now + work, seen.cpu + work);
            (seen.packets, seen.turns) = (seen.packets + found, seen.turns + 1);
            let cpu = seen.cpu;
            if let Some(rest) = rests.after(found, now, || cpu) {
                (now, seen.cpu) = (now + rest, seen.cpu + micros(machine.rest));
                (seen.rests, seen.longest) = (seen.rests + 1, seen.longest.max(rest));
            }
        }
        seen.took = now - start;
        seen
    }

    #[test]
    fn slow_packets_are_never_delayed() {
        for per_second in [10, 500, 1_900] {
            let seen = run(&mut Rests::new(BUDGET), USUAL, Load::Paced(per_second), 5);
            assert_eq!(seen.rests, 0, "{per_second} packets per second");
        }
    }

    #[test]
    fn fast_packets_come_several_to_a_turn_and_wait_no_longer_than_the_budget() {
        for (per_second, least) in [(20_000, 4.0), (60_000, 10.0)] {
            let mut rests = Rests::new(BUDGET);
            run(&mut rests, USUAL, Load::Paced(per_second), 2);
            let seen = run(&mut rests, USUAL, Load::Paced(per_second), 5);
            let together = seen.packets as f64 / seen.turns as f64;
            assert!(together > least * 0.8, "{per_second}: {together} packets to a turn");
            assert!(seen.longest <= BUDGET, "{:?}", seen.longest);
            let without = run(&mut Rests::new(Duration::ZERO), USUAL, Load::Paced(per_second), 5);
            assert!(seen.cpu < without.cpu * 8 / 10, "{per_second}: {:?}, without {:?}", seen.cpu, without.cpu);
        }
    }

    #[test]
    fn clients_that_wait_for_answers_are_not_held_up() {
        let mut rests = Rests::new(BUDGET);
        run(&mut rests, USUAL, Load::Closed(8), 2);
        let seen = run(&mut rests, USUAL, Load::Closed(8), 5);
        let without = run(&mut Rests::new(Duration::ZERO), USUAL, Load::Closed(8), 5);
        let rate = |seen: &Seen| seen.packets as f64 / seen.took.as_secs_f64();
        assert!(rate(&seen) > 0.94 * rate(&without), "{} of {}", rate(&seen), rate(&without));
    }

    #[test]
    fn where_a_rest_costs_more_than_a_wake_up_there_is_hardly_one() {
        let dear = Machine { wake_up: 1, rest: 60, packet: 3 };
        let mut rests = Rests::new(BUDGET);
        run(&mut rests, dear, Load::Paced(20_000), 2);
        let seen = run(&mut rests, dear, Load::Paced(20_000), 5);
        assert!(seen.rests * 10 < seen.turns, "{seen:?}");
    }

    #[test]
    fn a_pause_ends_it() {
        let mut rests = Rests::new(BUDGET);
        assert!(run(&mut rests, USUAL, Load::Paced(20_000), 3).rests > 0);
        let later = Instant::now() + Duration::from_secs(60);
        assert_eq!(rests.after(1, later, Duration::default), None);
        assert_eq!(rests.after(0, later + Duration::from_millis(1), Duration::default), None);
    }

    #[test]
    fn without_a_budget_there_is_no_rest() {
        assert_eq!(run(&mut Rests::new(Duration::ZERO), USUAL, Load::Paced(50_000), 1).rests, 0);
    }
}
