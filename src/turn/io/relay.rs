//! Relayed addresses, whoever owns the client: finding a free port, and deciding which way data for a peer goes.

use std::{io, net::SocketAddr};

use rand::Rng;

use crate::{
    config::RelayPorts,
    metrics::{DropReason, Path, TurnCounters},
    turn::{
        Shared,
        allocation::Reach,
        message::Family,
        relayed::{Home, OwnerTag, RelayedTable},
    },
};

/// How many other ports are tried when a relay port is taken.
const PORT_RETRIES: usize = 16;

/// A relayed address and the socket behind it.
#[derive(Debug)]
pub(super) struct Relay<S> {
    /// None without relay ports: then the address exists in the table only.
    pub(super) socket: Option<S>,
    pub(super) advertised: SocketAddr,
}

impl<S> Relay<S> {
    /// A relay on a random free port of the range, on an even one if need be.
    pub(super) fn open(
        shared: &Shared,
        ports: RelayPorts,
        rng: &mut impl Rng,
        (home, family, needs_even_port): (Home, Family, bool),
        mut bind: impl FnMut(SocketAddr) -> io::Result<S>,
    ) -> Option<Self> {
        let address = shared.policy.host().relay(family)?;
        let (first, last) = ports.bounds();
        // An even port is looked for in steps of two from the first of them.
        let (first, step) = if needs_even_port { (first.checked_next_multiple_of(2)?, 2) } else { (first, 1) };
        let count = u32::from(last.checked_sub(first)?) / step + 1;
        let start = rng.random_range(0..count);
        for attempt in 0..=PORT_RETRIES as u32 {
            // A small range is gone through from a random start, a large one is probed at random.
            let offset = match attempt {
                _ if count > PORT_RETRIES as u32 + 1 => rng.random_range(0..count),
                _ if attempt < count => (start + attempt) % count,
                _ => break,
            };
            let port = first + (offset * step) as u16;
            if !shared.relayed.claim(family, port, home) {
                continue;
            }
            let advertised = SocketAddr::new(address.advertised, port);
            if ports == RelayPorts::None {
                return Some(Self { socket: None, advertised });
            }
            match bind(SocketAddr::new(address.bind, port)) {
                Ok(socket) => return Some(Self { socket: Some(socket), advertised }),
                Err(error) => {
                    shared.relayed.release(family, port);
                    if error.kind() != io::ErrorKind::AddrInUse {
                        tracing::debug!(%error, "cannot bind a relay socket");
                        return None;
                    }
                }
            }
        }
        None
    }

    /// Gives socket and port back.
    pub(super) fn close(self, table: &RelayedTable) {
        // The socket first: whoever claims the port next must be able to bind it.
        drop(self.socket);
        table.release(Family::of(self.advertised.ip()), self.advertised.port());
    }
}

/// Counts data that went to the network, or failed to: that never ends an allocation.
pub(super) fn count_sent(counters: &TurnCounters, sent: io::Result<()>, bytes: usize) {
    match sent {
        Ok(()) => counters.relayed(Path::ToPeerKernel, bytes),
        Err(error) => {
            tracing::trace!(%error, "send to peer");
            counters.dropped(DropReason::SendToPeer);
        }
    }
}

/// Which way data for a peer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// To the client of this process that lives there.
    InProcess(Home),
    /// To the network.
    Network,
}

/// The way from the allocation of `owner` at `advertised` to a peer that it has a permission for.
///
/// # Errors
/// Why it goes nowhere.
pub(super) fn route(
    shared: &Shared,
    (owner, advertised): (OwnerTag, SocketAddr),
    peer: SocketAddr,
    reach: Reach,
) -> Result<Route, DropReason> {
    // With loopback peers allowed (in tests), own addresses are reached both ways.
    if reach == Reach::Own || peer.ip() == advertised.ip() {
        match shared.relayed.home(Family::of(peer.ip()), peer.port()) {
            Some(home) if shared.policy.may_talk(owner, home.owner) => return Ok(Route::InProcess(home)),
            Some(_) => return Err(DropReason::OtherRoom),
            None if reach == Reach::Own => return Err(DropReason::OwnAddress),
            None => {}
        }
    }
    Ok(Route::Network)
}
