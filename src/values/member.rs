//! Ids of members.

use std::{fmt, str::FromStr};

/// The id of a member, made by the server. It is written as `m-` and 32 hex digits, so that it cannot be confused with
/// the name of an API user.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberId(u128);

impl MemberId {
    /// The id with these bits. They should be random: an id is not a secret, but must not repeat.
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// The counterpart of [`Self::from_bits`].
    pub const fn to_bits(self) -> u128 {
        self.0
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "m-{:032x}", self.0)
    }
}

impl fmt::Debug for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a [`MemberId`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a member id")]
pub struct NotAMemberId;

impl FromStr for MemberId {
    type Err = NotAMemberId;

    fn from_str(text: &str) -> Result<Self, NotAMemberId> {
        let digits = text.strip_prefix("m-").ok_or(NotAMemberId)?;
        let canonical = digits.len() == 32 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !canonical {
            return Err(NotAMemberId);
        }
        u128::from_str_radix(digits, 16).map(Self).map_err(|_| NotAMemberId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: MemberId = MemberId::from_bits(1);

    #[test]
    fn ids_have_one_form() {
        assert_eq!(ALICE.to_string().parse(), Ok(ALICE));
        for text in ["", "m-", "m-1", "M-00000000000000000000000000000001", "m-0000000000000000000000000000000A"] {
            assert_eq!(text.parse::<MemberId>(), Err(NotAMemberId), "{text}");
        }
    }
}
