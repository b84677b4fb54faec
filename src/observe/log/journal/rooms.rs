//! Lines about rooms and their members.

use std::net::IpAddr;

use tracing::{Level, field::display};

use super::{Journal, LineKind};
use crate::signaling::core::effects::RoomEvent;

const ROOMS: &str = "bimcc_rtc::signaling";

impl Journal {
    /// Writes the events of one input to a room.
    pub fn note_rooms(&self, events: &[RoomEvent]) {
        if events.is_empty() || !tracing::enabled!(target: ROOMS, Level::INFO) {
            return;
        }
        // A room opens and closes because of the member that comes or goes.
        let source = events.iter().find_map(|event| match event {
            RoomEvent::Joined { address, .. } | RoomEvent::Left { address, .. } => *address,
            _ => None,
        });
        for event in events {
            self.note_room(event, source);
        }
    }

    fn note_room(&self, event: &RoomEvent, source: Option<IpAddr>) {
        match event {
            RoomEvent::RoomOpened { room } if self.admits(LineKind::RoomOpened, source) => {
                tracing::info!(target: ROOMS, room = %self.names.hashed(&room.name), "room opened");
            }
            RoomEvent::Joined { member, room, address, announced, name }
                if self.admits(LineKind::MemberJoined, *address) =>
            {
                let (room, from) = (self.names.hashed(&room.name), self.names.address(*address).map(display));
                let (name, how) = (self.names.personal(name.as_deref()), announced.then_some(display("announced")));
                tracing::info!(target: ROOMS, %room, %member, name, how, from, "member joined");
            }
            RoomEvent::Away { member, room, address } if self.admits(LineKind::MemberAway, *address) => {
                tracing::info!(target: ROOMS, room = %self.names.hashed(&room.name), %member, "member away");
            }
            RoomEvent::Resumed { member, room, address, how } if self.admits(LineKind::MemberBack, *address) => {
                let (room, from) = (self.names.hashed(&room.name), self.names.address(*address).map(display));
                tracing::info!(target: ROOMS, %room, %member, how = %how.as_str(), from, "member back");
            }
            RoomEvent::Left { member, room, address, reason, stayed, .. }
                if self.admits(LineKind::MemberLeft, *address) =>
            {
                let (room, from) = (self.names.hashed(&room.name), self.names.address(*address).map(display));
                let (reason, seconds) = (reason.as_str(), stayed.as_secs());
                tracing::info!(target: ROOMS, %room, %member, %reason, seconds, from, "member left");
            }
            RoomEvent::RoomClosed { room, lasted } if self.admits(LineKind::RoomClosed, source) => {
                let (room, seconds) = (self.names.hashed(&room.name), lasted.as_secs());
                tracing::info!(target: ROOMS, %room, seconds, "room closed");
            }
            _ => {}
        }
    }
}
