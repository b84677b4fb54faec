//! Turns settings into a [`Config`]: the meaning of each setting, its default, and the conditions between them.

use std::{
    ffi::OsString,
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use super::{
    decided::{
        ALLOCATION_LIFETIME_RANGE, ApiPeerPolicy, Config, DEFAULT_ADMIN_LISTEN, DEFAULT_CREDENTIAL_TTL,
        DEFAULT_LISTEN_PORT, DEFAULT_RELAY_PORTS, DEFAULT_TURN_PORT, DEFAULT_TURNS_PORT, GivenSecret, LogFormat,
        MemberPeerPolicy, TlsSetting,
    },
    log,
    parse::{self, credential_ttl},
    settings::{Given, SettingSource, Settings, env_name},
};
use crate::{
    credentials::Secret,
    values::{
        family::{ByFamily, Family},
        ports::RelayPorts,
    },
};

/// In a full room, a browser makes up to six allocations per peer connection, and a user may have several pages open.
const ALLOCATIONS_PER_PEER: usize = 24;
/// The realm is in every challenge, and a challenge to a stranger must stay small.
const MAX_REALM_BYTES: usize = 40;

/// How long a TURN worker may rest: a small part of what a jitter buffer holds.
const RELAY_LATENCY_BUDGET: Duration = Duration::from_micros(300);

/// Reads settings one by one. If one is wrong, the reader notes the mistake and continues with the default.
pub(super) struct Reader {
    settings: Settings,
    mistakes: Vec<String>,
}

impl Reader {
    pub(super) fn new(settings: Settings, mistakes: Vec<String>) -> Self {
        Self { settings, mistakes }
    }

    pub(super) fn into_parts(self) -> (Settings, Vec<String>) {
        (self.settings, self.mistakes)
    }

    pub(super) fn config(&mut self, env: &dyn Fn(&str) -> Option<OsString>) -> Config {
        let dangerously_allow_loopback_peers =
            self.one("dangerously-allow-loopback-peers", parse::switch).unwrap_or(false);
        let max_peers_per_room = self.count("max-peers-per-room", 32, 1..=10_000);
        let (listen, listen_is_default) = self.listen("listen", DEFAULT_LISTEN_PORT);
        let (turn_listen, turn_listen_is_default) = self.listen("turn-listen", DEFAULT_TURN_PORT);
        let tls = self.tls();
        let (turns_listen, turns_listen_is_default) = self.turns_listen(tls.is_some());
        let (admin_listen, admin_listen_is_default) = self.admin_listen();
        let relay_ports = self.one("relay-ports", parse::relay_ports).unwrap_or(DEFAULT_RELAY_PORTS);
        let config = Config {
            listen_is_default,
            turn_listen_is_default,
            tls,
            public_ips: self.public_ips(dangerously_allow_loopback_peers),
            public_host: self.one("public-host", parse::public_host),
            relay_ports,
            realm: self.one("realm", realm).unwrap_or_else(|| "bimcc-rtc".to_owned()),
            secrets: self.secrets(),
            credential_ttl: self.one("credential-ttl", credential_ttl).unwrap_or(DEFAULT_CREDENTIAL_TTL),
            peer_policy: self
                .choice(
                    "peer-policy",
                    &[
                        ("members", MemberPeerPolicy::Members),
                        ("public", MemberPeerPolicy::Public),
                        ("any", MemberPeerPolicy::Any),
                    ],
                )
                .unwrap_or(MemberPeerPolicy::Members),
            api_peer_policy: self
                .choice("api-peer-policy", &[("public", ApiPeerPolicy::Public), ("any", ApiPeerPolicy::Any)])
                .unwrap_or(ApiPeerPolicy::Public),
            trusted_proxies: self.many("trusted-proxy", parse::cidr),
            allow_peers: self.many("allow-peer", parse::cidr),
            deny_peers: self.many("deny-peer", parse::cidr),
            max_peers_per_room,
            max_rooms: self.count("max-rooms", 100_000, 1..=100_000_000),
            // An offer of a browser with a few tracks is about 10 KB.
            max_message_bytes: self.count("max-message-bytes", 65_536, 1024..=16 << 20),
            max_connections_per_ip: self.count("max-connections-per-ip", 256, 1..=1_000_000),
            max_websockets: self.optional_count("max-websockets", 1..=10_000_000),
            max_websockets_per_ip: self.optional_count("max-websockets-per-ip", 1..=10_000_000),
            max_allocations: self.optional_count("max-allocations", 1..=10_000_000),
            max_allocations_per_user: self.count(
                "max-allocations-per-user",
                ALLOCATIONS_PER_PEER * max_peers_per_room,
                1..=1_000_000,
            ),
            max_allocations_per_ip: self.optional_count("max-allocations-per-ip", 1..=10_000_000),
            allocation_lifetime: self
                .one("allocation-lifetime", allocation_lifetime)
                .unwrap_or(*ALLOCATION_LIFETIME_RANGE.end()),
            max_bitrate_per_allocation: self.one("max-bitrate-per-allocation", parse::bitrate),
            alternate_servers: self.alternate_servers(),
            origins: self.many("origin", parse::origin_setting),
            workers: {
                let cores = std::thread::available_parallelism().map_or(1, usize::from);
                self.count("workers", cores.min(1024), 1..=1024)
            },
            relay_latency_budget: self
                .one("relay-latency-budget", parse::latency_budget)
                .unwrap_or(RELAY_LATENCY_BUDGET),
            state_dir: self.state_dir(env),
            log: self.one("log", log::directives).unwrap_or_else(log::default_directives),
            log_format: self
                .choice("log-format", &[("text", LogFormat::Text), ("json", LogFormat::Json)])
                .unwrap_or(LogFormat::Text),
            log_people: self.one("log-people", parse::switch).unwrap_or(false),
            dangerously_allow_loopback_peers,
            listen,
            turn_listen,
            turns_listen,
            turns_listen_is_default,
            turns_port_is_default: self.settings.all("turns-listen").is_none(),
            admin_listen,
            admin_listen_is_default,
        };
        self.check_ports(&config);
        config
    }

    /// At most one for each family, because a client is redirected within its own family.
    fn alternate_servers(&mut self) -> ByFamily<Option<SocketAddr>> {
        let servers = self.many("alternate-server", parse::alternate_server);
        for family in Family::BOTH {
            if servers.iter().filter(|address| Family::of(address.ip()) == family).count() > 1
                && let Some(given) = self.settings.all("alternate-server").cloned()
            {
                self.mistake(&given, "one address per family is enough: clients are sent to the first of theirs");
            }
        }
        ByFamily::new(|family| servers.iter().copied().find(|address| Family::of(address.ip()) == family))
    }

    fn mistake(&mut self, place: &Given, text: impl fmt::Display) {
        self.mistakes.push(format!("{place}: {text}"));
    }

    /// A setting that can be given once.
    fn one<T>(&mut self, key: &'static str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let (given, text) = self.settings.one(key)?;
        match parse(text) {
            Ok(value) => Some(value),
            Err(error) => {
                let given = given.clone();
                self.mistake(&given, error);
                None
            }
        }
    }

    /// A repeatable setting: every wrong value is a separate mistake.
    fn many<T>(&mut self, key: &'static str, parse: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
        let Some(given) = self.settings.all(key).cloned() else { return Vec::new() };
        let mut good = Vec::new();
        for text in &given.values {
            match parse(text) {
                Ok(value) => good.push(value),
                Err(error) => self.mistake(&given, error),
            }
        }
        good
    }

    fn choice<T: Copy>(&mut self, key: &'static str, choices: &[(&str, T)]) -> Option<T> {
        self.one(key, |text| {
            choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).ok_or_else(|| {
                let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
                format!("{text:?} is not one of {}", names.join(", "))
            })
        })
    }

    fn optional_count(&mut self, key: &'static str, range: std::ops::RangeInclusive<usize>) -> Option<usize> {
        self.one(key, |text| {
            parse::digits(text)
                .and_then(|number| usize::try_from(number).ok())
                .filter(|number| range.contains(number))
                .ok_or_else(|| format!("{text:?} is no number from {} to {}", range.start(), range.end()))
        })
    }

    fn count(&mut self, key: &'static str, default: usize, range: std::ops::RangeInclusive<usize>) -> usize {
        self.optional_count(key, range).unwrap_or(default)
    }

    fn listen(&mut self, key: &'static str, default_port: u16) -> (Vec<SocketAddr>, bool) {
        let mut addresses = Vec::new();
        let mut implied = false;
        for one in self.many(key, |text| parse::listen(text, default_port)) {
            implied |= one.any_address;
            for address in one.addresses {
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
        }
        if addresses.is_empty() { (parse::wildcards(default_port), true) } else { (addresses, implied) }
    }

    fn turns_listen(&mut self, has_tls: bool) -> (Vec<SocketAddr>, bool) {
        if has_tls {
            return self.listen("turns-listen", DEFAULT_TURNS_PORT);
        }
        // As with the files: if somebody forgot --tls, it would be served without encryption. If a certificate is
        // broken, --tls was not forgotten.
        let is_off = self.settings.one("tls").is_none();
        if let Some(given) = self.settings.all("turns-listen").filter(|_| is_off).cloned() {
            self.mistake(&given, "has no effect without --tls: add it");
        }
        (Vec::new(), true)
    }

    fn admin_listen(&mut self) -> (SocketAddr, bool) {
        let loopback_port = |text: &str| {
            let listen = parse::listen(text, DEFAULT_ADMIN_LISTEN.port())?;
            let first = listen.addresses[0];
            if listen.any_address {
                return Ok(SocketAddr::new(DEFAULT_ADMIN_LISTEN.ip(), first.port()));
            }
            if !first.ip().is_loopback() {
                return Err(format!(
                    "{text} can be reached from elsewhere, and the metrics have no password yet: use a loopback \
                     address such as 127.0.0.1:{} (and a tunnel or a proxy in front)",
                    first.port()
                ));
            }
            Ok(first)
        };
        let is_default = self.settings.one("admin-listen").is_none();
        (self.one("admin-listen", loopback_port).unwrap_or(DEFAULT_ADMIN_LISTEN), is_default)
    }

    fn public_ips(&mut self, allow_loopback: bool) -> ByFamily<Option<IpAddr>> {
        let mut ips = ByFamily::default();
        let Some(given) = self.settings.all("public-ip").cloned() else { return ips };
        for text in &given.values {
            let ip = text
                .parse::<IpAddr>()
                .map_err(|_| format!("{text:?} is no IP address: expected for example 203.0.113.5 or 2001:db8::5"))
                .and_then(|ip| match not_relayable(ip, allow_loopback) {
                    Some(what) => Err(format!("{ip} is {what}: no peer could send to it")),
                    None => Ok(ip),
                });
            let ip = match ip {
                Ok(ip) => ip,
                Err(problem) => {
                    self.mistake(&given, problem);
                    continue;
                }
            };
            if let Some(other) = ips[Family::of(ip)].replace(ip).filter(|other| *other != ip) {
                self.mistake(
                    &given,
                    format!("{other} and {text} are of one family: give one IPv4 and one IPv6 address at most"),
                );
            }
        }
        ips
    }

    fn tls(&mut self) -> Option<TlsSetting> {
        let on = self.one("tls", parse::switch);
        let any_ip = self.one("local-ca-any-ip", parse::switch) == Some(true);
        let cert = self.settings.one("tls-cert").map(|(given, path)| (given.clone(), PathBuf::from(path)));
        let key = self.settings.one("tls-key").map(|(given, path)| (given.clone(), PathBuf::from(path)));
        if on != Some(true) {
            // Somebody who wrote `tls = false` has decided. Somebody who forgot --tls would be served without
            // encryption.
            if self.settings.one("tls").is_none() {
                for (given, _) in [&cert, &key].into_iter().flatten() {
                    let given = given.clone();
                    self.mistake(&given, "has no effect without --tls: add it");
                }
                if let Some(given) =
                    self.settings.one("local-ca-any-ip").map(|(given, _)| given.clone()).filter(|_| any_ip)
                {
                    self.mistake(&given, "has no effect without --tls: add it");
                }
            }
            return None;
        }
        if let (Some((given, _)), None) | (None, Some((given, _))) = (&cert, &key) {
            let given = given.clone();
            self.mistake(&given, "certificate and key belong together: give both --tls-cert and --tls-key, or neither");
            return None;
        }
        if let Some(given) = self.settings.one("local-ca-any-ip").map(|(given, _)| given.clone())
            && any_ip
            && cert.is_some()
        {
            self.mistake(&given, "has no effect with --tls-cert and --tls-key: leave it or them out");
        }
        let files = cert.zip(key).map(|((_, cert), (_, key))| (cert, key));
        Some(TlsSetting { files, local_ca_any_ip: any_ip })
    }

    /// The first one mints, so secrets from flags come before secrets from the file.
    fn secrets(&mut self) -> Vec<GivenSecret> {
        let mut secrets: Vec<(SettingSource, GivenSecret)> = Vec::new();
        if let Some(given) = self.settings.all("secret").cloned() {
            for text in &given.values {
                if text.is_empty() {
                    self.mistake(&given, "the secret is empty: give at least one character, better 32 random ones");
                }
                secrets.push((given.source.clone(), GivenSecret::Text(Secret::new(text.as_bytes()))));
            }
        }
        if let Some(given) = self.settings.all("secret-file") {
            let files = given.values.iter().map(|path| (given.source.clone(), GivenSecret::File(path.into())));
            secrets.extend(files);
        }
        secrets.sort_by(|(a, _), (b, _)| a.cmp(b));
        secrets.into_iter().map(|(_, secret)| secret).collect()
    }

    fn state_dir(&mut self, env: &dyn Fn(&str) -> Option<OsString>) -> PathBuf {
        if let Some((given, path)) = self.settings.one("state-dir") {
            if !path.is_empty() {
                return path.into();
            }
            let given = given.clone();
            self.mistake(&given, "the path is empty");
        }
        let dir = |name: &str| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        // systemd lists several directories with colons.
        if let Some(dirs) = dir("STATE_DIRECTORY") {
            return dirs.to_string_lossy().split(':').next().unwrap_or_default().into();
        }
        // The XDG base directory specification says that relative paths must be ignored.
        let state_home = dir("XDG_STATE_HOME").filter(|path| path.is_absolute());
        match state_home.or_else(|| Some(dir("HOME")?.join(".local/state"))) {
            Some(home) => home.join("bimcc-rtc"),
            None => {
                self.mistakes.push(format!(
                    "--state-dir: neither $STATE_DIRECTORY nor $HOME says where to keep secrets: give --state-dir or {}",
                    env_name("state-dir")
                ));
                PathBuf::new()
            }
        }
    }

    /// Finds ports that are used twice.
    fn check_ports(&mut self, config: &Config) {
        let place = |key: &'static str| self.settings.all(key).map_or_else(|| format!("--{key}"), ToString::to_string);
        let mut mistakes = Vec::new();
        if let RelayPorts::Range { first, last } = config.relay_ports
            && let Some(turn) = config.turn_listen.iter().find(|turn| (first..=last).contains(&turn.port()))
        {
            mistakes.push(format!(
                "{}: the range {first}-{last} contains port {} of {}: choose ranges apart",
                place("relay-ports"),
                turn.port(),
                place("turn-listen"),
            ));
        }
        let admin = config.admin_listen;
        let same = |other: &&SocketAddr| {
            other.port() == admin.port()
                && admin.port() != 0
                && other.is_ipv4() == admin.is_ipv4()
                && (other.ip() == admin.ip() || other.ip().is_unspecified())
        };
        let listeners =
            [("listen", &config.listen), ("turn-listen", &config.turn_listen), ("turns-listen", &config.turns_listen)];
        for (key, addresses) in listeners {
            // If nobody asked for this port, another one is used.
            if let Some(other) = addresses.iter().find(same).filter(|_| !config.admin_listen_is_default) {
                mistakes.push(format!(
                    "{}: {admin} is taken by {} ({other}): choose another port",
                    place("admin-listen"),
                    place(key)
                ));
            }
        }
        let mut taken: Vec<(&'static str, SocketAddr)> = Vec::new();
        for (key, addresses) in listeners {
            // If nobody asked for this port, the server runs without it.
            if key == "turns-listen" && config.turns_port_is_default {
                continue;
            }
            for &address in addresses {
                if let Some((other_key, other)) = taken.iter().find(|(_, other)| overlap(*other, address)) {
                    mistakes.push(format!(
                        "{}: {address} and {other} of {} are on one port, and one of them is all addresses: write the \
                         same in both, or choose another port",
                        place(key),
                        place(other_key)
                    ));
                }
                taken.push((key, address));
            }
        }
        self.mistakes.append(&mut mistakes);
    }
}

/// Whether the system would refuse to listen on both. Exactly the same address is no conflict, because it is served
/// once.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    one.port() == other.port()
        && one.port() != 0
        && one.is_ipv4() == other.is_ipv4()
        && one.ip().is_unspecified() != other.ip().is_unspecified()
}

/// Why an address cannot be a relayed address.
fn not_relayable(ip: IpAddr, allow_loopback: bool) -> Option<&'static str> {
    if ip.is_loopback() {
        return (!allow_loopback).then_some("a loopback address");
    }
    if ip.is_unspecified() {
        return Some("the wildcard address");
    }
    if ip.is_multicast() {
        return Some("a multicast address");
    }
    match ip {
        IpAddr::V4(ip) if ip.is_broadcast() => Some("the broadcast address"),
        IpAddr::V4(ip) if ip.octets()[0] == 0 => Some("of \"this network\" (0.0.0.0/8)"),
        IpAddr::V4(ip) if ip.is_link_local() => Some("a link-local address"),
        IpAddr::V6(ip) if ip.is_unicast_link_local() => Some("a link-local address"),
        IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some() => Some("an IPv4 address in IPv6 form"),
        _ => None,
    }
}

fn allocation_lifetime(text: &str) -> Result<Duration, String> {
    let lifetime = parse::duration(text)?;
    if !ALLOCATION_LIFETIME_RANGE.contains(&lifetime) {
        return Err(format!("{text} is out of range: allocations are granted for 10s to 1h"));
    }
    Ok(lifetime)
}

/// Checks a realm: it is sent in quotes in challenges, and clients hash it.
pub(super) fn realm(text: &str) -> Result<String, String> {
    let printable = text.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'"' && b != b'\\');
    if !printable || text.trim() != text {
        return Err(format!(
            "{text:?} has to be printable ASCII without quotes and backslashes, without blanks at its ends"
        ));
    }
    if text.is_empty() || text.len() > MAX_REALM_BYTES {
        return Err(format!("has to have 1 to {MAX_REALM_BYTES} bytes, not {}", text.len()));
    }
    Ok(text.to_owned())
}
