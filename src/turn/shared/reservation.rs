//! Relayed addresses that are held for a later allocation: EVEN-PORT with the R bit and RESERVATION-TOKEN (RFC 8656
//! sections 7.1 and 7.2).
//!
//! This module holds the rules: who may have which address until when. The sockets, which keep the ports from everybody
//! else, are held by [`crate::turn::io`], which also asks here what has expired.

use std::{
    collections::{BTreeSet, HashMap},
    net::SocketAddr,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use crate::{
    turn::{
        shared::{quota::QuotaPlace, relayed::OwnerTag},
        wire::message::ReservationToken,
    },
    values::roomy::give_back_room,
};

/// An address that waits for the user who has the token.
#[derive(Debug)]
pub struct Reservation {
    /// The address.
    pub relayed: SocketAddr,
    /// Who may have it.
    pub username: Box<str>,
    /// On whose behalf the address was reserved. The user may have moved to another room meanwhile.
    pub owner: OwnerTag,
    /// Its place in the quotas.
    pub place: QuotaPlace,
}

/// All reservations of the process. The lock is taken for a short time and at rare requests, never for a packet.
#[derive(Debug, Default)]
pub struct Reservations {
    held: Mutex<HeldReservations>,
    /// The number of reservations, so that [`Self::next_deadline`] takes no lock while there are none.
    count: AtomicUsize,
}

#[derive(Debug, Default)]
struct HeldReservations {
    by_token: HashMap<ReservationToken, (Reservation, Instant)>,
    /// When each ends.
    ends: BTreeSet<(Instant, ReservationToken)>,
}

impl HeldReservations {
    fn remove(&mut self, token: &ReservationToken) -> Option<Reservation> {
        let (reservation, until) = self.by_token.remove(token)?;
        self.ends.remove(&(until, *token));
        give_back_room(&mut self.by_token);
        Some(reservation)
    }
}

impl Reservations {
    /// Holds an address until the given time.
    pub fn add(&self, token: ReservationToken, reservation: Reservation, until: Instant) {
        let mut held = self.lock();
        held.remove(&token);
        held.by_token.insert(token, (reservation, until));
        held.ends.insert((until, token));
        self.count.store(held.by_token.len(), Ordering::Release);
    }

    /// Gives the address of `token` to this user, if it is reserved for them. This works once.
    pub fn take(&self, token: &ReservationToken, username: &str, owner: OwnerTag, now: Instant) -> Option<Reservation> {
        let mut held = self.lock();
        let (wanted, until) = held.by_token.get(token)?;
        if *until <= now || *wanted.username != *username || wanted.owner != owner {
            return None;
        }
        let reservation = held.remove(token)?;
        self.count.store(held.by_token.len(), Ordering::Release);
        Some(reservation)
    }

    /// When the next reservation expires.
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.lock().ends.first().map(|(until, _)| *until)
    }

    /// Removes the reservations that have expired and returns their addresses, which are free again.
    pub fn expire(&self, now: Instant) -> Vec<SocketAddr> {
        let mut held = self.lock();
        let mut expired = Vec::new();
        while let Some(&(until, token)) = held.ends.first()
            && until <= now
        {
            expired.extend(held.remove(&token).map(|reservation| reservation.relayed));
        }
        self.count.store(held.by_token.len(), Ordering::Release);
        expired
    }

    fn lock(&self) -> MutexGuard<'_, HeldReservations> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{credentials::User, turn::shared::quota::Quotas, values::family::Family};

    fn reservation() -> Reservation {
        Reservation {
            relayed: "198.51.100.1:50001".parse().unwrap(),
            username: "1:alice".into(),
            owner: OwnerTag::Api,
            place: Quotas::up_to(1, 1)
                .take(&User::Api("alice".into()), "192.0.2.1".parse().unwrap(), Family::V4)
                .unwrap(),
        }
    }

    #[test]
    fn only_the_user_with_the_token_gets_the_address_and_once() {
        let (all, now) = (Reservations::default(), Instant::now());
        let room = OwnerTag::Room(crate::membership::RoomTag(std::num::NonZeroU32::MIN));
        all.add([7; 8], reservation(), now + Duration::from_secs(30));
        assert_eq!(all.next_deadline(), Some(now + Duration::from_secs(30)));
        assert!(all.take(&[8; 8], "1:alice", OwnerTag::Api, now).is_none());
        assert!(all.take(&[7; 8], "1:bob", OwnerTag::Api, now).is_none());
        assert!(all.take(&[7; 8], "1:alice", room, now).is_none());
        assert_eq!(all.take(&[7; 8], "1:alice", OwnerTag::Api, now).unwrap().relayed, reservation().relayed);
        assert!(all.take(&[7; 8], "1:alice", OwnerTag::Api, now).is_none());
        assert_eq!(all.next_deadline(), None);
    }

    #[test]
    fn it_is_held_for_its_time_and_no_longer() {
        let (all, now) = (Reservations::default(), Instant::now());
        let end = now + Duration::from_secs(30);
        all.add([7; 8], reservation(), end);
        assert!(all.expire(end - Duration::from_millis(1)).is_empty());
        assert!(all.take(&[7; 8], "1:alice", OwnerTag::Api, end).is_none());
        assert_eq!(all.expire(end), [reservation().relayed]);
        assert_eq!(all.next_deadline(), None);
    }
}
