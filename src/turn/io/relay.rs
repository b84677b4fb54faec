//! Relayed addresses for clients of all transports: finding free ports, and holding some for later allocations.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use rand::Rng;

use super::socket::BoundRelay;
use crate::{
    turn::{
        core::session::{BoundRelays, PortWish, RelayWish},
        shared::{
            Shared,
            free_ports::PortKind,
            relayed::{Home, RelayedTable},
        },
    },
    values::{
        family::{ByFamily, Family},
        ports::RelayPorts,
        relayed_address::RelayedAddress,
        roomy::give_back_room,
    },
};

/// How many ports that other programs had are tried again when no other port is free.
const SECOND_CHANCES: u32 = 16;

/// A relayed address and the socket behind it.
#[derive(Debug)]
pub(super) struct Relay<S> {
    /// `None` without relay ports; the address is then only in the table.
    pub(super) socket: Option<S>,
    pub(super) advertised: SocketAddr,
}

/// One relay of each family, where there is one.
pub(super) type Relays<S> = ByFamily<Option<Relay<S>>>;

impl Relay<BoundRelay> {
    /// Uses `port`, which was taken from the table, for `home`, or holds it for a later allocation. If this fails, the
    /// port is given back.
    fn at(
        shared: &Shared,
        ports: RelayPorts,
        (address, port): (RelayedAddress, u16),
        home: Option<Home>,
    ) -> Result<Self, PortError> {
        let advertised = SocketAddr::new(address.advertised, port);
        let family = Family::of(advertised.ip());
        let is_ours = match home {
            Some(home) => shared.relayed.claim(family, port, home),
            None => shared.relayed.hold(family, port),
        };
        if !is_ours {
            shared.relayed.release(family, port);
            return Err(PortError::Broken);
        }
        if ports == RelayPorts::None {
            return Ok(Self { socket: None, advertised });
        }
        match BoundRelay::bind(SocketAddr::new(address.bind, port)) {
            Ok(socket) => Ok(Self { socket: Some(socket), advertised }),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                shared.relayed.leave_to_others(family, port);
                Err(PortError::Taken)
            }
            Err(error) => {
                shared.relayed.release(family, port);
                tracing::debug!(%error, "cannot bind a relay socket");
                Err(PortError::Broken)
            }
        }
    }

    /// The same relay, with the socket in the form that its owner needs.
    fn adopted<S>(self, table: &RelayedTable, adopt: impl FnOnce(BoundRelay) -> io::Result<S>) -> Option<Relay<S>> {
        let Self { socket, advertised } = self;
        match socket.map(adopt).transpose() {
            Ok(socket) => Some(Relay { socket, advertised }),
            Err(error) => {
                tracing::debug!(%error, "cannot use a relay socket");
                Relay::<S> { socket: None, advertised }.close(table);
                None
            }
        }
    }
}

impl<S> Relay<S> {
    /// Closes the socket and gives the port back.
    pub(super) fn close(self, table: &RelayedTable) {
        // The socket must be closed first: the next one that claims the port must be able to bind it.
        drop(self.socket);
        table.release(Family::of(self.advertised.ip()), self.advertised.port());
    }
}

/// The reason why a port cannot be used.
enum PortError {
    /// Another program uses it.
    Taken,
    /// No port can be used: there are too many open files, the address is gone, or the table has no room for the home.
    Broken,
}

/// Relayed addresses that wait for the user who has their token. [`crate::turn::shared::reservation`] knows which user
/// that is, and how long they wait.
#[derive(Debug, Default)]
pub(super) struct HeldRelays(Mutex<HashMap<SocketAddr, Relay<BoundRelay>>>);

impl HeldRelays {
    fn hold(&self, relay: Relay<BoundRelay>) {
        self.lock().insert(relay.advertised, relay);
    }

    fn take(&self, advertised: SocketAddr) -> Option<Relay<BoundRelay>> {
        let mut held = self.lock();
        let relay = held.remove(&advertised);
        give_back_room(&mut held);
        relay
    }

    /// Gives back an address that nobody has claimed in time.
    pub(super) fn free(&self, advertised: SocketAddr, table: &RelayedTable) {
        if let Some(relay) = self.take(advertised) {
            relay.close(table);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, Relay<BoundRelay>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is needed to open relayed addresses.
pub(super) struct Opener<'a, R> {
    pub(super) shared: &'a Shared,
    pub(super) ports: RelayPorts,
    pub(super) held: &'a HeldRelays,
    pub(super) rng: &'a mut R,
}

impl<R: Rng> Opener<'_, R> {
    /// Opens relays for `home` as an Allocate asks for them, as far as possible. Also returns what to report to the
    /// session.
    pub(super) fn open<S>(
        &mut self,
        home: Home,
        wish: RelayWish,
        mut adopt: impl FnMut(Family, BoundRelay) -> io::Result<S>,
    ) -> (Relays<S>, BoundRelays) {
        let mut next = None;
        let relays = ByFamily::new(|family| {
            if !wish.families.contains(family) {
                return None;
            }
            let relay = match wish.port {
                PortWish::Any => self.search(home, family, PortKind::Any)?,
                PortWish::Even => self.search(home, family, PortKind::Even)?,
                PortWish::EvenAndNext => {
                    let (relay, behind) = self.search_pair(home, family)?;
                    next = Some((self.rng.random(), behind));
                    relay
                }
                PortWish::Reserved(advertised) => {
                    let relay = self.held.take(advertised)?;
                    if !self.shared.relayed.hand_over(family, advertised.port(), home) {
                        relay.close(&self.shared.relayed);
                        return None;
                    }
                    relay
                }
            };
            relay.adopted(&self.shared.relayed, |socket| adopt(family, socket))
        });
        let advertised = |family| {
            let relay: Option<&Relay<S>> = Option::as_ref(&relays[family]);
            relay.map(|relay| relay.advertised)
        };
        let bound = BoundRelays { relayed: ByFamily::new(advertised), next };
        (relays, bound)
    }

    /// A relay on a random free port of this kind.
    fn search(&mut self, home: Home, family: Family, kind: PortKind) -> Option<Relay<BoundRelay>> {
        let (shared, ports) = (self.shared, self.ports);
        self.probe(family, kind, |at| Relay::at(shared, ports, at, Some(home)))
    }

    /// A relay on an even port. The next port is held.
    fn search_pair(&mut self, home: Home, family: Family) -> Option<(Relay<BoundRelay>, SocketAddr)> {
        let (shared, ports) = (self.shared, self.ports);
        let (relay, behind) = self.probe(family, PortKind::EvenAndNext, |(address, port)| {
            let relay = Relay::at(shared, ports, (address, port), Some(home))
                .inspect_err(|_| shared.relayed.release(family, port + 1))?;
            match Relay::at(shared, ports, (address, port + 1), None) {
                Ok(behind) => Ok((relay, behind)),
                Err(error) => {
                    relay.close(&shared.relayed);
                    Err(error)
                }
            }
        })?;
        let advertised = behind.advertised;
        self.held.hold(behind);
        Some((relay, advertised))
    }

    /// Tries free ports of a kind until one can be used. Ports that other programs use are skipped, and tried again
    /// when no others are left.
    fn probe<T>(
        &mut self,
        family: Family,
        kind: PortKind,
        mut attempt: impl FnMut((RelayedAddress, u16)) -> Result<T, PortError>,
    ) -> Option<T> {
        let address = self.shared.policy.host().relay[family]?;
        let table = &self.shared.relayed;
        let mut second_chances = SECOND_CHANCES;
        loop {
            match table.take(family, kind, self.rng).map(|port| attempt((address, port))) {
                Some(Ok(found)) => {
                    // A port that another program once used must not stay unused forever.
                    table.try_again(family);
                    return Some(found);
                }
                Some(Err(PortError::Taken)) => {}
                Some(Err(PortError::Broken)) => return None,
                None if second_chances > 0 && table.try_again(family) => second_chances -= 1,
                None => return None,
            }
        }
    }
}
