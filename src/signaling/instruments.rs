//! The metrics of rooms, looked up once, so that counting a message takes no lock. Changes of rooms and members are
//! counted from the core's events.

use std::sync::Arc;

use prometheus_client::metrics::{counter::Counter, gauge::Gauge};

use super::{
    core::{effects::RoomEvent, resume::Resume},
    error::Code,
    wire::{CLIENT_EVENTS, ClientMessage},
};
use crate::{
    observe::{
        log::Journal,
        metrics::{ErrorCodeLabel, EventLabel, LabelValue, ResumeLabel, SignalingMetrics},
    },
    values::label::PerLabel,
};

pub(crate) struct Instruments {
    rooms: Gauge,
    members: Gauge,
    members_away: Gauge,
    resumes: PerLabel<Resume, Counter>,
    sent: Counter,
    received: [Counter; CLIENT_EVENTS.len()],
    unknown: Counter,
    malformed: Counter,
    errors: PerLabel<Code, Counter>,
    /// The journal, which gets the same events.
    journal: Option<Arc<Journal>>,
}

impl Instruments {
    pub(crate) fn new(metrics: &SignalingMetrics) -> Self {
        let received = |event: &'static str| metrics.messages_received.get_or_create(&EventLabel { event }).clone();
        let error = |code: Code| metrics.errors.get_or_create(&ErrorCodeLabel { code: code.as_str() }).clone();
        let resume = |how: Resume| metrics.resumes.get_or_create(&ResumeLabel { how: LabelValue(how) }).clone();
        Self {
            rooms: metrics.rooms.clone(),
            members: metrics.members.clone(),
            members_away: metrics.members_away.clone(),
            resumes: PerLabel::new(resume),
            sent: metrics.messages_sent.clone(),
            received: CLIENT_EVENTS.map(received),
            unknown: received("unknown"),
            malformed: received("malformed"),
            errors: PerLabel::new(error),
            journal: metrics.journal.clone(),
        }
    }

    pub(crate) fn count_received(&self, message: &ClientMessage<'_>) {
        let event = message.event();
        if let Some(i) = CLIENT_EVENTS.iter().position(|known| *known == event) {
            self.received[i].inc();
        }
    }

    pub(crate) fn count_refused(&self, code: Code) {
        match code {
            Code::UnknownEvent => _ = self.unknown.inc(),
            Code::BadMessage | Code::TooLarge => _ = self.malformed.inc(),
            _ => {}
        }
        self.errors[code].inc();
    }

    pub(crate) fn count_sent(&self, frames: usize) {
        self.sent.inc_by(frames as u64);
    }

    /// Counts the events of one input.
    pub(crate) fn count_all(&self, events: &[RoomEvent]) {
        if let Some(journal) = &self.journal {
            journal.note_rooms(events);
        }
        for event in events {
            self.count(event);
        }
    }

    fn count(&self, event: &RoomEvent) {
        match event {
            RoomEvent::RoomOpened { .. } => _ = self.rooms.inc(),
            RoomEvent::RoomClosed { .. } => _ = self.rooms.dec(),
            RoomEvent::Joined { announced, .. } => {
                self.members.inc();
                if *announced {
                    self.count_resumed(Resume::Announced);
                }
            }
            RoomEvent::Resumed { how, .. } => {
                self.count_resumed(*how);
                if *how == Resume::WithinGrace {
                    self.members_away.dec();
                } else {
                    // The connection that lost its place gets an `_error`.
                    self.count_refused(Code::Replaced);
                }
            }
            RoomEvent::Away { .. } => _ = self.members_away.inc(),
            RoomEvent::Left { was_away, .. } => {
                self.members.dec();
                if *was_away {
                    self.members_away.dec();
                }
            }
        }
    }

    fn count_resumed(&self, how: Resume) {
        self.resumes[how].inc();
    }
}
