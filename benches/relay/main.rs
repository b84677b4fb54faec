//! What relaying costs: server CPU per delivered packet, per allocation and per unauthenticated request, against coturn.
//!
//! ```text
//! cargo bench --bench relay                     everything, some minutes
//! cargo bench --bench relay -- --quick          one short round of the middle case
//! cargo bench --bench relay -- relay --clients 50 --sizes 1000 --rounds 9
//! ```
//!
//! Each measurement starts a fresh server on loopback, on a core of its own, and loads it from another core. The programs
//! take turns within each round, so that what else the machine does hits all of them alike. CPU time is the scheduler's
//! run time of the server's threads: on loopback it contains the whole way of each packet that the server sends, up to
//! the receiver's socket. It swings much less than packets per second. Differences under 15 % are noise on a machine that
//! does other things as well.
//!
//! Linux only. coturn is found in the PATH or by `--turnserver`; without it there is nothing to compare with.

mod client;
mod cores;
mod requests;
mod server;
mod traffic;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Parser, ValueEnum};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use self::{
    server::Program,
    traffic::{Mode, Plan},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Subject {
    /// Clients and a UDP peer, ChannelData, both ways
    Relay,
    /// Clients two by two, both relayed
    Pair,
    /// Allocations that are made and held
    Alloc,
    /// Allocates without credentials
    Flood,
}

#[derive(Debug, Parser)]
#[command(name = "relay", about = "Server CPU per packet, per allocation and per unauthenticated request")]
struct Args {
    /// What to measure [default: all]
    subjects: Vec<Subject>,
    /// One short round of the middle case of each
    #[arg(long)]
    quick: bool,
    /// How often the programs take turns
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Measured seconds per case, program and round
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Payload bytes
    #[arg(long, value_delimiter = ',', default_value = "1000,160")]
    sizes: Vec<usize>,
    /// Numbers of clients
    #[arg(long, value_delimiter = ',', default_value = "1,50,500")]
    clients: Vec<usize>,
    /// Allocations to hold
    #[arg(long, default_value_t = 2000)]
    allocations: usize,
    /// Unauthenticated requests to send
    #[arg(long, default_value_t = 100_000)]
    requests: usize,
    /// Builds of this project to measure; the first is compared with coturn [default: the one just built]
    #[arg(long, value_name = "PATH")]
    server: Vec<PathBuf>,
    /// coturn's program [default: turnserver in the PATH]
    #[arg(long, value_name = "PATH")]
    turnserver: Option<PathBuf>,
    /// `cargo bench` says so
    #[arg(long, hide = true)]
    bench: bool,
}

/// Median, least and most of some figures.
#[derive(Clone, Copy, Debug)]
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    fn of(mut figures: Vec<f64>) -> Self {
        figures.sort_by(f64::total_cmp);
        let (low, high) = (figures[(figures.len() - 1) / 2], figures[figures.len() / 2]);
        Self { median: f64::midpoint(low, high), least: figures[0], most: figures[figures.len() - 1] }
    }

    fn show(self, decimals: usize) -> String {
        let Self { median, least, most } = self;
        format!("{median:.decimals$} ({least:.decimals$}–{most:.decimals$})")
    }
}

fn main() -> anyhow::Result<()> {
    // Test runners start benches too, with flags of their own, to see that they run or which tests they have.
    if !std::env::args().any(|arg| arg == "--bench") {
        eprintln!("takes minutes and two cores: cargo bench --bench relay");
        return Ok(());
    }
    let mut args = Args::parse();
    if args.quick {
        (args.rounds, args.seconds, args.requests, args.allocations) = (1, 0.5, 20_000, 500);
        (args.sizes, args.clients) = (vec![1000], vec![50]);
    }
    anyhow::ensure!(args.rounds > 0 && args.seconds > 0.0, "nothing to measure");
    anyhow::ensure!(args.sizes.iter().all(|size| (8..=9000).contains(size)), "--sizes: 8 to 9000 bytes");
    anyhow::ensure!(args.clients.iter().all(|count| (1..=5000).contains(count)), "--clients: 1 to 5000");
    raise_file_limit();
    let bench = Bench::new(&args)?;
    for subject in [Subject::Relay, Subject::Pair, Subject::Alloc, Subject::Flood] {
        if args.subjects.is_empty() || args.subjects.contains(&subject) {
            match subject {
                Subject::Relay => bench.traffic(Mode::Relay, &args)?,
                Subject::Pair => bench.traffic(Mode::Pair, &args)?,
                Subject::Alloc => bench.allocations(&args)?,
                Subject::Flood => bench.flood(&args)?,
            }
        }
    }
    Ok(())
}

struct Bench {
    programs: Vec<Program>,
    rounds: usize,
    server_core: usize,
}

impl Bench {
    fn new(args: &Args) -> anyhow::Result<Self> {
        let mut programs: Vec<_> = args.server.iter().cloned().map(Program::BimccRtc).collect();
        if programs.is_empty() {
            programs.push(Program::BimccRtc(env!("CARGO_BIN_EXE_bimcc-rtc").into()));
        }
        match args.turnserver.clone().or_else(|| in_path("turnserver")) {
            Some(path) => programs.push(Program::Coturn(path)),
            None => println!("coturn's turnserver is not installed: nothing to compare with.\n"),
        }
        let cores = cores::allowed()?;
        let (server_core, own_core) = match cores[..] {
            [first, second, ..] => (first, second),
            _ => {
                println!("There is one core only: server and load disturb each other.\n");
                (cores[0], cores[0])
            }
        };
        cores::pin(own_core)?;
        let names: Vec<_> = programs.iter().map(Program::version).collect();
        println!(
            "{}; {} rounds; server on core {server_core}, load on core {own_core}.",
            names.join(", "),
            args.rounds
        );
        Ok(Self { programs, rounds: args.rounds, server_core })
    }

    /// Measures every program in every round; the one that begins changes. Results by program, then round.
    fn measure<T>(&self, mut once: impl FnMut(&server::Server) -> anyhow::Result<T>) -> anyhow::Result<Vec<Vec<T>>> {
        let mut results: Vec<Vec<T>> = self.programs.iter().map(|_| Vec::new()).collect();
        for round in 0..self.rounds {
            for turn in 0..self.programs.len() {
                let index = (round + turn) % self.programs.len();
                let server = self.programs[index].start(self.server_core)?;
                results[index].push(once(&server)?);
            }
        }
        Ok(results)
    }

    fn traffic(&self, mode: Mode, args: &Args) -> anyhow::Result<()> {
        let title = match mode {
            Mode::Relay => "relay: clients and a UDP peer, ChannelData, both ways",
            Mode::Pair => "pair: clients two by two, both ends relayed",
        };
        println!("\n{title}: server CPU in µs per delivered packet, median (least–most); rate and the rest are ours\n");
        self.head(&["bytes", "clients"], &["packets/s", "busy", "loss"]);
        for &size in &args.sizes {
            for &clients in &args.clients {
                let clients = if mode == Mode::Pair { clients.next_multiple_of(2) } else { clients };
                let measured = Duration::from_secs_f64(args.seconds);
                let plan = Plan { mode, size, clients, warm_up: measured / 4, measured };
                let outcomes = self.measure(|server| traffic::run(&plan, server))?;
                let each = |figure: fn(&traffic::Outcome) -> f64| -> Vec<Vec<f64>> {
                    outcomes.iter().map(|rounds| rounds.iter().map(figure).collect()).collect()
                };
                let first = |figures: Vec<Vec<f64>>| Spread::of(figures[0].clone()).median;
                let rate = first(each(|outcome| outcome.packets_per_second));
                let loss = first(each(|outcome| outcome.loss));
                // Below 100 % the cost contains wake-ups: the server has slept in between.
                let busy = first(each(|outcome| outcome.utilisation));
                let notes = format!("{rate:.0} | {:.0} % | {:.2} %", busy * 100.0, loss * 100.0);
                self.row(&[size, clients], &each(|outcome| outcome.micros_per_packet), 2, &notes);
            }
        }
        Ok(())
    }

    fn allocations(&self, args: &Args) -> anyhow::Result<()> {
        let costs = self.measure(|server| requests::allocations(server, args.allocations))?;
        let each = |figure: fn(&requests::AllocationCost) -> f64| -> Vec<Vec<f64>> {
            costs.iter().map(|rounds| rounds.iter().map(figure).collect()).collect()
        };
        println!("\nalloc: server CPU in µs for one allocation, challenge included\n");
        self.head(&["held"], &[]);
        self.row(&[args.allocations], &each(|cost| cost.micros), 1, "");
        println!("\nalloc: resident bytes for one allocation that is held\n");
        self.head(&["held"], &[]);
        self.row(&[args.allocations], &each(|cost| cost.bytes), 0, "");
        Ok(())
    }

    fn flood(&self, args: &Args) -> anyhow::Result<()> {
        let costs = self.measure(|server| requests::flood(server, args.requests))?;
        let each = |figure: fn(&requests::FloodCost) -> f64| -> Vec<Vec<f64>> {
            costs.iter().map(|rounds| rounds.iter().map(figure).collect()).collect()
        };
        println!("\nflood: server CPU in µs per Allocate without credentials that is answered\n");
        self.head(&["requests"], &["unanswered"]);
        let unanswered = Spread::of(each(|cost| cost.unanswered)[0].clone()).median;
        let notes = format!("{:.2} %", unanswered * 100.0);
        self.row(&[args.requests], &each(|cost| cost.micros), 2, &notes);
        println!("\nflood: resident bytes that stay, per source address and port\n");
        self.head(&["requests"], &[]);
        self.row(&[args.requests], &each(|cost| cost.bytes_per_source), 0, "");
        Ok(())
    }

    fn head(&self, keys: &[&'static str], notes: &[&'static str]) {
        let mut names = keys.to_vec();
        names.extend(self.programs.iter().map(Program::name));
        names.extend(self.programs[1..].iter().map(|_| "ratio"));
        names.extend(notes);
        println!("| {} |\n|{}", names.join(" | "), "---|".repeat(names.len()));
    }

    /// The first program's figures are divided by each other program's of the same round.
    fn row(&self, keys: &[usize], figures: &[Vec<f64>], decimals: usize, notes: &str) {
        let mut cells: Vec<_> = keys.iter().map(usize::to_string).collect();
        cells.extend(figures.iter().map(|rounds| Spread::of(rounds.clone()).show(decimals)));
        for other in &figures[1..] {
            let ratios = figures[0].iter().zip(other).map(|(own, other)| own / other).collect();
            cells.push(Spread::of(ratios).show(2));
        }
        if !notes.is_empty() {
            cells.push(notes.to_owned());
        }
        println!("| {} |", cells.join(" | "));
    }
}

fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|path| Path::is_file(path))
}

/// Every client is a socket here and one more at the server.
fn raise_file_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // Else the run ends with an error that says so.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
