//! Binds every listener, or says for each that cannot be bound what the obstacle is.

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

use crate::{config::Config, turn};

/// How often to look for a port that is free for everything that shall be served at it, if any port will do.
const SAME_PORT_TRIES: usize = 8;

/// If the default port of metrics is taken, this many following ports are tried before any free one.
const ADMIN_PORTS_BEYOND: u16 = 8;

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 1024;

/// Why a listener could not be bound.
#[derive(Debug, thiserror::Error)]
pub(super) enum ListenError {
    /// The system refuses to listen.
    #[error("cannot listen on {address} ({flag}): {}", remedy(*.address, .cause))]
    Refused {
        address: SocketAddr,
        flag: &'static str,
        /// No `source`: the text already contains it, or a remedy instead.
        cause: io::Error,
    },
    /// This host has none of the address families of the default addresses.
    #[error("this host has no network to listen on ({flag})")]
    NoNetwork { flag: &'static str },
}

/// All obstacles together, so that nobody has to try again after each one.
#[derive(Debug)]
pub(super) struct ListenErrors(Vec<ListenError>);

impl fmt::Display for ListenErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.0.iter().map(ListenError::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for ListenErrors {}

impl From<ListenError> for ListenErrors {
    fn from(error: ListenError) -> Self {
        Self(vec![error])
    }
}

/// All bound listeners.
#[derive(Debug)]
pub(super) struct Listening {
    /// HTTP, WebSockets, TURN over TCP and TLS.
    pub(super) all: Vec<TcpListener>,
    /// STUN and TURN over UDP.
    pub(super) turn_udp: turn::io::BoundSockets,
    /// TURN over TCP.
    pub(super) turn_tcp: Vec<TcpListener>,
    /// TURN over TLS.
    pub(super) turns: Vec<TcpListener>,
    /// Metrics and operators' API.
    pub(super) admin: TcpListener,
    /// The addresses of all these.
    pub(super) addresses: Addresses,
}

/// What is served at which address.
#[derive(Clone, Debug)]
pub(super) struct Addresses {
    /// HTTP, WebSocket and TURN over TCP and TLS.
    pub(super) listen: Vec<SocketAddr>,
    /// STUN and TURN, over UDP and TCP.
    pub(super) turn_listen: Vec<SocketAddr>,
    /// TURN over TLS, with a port of its own or shared with `listen` or `turn_listen`.
    pub(super) turns_listen: Vec<SocketAddr>,
    /// Metrics and operators' API.
    pub(super) admin_listen: SocketAddr,
}

impl Listening {
    /// Binds everything that the configuration asks for.
    pub(super) fn open(config: &Config) -> Result<Self, ListenErrors> {
        let (all, (turn_udp, turn_tcp), turns, admin) = match (
            listen_tcp(&config.listen, config.listen_is_default, "--listen"),
            listen_turn(config),
            listen_turns(config),
            // This comes last, because it could take the port of another listener.
            listen_admin(config),
        ) {
            (Ok(all), Ok(turn), Ok(turns), Ok(admin)) => (all, turn, turns, admin),
            (all, turn, turns, admin) => {
                let problems = [all.err(), admin.err(), turn.err(), turns.err()];
                return Err(ListenErrors(problems.into_iter().flatten().flat_map(|errors| errors.0).collect()));
            }
        };
        let local = |listeners: &[(SocketAddr, TcpListener)]| listeners.iter().map(|(address, _)| *address).collect();
        let mut addresses = Addresses {
            listen: local(&all),
            turn_listen: turn_udp.addresses().to_vec(),
            turns_listen: local(&turns),
            admin_listen: admin.0,
        };
        addresses.turns_listen.extend(config.turns_listen.iter().filter(|address| has_other_listener(config, address)));
        let listeners = |bound: Bindings| bound.into_iter().map(|(_, listener)| listener).collect();
        let (all, turn_tcp, turns) = (listeners(all), listeners(turn_tcp), listeners(turns));
        Ok(Self { all, turn_udp, turn_tcp, turns, admin: admin.1, addresses })
    }
}

/// Listeners and the addresses at which they are bound.
type Bindings = Vec<(SocketAddr, TcpListener)>;

fn listen_tcp(addresses: &[SocketAddr], are_default: bool, flag: &'static str) -> Result<Bindings, ListenErrors> {
    let mut tries = if addresses.iter().any(|address| address.port() == 0) { SAME_PORT_TRIES } else { 1 };
    loop {
        tries -= 1;
        match try_listen_tcp(&on_one_port(addresses), are_default, flag) {
            Err(_) if tries > 0 => {}
            outcome => return outcome,
        }
    }
}

/// If the system shall choose the port for both families, chooses the same port for both, because URLs name only one.
fn on_one_port(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let is_for_both = |address: &&SocketAddr| address.ip().is_unspecified() && address.port() == 0;
    let mut chosen = addresses.to_vec();
    if addresses.iter().filter(is_for_both).count() == 2
        && let Ok(port) = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| socket.local_addr())
    {
        chosen.iter_mut().filter(|address| is_for_both(&&**address)).for_each(|address| address.set_port(port.port()));
    }
    chosen
}

fn try_listen_tcp(addresses: &[SocketAddr], are_default: bool, flag: &'static str) -> Result<Bindings, ListenErrors> {
    let mut listeners = Vec::new();
    let mut problems = Vec::new();
    for &address in addresses {
        match bind_tcp(address) {
            Ok(listener) => listeners.push(listener),
            Err(error) if are_default && family_is_missing(&error) => {}
            Err(cause) => problems.push(ListenError::Refused { address, flag, cause }),
        }
    }
    if problems.is_empty() && listeners.is_empty() {
        problems.push(ListenError::NoNetwork { flag });
    }
    if problems.is_empty() { Ok(listeners) } else { Err(ListenErrors(problems)) }
}

fn bind_tcp(address: SocketAddr) -> io::Result<(SocketAddr, TcpListener)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // IPv4 has a listener of its own, so that IPv4 addresses of clients keep their form.
        socket.set_only_v6(true)?;
    }
    // A restart must not wait until the connections of the last run time out.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from_std(socket.into())?;
    Ok((listener.local_addr()?, listener))
}

/// STUN and TURN over UDP, and over TCP on the same ports.
fn listen_turn(config: &Config) -> Result<(turn::io::BoundSockets, Bindings), ListenErrors> {
    let any_port = config.turn_listen.iter().any(|address| address.port() == 0);
    let mut tries = if any_port { SAME_PORT_TRIES } else { 1 };
    loop {
        tries -= 1;
        let udp = match listen_udp(config) {
            Err(_) if tries > 0 => continue,
            udp => udp?,
        };
        // An address that is also in `--listen` is served by that listener, which speaks all protocols.
        let mut addresses = udp.addresses().to_vec();
        addresses.retain(|address| !is_also_listen(config, address));
        if addresses.is_empty() {
            return Ok((udp, Vec::new()));
        }
        // A missing address family has been left out before.
        match listen_tcp(&addresses, false, "--turn-listen, TCP") {
            Ok(tcp) => return Ok((udp, tcp)),
            // The port was chosen only because it is free for UDP.
            Err(_) if tries > 0 => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether this TURN address is also a `--listen` address, whose listener speaks all protocols.
fn is_also_listen(config: &Config, address: &SocketAddr) -> bool {
    address.port() != 0 && config.listen.contains(address)
}

/// Whether TLS is already served at this address because of another flag.
fn has_other_listener(config: &Config, address: &SocketAddr) -> bool {
    address.port() != 0 && (config.listen.contains(address) || config.turn_listen.contains(address))
}

/// TURN over TLS. If the default port is taken, that is not an error, because TLS is also served on the `--listen`
/// port.
fn listen_turns(config: &Config) -> Result<Bindings, ListenErrors> {
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

/// Metrics and admin API. A second server on this machine finds another port for them by itself.
fn listen_admin(config: &Config) -> Result<(SocketAddr, TcpListener), ListenErrors> {
    let flag = "--admin-listen";
    let (ip, port) = (config.admin_listen.ip(), config.admin_listen.port());
    let listen = |port| {
        let address = SocketAddr::new(ip, port);
        bind_tcp(address).map_err(|cause| ListenError::Refused { address, flag, cause }.into())
    };
    match listen(port) {
        Err(error) if config.admin_listen_is_default => {
            let mut others = (1..=ADMIN_PORTS_BEYOND).map(|n| port + n).chain([0]);
            others.find_map(|port| listen(port).ok()).ok_or(error)
        }
        outcome => outcome,
    }
}

fn listen_udp(config: &Config) -> Result<turn::io::BoundSockets, ListenErrors> {
    let flag = "--turn-listen";
    let mut addresses = on_one_port(&config.turn_listen);
    loop {
        match turn::io::BoundSockets::new(&addresses, config.workers) {
            Ok(bound) => return Ok(bound),
            Err(error) if config.turn_listen_is_default && family_is_missing(&error.source) => {
                addresses.retain(|address| *address != error.address);
                if addresses.is_empty() {
                    return Err(ListenError::NoNetwork { flag }.into());
                }
            }
            Err(error) => {
                return Err(ListenError::Refused { address: error.address, flag, cause: error.source }.into());
            }
        }
    }
}

/// What to do if the system refuses to listen.
fn remedy(address: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another program uses this address; stop it or choose another port".to_owned(),
        io::ErrorKind::AddrNotAvailable => "this host does not have this address".to_owned(),
        io::ErrorKind::PermissionDenied if address.port() < 1024 => {
            "ports below 1024 need a privilege (CAP_NET_BIND_SERVICE)".to_owned()
        }
        _ => error.to_string(),
    }
}

/// Whether binding failed because this host does not support IPv6 (or IPv4) at all.
fn family_is_missing(error: &io::Error) -> bool {
    use nix::errno::Errno;
    let missing = [Errno::EAFNOSUPPORT, Errno::EADDRNOTAVAIL, Errno::EPROTONOSUPPORT];
    error.raw_os_error().is_some_and(|code| missing.contains(&Errno::from_raw(code)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_in_use_names_the_flag() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error = std::net::TcpListener::bind(address).unwrap_err();
        let text = ListenError::Refused { address, flag: "--listen", cause: error }.to_string();
        assert!(
            text.contains(&address.to_string()) && text.contains("--listen") && text.contains("another program"),
            "{text}"
        );
    }
}
