//! Every metric of the server: name, unit, labels and the moment it counts.
//!
//! Each enum for a label lives with the thing it describes; only the instruments are here. Signaling counts in shared
//! instruments. TURN workers count in plain atomics of their own ([`TurnCounters`]), so that the packet path shares no
//! cache line with another worker; they are added up on request ([`Metrics::encode`]). Counters come in pairs (opened,
//! closed) where a gauge belongs to them. Labels come from closed sets: nothing that a stranger sends becomes a label.

mod turn;

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, EncodeMetric, LabelValueEncoder, text},
    metrics::{
        MetricType,
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::Gauge,
    },
    registry::Registry,
};

pub use self::turn::TurnCounters;
use self::turn::TurnMetrics;
use super::log::{self, Journal};
use crate::{
    membership::Directory,
    signaling::{close_reason::CloseReason, core::resume::Resume},
    turn::core::transport::{StreamClose, Transport},
    values::{label::Label, turned_away::TurnedAway},
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

/// The instruments of signaling.
#[derive(Debug, Default)]
pub struct SignalingMetrics {
    /// Rooms with at least one member, even if it is away.
    pub rooms: Gauge,
    /// Members of rooms, including those that are away.
    pub members: Gauge,
    /// Members whose connection is gone and whose grace period is running.
    pub members_away: Gauge,
    /// Joins with a valid resume token, by their result.
    pub resumes: Family<ResumeLabel, Counter>,
    /// Open WebSocket connections, in a room or outside.
    pub connections: Gauge,
    /// WebSocket connections opened: counted after the upgrade.
    pub connections_opened: Counter,
    /// WebSocket connections ended, by the reason.
    pub connections_closed: Family<CloseReasonLabel, Counter>,
    /// Connections turned away before the upgrade.
    pub connections_refused: Family<TurnedAwayLabel, Counter>,
    /// Messages from clients, by event; `unknown` stands for every event the protocol does not have.
    pub messages_received: Family<EventLabel, Counter>,
    /// Messages queued to clients (a broadcast counts once per receiver).
    pub messages_sent: Counter,
    /// `_error` answers, by code.
    pub errors: Family<ErrorCodeLabel, Counter>,
    /// The journal, which also gets the counted events.
    pub journal: Option<Arc<Journal>>,
}

/// Wraps a member of a set of labels as the value of a label in the registry.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub struct LabelValue<L>(pub L);

impl<L: Label> EncodeLabelValue for LabelValue<L> {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        fmt::Write::write_str(encoder, self.0.as_str())
    }
}

/// Label of [`SignalingMetrics::connections_closed`].
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct CloseReasonLabel {
    /// The reason.
    pub reason: LabelValue<CloseReason>,
}

/// Label of [`SignalingMetrics::resumes`].
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ResumeLabel {
    /// The result.
    pub how: LabelValue<Resume>,
}

/// Label of [`SignalingMetrics::connections_refused`].
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct TurnedAwayLabel {
    /// The reason.
    pub reason: LabelValue<TurnedAway>,
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

/// TURN connections over TCP and TLS.
#[derive(Debug, Default)]
pub struct StreamMetrics {
    /// Open connections, with or without an allocation. They are counted from the first byte, if that indicates STUN.
    pub connections: Family<TransportLabel, Gauge>,
    /// Connections opened.
    pub opened: Family<TransportLabel, Counter>,
    /// Connections ended, by the reason.
    pub closed: Family<StreamCloseLabel, Counter>,
}

/// Label of [`StreamMetrics`].
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct TransportLabel {
    /// The transport.
    pub transport: LabelValue<Transport>,
}

/// Label of [`StreamMetrics::closed`].
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct StreamCloseLabel {
    /// The transport.
    pub transport: LabelValue<Transport>,
    /// The reason.
    pub reason: LabelValue<StreamClose>,
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
        registry.register_collector(Box::new(LogMetrics));
        Self { signaling, streams, turn, registry }
    }

    /// Also passes the counted events to `journal`.
    pub fn and_tell(mut self, journal: Arc<Journal>) -> Self {
        self.signaling.journal = Some(journal);
        self
    }

    /// The counters of one more UDP worker.
    pub fn add_turn_worker(&self) -> Arc<TurnCounters> {
        self.add_turn_counters(Transport::Udp)
    }

    /// The counters of clients over `transport`.
    pub fn add_turn_counters(&self, transport: Transport) -> Arc<TurnCounters> {
        let counters = Arc::new(TurnCounters::of(transport, self.signaling.journal.clone()));
        self.turn.add(counters.clone());
        counters
    }

    /// Shows the size of `directory` as a gauge.
    pub fn watch_directory(&self, directory: Arc<Directory>) {
        self.turn.watch(directory);
    }

    /// All metrics in the OpenMetrics text format.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = text::encode(&mut text, &self.registry);
        text
    }
}

/// The log counts by itself, because it exists before the metrics.
#[derive(Debug)]
struct LogMetrics;

impl Collector for LogMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let dropped = ConstCounter::new(log::dropped_lines());
        let help = "Lines of the log that came faster than they could be written";
        dropped.encode(encoder.encode_descriptor("log_lines_dropped", help, None, MetricType::Counter)?)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::turn::{
        core::{event::SessionEvent, packet::Path},
        wire::code::{ErrorCode, TurnMethod},
    };

    #[test]
    fn workers_are_added_up() {
        let metrics = Metrics::new();
        let (a, b) = (metrics.add_turn_worker(), metrics.add_turn_worker());
        a.relayed(Path::InProcess, 100);
        b.relayed(Path::InProcess, 11);
        a.count(&SessionEvent::Answered { method: TurnMethod::Allocate, outcome: Ok(()) });
        b.count(&SessionEvent::Answered { method: TurnMethod::Allocate, outcome: Err(ErrorCode::Unauthenticated) });
        let peer = std::net::SocketAddr::from(([192, 0, 2, 1], 1));
        for number in [0x4000, 0x4001, 0x4002] {
            a.count(&SessionEvent::ChannelBound { number, peer, is_new: true });
            a.count(&SessionEvent::ChannelBound { number, peer, is_new: false });
        }
        b.count(&SessionEvent::ChannelEnded { number: 0x4000, peer });
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
