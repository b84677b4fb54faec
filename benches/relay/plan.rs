//! One kind of traffic: between whom, how large, how many, and when.

use std::time::Duration;

use anyhow::ensure;

use crate::{link::Transport, stamp::STAMP_LEN};

/// Between whom the traffic goes, and in which form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Each client and a UDP peer that is no client, both ways, on a channel.
    Relay,
    /// The same in Send and Data indications.
    Send,
    /// Clients two by two, each the other's peer: both ends are relayed.
    Pair,
}

/// When packets leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// As many as come back: a closed loop.
    Loop,
    /// So many a second in all.
    Rate(usize),
    /// Each flow as a browser sent it in a call.
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
    /// Each client has a peer of its own, by its port; else all have the same.
    pub(crate) own_peers: bool,
    /// The load sends runs as one buffer, and takes them so.
    pub(crate) gso: bool,
    pub(crate) gro: bool,
    /// The load sleeps while nothing comes, since it has no core of its own.
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
    /// Where it cannot be measured.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        ensure!((STAMP_LEN..=9000).contains(&self.size), "--sizes: {STAMP_LEN} to 9000 bytes");
        ensure!((1..=5000).contains(&self.clients), "--clients: 1 to 5000");
        ensure!((1..=256).contains(&self.burst), "--burst: 1 to 256 packets");
        Ok(())
    }

    /// What a row of a table says of it, in the order in which one reads tables.
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
