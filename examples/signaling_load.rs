//! Puts load on the signaling of a running server from a separate process, and prints what the server needed.
//!
//! ```text
//! bimcc-rtc --listen 127.0.0.1:3000 &
//! cargo run --release --example signaling_load -- idle  ws://127.0.0.1:3000 --pid $! --connections 10000
//! cargo run --release --example signaling_load -- talk  ws://127.0.0.1:3000 --pid $! --connections 400
//! cargo run --release --example signaling_load -- churn ws://127.0.0.1:3000 --pid $! --connections 50000
//! ```
//!
//! `idle` lets the given number of connections join rooms of four and stay there. It measures resident memory per
//! connection, and the latency from join to `_peers`, while they come and when all are present. `talk` passes messages
//! around in every room for some seconds. It measures messages forwarded per second, and per second of CPU that the
//! server spent. `churn` opens, joins and closes connections, then waits until every gauge of the server is zero.
//!
//! Each process may open no more files than its hard limit; `idle` uses one here and one in the server per connection.
#![allow(clippy::unwrap_used, reason = "a tool that ends at the first surprise")]

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use clap::{Parser, ValueEnum};
use futures_util::{SinkExt, StreamExt};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::WebSocketConfig},
};

#[derive(Parser)]
struct Args {
    mode: Mode,
    /// ws://ADDRESS:PORT of the server
    url: String,
    /// The server's process, whose memory and CPU time are read
    #[arg(long)]
    pid: u32,
    /// Where its metrics are
    #[arg(long, default_value = "127.0.0.1:9641")]
    metrics: SocketAddr,
    #[arg(long, default_value_t = 1000)]
    connections: usize,
    #[arg(long, default_value_t = 4)]
    room_size: usize,
    /// Connections being opened at the same time
    #[arg(long, default_value_t = 16)]
    concurrency: usize,
    /// Loopback addresses to come from, because each has some 28,000 ports
    #[arg(long, default_value_t = 20)]
    sources: u8,
    /// How long `talk` measures; a connection may send 200 messages per second for ever, and a burst before
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Messages of each member that are under way, in `talk`
    #[arg(long, default_value_t = 8)]
    in_flight: usize,
}

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    Idle,
    Talk,
    Churn,
}

type Ws = WebSocketStream<TcpStream>;

#[tokio::main(worker_threads = 2)]
async fn main() {
    let args = Arc::new(Args::parse());
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    println!("hard limit of open files here: {hard}");
    match args.mode {
        Mode::Idle => idle(&args, hard as usize).await,
        Mode::Talk => talk(&args).await,
        Mode::Churn => churn(&args).await,
    }
}

async fn idle(args: &Arc<Args>, files: usize) {
    let connections = args.connections.min(files.saturating_sub(200));
    if connections < args.connections {
        println!("only {connections} connections: the limit of files allows no more");
    }
    // Memory that the first connections make the server allocate once does not count for the others.
    drop(join_many(args, 200).await);
    gauges_become_zero(args).await;
    let before = resident(args.pid);
    let start = Instant::now();
    let (clients, mut latencies) = join_many(args, connections).await;
    println!("{connections} joined in {:.1} s, {} at a time", start.elapsed().as_secs_f64(), args.concurrency);
    print_latencies("join to _peers while they come", &mut latencies);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let per_connection = resident(args.pid).saturating_sub(before) as f64 / connections as f64;
    println!("resident memory per connection: {:.2} KiB", per_connection / 1024.0);

    let mut latencies = Vec::new();
    for i in 0..2000 {
        let mut ws = connect(args, i).await;
        latencies.push(join(&mut ws, &format!("late {}", i / args.room_size)).await.0);
        ws.close(None).await.unwrap();
    }
    print_latencies("join to _peers with all of them there, one at a time", &mut latencies);
    drop(clients);
}

/// In each room messages go around: a member that gets one sends one to the next member.
async fn talk(args: &Arc<Args>) {
    let (clients, _) = join_many(args, args.connections / args.room_size * args.room_size).await;
    let forwarded = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    let ids: Vec<String> = clients.iter().map(|(_, id)| id.clone()).collect();
    let sdp = "a=candidate:1 1 udp 2122260223 192.0.2.1 50000 typ host ".repeat(18);
    for (i, (mut ws, _)) in clients.into_iter().enumerate() {
        let room = i / args.room_size * args.room_size;
        let next = &ids[room + (i + 1 - room) % args.room_size];
        let text = format!(r#"{{"eventName":"__offer","data":{{"socketId":"{next}","sdp":"{sdp}"}}}}"#);
        let (forwarded, in_flight) = (forwarded.clone(), args.in_flight);
        tasks.spawn(async move {
            for _ in 0..in_flight {
                ws.send(Message::text(text.clone())).await.unwrap();
            }
            while let Some(Ok(message)) = ws.next().await {
                let Message::Text(received) = message else { continue };
                if received.starts_with(r#"{"eventName":"_offer""#) {
                    forwarded.fetch_add(1, Ordering::Relaxed);
                } else if received.contains("rate_limited") {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                } else {
                    continue;
                }
                ws.send(Message::text(text.clone())).await.unwrap();
            }
        });
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (count, cpu, start) = (forwarded.load(Ordering::Relaxed), cpu_seconds(args.pid), Instant::now());
    tokio::time::sleep(Duration::from_secs(args.seconds)).await;
    let count = (forwarded.load(Ordering::Relaxed) - count) as f64;
    let (cpu, passed) = (cpu_seconds(args.pid) - cpu, start.elapsed().as_secs_f64());
    println!("{} connections, messages of {} bytes", args.connections, sdp.len() + 100);
    println!("forwarded: {:.0} messages/s with {:.2} cores of the server", count / passed, cpu / passed);
    println!("per second of CPU: {:.0} messages ({:.1} µs each)", count / cpu, cpu / count * 1e6);
}

async fn churn(args: &Arc<Args>) {
    let start = Instant::now();
    let before = resident(args.pid);
    let mut tasks = JoinSet::new();
    for i in 0..args.connections {
        if tasks.len() >= args.concurrency {
            tasks.join_next().await.unwrap().unwrap();
        }
        let args = args.clone();
        tasks.spawn(async move {
            let mut ws = connect(&args, i).await;
            join(&mut ws, &format!("room {}", i / args.room_size)).await;
            // Half of them say goodbye, half just go.
            if i % 2 == 0 {
                ws.close(None).await.unwrap();
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let passed = start.elapsed().as_secs_f64();
    println!("{} opened, joined, closed in {passed:.1} s", args.connections);
    gauges_become_zero(args).await;
    println!("all gauges are zero; resident memory {} KiB more", resident(args.pid).saturating_sub(before) / 1024);
}

async fn join_many(args: &Arc<Args>, connections: usize) -> (Vec<(Ws, String)>, Vec<Duration>) {
    let mut tasks = JoinSet::new();
    let mut joined = Vec::new();
    let mut collect = |done: Result<_, _>| joined.push(done.unwrap());
    for i in 0..connections {
        if tasks.len() >= args.concurrency {
            collect(tasks.join_next().await.unwrap());
        }
        let args = args.clone();
        tasks.spawn(async move {
            let mut ws = connect(&args, i).await;
            let (latency, id) = join(&mut ws, &format!("room {}", i / args.room_size)).await;
            (i, ws, id, latency)
        });
    }
    while let Some(done) = tasks.join_next().await {
        collect(done);
    }
    joined.sort_by_key(|(i, ..)| *i);
    joined.into_iter().map(|(_, ws, id, latency)| ((ws, id), latency)).unzip()
}

async fn connect(args: &Args, i: usize) -> Ws {
    let address: SocketAddr = args.url.trim_start_matches("ws://").trim_end_matches('/').parse().unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    if address.ip().is_loopback() {
        let source = Ipv4Addr::new(127, 0, 1, (i % usize::from(args.sources)) as u8 + 1);
        socket.bind((source, 0).into()).unwrap();
    }
    let tcp = socket.connect(address).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    let config = WebSocketConfig::default().read_buffer_size(2048).write_buffer_size(0);
    let request = format!("{}/", args.url.trim_end_matches('/'));
    tokio_tungstenite::client_async_with_config(request, tcp, Some(config)).await.unwrap().0
}

/// Joins. Returns how long `_peers` took, and the id in it.
async fn join(ws: &mut Ws, room: &str) -> (Duration, String) {
    let start = Instant::now();
    let text = format!(r#"{{"eventName":"__join","data":{{"room":"{room}"}}}}"#);
    ws.send(Message::text(text)).await.unwrap();
    loop {
        let Message::Text(text) = ws.next().await.unwrap().unwrap() else { continue };
        let message: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(message["eventName"], "_peers", "{message}");
        return (start.elapsed(), message["data"]["you"].as_str().unwrap().to_owned());
    }
}

async fn gauges_become_zero(args: &Args) {
    let start = Instant::now();
    loop {
        let mut tcp = TcpStream::connect(args.metrics).await.unwrap();
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", args.metrics);
        tcp.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        tcp.read_to_string(&mut text).await.unwrap();
        let is_gauge = |line: &&str| text.contains(&format!("# TYPE {} gauge", line.split([' ', '{']).next().unwrap()));
        let gauges: Vec<_> = text.lines().filter(|line| line.starts_with("bimcc_rtc_")).filter(is_gauge).collect();
        let left: Vec<_> = gauges.iter().filter(|line| !line.ends_with(" 0")).collect();
        assert!(!gauges.is_empty(), "no gauges in {text}");
        if left.is_empty() {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "still not zero: {left:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn print_latencies(what: &str, latencies: &mut [Duration]) {
    latencies.sort_unstable();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!("{what}: p50 {:.2} ms, p99 {:.2} ms, most {:.2} ms", at(0.5), at(0.99), at(1.0));
}

/// Bytes of resident memory.
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// User and system time so far.
fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name in parentheses may contain spaces; utime and stime are the 14th and 15th field of all.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / 100.0
}
