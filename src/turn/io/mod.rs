//! The I/O of the TURN server: UDP workers with their own listeners, and clients on streams that other modules have
//! accepted.
//!
//! [`BoundSockets::new`] binds everything, or fails and names the address; [`BoundSockets::start`] starts the threads.
//! All sockets of a SO_REUSEPORT group are bound before the first is read, and none joins later, because clients would
//! otherwise move to another worker.
#![allow(clippy::disallowed_methods, reason = "it reads the clocks")]

mod client_index;
mod client_slot;
mod datagram_queue;
mod driver;
#[cfg(test)]
mod faults;
mod inbox;
mod mailbox;
mod payload;
mod relay;
mod relay_socket;
mod rest;
mod socket;
mod stream;
mod udp;

use std::{
    hash::RandomState,
    io,
    net::SocketAddr,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use mio::{Poll, Waker};

pub use self::stream::{Streams, paced::Paced, stream_client::StreamClient};
use self::{
    driver::WorkerCommon,
    mailbox::{Mailbox, Mailboxes, WorkerCommand},
    relay::HeldRelays,
    rest::Rests,
    socket::UdpSocket,
    udp::{Setup, WAKER, Worker},
};

use crate::{
    membership::AllocationRef,
    observe::metrics::Metrics,
    turn::{
        core::transport::Transport,
        shared::{Shared, limiter::AnswerLimiter, relayed::MAX_WORKERS},
    },
    values::ports::RelayPorts,
};

/// A listen address could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on UDP {address}")]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// The cause.
    pub source: io::Error,
}

/// How workers relay.
#[derive(Clone, Copy, Debug)]
pub struct Relaying {
    /// The ports that relayed addresses may have.
    pub ports: RelayPorts,
    /// How long a worker may rest to find more packets. This delays packets that arrive meanwhile; zero means that it
    /// never rests.
    pub latency_budget: Duration,
}

/// Listening sockets that are not read yet.
#[derive(Debug)]
pub struct BoundSockets {
    /// For each worker, a socket per address.
    workers: Vec<Vec<UdpSocket>>,
    addresses: Vec<SocketAddr>,
}

impl BoundSockets {
    /// Binds `addresses` once for each worker. Port 0 means any port: all workers then share the port that the kernel
    /// chose.
    ///
    /// # Errors
    /// [`BindError`] names the address. An address on which another process listens is in use, even if that process
    /// would share it.
    pub fn new(addresses: &[SocketAddr], workers: usize) -> Result<Self, BindError> {
        // One worker number is left for the streams.
        let workers = workers.clamp(1, MAX_WORKERS - 1);
        let mut groups: Vec<Vec<UdpSocket>> = (0..workers).map(|_| Vec::new()).collect();
        let mut bound = Vec::new();
        for &wanted in addresses {
            let error = |source| BindError { address: wanted, source };
            // SO_REUSEPORT would otherwise let two servers divide the clients between them, which the operator of
            // neither would expect.
            let address = UdpSocket::bind(wanted).map_err(error)?.local();
            for group in &mut groups {
                group.push(UdpSocket::listen(address).map_err(error)?);
            }
            bound.push(address);
        }
        Ok(Self { workers: groups, addresses: bound })
    }

    /// The addresses that are bound, in the order asked for.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Starts one thread for each worker, and makes them end the allocations of members that leave.
    ///
    /// # Errors
    /// When the system does not provide an epoll instance or a thread.
    pub fn start(self, shared: Arc<Shared>, relaying: Relaying, metrics: &Metrics) -> io::Result<Workers> {
        let mut polls = Vec::new();
        let mut mailboxes = Vec::new();
        for _ in &self.workers {
            let poll = Poll::new()?;
            let (mailbox, commands) = Mailbox::new(Waker::new(poll.registry(), WAKER)?);
            mailboxes.push(mailbox);
            polls.push((poll, commands));
        }
        let mailboxes = Arc::new(Mailboxes::new(mailboxes));
        let held = Arc::new(HeldRelays::default());
        shared.relayed.offer(relaying.ports);
        let limiter = Arc::new(AnswerLimiter::new(RandomState::new(), Instant::now()));
        let common = |index, counters| WorkerCommon {
            index,
            counters,
            relay_ports: relaying.ports,
            shared: shared.clone(),
            limiter: limiter.clone(),
            mailboxes: mailboxes.clone(),
            held: held.clone(),
        };
        let of_streams = |transport| common(mailboxes.index_of_streams(), metrics.add_turn_counters(transport));
        let streams = Streams::new(of_streams(Transport::Tcp), of_streams(Transport::Tls), metrics.streams.clone());
        let streams = Arc::new(streams);
        let mut threads = Vec::new();
        for (index, (listeners, (poll, commands))) in self.workers.into_iter().zip(polls).enumerate() {
            let worker = Worker::new(Setup {
                poll,
                listeners,
                common: common(u16::try_from(index).expect("MAX_WORKERS fits"), metrics.add_turn_worker()),
                commands,
                rests: Rests::new(relaying.latency_budget),
            })?;
            threads.push(thread::Builder::new().name(format!("turn-{index}")).spawn(move || worker.run())?);
        }
        let ender = mailboxes.clone();
        shared.directory.on_end_allocation(Box::new(move |allocation: AllocationRef| {
            ender.end(allocation);
        }));
        Ok(Workers { mailboxes, streams, threads })
    }
}

/// Running workers. They stop when this is dropped.
#[derive(Debug)]
pub struct Workers {
    mailboxes: Arc<Mailboxes>,
    streams: Arc<Streams>,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

impl Workers {
    /// Serves the clients over TCP and TLS.
    pub fn streams(&self) -> &Arc<Streams> {
        &self.streams
    }

    /// Whether a worker has ended by itself. The process should then end.
    pub fn has_failed(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Ends all allocations and joins the threads.
    ///
    /// # Errors
    /// The first error with which a worker has ended by itself.
    pub fn stop(mut self) -> io::Result<()> {
        self.stop_threads()
    }

    fn stop_threads(&mut self) -> io::Result<()> {
        self.mailboxes.iter().for_each(|mailbox| mailbox.command(WorkerCommand::Stop));
        let mut outcome = Ok(());
        for thread in self.threads.drain(..) {
            let ended = thread.join().unwrap_or_else(|_| Err(io::Error::other("a TURN worker panicked")));
            outcome = outcome.and(ended);
        }
        outcome
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        // An error is reported only if `stop` is called.
        let _ = self.stop_threads();
    }
}

#[cfg(test)]
mod tests;
