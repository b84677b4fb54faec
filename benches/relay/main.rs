//! What relaying costs: server CPU per delivered packet, per allocation and per unauthenticated request, beside coturn or any
//! other TURN server.
//!
//! ```text
//! cargo bench --bench relay                     everything, a quarter of an hour
//! cargo bench --bench relay -- --quick          one short round of the middle cases
//! cargo bench --bench relay -- relay --clients 50 --sizes 1000 --rounds 9
//! cargo bench --bench relay -- --write docs/BENCHMARKS.md
//! cargo bench --bench relay -- --rival 'coturn mux=/usr/bin/turnserver,--multiplex-peer --udp-gso'
//! ```
//!
//! Each measurement starts a fresh server on loopback, on a core of its own, and loads it from another core. The programs
//! take turns within each round, so that what else the machine does hits all of them alike. CPU time is the scheduler's
//! run time of the server's threads: on loopback it contains the whole way of each packet that the server sends, up to
//! the receiver's socket. It swings much less than packets per second. Differences under 15 % are noise on a machine that
//! does other things as well.
//!
//! Linux only. coturn is found in the PATH or by `--turnserver`; without it there is nothing to compare with.

mod bench;
mod chart;
mod client;
mod cores;
mod datagrams;
mod document;
mod form;
mod ledger;
mod link;
mod options;
mod pace;
mod plan;
mod program;
mod report;
mod requests;
mod server;
mod stamp;
mod tables;
mod traffic;

use std::{fs, path::Path};

use anyhow::Context;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use self::{bench::Bench, options::Options, program::Program};

fn main() -> anyhow::Result<()> {
    // Test runners start benches too, with flags of their own, to see that they run or which tests they have.
    if !std::env::args().any(|arg| arg == "--bench") {
        eprintln!("takes minutes and two cores: cargo bench --bench relay");
        return Ok(());
    }
    let options = Options::typed()?;
    let tables = options.tables()?;
    if let Some(file) = &options.write {
        for table in &tables {
            replace(file, table.subject.key(), None)?;
        }
    }
    raise_file_limit();
    let mut bench = Bench::new(options.programs(), options.rounds, &tables)?;
    let programs: Vec<_> = bench.programs.iter().map(Program::described).collect();
    let conditions =
        format!("{}; rounds of {} s: {}; {}", programs.join(", "), options.seconds, options.rounds, bench.conditions());
    for table in &tables {
        let rows = bench.table(table, &options)?;
        let noise = format!("other programs used {:.2} cores meanwhile", bench.others());
        let text = format!("{rows}\n\n<sub>{conditions}; {noise}.</sub>");
        match &options.write {
            Some(file) => replace(file, table.subject.key(), Some(&text))?,
            None => println!("\n{}\n\n{text}", table.subject.title()),
        }
    }
    let failures = std::mem::take(&mut bench.failures);
    drop(bench);
    if !failures.is_empty() {
        eprintln!("This project's server failed:\n{}", failures.join("\n"));
        std::process::exit(1);
    }
    Ok(())
}

/// Puts a table into the document, at once, so that nothing is lost if a later one fails, and draws the chart anew. Without
/// a table sees whether it has a place for it.
fn replace(file: &Path, key: &str, table: Option<&str>) -> anyhow::Result<()> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let part = document::part(&text, key).with_context(|| {
        format!("{} has no place for this table: {} and {}", file.display(), document::begin(key), document::end(key))
    })?;
    let Some(table) = table else {
        return Ok(());
    };
    let new = format!("{}\n{table}\n{}", &text[..part.start], &text[part.end..]);
    let chart = file.with_file_name("benchmarks.svg");
    fs::write(&chart, chart::draw(&new)).with_context(|| chart.display().to_string())?;
    fs::write(file, new).with_context(|| file.display().to_string())
}

/// Every client is a socket here and one more at the server.
fn raise_file_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // Else the run ends with an error that says so.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
