//! What an Allocate asks for and what it gets: families, ports, places in the quotas (RFC 8656 section 7.2, steps 5 to
//! 10).

use crate::{
    turn::{
        core::session::{refusal::RequestRefusal, *},
        shared::{quota::QuotaExceeded, reservation::Reservation},
    },
    values::family::{Families, Family},
};

impl PendingAllocate {
    /// Takes a place in the quotas for each relayed address. If there is no place for the second of two, the first is
    /// still granted.
    pub(super) fn take_places(&mut self, client: IpAddr, cx: &Context<'_>) -> Result<(), RequestRefusal> {
        let take = |family| {
            cx.shared.quotas.take(&self.user, client, family).map_err(|exceeded| match exceeded {
                QuotaExceeded::User | QuotaExceeded::Address => RequestRefusal::Code(ErrorCode::AllocationQuotaReached),
                QuotaExceeded::Server => RequestRefusal::Code(ErrorCode::InsufficientCapacity),
            })
        };
        let first = match self.wish.families {
            Families::One(family) => family,
            Families::Both => Family::V4,
        };
        self.places[first] = Some(take(first)?);
        if self.wish.families == Families::Both {
            match take(Family::V6) {
                Ok(place) => self.places[Family::V6] = Some(place),
                Err(_) => {
                    self.wish.families = Families::One(Family::V4);
                    self.missing = Some((Family::V6, ErrorCode::InsufficientCapacity));
                }
            }
        }
        if self.wish.port == PortWish::EvenAndNext {
            self.next_place = Some(take(first)?);
        }
        Ok(())
    }

    /// Takes the address that is held for `token`. The answer is 508 if there is none for this user.
    pub(super) fn take_reserved(&mut self, token: &ReservationToken, cx: &Context<'_>) -> Result<(), RequestRefusal> {
        let reserved = cx.shared.reservations.take(token, &self.username, self.owner, cx.now.instant);
        let Reservation { relayed, place, .. } =
            reserved.ok_or(RequestRefusal::Code(ErrorCode::InsufficientCapacity))?;
        let family = Family::of(relayed.ip());
        self.wish = RelayWish { families: Families::One(family), port: PortWish::Reserved(relayed) };
        self.places[family] = Some(place);
        self.missing = None;
        Ok(())
    }
}

/// The families of the relayed addresses that an Allocate asks for, as far as this host has them (RFC 8656 section 7.2,
/// steps 7 and 9), and the one of two families that it does not have.
pub(super) fn families(
    requested: Option<Option<Family>>,
    additional: Option<Option<Family>>,
    cx: &Context<'_>,
) -> Result<(Families, Option<(Family, ErrorCode)>), RequestRefusal> {
    let host = cx.shared.policy.host();
    let has = |family| host.relay[family].is_some();
    match (requested, additional) {
        (Some(Some(family)), _) if has(family) => Ok((Families::One(family), None)),
        (Some(_), _) => Err(RequestRefusal::Code(ErrorCode::AddressFamilyNotSupported)),
        (None, Some(Some(Family::V6))) => match (has(Family::V4), has(Family::V6)) {
            (true, true) => Ok((Families::Both, None)),
            (true, false) => Ok((Families::One(Family::V4), Some((Family::V6, ErrorCode::AddressFamilyNotSupported)))),
            (false, true) => Ok((Families::One(Family::V6), Some((Family::V4, ErrorCode::AddressFamilyNotSupported)))),
            (false, false) => Err(RequestRefusal::Code(ErrorCode::AddressFamilyNotSupported)),
        },
        // An additional family can only be IPv6.
        (None, Some(_)) => Err(RequestRefusal::Code(ErrorCode::BadRequest)),
        // In the RFC, no family means IPv4. Browsers never name a family, so a host without IPv4 gives IPv6.
        (None, None) if has(Family::V4) => Ok((Families::One(Family::V4), None)),
        (None, None) if has(Family::V6) => Ok((Families::One(Family::V6), None)),
        (None, None) => Err(RequestRefusal::Code(ErrorCode::InsufficientCapacity)),
    }
}
