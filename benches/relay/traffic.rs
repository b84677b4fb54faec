//! Relayed traffic, and what it costs. In a closed loop, a fixed number of packets is on its way at any time, so
//! overload lowers the rate and drops are not measured. By the clock, packets are sent whatever comes back, and latency
//! has a meaning.
//!
//! The load polls and never sleeps: a sleeping receiver would have to be woken by the sender, which is the server, and
//! this would count as the server's cost.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::Context;
use mio::{Events, Interest, Token, net::UdpSocket};

use crate::{
    client::Clients,
    datagrams::{Inbox, Outbox, udp_socket},
    form::{Form, Frames, HEAD_ROOM},
    ledger::{Flow, Ledger, Origin, Place},
    link::Link,
    pace::{Due, Schedule, longest_of_call},
    plan::{Mode, Pace, Plan},
    server::Server,
};

/// The number of packets on their way in a closed loop, over all clients.
const WINDOW: usize = 64;

/// After this much silence, the packets on their way count as lost.
const LOST_AFTER: Duration = Duration::from_millis(100);

/// How long to wait at the end for packets that are still on their way.
const DRAIN: Duration = Duration::from_millis(200);

/// The address of peers that are not clients.
const PEER_HOST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 200);

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    /// The server's CPU per packet that reached its receiver, in microseconds.
    pub(crate) micros_per_packet: f64,
    /// Packets that reached their receivers per second.
    pub(crate) packets_per_second: f64,
    /// The share of a core that the server used. Below 1, the cost includes wake-ups, because the server has slept in
    /// between.
    pub(crate) utilisation: f64,
    /// The share of packets that did not reach their receivers.
    pub(crate) loss: f64,
    /// The time within which half of the packets arrived, and that of 99 out of 100, in milliseconds.
    pub(crate) median_millis: f64,
    pub(crate) slow_millis: f64,
}

/// Sets clients up and measures.
pub(crate) fn run(plan: &Plan, server: &Server) -> anyhow::Result<Outcome> {
    let mut clients = Clients::new(server, plan.transport, plan.clients, 1)?;
    let count = match plan.mode {
        Mode::Pair => 0,
        _ if plan.own_peers => plan.clients,
        _ => 1,
    };
    let mut peers = Vec::with_capacity(count);
    for index in 0..count {
        let mut socket = udp_socket(PEER_HOST)?;
        clients.poll.registry().register(&mut socket, Token(plan.clients + index), Interest::READABLE)?;
        peers.push((socket.local_addr()?, socket));
    }
    clients.challenge()?;
    clients.allocate()?;
    match plan.mode {
        Mode::Relay => clients.bind_channels(|index, _| peers[index % count].0)?,
        Mode::Pair => clients.bind_channels(|index, all| all[index ^ 1].relayed.expect("all have allocated"))?,
        Mode::Send => clients.permit(|index| peers[index % count].0)?,
    }
    Load::new(plan, clients, peers)?.measure(plan, server)
}

#[derive(Debug)]
struct Load {
    clients: Clients,
    peers: Vec<(SocketAddr, UdpSocket)>,
    frames: Frames,
    ledger: Ledger,
    /// `None` in a closed loop.
    schedule: Option<Schedule>,
    /// In a closed loop, the next flow and what it sends.
    next: Due,
    outbox: Outbox,
    inbox: Inbox,
    events: Events,
    /// How long to sleep while nothing comes.
    rest: Duration,
    began: Instant,
    heard: Instant,
}

impl Load {
    fn new(plan: &Plan, clients: Clients, peers: Vec<(SocketAddr, UdpSocket)>) -> anyhow::Result<Self> {
        let form = if plan.mode == Mode::Send { Form::Indication } else { Form::Channel };
        let mut flows = Vec::new();
        let mut heads = Vec::new();
        for (index, client) in clients.all.iter().enumerate() {
            let at = Place::Client(index);
            if plan.mode == Mode::Pair {
                flows.push(Flow::new(at, Place::Client(index ^ 1), Origin::Channel(clients.all[index ^ 1].channel)));
                heads.push(form.head(client.channel, None)?);
                continue;
            }
            let number = index % peers.len();
            let (address, peer) = (peers[number].0, Place::Peer(number));
            let seen_as =
                if form == Form::Channel { Origin::Channel(client.channel) } else { Origin::Address(address) };
            flows.push(Flow::new(at, peer, Origin::Address(client.relayed.context("all have allocated")?)));
            flows.push(Flow::new(peer, at, seen_as));
            heads.push(form.head(client.channel, Some(address))?);
        }
        let longest = if plan.pace == Pace::Call { longest_of_call()? } else { plan.size };
        let schedule = match plan.pace {
            Pace::Loop => None,
            Pace::Rate(rate) => Some(Schedule::even(rate, flows.len(), plan.size, plan.burst)),
            Pace::Call => Some(Schedule::call(flows.len())?),
        };
        let inbox = Inbox::new(longest + HEAD_ROOM, plan.gro);
        for socket in
            peers.iter().map(|(_, socket)| socket).chain(clients.all.iter().filter_map(|client| match &client.link {
                Link::Udp(socket) => Some(socket),
                Link::Stream(_) => None,
            }))
        {
            inbox.prepare(socket)?;
        }
        Ok(Self {
            clients,
            peers,
            frames: Frames::new(form, heads, longest),
            ledger: Ledger::new(flows),
            schedule,
            next: Due { flow: 0, len: plan.size, count: plan.burst },
            outbox: Outbox::new(plan.gso),
            inbox,
            events: Events::with_capacity(1024),
            rest: if plan.sleeps { Duration::from_millis(1) } else { Duration::ZERO },
            began: Instant::now(),
            heard: Instant::now(),
        })
    }

    fn measure(mut self, plan: &Plan, server: &Server) -> anyhow::Result<Outcome> {
        self.drive(plan.measured / 4)?;
        self.ledger.begin();
        let (cpu, started) = (server.cpu()?, Instant::now());
        self.drive(plan.measured)?;
        let (cpu, elapsed) = ((server.cpu()? - cpu).as_secs_f64(), started.elapsed().as_secs_f64());
        self.ledger.end();
        let ended = Instant::now();
        while self.ledger.in_flight > 0 && ended.elapsed() < DRAIN {
            self.receive()?;
        }
        self.ledger.check()?;
        let delivered = self.ledger.delivered as f64;
        let loss = self.ledger.loss();
        let mut delays = self.ledger.delays;
        delays.sort_unstable();
        let within = |share: f64| delays[((delays.len() - 1) as f64 * share) as usize] as f64 / 1e6;
        Ok(Outcome {
            micros_per_packet: cpu * 1e6 / delivered,
            packets_per_second: delivered / elapsed,
            utilisation: cpu / elapsed,
            loss,
            median_millis: within(0.5),
            slow_millis: within(0.99),
        })
    }

    fn drive(&mut self, time: Duration) -> io::Result<()> {
        let started = Instant::now();
        let mut idle = true;
        while started.elapsed() < time {
            if let Some(schedule) = &mut self.schedule {
                if let Some(due) = schedule.due(self.began.elapsed()) {
                    self.send(due)?;
                }
            } else {
                self.fill(idle)?;
            }
            idle = !self.receive()?;
            if !idle {
                self.heard = Instant::now();
            } else if self.heard.elapsed() > LOST_AFTER {
                self.ledger.give_up();
                self.heard = Instant::now();
            }
        }
        Ok(())
    }

    /// Sends what the window has room for, a few packets at a time, as a network card would deliver them.
    fn fill(&mut self, idle: bool) -> io::Result<()> {
        let window = WINDOW.max(2 * self.next.count);
        if !idle && (window.saturating_sub(self.ledger.in_flight)) * 4 < window {
            return Ok(());
        }
        while self.ledger.in_flight + self.next.count <= window {
            let all_left = self.send(self.next)?;
            self.next.flow = (self.next.flow + 1) % self.ledger.flows.len();
            if !all_left {
                break;
            }
        }
        Ok(())
    }

    /// Sends packets; returns whether all of them were sent.
    fn send(&mut self, due: Due) -> io::Result<bool> {
        let now = self.began.elapsed().as_nanos() as u64;
        let from = self.ledger.flows[due.flow].from;
        let head = match from {
            Place::Client(index) => Some(index),
            Place::Peer(_) => None,
        };
        let (run, len) = self.frames.run(head, due.len, (0..due.count).map(|_| self.ledger.stamp(due.flow, now)));
        let left = match from {
            Place::Client(index) => match &mut self.clients.all[index].link {
                Link::Udp(socket) => self.outbox.send(socket, None, run, len)?,
                Link::Stream(stream) => {
                    run.chunks(len).try_for_each(|frame| stream.send(frame))?;
                    due.count
                }
            },
            Place::Peer(index) => {
                let Origin::Address(SocketAddr::V4(to)) = self.ledger.flows[due.flow ^ 1].origin else {
                    return Err(io::Error::other("a peer sends to a relayed address of IPv4"));
                };
                self.outbox.send(&self.peers[index].1, Some(to), run, len)?
            }
        };
        self.ledger.take_back(due.flow, due.count - left);
        Ok(left == due.count)
    }

    /// Takes everything that has arrived. Returns whether there was anything.
    fn receive(&mut self) -> io::Result<bool> {
        self.clients.poll.poll(&mut self.events, Some(self.rest))?;
        let mut any = false;
        for event in &self.events {
            let Token(token) = event.token();
            let now = self.began.elapsed().as_nanos() as u64;
            let (ledger, form) = (&mut self.ledger, self.frames.form);
            if let Some(peer) = token.checked_sub(self.clients.all.len()) {
                any |= self.inbox.receive(&self.peers[peer].1, |payload, from| {
                    ledger.arrived(Place::Peer(peer), Some((Origin::Address(from), payload)), now);
                })?;
                continue;
            }
            let mut take = |message: &[u8]| ledger.arrived(Place::Client(token), form.read(message), now);
            any |= match &mut self.clients.all[token].link {
                Link::Udp(socket) => self.inbox.receive(socket, |message, _| take(message))?,
                Link::Stream(stream) => stream.receive(take)?,
            };
        }
        Ok(any)
    }
}
