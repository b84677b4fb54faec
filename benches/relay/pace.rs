//! When packets are sent by the clock, whatever comes back: at an even rate, or as a browser sent them in a call.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use anyhow::Context;

/// The lengths and gaps of what a browser sent; the file says how it was recorded.
const CALL: &str = include_str!("data/call.txt");

/// A load that is late by more than this skips what it has missed.
const TOO_LATE: Duration = Duration::from_millis(20);

/// Packets of one length that are sent at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) flow: usize,
    pub(crate) len: usize,
    pub(crate) count: usize,
}

/// Says what must be sent now. Time is counted from the start of the load.
#[derive(Debug)]
pub(crate) enum Schedule {
    /// All flows take turns.
    Even { gap: Duration, next: Duration, flow: usize, flows: usize, len: usize, count: usize },
    /// Every flow sends the same call, each from another place in it.
    Call { packets: Vec<(Duration, usize)>, next: BinaryHeap<Reverse<(Duration, usize, usize)>> },
}

impl Schedule {
    /// `rate` packets a second in total, of `len` bytes, with `count` of a flow at once.
    pub(crate) fn even(rate: usize, flows: usize, len: usize, count: usize) -> Self {
        let gap = Duration::from_secs_f64(count as f64 / rate as f64);
        Self::Even { gap, next: Duration::ZERO, flow: 0, flows, len, count }
    }

    pub(crate) fn call(flows: usize) -> anyhow::Result<Self> {
        let packets = captured()?;
        let whole: Duration = packets.iter().map(|(gap, _)| *gap).sum();
        // A flow begins with the packet that is due at that time, as if all calls had already lasted for a while.
        let next = (0..flows).map(|flow| {
            let begin = whole.mul_f64(flow as f64 / flows as f64);
            let mut at = Duration::ZERO;
            let first = packets.iter().position(|(gap, _)| {
                at += *gap;
                at >= begin
            });
            Reverse((at.saturating_sub(begin), flow, first.unwrap_or(0)))
        });
        let next = next.collect();
        Ok(Self::Call { packets, next })
    }

    /// The next packets that must have been sent by now; `None` if there are no more.
    pub(crate) fn due(&mut self, now: Duration) -> Option<Due> {
        match self {
            Self::Even { gap, next, flow, flows, len, count } => {
                if *next > now {
                    return None;
                }
                if now - *next > TOO_LATE {
                    *next = now;
                }
                *next += *gap;
                let due = Due { flow: *flow, len: *len, count: *count };
                *flow = (*flow + 1) % *flows;
                Some(due)
            }
            Self::Call { packets, next } => {
                let Reverse((at, flow, index)) = *next.peek()?;
                if at > now {
                    return None;
                }
                next.pop();
                let following = (index + 1) % packets.len();
                let at = if now - at > TOO_LATE { now } else { at };
                next.push(Reverse((at + packets[following].0, flow, following)));
                Some(Due { flow, len: packets[index].1, count: 1 })
            }
        }
    }
}

/// The gaps before packets, and the lengths of the packets.
fn captured() -> anyhow::Result<Vec<(Duration, usize)>> {
    let words = CALL.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace);
    words
        .map(|word| {
            let (gap, len) = word.split_once(':').context("a gap and a length")?;
            Ok((Duration::from_micros(gap.parse()?), len.parse()?))
        })
        .collect()
}

/// The longest packet of the call.
pub(crate) fn longest_of_call() -> anyhow::Result<usize> {
    Ok(captured()?.into_iter().map(|(_, len)| len).max().unwrap_or_default())
}
