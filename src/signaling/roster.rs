//! Who sits where, and which connection holds the seat: what keeps a member one member when it comes back.
//!
//! One lock for the whole hub. It is taken when somebody joins, leaves, breaks off or comes back, never for a message,
//! and it comes before all other locks, so whoever holds it can rely on its answers.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Instant,
};

use super::{
    clock::Steps,
    resume::Revoked,
    room::{Room, Seat},
};
use crate::membership::MemberId;

/// All members of all rooms, away or not, and the ids that may not come back.
pub(crate) struct Roster<O> {
    seats: HashMap<MemberId, Seated<O>>,
    /// Whose grace ends when; one entry per member that is away.
    away: BTreeSet<(Instant, MemberId)>,
    pub(crate) revoked: Revoked,
    /// Of the clock by which tokens are dated.
    pub(crate) steps: Steps,
    last_holder: u64,
}

struct Seated<O> {
    room: Arc<Room<O>>,
    seat: Seat,
    epoch: u32,
    /// When its grace ends, if its connection is gone.
    away_until: Option<Instant>,
}

/// A member's seat, and what comes with it.
pub(crate) struct Found<O> {
    pub(crate) room: Arc<Room<O>>,
    pub(crate) seat: Seat,
    pub(crate) epoch: u32,
    pub(crate) is_away: bool,
}

impl<O> Default for Roster<O> {
    fn default() -> Self {
        Self {
            seats: HashMap::new(),
            away: BTreeSet::new(),
            revoked: Revoked::default(),
            steps: Steps::default(),
            last_holder: 0,
        }
    }
}

impl<O> Roster<O> {
    pub(crate) fn find(&self, id: MemberId) -> Option<Found<O>> {
        self.seats.get(&id).map(Seated::found)
    }

    /// A seat for `id` that nobody else holds.
    pub(crate) fn new_seat(&mut self, id: MemberId) -> Seat {
        self.last_holder += 1;
        Seat { id, holder: self.last_holder }
    }

    /// `seat` is now held in `room`, whoever held it before.
    pub(crate) fn seat(&mut self, seat: Seat, room: Arc<Room<O>>, epoch: u32) {
        self.remove(seat.id);
        self.seats.insert(seat.id, Seated { room, seat, epoch, away_until: None });
    }

    /// The holder of `seat` is gone, and awaited until then. `false` if it held the seat no longer.
    pub(crate) fn set_away(&mut self, seat: Seat, until: Instant) -> bool {
        match self.seats.get_mut(&seat.id) {
            Some(seated) if seated.seat == seat && seated.away_until.is_none() => {
                seated.away_until = Some(until);
                self.away.insert((until, seat.id));
                true
            }
            _ => false,
        }
    }

    pub(crate) fn remove(&mut self, id: MemberId) -> Option<Found<O>> {
        let seated = self.seats.remove(&id)?;
        if let Some(until) = seated.away_until {
            self.away.remove(&(until, id));
        }
        Some(seated.found())
    }

    /// Whose grace ends first, and when.
    pub(crate) fn first_away(&self) -> Option<(Instant, MemberId)> {
        self.away.first().copied()
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.seats.is_empty() && self.away.is_empty()
    }
}

impl<O> Seated<O> {
    fn found(&self) -> Found<O> {
        let (room, is_away) = (self.room.clone(), self.away_until.is_some());
        Found { room, seat: self.seat, epoch: self.epoch, is_away }
    }
}
