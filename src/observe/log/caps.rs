//! How much is told one by one, so that nobody can fill the log: what strangers can make happen as often as they like is
//! told so many times per minute, for each source address and in all. The rest is counted, for one line at the end of the
//! minute.
//!
//! No token bucket: each minute has its own numbers, which its last line adds up.
//!
//! Pure: ask [`Caps::admit`] before each line, and call [`Caps::end_minute`] each minute. What is kept is bounded: the
//! sources of a minute are forgotten at its end, and those beyond [`MAX_SOURCES`] share what is left in all.

use std::{collections::HashMap, fmt, net::IpAddr};

use crate::values::label::{PerLabel, labels};

/// Lines of one kind from one source in a minute.
const PER_SOURCE: u8 = 20;
/// Lines of one kind in a minute.
const IN_ALL: u16 = 200;
/// Sources that are told apart in a minute.
const MAX_SOURCES: usize = 1024;

labels! {
    /// What is told at the level of INFO because of what clients do, in the order in which it happens. The names are what it
    /// happens to, and what happens.
    pub(super) enum LineKind {
        /// A room has its first member.
        RoomOpened = "room opened",
        /// Somebody is in a room.
        MemberJoined = "member joined",
        /// The connection broke, the member is waited for.
        MemberAway = "member went away",
        /// It is back.
        MemberBack = "member came back",
        /// And no more.
        MemberLeft = "member left",
        /// A room has lost its last.
        RoomClosed = "room closed",
        /// TURN relays for somebody.
        AllocationMade = "allocation made",
        /// And no more.
        AllocationEnded = "allocation ended",
    }
}

/// See the module's header.
#[derive(Debug, Default)]
pub(super) struct Caps {
    by_source: HashMap<IpAddr, LineSource>,
    told: PerLabel<LineKind, u16>,
    beyond: PerLabel<LineKind, u64>,
    sources_beyond: usize,
    /// Some of what is beyond came from sources that are not told apart.
    has_others: bool,
}

#[derive(Debug, Default)]
struct LineSource {
    told: PerLabel<LineKind, u8>,
    is_beyond: bool,
}

impl Caps {
    /// Whether one more line of this kind is told; else it is counted. `source`: the address that made it happen, if it is
    /// known.
    pub(super) fn admit(&mut self, kind: LineKind, source: Option<IpAddr>) -> bool {
        let is_full = self.told[kind] >= IN_ALL;
        let mut source = source.and_then(|address| source_of(&mut self.by_source, network(address)));
        let is_too_much = source.as_ref().is_some_and(|source| source.told[kind] >= PER_SOURCE);
        if !is_full && !is_too_much {
            self.told[kind] += 1;
            if let Some(source) = &mut source {
                source.told[kind] += 1;
            }
            return true;
        }
        match source {
            Some(source) if source.is_beyond => {}
            Some(source) => {
                source.is_beyond = true;
                self.sources_beyond += 1;
            }
            None => self.has_others = true,
        }
        self.beyond[kind] += 1;
        false
    }

    /// A minute is over: what was beyond in it, if anything was.
    pub(super) fn end_minute(&mut self) -> Option<Beyond> {
        let minute = std::mem::take(self);
        // Its memory serves the next one.
        self.by_source = minute.by_source;
        self.by_source.clear();
        let (counts, sources, has_others) = (minute.beyond, minute.sources_beyond, minute.has_others);
        let is_any_beyond = counts.iter().any(|(_, count)| *count > 0);
        is_any_beyond.then_some(Beyond { counts, sources, has_others })
    }
}

/// What was not told one by one in a minute.
#[derive(Debug, PartialEq)]
pub(super) struct Beyond {
    counts: PerLabel<LineKind, u64>,
    sources: usize,
    has_others: bool,
}

impl fmt::Display for Beyond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (kind, count)) in self.counts.iter().filter(|(_, count)| **count > 0).enumerate() {
            let (what, happened) = kind.as_str().split_once(' ').unwrap_or((kind.as_str(), ""));
            let plural = if *count == 1 { "" } else { "s" };
            write!(f, "{}{count} {what}{plural} {happened}", if i == 0 { "" } else { ", " })?;
        }
        match (self.sources, self.has_others) {
            (0, _) => Ok(()),
            (1, false) => f.write_str(" from one address"),
            (sources, false) => write!(f, " from {sources} addresses"),
            (sources, true) => write!(f, " from more than {sources} addresses"),
        }
    }
}

/// Nothing where there is no room for another.
fn source_of(sources: &mut HashMap<IpAddr, LineSource>, address: IpAddr) -> Option<&mut LineSource> {
    if sources.len() < MAX_SOURCES {
        return Some(sources.entry(address).or_default());
    }
    sources.get_mut(&address)
}

/// One host, or what one host has of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            std::net::Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(n: u32) -> Option<IpAddr> {
        Some(std::net::Ipv4Addr::from(0x0a00_0000 + n).into())
    }

    fn v6(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    /// How many of so many lines are told.
    fn told(caps: &mut Caps, kind: LineKind, source: Option<IpAddr>, times: usize) -> usize {
        (0..times).filter(|_| caps.admit(kind, source)).count()
    }

    #[test]
    fn one_address_is_told_so_often_a_minute_of_each_kind_and_others_go_on() {
        let mut caps = Caps::default();
        assert_eq!(told(&mut caps, LineKind::MemberJoined, v4(1), 10_000), 20);
        assert_eq!(told(&mut caps, LineKind::MemberLeft, v4(1), 9_995), 20);
        assert_eq!(told(&mut caps, LineKind::MemberJoined, v4(2), 20), 20);
        let beyond = caps.end_minute().unwrap();
        assert_eq!(beyond.to_string(), "9980 members joined, 9975 members left from one address");
        assert_eq!(told(&mut caps, LineKind::MemberJoined, v4(1), 21), 20);
        assert_eq!(caps.end_minute().unwrap().to_string(), "1 member joined from one address");
        assert_eq!(caps.end_minute(), None);
    }

    #[test]
    fn many_addresses_are_told_so_often_a_minute_in_all() {
        let mut caps = Caps::default();
        let all: usize = (0..100).map(|n| told(&mut caps, LineKind::AllocationMade, v4(n), 15)).sum();
        assert_eq!(all, 200);
        assert_eq!(told(&mut caps, LineKind::AllocationEnded, v4(0), 15), 15);
        // The first 13 were told in full, the next in part.
        assert_eq!(caps.end_minute().unwrap().to_string(), "1300 allocations made from 87 addresses");
    }

    #[test]
    fn a_64_of_ipv6_is_one_address_and_so_is_a_mapped_one() {
        let mut caps = Caps::default();
        let all: usize =
            (0..100).map(|n| told(&mut caps, LineKind::RoomOpened, v6(&format!("2001:db8:0:1::{n:x}")), 1)).sum();
        assert_eq!(all, 20);
        assert_eq!(told(&mut caps, LineKind::RoomOpened, v6("2001:db8:0:2::1"), 30), 20);
        assert_eq!(told(&mut caps, LineKind::RoomOpened, v4(1), 20), 20);
        assert_eq!(told(&mut caps, LineKind::RoomOpened, v6("::ffff:10.0.0.1"), 5), 0);
        assert!(caps.end_minute().unwrap().to_string().ends_with("from 3 addresses"));
    }

    #[test]
    fn what_comes_from_nowhere_in_particular_has_no_cap_but_the_one_in_all() {
        let mut caps = Caps::default();
        assert_eq!(told(&mut caps, LineKind::MemberJoined, None, 1000), 200);
        assert_eq!(caps.end_minute().unwrap().to_string(), "800 members joined");
    }

    #[test]
    fn however_many_addresses_there_are_what_is_kept_is_bounded() {
        let mut caps = Caps::default();
        let all = (0..100_000).map(|n| told(&mut caps, LineKind::RoomClosed, v4(n), 1)).sum::<usize>();
        assert_eq!((all, caps.by_source.len()), (200, MAX_SOURCES));
        assert_eq!(caps.end_minute().unwrap().to_string(), "99800 rooms closed from more than 824 addresses");
        assert!(caps.by_source.is_empty());
    }
}
