//! Records what was sent and what arrived. Every packet must arrive at its place, from the right sender, unchanged and
//! in order.

use std::net::SocketAddr;

use anyhow::ensure;

use crate::stamp::Stamp;

/// One end of a flow: a client, or a peer that is not a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Client(usize),
    Peer(usize),
}

/// What the receiver learns about the origin of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Channel(u16),
    Address(SocketAddr),
}

/// Packets of one sender for one receiver.
#[derive(Debug)]
pub(crate) struct Flow {
    pub(crate) from: Place,
    pub(crate) to: Place,
    pub(crate) origin: Origin,
    /// The sequence number to send next, and the one that is expected next.
    sent: u32,
    awaited: u32,
}

impl Flow {
    pub(crate) fn new(from: Place, to: Place, origin: Origin) -> Self {
        Self { from, to, origin, sent: 0, awaited: 0 }
    }
}

/// See the module's header.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) flows: Vec<Flow>,
    /// The number of packets on their way, as far as is known.
    pub(crate) in_flight: usize,
    /// The packets that arrived since [`Ledger::begin`], and how long each was on its way, in nanoseconds.
    pub(crate) delivered: u64,
    pub(crate) delays: Vec<u64>,
    /// The packets that arrived at any time.
    arrived: u64,
    /// Packets that arrived at the wrong place or changed.
    wrong: u64,
    /// Packets that arrived after one that was sent later.
    disordered: u64,
    measures: bool,
}

impl Ledger {
    pub(crate) fn new(flows: Vec<Flow>) -> Self {
        Self {
            flows,
            in_flight: 0,
            delivered: 0,
            delays: Vec::new(),
            arrived: 0,
            wrong: 0,
            disordered: 0,
            measures: false,
        }
    }

    /// The warm-up is over.
    pub(crate) fn begin(&mut self) {
        self.measures = true;
    }

    /// The measured time is over; packets that arrive from now on do not belong to it.
    pub(crate) fn end(&mut self) {
        self.measures = false;
    }

    /// The stamp of the flow's next packet.
    pub(crate) fn stamp(&mut self, flow: usize, now: u64) -> Stamp {
        let sequence = self.flows[flow].sent;
        self.flows[flow].sent += 1;
        self.in_flight += 1;
        Stamp { flow: flow as u32, sequence, sent: now }
    }

    /// The last `count` packets of a flow were not sent.
    pub(crate) fn take_back(&mut self, flow: usize, count: usize) {
        self.flows[flow].sent -= count as u32;
        self.in_flight = self.in_flight.saturating_sub(count);
    }

    /// Gives up the packets that are on their way. They may still arrive.
    pub(crate) fn give_up(&mut self) {
        self.in_flight = 0;
    }

    /// Records something that arrived; `None` if it does not even have a known form.
    pub(crate) fn arrived(&mut self, at: Place, packet: Option<(Origin, &[u8])>, now: u64) {
        let known = packet.and_then(|(origin, payload)| {
            let stamp = Stamp::read(payload)?;
            let flow = self.flows.get_mut(stamp.flow as usize)?;
            (flow.to == at && flow.origin == origin && stamp.sequence < flow.sent).then_some((stamp, flow))
        });
        let Some((stamp, flow)) = known else {
            self.wrong += 1;
            return;
        };
        // The packets missing before this one are lost, which frees their places too.
        let Some(gap) = stamp.sequence.checked_sub(flow.awaited) else {
            self.disordered += 1;
            return;
        };
        flow.awaited = stamp.sequence + 1;
        self.in_flight = self.in_flight.saturating_sub(1 + gap as usize);
        self.arrived += 1;
        if self.measures {
            self.delivered += 1;
            self.delays.push(now.saturating_sub(stamp.sent));
        }
    }

    /// The share of packets that were sent and did not arrive.
    pub(crate) fn loss(&self) -> f64 {
        let sent: u64 = self.flows.iter().map(|flow| u64::from(flow.sent)).sum();
        (sent - self.arrived) as f64 / sent.max(1) as f64
    }

    /// # Errors
    /// If anything arrived that should not have, or not in this way.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        ensure!(self.delivered > 0, "nothing was relayed");
        ensure!(self.wrong == 0, "{} packets came to the wrong place or changed", self.wrong);
        ensure!(self.disordered == 0, "{} packets came out of their order, or twice", self.disordered);
        Ok(())
    }
}
