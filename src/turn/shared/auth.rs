//! Who a request comes from: nonces and long-term keys (RFC 8489 section 9.2).
//!
//! Nonces are stateless: `<cookie><time><tag>`, where the tag is an HMAC over the time and the client's transport
//! address, so a stranger costs no memory and one client's nonce is useless to another. The cookie says that the
//! challenge offers password algorithms, so that nobody on the path can remove that offer unnoticed. All workers share
//! the key. An attacker who sees a nonce can use it from that very address only, for an hour at most, and still needs
//! the password.
//!
//! Passwords are computed from the shared secrets, and those of members from secrets derived from these
//! ([`crate::credentials`]), so keys are not looked up anywhere.

use std::net::{IpAddr, SocketAddr};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::hmac;

use crate::{
    credentials::{MemberKey, PasswordKey, Secret, User},
    turn::wire::keys::{Key, PasswordAlgorithm},
    values::label::labels,
};

labels! {
    /// Why credentials are answered with 401.
    pub enum CredentialRefusal {
        /// The username holds no expiry.
        NoExpiry = "no_expiry",
        /// Its expiry is too far away to count seconds.
        NotSeconds = "not_seconds",
        /// Its expiry has passed.
        Expired = "expired",
        /// Its member is not in a room.
        NotHere = "not_here",
        /// No password that this user may have fits the signature.
        WrongPassword = "wrong_password",
    }
}

/// How long a nonce is valid, in seconds (RFC 8489 section 9.2 leaves it to the server).
pub const NONCE_LIFETIME: u64 = 3600;

/// The beginning of each nonce: the fixed cookie and the security features (RFC 8489 section 9.2), of which "password
/// algorithms" alone is set. Anonymous usernames are not offered: the server computes passwords from names and stores
/// no list of them, so it could not find a name by its hash.
const COOKIE: &[u8; 13] = b"obMatJos2gAAA";

/// Length of time and tag on the wire.
const SIGNED_LEN: usize = 22;

/// Length of the tag: long enough against guessing, but short, because a stranger can make this server send each byte
/// of a challenge to a victim.
const TAG_LEN: usize = 12;

const RAW_LEN: usize = 4 + TAG_LEN;

/// Length of a nonce on the wire.
pub const NONCE_LEN: usize = COOKIE.len() + SIGNED_LEN;

/// Clocks of one machine may step back a little between making a nonce and checking it.
const CLOCK_STEP_BACK: u64 = 60;

/// The keys by which nonces are signed.
#[derive(Debug)]
pub struct NonceKeys {
    current: hmac::Key,
    previous: Option<hmac::Key>,
}

impl NonceKeys {
    /// Makes keys from random bytes; `previous` still verifies.
    pub fn new(current: &[u8; 32], previous: Option<&[u8; 32]>) -> Self {
        let key = |bytes: &[u8; 32]| hmac::Key::new(hmac::HMAC_SHA256, bytes);
        Self { current: key(current), previous: previous.map(key) }
    }

    /// A fresh nonce for `client`, at `now` (Unix seconds).
    pub fn make(&self, client: SocketAddr, now: u64) -> [u8; NONCE_LEN] {
        let time = (now as u32).to_be_bytes();
        let mut raw = [0; RAW_LEN];
        raw[..4].copy_from_slice(&time);
        raw[4..].copy_from_slice(&hmac::sign(&self.current, &signed_part(client, time)).as_ref()[..TAG_LEN]);
        let mut nonce = [0; NONCE_LEN];
        nonce[..COOKIE.len()].copy_from_slice(COOKIE);
        BASE64_URL_SAFE_NO_PAD
            .encode_slice(raw, &mut nonce[COOKIE.len()..])
            .expect("16 bytes are 22 characters of base64");
        nonce
    }

    /// Whether `nonce` was made for `client` and is young enough.
    pub fn is_fresh(&self, nonce: &[u8], client: SocketAddr, now: u64) -> bool {
        let mut raw = [0; RAW_LEN];
        let Some(signed) = nonce.strip_prefix(COOKIE).filter(|signed| signed.len() == SIGNED_LEN) else {
            return false;
        };
        if BASE64_URL_SAFE_NO_PAD.decode_slice(signed, &mut raw) != Ok(raw.len()) {
            return false;
        }
        let time = [raw[0], raw[1], raw[2], raw[3]];
        let age = now as i64 - i64::from(u32::from_be_bytes(time));
        if age < -(CLOCK_STEP_BACK as i64) || age > NONCE_LIFETIME as i64 {
            return false;
        }
        let signed = signed_part(client, time);
        [Some(&self.current), self.previous.as_ref()].into_iter().flatten().any(|key| {
            let tag = hmac::sign(key, &signed);
            // Compares the tags in constant time, so that the time does not show where they differ.
            tag.as_ref()[..TAG_LEN].iter().zip(&raw[4..]).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
        })
    }
}

fn signed_part(client: SocketAddr, time: [u8; 4]) -> [u8; 22] {
    let mut bytes = [0; 22];
    let ip = match client.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    bytes[..16].copy_from_slice(&ip.octets());
    bytes[16..18].copy_from_slice(&client.port().to_be_bytes());
    bytes[18..].copy_from_slice(&time);
    bytes
}

/// The realm and the secrets from which the key of every user is computed.
#[derive(Debug)]
pub struct Authority {
    realm: String,
    secrets: Vec<PasswordKey>,
    /// The one of each secret.
    member_secrets: Vec<PasswordKey>,
}

impl Authority {
    /// All `secrets` verify, so that one can be replaced without an interruption.
    pub fn new(realm: String, secrets: Vec<Secret>, member_key: &MemberKey) -> Self {
        let of_member = |secret| PasswordKey::new(&member_key.secret(secret));
        let member_secrets = secrets.iter().map(of_member).collect();
        Self { realm, secrets: secrets.iter().map(PasswordKey::new).collect(), member_secrets }
    }

    /// The realm of every challenge.
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// The keys that `username`, which is `user`, may have. The key of the preferred secret comes first.
    pub fn keys(&self, user: &User, username: &str, algorithm: PasswordAlgorithm) -> impl Iterator<Item = Key> {
        let secrets = match user {
            User::Member(_) => &self.member_secrets,
            User::Api(_) => &self.secrets,
        };
        secrets.iter().map(move |secret| Key::new(algorithm, username, &self.realm, &secret.password(username)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn client(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    #[test]
    fn nonces_are_bound_to_client_time_and_key() {
        let keys = NonceKeys::new(&[1; 32], None);
        let nonce = keys.make(client(1), NOW);
        assert!(keys.is_fresh(&nonce, client(1), NOW));
        assert!(keys.is_fresh(&nonce, client(1), NOW + NONCE_LIFETIME));
        assert!(!keys.is_fresh(&nonce, client(1), NOW + NONCE_LIFETIME + 1));
        assert!(!keys.is_fresh(&nonce, client(1), NOW - 61));
        assert!(!keys.is_fresh(&nonce, client(2), NOW));
        assert!(!NonceKeys::new(&[2; 32], None).is_fresh(&nonce, client(1), NOW));
        assert!(NonceKeys::new(&[2; 32], Some(&[1; 32])).is_fresh(&nonce, client(1), NOW));
    }

    #[test]
    fn every_changed_byte_spoils_a_nonce() {
        let keys = NonceKeys::new(&[1; 32], None);
        let nonce = keys.make(client(1), NOW);
        for i in 0..NONCE_LEN {
            let mut broken = nonce;
            // Two bits of the last character are not used and must be 0.
            broken[i] = if broken[i] == b'A' { b'Q' } else { b'A' };
            assert!(!keys.is_fresh(&broken, client(1), NOW), "byte {i}");
        }
        assert!(!keys.is_fresh(b"", client(1), NOW));
        assert!(!keys.is_fresh(&[b'A'; 100], client(1), NOW));
        assert!(!keys.is_fresh(&nonce[COOKIE.len()..], client(1), NOW), "without its cookie");
        assert!(!keys.is_fresh(&[&nonce[..], b"A"].concat(), client(1), NOW));
    }
}
