//! Lines about clients of TURN.

use tracing::{Level, Value, field::display, level_filters::LevelFilter, span::EnteredSpan};

use super::{Journal, LineKind};
use crate::{
    credentials::{self, User},
    turn::core::{
        event::{Allocated, Ended, Holder, Objection, SessionEvent},
        five_tuple::FiveTuple,
        transport::Transport,
    },
    values::family::Families,
};

const TURN: &str = "bimcc_rtc::turn";

impl Journal {
    /// The context for log lines about a datagram of this client, if the log level needs it.
    pub fn client(&self, transport: Transport, tuple: FiveTuple) -> Option<EnteredSpan> {
        if LevelFilter::current() < LevelFilter::DEBUG {
            return None;
        }
        let from = self.names.address(Some(tuple.client.ip())).map(display);
        let (id, transport) = (self.names.client(tuple), transport.as_str());
        Some(tracing::debug_span!(target: TURN, "client", %id, %transport, from).entered())
    }

    /// Writes an event that a TURN session over `transport` has reported.
    pub fn note_turn(&self, event: &SessionEvent, transport: Transport) {
        match event {
            SessionEvent::Allocated(allocated) => self.note_allocated(allocated, transport),
            SessionEvent::Ended(ended) => self.note_ended(ended, transport),
            SessionEvent::Answered { method, outcome: Err(code) } => {
                tracing::debug!(target: TURN, method = %method.as_str(), code = %code.as_str(), "request refused");
            }
            SessionEvent::Refused(Objection::Credential(reason)) => {
                tracing::debug!(target: TURN, reason = %reason.as_str(), "credential refused");
            }
            SessionEvent::Refused(Objection::Peer { ip, reason }) => {
                let peer = self.names.address(Some(*ip)).map(display);
                tracing::debug!(target: TURN, reason = %reason.as_str(), peer, "peer refused");
            }
            SessionEvent::Permitted { ip, is_new: true, .. } => {
                tracing::debug!(target: TURN, peer = self.names.address(Some(*ip)).map(display), "peer permitted");
            }
            SessionEvent::ChannelBound { number, peer, is_new: true } => {
                let peer = self.names.address(Some(peer.ip())).map(display);
                tracing::debug!(target: TURN, number, peer, "channel bound");
            }
            _ => {}
        }
    }

    fn note_allocated(&self, Allocated { holder, relayed, lifetime }: &Allocated, transport: Transport) {
        if !tracing::enabled!(target: TURN, Level::INFO) {
            return;
        }
        let source = holder.tuple.client.ip();
        if self.admits(LineKind::AllocationMade, Some(source)) {
            let (member, user) = self.holder(holder);
            tracing::info!(
                target: TURN,
                allocation = %self.names.client(holder.tuple),
                member,
                user,
                transport = %transport.as_str(),
                family = %Families::of(relayed).as_str(),
                lifetime = lifetime.as_secs(),
                from = self.names.address(Some(source)).map(display),
                "allocation made"
            );
        }
    }

    fn note_ended(&self, Ended { holder, families, reason, totals, duration }: &Ended, transport: Transport) {
        if !tracing::enabled!(target: TURN, Level::INFO) {
            return;
        }
        let source = holder.tuple.client.ip();
        if self.admits(LineKind::AllocationEnded, Some(source)) {
            let (member, user) = self.holder(holder);
            tracing::info!(
                target: TURN,
                allocation = %self.names.client(holder.tuple),
                member,
                user,
                reason = %reason.as_str(),
                seconds = duration.as_secs(),
                transport = %transport.as_str(),
                family = %families.as_str(),
                bytes_from_client = totals.from_client.bytes,
                bytes_to_client = totals.to_client.bytes,
                packets_from_client = totals.from_client.packets,
                packets_to_client = totals.to_client.packets,
                from = self.names.address(Some(source)).map(display),
                "allocation ended"
            );
        }
    }

    /// The holder of an allocation: a member, or a user of the API by the hash of its name.
    fn holder(&self, holder: &Holder) -> (Option<impl Value>, Option<impl Value>) {
        let member = holder.member.map(|member| display(member.id));
        let user = match credentials::parse_username(&holder.username) {
            Ok((_, User::Api(name))) => Some(display(self.names.hashed(&name).to_string())),
            _ => None,
        };
        (member, user)
    }
}
