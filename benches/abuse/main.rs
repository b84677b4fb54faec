//! What strangers and one greedy user can do to a server with its default limits: its memory and its open files before,
//! meanwhile and afterwards, and whether honest clients join and allocate at the same time.
//!
//! ```text
//! cargo bench --bench abuse                all of it, some minutes
//! cargo bench --bench abuse -- --quick     a tenth of everything
//! ```
//!
//! The server is a process of its own on loopback. Floods come from other addresses than honest clients do, as they would
//! on the Internet; honest clients come over both families, and as browsers do. It ends with an error if a limit did not
//! hold or an honest client failed. Linux only.
#![allow(clippy::unwrap_used, reason = "a tool that ends at the first surprise")]

#[path = "../../tests/common/mod.rs"]
mod common;
mod crowds;
mod rooms;

use std::{
    io::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use clap::Parser;
use common::{
    class::Class,
    process::{Process, Start, free_port},
    turn_client::{Credentials, TurnClient, new_message},
    wire::tls_config,
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use stun::{
    attributes::ATTR_REQUESTED_TRANSPORT,
    message::{CLASS_REQUEST, METHOD_ALLOCATE, METHOD_BINDING},
};

/// Addresses that floods come from, and their sockets in all.
const SOURCES: usize = 100;
const SOCKETS: usize = 1000;

/// Files that this process has open besides.
const OTHER_FILES: usize = 500;

/// The default of `--max-allocations-per-user`: 24 for each of 32 peers in a room.
const ALLOCATIONS_PER_USER: usize = 24 * 32;

/// Honest clients that each kind of abuse must let through at least.
const HONEST: usize = 20;

#[derive(Debug, Parser)]
#[command(name = "abuse", about = "Memory, open files and honest clients while a server is abused")]
struct Args {
    /// A tenth of everything
    #[arg(long)]
    quick: bool,
    /// Unauthenticated Allocates and Bindings
    #[arg(long, default_value_t = 1_000_000)]
    requests: usize,
    /// TLS handshakes that are begun and left
    #[arg(long, default_value_t = 10_000)]
    half_open: usize,
    /// Allocations that one user asks for
    #[arg(long, default_value_t = 5000)]
    allocations: usize,
    /// Members that do not read what they are sent
    #[arg(long, default_value_t = 90)]
    deaf: usize,
    /// Joins of members that are in their full room already
    #[arg(long, default_value_t = 8000)]
    rejoins: usize,
    /// Members of the class that joins at the end
    #[arg(long, default_value_t = 30)]
    class: usize,
    /// `cargo bench` says so
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    // Test runners start benches too, with flags of their own, to see that they run or which tests they have.
    if !std::env::args().any(|arg| arg == "--bench") {
        eprintln!("takes minutes: cargo bench --bench abuse");
        return;
    }
    let mut args = Args::parse();
    if args.quick {
        for count in [&mut args.requests, &mut args.half_open, &mut args.allocations, &mut args.rejoins] {
            *count /= 10;
        }
    }
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    println!("{hard} files may be open, here and in the server");
    let bench = Bench::new(hard as usize);
    println!("| abuse | memory in MiB before, most, after | files before, most, after | limit | honest clients |");
    println!("|---|---|---|---|---|");
    bench.requests(args.requests);
    bench.half_open(args.half_open);
    bench.allocations(args.allocations);
    bench.deaf(args.deaf);
    bench.rejoins(args.rejoins);
    bench.class(args.class);
    bench.server.stop();
    crowds::run(hard as usize, args.half_open);
}

struct Bench {
    server: Process,
    files: usize,
    honest: Class,
    /// As `honest`, over IPv6.
    honest_v6: Class,
    next_honest: AtomicUsize,
}

/// What the server held.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    memory: u64,
    files: usize,
}

impl Held {
    fn by(server: &Process) -> Self {
        Self { memory: server.resident_memory(), files: server.open_files() }
    }

    fn most(self, other: Self) -> Self {
        Self { memory: self.memory.max(other.memory), files: self.files.max(other.files) }
    }
}

impl Bench {
    fn new(files: usize) -> Self {
        let (port, turn_port) = (free_port(), free_port());
        let listen = |flag: &str, port: u16| format!("{flag} 127.0.0.1:{port} {flag} [::1]:{port}");
        let args = format!("--tls --log error {} {}", listen("--listen", port), listen("--turn-listen", turn_port));
        let server = Start::with(&args).turn_port(turn_port).serve();
        let tls = tls_config(&server.ca(), &[]);
        let class =
            |ip: IpAddr| Class { ip, turn: (ip, turn_port).into(), one_port: (ip, port).into(), tls: tls.clone() };
        let (honest, honest_v6) = (class(Ipv4Addr::LOCALHOST.into()), class(Ipv6Addr::LOCALHOST.into()));
        let bench = Self { server, files, honest, honest_v6, next_honest: AtomicUsize::new(0) };
        // What the first of each kind costs once and for all is not the abuse's.
        for _ in 0..3 {
            bench.honest_client();
        }
        bench.server.metrics();
        bench
    }

    /// Joins a room over TLS and allocates by three URLs: in turns over IPv4, over IPv6, and over IPv6 as a browser that
    /// has opened connections which it does not use.
    fn honest_client(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let kind = self.next_honest.fetch_add(1, Ordering::Relaxed) % 3;
        let class = if kind == 0 { &self.honest } else { &self.honest_v6 };
        let spare = if kind == 2 { 2 } else { 0 };
        let _spare: Vec<_> = (0..spare).map(|_| TcpStream::connect(class.one_port).unwrap()).collect();
        let tcp = TcpStream::connect(class.one_port).unwrap();
        let (_presence, credentials) = runtime.block_on(class.join(tcp, "honest"));
        for mut client in class.clients(&credentials) {
            client.allocate().unwrap();
            client.refresh(0).unwrap();
        }
    }

    /// Abuses the server while honest clients come one after another, and prints a row. `end` undoes the abuse.
    ///
    /// `limit` says what bounds it, and how many files that may be.
    fn abused<T>(&self, name: &str, limit: (&str, usize), abuse: impl FnOnce() -> T, end: impl FnOnce(T)) {
        let before = Held::by(&self.server);
        let is_over = AtomicBool::new(false);
        let served = AtomicUsize::new(0);
        let failed = AtomicUsize::new(0);
        let most = thread::scope(|scope| {
            let honest = || {
                while !is_over.load(Ordering::Relaxed) {
                    // One that fails says why and ends its thread.
                    let outcome = thread::scope(|client| client.spawn(|| self.honest_client()).join());
                    if outcome.is_ok() { &served } else { &failed }.fetch_add(1, Ordering::Relaxed);
                }
            };
            let look = || {
                let mut most = before;
                while !is_over.load(Ordering::Relaxed) {
                    most = most.most(Held::by(&self.server));
                    thread::sleep(Duration::from_millis(20));
                }
                most
            };
            let honest = scope.spawn(honest);
            let looking = scope.spawn(look);
            let abused = abuse();
            let enough = served.load(Ordering::Relaxed).max(HONEST);
            while served.load(Ordering::Relaxed) < enough && failed.load(Ordering::Relaxed) == 0 {
                thread::sleep(Duration::from_millis(10));
            }
            is_over.store(true, Ordering::Relaxed);
            honest.join().unwrap();
            let most = looking.join().unwrap();
            end(abused);
            most
        });
        self.server.metric_becomes("members", 0);
        self.server.metric_becomes("turn_allocations", 0);
        for transport in ["tcp", "tls"] {
            self.server.metric_becomes(&format!("turn_streams{{transport=\"{transport}\"}}"), 0);
        }
        let deadline = Instant::now() + common::process::PATIENCE;
        while self.server.open_files() > before.files + 5 && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(50));
        }
        let after = Held::by(&self.server);
        let (served, failed) = (served.into_inner(), failed.into_inner());
        let mib = |held: Held| held.memory as f64 / f64::from(1 << 20);
        println!(
            "| {name} | {:.1}, {:.1}, {:.1} | {}, {}, {} | {} | {served} of {} |",
            mib(before),
            mib(most),
            mib(after),
            before.files,
            most.files,
            after.files,
            limit.0,
            served + failed
        );
        assert_eq!(failed, 0, "honest clients failed");
        // Honest clients, what asks for metrics, and what is about to be closed.
        let allowed = before.files + limit.1 + 256;
        assert!(most.files <= allowed, "{} files, of which {allowed} were allowed", most.files);
    }

    /// As many as arrive: what the kernel drops on the way is sent again.
    fn requests(&self, count: usize) {
        let host = |index: usize| Ipv4Addr::new(127, 0, 1, 1 + (index % SOURCES) as u8);
        let sockets: Vec<_> = (0..SOCKETS).map(|index| UdpSocket::bind((host(index), 0)).unwrap()).collect();
        let mut allocate = new_message(METHOD_ALLOCATE, CLASS_REQUEST);
        allocate.add(ATTR_REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
        let mut requests = [allocate.raw, new_message(METHOD_BINDING, CLASS_REQUEST).raw];
        let arrived = || {
            let of = |method| self.server.metric(&format!("turn_requests_total{{method=\"{method}\"}}")) as usize;
            of("allocate") + of("binding")
        };
        let name = format!("{count} Allocates and Bindings of strangers, from {SOURCES} addresses");
        let dropped = || self.server.metric("turn_dropped_packets_total{reason=\"rate_limited\"}");
        let (first, dropped_before) = (arrived(), dropped());
        let flood = || {
            let started = Instant::now();
            let mut sent = 0;
            while arrived() < first + count {
                assert!(sent < 4 * count, "they do not arrive");
                for _ in 0..2000 {
                    let request = &mut requests[sent % 2];
                    request[8..16].copy_from_slice(&(sent as u64).to_be_bytes());
                    sockets[sent / 2 % SOCKETS].send_to(request, self.server.turn()).unwrap();
                    sent += 1;
                    if sent.is_multiple_of(200) {
                        thread::sleep(Duration::from_millis(1));
                    }
                }
            }
            (sent, started.elapsed())
        };
        let mut pace = String::new();
        self.abused(&name, ("5,000 answers at once and 500/s for each address", 0), flood, |(sent, elapsed)| {
            pace = format!("{sent} sent in {elapsed:.1?}");
        });
        let dropped = dropped() - dropped_before;
        println!("<!-- {pace}, {} arrived, {dropped} of them dropped by the limit -->", arrived() - first);
    }

    fn half_open(&self, wanted: usize) {
        let count = wanted.min(self.files.saturating_sub(OTHER_FILES));
        if count < wanted {
            println!("<!-- only {count} half-open connections: the limit of open files is low -->");
        }
        // The rule of the server, which an operator can change by the limit of files.
        let limit = (self.files / 8).clamp(16, 4096);
        let refused = || self.server.metric("connections_refused_total{reason=\"too_many_half_open\"}");
        let before = refused();
        let open = || -> Vec<TcpStream> {
            let connect = |index: usize| {
                let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
                let host = Ipv4Addr::new(127, 0, 2, 1 + (index % SOURCES) as u8);
                socket.bind(&SocketAddr::from((host, 0)).into()).unwrap();
                socket.connect(&self.server.http.into()).unwrap();
                let mut tcp = TcpStream::from(socket);
                // A handshake record of 512 bytes, of which these are the first. It may be closed already.
                let _ = tcp.write_all(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC]);
                tcp
            };
            (0..count).map(connect).collect()
        };
        let name = format!("{count} TLS connections, half open");
        self.abused(&name, (&format!("{limit} half open: an eighth of the files"), limit), open, drop);
        println!("<!-- {} had to make room -->", refused() - before);
    }

    fn allocations(&self, count: usize) {
        let credentials = self.server.mint("greedy");
        let host = |index: usize| IpAddr::from(Ipv4Addr::new(127, 0, 3, 1 + (index % SOURCES) as u8));
        let mut refused = 0;
        let allocate = || -> Vec<TurnClient> {
            let mut granted = Vec::new();
            for index in 0..count {
                let socket = UdpSocket::bind((host(index), 0)).unwrap();
                let mut client = TurnClient::over(socket, self.server.turn(), Some(&credentials));
                match client.allocate() {
                    Ok(_) => granted.push(client),
                    Err(486) => refused += 1,
                    Err(code) => panic!("{code}"),
                }
            }
            assert!(granted.len() <= ALLOCATIONS_PER_USER, "{} allocations", granted.len());
            granted
        };
        let mut held = 0;
        let name = format!("{count} allocations of one user");
        let limit = format!("{ALLOCATIONS_PER_USER} per user");
        self.abused(&name, (&limit, ALLOCATIONS_PER_USER), allocate, |granted| {
            held = granted.len();
            for mut client in granted {
                client.refresh(0).unwrap();
            }
        });
        println!("<!-- {held} granted, {refused} refused with 486 -->");
    }

    /// Members behind one address join and gather candidates.
    fn class(&self, members: usize) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let before = Held::by(&self.server);
        let refusals = || {
            self.server.metric_family("turn_responses_total{method=\"allocate\",code=\"486\"}")
                + self.server.metric("turn_dropped_packets_total{reason=\"rate_limited\"}")
                + self.server.metric_family("connections_refused_total")
        };
        let refused_before = refusals();
        let started = Instant::now();
        let mut presences = Vec::new();
        let mut credentials: Vec<Credentials> = Vec::new();
        for _ in 0..members {
            let tcp = TcpStream::connect(self.honest.one_port).unwrap();
            let (presence, credential) = runtime.block_on(self.honest.join(tcp, "class"));
            presences.push(presence);
            credentials.push(credential);
        }
        let joined = started.elapsed();
        let clients = self.honest.gather_all(&credentials);
        let gathered = started.elapsed();
        let held = Held::by(&self.server);
        println!(
            "\n{members} members behind one address: all joined after {joined:.2?}, all {} allocations (UDP, TCP, TLS) \
             after {gathered:.2?}; {:.1} MiB and {} files more",
            clients.len(),
            held.memory.saturating_sub(before.memory) as f64 / f64::from(1 << 20),
            held.files - before.files
        );
        assert_eq!(refusals(), refused_before, "something was refused or dropped");
    }
}
