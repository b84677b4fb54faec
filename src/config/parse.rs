//! Parses every form of setting from text. An error says what is accepted.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroU64,
    time::Duration,
};

use ipnet::IpNet;

use super::decided::CREDENTIAL_TTL_RANGE;
use crate::values::{host::Host, ports::RelayPorts};

/// The lowest bit rate, half of what a voice needs.
const LEAST_BITRATE: u64 = 8_000;

/// Longer rests of a TURN worker are heard in a call.
const LONGEST_LATENCY_BUDGET: Duration = Duration::from_millis(10);

/// Addresses to listen on: the written one, or both wildcards if only a port was given.
pub(super) struct Listen {
    pub(super) addresses: Vec<SocketAddr>,
    /// Whether only a port was given.
    pub(super) any_address: bool,
}

/// Both wildcard addresses with `port`.
pub(super) fn wildcards(port: u16) -> Vec<SocketAddr> {
    vec![(Ipv4Addr::UNSPECIFIED, port).into(), (Ipv6Addr::UNSPECIFIED, port).into()]
}

/// `IP:PORT`, `[IPv6]:PORT`, `:PORT`, `PORT`, or only an IP address, which gets `default_port`.
pub(super) fn listen(text: &str, default_port: u16) -> Result<Listen, String> {
    let written = |addresses| Ok(Listen { addresses, any_address: false });
    if let Ok(address) = text.parse::<SocketAddr>() {
        return written(vec![address]);
    }
    if let Ok(ip) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return written(vec![SocketAddr::new(ip, default_port)]);
    }
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    let Ok(port) = digits(port).ok_or(()).and_then(|port| u16::try_from(port).map_err(drop)) else {
        return Err(format!("{text:?} is no address: expected IP:PORT, [IPv6]:PORT or a port (0 to 65535)"));
    };
    match host {
        "" | "*" => Ok(Listen { addresses: wildcards(port), any_address: true }),
        "localhost" => written(vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]),
        _ if host.contains(':') => {
            Err(format!("{text:?} is no address: an IPv6 address stands in brackets, [IPv6]:PORT"))
        }
        _ => Err(format!("{text:?} is no address: expected an IP address of this host instead of {host:?}")),
    }
}

/// A number of digits only, without signs or spaces.
pub(super) fn digits(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// `90s`, `15m`, `6h`, `1h30m`, `2d`; a number alone is seconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let broken = || format!("{text:?} is no duration: expected for example 90s, 15m, 6h, 1h30m or 2d");
    if let Some(seconds) = digits(text) {
        return Ok(Duration::from_secs(seconds));
    }
    let mut total = 0u64;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(broken)?;
        let number = digits(&rest[..end]).ok_or_else(broken)?;
        let unit = match rest.as_bytes()[end] {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86400,
            _ => return Err(broken()),
        };
        total = number.checked_mul(unit).and_then(|part| total.checked_add(part)).ok_or_else(broken)?;
        rest = &rest[end + 1..];
    }
    if text.is_empty() {
        return Err(broken());
    }
    Ok(Duration::from_secs(total))
}

/// Microseconds or milliseconds, at most 10 ms: `300us`, `1ms`, `0`.
pub(super) fn latency_budget(text: &str) -> Result<Duration, String> {
    let number = |suffix| text.strip_suffix(suffix).and_then(digits);
    let budget = match (number("us"), number("ms")) {
        (Some(micros), _) => Duration::from_micros(micros),
        (_, Some(millis)) => Duration::from_millis(millis),
        _ if text == "0" => Duration::ZERO,
        _ => return Err(format!("{text:?} is no short time: expected for example 300us, 1ms or 0")),
    };
    if budget > LONGEST_LATENCY_BUDGET {
        return Err(format!("{text} is too long: calls would suffer from more than 10ms"));
    }
    Ok(budget)
}

/// `LO-HI` or `none`. Ports below 1024 are refused because browsers drop candidates with them.
pub(super) fn relay_ports(text: &str) -> Result<RelayPorts, String> {
    if text == "none" {
        return Ok(RelayPorts::None);
    }
    let port = |text: &str| digits(text.trim()).and_then(|port| u16::try_from(port).ok());
    let Some((first, last)) = text.split_once('-').and_then(|(lo, hi)| Some((port(lo)?, port(hi)?))) else {
        return Err(format!("{text:?} is no range of ports: expected for example 49152-65535, or none"));
    };
    if first > last {
        return Err(format!("the range {text} is upside down: write {last}-{first}"));
    }
    if first < 1024 {
        return Err(format!("the range {text} begins below 1024, and browsers ignore such candidates: start at 1024"));
    }
    Ok(RelayPorts::Range { first, last })
}

/// `10.0.0.0/8`, `fd00::/8`; an address alone means only that one.
pub(super) fn cidr(text: &str) -> Result<IpNet, String> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(ip.into());
    }
    let network = text
        .parse::<IpNet>()
        .map_err(|_| format!("{text:?} is no network: expected for example 10.0.0.0/8, fd00::/8 or one IP address"))?;
    if network.trunc() != network {
        return Err(format!(
            "{text} has bits beyond its prefix: write {} or {}/{}",
            network.trunc(),
            network.addr(),
            network.max_prefix_len()
        ));
    }
    Ok(network)
}

/// `--public-host`, `--host`: a [`Host`] and nothing else.
pub fn public_host(text: &str) -> Result<Host, String> {
    if let Some(host) = Host::parse(text) {
        return Ok(host);
    }
    let hint = if text.contains("//") {
        "leave out the scheme and the path"
    } else if Host::parse_authority(text).is_some() {
        "leave out the port"
    } else if !text.is_ascii() {
        "write it in its ASCII form (xn--…)"
    } else {
        "expected for example rtc.example.org, 203.0.113.5 or 2001:db8::5"
    };
    Err(format!("{text:?} is no host: {hint}"))
}

/// An origin as browsers write it in `Origin`: lower case, no default port, no path. `None` if the text is not an
/// origin.
pub fn origin(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let well_formed = scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    if !well_formed || !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    let after_host = authority.rfind(']').map_or(0, |bracket| bracket + 1);
    let (host, port) = match authority[after_host..].find(':') {
        Some(colon) => {
            let (host, port) = authority.split_at(after_host + colon);
            (host, Some(u16::try_from(digits(&port[1..])?).ok()?))
        }
        None => (authority, None),
    };
    // Without brackets, the port would be read as a part of an IPv6 address.
    let host = Host::parse(host).filter(|_| host.starts_with('[') || !host.contains(':'))?;
    let default_port = match scheme.as_str() {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    };
    Some(match port {
        Some(port) if Some(port) != default_port => format!("{scheme}://{host}:{port}"),
        _ => format!("{scheme}://{host}"),
    })
}

/// `--origin`: an [`origin`], with a hint if it is invalid.
pub(super) fn origin_setting(text: &str) -> Result<String, String> {
    if let Some(origin) = origin(text) {
        return Ok(origin);
    }
    let hint = if text == "*" {
        "to allow any origin, leave the setting out".to_owned()
    } else if let Some(origin) = origin(&format!("https://{text}")).filter(|_| text != "null") {
        format!("write {origin}")
    } else {
        "expected for example https://example.org or http://localhost:8080, without a path".to_owned()
    };
    Err(format!("{text:?} is no origin: {hint}"))
}

/// Bits per second: `20M`, `500k`, `1G`, or a number alone.
pub(super) fn bitrate(text: &str) -> Result<NonZeroU64, String> {
    let (number, unit) = match text.char_indices().next_back() {
        Some((end, 'k' | 'K')) => (&text[..end], 1_000),
        Some((end, 'M')) => (&text[..end], 1_000_000),
        Some((end, 'G')) => (&text[..end], 1_000_000_000),
        _ => (text, 1),
    };
    let bits = digits(number)
        .and_then(|number| number.checked_mul(unit))
        .ok_or_else(|| format!("{text:?} is no bitrate: expected bits per second, for example 500k, 20M or 1G"))?;
    NonZeroU64::new(bits)
        .filter(|bits| bits.get() >= LEAST_BITRATE)
        .ok_or_else(|| format!("{text} is too little for any call: expected at least {LEAST_BITRATE}"))
}

/// `IP:PORT` or `[IPv6]:PORT` of another TURN server.
pub(super) fn alternate_server(text: &str) -> Result<SocketAddr, String> {
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() == 0 || address.ip().is_unspecified() => {
            Err(format!("{text} is nowhere: expected the address and port of another TURN server"))
        }
        Ok(address) => Ok(address),
        Err(_) => Err(format!("{text:?} is no address: expected IP:PORT or [IPv6]:PORT of another TURN server")),
    }
}

/// `true`, `false` and other common words for them.
pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err(format!("{text:?} is neither true nor false")),
    }
}

/// Parses the lifetime of a credential (`--credential-ttl`, `mint --ttl`).
///
/// # Errors
/// A sentence that says what is accepted.
pub fn credential_ttl(text: &str) -> Result<Duration, String> {
    let ttl = duration(text)?;
    if !CREDENTIAL_TTL_RANGE.contains(&ttl) {
        return Err(format!("{text} is out of range: credentials live from 10s to 30d"));
    }
    Ok(ttl)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(text: &str) -> Vec<String> {
        listen(text, 99).unwrap().addresses.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn addresses_in_all_friendly_forms() {
        assert_eq!(addresses("10.0.0.1:5"), ["10.0.0.1:5"]);
        assert_eq!(addresses("[::1]:5"), ["[::1]:5"]);
        assert_eq!(addresses(":5"), ["0.0.0.0:5", "[::]:5"]);
        assert_eq!(addresses("5"), ["0.0.0.0:5", "[::]:5"]);
        assert_eq!(addresses("*:5"), ["0.0.0.0:5", "[::]:5"]);
        assert_eq!(addresses("10.0.0.1"), ["10.0.0.1:99"]);
        assert_eq!(addresses("::1"), ["[::1]:99"]);
        assert_eq!(addresses("[::1]"), ["[::1]:99"]);
        assert_eq!(addresses("localhost:5"), ["127.0.0.1:5", "[::1]:5"]);
        assert!(listen("5", 1).unwrap().any_address && !listen("0.0.0.0:5", 1).unwrap().any_address);
    }

    #[test]
    fn broken_addresses() {
        for text in
            ["", ":", "65536", "+5", "example.org:5", "example.org", "10.0.0.1:", "10.0.0.256:1", "-1", "1.2.3:4:5"]
        {
            assert!(listen(text, 1).is_err(), "{text:?}");
        }
    }

    #[test]
    fn durations() {
        for (text, seconds) in [("6h", 21600), ("90s", 90), ("1h30m", 5400), ("15", 15), ("2d", 172_800), ("0s", 0)] {
            assert_eq!(duration(text).unwrap().as_secs(), seconds, "{text}");
        }
        for text in ["", "h", "6 h", "1h30", "-5s", "5w", "1.5h", "99999999999999999999s", "9999999999999999999d", "5é"]
        {
            assert!(duration(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn latency_budgets() {
        for (text, micros) in [("300us", 300), ("1ms", 1000), ("0", 0), ("0us", 0), ("10ms", 10_000)] {
            assert_eq!(latency_budget(text).unwrap().as_micros(), micros, "{text}");
        }
        for text in
            ["", "us", "300", "1s", "11ms", "10001us", "-1us", "0.3ms", "300 us", "99999999999999999999us", "5é"]
        {
            assert!(latency_budget(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn bitrates() {
        for (text, bits) in [("8000", 8_000), ("500k", 500_000), ("20M", 20_000_000), ("1G", 1_000_000_000)] {
            assert_eq!(bitrate(text).unwrap().get(), bits, "{text}");
        }
        for text in ["", "k", "0", "7k", "-1M", "1.5M", "1 M", "20m", "20Mbit", "99999999999G", "5é"] {
            assert!(bitrate(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn alternate_servers() {
        for text in ["203.0.113.5:3478", "[2001:db8::5]:3478"] {
            assert_eq!(alternate_server(text).unwrap().to_string(), text);
        }
        for text in ["", "203.0.113.5", "203.0.113.5:0", "0.0.0.0:1", "turn.example.org:3478", "2001:db8::5:3478"] {
            assert!(alternate_server(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn ranges_of_ports() {
        assert_eq!(relay_ports("none").unwrap(), RelayPorts::None);
        assert_eq!(relay_ports("2000-2000").unwrap(), RelayPorts::Range { first: 2000, last: 2000 });
        assert!(relay_ports("3000-2000").unwrap_err().contains("2000-3000"));
        for text in ["", "2000", "a-b", "2000-70000", "2000-", "-2000", "80-2000", "None?"] {
            assert!(relay_ports(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn networks() {
        assert_eq!(cidr("10.0.0.0/8").unwrap().to_string(), "10.0.0.0/8");
        assert_eq!(cidr("10.0.0.1").unwrap().to_string(), "10.0.0.1/32");
        assert_eq!(cidr("fd00::1").unwrap().to_string(), "fd00::1/128");
        assert!(cidr("10.0.0.1/8").unwrap_err().contains("10.0.0.0/8"));
        for text in ["", "10.0.0.0/33", "10.0.0/8", "example.org", "10.0.0.0-10.0.0.9", "/8"] {
            assert!(cidr(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn hosts() {
        assert_eq!(public_host("2001:DB8::5").unwrap().to_string(), "[2001:db8::5]");
        assert!(public_host("https://a").unwrap_err().contains("scheme"));
        assert!(public_host("a:3000").unwrap_err().contains("port"));
        assert!(public_host("ü.de").unwrap_err().contains("xn--"));
    }

    #[test]
    fn origins() {
        for (text, normal) in [
            ("https://Example.org", "https://example.org"),
            ("https://example.org:443/", "https://example.org"),
            ("http://example.org:443", "http://example.org:443"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("http://[::1]", "http://[::1]"),
            ("capacitor://localhost", "capacitor://localhost"),
        ] {
            assert_eq!(origin(text).as_deref(), Some(normal));
        }
        for text in [
            "",
            "*",
            "null",
            "example.org",
            "https://",
            "https://a/b",
            "https://a:b",
            "https://a:",
            "https://::1",
            "://a",
            "1s://a",
            "https://a]:1",
        ] {
            assert_eq!(origin(text), None, "{text:?}");
        }
        assert!(origin_setting("example.org").unwrap_err().contains("https://example.org"));
        assert!(origin_setting("*").unwrap_err().contains("leave"));
    }
}
