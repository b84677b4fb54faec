//! [`Config`]: what was decided.

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

/// The port for HTTP and WebSocket; the old clients' samples have it.
pub const DEFAULT_LISTEN_PORT: u16 = 3000;
/// The registered port of STUN and TURN.
pub const DEFAULT_TURN_PORT: u16 = 3478;
/// The registered port of TURN over TLS.
pub const DEFAULT_TURNS_PORT: u16 = 5349;
/// Metrics: a port as Prometheus exporters have them.
pub const DEFAULT_ADMIN_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9641);
/// The dynamic ports of RFC 6335, which RFC 8656 section 7.2 recommends for relayed addresses.
pub const DEFAULT_RELAY_PORTS: RelayPorts = RelayPorts::Range { first: 49152, last: 65535 };
/// Default of `--credential-ttl`.
pub const DEFAULT_CREDENTIAL_TTL: Duration = Duration::from_secs(6 * 3600);
/// What `--credential-ttl` and `mint --ttl` accept.
pub const CREDENTIAL_TTL_RANGE: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(10)..=Duration::from_secs(30 * 86400);
/// What `--allocation-lifetime` accepts; the highest is its default (RFC 8656 section 7.2 recommends it as the most).
pub const ALLOCATION_LIFETIME_RANGE: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(10)..=Duration::from_secs(3600);

/// Everything that `serve` and `mint` need to know. Plain data; one that exists is good.
#[derive(Clone, Debug)]
pub struct Config {
    /// HTTP, WebSocket and TURN over TCP and TLS.
    pub listen: Vec<SocketAddr>,
    /// `listen` has wildcards that nobody wrote out: one of a family that this host lacks is skipped.
    pub listen_is_default: bool,
    /// STUN and TURN, over UDP and over TCP.
    pub turn_listen: Vec<SocketAddr>,
    /// As `listen_is_default`.
    pub turn_listen_is_default: bool,
    /// TURN over TLS; empty without TLS.
    pub turns_listen: Vec<SocketAddr>,
    /// As `listen_is_default`.
    pub turns_listen_is_default: bool,
    /// Nobody chose the port of `turns_listen`: the server runs without it where it is taken.
    pub turns_port_is_default: bool,
    /// Secure mode.
    pub tls: Option<TlsSetting>,
    /// `--public-ip`; a family without one uses the address found on the interfaces.
    pub public_ips: ByFamily<Option<IpAddr>>,
    /// Host for iceServers URLs.
    pub public_host: Option<Host>,
    /// Ports of relayed addresses.
    pub relay_ports: RelayPorts,
    /// Printable ASCII without quotes, 1 to 40 bytes.
    pub realm: String,
    /// TURN shared secrets, the one that mints first; none: the state directory's.
    pub secrets: Vec<GivenSecret>,
    /// Life of minted credentials.
    pub credential_ttl: Duration,
    /// For credentials minted on join.
    pub peer_policy: MemberPeerPolicy,
    /// For all other credentials.
    pub api_peer_policy: ApiPeerPolicy,
    /// Reverse proxies whose headers count.
    pub trusted_proxies: Vec<IpNet>,
    /// Relayed to although the policy would not.
    pub allow_peers: Vec<IpNet>,
    /// Never relayed to; beats `allow_peers`.
    pub deny_peers: Vec<IpNet>,
    /// Members in a room.
    pub max_peers_per_room: usize,
    /// Rooms.
    pub max_rooms: usize,
    /// Bytes in a signaling message.
    pub max_message_bytes: usize,
    /// Unproven connections of one address.
    pub max_connections_per_ip: usize,
    /// WebSockets; none: what files allow.
    pub max_websockets: Option<usize>,
    /// WebSockets of one address; none: as many as are left for others.
    pub max_websockets_per_ip: Option<usize>,
    /// TURN allocations; none: what ports, files and memory allow.
    pub max_allocations: Option<usize>,
    /// TURN allocations of one user.
    pub max_allocations_per_user: usize,
    /// Allocations of the clients at one address; none: as many as are left for others.
    pub max_allocations_per_ip: Option<usize>,
    /// Longest life granted to an allocation at once.
    pub allocation_lifetime: Duration,
    /// Bits per second that one allocation may relay each way.
    pub max_bitrate_per_allocation: Option<NonZeroU64>,
    /// Where new allocations are sent.
    pub alternate_servers: ByFamily<Option<SocketAddr>>,
    /// Allowed WebSocket origins in the form of [`origin`](super::origin); none: any.
    pub origins: Vec<String>,
    /// Metrics; a loopback address.
    pub admin_listen: SocketAddr,
    /// Nobody asked for it: another port will do where it is taken.
    pub admin_listen_is_default: bool,
    /// TURN worker threads.
    pub workers: usize,
    /// How long a worker may rest to find more packets.
    pub relay_latency_budget: Duration,
    /// Where secrets are kept.
    pub state_dir: PathBuf,
    /// Directives of tracing's `EnvFilter`.
    pub log: String,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Names and addresses stand in the log as they are.
    pub log_people: bool,
    /// Loopback peers are allowed: for tests only.
    pub dangerously_allow_loopback_peers: bool,
}

/// Whom holders of credentials minted on join may relay to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberPeerPolicy {
    /// Members of the same room.
    Members,
    /// Public addresses.
    Public,
    /// Everything that is not always forbidden.
    Any,
}

/// Whom holders of all other credentials may relay to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiPeerPolicy {
    /// Public addresses.
    Public,
    /// Everything that is not always forbidden.
    Any,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object per line.
    Json,
}

/// One of the operator's TURN shared secrets.
#[derive(Clone, Debug)]
pub enum GivenSecret {
    /// As it is.
    Text(Secret),
    /// In a file, without the line break at its end.
    File(PathBuf),
}

/// What `--tls` comes with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSetting {
    /// `--tls-cert` and `--tls-key`; none: the usual ones, which a local CA may make.
    pub files: Option<(PathBuf, PathBuf)>,
    /// A local CA that is made now gets no IP constraints.
    pub local_ca_any_ip: bool,
}
