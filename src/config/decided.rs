//! [`Config`]: the complete configuration.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::NonZeroU64,
    path::PathBuf,
    time::Duration,
};

use ipnet::IpNet;

use crate::{
    credentials::Secret,
    values::{family::ByFamily, host::Host, ports::RelayPorts},
};

/// The port for HTTP and WebSocket, which the samples of the old clients use.
pub const DEFAULT_LISTEN_PORT: u16 = 3000;
/// The registered port of STUN and TURN.
pub const DEFAULT_TURN_PORT: u16 = 3478;
/// The registered port of TURN over TLS.
pub const DEFAULT_TURNS_PORT: u16 = 5349;
/// The address for metrics, with a port in the usual range of Prometheus exporters.
pub const DEFAULT_ADMIN_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9641);
/// The dynamic ports of RFC 6335, which RFC 8656 section 7.2 recommends for relayed addresses.
pub const DEFAULT_RELAY_PORTS: RelayPorts = RelayPorts::Range { first: 49152, last: 65535 };
/// The default of `--credential-ttl`.
pub const DEFAULT_CREDENTIAL_TTL: Duration = Duration::from_secs(6 * 3600);
/// The values that `--credential-ttl` and `mint --ttl` accept.
pub const CREDENTIAL_TTL_RANGE: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(10)..=Duration::from_secs(30 * 86400);
/// The values that `--allocation-lifetime` accepts. The highest is its default, the maximum that RFC 8656 section 7.2
/// recommends.
pub const ALLOCATION_LIFETIME_RANGE: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(10)..=Duration::from_secs(3600);

/// Everything that `serve` and `mint` need to know. Plain data; every existing value is valid.
#[derive(Clone, Debug)]
pub struct Config {
    /// HTTP, WebSocket and TURN over TCP and TLS.
    pub listen: Vec<SocketAddr>,
    /// Whether `listen` has wildcards that nobody wrote explicitly. Then a wildcard of a family that this host lacks is
    /// skipped.
    pub listen_is_default: bool,
    /// STUN and TURN, over UDP and over TCP.
    pub turn_listen: Vec<SocketAddr>,
    /// The same for `turn_listen`.
    pub turn_listen_is_default: bool,
    /// TURN over TLS; empty without TLS.
    pub turns_listen: Vec<SocketAddr>,
    /// The same for `turns_listen`.
    pub turns_listen_is_default: bool,
    /// Whether nobody chose the port of `turns_listen`. Then the server runs without it if the port is taken.
    pub turns_port_is_default: bool,
    /// TLS, if it is on.
    pub tls: Option<TlsSetting>,
    /// `--public-ip`; a family without one uses the address found on the interfaces.
    pub public_ips: ByFamily<Option<IpAddr>>,
    /// The host for iceServers URLs.
    pub public_host: Option<Host>,
    /// Ports of relayed addresses.
    pub relay_ports: RelayPorts,
    /// The realm: printable ASCII without quotes, 1 to 40 bytes.
    pub realm: String,
    /// TURN shared secrets; the first one mints. If there are none, the one in the state directory is used.
    pub secrets: Vec<GivenSecret>,
    /// The lifetime of minted credentials.
    pub credential_ttl: Duration,
    /// The policy for credentials minted on join.
    pub peer_policy: MemberPeerPolicy,
    /// The policy for all other credentials.
    pub api_peer_policy: ApiPeerPolicy,
    /// Reverse proxies whose headers count.
    pub trusted_proxies: Vec<IpNet>,
    /// Peers that are allowed even if the policy would refuse them.
    pub allow_peers: Vec<IpNet>,
    /// Peers that are never allowed. This has precedence over `allow_peers`.
    pub deny_peers: Vec<IpNet>,
    /// The maximum number of members in a room.
    pub max_peers_per_room: usize,
    /// The maximum number of rooms.
    pub max_rooms: usize,
    /// The maximum number of bytes in a signaling message.
    pub max_message_bytes: usize,
    /// The maximum number of connections of one address that have not joined a room.
    pub max_connections_per_ip: usize,
    /// The maximum number of WebSockets. By default, as many as open files allow.
    pub max_websockets: Option<usize>,
    /// The maximum number of WebSockets of one address. By default, as many as are left for others.
    pub max_websockets_per_ip: Option<usize>,
    /// The maximum number of TURN allocations. By default, as many as ports, files and memory allow.
    pub max_allocations: Option<usize>,
    /// The maximum number of TURN allocations of one user.
    pub max_allocations_per_user: usize,
    /// The maximum number of allocations of the clients at one address. By default, as many as are left for others.
    pub max_allocations_per_ip: Option<usize>,
    /// The longest lifetime that one request can give an allocation.
    pub allocation_lifetime: Duration,
    /// The bits per second that one allocation may relay in each direction.
    pub max_bitrate_per_allocation: Option<NonZeroU64>,
    /// The servers to which new allocations are redirected.
    pub alternate_servers: ByFamily<Option<SocketAddr>>,
    /// Allowed WebSocket origins, in the form of [`origin`](super::origin). An empty list allows all.
    pub origins: Vec<String>,
    /// The address for metrics, on loopback.
    pub admin_listen: SocketAddr,
    /// Whether nobody asked for that address. Then another port is used if it is taken.
    pub admin_listen_is_default: bool,
    /// The number of TURN worker threads.
    pub workers: usize,
    /// How long a worker may rest to find more packets.
    pub relay_latency_budget: Duration,
    /// The directory for secrets.
    pub state_dir: PathBuf,
    /// Directives of tracing's `EnvFilter`.
    pub log: String,
    /// The format of log lines.
    pub log_format: LogFormat,
    /// Whether names and addresses are logged as they are.
    pub log_people: bool,
    /// Whether loopback peers are allowed; for tests only.
    pub dangerously_allow_loopback_peers: bool,
}

/// The peers to which holders of credentials minted on join may relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberPeerPolicy {
    /// Members of the same room.
    Members,
    /// Public addresses.
    Public,
    /// Everything that is not always forbidden.
    Any,
}

/// The peers to which holders of all other credentials may relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiPeerPolicy {
    /// Public addresses.
    Public,
    /// Everything that is not always forbidden.
    Any,
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// One of the operator's TURN shared secrets.
#[derive(Clone, Debug)]
pub enum GivenSecret {
    /// The secret itself.
    Text(Secret),
    /// A file with the secret. A line break at its end does not count.
    File(PathBuf),
}

/// The settings that belong to `--tls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSetting {
    /// `--tls-cert` and `--tls-key`. By default the usual files, which a local CA may make.
    pub files: Option<(PathBuf, PathBuf)>,
    /// Whether a new local CA gets no IP constraints.
    pub local_ca_any_ip: bool,
}
