//! The counters of TURN workers, which count separately, and their sums.

use std::{
    fmt,
    sync::{
        Arc, OnceLock, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};
use tracing::span::EnteredSpan;

use crate::{
    membership::Directory,
    observe::log::Journal,
    turn::{
        core::{
            event::{Objection, SessionEvent},
            five_tuple::FiveTuple,
            held::Held,
            packet::{DropReason, Path},
            transport::Transport,
        },
        shared::{auth::CredentialRefusal, peer_policy::PeerRefusal},
        wire::code::{ErrorCode, TurnMethod},
    },
    values::label::{Label, PerLabel},
};

/// The counters of one TURN worker. All payload sizes are application data, without STUN or channel headers.
#[derive(Debug, Default)]
pub struct TurnCounters {
    transport: Transport,
    packets: PerLabel<Path, AtomicU64>,
    bytes: PerLabel<Path, AtomicU64>,
    drops: PerLabel<DropReason, AtomicU64>,
    runs: AtomicU64,
    refused_runs: AtomicU64,
    /// Rests, by the bucket of their length.
    rests: [AtomicU64; REST_BUCKETS.len() + 1],
    rested_micros: AtomicU64,
    requests: PerLabel<TurnMethod, AtomicU64>,
    successes: PerLabel<TurnMethod, AtomicU64>,
    errors: PerLabel<TurnMethod, PerLabel<ErrorCode, AtomicU64>>,
    peer_refusals: PerLabel<PeerRefusal, AtomicU64>,
    credential_refusals: PerLabel<CredentialRefusal, AtomicU64>,
    refreshed_after_expiry: AtomicU64,
    held: PerLabel<Held, OpenedAndClosed>,
    /// The journal, which also gets the counted events.
    journal: Option<Arc<Journal>>,
}

/// Longest rests of each bucket, in microseconds; the last bucket has no end.
const REST_BUCKETS: [u64; 6] = [50, 100, 200, 300, 500, 1000];

/// How many were opened and closed; the difference is the gauge.
#[derive(Debug, Default)]
struct OpenedAndClosed {
    opened: AtomicU64,
    closed: AtomicU64,
}

fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

impl TurnCounters {
    /// Counters for clients over `transport`.
    pub(super) fn of(transport: Transport, journal: Option<Arc<Journal>>) -> Self {
        Self { transport, journal, ..Self::default() }
    }

    /// The context for log lines about an input for this client, if the log level needs it.
    pub fn client(&self, tuple: FiveTuple) -> Option<EnteredSpan> {
        self.journal.as_ref()?.client(self.transport, tuple)
    }

    /// Counts an event that a session has reported.
    pub fn count(&self, event: &SessionEvent) {
        if let Some(journal) = &self.journal {
            journal.note_turn(event, self.transport);
        }
        match event {
            SessionEvent::Requested(method) => add(&self.requests[*method], 1),
            SessionEvent::Answered { method, outcome: Ok(()) } => add(&self.successes[*method], 1),
            SessionEvent::Answered { method, outcome: Err(code) } => add(&self.errors[*method][*code], 1),
            SessionEvent::Refused(Objection::Credential(reason)) => add(&self.credential_refusals[*reason], 1),
            SessionEvent::Refused(Objection::Peer { reason, .. }) => add(&self.peer_refusals[*reason], 1),
            SessionEvent::Refreshed { is_after_expiry, .. } => {
                add(&self.refreshed_after_expiry, u64::from(*is_after_expiry))
            }
            SessionEvent::Allocated(_) => {
                add(&self.held[Held::Sessions].opened, 1);
                add(&self.held[Held::Allocations].opened, 1);
            }
            SessionEvent::Ended(_) => {
                add(&self.held[Held::Sessions].closed, 1);
                add(&self.held[Held::Allocations].closed, 1);
            }
            SessionEvent::Permitted { is_new, .. } => add(&self.held[Held::Permissions].opened, u64::from(*is_new)),
            SessionEvent::PermissionEnded { .. } => add(&self.held[Held::Permissions].closed, 1),
            SessionEvent::ChannelBound { is_new, .. } => add(&self.held[Held::Channels].opened, u64::from(*is_new)),
            SessionEvent::ChannelEnded { .. } => add(&self.held[Held::Channels].closed, 1),
            SessionEvent::RelayEnded { .. } | SessionEvent::Withdrawn(_) => {}
        }
    }

    /// Counts a packet of `len` payload bytes on `path`.
    pub fn relayed(&self, path: Path, len: usize) {
        add(&self.packets[path], 1);
        add(&self.bytes[path], len as u64);
    }

    /// Counts a dropped packet.
    pub fn dropped(&self, reason: DropReason) {
        add(&self.drops[reason], 1);
    }

    /// The kernel took several packets for one receiver in one call.
    pub fn sent_run(&self) {
        add(&self.runs, 1);
    }

    /// The kernel refused several packets in one call; they go one by one.
    pub fn refused_run(&self) {
        add(&self.refused_runs, 1);
    }

    /// A worker has rested so long, to find more packets.
    pub fn rested(&self, rest: Duration) {
        let micros = rest.as_micros() as u64;
        let bucket = REST_BUCKETS.iter().position(|most| micros <= *most).unwrap_or(REST_BUCKETS.len());
        add(&self.rests[bucket], 1);
        add(&self.rested_micros, micros);
    }

    /// How many of these exist.
    pub fn held(&self, what: Held) -> i64 {
        let OpenedAndClosed { opened, closed } = &self.held[what];
        opened.load(Ordering::Relaxed) as i64 - closed.load(Ordering::Relaxed) as i64
    }
}

/// The counters of all workers.
#[derive(Default)]
pub(super) struct TurnMetrics {
    workers: RwLock<Vec<Arc<TurnCounters>>>,
    directory: OnceLock<Arc<Directory>>,
}

impl TurnMetrics {
    /// Includes these counters in the sums.
    pub(super) fn add(&self, counters: Arc<TurnCounters>) {
        self.workers.write().unwrap_or_else(PoisonError::into_inner).push(counters);
    }

    /// Sets the directory whose size is shown. Only the first call counts.
    pub(super) fn watch(&self, directory: Arc<Directory>) {
        let _ = self.directory.set(directory);
    }
}

impl fmt::Debug for TurnMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TurnMetrics")
    }
}

impl Collector for TurnMetrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let workers = self.workers.read().unwrap_or_else(PoisonError::into_inner);
        let mut page = CountersPage { encoder, workers: &workers };
        page.packets()?;
        page.rests()?;
        page.requests()?;
        page.held()?;
        if let Some(directory) = self.directory.get() {
            page.gauge("directory_entries", "Members that TURN knows", directory.len() as i64)?;
        }
        Ok(())
    }
}

/// Writes the sums of the workers' counters.
struct CountersPage<'e, 'w> {
    encoder: DescriptorEncoder<'e>,
    workers: &'w [Arc<TurnCounters>],
}

impl CountersPage<'_, '_> {
    fn packets(&mut self) -> fmt::Result {
        let name = |path: Path| Labels(vec![("direction", path.as_str()), ("path", path.through())]);
        let packets = self.each(|c| &c.packets, name);
        self.family("turn_relayed_packets", "Packets relayed", None, &packets)?;
        let bytes = self.each(|c| &c.bytes, name);
        self.family("turn_relayed", "Payload bytes relayed", Some(&Unit::Bytes), &bytes)?;
        let drops = self.each(|c| &c.drops, of_reason);
        self.family(
            "turn_dropped_packets",
            "Packets from clients and peers that went nowhere, by reason",
            None,
            &drops,
        )?;
        let runs = self.sum(|c| &c.runs);
        self.counter("turn_runs", "Runs of packets for one receiver that the kernel took in one call", runs)?;
        let refused = self.sum(|c| &c.refused_runs);
        self.counter(
            "turn_refused_runs",
            "Runs of packets that the kernel refused, so that they went one by one",
            refused,
        )
    }

    fn rests(&mut self) -> fmt::Result {
        let seconds = |micros: u64| micros as f64 / 1e6;
        let ends = REST_BUCKETS.iter().map(|most| seconds(*most)).chain([f64::MAX]);
        let buckets: Vec<_> = ends.enumerate().map(|(bucket, end)| (end, self.sum(|c| &c.rests[bucket]))).collect();
        let (sum, count) = (self.sum(|c| &c.rested_micros), buckets.iter().map(|(_, count)| count).sum());
        let help = "How long workers have rested to find more packets, which delayed those that came meanwhile";
        let (unit, kind) = (Some(&Unit::Seconds), MetricType::Histogram);
        let mut metric = self.encoder.encode_descriptor("turn_rests", help, unit, kind)?;
        metric.encode_histogram::<NoLabelSet>(seconds(sum), count, &buckets, None)
    }

    fn requests(&mut self) -> fmt::Result {
        let requests = self.each(|c| &c.requests, |method| Labels(vec![("method", method.as_str())]));
        self.family("turn_requests", "STUN requests received, by method", None, &requests)?;

        let mut responses = Vec::new();
        for method in TurnMethod::ALL {
            let name = |code| Labels(vec![("method", method.as_str()), ("code", code)]);
            responses.push((name("success"), self.sum(|c| &c.successes[method])));
            responses.extend(self.each(|c| &c.errors[method], |code: ErrorCode| name(code.as_str())));
        }
        responses.retain(|(_, n)| *n > 0);
        self.family("turn_responses", "STUN responses sent, by method and code", None, &responses)?;

        let refusals = self.each(|c| &c.peer_refusals, of_reason);
        self.family("turn_peer_refusals", "Peer addresses refused with 403, by reason", None, &refusals)?;
        let refusals = self.each(|c| &c.credential_refusals, of_reason);
        self.family("turn_credential_refusals", "TURN credentials refused with 401, by reason", None, &refusals)?;

        let refreshed = self.sum(|c| &c.refreshed_after_expiry);
        self.counter("turn_refreshes_after_expiry", "Refreshes granted after the credential's expiry", refreshed)
    }

    fn held(&mut self) -> fmt::Result {
        for what in Held::ALL {
            let help = match what {
                Held::Sessions => "Client sessions",
                Held::Allocations => "Allocations",
                Held::Permissions => "Permissions in force",
                Held::Channels => "Channels bound",
            };
            let name = format!("turn_{}", what.as_str());
            let (opened, closed) = (self.sum(|c| &c.held[what].opened), self.sum(|c| &c.held[what].closed));
            self.gauge(&name, help, opened as i64 - closed as i64)?;
            for (suffix, value) in [("opened", opened), ("closed", closed)] {
                self.counter(&format!("{name}_{suffix}"), &format!("{help}: {suffix} since the start"), value)?;
            }
        }
        for (what, help) in [
            (Held::Sessions, "Client sessions, by the client's transport"),
            (Held::Allocations, "Allocations, by the client's transport"),
        ] {
            let name = format!("turn_{}_by_transport", what.as_str());
            let kind = ConstGauge::new(0i64).metric_type();
            let mut metric = self.encoder.encode_descriptor(&name, help, None, kind)?;
            for transport in Transport::ALL {
                let of_transport = self.workers.iter().filter(|worker| worker.transport == transport);
                let held: i64 = of_transport.map(|worker| worker.held(what)).sum();
                ConstGauge::new(held).encode(metric.encode_family(&[("transport", transport.as_str())])?)?;
            }
        }
        Ok(())
    }

    fn sum(&self, pick: impl Fn(&TurnCounters) -> &AtomicU64) -> u64 {
        self.workers.iter().map(|worker| pick(worker).load(Ordering::Relaxed)).sum()
    }

    /// Writes a row for each label of the counters that `pick` selects.
    fn each<L: Label>(
        &self,
        pick: impl Fn(&TurnCounters) -> &PerLabel<L, AtomicU64>,
        name: impl Fn(L) -> Labels,
    ) -> Vec<(Labels, u64)> {
        L::ALL.iter().map(|label| (name(*label), self.sum(|worker| &pick(worker)[*label]))).collect()
    }

    fn family(&mut self, name: &str, help: &str, unit: Option<&Unit>, rows: &[(Labels, u64)]) -> fmt::Result {
        let kind = ConstCounter::new(0u64).metric_type();
        let mut metric = self.encoder.encode_descriptor(name, help, unit, kind)?;
        for (Labels(labels), value) in rows {
            ConstCounter::new(*value).encode(metric.encode_family(&&labels[..])?)?;
        }
        Ok(())
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let counter = ConstCounter::new(value);
        counter.encode(self.encoder.encode_descriptor(name, help, None, counter.metric_type())?)
    }

    fn gauge(&mut self, name: &str, help: &str, value: i64) -> fmt::Result {
        let gauge = ConstGauge::new(value);
        gauge.encode(self.encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
    }
}

/// The labels of one row, each with its value.
struct Labels(Vec<(&'static str, &'static str)>);

fn of_reason<L: Label>(reason: L) -> Labels {
    Labels(vec![("reason", reason.as_str())])
}
