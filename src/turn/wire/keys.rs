//! Keys of the long-term credential mechanism, and signatures made with them (RFC 8489 sections 9.2, 14.5 and 14.6).

use std::fmt;

use ring::{digest, hmac};
use stun::{
    attributes::{ATTR_MESSAGE_INTEGRITY, ATTR_MESSAGE_INTEGRITY_SHA256, AttrType, RawAttribute},
    message::Message,
};

use crate::turn::wire::header::HEADER_LEN;

const SHA256_LEN: usize = 32;

/// How username, realm and password become a key (RFC 8489 section 18.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordAlgorithm {
    /// The usual algorithm, also for clients that name none.
    Md5,
    /// The algorithm that newer clients choose from the challenge.
    Sha256,
}

/// A key of the long-term credential mechanism (RFC 8489 section 9.2.2).
#[derive(Clone, Copy)]
pub struct Key {
    algorithm: PasswordAlgorithm,
    bytes: [u8; SHA256_LEN],
}

impl Key {
    /// Computes the key of a user by one of the algorithms.
    pub fn new(algorithm: PasswordAlgorithm, username: &str, realm: &str, password: &str) -> Self {
        let mut bytes = [0; SHA256_LEN];
        match algorithm {
            PasswordAlgorithm::Md5 => bytes[..16].copy_from_slice(&long_term_key(username, realm, password)),
            PasswordAlgorithm::Sha256 => {
                let text = format!("{username}:{realm}:{password}");
                bytes.copy_from_slice(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
            }
        }
        Self { algorithm, bytes }
    }

    /// The algorithm that the key was computed with.
    pub fn algorithm(&self) -> PasswordAlgorithm {
        self.algorithm
    }

    fn as_bytes(&self) -> &[u8] {
        match self.algorithm {
            PasswordAlgorithm::Md5 => &self.bytes[..16],
            PasswordAlgorithm::Sha256 => &self.bytes,
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// The attribute that signs a message. A response is signed as its request was (RFC 8489 section 9.2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Integrity {
    /// MESSAGE-INTEGRITY: HMAC-SHA1.
    Sha1,
    /// MESSAGE-INTEGRITY-SHA256.
    Sha256,
}

impl Integrity {
    /// The type of the attribute.
    pub(super) const fn attribute(self) -> AttrType {
        match self {
            Self::Sha1 => ATTR_MESSAGE_INTEGRITY,
            Self::Sha256 => ATTR_MESSAGE_INTEGRITY_SHA256,
        }
    }

    /// The length of the attribute's value. Shorter values of SHA-256 are only for usages that define them (RFC 8489
    /// section 14.6).
    pub(super) const fn value_len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => SHA256_LEN,
        }
    }

    fn with(self, key: &Key) -> hmac::Key {
        let algorithm = match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => hmac::HMAC_SHA256,
        };
        hmac::Key::new(algorithm, key.as_bytes())
    }

    /// The bytes that the attribute behind `before` signs: the length in the header includes the attribute (RFC 8489
    /// sections 14.5 and 14.6).
    fn signed(self, before: &[u8]) -> Vec<u8> {
        let mut signed = before.to_vec();
        let len = (before.len() - HEADER_LEN + 4 + self.value_len()) as u16;
        signed[2..4].copy_from_slice(&len.to_be_bytes());
        signed
    }
}

/// Signs everything that `message` contains.
pub(super) fn sign(message: &mut Message, key: &Key, integrity: Integrity) {
    let signature = hmac::sign(&integrity.with(key), &integrity.signed(&message.raw));
    message.add(integrity.attribute(), signature.as_ref());
}

/// Whether the signature of this kind in `message` was made with `key`. The comparison takes constant time.
pub(super) fn verify(message: &Message, key: &Key, integrity: Integrity) -> bool {
    let attributes = &message.attributes.0;
    let is_before = |a: &&RawAttribute| a.typ != integrity.attribute();
    let before = attributes.iter().take_while(is_before);
    let len = before.map(|a| 4 + a.value.len().next_multiple_of(4)).sum::<usize>();
    let Some(signature) = attributes.iter().find(|a| !is_before(a)) else {
        return false;
    };
    let Some(before) = message.raw.get(..HEADER_LEN + len) else {
        return false;
    };
    hmac::verify(&integrity.with(key), &integrity.signed(before), &signature.value).is_ok()
}

/// The key of the long-term credential mechanism: MD5(username ":" realm ":" password) (RFC 8489 section 9.2.2).
pub fn long_term_key(username: &str, realm: &str, password: &str) -> [u8; 16] {
    let key = turn::auth::generate_auth_key(username, realm, password);
    key.try_into().expect("MD5 has 16 bytes")
}
