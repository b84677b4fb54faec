//! Binds every listener, connects the parts, supervises tasks, drains on shutdown.
//!
//! The order is the point: everything that can be wrong is found before the first client is served, all UDP sockets are
//! bound before the first is read, and on the way out signaling says goodbye before TURN falls silent.
#![allow(clippy::disallowed_methods, reason = "it reads the clocks")]

pub mod signals;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, anyhow};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{net::TcpListener, task::JoinSet};

use self::signals::Signals;
use crate::{
    admin,
    config::{ApiPeerPolicy, Config, PeerPolicy, RelayPorts},
    files,
    front::{Front, FrontSettings, Listeners, WebSocketLimits},
    ice_servers::{Issuer, Transports},
    membership::Directory,
    net::{self, Changes, Interfaces, RelayedAddress},
    observe::{
        log::{Journal, Names},
        metrics::Metrics,
    },
    shutdown::{Reload, Shutdown, ShutdownTrigger},
    signaling::{Limits, ResumeKey, Signaling, Timing},
    startup,
    state_dir::StateDir,
    tls::{self, HostNames, Tls},
    turn::{
        self,
        io::Workers,
        peer_policy,
        quota::{PerAddress, QuotaLimits, Quotas},
    },
};

/// How often the interfaces are looked at: where changes are heard, and where the system refuses to tell.
const INTERFACES_PERIOD: Duration = Duration::from_secs(60);
const INTERFACES_PERIOD_UNHEARD: Duration = Duration::from_secs(5);

/// After a look at the interfaces, so long until the next, however much changes.
const INTERFACES_PAUSE: Duration = Duration::from_millis(50);

/// How often the TURN workers are looked at.
const SUPERVISION_PERIOD: Duration = Duration::from_secs(1);

/// How many relayed addresses that the host had before stay its own.
const FORMER_ADDRESSES: usize = 16;

/// How often a port that is free for all that is to be served at it is looked for, where any will do.
const SAME_PORT_TRIES: usize = 8;

/// Where the default port of metrics is taken, so many behind it are tried before any that is free.
const ADMIN_PORTS_BEYOND: u16 = 8;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// Memory of the process and the kernel that an allocation may come to need.
const BYTES_PER_ALLOCATION: u64 = 32 * 1024;

/// Runs the server until one of `signals` ends it.
///
/// # Errors
/// Whatever keeps it from running: an address in use, a state directory that cannot be written, a part that died.
pub async fn run(config: Config, signals: Signals) -> anyhow::Result<()> {
    let (trigger, shutdown) = Shutdown::new();
    let reload = signals.heed(trigger.clone());

    let file_limit = files::Limit::raise();
    // Before they are read, so that no change is missed.
    let changes = Changes::listen();
    let interfaces = Interfaces::read();
    let relayed = interfaces.relayed_addresses(config.public_ips);
    let state_dir = StateDir::open(&config.state_dir)?;
    let secrets = state_dir.secrets(&config.secrets)?;
    let tls = match &config.tls {
        Some(files) => Some(Tls::open(files, &HostNames::of(&config, &interfaces))?),
        None => None,
    };

    // What is in use is told at once, so that nobody has to try again for each.
    let (listeners, (turn_sockets, turn_listeners), turns_listeners, admin) = match (
        listen_tcp(&config.listen, config.listen_is_default, "--listen"),
        listen_turn(&config),
        listen_turns(&config),
        // The last, because it may take the port of another.
        listen_admin(&config),
    ) {
        (Ok(listeners), Ok(turn), Ok(turns), Ok(admin)) => (listeners, turn, turns, admin),
        (listeners, turn, turns, admin) => {
            let problems = [listeners.err(), admin.err(), turn.err(), turns.err()];
            let problems: Vec<_> = problems.into_iter().flatten().map(|error| error.to_string()).collect();
            return Err(anyhow!(problems.join("\n")));
        }
    };

    let journal = Arc::new(Journal::new(Names::new(&state_dir.log_key()?, config.log_people)));
    let metrics = Arc::new(Metrics::new().and_tell(journal.clone()));
    let directory = Arc::new(Directory::new());
    metrics.watch_directory(directory.clone());
    let possible = config.max_allocations.unwrap_or_else(|| possible_allocations(config.relay_ports, relayed.len()));
    let has_ports = config.relay_ports != RelayPorts::None;
    let shares = files::Shares::of(file_limit.files(), config.workers, if has_ports { possible } else { 0 });
    let file_pool = files::Pool::new(shares.pool);
    let max_allocations = if config.max_allocations.is_none() && has_ports { shares.allocations } else { possible };
    let quotas = Quotas::new(QuotaLimits {
        total: max_allocations,
        ports: config.relay_ports.count(),
        per_user: config.max_allocations_per_user,
        per_address: config.max_allocations_per_ip.map_or(PerAddress::LeftForOthers, PerAddress::AtMost),
        files: has_ports.then(|| file_pool.clone()),
    });
    let turn_addresses = turn_sockets.addresses().to_vec();
    let local =
        |listeners: &[TcpListener]| listeners.iter().map(TcpListener::local_addr).collect::<Result<Vec<_>, _>>();
    let (listen_addresses, mut turns_addresses) = (local(&listeners)?, local(&turns_listeners)?);
    turns_addresses.extend(config.turns_listen.iter().filter(|address| has_other_listener(&config, address)));
    let turn_port = turn_addresses.first().map(SocketAddr::port);
    let transports = Transports {
        udp: turn_port,
        tcp: turn_port,
        tls: turns_addresses.first().map(SocketAddr::port),
        beside_web_sockets: true,
        beside_loopback: beside_loopback(&relayed, &turn_addresses),
    };
    let member_key = state_dir.member_key()?;
    let issuer = Issuer { secret: member_key.secret(&secrets[0]), ttl: config.credential_ttl, transports };
    let mut shared = turn::Shared::new(
        turn::auth::NonceKeys::new(&state_dir.nonce_key()?, None),
        turn::auth::Authority::new(config.realm.clone(), secrets, &member_key),
        peer_policy::PeerPolicy::new(peer_rules(&config), host_addresses(&interfaces, &config)),
        directory.clone(),
        quotas,
    );
    shared.shutdown = shutdown.clone();
    shared.lifetimes = turn::Lifetimes::up_to(config.allocation_lifetime);
    shared.bitrate = config.max_bitrate_per_allocation.map(turn::bitrate::Bitrate);
    for address in &config.alternate_servers {
        shared.alternates[turn::message::Family::of(address.ip())] = Some(*address);
    }
    let shared = Arc::new(shared);
    let mut exposed = state_dir.exposed();
    exposed.extend(tls.iter().flat_map(|tls| tls.facts().exposed.clone()));
    let workers = turn_sockets.start(shared.clone(), config.relay_ports, &metrics).context("cannot start TURN")?;

    let resume_key = ResumeKey::new(&state_dir.resume_key()?);
    let signaling = Signaling::new(
        limits(&config),
        Timing::default(),
        issuer,
        resume_key,
        directory,
        metrics.clone(),
        shutdown.clone(),
    );
    let signaling = Arc::new(signaling);
    let turn = Some(workers.streams().clone());
    let front = Front { signaling, turn, settings: http_settings(&config, &shares, file_pool) };
    let since = Instant::now();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), pid = std::process::id(), "started");
    startup::print(&startup::Facts {
        config: &config,
        listen: &listen_addresses,
        turn_listen: &turn_addresses,
        turns_listen: &turns_addresses,
        admin_listen: local(&admin)?[0],
        interfaces: &interfaces,
        relayed: &relayed,
        max_allocations,
        files: file_limit.files(),
        shares: &shares,
        certificate: tls.as_ref().map(Tls::facts),
        exposed: &exposed,
        unused_certificate: config.tls.as_ref().and_then(tls::place::doubt),
        now: SystemTime::now(),
    });

    let config = Arc::new(config);
    let mut tasks = JoinSet::new();
    for listener in admin {
        tasks.spawn(admin::serve(listener, file_limit, metrics.clone(), front.signaling.clone(), shutdown.clone()));
    }
    tasks.spawn(follow_interfaces((changes, reload.clone()), shared, config.clone(), shutdown.clone()));
    tasks.spawn({
        let (minutes, shutdown) = (journal.clone(), shutdown.clone());
        async move {
            minutes.end_minutes(shutdown).await;
            Ok(())
        }
    });
    let acceptor = tls.as_ref().map(Tls::acceptor);
    if let Some(tls) = tls {
        let config = config.clone();
        let shutdown = shutdown.clone();
        tasks.spawn(async move {
            tls.maintain(move || HostNames::of(&config, &Interfaces::read()), reload, shutdown).await;
            Ok(())
        });
    }
    let listeners = Listeners { all: listeners, turn: turn_listeners, turns: turns_listeners };
    tasks.spawn(front.serve(listeners, acceptor, shutdown.clone()));
    let supervised = supervise(&mut tasks, &workers, &trigger, &shutdown).await;
    let stopped = workers.stop().context("a TURN worker ended");
    journal.end_minute();
    tracing::info!(seconds = since.elapsed().as_secs(), "stopped");
    supervised.and(stopped)
}

/// Waits for the end of all tasks. The first that ends before it was told to takes the others with it.
async fn supervise(
    tasks: &mut JoinSet<std::io::Result<()>>,
    workers: &Workers,
    trigger: &ShutdownTrigger,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let mut outcome = Ok(());
    let mut look = tokio::time::interval(SUPERVISION_PERIOD);
    loop {
        tokio::select! {
            ended = tasks.join_next() => {
                let Some(ended) = ended else {
                    return outcome;
                };
                let ended = ended.map_err(anyhow::Error::from).and_then(|ended| ended.map_err(anyhow::Error::from));
                if ended.is_err() || !shutdown.has_begun() {
                    let why = ended.err().unwrap_or_else(|| anyhow!("a part of the server ended by itself"));
                    outcome = outcome.and(Err(why));
                    trigger.begin();
                }
            }
            _ = look.tick() => {
                if workers.has_failed() && !shutdown.has_begun() {
                    // Its error is what `Workers::stop` returns.
                    trigger.begin();
                }
            }
        }
    }
}

fn listen_tcp(addresses: &[SocketAddr], are_default: bool, flag: &'static str) -> anyhow::Result<Vec<TcpListener>> {
    let mut tries = if addresses.iter().any(|address| address.port() == 0) { SAME_PORT_TRIES } else { 1 };
    loop {
        tries -= 1;
        match try_listen_tcp(&on_one_port(addresses), are_default, flag) {
            Err(_) if tries > 0 => {}
            outcome => return outcome,
        }
    }
}

/// Where both families are to have a port that the system chooses, chooses one for both: URLs name one.
fn on_one_port(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let is_for_both = |address: &&SocketAddr| address.ip().is_unspecified() && address.port() == 0;
    let mut chosen = addresses.to_vec();
    if addresses.iter().filter(is_for_both).count() == 2
        && let Ok(port) = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| socket.local_addr())
    {
        chosen.iter_mut().filter(|address| is_for_both(&&**address)).for_each(|address| address.set_port(port.port()));
    }
    chosen
}

fn try_listen_tcp(addresses: &[SocketAddr], are_default: bool, flag: &'static str) -> anyhow::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    let mut problems = Vec::new();
    for &address in addresses {
        match bind_tcp(address) {
            Ok(listener) => listeners.push(listener),
            Err(error) if are_default && net::family_is_missing(&error) => {}
            Err(error) => problems.push(net::bind_error(address, flag, &error)),
        }
    }
    anyhow::ensure!(problems.is_empty(), problems.join("\n"));
    anyhow::ensure!(!listeners.is_empty(), "this host has no network to listen on ({flag})");
    Ok(listeners)
}

fn bind_tcp(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // IPv4 has a listener of its own, so that clients keep their addresses' form.
        socket.set_only_v6(true)?;
    }
    // A restart must not wait for connections of the last run to fade.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// STUN and TURN over UDP, and over TCP on the same ports.
fn listen_turn(config: &Config) -> anyhow::Result<(turn::io::Bound, Vec<TcpListener>)> {
    let any_port = config.turn_listen.iter().any(|address| address.port() == 0);
    let mut tries = if any_port { SAME_PORT_TRIES } else { 1 };
    loop {
        tries -= 1;
        let udp = match listen_udp(config) {
            Err(_) if tries > 0 => continue,
            udp => udp?,
        };
        // One that is written for both is served by the one that speaks everything.
        let mut addresses = udp.addresses().to_vec();
        addresses.retain(|address| !is_also_listen(config, address));
        if addresses.is_empty() {
            return Ok((udp, Vec::new()));
        }
        // A family that is missing was left out by now.
        match listen_tcp(&addresses, false, "--turn-listen, TCP") {
            Ok(tcp) => return Ok((udp, tcp)),
            // The port was chosen because it is free for UDP.
            Err(_) if tries > 0 => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether an address of TURN is one that speaks everything anyway.
fn is_also_listen(config: &Config, address: &SocketAddr) -> bool {
    address.port() != 0 && config.listen.contains(address)
}

/// Whether an address of TURN over TLS is one at which another flag has TLS served anyway.
fn has_other_listener(config: &Config, address: &SocketAddr) -> bool {
    address.port() != 0 && (config.listen.contains(address) || config.turn_listen.contains(address))
}

/// TURN over TLS. The default port is no reason to fail: TLS is served on the `--listen` port all the same.
fn listen_turns(config: &Config) -> anyhow::Result<Vec<TcpListener>> {
    let mut addresses = config.turns_listen.clone();
    addresses.retain(|address| !has_other_listener(config, address));
    if addresses.is_empty() {
        return Ok(Vec::new());
    }
    match listen_tcp(&addresses, config.turns_listen_is_default, "--turns-listen") {
        Err(_) if config.turns_port_is_default => Ok(Vec::new()),
        other => other,
    }
}

/// Metrics and admin API. A second server on this machine need not be told another port for them.
fn listen_admin(config: &Config) -> anyhow::Result<Vec<TcpListener>> {
    let (ip, port) = (config.admin_listen.ip(), config.admin_listen.port());
    let listen = |port| listen_tcp(&[SocketAddr::new(ip, port)], false, "--admin-listen");
    match listen(port) {
        Err(error) if config.admin_listen_is_default => {
            let mut others = (1..=ADMIN_PORTS_BEYOND).map(|n| port + n).chain([0]);
            others.find_map(|port| listen(port).ok()).ok_or(error)
        }
        outcome => outcome,
    }
}

fn listen_udp(config: &Config) -> anyhow::Result<turn::io::Bound> {
    let mut addresses = on_one_port(&config.turn_listen);
    loop {
        match turn::io::Bound::new(&addresses, config.workers) {
            Ok(bound) => return Ok(bound),
            Err(error) if config.turn_listen_is_default && net::family_is_missing(&error.source) => {
                addresses.retain(|address| *address != error.address);
                anyhow::ensure!(!addresses.is_empty(), "this host has no network to listen on (--turn-listen)");
            }
            Err(error) => return Err(anyhow!(net::bind_error(error.address, "--turn-listen", &error.source))),
        }
    }
}

/// New allocations get new addresses, and permissions are judged anew, as soon as interfaces or routes change.
async fn follow_interfaces(
    (mut changes, mut reload): (Changes, Reload),
    shared: Arc<turn::Shared>,
    config: Arc<Config>,
    shutdown: Shutdown,
) -> std::io::Result<()> {
    // Allocations live on at addresses that the host has lost: in process they are reached as before.
    let mut former = Vec::new();
    loop {
        let period = if changes.are_heard() { INTERFACES_PERIOD } else { INTERFACES_PERIOD_UNHEARD };
        tokio::select! {
            () = changes.next() => {}
            () = reload.asked() => {}
            () = tokio::time::sleep(period) => {}
            () = shutdown.begun() => return Ok(()),
        }
        // Long lists take their time.
        let interfaces = tokio::task::spawn_blocking(Interfaces::read).await.map_err(std::io::Error::other)?;
        let mut host = host_addresses(&interfaces, &config);
        let before = shared.policy.host();
        former.extend([before.relay_v4, before.relay_v6].into_iter().flatten().map(|relay| relay.advertised));
        keep_latest(&mut former, FORMER_ADDRESSES);
        host.own.extend(former.iter().copied());
        if *before != host {
            let relayed: Vec<_> = [host.relay_v4, host.relay_v6].into_iter().flatten().map(|r| r.advertised).collect();
            tracing::info!(?relayed, "the addresses of this host changed");
            shared.policy.set_host(host);
        }
        tokio::time::sleep(INTERFACES_PAUSE).await;
    }
}

/// Leaves the last `limit` different entries, in the order of their last appearance.
fn keep_latest<T: Copy + PartialEq>(entries: &mut Vec<T>, limit: usize) {
    let mut latest = Vec::new();
    for entry in entries.iter().rev() {
        if latest.len() < limit && !latest.contains(entry) {
            latest.push(*entry);
        }
    }
    latest.reverse();
    *entries = latest;
}

fn host_addresses(interfaces: &Interfaces, config: &Config) -> peer_policy::HostAddresses {
    let own = interfaces.own_addresses(config.public_ips);
    let relayed = interfaces.relayed_addresses(config.public_ips);
    let relay = |is_family: fn(&RelayedAddress) -> bool| {
        let found = relayed.iter().find(|address| is_family(address))?;
        Some(peer_policy::RelayAddress { advertised: found.advertised, bind: found.bind })
    };
    peer_policy::HostAddresses {
        own: own.addresses,
        gateways: own.gateways,
        relay_v4: relay(|address| address.advertised.is_ipv4()),
        relay_v6: relay(|address| address.advertised.is_ipv6()),
    }
}

fn peer_rules(config: &Config) -> peer_policy::PeerRules {
    peer_policy::PeerRules {
        members: match config.peer_policy {
            PeerPolicy::Members => peer_policy::Mode::Members,
            PeerPolicy::Public => peer_policy::Mode::Public,
            PeerPolicy::Any => peer_policy::Mode::Any,
        },
        api: match config.api_peer_policy {
            ApiPeerPolicy::Public => peer_policy::Mode::Public,
            ApiPeerPolicy::Any => peer_policy::Mode::Any,
        },
        allow: config.allow_peers.clone(),
        deny: config.deny_peers.clone(),
        trusted_proxies: config.trusted_proxies.clone(),
        dangerously_allow_loopback: config.dangerously_allow_loopback_peers,
    }
}

fn limits(config: &Config) -> Limits {
    Limits {
        max_peers_per_room: config.max_peers_per_room,
        max_rooms: config.max_rooms,
        max_message_bytes: config.max_message_bytes,
    }
}

fn http_settings(config: &Config, shares: &files::Shares, pool: Arc<files::Pool>) -> FrontSettings {
    FrontSettings {
        origins: config.origins.clone(),
        trusted_proxies: config.trusted_proxies.clone(),
        public_host: config.public_host.clone(),
        max_connections_per_ip: config.max_connections_per_ip,
        max_half_open: shares.half_open,
        max_turn_streams: shares.turn_streams,
        web_sockets: WebSocketLimits {
            max: config.max_websockets.unwrap_or(shares.web_sockets),
            max_per_ip: config.max_websockets_per_ip,
            pool,
        },
        ..FrontSettings::default()
    }
}

/// The relay's address on this host, if STUN and TURN are served there.
fn beside_loopback(relayed: &[RelayedAddress], served: &[SocketAddr]) -> Option<IpAddr> {
    let address = relayed.first().map(|address| address.bind)?;
    let port = served.first()?.port();
    let is_served = served.iter().any(|listener| {
        let covers =
            listener.ip() == address || (listener.ip().is_unspecified() && listener.is_ipv4() == address.is_ipv4());
        covers && listener.port() == port
    });
    (is_served && !address.is_loopback() && !address.is_unspecified()).then_some(address)
}

/// How many allocations ports and memory allow.
fn possible_allocations(ports: RelayPorts, families: usize) -> usize {
    let by_memory = total_memory().map_or(u64::MAX, |bytes| bytes / 2 / BYTES_PER_ALLOCATION);
    let by_ports = ports.count() * families.max(1);
    by_ports.min(usize::try_from(by_memory).unwrap_or(usize::MAX)).max(1)
}

/// Bytes of memory in this machine.
fn total_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_kept_once_each() {
        let mut entries = vec![1, 2, 3, 2, 4, 4];
        keep_latest(&mut entries, 3);
        assert_eq!(entries, [3, 2, 4]);
    }

    #[test]
    fn the_scarcest_thing_limits_allocations() {
        let ports = RelayPorts::Range { first: 50_000, last: 50_099 };
        assert_eq!(possible_allocations(ports, 1), 100);
        assert_eq!(possible_allocations(ports, 2), 200);
        assert_eq!(files::Shares::of(20_000, 2, 200).allocations, 200);
        assert!(files::Shares::of(300, 2, 200).allocations < 200);
        assert!(possible_allocations(RelayPorts::None, 1) > 1000, "no port, no file");
    }
}
