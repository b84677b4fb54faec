//! The command line options, and what is measured with them.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::ensure;
use clap::{Parser, ValueEnum};

use crate::{
    plan::{Mode, Pace, Plan},
    program::Program,
    tables::{self, Subject, Table},
};

#[derive(Debug, Parser)]
#[command(name = "relay", about = "Server CPU per packet, per allocation and per unauthenticated request")]
pub(crate) struct Options {
    /// What to measure [default: all]
    subjects: Vec<Subject>,
    /// One short round of the middle case of each
    #[arg(long)]
    quick: bool,
    /// How often the programs take turns
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: usize,
    /// Measured seconds per case, program and round
    #[arg(long, default_value_t = 1.0)]
    pub(crate) seconds: f64,
    /// Payload bytes [with any of the options from here to --gro, in place of the usual rows: 1000]
    #[arg(long, value_delimiter = ',')]
    sizes: Vec<usize>,
    /// Numbers of clients [likewise: 50]
    #[arg(long, value_delimiter = ',')]
    clients: Vec<usize>,
    /// Packets of one flow in a row
    #[arg(long, value_delimiter = ',')]
    burst: Vec<usize>,
    /// Packets a second in all, by the clock, in place of a closed loop
    #[arg(long, value_delimiter = ',')]
    rate: Vec<usize>,
    /// Each client has a peer of its own: some servers tell clients apart by that
    #[arg(long)]
    own_peers: bool,
    /// The load sends runs as one buffer (UDP_SEGMENT)
    #[arg(long)]
    gso: bool,
    /// The load takes runs as one buffer (UDP_GRO)
    #[arg(long)]
    gro: bool,
    /// Allocations to hold
    #[arg(long, default_value_t = 2000)]
    pub(crate) allocations: usize,
    /// Unauthenticated requests to send
    #[arg(long, default_value_t = 100_000)]
    pub(crate) requests: usize,
    /// Builds of this project to measure; the first is compared with all others [default: the one just built]
    #[arg(long, value_name = "PATH")]
    server: Vec<PathBuf>,
    /// coturn's program, where no rival is named [default: turnserver in the PATH]
    #[arg(long, value_name = "PATH")]
    turnserver: Option<PathBuf>,
    /// Another TURN server, repeatable: a coturn with more arguments than the usual ones, or, with {port} among them (and {secret},
    /// {realm}, {workers}, {tls-port}, {cert}, {key}, {dir}), any program with these
    #[arg(long, value_name = "NAME=PATH,ARGS")]
    rival: Vec<Program>,
    /// Write the tables into this document, where they are marked, and the chart beside it, in place of printing them
    #[arg(long, value_name = "FILE")]
    pub(crate) write: Option<PathBuf>,
    /// `cargo bench` says so
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    /// # Errors
    /// If nothing can be measured with these options.
    pub(crate) fn typed() -> anyhow::Result<Self> {
        let mut options = Self::parse();
        if options.quick {
            (options.rounds, options.seconds, options.requests, options.allocations) = (1, 0.5, 20_000, 500);
        }
        ensure!(options.rounds > 0 && options.seconds > 0.0, "nothing to measure");
        ensure!(
            options.write.is_none() || !options.has_own_rows(),
            "--write is for the usual rows: without --sizes, --clients, --burst, --rate, --own-peers, --gso and --gro"
        );
        Ok(options)
    }

    fn has_own_rows(&self) -> bool {
        let lists = [&self.sizes, &self.clients, &self.burst, &self.rate];
        lists.iter().any(|list| !list.is_empty()) || self.own_peers || self.gso || self.gro
    }

    /// The programs to measure, this project's own first.
    pub(crate) fn programs(&self) -> Vec<Program> {
        let mut programs = Vec::new();
        for (index, path) in self.server.iter().enumerate() {
            let name = if self.server.len() == 1 { "bimcc-rtc".into() } else { format!("bimcc-rtc {}", index + 1) };
            programs.push(Program::bimcc_rtc(name, absolute(path)));
        }
        if programs.is_empty() {
            programs.push(Program::bimcc_rtc("bimcc-rtc".into(), env!("CARGO_BIN_EXE_bimcc-rtc").into()));
        }
        programs.extend(self.rival.iter().cloned());
        if self.rival.is_empty() {
            match self.turnserver.clone().or_else(|| in_path("turnserver")) {
                Some(path) => programs.push(Program::coturn(absolute(&path))),
                None => println!("coturn's turnserver is not installed: nothing to compare with.\n"),
            }
        }
        programs
    }

    pub(crate) fn tables(&self) -> anyhow::Result<Vec<Table>> {
        let mut tables = Vec::new();
        for &subject in Subject::value_variants() {
            if !self.subjects.is_empty() && !self.subjects.contains(&subject) {
                continue;
            }
            let mut table = tables::usual(subject);
            if self.has_own_rows() && subject.is_traffic() {
                table.rows = self.own_rows(subject, &table.rows);
            } else if self.quick {
                table.rows =
                    table.rows.into_iter().filter(|plan| plan.clients == 50 && plan.burst == 1).take(1).collect();
            }
            for plan in &mut table.rows {
                plan.measured = Duration::from_secs_f64(self.seconds);
                plan.check()?;
            }
            tables.push(table);
        }
        Ok(tables)
    }

    /// All combinations of the given values. Options that were not given have their usual values.
    fn own_rows(&self, subject: Subject, usual: &[Plan]) -> Vec<Plan> {
        let typed = |list: &[usize], usual: usize| if list.is_empty() { vec![usual] } else { list.to_vec() };
        let usual_paces: Vec<_> = match subject {
            Subject::Paced => usual.iter().map(|plan| plan.pace).collect(),
            Subject::Call => vec![Pace::Call],
            _ => vec![Pace::Loop],
        };
        let paces = if self.rate.is_empty() || subject == Subject::Call {
            usual_paces
        } else {
            self.rate.iter().copied().map(Pace::Rate).collect()
        };
        // The combinations of mode and transport; the rest of a row comes from the options.
        let mut ways: Vec<_> = usual.iter().map(|plan| (plan.mode, plan.transport)).collect();
        ways.dedup();
        let mut rows = Vec::new();
        for (mode, transport) in ways {
            for pace in &paces {
                for size in typed(&self.sizes, 1000) {
                    for clients in typed(&self.clients, 50) {
                        for burst in typed(&self.burst, 1) {
                            let own_peers = self.own_peers && mode != Mode::Pair;
                            let plan = Plan::new(mode, size, clients).over(transport).paced(*pace).runs_of(burst);
                            rows.push(Plan { own_peers, gso: self.gso, gro: self.gro, ..plan });
                        }
                    }
                }
            }
        }
        rows
    }
}

/// Programs run in their own directories, so relative paths would be wrong.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|path| Path::is_file(path))
}
