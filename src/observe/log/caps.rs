//! Limits on log lines, so that nobody can fill the log. Events that strangers can cause as often as they like get a
//! limited number of lines per minute, for each source address and in total. The rest is counted, for one line at the
//! end of the minute.
//!
//! This is no token bucket: each minute has its own numbers, which its last line sums up.
//!
//! The module is pure: ask [`Caps::admit`] before each line, and call [`Caps::end_minute`] each minute. Its memory is
//! limited: the sources of a minute are forgotten at its end, and sources beyond [`MAX_SOURCES`] share what is left of
//! the total.

use std::{collections::HashMap, fmt, net::IpAddr};

use crate::values::label::{PerLabel, labels};

/// How many lines of one kind one source may cause in a minute.
const PER_SOURCE: u8 = 20;
/// How many lines of one kind there may be in a minute.
const IN_ALL: u16 = 200;
/// How many sources are distinguished in a minute.
const MAX_SOURCES: usize = 1024;

labels! {
    /// The lines at the level INFO that clients cause, in the order of events. Each name says what changed, and how.
    pub(super) enum LineKind {
        /// A room has its first member.
        RoomOpened = "room opened",
        /// A member has joined a room.
        MemberJoined = "member joined",
        /// The connection of a member broke, and its place is kept.
        MemberAway = "member went away",
        /// The member is back.
        MemberBack = "member came back",
        /// The member has left.
        MemberLeft = "member left",
        /// A room has lost its last member.
        RoomClosed = "room closed",
        /// An allocation was made.
        AllocationMade = "allocation made",
        /// An allocation has ended.
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
    /// Whether some of the counted events came from sources that are not distinguished.
    has_others: bool,
}

#[derive(Debug, Default)]
struct LineSource {
    told: PerLabel<LineKind, u8>,
    is_beyond: bool,
}

impl Caps {
    /// Whether one more line of this kind may be written; if not, it is counted. `source` is the address that caused
    /// it, if known.
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

    /// Ends a minute. Returns what was only counted in it, if anything.
    pub(super) fn end_minute(&mut self) -> Option<Beyond> {
        let minute = std::mem::take(self);
        // The next minute reuses its memory.
        self.by_source = minute.by_source;
        self.by_source.clear();
        let (counts, sources, has_others) = (minute.beyond, minute.sources_beyond, minute.has_others);
        let is_any_beyond = counts.iter().any(|(_, count)| *count > 0);
        is_any_beyond.then_some(Beyond { counts, sources, has_others })
    }
}

/// What was only counted in a minute.
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

/// `None` if there is no room for another source.
fn source_of(sources: &mut HashMap<IpAddr, LineSource>, address: IpAddr) -> Option<&mut LineSource> {
    if sources.len() < MAX_SOURCES {
        return Some(sources.entry(address).or_default());
    }
    sources.get_mut(&address)
}

/// The network of one host: its IPv4 address, or its /64 in IPv6.
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

    /// How many of `times` lines are written.
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
        // The lines of the first 13 sources were all written, those of the next in part.
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
