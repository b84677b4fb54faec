//! TURN shared-secret credentials: the scheme of draft-uberti-behave-turn-rest-00, which coturn and most tools speak.
//!
//! A username is `<expiry>:<user>` (expiry in Unix seconds) and its password base64(HMAC-SHA1(secret, username)).
//! Nothing is stored: whoever holds the secret can verify. Who the user is decides what else must hold:
//! a *member* credential is minted on join and names a [`MemberId`]; an *API* credential names anything else.
//!
//! Pure: no clock, no I/O. Verifying a TURN request with these lives in `turn::auth`.

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use ring::hmac;

use crate::membership::MemberId;

/// A TURN shared secret. Never shown in logs or `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// Wraps the bytes of a secret.
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// The secret itself, for those who derive keys from it.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Why a user name cannot be put into an API credential.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum UserError {
    /// Names of this form are reserved for members, whose credentials die with their membership.
    #[error("user names of the form m-<32 hex digits> are reserved for members")]
    MemberForm,
    /// USERNAME holds at most 508 bytes (RFC 8489 section 14.3); the rest is left for the expiry.
    #[error("a user name has at most 256 bytes")]
    TooLong,
    /// Control characters would end up in other programs' logs.
    #[error("a user name has no control characters")]
    ControlCharacter,
}

/// Whom a credential is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum User {
    /// A member of a room: the credential is good only while the member is here.
    Member(MemberId),
    /// Anybody else: good until its expiry. May be empty (plain `<expiry>` usernames).
    Api(Box<str>),
}

impl User {
    /// A user of the credential API or of `mint`.
    ///
    /// # Errors
    /// [`UserError`] for names in the form of a member id, names over 256 bytes, and control characters.
    pub fn api(name: &str) -> Result<Self, UserError> {
        if name.len() > 256 {
            return Err(UserError::TooLong);
        }
        if name.chars().any(char::is_control) {
            return Err(UserError::ControlCharacter);
        }
        if name.parse::<MemberId>().is_ok() {
            return Err(UserError::MemberForm);
        }
        Ok(Self::Api(name.into()))
    }
}

/// Username and password for TURN, and until when they may be used to allocate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// `<expiry>:<user>`.
    pub username: String,
    /// base64(HMAC-SHA1(secret, username)).
    pub password: String,
    /// Unix seconds.
    pub expires_at: u64,
}

/// Makes the credential of `user` that ends at `expires_at` (Unix seconds).
pub fn mint(secret: &Secret, user: &User, expires_at: u64) -> Credential {
    let username = match user {
        User::Member(id) => format!("{expires_at}:{id}"),
        User::Api(name) if name.is_empty() => expires_at.to_string(),
        User::Api(name) => format!("{expires_at}:{name}"),
    };
    let password = password(secret, &username);
    Credential { username, password, expires_at }
}

/// The password that belongs to `username`.
pub fn password(secret: &Secret, username: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.expose());
    BASE64_STANDARD.encode(hmac::sign(&key, username.as_bytes()))
}

/// Splits a username into its expiry (Unix seconds) and its user. `None` if it is not of our scheme.
pub fn parse_username(username: &str) -> Option<(u64, User)> {
    let (expiry, name) = username.split_once(':').unwrap_or((username, ""));
    // `parse` would take a leading plus sign.
    if !expiry.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let expiry = expiry.parse().ok()?;
    let user = match name.parse::<MemberId>() {
        Ok(id) => User::Member(id),
        Err(_) => User::Api(name.into()),
    };
    Some((expiry, user))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_is_what_coturn_computes() {
        // printf '1700000000:alice' | openssl dgst -sha1 -hmac s3cret -binary | base64
        assert_eq!(password(&Secret::new(*b"s3cret"), "1700000000:alice"), "TtElzSjT0GdnTQ9xdcRNxx96yQs=");
    }

    #[test]
    fn usernames_round_trip() {
        let secret = Secret::new(*b"s3cret");
        for user in [User::Member(MemberId::from_bits(7)), User::api("a:b").unwrap(), User::api("").unwrap()] {
            let credential = mint(&secret, &user, 42);
            assert_eq!(parse_username(&credential.username), Some((42, user)));
        }
    }

    #[test]
    fn foreign_usernames_are_not_ours() {
        for name in ["", "alice", "+5:alice", "-1:a", ":alice", "99999999999999999999:a", "1.5:a"] {
            assert_eq!(parse_username(name), None, "{name:?}");
        }
    }

    #[test]
    fn member_form_is_reserved() {
        assert_eq!(User::api(&MemberId::from_bits(1).to_string()), Err(UserError::MemberForm));
        assert_eq!(User::api("a\nb"), Err(UserError::ControlCharacter));
        assert!(User::api("m-short").is_ok());
    }

    #[test]
    fn secrets_do_not_show() {
        assert_eq!(format!("{:?}", Secret::new(*b"hidden")), "Secret(..)");
    }
}
