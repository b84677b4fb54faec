//! The books on what was sent and what came: every packet at its place, from where it had to come, whole and in its order.

use std::net::SocketAddr;

use anyhow::ensure;

use crate::stamp::Stamp;

/// An end of a flow: a client, or a peer that is no client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Client(usize),
    Peer(usize),
}

/// What the receiver learns of where a packet comes from.
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
    /// The sequence number to send next, and the one that is awaited.
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
    /// Packets on their way, as far as is known.
    pub(crate) in_flight: usize,
    /// Packets that came since [`Ledger::begin`], and how long each was on its way, in nanoseconds.
    pub(crate) delivered: u64,
    pub(crate) delays: Vec<u64>,
    /// Those that came at any time.
    arrived: u64,
    /// Packets at the wrong place or changed.
    wrong: u64,
    /// Packets that came behind one that was sent after them.
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

    /// What comes from now on is none of the measured time's.
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

    /// The last `count` packets of a flow did not leave.
    pub(crate) fn take_back(&mut self, flow: usize, count: usize) {
        self.flows[flow].sent -= count as u32;
        self.in_flight = self.in_flight.saturating_sub(count);
    }

    /// What is on its way is given up. It may come nevertheless.
    pub(crate) fn give_up(&mut self) {
        self.in_flight = 0;
    }

    /// Something came; `None` where it is not even of a known form.
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
        // A gap is what was lost in front of it, which frees its places too.
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

    /// The share of packets that were sent and did not come.
    pub(crate) fn loss(&self) -> f64 {
        let sent: u64 = self.flows.iter().map(|flow| u64::from(flow.sent)).sum();
        (sent - self.arrived) as f64 / sent.max(1) as f64
    }

    /// # Errors
    /// Where anything came that should not have, or not so.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        ensure!(self.delivered > 0, "nothing was relayed");
        ensure!(self.wrong == 0, "{} packets came to the wrong place or changed", self.wrong);
        ensure!(self.disordered == 0, "{} packets came out of their order, or twice", self.disordered);
        Ok(())
    }
}
