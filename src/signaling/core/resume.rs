//! Resume tokens: a client that holds one when its connection breaks can come back under its old id.
//!
//! A token is base64url of version (1 byte), member id (16), epoch (4), issue time (8, Unix seconds) and
//! HMAC-SHA256(key, all of this and the room's name) (32). The HMAC covers the room's name, but the token does not
//! contain it: a client that presents a token also names the room, and the token is valid only for the room that it was
//! made for. The *epoch* counts how often the member has left a room by itself. When it leaves, all its tokens up to
//! the current epoch become invalid (`Revoked`).
//!
//! The module is pure: no clock and no I/O. Nothing is stored for a token, so a token outlives the process if the key
//! does.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::hmac;

use crate::{
    signaling::clock::Step,
    values::{label::labels, member::MemberId},
};

labels! {
    /// The result of a join with a valid resume token.
    pub enum Resume {
        /// The member was away and is back. Nobody was told.
        WithinGrace = "within_grace",
        /// The new connection replaced one that was still open. Nobody was told.
        Takeover = "takeover",
        /// The member is a newcomer with its old id, and the others were told.
        Announced = "announced",
    }
}

const VERSION: u8 = 1;
const CLAIMS_BYTES: usize = 1 + 16 + 4 + 8;
const TOKEN_BYTES: usize = CLAIMS_BYTES + 32;

/// Signs and verifies resume tokens.
#[derive(Clone)]
pub struct ResumeKey(hmac::Key);

impl fmt::Debug for ResumeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResumeKey(..)")
    }
}

/// The content of a valid token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claims {
    pub(crate) id: MemberId,
    pub(crate) epoch: u32,
    /// Unix seconds.
    pub(crate) issued_at: u64,
}

impl ResumeKey {
    /// Makes the key from random bytes.
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    pub(crate) fn sign(&self, claims: Claims, room: &str) -> String {
        let mut token = Vec::with_capacity(TOKEN_BYTES);
        token.push(VERSION);
        token.extend_from_slice(&claims.id.to_bits().to_be_bytes());
        token.extend_from_slice(&claims.epoch.to_be_bytes());
        token.extend_from_slice(&claims.issued_at.to_be_bytes());
        let tag = hmac::sign(&self.0, &signed_bytes(&token, room));
        token.extend_from_slice(tag.as_ref());
        BASE64_URL_SAFE_NO_PAD.encode(token)
    }

    /// The content of `token`, if it was signed with this key for `room`. The caller must check whether it has expired.
    pub(crate) fn verify(&self, token: &str, room: &str) -> Option<Claims> {
        // The length is checked first, so that nobody can make the server decode a long text.
        if token.len() != base64::encoded_len(TOKEN_BYTES, false)? {
            return None;
        }
        let token = BASE64_URL_SAFE_NO_PAD.decode(token).ok()?;
        let (claims, tag) = token.split_at_checked(CLAIMS_BYTES)?;
        hmac::verify(&self.0, &signed_bytes(claims, room), tag).ok()?;
        let (version, rest) = claims.split_first()?;
        let (id, rest) = rest.split_first_chunk()?;
        let (epoch, rest) = rest.split_first_chunk()?;
        let (issued_at, _) = rest.split_first_chunk()?;
        (*version == VERSION).then(|| Claims {
            id: MemberId::from_bits(u128::from_be_bytes(*id)),
            epoch: u32::from_be_bytes(*epoch),
            issued_at: u64::from_be_bytes(*issued_at),
        })
    }
}

/// The claims have a fixed length, so they cannot be confused with the room's name.
fn signed_bytes(claims: &[u8], room: &str) -> Vec<u8> {
    [claims, room.as_bytes()].concat()
}

/// Members whose tokens are invalid although they have not expired, because the members left or were kicked.
///
/// Each owner of rooms remembers the revocations of its own rooms. When all owners together have more than
/// [`MAX_REVOKED`], the service makes the owner of the one that would end soonest forget it.
#[derive(Debug, Default)]
pub(crate) struct Revoked {
    by_id: BTreeMap<MemberId, Revocation>,
    /// The same revocations, in the order in which they end.
    by_end: BTreeSet<(u64, MemberId)>,
}

#[derive(Clone, Copy, Debug)]
struct Revocation {
    /// Tokens up to this epoch are invalid.
    epoch: u32,
    /// When the last of them would have expired (Unix seconds).
    ends_at: u64,
}

/// These take some 6 MB at most.
pub(crate) const MAX_REVOKED: usize = 65_536;

impl Revoked {
    /// Revokes the tokens of `id` up to `epoch`, which would have expired at `ends_at`.
    pub(crate) fn add(&mut self, id: MemberId, epoch: u32, ends_at: u64, now: u64) {
        while let Some((end, ended)) = self.by_end.first().copied()
            && end <= now
        {
            self.remove(end, ended);
        }
        if let Some(old) = self.by_id.insert(id, Revocation { epoch, ends_at }) {
            self.by_end.remove(&(old.ends_at, id));
        }
        self.by_end.insert((ends_at, id));
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// When the first revocation ends.
    pub(crate) fn first_end(&self) -> Option<u64> {
        self.by_end.first().map(|(end, _)| *end)
    }

    /// Forgets the revocation that would end soonest. Returns `false` if there is none.
    pub(crate) fn forget_first(&mut self) -> bool {
        let first = self.by_end.first().copied();
        first.inspect(|(end, id)| self.remove(*end, *id)).is_some()
    }

    /// The wall clock was set. Every revocation still ends at the same moment.
    pub(crate) fn carry_over(&mut self, step: Step) {
        for revocation in self.by_id.values_mut() {
            revocation.ends_at = step.carried_over(revocation.ends_at);
        }
        self.by_end = self.by_id.iter().map(|(id, revocation)| (revocation.ends_at, *id)).collect();
    }

    pub(crate) fn contains(&self, id: MemberId, epoch: u32) -> bool {
        self.by_id.get(&id).is_some_and(|revocation| epoch <= revocation.epoch)
    }

    fn remove(&mut self, ends_at: u64, id: MemberId) {
        self.by_end.remove(&(ends_at, id));
        self.by_id.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn claims(id: u128) -> Claims {
        Claims { id: MemberId::from_bits(id), epoch: 3, issued_at: 1_000_000 }
    }

    proptest! {
        #[test]
        fn a_token_says_what_was_signed(id: u128, epoch: u32, issued_at: u64, room in "\\PC{0,40}") {
            let key = ResumeKey::new(&[7; 32]);
            let claims = Claims { id: MemberId::from_bits(id), epoch, issued_at };
            prop_assert_eq!(key.verify(&key.sign(claims, &room), &room), Some(claims));
        }

        #[test]
        fn any_text_is_verified_or_not(text in "\\PC{0,200}") {
            prop_assert_eq!(ResumeKey::new(&[7; 32]).verify(&text, "r"), None);
        }

        #[test]
        fn no_bit_can_be_changed(at in any::<prop::sample::Index>(), bit in 0..8u32) {
            let key = ResumeKey::new(&[7; 32]);
            let mut bytes = BASE64_URL_SAFE_NO_PAD.decode(key.sign(claims(1), "r")).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert_eq!(key.verify(&BASE64_URL_SAFE_NO_PAD.encode(bytes), "r"), None);
        }
    }

    #[test]
    fn a_token_is_for_one_room_and_one_key() {
        let key = ResumeKey::new(&[7; 32]);
        let token = key.sign(claims(1), "room");
        assert_eq!(key.verify(&token, "room"), Some(claims(1)));
        assert_eq!(key.verify(&token, "rooms"), None);
        assert_eq!(key.verify(&token, ""), None);
        assert_eq!(ResumeKey::new(&[8; 32]).verify(&token, "room"), None);
        assert_eq!(key.verify(&token[..token.len() - 1], "room"), None);
        assert_eq!(key.verify(&format!("{token}A"), "room"), None);
    }

    #[test]
    fn revocation_ends_with_the_epoch_and_with_time() {
        let (alice, bob) = (MemberId::from_bits(1), MemberId::from_bits(2));
        let mut revoked = Revoked::default();
        revoked.add(alice, 1, 100, 0);
        assert_eq!([0, 1, 2].map(|epoch| revoked.contains(alice, epoch)), [true, true, false]);
        assert!(!revoked.contains(bob, 0));
        revoked.add(alice, 2, 120, 20);
        revoked.add(bob, 0, 200, 100);
        assert!(revoked.contains(alice, 2), "the later end counts");
        revoked.add(bob, 1, 220, 120);
        assert!(!revoked.contains(alice, 2));
        assert_eq!((revoked.by_id.len(), revoked.by_end.len()), (1, 1));
    }

    #[test]
    fn revocations_are_bounded() {
        let mut revoked = Revoked::default();
        for i in 0..=MAX_REVOKED as u128 {
            revoked.add(MemberId::from_bits(i), 0, 1000 + i as u64, 0);
            if revoked.len() > MAX_REVOKED {
                assert!(revoked.forget_first());
            }
        }
        assert_eq!((revoked.by_id.len(), revoked.by_end.len()), (MAX_REVOKED, MAX_REVOKED));
        assert!(!revoked.contains(MemberId::from_bits(0), 0), "the soonest to end");
        assert!(revoked.contains(MemberId::from_bits(1), 0));
    }
}
