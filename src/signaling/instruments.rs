//! The hub's metrics, looked up once so that counting a message takes no lock.

use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};

use super::{
    error::{Code, Refusal},
    resume::Resume,
    wire::{CLIENT_EVENTS, ClientMessage},
};
use crate::observe::metrics::{ErrorCodeLabel, EventLabel, ResumeLabel, SignalingMetrics, Value};

/// Why a member was removed, as its peers are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RemoveReason {
    /// It said so.
    Left,
    /// It joined a room anew.
    Moved,
    /// Its connection ended, and so did its grace if it had one.
    Disconnected,
    /// The operator removed it.
    Kicked,
}

impl RemoveReason {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Moved => "moved",
            Self::Disconnected => "disconnected",
            Self::Kicked => "kicked",
        }
    }
}

pub(crate) struct Instruments {
    rooms: Gauge,
    members: Gauge,
    members_away: Gauge,
    resumes: Family<ResumeLabel, Counter>,
    sent: Counter,
    received: [Counter; CLIENT_EVENTS.len()],
    unknown: Counter,
    malformed: Counter,
    errors: [Counter; Code::ALL.len()],
}

impl Instruments {
    pub(crate) fn new(metrics: &SignalingMetrics) -> Self {
        let received = |event: &'static str| metrics.messages_received.get_or_create(&EventLabel { event }).clone();
        let error = |code: Code| metrics.errors.get_or_create(&ErrorCodeLabel { code: code.as_str() }).clone();
        Self {
            rooms: metrics.rooms.clone(),
            members: metrics.members.clone(),
            members_away: metrics.members_away.clone(),
            resumes: metrics.resumes.clone(),
            sent: metrics.messages_sent.clone(),
            received: CLIENT_EVENTS.map(received),
            unknown: received("unknown"),
            malformed: received("malformed"),
            errors: Code::ALL.map(error),
        }
    }

    pub(crate) fn count_received(&self, message: &ClientMessage<'_>) {
        let event = message.event();
        if let Some(i) = CLIENT_EVENTS.iter().position(|known| *known == event) {
            self.received[i].inc();
        }
    }

    pub(crate) fn count_refused(&self, refusal: &Refusal) {
        match refusal.code {
            Code::UnknownEvent => _ = self.unknown.inc(),
            Code::BadMessage | Code::TooLarge => _ = self.malformed.inc(),
            _ => {}
        }
        self.errors[refusal.code as usize].inc();
    }

    pub(crate) fn count_sent(&self, frames: usize) {
        self.sent.inc_by(frames as u64);
    }

    pub(crate) fn count_room_opened(&self) {
        self.rooms.inc();
    }

    pub(crate) fn count_room_closed(&self) {
        self.rooms.dec();
    }

    pub(crate) fn count_entered(&self) {
        self.members.inc();
    }

    pub(crate) fn count_left(&self) {
        self.members.dec();
    }

    pub(crate) fn count_away(&self) {
        self.members_away.inc();
    }

    pub(crate) fn count_no_longer_away(&self) {
        self.members_away.dec();
    }

    pub(crate) fn count_resumed(&self, how: Resume) {
        self.resumes.get_or_create(&ResumeLabel { how: Value(how) }).inc();
    }
}
