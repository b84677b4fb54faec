//! The usual rows, which are those of the tables in docs/BENCHMARKS.md.

use clap::ValueEnum;

use crate::{
    link::Transport,
    plan::{Mode, Pace, Plan},
};

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Subject {
    /// Clients and a UDP peer, ChannelData, both ways
    Relay,
    /// Clients two by two, both relayed
    Pair,
    /// Send and Data indications
    Send,
    /// By the clock, far from saturation, with latency
    Paced,
    /// Lengths and gaps of a browser's call, with latency
    Call,
    /// Clients over TCP and TLS
    Streams,
    /// Allocations that are made and held
    Alloc,
    /// Allocates without credentials
    Flood,
    /// Two workers on two cores, beside one
    Workers,
}

impl Subject {
    /// Whether its rows are traffic, for which there are options.
    pub(crate) fn is_traffic(self) -> bool {
        !matches!(self, Self::Alloc | Self::Flood | Self::Workers)
    }

    /// The subject's name in the marks of the document.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::Pair => "pair",
            Self::Send => "send",
            Self::Paced => "paced",
            Self::Call => "call",
            Self::Streams => "streams",
            Self::Alloc => "alloc",
            Self::Flood => "flood",
            Self::Workers => "workers",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Relay => "Clients and UDP peers: server CPU in µs per delivered packet",
            Self::Pair => "Clients two by two, both ends relayed: server CPU in µs per delivered packet",
            Self::Send => "Send and Data indications: server CPU in µs per delivered packet",
            Self::Paced => "By the clock: server CPU in µs per delivered packet, and time on the way",
            Self::Call => "As a browser sends in a call: server CPU in µs per delivered packet, and time on the way",
            Self::Streams => "Clients over TCP and TLS: server CPU in µs per delivered packet",
            Self::Alloc => "Allocations",
            Self::Flood => "Allocates without credentials",
            Self::Workers => "Two workers on two cores, beside one: CPU in µs per delivered packet",
        }
    }
}

/// A subject and its rows.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) subject: Subject,
    /// The rows of traffic; empty for requests.
    pub(crate) rows: Vec<Plan>,
}

pub(crate) fn usual(subject: Subject) -> Table {
    let relay = |clients| Plan::new(Mode::Relay, 1000, clients);
    let rows = match subject {
        Subject::Relay => vec![
            relay(1),
            relay(50),
            relay(500),
            Plan::new(Mode::Relay, 160, 50),
            relay(50).own_peers(),
            relay(50).own_peers().runs_of(8),
            Plan { gso: true, ..relay(1).runs_of(32) },
        ],
        Subject::Pair => vec![
            Plan::new(Mode::Pair, 1000, 2),
            Plan::new(Mode::Pair, 1000, 50),
            Plan::new(Mode::Pair, 1000, 500),
            Plan::new(Mode::Pair, 160, 50),
            Plan::new(Mode::Pair, 1000, 50).runs_of(8),
        ],
        Subject::Send => vec![Plan::new(Mode::Send, 1000, 50).own_peers()],
        Subject::Paced => [2_000, 20_000, 60_000].map(|rate| relay(50).own_peers().paced(Pace::Rate(rate))).to_vec(),
        Subject::Call => {
            vec![relay(50).own_peers().paced(Pace::Call), Plan::new(Mode::Pair, 1000, 50).paced(Pace::Call)]
        }
        Subject::Streams => [Transport::Tcp, Transport::Tls].map(|transport| relay(50).over(transport)).to_vec(),
        Subject::Workers => vec![relay(50).own_peers(), Plan::new(Mode::Pair, 1000, 50)],
        Subject::Alloc | Subject::Flood => Vec::new(),
    };
    Table { subject, rows }
}
