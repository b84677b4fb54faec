//! What requests cost: held allocations, and floods of Allocates without credentials.

use std::time::{Duration, Instant};

use anyhow::ensure;
use mio::{Events, Interest, Poll, Token};
use stun::{
    agent::TransactionId,
    attributes::ATTR_REQUESTED_TRANSPORT,
    message::{CLASS_REQUEST, METHOD_ALLOCATE, Message, MessageType},
};

use crate::{
    client::{Clients, client_host},
    datagrams::udp_socket,
    link::Transport,
    server::Server,
};

/// The number of loopback addresses that allocating clients come from.
const ALLOCATING_HOSTS: usize = 20;

/// The number of loopback addresses that a flood comes from. This project's server gives each of them 3000 answers at
/// once.
const FLOODING_HOSTS: usize = 200;

/// The number of sockets on each of them.
const PORTS_PER_HOST: usize = 5;

/// The number of unanswered requests at any time.
const FLOOD_WINDOW: usize = 64;

/// After this much silence, unanswered requests count as dropped.
const DROPPED_AFTER: Duration = Duration::from_millis(100);

/// How long to wait for everything to settle before memory is read.
const SETTLE: Duration = Duration::from_millis(500);

/// What allocations cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AllocationCost {
    /// The server's CPU for one, from the challenge to the success response, in microseconds.
    pub(crate) micros: f64,
    /// Resident bytes for one while it is held.
    pub(crate) bytes: f64,
}

/// Makes `count` allocations and holds them.
pub(crate) fn allocations(server: &Server, count: usize) -> anyhow::Result<AllocationCost> {
    // A first client makes the server prepare what it prepares only once, so that this is not measured.
    let mut first = Clients::new(server, Transport::Udp, 1, 1)?;
    first.challenge()?;
    first.allocate()?;
    let mut clients = Clients::new(server, Transport::Udp, count, ALLOCATING_HOSTS)?;
    std::thread::sleep(SETTLE);
    let (cpu, resident) = (server.cpu()?, server.resident()?);
    clients.challenge()?;
    clients.allocate()?;
    let cpu = server.cpu()? - cpu;
    std::thread::sleep(SETTLE);
    let bytes = server.resident()? as f64 - resident as f64;
    Ok(AllocationCost { micros: cpu.as_secs_f64() * 1e6 / count as f64, bytes: bytes / count as f64 })
}

/// What a flood costs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FloodCost {
    /// The server's CPU per answered request, in microseconds.
    pub(crate) micros: f64,
    /// Resident bytes that are still in use afterwards, per source address and port.
    pub(crate) bytes_per_source: f64,
    /// The share of requests without an answer.
    pub(crate) unanswered: f64,
}

/// Sends `count` Allocates without credentials from many sources, as fast as they are answered.
pub(crate) fn flood(server: &Server, count: usize) -> anyhow::Result<FloodCost> {
    let sources = FLOODING_HOSTS * PORTS_PER_HOST;
    let mut poll = Poll::new()?;
    let mut sockets = Vec::with_capacity(sources);
    for index in 0..sources {
        let mut socket = udp_socket(client_host(index % FLOODING_HOSTS))?;
        socket.connect(server.address(Transport::Udp))?;
        poll.registry().register(&mut socket, Token(index), Interest::READABLE)?;
        sockets.push(socket);
    }
    let mut request = Message::new();
    request.typ = MessageType::new(METHOD_ALLOCATE, CLASS_REQUEST);
    request.transaction_id = TransactionId::new();
    request.write_header();
    request.add(ATTR_REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
    let mut request = request.raw;

    std::thread::sleep(SETTLE);
    let (cpu, resident) = (server.cpu()?, server.resident()?);
    let (mut sent, mut in_flight, mut answered, mut unanswered) = (0, 0, 0, 0);
    let mut events = Events::with_capacity(1024);
    let mut buffer = [0; 2048];
    let mut heard = Instant::now();
    while sent < count || in_flight > 0 {
        while in_flight < FLOOD_WINDOW && sent < count {
            request[8..12].copy_from_slice(&(sent as u32).to_be_bytes());
            sockets[sent % sources].send(&request)?;
            sent += 1;
            in_flight += 1;
        }
        poll.poll(&mut events, Some(Duration::ZERO))?;
        for event in &events {
            while let Ok(len) = sockets[event.token().0].recv(&mut buffer) {
                ensure!(buffer[..2] == [0x01, 0x13], "no error response: {:02x?}", &buffer[..len]);
                answered += 1;
                in_flight = in_flight.saturating_sub(1);
                heard = Instant::now();
            }
        }
        if heard.elapsed() > DROPPED_AFTER {
            unanswered += in_flight;
            in_flight = 0;
            heard = Instant::now();
        }
    }
    ensure!(answered > 0, "no request was answered");
    let cpu = server.cpu()? - cpu;
    std::thread::sleep(SETTLE);
    let bytes = server.resident()? as f64 - resident as f64;
    Ok(FloodCost {
        micros: cpu.as_secs_f64() * 1e6 / answered as f64,
        bytes_per_source: bytes / sources as f64,
        unanswered: unanswered as f64 / count as f64,
    })
}
