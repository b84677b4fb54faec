//! What the log costs: rooms are opened, joined and left as fast as they can be, with the log to a file and without.
//!
//! ```text
//! cargo bench --bench log                  five rounds of 50,000, some minutes
//! cargo bench --bench log -- --quick       three of 5,000
//! ```
//!
//! Each measurement starts a server on loopback; those with and without a log take turns, and the one that begins
//! changes. Each connection is a WebSocket that joins a room of its own and goes. Connections come from many addresses, so
//! that both caps of the log are in it: that of an address and that of all. It ends with an error where the log
//! costs more than a quarter of what there is without. Linux only.
#![allow(clippy::unwrap_used, reason = "a tool that ends at the first surprise")]

#[path = "../../tests/common/mod.rs"]
mod common;

use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use clap::Parser;
use common::{
    join_over,
    process::{Process, Start},
};
use tokio::net::TcpSocket;

/// Of the loopback network, so that no address runs out of ports.
const SOURCES: usize = 200;
/// At the same time.
const CLIENTS: usize = 32;
/// The most that the log may cost, of what there is without.
const MOST: f64 = 1.25;

#[derive(Debug, Parser)]
#[command(name = "log", about = "Processor time of a server with its log to a file and without")]
struct Args {
    /// A tenth of everything, three rounds
    #[arg(long)]
    quick: bool,
    /// Connections in a measurement
    #[arg(long, default_value_t = 50_000)]
    connections: usize,
    /// Measurements of each
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// `cargo bench` says so
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    // Test runners start benches too, with flags of their own, to see that they run or which tests they have.
    if !std::env::args().any(|arg| arg == "--bench") {
        eprintln!("takes minutes: cargo bench --bench log");
        return;
    }
    let args = Args::parse();
    let (connections, rounds) = if args.quick { (args.connections / 10, 3) } else { (args.connections, args.rounds) };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let with_log = || {
        let server = Start::with("--log info").log_to(File::create(&path).unwrap()).serve();
        let cost = cost(server, connections);
        (cost, std::fs::read_to_string(&path).unwrap().lines().count())
    };
    let without = || cost(Process::start("--log off"), connections);

    println!("| round | µs per connection with a log | without | ratio | lines |");
    println!("|---|---|---|---|---|");
    let mut all = [Vec::new(), Vec::new(), Vec::new()];
    for round in 0..rounds {
        let (with, lines, without) = if round % 2 == 0 {
            let (with, lines) = with_log();
            (with, lines, without())
        } else {
            let without = without();
            let (with, lines) = with_log();
            (with, lines, without)
        };
        let ratio = with / without;
        println!("| {} | {with:.1} | {without:.1} | {ratio:.3} | {lines} |", round + 1);
        for (column, value) in all.iter_mut().zip([with, without, ratio]) {
            column.push(value);
        }
    }
    let [with, without, ratio] = all.map(median);
    println!("| median | {with:.1} | {without:.1} | {ratio:.3} | |");
    assert!(ratio <= MOST, "the log costs too much");
}

/// Processor time of the server in µs per connection.
fn cost(server: Process, connections: usize) -> f64 {
    let next = AtomicUsize::new(0);
    // What is done once and for all is not the log's.
    let before = {
        churn(&server, &next, connections / 50);
        server.processor_time()
    };
    churn(&server, &next, connections);
    let took = server.processor_time() - before;
    server.stop();
    took.as_secs_f64() * 1e6 / connections as f64
}

/// So many connections come, join a room of their own, and go.
fn churn(server: &Process, next: &AtomicUsize, connections: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let until = next.load(Ordering::Relaxed) + connections;
    runtime.block_on(async {
        let client = async || {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= until {
                    return;
                }
                let socket = TcpSocket::new_v4().unwrap();
                let host = Ipv4Addr::new(127, 0, 6, 1 + (number % SOURCES) as u8);
                socket.bind(SocketAddr::from((host, 0))).unwrap();
                let tcp = common::patient(socket.connect(server.http)).await.unwrap();
                let (mut ws, _) = join_over(tcp, &format!("room {number}")).await;
                common::patient(ws.close(None)).await.unwrap();
                // Until the server has closed, so that no more are open than there are clients.
                while let Some(Ok(_)) = common::patient(futures_util::StreamExt::next(&mut ws)).await {}
            }
        };
        futures_util::future::join_all((0..CLIENTS).map(|_| client())).await;
    });
    next.store(until, Ordering::Relaxed);
    let deadline = std::time::Instant::now() + common::process::PATIENCE;
    while server.metric("connections") > 0 {
        assert!(std::time::Instant::now() < deadline, "they do not go");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
