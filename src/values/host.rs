//! Hosts in URLs.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// A host name or address that is valid in a URL. IPv6 addresses are written in brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Host(Box<str>);

impl Host {
    /// Reads `name`, `192.0.2.1`, `2001:db8::1` or `[2001:db8::1]`. `None` for anything that is not a host, and for
    /// the unspecified address, at which nobody can be reached.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(inner) = text.strip_prefix('[') {
            let ip: Ipv6Addr = inner.strip_suffix(']')?.parse().ok()?;
            return Self::reachable(IpAddr::V6(ip));
        }
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Self::reachable(ip);
        }
        is_host_name(text).then(|| Self(text.to_ascii_lowercase().into()))
    }

    /// Reads the `host[:port]` of a Host header; also returns the port, if there is one.
    pub fn parse_authority(authority: &str) -> Option<(Self, Option<u16>)> {
        let colon = match authority.strip_prefix('[') {
            Some(_) => authority.find("]:").map(|bracket| bracket + 1),
            None => authority.rfind(':'),
        };
        let Some(colon) = colon else {
            return Some((Self::parse(authority)?, None));
        };
        let (host, port) = (&authority[..colon], &authority[colon + 1..]);
        // An IPv6 address without brackets cannot be distinguished from its port.
        if !host.starts_with('[') && host.contains(':') {
            return None;
        }
        if port.is_empty() {
            return Some((Self::parse(host)?, None));
        }
        if !port.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        Some((Self::parse(host)?, Some(port.parse().ok()?)))
    }

    /// Whether this is a name for the client's own host, so that a client that uses it is on the same host as the
    /// server.
    pub fn is_loopback(&self) -> bool {
        let name = self.0.trim_matches(['[', ']']);
        name == "localhost" || name.ends_with(".localhost") || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
    }

    fn reachable(ip: IpAddr) -> Option<Self> {
        (!ip.is_unspecified()).then(|| Self::from(ip))
    }
}

impl From<IpAddr> for Host {
    fn from(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self(ip.to_string().into()),
            IpAddr::V6(ip) => Self(format!("[{ip}]").into()),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// RFC 1123 section 2.1, and also underscores, which exist in practice. Browsers read a name whose last label is a
/// number as an IPv4 address, so such a name must be one.
fn is_host_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let label_is_good = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= 253
        && name.split('.').all(label_is_good)
        && (!last.bytes().all(|b| b.is_ascii_digit()) || name.parse::<Ipv4Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_syntactically_valid() {
        for (text, written) in [
            ("example.org", "example.org"),
            ("EXAMPLE.org.", "example.org."),
            ("a_b-c", "a_b-c"),
            ("192.0.2.1", "192.0.2.1"),
            ("::1", "[::1]"),
            ("[::1]", "[::1]"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(Host::parse(text).map(|h| h.to_string()).as_deref(), Some(written), "{text}");
        }
        let long_label = "a".repeat(64);
        let long_name = vec!["a".repeat(60); 5].join(".");
        for text in [
            "",
            ".",
            "a..b",
            "-a",
            "a-",
            "a b",
            "a/b",
            "a?b",
            "a@b",
            "a\"b",
            "ä.org",
            "1.2.3",
            "256.1.1.1",
            "[::1",
            "::1]",
            "[1.2.3.4]",
            "fe80::1%eth0",
            "[fe80::1%25eth0]",
            "0.0.0.0",
            "::",
            "a\r\nb",
            &long_label,
            &long_name,
        ] {
            assert_eq!(Host::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn authorities_split_into_host_and_port() {
        let read = |text| Host::parse_authority(text).map(|(host, port)| (host.to_string(), port));
        assert_eq!(read("a.example:3000"), Some(("a.example".into(), Some(3000))));
        assert_eq!(read("a.example:"), Some(("a.example".into(), None)));
        assert_eq!(read("a.example"), Some(("a.example".into(), None)));
        assert_eq!(read("[::1]:3000"), Some(("[::1]".into(), Some(3000))));
        assert_eq!(read("[::1]"), Some(("[::1]".into(), None)));
        for text in ["::1:3000", "a:b", "a:-1", "a:+1", "a:65536", ":3000", "[::1]x:1", "a:1:2", "user@a:1"] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }
}
