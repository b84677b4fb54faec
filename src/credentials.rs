//! TURN shared-secret credentials: the scheme of draft-uberti-behave-turn-rest-00, which coturn and most tools support.
//!
//! A username is `<expiry>:<user>` or `<user>:<expiry>` (expiry in Unix seconds; both forms are in use), and its
//! password is base64(HMAC-SHA1(secret, username)). Nothing is stored: everyone with the secret can verify. There are
//! two kinds of users, with different conditions: a *member* credential is minted on join and names a [`MemberId`]; an
//! *API* credential names anything else.
//!
//! Credentials of members are signed with another secret, which is derived from the shared one and from a key that
//! never leaves the server ([`MemberKey`]). Back ends know the shared secret, and somebody who could mint for a member
//! could exchange data with everybody in that member's room.
//!
//! The module is pure: no clock, no I/O. The code that verifies TURN requests is in `turn::shared::auth`.

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use ring::{hkdf, hmac};

use crate::values::member::MemberId;

/// An expiry from here on (the year 5138) is not in seconds: probably it is in milliseconds and means a date in this
/// century. Accepted as seconds, it would make a credential that never ends.
const EXPIRY_LIMIT: u64 = 100_000_000_000;

/// The purpose for which the secrets for members are derived; it keeps them apart from any other derived secret.
const MEMBER_LABEL: &[u8] = b"bimcc-rtc turn member 1";

/// A TURN shared secret. It never appears in logs or `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// Wraps the bytes of a secret.
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// The secret itself, for deriving keys from it.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Derives the secrets that sign members' credentials, one from each shared secret, so that both are replaced together.
pub struct MemberKey(hkdf::Salt);

impl fmt::Debug for MemberKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemberKey(..)")
    }
}

impl MemberKey {
    /// A key from random bytes that only the server has.
    pub fn new(key: &[u8; 32]) -> Self {
        Self(hkdf::Salt::new(hkdf::HKDF_SHA256, key))
    }

    /// The secret for members that belongs to `shared`.
    pub fn secret(&self, shared: &Secret) -> Secret {
        let mut derived = [0; 32];
        self.0
            .extract(shared.expose())
            .expand(&[MEMBER_LABEL], hkdf::HKDF_SHA256)
            .and_then(|key| key.fill(&mut derived))
            .expect("32 bytes are what HKDF-SHA256 gives at once");
        Secret::new(derived)
    }
}

/// Why a user name cannot be put into an API credential.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum UserError {
    /// Names of this form are reserved for members, whose credentials end with their membership.
    #[error("user names of the form m-<32 hex digits> are reserved for members")]
    MemberForm,
    /// USERNAME holds at most 508 bytes (RFC 8489 section 14.3); the rest is left for the expiry.
    #[error("a user name has at most 256 bytes")]
    TooLong,
    /// Control characters would get into the logs of other programs.
    #[error("a user name has no control characters")]
    ControlCharacter,
}

/// The user of a credential.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum User {
    /// A member of a room. The credential is valid only while the member is in the room.
    Member(MemberId),
    /// Any other user. The credential is valid until its expiry. An empty name mints a plain `<expiry>`; when read,
    /// that is a separate user with this name.
    Api(Box<str>),
}

/// Why a username does not belong to this scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsernameError {
    /// There is no expiry where one can be.
    #[error("a username is <expiry>:<user> or <user>:<expiry>, with the expiry in seconds since 1970")]
    NoExpiry,
    /// The expiry is probably in milliseconds.
    #[error("the expiry is too far away to be meant: it counts seconds since 1970, not milliseconds")]
    NotSeconds,
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

/// Username and password for TURN, and when they expire for new allocations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// `<expiry>:<user>`.
    pub username: String,
    /// base64(HMAC-SHA1(secret, username)).
    pub password: String,
    /// Unix seconds.
    pub expires_at: u64,
}

/// Makes the credential of `user` that ends at `expires_at` (Unix seconds). For a member, `secret` must come from
/// [`MemberKey::secret`].
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
    PasswordKey::new(secret).password(username)
}

/// A secret made ready for many passwords: half of what one takes is done once. Never shown in logs or `Debug`.
pub struct PasswordKey(hmac::Key);

impl fmt::Debug for PasswordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordKey(..)")
    }
}

impl PasswordKey {
    /// Of this secret.
    pub fn new(secret: &Secret) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.expose()))
    }

    /// The password that belongs to `username`.
    pub fn password(&self, username: &str) -> String {
        BASE64_STANDARD.encode(hmac::sign(&self.0, username.as_bytes()))
    }
}

/// Splits a username into its expiry (Unix seconds) and its user, as coturn does: the part before the first colon is
/// the expiry if it is a number; otherwise the part after it begins with the expiry. So of two numbers, the first one
/// counts.
///
/// # Errors
/// [`UsernameError`] for usernames that are not of this scheme.
pub fn parse_username(username: &str) -> Result<(u64, User), UsernameError> {
    let (expiry, name) = match username.split_once(':') {
        None => (username, ""),
        Some((before, behind)) if leading_number(before) == before && !before.is_empty() => (before, behind),
        Some((before, behind)) => (behind, before),
    };
    let expiry = leading_number(expiry);
    if expiry.is_empty() {
        return Err(UsernameError::NoExpiry);
    }
    let expiry = expiry.parse().ok().filter(|expiry| *expiry < EXPIRY_LIMIT).ok_or(UsernameError::NotSeconds)?;
    let user = match name.parse::<MemberId>() {
        Ok(id) => User::Member(id),
        // Users without a name are not all the same user.
        Err(_) if name.is_empty() => User::Api(username.into()),
        Err(_) => User::Api(name.into()),
    };
    Ok((expiry, user))
}

/// The digits at the beginning of `text`. (`parse` would also accept a plus sign.)
fn leading_number(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    &text[..end]
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
    fn secrets_of_members_follow_from_both_and_tell_nothing_of_them() {
        let (ours, theirs) = (MemberKey::new(&[1; 32]), MemberKey::new(&[2; 32]));
        let (a, b) = (Secret::new(*b"a"), Secret::new(*b"b"));
        assert_eq!(ours.secret(&a), MemberKey::new(&[1; 32]).secret(&a), "the same after a restart");
        for (one, other) in
            [(ours.secret(&a), ours.secret(&b)), (ours.secret(&a), theirs.secret(&a)), (ours.secret(&a), a)]
        {
            assert!(one != other);
        }
        assert_eq!(format!("{ours:?}"), "MemberKey(..)");
    }

    #[test]
    fn usernames_round_trip() {
        let secret = Secret::new(*b"s3cret");
        for user in [User::Member(MemberId::from_bits(7)), User::api("a:b").unwrap(), User::api("1:2").unwrap()] {
            let credential = mint(&secret, &user, 42);
            assert_eq!(parse_username(&credential.username), Ok((42, user)));
        }
    }

    fn user(username: &str) -> Option<(u64, String)> {
        parse_username(username).ok().map(|(expiry, user)| match user {
            User::Member(id) => (expiry, format!("member {id}")),
            User::Api(name) => (expiry, name.into()),
        })
    }

    #[test]
    fn either_half_may_be_the_expiry_and_of_two_numbers_the_first_is() {
        for (username, expiry, name) in [
            ("1800000000:alice", 1_800_000_000, "alice"),
            ("alice:1800000000", 1_800_000_000, "alice"),
            ("1800000000:1900000000", 1_800_000_000, "1900000000"),
            ("5:1800000000", 5, "1800000000"),
            ("1800000000:a:1900000000", 1_800_000_000, "a:1900000000"),
            // The first colon counts, and a number ends where its digits do.
            ("alice:1800000000:room", 1_800_000_000, "alice"),
            ("+5:1800000000", 1_800_000_000, "+5"),
            ("1800000000x:1900000000", 1_900_000_000, "1800000000x"),
            ("é:1800000000", 1_800_000_000, "é"),
        ] {
            assert_eq!(user(username), Some((expiry, name.into())), "{username}");
        }
    }

    #[test]
    fn a_members_id_is_a_members_in_either_order() {
        let id = MemberId::from_bits(7);
        for username in [format!("1800000000:{id}"), format!("{id}:1800000000"), format!("{id}:1800000000:x")] {
            assert_eq!(parse_username(&username), Ok((1_800_000_000, User::Member(id))), "{username}");
        }
        assert_eq!(user(&format!("1800000000:{id}:x")).unwrap().1, format!("{id}:x"));
    }

    #[test]
    fn users_without_a_name_are_not_the_same() {
        let names: Vec<_> = ["1800000000", "1800000001", "1800000001:", ":1800000001", "1800000001-a"]
            .map(|username| user(username).unwrap().1)
            .into();
        assert_eq!(names, ["1800000000", "1800000001", "1800000001:", ":1800000001", "1800000001-a"]);
    }

    #[test]
    fn foreign_usernames_are_not_ours() {
        for name in ["", ":", "alice", "+5:alice", "-1:a", ":alice", "1.5:a", "alice:-5", "alice:+5", "alice: 5", "٣:a"]
        {
            assert_eq!(parse_username(name), Err(UsernameError::NoExpiry), "{name:?}");
        }
        // Milliseconds, microseconds, nanoseconds, nonsense.
        for digits in
            ["100000000000", "1800000000000", "1800000000000000", "1800000000000000000", "99999999999999999999"]
        {
            for name in [format!("{digits}:a"), format!("a:{digits}"), digits.to_owned()] {
                assert_eq!(parse_username(&name), Err(UsernameError::NotSeconds), "{name:?}");
            }
        }
        assert_eq!(user("99999999999:a").unwrap().0, 99_999_999_999);
    }

    #[test]
    fn member_form_is_reserved() {
        assert_eq!(User::api(&MemberId::from_bits(1).to_string()), Err(UserError::MemberForm));
        assert_eq!(User::api("a\nb"), Err(UserError::ControlCharacter));
        assert!(User::api("m-short").is_ok());
    }

    #[test]
    fn secrets_do_not_show() {
        let secret = Secret::new(*b"hidden");
        assert_eq!(format!("{secret:?} {:?}", PasswordKey::new(&secret)), "Secret(..) PasswordKey(..)");
    }
}
