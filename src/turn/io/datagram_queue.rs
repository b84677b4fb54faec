//! Datagrams that wait to be sent from one socket, and are then sent together.
//!
//! A worker gathers here what one turn sends. Consecutive datagrams to one receiver that have the same length (the last
//! may be shorter) are a *run*: the kernel takes the run in one call and splits it itself (UDP_SEGMENT), which costs a
//! fraction of sending the datagrams one by one. Runs are found when the queue is emptied, so the code that fills it
//! need not know about them. The order of datagrams is kept.
//!
//! The kernel refuses a run, before it has sent any of it, if the path has a small MTU or the interface does not
//! support runs. The datagrams are then sent one by one, and so is everything to that receiver for a while.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use nix::libc;

use crate::{
    observe::metrics::TurnCounters,
    turn::{
        core::packet::{DropReason, Path},
        wire::data::IcmpError,
    },
};

/// The maximum number of waiting datagrams: as many as the kernel takes as one run, in every version that supports
/// runs.
const MAX_DATAGRAMS: usize = 64;

/// The maximum number of waiting bytes. The last datagram may exceed it.
const MAX_BYTES: usize = 128 * 1024;

/// The maximum number of bytes in a run: what fits into an IPv4 datagram, with a little left for options.
const MAX_RUN_BYTES: usize = 65_000;

/// How long a receiver gets no runs after one was refused.
const REFUSED_FOR: Duration = Duration::from_secs(60);

/// How many such receivers are remembered. If there are more, a run to one of them may be tried in vain, which costs
/// one call.
const MAX_REFUSERS: usize = 256;

/// How often a call is tried that fails because of an earlier datagram.
const ATTEMPTS: usize = 4;

/// A buffer that grew beyond this size gives the excess back when it is empty.
const KEPT_CAPACITY: usize = MAX_BYTES + 65_536;

/// A socket that datagrams are sent from.
pub(super) trait DatagramSocket {
    /// Sends `bytes` as one datagram or, with a `segment` size, as a run of datagrams of that size. It never waits.
    /// `source` is the address to send from, if the socket has several.
    fn send(&self, to: SocketAddr, source: Option<IpAddr>, bytes: &[u8], segment: Option<u16>) -> io::Result<()>;

    /// Sends datagrams to several receivers, each as [`Self::send`] would. Returns how many of them, counted from the
    /// first, were sent; this is at least one.
    ///
    /// # Errors
    /// The reason why the first datagram was not sent.
    fn send_each(&self, datagrams: &[(SocketAddr, Option<IpAddr>, &[u8])]) -> io::Result<usize>;

    /// Whether the socket can send runs at all.
    fn takes_runs(&self) -> bool;

    /// Takes the network's reports about datagrams that were sent. While a report waits, the next call on the socket
    /// fails because of it.
    fn take_icmp(&self) -> Vec<(SocketAddr, IcmpError)>;
}

/// What a datagram counts as in the metrics.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tally {
    /// An answer or an indication that the server itself has made.
    Own,
    /// Relayed data, with this many bytes of payload.
    Relayed(Path, usize),
}

impl Tally {
    /// The tally of a datagram that carries `payload` along `path`.
    pub(super) fn relayed(path: Path, payload: &[u8]) -> Self {
        Self::Relayed(path, payload.len())
    }

    /// Counts a datagram that has been sent.
    pub(super) fn count(self, counters: &TurnCounters) {
        if let Self::Relayed(path, bytes) = self {
            counters.relayed(path, bytes);
        }
    }
}

/// See the module's header.
#[derive(Debug)]
pub(super) struct DatagramQueue {
    bytes: Vec<u8>,
    waiting: Vec<QueuedDatagram>,
    /// Receivers that get no runs, each with the time at which this ends.
    refusers: HashMap<IpAddr, Instant>,
    /// The reason that is counted for a datagram that the kernel does not take.
    lost: DropReason,
}

#[derive(Clone, Copy, Debug)]
struct QueuedDatagram {
    to: SocketAddr,
    source: Option<IpAddr>,
    len: usize,
    tally: Tally,
}

impl DatagramQueue {
    /// An empty queue. A datagram that the kernel does not take counts as `lost`.
    pub(super) fn new(lost: DropReason) -> Self {
        Self { bytes: Vec::new(), waiting: Vec::new(), refusers: HashMap::new(), lost }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether the queue must be emptied before more is added.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= MAX_DATAGRAMS || self.bytes.len() >= MAX_BYTES
    }

    /// Adds a datagram at the end.
    pub(super) fn push(&mut self, to: SocketAddr, source: Option<IpAddr>, datagram: &[u8], tally: Tally) {
        self.bytes.extend_from_slice(datagram);
        self.waiting.push(QueuedDatagram { to, source, len: datagram.len(), tally });
    }

    /// Sends and counts all datagrams. Returns the reports about earlier datagrams that the network has made meanwhile.
    pub(super) fn flush(
        &mut self,
        socket: &impl DatagramSocket,
        counters: &TurnCounters,
        now: Instant,
    ) -> Vec<(SocketAddr, IcmpError)> {
        let mut sending = Sending { socket, counters, lost: self.lost, reports: Vec::new() };
        let mut bytes = &self.bytes[..];
        let mut waiting = &self.waiting[..];
        if let [only] = waiting {
            sending.one((only.to, only.source, bytes, only.tally));
            waiting = &[];
        }
        let mut singles = Vec::new();
        while let Some(first) = waiting.first() {
            let takes_runs = socket.takes_runs() && !is_refused(&self.refusers, first.to.ip(), now);
            let (run, rest) = waiting.split_at(if takes_runs { run_len(waiting) } else { 1 });
            let (contents, behind) = bytes.split_at(run.iter().map(|datagram| datagram.len).sum());
            (waiting, bytes) = (rest, behind);
            if run.len() > 1 {
                sending.each(&mut singles);
                if sending.run(run, contents).is_ok() {
                    continue;
                }
                refuse(&mut self.refusers, first.to.ip(), now);
            }
            let mut contents = contents;
            for datagram in run {
                let (this, behind) = contents.split_at(datagram.len);
                contents = behind;
                singles.push((datagram.to, datagram.source, this, datagram.tally));
            }
        }
        sending.each(&mut singles);
        let reports = sending.reports;
        self.waiting.clear();
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_CAPACITY);
        reports
    }
}

/// A queue that is being emptied.
struct Sending<'a, S> {
    socket: &'a S,
    counters: &'a TurnCounters,
    lost: DropReason,
    reports: Vec<(SocketAddr, IcmpError)>,
}

/// The kernel does not take runs to this receiver. Nothing was sent.
struct NoRun;

/// The receiver, the address to send from, the datagram, and what it counts as.
type Single<'b> = (SocketAddr, Option<IpAddr>, &'b [u8], Tally);

impl<S: DatagramSocket> Sending<'_, S> {
    /// Sends a run. If the kernel has no room for all of it, a part may be sent.
    fn run(&mut self, run: &[QueuedDatagram], bytes: &[u8]) -> Result<(), NoRun> {
        let QueuedDatagram { to, source, len, .. } = run[0];
        let (socket, segment) = (self.socket, u16::try_from(len).ok());
        match send_past_reports(socket, &mut self.reports, || socket.send(to, source, bytes, segment)) {
            Ok(()) => {
                self.counters.sent_run();
                run.iter().for_each(|datagram| datagram.tally.count(self.counters));
            }
            Err(error) if is_about_runs(&error) => {
                self.counters.refused_run();
                return Err(NoRun);
            }
            Err(error) => run.iter().for_each(|_| self.cannot_send(&error)),
        }
        Ok(())
    }

    /// Sends each datagram by itself, with few calls.
    fn each(&mut self, singles: &mut Vec<Single<'_>>) {
        let datagrams: Vec<_> = singles.iter().map(|(to, source, bytes, _)| (*to, *source, *bytes)).collect();
        let mut sent = 0;
        while let Some(&single) = singles.get(sent) {
            if sent + 1 < singles.len()
                && let Ok(count) = self.socket.send_each(&datagrams[sent..])
            {
                let behind = singles.len().min(sent + count.max(1));
                singles[sent..behind].iter().for_each(|(.., tally)| tally.count(self.counters));
                sent = behind;
                if sent < singles.len() {
                    // The call has cleared the error that announces a report, so nothing else would show that there is
                    // one.
                    self.reports.extend(self.socket.take_icmp());
                }
                continue;
            }
            // A datagram that is sent by itself returns its own error.
            self.one(single);
            sent += 1;
        }
        singles.clear();
    }

    fn one(&mut self, (to, source, bytes, tally): Single<'_>) {
        let socket = self.socket;
        match send_past_reports(socket, &mut self.reports, || socket.send(to, source, bytes, None)) {
            Ok(()) => tally.count(self.counters),
            Err(error) => self.cannot_send(&error),
        }
    }

    fn cannot_send(&self, error: &io::Error) {
        tracing::trace!(%error, "cannot send");
        self.counters.dropped(self.lost);
    }
}

/// How many datagrams, counted from the first, make up a run.
fn run_len(waiting: &[QueuedDatagram]) -> usize {
    let Some((first, rest)) = waiting.split_first() else {
        return 0;
    };
    // A run of empty datagrams has no segment size.
    if first.len == 0 {
        return 1;
    }
    let mut bytes = first.len;
    let mut count = 1;
    for next in rest {
        bytes += next.len;
        let joins = next.to == first.to && next.source == first.source && (1..=first.len).contains(&next.len);
        if !joins || bytes > MAX_RUN_BYTES {
            break;
        }
        count += 1;
        if next.len < first.len {
            break;
        }
    }
    count
}

/// Sends with `attempt`, and tries again if an earlier datagram may have caused the failure. The reports about earlier
/// datagrams are added to `reports`.
pub(super) fn send_past_reports(
    socket: &impl DatagramSocket,
    reports: &mut Vec<(SocketAddr, IcmpError)>,
    attempt: impl Fn() -> io::Result<()>,
) -> io::Result<()> {
    let mut sent = attempt();
    for _ in 1..ATTEMPTS {
        match &sent {
            Err(error) if is_perhaps_of_earlier(error) => {}
            _ => break,
        }
        let taken = socket.take_icmp();
        if taken.is_empty() {
            break;
        }
        reports.extend(taken);
        sent = attempt();
    }
    sent
}

/// Whether the error may come from a waiting report and not from what the kernel was given. The error codes excluded
/// here do not: if the kernel has run out of memory, a part of a run may already be sent.
fn is_perhaps_of_earlier(error: &io::Error) -> bool {
    !matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::EAGAIN | libc::EINVAL | libc::EIO))
}

/// Whether the kernel refuses because of UDP_SEGMENT: the datagrams are too large for the path, or the interface does
/// not support it.
fn is_about_runs(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMSGSIZE | libc::EINVAL | libc::EIO))
}

fn is_refused(refusers: &HashMap<IpAddr, Instant>, ip: IpAddr, now: Instant) -> bool {
    !refusers.is_empty() && refusers.get(&ip).is_some_and(|until| now < *until)
}

fn refuse(refusers: &mut HashMap<IpAddr, Instant>, ip: IpAddr, now: Instant) {
    if refusers.len() >= MAX_REFUSERS {
        refusers.retain(|_, until| now < *until);
    }
    if refusers.len() < MAX_REFUSERS {
        refusers.insert(ip, now + REFUSED_FOR);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;
    use crate::observe::metrics::Metrics;

    const UNREACHABLE: IcmpError = IcmpError { kind: 3, code: 3, data: 0 };

    /// A socket that fails where it is told to, and records everything else.
    #[derive(Default)]
    struct Recorder {
        /// The calls that are to fail: the number of each, and its error.
        errors: HashMap<usize, i32>,
        /// Datagrams that begin with this byte cannot be sent.
        unsendable: Option<u8>,
        /// Runs to these addresses fail.
        without_runs: Vec<IpAddr>,
        icmp: RefCell<Vec<(SocketAddr, IcmpError)>>,
        /// Whether the next call fails because of what is in `icmp`.
        is_reported: Cell<bool>,
        /// A datagram to this address causes a report.
        nobody_at: Option<SocketAddr>,
        calls: RefCell<usize>,
        sent: RefCell<Vec<Call>>,
    }

    /// What the kernel took in one call.
    struct Call {
        to: SocketAddr,
        segment: Option<u16>,
        bytes: Vec<u8>,
    }

    impl DatagramSocket for Recorder {
        fn send(&self, to: SocketAddr, _: Option<IpAddr>, bytes: &[u8], segment: Option<u16>) -> io::Result<()> {
            let call = self.calls.replace_with(|calls| *calls + 1);
            if self.is_reported.take() {
                return Err(io::Error::from_raw_os_error(libc::ECONNREFUSED));
            }
            if segment.is_none() && self.unsendable.is_some_and(|first| bytes.first() == Some(&first)) {
                return Err(io::Error::from_raw_os_error(libc::EPERM));
            }
            if let Some(error) = self.errors.get(&call) {
                return Err(io::Error::from_raw_os_error(*error));
            }
            if segment.is_some() && self.without_runs.contains(&to.ip()) {
                return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
            }
            self.sent.borrow_mut().push(Call { to, segment, bytes: bytes.to_vec() });
            if self.nobody_at == Some(to) {
                self.icmp.borrow_mut().push((to, UNREACHABLE));
                self.is_reported.set(true);
            }
            Ok(())
        }

        /// Works like sendmmsg: it stops at the first datagram that fails.
        fn send_each(&self, datagrams: &[(SocketAddr, Option<IpAddr>, &[u8])]) -> io::Result<usize> {
            for (count, (to, source, bytes)) in datagrams.iter().enumerate() {
                match self.send(*to, *source, bytes, None) {
                    Err(error) if count == 0 => return Err(error),
                    Err(_) => return Ok(count),
                    Ok(()) => {}
                }
            }
            Ok(datagrams.len())
        }

        fn takes_runs(&self) -> bool {
            true
        }

        fn take_icmp(&self) -> Vec<(SocketAddr, IcmpError)> {
            self.is_reported.set(false);
            self.icmp.take()
        }
    }

    impl Recorder {
        /// Each datagram as its receiver sees it.
        fn datagrams(&self) -> Vec<(SocketAddr, Vec<u8>)> {
            let sent = self.sent.borrow();
            let each = sent.iter().flat_map(|Call { to, segment, bytes }| match segment {
                None => vec![(*to, bytes.clone())],
                Some(segment) => bytes.chunks((*segment).into()).map(|chunk| (*to, chunk.to_vec())).collect(),
            });
            each.collect()
        }

        /// The number of datagrams in each call that sent something.
        fn runs(&self) -> Vec<usize> {
            let len =
                |Call { segment, bytes, .. }: &Call| segment.map_or(1, |segment| bytes.len().div_ceil(segment.into()));
            self.sent.borrow().iter().map(len).collect()
        }
    }

    fn to(host: u8) -> SocketAddr {
        SocketAddr::from(([203, 0, 113, host], 9))
    }

    /// Sends datagrams of these lengths to these hosts, each filled with its number. Returns how many were sent and how
    /// many were lost.
    fn flush(socket: &Recorder, datagrams: &[(u8, usize)]) -> (u64, u64) {
        flush_at(socket, &mut DatagramQueue::new(DropReason::SendToPeer), datagrams, Instant::now())
    }

    fn flush_at(socket: &Recorder, queue: &mut DatagramQueue, datagrams: &[(u8, usize)], now: Instant) -> (u64, u64) {
        let metrics = Metrics::new();
        let counters = metrics.add_turn_worker();
        for (number, (host, len)) in datagrams.iter().enumerate() {
            let tally = Tally::Relayed(Path::ToPeerKernel, *len);
            queue.push(to(*host), None, &vec![number as u8; *len], tally);
        }
        queue.flush(socket, &counters, now);
        assert!(queue.is_empty());
        let page = metrics.encode();
        let value = |name: &str| {
            let line = page.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().parse().unwrap()
        };
        let sent = value("bimcc_rtc_turn_relayed_packets_total{direction=\"to_peer\",path=\"kernel\"}");
        (sent, value("bimcc_rtc_turn_dropped_packets_total{reason=\"send_to_peer\"}"))
    }

    fn expected(datagrams: &[(u8, usize)]) -> Vec<(SocketAddr, Vec<u8>)> {
        let numbered = datagrams.iter().enumerate();
        numbered.map(|(number, (host, len))| (to(*host), vec![number as u8; *len])).collect()
    }

    #[test]
    fn runs_have_one_receiver_and_one_length_and_may_end_with_a_shorter_one() {
        for (datagrams, runs) in [
            (vec![(1, 100); 5], vec![5]),
            (vec![(1, 100), (1, 100), (1, 99), (1, 99), (1, 100)], vec![3, 1, 1]),
            (vec![(1, 100), (2, 100), (2, 100), (1, 100)], vec![1, 2, 1]),
            (vec![(1, 0), (1, 0), (1, 100), (1, 0), (1, 100)], vec![1, 1, 1, 1, 1]),
            (vec![(1, 30_000); 5], vec![2, 2, 1]),
            (vec![(1, 65_507); 2], vec![1, 1]),
            (vec![(1, 10), (1, 20), (1, 20)], vec![1, 2]),
        ] {
            let socket = Recorder::default();
            assert_eq!(flush(&socket, &datagrams), (datagrams.len() as u64, 0));
            assert_eq!(socket.runs(), runs, "{datagrams:?}");
            assert_eq!(socket.datagrams(), expected(&datagrams));
        }
    }

    #[test]
    fn a_receiver_that_refuses_a_run_gets_all_singly_for_a_while() {
        let socket = Recorder { without_runs: vec![to(1).ip()], ..Recorder::default() };
        let mut queue = DatagramQueue::new(DropReason::SendToPeer);
        let start = Instant::now();
        let datagrams = [(1, 100), (1, 100), (1, 100), (2, 100), (2, 100)];
        for (after, calls) in [(Duration::ZERO, 5), (Duration::from_secs(1), 4), (REFUSED_FOR, 5)] {
            socket.calls.take();
            socket.sent.take();
            assert_eq!(flush_at(&socket, &mut queue, &datagrams, start + after), (5, 0));
            assert_eq!(socket.runs(), [1, 1, 1, 2]);
            assert_eq!(socket.datagrams(), expected(&datagrams));
            assert_eq!(socket.calls.take(), calls, "after {after:?}");
        }
    }

    #[test]
    fn a_report_about_an_earlier_datagram_costs_nothing() {
        for datagrams in [vec![(1, 100); 8], vec![(1, 100)], vec![(1, 100), (2, 50), (2, 50)]] {
            let icmp = vec![(to(9), UNREACHABLE)].into();
            let socket = Recorder { icmp, is_reported: true.into(), ..Recorder::default() };
            assert_eq!(flush(&socket, &datagrams), (datagrams.len() as u64, 0));
            assert_eq!(socket.datagrams(), expected(&datagrams));
            assert!(socket.icmp.take().is_empty());
        }
    }

    /// A report comes back at once, while the same call sends the next datagram.
    #[test]
    fn what_was_reported_meanwhile_is_taken() {
        for datagrams in [vec![(9, 10), (1, 20), (2, 30)], vec![(9, 10), (9, 20), (1, 10), (9, 10), (1, 10)]] {
            let socket = Recorder { nobody_at: Some(to(9)), ..Recorder::default() };
            assert_eq!(flush(&socket, &datagrams), (datagrams.len() as u64, 0));
            assert_eq!(socket.datagrams(), expected(&datagrams));
            assert!(socket.icmp.take().is_empty(), "{datagrams:?}");
        }
    }

    #[test]
    fn what_the_kernel_has_no_room_for_is_lost_and_never_repeated() {
        for error in [libc::ENOBUFS, libc::EAGAIN] {
            let socket = Recorder { errors: HashMap::from([(0, error)]), ..Recorder::default() };
            assert_eq!(flush(&socket, &[(1, 100), (1, 100), (2, 100)]), (1, 2));
            assert_eq!(socket.datagrams(), [(to(2), vec![2; 100])]);
        }
    }

    #[test]
    fn a_datagram_that_cannot_be_sent_harms_no_other() {
        for unsendable in 0..3 {
            let mut socket = Recorder { unsendable: Some(unsendable), ..Recorder::default() };
            socket.errors.insert(0, libc::EIO);
            let datagrams = [(1, 100), (1, 100), (1, 100)];
            assert_eq!(flush(&socket, &datagrams), (2, 1));
            let mut others = expected(&datagrams);
            others.remove(unsendable.into());
            assert_eq!(socket.datagrams(), others);
        }
    }

    #[test]
    fn receivers_without_runs_are_forgotten_for_new_ones() {
        let mut refusers = HashMap::new();
        let now = Instant::now();
        let ip = |n: u32| IpAddr::V4(n.into());
        (0..2 * MAX_REFUSERS as u32).for_each(|n| refuse(&mut refusers, ip(n), now));
        assert_eq!(refusers.len(), MAX_REFUSERS);
        refuse(&mut refusers, ip(7_000), now + REFUSED_FOR);
        assert!(is_refused(&refusers, ip(7_000), now + REFUSED_FOR) && refusers.len() == 1);
    }
}
