//! Connects the parts according to the plan, supervises them, and drains on shutdown.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, anyhow};
use tokio::{net::TcpListener, task::JoinSet};

use super::{
    interfaces::{follow_interfaces, host_addresses},
    kept::{Kept, host_names},
    listen::Listening,
    plan::Plan,
};
use crate::{
    admin,
    config::{ApiPeerPolicy, Config, MemberPeerPolicy},
    files,
    front::{Front, FrontSettings, Listeners, WebSocketLimits},
    ice_servers::{Issuer, Transports},
    membership::Directory,
    net::{Changes, Chosen, Interfaces},
    observe::{
        log::{Journal, Names},
        metrics::Metrics,
    },
    shutdown::{Reload, Shutdown, ShutdownTrigger},
    signaling::{Limits, ResumeKey, Signaling, Timing},
    tls::Tls,
    turn::{
        self,
        io::{Relaying, Workers},
        shared::{
            peer_policy,
            quota::{PerAddress, QuotaLimits, Quotas},
        },
    },
    values::{family::ByFamily, ports::RelayPorts},
};

/// How often the TURN workers are checked.
const SUPERVISION_PERIOD: Duration = Duration::from_secs(1);

/// All parts, connected. TURN over UDP already runs; nothing else is served yet.
pub(super) struct Parts {
    front: Front,
    workers: Workers,
    turn: Arc<turn::shared::Shared>,
    metrics: Arc<Metrics>,
    journal: Arc<Journal>,
    listeners: Listeners,
    admin: TcpListener,
    tls: Option<Tls>,
}

/// The notifications to a running server.
pub(super) struct Signs {
    /// The host's addresses may have changed.
    pub(super) changes: Changes,
    /// Files that can be reloaded shall be read again.
    pub(super) reload: Reload,
    /// Begins the shutdown.
    pub(super) trigger: ShutdownTrigger,
    /// The shutdown has begun.
    pub(super) shutdown: Shutdown,
}

impl Parts {
    /// Connects the parts of the plan.
    pub(super) fn connect(plan: &Plan, kept: Kept, listening: Listening, shutdown: &Shutdown) -> anyhow::Result<Self> {
        let config = &plan.config;
        let journal = Arc::new(Journal::new(Names::new(&kept.log_key, config.log_people)));
        let metrics = Arc::new(Metrics::new().and_tell(journal.clone()));
        let directory = Arc::new(Directory::new());
        metrics.watch_directory(directory.clone());
        let file_pool = files::Pool::new(plan.capacity.shares.pool);

        let issuer = Issuer {
            secret: kept.member_key.secret(&kept.secrets[0]),
            ttl: config.credential_ttl,
            transports: transports(plan, &listening),
        };
        let turn = Arc::new(turn::shared::Shared::new(
            turn::shared::auth::NonceKeys::new(&kept.nonce_key, None),
            turn::shared::auth::Authority::new(config.realm.clone(), kept.secrets, &kept.member_key),
            peer_policy::PeerPolicy::new(peer_rules(config), host_addresses(&plan.interfaces, config.public_ips)),
            directory.clone(),
            Quotas::new(quota_limits(plan, &file_pool)),
            turn::shared::Terms {
                lifetimes: turn::shared::Lifetimes::up_to(config.allocation_lifetime),
                bitrate: config.max_bitrate_per_allocation.map(turn::shared::bitrate::Bitrate),
                alternates: config.alternate_servers,
            },
            shutdown.clone(),
        ));
        let relaying = Relaying { ports: config.relay_ports, latency_budget: config.relay_latency_budget };
        let workers = listening.turn_udp.start(turn.clone(), relaying, &metrics).context("cannot start TURN")?;

        let resume_key = ResumeKey::new(&kept.resume_key);
        let signaling = Signaling::new(
            limits(config),
            Timing::default(),
            issuer,
            resume_key,
            directory,
            metrics.clone(),
            shutdown.clone(),
        );
        let front = Front {
            signaling: Arc::new(signaling),
            turn: Some(workers.streams().clone()),
            settings: front_settings(plan, file_pool),
        };
        let listeners = Listeners { all: listening.all, turn: listening.turn_tcp, turns: listening.turns };
        Ok(Self { front, workers, turn, metrics, journal, listeners, admin: listening.admin, tls: kept.tls })
    }

    /// Serves until the shutdown. If a part dies, that is the error.
    pub(super) async fn run(self, plan: Plan, file_limit: files::Limit, signs: Signs) -> anyhow::Result<()> {
        let Self { front, workers, turn, metrics, journal, listeners, admin: admin_listener, tls } = self;
        let Signs { changes, reload, trigger, shutdown } = signs;
        let mut tasks = JoinSet::new();
        tasks.spawn(admin::serve(admin_listener, file_limit, metrics, front.signaling.clone(), shutdown.clone()));
        let public_ips = plan.config.public_ips;
        tasks.spawn(follow_interfaces((changes, reload.clone()), turn, public_ips, shutdown.clone()));
        tasks.spawn({
            let (minutes, shutdown) = (journal.clone(), shutdown.clone());
            async move {
                minutes.end_minutes(shutdown).await;
                Ok(())
            }
        });
        let acceptor = tls.as_ref().map(Tls::acceptor);
        if let Some(tls) = tls {
            let (config, shutdown) = (plan.config, shutdown.clone());
            tasks.spawn(async move {
                tls.maintain(move || host_names(&config, &Interfaces::read()), reload, shutdown).await;
                Ok(())
            });
        }
        tasks.spawn(front.serve(listeners, acceptor, shutdown.clone()));
        let supervised = supervise(&mut tasks, &workers, &trigger, &shutdown).await;
        let stopped = workers.stop().context("a TURN worker ended");
        journal.end_minute();
        supervised.and(stopped)
    }
}

/// Waits for the end of all tasks. If one ends before the shutdown, it begins the shutdown for all.
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

fn transports(plan: &Plan, listening: &Listening) -> Transports {
    let addresses = &listening.addresses;
    let turn = addresses.turn_listen.first().map(SocketAddr::port);
    Transports {
        udp: turn,
        tcp: turn,
        tls: addresses.turns_listen.first().map(SocketAddr::port),
        beside_web_sockets: true,
        beside_loopback: beside_loopback(&plan.relayed, &addresses.turn_listen),
    }
}

fn quota_limits(plan: &Plan, file_pool: &Arc<files::Pool>) -> QuotaLimits {
    let config = &plan.config;
    QuotaLimits {
        total: plan.capacity.max_allocations,
        ports: config.relay_ports.count(),
        per_user: config.max_allocations_per_user,
        per_address: config.max_allocations_per_ip.map_or(PerAddress::LeftForOthers, PerAddress::AtMost),
        files: (config.relay_ports != RelayPorts::None).then(|| file_pool.clone()),
    }
}

fn peer_rules(config: &Config) -> peer_policy::PeerRules {
    peer_policy::PeerRules {
        members: match config.peer_policy {
            MemberPeerPolicy::Members => peer_policy::Mode::Members,
            MemberPeerPolicy::Public => peer_policy::Mode::Public,
            MemberPeerPolicy::Any => peer_policy::Mode::Any,
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

fn front_settings(plan: &Plan, pool: Arc<files::Pool>) -> FrontSettings {
    let (config, shares) = (&plan.config, &plan.capacity.shares);
    FrontSettings {
        origins: config.origins.clone(),
        trusted_proxies: config.trusted_proxies.clone(),
        public_host: config.public_host.clone(),
        max_connections_per_ip: config.max_connections_per_ip,
        max_half_open: shares.half_open,
        max_turn_streams: shares.turn_streams,
        web_sockets: WebSocketLimits { max: plan.max_websockets(), max_per_ip: config.max_websockets_per_ip, pool },
        ..FrontSettings::default()
    }
}

/// The relay's address on this host, if STUN and TURN are also served there.
fn beside_loopback(relayed: &ByFamily<Option<Chosen>>, served: &[SocketAddr]) -> Option<IpAddr> {
    let address = relayed.iter().next()?.address.bind;
    let port = served.first()?.port();
    let is_served = served.iter().any(|listener| {
        let covers =
            listener.ip() == address || (listener.ip().is_unspecified() && listener.is_ipv4() == address.is_ipv4());
        covers && listener.port() == port
    });
    (is_served && !address.is_loopback() && !address.is_unspecified()).then_some(address)
}
