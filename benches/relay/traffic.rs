//! Relayed traffic as a closed loop: a fixed number of packets is on its way at any time, so that overload lowers the
//! rate and does not measure drops.
//!
//! The load polls and never sleeps: a sleeping receiver would have to be woken by whoever sends to it, and that is the
//! server, on whose bill it would be.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use mio::{Events, Interest, Token, net::UdpSocket};

use crate::{
    client::{Client, Clients, udp_socket},
    server::Server,
};

/// Packets on their way, over all clients.
const WINDOW: usize = 64;

/// After which silence what is on its way counts as lost.
const LOST_AFTER: Duration = Duration::from_millis(100);

/// Where the peer of [`Mode::Relay`] is: on an address of its own.
const PEER_HOST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 200);

const MARK: [u8; 4] = *b"load";

const CHANNEL_HEADER_LEN: usize = 4;

/// Between whom the traffic goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Each client and a UDP peer that is no client, both ways.
    Relay,
    /// Clients two by two, each the other's peer: both ends are relayed.
    Pair,
}

/// One kind of traffic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) mode: Mode,
    /// Payload bytes.
    pub(crate) size: usize,
    pub(crate) clients: usize,
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
}

/// What was seen in the measured time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    /// The server's CPU per packet that reached its receiver, in microseconds.
    pub(crate) micros_per_packet: f64,
    /// Packets that reached their receivers per second.
    pub(crate) packets_per_second: f64,
    /// The share of a core that the server used.
    pub(crate) utilisation: f64,
    /// Packets that did not reach their receivers, per packet that did.
    pub(crate) loss: f64,
}

/// Sets clients up and measures.
pub(crate) fn run(plan: &Plan, server: &Server) -> anyhow::Result<Outcome> {
    let mut clients = Clients::new(server.address, plan.clients, 1)?;
    let mut peer = udp_socket(PEER_HOST)?;
    clients.poll.registry().register(&mut peer, Token(plan.clients), Interest::READABLE)?;
    let peer_address = peer.local_addr()?;
    clients.challenge()?;
    clients.allocate()?;
    clients.bind_channels(|index, all| match plan.mode {
        Mode::Relay => peer_address,
        Mode::Pair => all[index ^ 1].relayed.expect("all have allocated"),
    })?;
    Load::new(plan, clients, peer)?.measure(plan, server)
}

#[derive(Clone, Copy, Debug)]
enum Sender {
    Client(usize),
    /// The peer, to this relayed address.
    Peer(SocketAddr),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Receiver {
    Client(usize),
    /// The peer, from this relayed address.
    Peer(SocketAddr),
}

#[derive(Debug)]
struct Stream {
    from: Sender,
    to: Receiver,
}

#[derive(Debug)]
struct Load {
    clients: Clients,
    peer: UdpSocket,
    streams: Vec<Stream>,
    next: usize,
    /// A channel header and a payload.
    frame: Vec<u8>,
    buffer: Vec<u8>,
    events: Events,
    in_flight: usize,
    delivered: u64,
    lost: u64,
    /// Packets that came to the wrong place or changed.
    wrong: u64,
    heard: Instant,
}

impl Load {
    fn new(plan: &Plan, clients: Clients, peer: UdpSocket) -> anyhow::Result<Self> {
        let mut streams = Vec::new();
        for (index, client) in clients.all.iter().enumerate() {
            let relayed = client.relayed.context("all have allocated")?;
            match plan.mode {
                Mode::Relay => {
                    streams.push(Stream { from: Sender::Client(index), to: Receiver::Peer(relayed) });
                    streams.push(Stream { from: Sender::Peer(relayed), to: Receiver::Client(index) });
                }
                Mode::Pair => streams.push(Stream { from: Sender::Client(index), to: Receiver::Client(index ^ 1) }),
            }
        }
        let mut frame: Vec<u8> = (0..CHANNEL_HEADER_LEN + plan.size).map(|index| index as u8).collect();
        frame[2..4].copy_from_slice(&u16::try_from(plan.size)?.to_be_bytes());
        frame[4..8].copy_from_slice(&MARK);
        Ok(Self {
            clients,
            peer,
            streams,
            next: 0,
            frame,
            buffer: vec![0; 65_536],
            events: Events::with_capacity(1024),
            in_flight: 0,
            delivered: 0,
            lost: 0,
            wrong: 0,
            heard: Instant::now(),
        })
    }

    fn measure(mut self, plan: &Plan, server: &Server) -> anyhow::Result<Outcome> {
        self.drive(plan.warm_up)?;
        (self.delivered, self.lost) = (0, 0);
        let (cpu, started) = (server.cpu()?, Instant::now());
        self.drive(plan.measured)?;
        let (cpu, elapsed) = ((server.cpu()? - cpu).as_secs_f64(), started.elapsed().as_secs_f64());
        ensure!(self.delivered > 0, "nothing was relayed");
        ensure!(self.wrong == 0, "{} packets came to the wrong place or changed", self.wrong);
        Ok(Outcome {
            micros_per_packet: cpu * 1e6 / self.delivered as f64,
            packets_per_second: self.delivered as f64 / elapsed,
            utilisation: cpu / elapsed,
            loss: self.lost as f64 / self.delivered as f64,
        })
    }

    fn drive(&mut self, time: Duration) -> anyhow::Result<()> {
        let started = Instant::now();
        let mut idle = true;
        while started.elapsed() < time {
            let free = WINDOW - self.in_flight;
            // A few at a time, as they come from a network card.
            if idle || free * 4 >= WINDOW {
                for _ in 0..free {
                    self.send_next()?;
                }
            }
            idle = !self.receive()?;
            if !idle {
                self.heard = Instant::now();
            } else if self.heard.elapsed() > LOST_AFTER {
                self.lost += self.in_flight as u64;
                self.in_flight = 0;
                self.heard = Instant::now();
            }
        }
        Ok(())
    }

    fn send_next(&mut self) -> io::Result<()> {
        let number = self.next;
        self.next = (number + 1) % self.streams.len();
        let at = CHANNEL_HEADER_LEN + MARK.len();
        self.frame[at..at + 4].copy_from_slice(&(number as u32).to_be_bytes());
        let sent = match self.streams[number].from {
            Sender::Client(index) => {
                let Client { socket, channel, .. } = &self.clients.all[index];
                self.frame[..2].copy_from_slice(&channel.to_be_bytes());
                socket.send(&self.frame)
            }
            Sender::Peer(to) => self.peer.send_to(&self.frame[CHANNEL_HEADER_LEN..], to),
        };
        match sent {
            Ok(_) => self.in_flight += 1,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Takes all that is there. Whether there was anything.
    fn receive(&mut self) -> io::Result<bool> {
        self.clients.poll.poll(&mut self.events, Some(Duration::ZERO))?;
        let mut any = false;
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            let Token(token) = event.token();
            loop {
                let received = match self.clients.all.get(token) {
                    Some(client) => client.socket.recv(&mut self.buffer).map(|len| (len, Receiver::Client(token))),
                    None => self.peer.recv_from(&mut self.buffer).map(|(len, from)| (len, Receiver::Peer(from))),
                };
                match received {
                    Ok((len, receiver)) => {
                        any = true;
                        self.account(len, receiver);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
        }
        self.events = events;
        Ok(any)
    }

    fn account(&mut self, len: usize, receiver: Receiver) {
        let size = self.frame.len() - CHANNEL_HEADER_LEN;
        let packet = &self.buffer[..len];
        let payload = match receiver {
            Receiver::Client(index) => {
                let head = self.clients.all[index].channel.to_be_bytes();
                packet.strip_prefix(&head).and_then(|rest| rest.strip_prefix(&(size as u16).to_be_bytes()))
            }
            Receiver::Peer(_) => Some(packet),
        };
        let number = payload
            .filter(|payload| payload.len() == size)
            .and_then(|payload| payload.strip_prefix(&MARK)?.first_chunk())
            .map(|number| u32::from_be_bytes(*number) as usize);
        match number.and_then(|number| self.streams.get(number)) {
            Some(stream) if stream.to == receiver => {
                self.delivered += 1;
                self.in_flight = self.in_flight.saturating_sub(1);
            }
            _ => self.wrong += 1,
        }
    }
}
