//! How rooms and people appear in the log. The name of a room is enough to enter it, so a short hash stands for it.
//! People appear as the ids that the server gave them, without their addresses. With `--log-people`, everything is
//! logged as it is.
//!
//! The hash is keyed, so that nobody can try out names against a log. The key is kept in the state directory, so a room
//! has the same hash after a restart; an operator who follows a call through a restart needs that. Somebody who can
//! read the key can also find out the rooms.

use std::{fmt, net::IpAddr};

use ring::hmac;

use crate::turn::core::five_tuple::FiveTuple;

/// How many bytes of the hash are shown: enough to distinguish the rooms of a server.
const SHOWN: usize = 5;

/// See the module's header.
#[derive(Clone, Debug)]
pub struct Names {
    key: hmac::Key,
    shows_people: bool,
}

impl Names {
    /// With `shows_people`, everything is logged as it is.
    pub fn new(key: &[u8], shows_people: bool) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key), shows_people }
    }

    /// The name of a room, or of a user that an application has named.
    pub(super) fn hashed<'a>(&self, name: &'a str) -> LogName<'a> {
        if self.shows_people { LogName::Plain(name) } else { LogName::Hash(self.hash(&[name.as_bytes()])) }
    }

    /// A name for a client of TURN and its only allocation.
    pub(super) fn client(&self, FiveTuple { client, server }: FiveTuple) -> LogName<'static> {
        let parts = [client, server].map(|end| (end.ip().to_canonical(), end.port().to_be_bytes()));
        let bytes = parts.map(|(ip, port)| match ip {
            IpAddr::V4(ip) => [&ip.octets()[..], &port].concat(),
            IpAddr::V6(ip) => [&ip.octets()[..], &port].concat(),
        });
        LogName::Hash(self.hash(&[&bytes[0], &bytes[1]]))
    }

    fn hash(&self, parts: &[&[u8]]) -> [u8; SHOWN] {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            context.update(part);
        }
        let mut hash = [0; SHOWN];
        hash.copy_from_slice(&context.sign().as_ref()[..SHOWN]);
        hash
    }

    /// A value that is logged only with `--log-people`.
    pub(super) fn personal<T>(&self, value: Option<T>) -> Option<T> {
        value.filter(|_| self.shows_people)
    }

    /// An address in its canonical form, if it may be logged.
    pub(super) fn address(&self, address: Option<IpAddr>) -> Option<impl fmt::Display> {
        self.personal(address).map(|address| address.to_canonical())
    }
}

/// A name in the log.
pub(super) enum LogName<'a> {
    Hash([u8; SHOWN]),
    Plain(&'a str),
}

impl fmt::Display for LogName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hash(hash) => hash.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
            // In quotes, and escaped, so that a terminal or a parser of lines cannot misread it.
            Self::Plain(name) => write!(f, "{name:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_is_a_short_hash_that_takes_the_key_to_find() {
        let (ours, others) = (Names::new(&[1; 32], false), Names::new(&[2; 32], false));
        let hash = ours.hashed("lobby").to_string();
        assert_eq!(hash.len(), 10);
        assert_eq!(ours.hashed("lobby").to_string(), hash);
        assert_ne!(ours.hashed("Lobby").to_string(), hash);
        assert_ne!(others.hashed("lobby").to_string(), hash);
        let address = ours.address(Some([192, 0, 2, 1].into())).map(|address| address.to_string());
        assert_eq!((ours.personal(Some("Ada")), address), (None, None));
    }

    #[test]
    fn who_asks_for_people_gets_them_in_one_line_each() {
        let all = Names::new(&[1; 32], true);
        assert_eq!(all.hashed("a \"b\"\n\x1b[2J").to_string(), r#""a \"b\"\n\u{1b}[2J""#);
        assert_eq!(all.personal(Some("Ada")), Some("Ada"));
        let mapped = all.address(Some("::ffff:192.0.2.1".parse().unwrap()));
        assert_eq!(mapped.map(|address| address.to_string()).as_deref(), Some("192.0.2.1"));
    }
}
