//! Which room an id belongs to: what keeps a member from being in two rooms, whose owners know nothing of each other.
//!
//! Before an id is given a place, its room claims it; afterwards the claim is given back. An id belongs to the room as long as
//! anybody has a claim: the member that is in it, and everybody that is about to become that member. So no claim can be
//! lost between a room's decision and its being noted here.

use std::collections::BTreeMap;

use crate::values::member::MemberId;

/// Stands for a room's name: its hash, by a key that nobody outside knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RoomKey(pub(crate) u64);

/// The id belongs to another room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InAnotherRoom;

/// The claims to some ids.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    claims: BTreeMap<MemberId, Claim>,
}

#[derive(Debug)]
struct Claim {
    room: RoomKey,
    claimants: u32,
}

impl Roster {
    pub(crate) fn claim(&mut self, id: MemberId, room: RoomKey) -> Result<(), InAnotherRoom> {
        let claim = self.claims.entry(id).or_insert(Claim { room, claimants: 0 });
        if claim.room != room {
            return Err(InAnotherRoom);
        }
        claim.claimants += 1;
        Ok(())
    }

    pub(crate) fn release(&mut self, id: MemberId) {
        if let Some(claim) = self.claims.get_mut(&id) {
            claim.claimants -= 1;
            if claim.claimants == 0 {
                self.claims.remove(&id);
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.claims.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_belongs_to_one_room_until_the_last_claim_is_given_back() {
        let (id, here, there) = (MemberId::from_bits(1), RoomKey(1), RoomKey(2));
        let mut roster = Roster::default();
        assert_eq!([here, here, there].map(|room| roster.claim(id, room)), [Ok(()), Ok(()), Err(InAnotherRoom)]);
        roster.release(id);
        assert_eq!(roster.claim(id, there), Err(InAnotherRoom));
        roster.release(id);
        assert_eq!(roster.claim(id, there), Ok(()));
        roster.release(id);
        roster.release(id);
        assert!(roster.is_empty());
    }
}
