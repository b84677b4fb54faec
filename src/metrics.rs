//! Every metric of the server: name, unit, labels and the moment it counts.
//!
//! Signaling counts in shared instruments. TURN workers count in plain atomics of their own ([`TurnCounters`]), so that
//! the packet path shares no cache line with another worker; they are added up when somebody asks ([`Metrics::encode`]).
//! Counters come in pairs (opened, closed) where a gauge belongs to them. Labels are from closed sets: nothing a
//! stranger sends becomes a label.

use std::{
    fmt,
    sync::{
        Arc, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, EncodeMetric, LabelValueEncoder, text},
    metrics::{
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::{ConstGauge, Gauge},
    },
    registry::{Registry, Unit},
};

use crate::{
    label::{Label, PerLabel},
    membership::Directory,
    turn::peer_policy::PeerRefusal,
};

/// All instruments, and the registry that writes them out.
#[derive(Debug)]
pub struct Metrics {
    /// Rooms, members and their connections.
    pub signaling: SignalingMetrics,
    /// TURN over TCP and TLS.
    pub streams: Arc<StreamMetrics>,
    turn: Arc<TurnMetrics>,
    registry: Registry,
}

/// What signaling counts.
#[derive(Debug, Default)]
pub struct SignalingMetrics {
    /// Rooms with at least one member, away or not.
    pub rooms: Gauge,
    /// Members of rooms, those that are away included.
    pub members: Gauge,
    /// Members whose connection is gone and whose grace runs.
    pub members_away: Gauge,
    /// Joins with a good resume token, by what became of them.
    pub resumes: Family<ResumeLabel, Counter>,
    /// Open WebSocket connections, in a room or not.
    pub connections: Gauge,
    /// WebSocket connections opened: counted after the upgrade.
    pub connections_opened: Counter,
    /// WebSocket connections ended, by who or what ended them.
    pub connections_closed: Family<CloseReasonLabel, Counter>,
    /// Connections turned away before the upgrade.
    pub connections_refused: Family<RefusalLabel, Counter>,
    /// Messages from clients, by event; `unknown` stands for every event the protocol does not have.
    pub messages_received: Family<EventLabel, Counter>,
    /// Messages queued to clients (a broadcast counts once per receiver).
    pub messages_sent: Counter,
    /// `_error` answers, by code.
    pub errors: Family<ErrorCodeLabel, Counter>,
}

/// A member of a set of labels as the value of a label in the registry.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub struct Value<L>(pub L);

impl<L: Label> EncodeLabelValue for Value<L> {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        fmt::Write::write_str(encoder, self.0.as_str())
    }
}

/// Label of [`SignalingMetrics::connections_closed`].
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct CloseReasonLabel {
    /// Why.
    pub reason: CloseReason,
}

/// Why a WebSocket connection ended.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelValue)]
#[expect(missing_docs, reason = "the names say it")]
#[allow(non_camel_case_types, reason = "the names are the label values")]
pub enum CloseReason {
    client,
    connection_lost,
    idle,
    too_many_errors,
    message_too_large,
    slow_reader,
    shutdown,
    protocol_error,
    invalid_text,
    replaced,
    kicked,
    made_room,
}

/// Label of [`SignalingMetrics::resumes`].
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ResumeLabel {
    /// What became of it.
    pub how: Resume,
}

/// What became of a join with a good resume token.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "the names are the label values")]
pub enum Resume {
    /// The member was away and is back; nobody was told.
    within_grace,
    /// It replaced a connection that was still there; nobody was told.
    takeover,
    /// It is a newcomer with its old id.
    announced,
}

/// Label of [`SignalingMetrics::connections_refused`].
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct RefusalLabel {
    /// Why.
    pub reason: Refusal,
}

/// Why a connection was turned away.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelValue)]
#[expect(missing_docs, reason = "the names say it")]
#[allow(non_camel_case_types, reason = "the names are the label values")]
pub enum Refusal {
    origin,
    too_many_from_address,
    tls_required,
    handshake_timeout,
    bad_handshake,
    unknown_protocol,
    too_many_half_open,
    too_many_turn_streams,
    bad_proxy_header,
    untrusted_proxy_header,
    too_many_websockets,
}

/// Label of [`SignalingMetrics::messages_received`].
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct EventLabel {
    /// The event's name, or `unknown`, or `malformed`.
    pub event: &'static str,
}

/// Label of [`SignalingMetrics::errors`].
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ErrorCodeLabel {
    /// The stable code that the client sees.
    pub code: &'static str,
}

/// STUN methods, as labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of RFC 8489 and RFC 8656")]
pub enum TurnMethod {
    Binding,
    Allocate,
    Refresh,
    CreatePermission,
    ChannelBind,
    Other,
}

const METHODS: [&str; 6] = ["binding", "allocate", "refresh", "create_permission", "channel_bind", "other"];

/// Error codes that TURN answers with; index 0 stands for success.
const CODES: [u16; 16] = [0, 300, 400, 401, 403, 405, 420, 437, 438, 440, 441, 442, 443, 446, 486, 508];

/// Why credentials were answered with 401.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialRefusal {
    /// The username holds no expiry.
    NoExpiry,
    /// Its expiry is too far away to count seconds.
    NotSeconds,
    /// Its expiry has passed.
    Expired,
    /// Its member is not in a room.
    NotHere,
    /// The signature fits no password that it may have.
    WrongPassword,
}

const CREDENTIAL_REFUSALS: [&str; 5] = ["no_expiry", "not_seconds", "expired", "not_here", "wrong_password"];

/// Why a packet went nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// Neither STUN nor ChannelData, or broken.
    Malformed,
    /// Too short to be a legal Allocate, so not worth a challenge (amplification).
    TooShortToChallenge,
    /// The source got its share of answers to unproven addresses.
    RateLimited,
    /// Data or an indication without an allocation.
    NoAllocation,
    /// No permission for the peer.
    NoPermission,
    /// Channel not bound.
    NoChannel,
    /// To an own address at which no relayed address lives.
    OwnAddress,
    /// The owners of the two relayed addresses may not talk (another room).
    OtherRoom,
    /// The receiving worker's queue is full.
    QueueFull,
    /// The kernel refused to send to a peer.
    SendToPeer,
    /// The kernel refused to send to a client.
    SendToClient,
    /// The oldest that waited for a client on a stream, who takes less than is sent to it.
    SlowClient,
    /// More than an allocation may relay in its time.
    Bitrate,
}

const DROPS: [&str; 13] = [
    "malformed",
    "too_short_to_challenge",
    "rate_limited",
    "no_allocation",
    "no_permission",
    "no_channel",
    "own_address",
    "other_room",
    "queue_full",
    "send_to_peer",
    "send_to_client",
    "slow_client",
    "bitrate",
];

/// Over what a client reaches TURN.
#[derive(Clone, Copy, Debug, Default, Hash, PartialEq, Eq, EncodeLabelValue)]
#[expect(missing_docs, reason = "the names say it")]
#[allow(non_camel_case_types, reason = "the names are the label values")]
pub enum Transport {
    #[default]
    udp,
    tcp,
    tls,
}

const TRANSPORTS: [(Transport, &str); 3] = [(Transport::udp, "udp"), (Transport::tcp, "tcp"), (Transport::tls, "tls")];

/// TURN connections over TCP and TLS.
#[derive(Debug, Default)]
pub struct StreamMetrics {
    /// Open ones, with an allocation or without. Counted from the first byte that says STUN.
    pub connections: Family<TransportLabel, Gauge>,
    /// Opened.
    pub opened: Family<TransportLabel, Counter>,
    /// Ended, by why.
    pub closed: Family<StreamCloseLabel, Counter>,
}

/// Label of [`StreamMetrics`].
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct TransportLabel {
    /// Over what.
    pub transport: Transport,
}

/// Label of [`StreamMetrics::closed`].
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct StreamCloseLabel {
    /// Over what.
    pub transport: Transport,
    /// Why.
    pub reason: StreamClose,
}

/// Why a TURN connection ended.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "the names are the label values")]
pub enum StreamClose {
    /// The client closed it.
    client,
    /// It broke.
    connection_lost,
    /// What came was neither STUN nor ChannelData.
    not_turn,
    /// A message that is longer than such a client may send.
    message_too_long,
    /// There was no allocation for too long.
    no_allocation,
    /// The server ends, or needed the place for somebody else.
    server,
}

/// Which way a packet was relayed, and over what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// From a client to a peer on the network: counted when the kernel took it.
    ToPeerKernel,
    /// From a peer on the network to a client: counted when the kernel took it.
    ToClientKernel,
    /// From one client of this server to another without the kernel between: counted at the receiving client, once.
    InProcess,
}

const PATHS: [(&str, &str); 3] = [("to_peer", "kernel"), ("to_client", "kernel"), ("client_to_client", "in_process")];

/// What one TURN worker counts. All payload sizes are application data, without STUN or channel headers.
#[derive(Debug, Default)]
pub struct TurnCounters {
    packets: [AtomicU64; PATHS.len()],
    bytes: [AtomicU64; PATHS.len()],
    drops: [AtomicU64; DROPS.len()],
    requests: [AtomicU64; METHODS.len()],
    responses: [[AtomicU64; CODES.len()]; METHODS.len()],
    peer_refusals: PerLabel<PeerRefusal, AtomicU64>,
    credential_refusals: [AtomicU64; CREDENTIAL_REFUSALS.len()],
    refreshed_after_expiry: AtomicU64,
    transport: Transport,
    sessions: Pair,
    allocations: Pair,
    permissions: Pair,
    channels: Pair,
}

/// Opened and closed, whose difference is the gauge.
#[derive(Debug, Default)]
struct Pair {
    opened: AtomicU64,
    closed: AtomicU64,
}

/// Things a worker holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Client sessions (5-tuples with state).
    Sessions,
    /// Allocations.
    Allocations,
    /// Permissions in force.
    Permissions,
    /// Channels bound.
    Channels,
}

fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

impl TurnCounters {
    /// A packet of `len` payload bytes went along `path`.
    pub fn relayed(&self, path: Path, len: usize) {
        add(&self.packets[path as usize], 1);
        add(&self.bytes[path as usize], len as u64);
    }

    /// A packet was dropped.
    pub fn dropped(&self, reason: DropReason) {
        add(&self.drops[reason as usize], 1);
    }

    /// A request arrived; retransmissions count.
    pub fn request(&self, method: TurnMethod) {
        add(&self.requests[method as usize], 1);
    }

    /// A response was made; `code` is 0 for success. Retransmitted answers count.
    pub fn response(&self, method: TurnMethod, code: u16) {
        let index = CODES.iter().position(|known| *known == code);
        debug_assert!(index.is_some(), "code {code} has no counter");
        add(&self.responses[method as usize][index.unwrap_or(2)], 1);
    }

    /// A peer address was refused.
    pub fn peer_refused(&self, reason: PeerRefusal) {
        add(&self.peer_refusals[reason], 1);
    }

    /// Credentials were refused.
    pub fn credential_refused(&self, reason: CredentialRefusal) {
        add(&self.credential_refusals[reason as usize], 1);
    }

    /// A Refresh succeeded although the credential's expiry had passed.
    pub fn refreshed_after_expiry(&self) {
        add(&self.refreshed_after_expiry, 1);
    }

    /// `n` of these came to be.
    pub fn opened(&self, what: Held, n: usize) {
        add(&self.pair(what).opened, n as u64);
    }

    /// `n` of these ended.
    pub fn closed(&self, what: Held, n: usize) {
        add(&self.pair(what).closed, n as u64);
    }

    /// How many of these there are.
    pub fn held(&self, what: Held) -> i64 {
        let Pair { opened, closed } = self.pair(what);
        opened.load(Ordering::Relaxed) as i64 - closed.load(Ordering::Relaxed) as i64
    }

    fn pair(&self, what: Held) -> &Pair {
        match what {
            Held::Sessions => &self.sessions,
            Held::Allocations => &self.allocations,
            Held::Permissions => &self.permissions,
            Held::Channels => &self.channels,
        }
    }
}

/// The counters of all workers.
#[derive(Default)]
struct TurnMetrics {
    workers: RwLock<Vec<Arc<TurnCounters>>>,
    directory: std::sync::OnceLock<Arc<Directory>>,
}

impl fmt::Debug for TurnMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TurnMetrics")
    }
}

impl Metrics {
    /// Registers everything.
    pub fn new() -> Self {
        let signaling = SignalingMetrics::default();
        let turn = Arc::new(TurnMetrics::default());
        let streams = Arc::new(StreamMetrics::default());
        let mut registry = Registry::with_prefix("bimcc_rtc");
        registry.register("rooms", "Rooms with at least one member", signaling.rooms.clone());
        registry.register("members", "Members of rooms, those away included", signaling.members.clone());
        registry.register(
            "members_away",
            "Members whose connection is gone and whose grace runs",
            signaling.members_away.clone(),
        );
        registry.register("resumes", "Joins with a good resume token, by outcome", signaling.resumes.clone());
        registry.register("connections", "Open WebSocket connections", signaling.connections.clone());
        registry.register("connections_opened", "WebSocket connections opened", signaling.connections_opened.clone());
        registry.register(
            "connections_closed",
            "WebSocket connections ended, by reason",
            signaling.connections_closed.clone(),
        );
        registry.register(
            "connections_refused",
            "Connections turned away before the upgrade, by reason",
            signaling.connections_refused.clone(),
        );
        registry.register(
            "messages_received",
            "Signaling messages from clients, by event",
            signaling.messages_received.clone(),
        );
        registry.register("messages_sent", "Signaling messages queued to clients", signaling.messages_sent.clone());
        registry.register("signaling_errors", "_error answers, by code", signaling.errors.clone());
        registry.register("turn_streams", "Open TURN connections over TCP and TLS", streams.connections.clone());
        registry.register("turn_streams_opened", "TURN connections opened", streams.opened.clone());
        registry.register("turn_streams_closed", "TURN connections ended, by reason", streams.closed.clone());
        registry.register_collector(Box::new(turn.clone()));
        Self { signaling, streams, turn, registry }
    }

    /// The counters of one more UDP worker.
    pub fn add_turn_worker(&self) -> Arc<TurnCounters> {
        self.add_turn_counters(Transport::udp)
    }

    /// The counters of clients over `transport`.
    pub fn add_turn_counters(&self, transport: Transport) -> Arc<TurnCounters> {
        let counters = Arc::new(TurnCounters { transport, ..TurnCounters::default() });
        self.turn.workers.write().unwrap_or_else(|poisoned| poisoned.into_inner()).push(counters.clone());
        counters
    }

    /// Shows the size of `directory` as a gauge.
    pub fn watch_directory(&self, directory: Arc<Directory>) {
        let _ = self.turn.directory.set(directory);
    }

    /// All metrics in the OpenMetrics text format.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = text::encode(&mut text, &self.registry);
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Collector for TurnMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let workers = self.workers.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        let sum = |pick: &dyn Fn(&TurnCounters) -> &AtomicU64| -> u64 {
            workers.iter().map(|worker| pick(worker).load(Ordering::Relaxed)).sum()
        };
        let mut family = |name: &str, help: &str, unit: Option<&Unit>, rows: &[(&[(&str, &str)], u64)]| {
            let kind = ConstCounter::new(0u64);
            let mut metric = encoder.encode_descriptor(name, help, unit, kind_of(&kind))?;
            for (labels, value) in rows {
                ConstCounter::new(*value).encode(metric.encode_family(labels)?)?;
            }
            Ok::<(), fmt::Error>(())
        };

        let mut packets = Vec::new();
        let mut bytes = Vec::new();
        let labels: Vec<_> =
            PATHS.iter().map(|(direction, path)| [("direction", *direction), ("path", *path)]).collect();
        for (i, label) in labels.iter().enumerate() {
            packets.push((&label[..], sum(&|c| &c.packets[i])));
            bytes.push((&label[..], sum(&|c| &c.bytes[i])));
        }
        family("turn_relayed_packets", "Packets relayed", None, &packets)?;
        family("turn_relayed", "Payload bytes relayed", Some(&Unit::Bytes), &bytes)?;

        let labels = DROPS.map(|reason| [("reason", reason)]);
        let rows: Vec<_> = labels.iter().enumerate().map(|(i, l)| (&l[..], sum(&|c| &c.drops[i]))).collect();
        family("turn_dropped_packets", "Packets from clients and peers that went nowhere, by reason", None, &rows)?;

        let labels = METHODS.map(|method| [("method", method)]);
        let rows: Vec<_> = labels.iter().enumerate().map(|(i, l)| (&l[..], sum(&|c| &c.requests[i]))).collect();
        family("turn_requests", "STUN requests received, by method", None, &rows)?;

        let codes = CODES.map(|code| if code == 0 { "success".to_owned() } else { code.to_string() });
        let mut labels = Vec::new();
        for (m, method) in METHODS.iter().enumerate() {
            for (c, code) in codes.iter().enumerate() {
                labels.push(([("method", *method), ("code", code.as_str())], sum(&|w| &w.responses[m][c])));
            }
        }
        let rows: Vec<_> = labels.iter().filter(|(_, n)| *n > 0).map(|(l, n)| (&l[..], *n)).collect();
        family("turn_responses", "STUN responses sent, by method and code", None, &rows)?;

        let labels = PeerRefusal::ALL.map(|reason| (reason, [("reason", reason.as_str())]));
        let rows: Vec<_> = labels.iter().map(|(reason, l)| (&l[..], sum(&|c| &c.peer_refusals[*reason]))).collect();
        family("turn_peer_refusals", "Peer addresses refused with 403, by reason", None, &rows)?;

        let labels = CREDENTIAL_REFUSALS.map(|reason| [("reason", reason)]);
        let rows: Vec<_> =
            labels.iter().enumerate().map(|(i, l)| (&l[..], sum(&|c| &c.credential_refusals[i]))).collect();
        family("turn_credential_refusals", "TURN credentials refused with 401, by reason", None, &rows)?;

        let refreshed = ConstCounter::new(sum(&|c| &c.refreshed_after_expiry));
        let help = "Refreshes granted after the credential's expiry";
        let name = "turn_refreshes_after_expiry";
        refreshed.encode(encoder.encode_descriptor(name, help, None, kind_of(&refreshed))?)?;

        let held = [
            (Held::Sessions, "turn_sessions", "Client sessions"),
            (Held::Allocations, "turn_allocations", "Allocations"),
            (Held::Permissions, "turn_permissions", "Permissions in force"),
            (Held::Channels, "turn_channels", "Channels bound"),
        ];
        for (what, name, help) in held {
            let opened = sum(&|c| &c.pair(what).opened);
            let closed = sum(&|c| &c.pair(what).closed);
            let gauge = ConstGauge::new(opened as i64 - closed as i64);
            gauge.encode(encoder.encode_descriptor(name, help, None, kind_of(&gauge))?)?;
            for (suffix, value) in [("opened", opened), ("closed", closed)] {
                let counter = ConstCounter::new(value);
                let name = format!("{name}_{suffix}");
                let help = format!("{help}: {suffix} since the start");
                counter.encode(encoder.encode_descriptor(&name, &help, None, kind_of(&counter))?)?;
            }
        }
        for (what, name, help) in [
            (Held::Sessions, "turn_sessions_by_transport", "Client sessions, by the client's transport"),
            (Held::Allocations, "turn_allocations_by_transport", "Allocations, by the client's transport"),
        ] {
            let mut metric = encoder.encode_descriptor(name, help, None, kind_of(&ConstGauge::new(0i64)))?;
            for (transport, label) in TRANSPORTS {
                let of_transport = workers.iter().filter(|worker| worker.transport == transport);
                let held: i64 = of_transport.map(|worker| worker.held(what)).sum();
                ConstGauge::new(held).encode(metric.encode_family(&[("transport", label)])?)?;
            }
        }
        if let Some(directory) = self.directory.get() {
            let gauge = ConstGauge::new(directory.len() as i64);
            let help = "Members that TURN knows";
            gauge.encode(encoder.encode_descriptor("directory_entries", help, None, kind_of(&gauge))?)?;
        }
        Ok(())
    }
}

fn kind_of(metric: &impl EncodeMetric) -> prometheus_client::metrics::MetricType {
    metric.metric_type()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_added_up() {
        let metrics = Metrics::new();
        let (a, b) = (metrics.add_turn_worker(), metrics.add_turn_worker());
        a.relayed(Path::InProcess, 100);
        b.relayed(Path::InProcess, 11);
        a.response(TurnMethod::Allocate, 0);
        b.response(TurnMethod::Allocate, 401);
        a.opened(Held::Channels, 3);
        b.closed(Held::Channels, 1);
        let text = metrics.encode();
        for line in [
            "bimcc_rtc_turn_relayed_bytes_total{direction=\"client_to_client\",path=\"in_process\"} 111",
            "bimcc_rtc_turn_relayed_packets_total{direction=\"client_to_client\",path=\"in_process\"} 2",
            "bimcc_rtc_turn_responses_total{method=\"allocate\",code=\"success\"} 1",
            "bimcc_rtc_turn_responses_total{method=\"allocate\",code=\"401\"} 1",
            "bimcc_rtc_turn_channels 2",
            "bimcc_rtc_rooms 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }
}
