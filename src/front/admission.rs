//! Decides which connections are accepted, and counts refusals: joins the limits of connections, of WebSockets and of
//! TURN connections.

use std::{net::IpAddr, sync::Arc};

use super::{
    settings::FrontSettings,
    shares::{ConnectionShares, NoShare, Share},
    slots::{Slot, Slots},
};
use crate::{
    http::{
        client_info::Trust,
        door::{Door, NoPlace, Unfit},
    },
    observe::metrics::{LabelValue, Metrics, TurnedAwayLabel},
    turn::io::Streams,
    values::turned_away::TurnedAway,
};

/// Decides which connections are accepted.
pub(super) struct Admission {
    trust: Arc<Trust>,
    slots: Arc<Slots>,
    web_sockets: Arc<ConnectionShares>,
    turn_streams: Arc<ConnectionShares>,
    /// The addresses of members.
    turn: Option<Arc<Streams>>,
    metrics: Arc<Metrics>,
}

/// The places that a WebSocket takes.
pub(super) struct WebSocketPlace {
    /// The slot of the client behind a trusted proxy.
    pub(super) of_client: Option<Slot>,
    /// Its place among the WebSockets.
    pub(super) share: Share,
}

impl Admission {
    pub(super) fn new(
        settings: &FrontSettings,
        trust: Arc<Trust>,
        turn: Option<Arc<Streams>>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            trust,
            slots: Slots::new(settings.max_connections_per_ip, settings.max_half_open),
            web_sockets: ConnectionShares::new(settings.web_sockets.clone()),
            turn_streams: ConnectionShares::of_turn(settings.max_turn_streams),
            turn,
            metrics,
        }
    }

    /// A slot for a connection of `peer`. Behind a trusted proxy, the client is known only later and is counted then.
    pub(super) fn connection(&self, peer: IpAddr) -> Option<Slot> {
        if self.is_proxy(peer) {
            return Some(self.slots.uncounted(peer));
        }
        let slot =
            if self.is_where_a_member_is(peer) { self.slots.take_of_member(peer) } else { self.slots.take(peer) };
        if slot.is_none() {
            self.count_turned_away(TurnedAway::TooManyFromAddress);
        }
        slot
    }

    /// A place for a connection of `peer` that speaks STUN.
    pub(super) fn turn_stream(&self, peer: IpAddr) -> Option<Share> {
        let counted = Some(peer).filter(|address| !self.is_proxy(*address));
        let share = self.turn_streams.take(counted);
        let why = |full: &NoShare| {
            self.count_turned_away(match full {
                NoShare::Address => TurnedAway::TooManyFromAddress,
                NoShare::Server => TurnedAway::TooManyTurnStreams,
            });
        };
        share.inspect_err(why).ok()
    }

    /// Whether so many connections were told to end and are still open that no more should be accepted for the moment.
    pub(super) fn is_crowded(&self) -> bool {
        self.slots.is_crowded()
    }

    pub(super) fn is_proxy(&self, peer: IpAddr) -> bool {
        self.trust.is_proxy(peer)
    }

    pub(super) fn is_where_a_member_is(&self, peer: IpAddr) -> bool {
        self.turn.as_ref().is_some_and(|turn| turn.knows(peer))
    }

    pub(super) fn count_turned_away(&self, reason: TurnedAway) {
        tracing::debug!(reason = %reason.as_str(), "connection turned away");
        self.metrics.signaling.connections_refused.get_or_create(&TurnedAwayLabel { reason: LabelValue(reason) }).inc();
    }

    fn web_socket(&self, peer: IpAddr, apparent: IpAddr) -> Result<WebSocketPlace, NoPlace> {
        if self.slots.has_too_many(peer) {
            return Err(NoPlace::OutsideRooms);
        }
        let mut of_client = None;
        if self.is_proxy(peer) && !self.is_proxy(apparent) {
            of_client = Some(self.slots.take(apparent).ok_or(NoPlace::OutsideRooms)?);
        }
        let counted = Some(apparent).filter(|address| !self.is_proxy(*address));
        let share = self.web_sockets.take(counted).map_err(|full| match full {
            NoShare::Address => NoPlace::FromAddress,
            NoShare::Server => NoPlace::InAll,
        })?;
        Ok(WebSocketPlace { of_client, share })
    }
}

impl Door for Admission {
    type Place = WebSocketPlace;

    fn place(&self, peer: IpAddr, apparent: IpAddr) -> Result<WebSocketPlace, NoPlace> {
        self.web_socket(peer, apparent).inspect_err(|why| {
            self.count_turned_away(match why {
                NoPlace::OutsideRooms | NoPlace::FromAddress => TurnedAway::TooManyFromAddress,
                NoPlace::InAll => TurnedAway::TooManyWebsockets,
            });
        })
    }

    fn count(&self, why: Unfit) {
        self.count_turned_away(match why {
            Unfit::Late => TurnedAway::HandshakeTimeout,
            Unfit::BadHandshake => TurnedAway::BadHandshake,
            Unfit::TlsRequired => TurnedAway::TlsRequired,
            Unfit::Origin => TurnedAway::Origin,
        });
    }
}
