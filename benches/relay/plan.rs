//! One kind of traffic: between which ends, how large, how many, and when.

use std::time::Duration;

use anyhow::ensure;

use crate::{link::Transport, stamp::STAMP_LEN};

/// Between which ends the traffic goes, and in which form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Each client exchanges data with a UDP peer that is not a client, on a channel.
    Relay,
    /// The same in Send and Data indications.
    Send,
    /// The clients form pairs, each the peer of the other: both ends are relayed.
    Pair,
}

/// When packets are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// A closed loop: as many are sent as come back.
    Loop,
    /// This many a second in total.
    Rate(usize),
    /// Each flow is sent as a browser sent it in a call.
    Call,
}

/// See the module's header.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) mode: Mode,
    pub(crate) pace: Pace,
    pub(crate) transport: Transport,
    /// Payload bytes.
    pub(crate) size: usize,
    pub(crate) clients: usize,
    /// Packets of one flow in a row.
    pub(crate) burst: usize,
    /// Whether each client has its own peer, with a port of its own; otherwise all have the same peer.
    pub(crate) own_peers: bool,
    /// Whether the load sends and receives runs as one buffer.
    pub(crate) gso: bool,
    pub(crate) gro: bool,
    /// Whether the load sleeps while nothing comes, because it does not have its own core.
    pub(crate) sleeps: bool,
    pub(crate) measured: Duration,
}

impl Plan {
    pub(crate) fn new(mode: Mode, size: usize, clients: usize) -> Self {
        Self {
            mode,
            pace: Pace::Loop,
            transport: Transport::Udp,
            size,
            clients: if mode == Mode::Pair { clients.next_multiple_of(2) } else { clients },
            burst: 1,
            own_peers: false,
            gso: false,
            gro: false,
            sleeps: false,
            measured: Duration::from_secs(1),
        }
    }

    pub(crate) fn own_peers(self) -> Self {
        Self { own_peers: true, ..self }
    }

    pub(crate) fn runs_of(self, burst: usize) -> Self {
        Self { burst, ..self }
    }

    pub(crate) fn paced(self, pace: Pace) -> Self {
        Self { pace, ..self }
    }

    pub(crate) fn over(self, transport: Transport) -> Self {
        Self { transport, ..self }
    }

    /// # Errors
    /// If the plan cannot be measured.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        ensure!((STAMP_LEN..=9000).contains(&self.size), "--sizes: {STAMP_LEN} to 9000 bytes");
        ensure!((1..=5000).contains(&self.clients), "--clients: 1 to 5000");
        ensure!((1..=256).contains(&self.burst), "--burst: 1 to 256 packets");
        Ok(())
    }

    /// The label of the row in a table, in the order in which people read tables.
    pub(crate) fn label(&self) -> String {
        let mut words = match self.pace {
            Pace::Rate(rate) => vec![format!("{rate} packets/s")],
            _ => Vec::new(),
        };
        match self.pace {
            Pace::Call if self.mode == Mode::Pair => words.push("both ends here".to_owned()),
            Pace::Call => words.push("the peer elsewhere".to_owned()),
            _ => words.push(format!("{} bytes", self.size)),
        }
        words.push(if self.clients == 1 { "1 client".to_owned() } else { format!("{} clients", self.clients) });
        match self.transport {
            Transport::Udp => {}
            Transport::Tcp => words.push("TCP".to_owned()),
            Transport::Tls => words.push("TLS".to_owned()),
        }
        if self.own_peers && self.pace == Pace::Loop {
            words.push("a peer each".to_owned());
        }
        if self.burst > 1 {
            words.push(format!("runs of {}", self.burst));
        }
        if self.gso {
            words.push("sent by UDP_SEGMENT".to_owned());
        }
        if self.gro {
            words.push("taken by UDP_GRO".to_owned());
        }
        words.join(", ")
    }
}
