//! Which room an id belongs to. This prevents that a member is in two rooms, whose owners may know nothing of each
//! other.
//!
//! Before an id gets a place in a room, the room claims it; when the member is gone, the claim is given back. An id
//! belongs to the room as long as there is any claim: one of the member that is in the room, and one of each connection
//! that is about to become that member. So no claim is lost in the time between a room's decision and the note of it
//! here.

use std::collections::BTreeMap;

use crate::values::member::MemberId;

/// Identifies a room: a hash of its name, made with a key that nobody outside knows.
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
