//! Harness: a server in this process on its own port, and clients that talk to it over real sockets.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, unreachable_pub, missing_docs, reason = "a harness")]

pub mod class;
pub mod crowd;
pub mod ipv6_forms;
pub mod netns;
pub mod process;
pub mod turn_client;
pub mod ways;
pub mod wire;

use std::{
    io::Write,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime},
};

use bimcc_rtc::{
    credentials::{self, MemberKey, Secret, User},
    front::{Front, FrontSettings},
    ice_servers::{Issuer, Transports},
    membership::Directory,
    observe::metrics::Metrics,
    shutdown::{Shutdown, ShutdownTrigger},
    signaling::{Limits, ResumeKey, Signaling, Timing},
    turn::{
        self,
        io::{BoundSockets, Relaying, Workers},
        shared::{
            Lifetimes, Terms,
            auth::{Authority, NonceKeys},
            peer_policy::{HostAddresses, Mode, PeerPolicy, PeerRules},
            quota::Quotas,
        },
    },
    values::{
        family::{ByFamily, Family},
        ports::RelayPorts,
        relayed_address::RelayedAddress,
    },
};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinHandle,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{self, Message, client::IntoClientRequest, handshake::client::Request},
};

/// Long enough for a busy machine; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// What tests vary.
#[derive(Clone, Default)]
pub struct Options {
    pub limits: Limits,
    pub timing: Timing,
    pub http: FrontSettings,
    pub credential_ttl: Option<Duration>,
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Seconds by which the wall clock of signaling is ahead.
    pub ahead: Arc<AtomicI64>,
}

pub struct Server {
    pub address: SocketAddr,
    pub metrics: Arc<Metrics>,
    pub directory: Arc<Directory>,
    /// STUN and TURN over UDP.
    pub turn: SocketAddr,
    _workers: Workers,
    shutdown: ShutdownTrigger,
    task: JoinHandle<std::io::Result<()>>,
}

impl Server {
    pub async fn start() -> Self {
        Self::with(Options::default()).await
    }

    pub async fn with(options: Options) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let metrics = Arc::new(Metrics::new());
        let directory = Arc::new(Directory::new());
        metrics.watch_directory(directory.clone());
        let issuer = Issuer {
            secret: member_key().secret(&Secret::new(*b"test")),
            ttl: options.credential_ttl.unwrap_or(Duration::from_secs(21_600)),
            transports: Transports { udp: Some(3478), ..Transports::default() },
        };
        let key = ResumeKey::new(b"the same for all servers of tests"[..32].try_into().unwrap());
        let (trigger, shutdown) = Shutdown::new();
        let signaling = Signaling::new(
            options.limits,
            options.timing,
            issuer,
            key,
            directory.clone(),
            metrics.clone(),
            shutdown.clone(),
        );
        let signaling = signaling.with_wall_clock(move || {
            let ahead = options.ahead.load(Ordering::Relaxed);
            let by = Duration::from_secs(ahead.unsigned_abs());
            if ahead < 0 { SystemTime::now() - by } else { SystemTime::now() + by }
        });
        let turn = BoundSockets::new(&["127.0.0.1:0".parse().unwrap()], 1).unwrap();
        let turn_address = turn.addresses()[0];
        let shared = turn_on_loopback(directory.clone(), Secret::new(*b"test"), Lifetimes::default());
        let workers =
            turn.start(shared, Relaying { ports: RelayPorts::None, latency_budget: Duration::ZERO }, &metrics).unwrap();
        let turn = Some(workers.streams().clone());
        let front = Front { signaling: Arc::new(signaling), turn, settings: options.http };
        let task = tokio::spawn(front.serve(vec![listener], options.tls.map(Into::into), shutdown));
        Self { address, metrics, directory, turn: turn_address, _workers: workers, shutdown: trigger, task }
    }

    /// Makes credentials of a user who is not a member.
    pub fn mint(&self, user: &str) -> turn_client::Credentials {
        let minted = credentials::mint(&Secret::new(*b"test"), &User::api(user).unwrap(), NO_END);
        turn_client::Credentials { username: minted.username, password: minted.password }
    }

    pub async fn connect(&self) -> Client {
        self.connect_to("/").await
    }

    /// `target` is the part after host and port. It may begin with `?`, as in old clients.
    pub async fn connect_to(&self, target: &str) -> Client {
        self.connect_with(self.request(target)).await.unwrap()
    }

    pub fn request(&self, target: &str) -> Request {
        format!("ws://{}{target}", self.address).into_client_request().unwrap()
    }

    pub async fn connect_with(&self, request: Request) -> Result<Client, tungstenite::Error> {
        let (ws, _) = patient(tokio_tungstenite::connect_async_with_config(request, None, true)).await?;
        Ok(Client { ws })
    }

    /// A client whose kernel buffers only little while the client does not read.
    pub async fn connect_narrow(&self) -> Client {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(65_536).unwrap();
        let tcp = MaybeTlsStream::Plain(socket.connect(self.address).await.unwrap());
        let (ws, _) = patient(tokio_tungstenite::client_async(self.request("/"), tcp)).await.unwrap();
        Client { ws }
    }

    /// Sends bytes and returns everything that comes back until the server closes.
    pub async fn raw(&self, request: &str) -> String {
        let mut tcp = TcpStream::connect(self.address).await.unwrap();
        tcp.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = patient(tcp.read_to_end(&mut answer)).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// The value of a metric, with its labels in the name.
    pub fn metric(&self, name: &str) -> i64 {
        let text = self.metrics.encode();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("bimcc_rtc_{name} ")));
        line.map_or(0, |value| value.parse().unwrap())
    }

    pub async fn metric_becomes(&self, name: &str, value: i64) {
        let reached = async {
            while self.metric(name) != value {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let outcome = tokio::time::timeout(PATIENCE, reached).await;
        assert!(outcome.is_ok(), "{name} is {}, not {value}\n{}", self.metric(name), self.metrics.encode());
    }

    pub async fn all_gauges_become_zero(&self) {
        for gauge in ["rooms", "members", "connections", "directory_entries"] {
            self.metric_becomes(gauge, 0).await;
        }
    }

    pub fn begin_shutdown(&self) {
        self.shutdown.begin();
    }

    pub async fn shut_down(self) {
        self.begin_shutdown();
        patient(self.task).await.unwrap().unwrap();
    }
}

/// TURN for clients on loopback, whose peers are each other.
pub fn turn_on_loopback(directory: Arc<Directory>, secret: Secret, lifetimes: Lifetimes) -> Arc<turn::shared::Shared> {
    let loopback = "127.0.0.1".parse().unwrap();
    let relay = RelayedAddress { advertised: loopback, bind: loopback };
    let rules = PeerRules {
        members: Mode::Members,
        api: Mode::Public,
        allow: Vec::new(),
        deny: Vec::new(),
        trusted_proxies: Vec::new(),
        dangerously_allow_loopback: true,
    };
    let host = HostAddresses {
        own: [loopback].into_iter().collect(),
        gateways: Vec::new(),
        relay: ByFamily::new(|family| (family == Family::V4).then_some(relay)),
    };
    Arc::new(turn::shared::Shared::new(
        NonceKeys::new(&[7; 32], None),
        Authority::new("test".into(), vec![secret], &member_key()),
        PeerPolicy::new(rules, host),
        directory,
        Quotas::up_to(1000, 1000),
        Terms { lifetimes, ..Terms::default() },
        Shutdown::never(),
    ))
}

pub struct Client {
    pub ws: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Client {
    pub async fn send_text(&mut self, text: impl Into<String>) {
        patient(self.ws.send(Message::text(text.into()))).await.unwrap();
    }

    pub async fn send(&mut self, event: &str, data: Value) {
        self.send_text(json!({"eventName": event, "data": data}).to_string()).await;
    }

    /// The next message: event and data.
    pub async fn next(&mut self) -> (String, Value) {
        let mut message: Value = serde_json::from_str(&self.next_text().await).unwrap();
        let event = message["eventName"].as_str().unwrap().to_owned();
        (event, message["data"].take())
    }

    /// The next message as text.
    pub async fn next_text(&mut self) -> String {
        // The limit is for all messages together, because pings never end.
        patient(async {
            loop {
                match self.ws.next().await {
                    Some(Ok(Message::Text(text))) => return text.to_string(),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    other => panic!("a message was expected, not {other:?}"),
                }
            }
        })
        .await
    }

    /// The data of the next message, which must be this event.
    pub async fn expect(&mut self, event: &str) -> Value {
        let (name, data) = self.next().await;
        assert_eq!(name, event, "{data}");
        data
    }

    pub async fn expect_error(&mut self, code: &str) -> Value {
        let data = self.expect("_error").await;
        assert_eq!(data["code"], code, "{data}");
        assert!(data["message"].as_str().is_some_and(|text| !text.is_empty()), "{data}");
        data
    }

    /// Checks that nothing is on its way to this client: everything that the server queued before the pong would come
    /// before it.
    pub async fn expect_nothing(&mut self) {
        let mark = json!({"mark": rand::random::<u32>()});
        self.send("__ping", mark.clone()).await;
        assert_eq!(self.next().await, ("_pong".to_owned(), mark));
    }

    /// Joins and returns `_peers`.
    pub async fn join(&mut self, room: &str) -> Value {
        self.send("__join", json!({"room": room})).await;
        self.expect("_peers").await
    }

    /// Reads to the end, and returns the code of the Close frame, if one came.
    pub async fn close_code(&mut self) -> Option<u16> {
        patient(async {
            let mut code = None;
            loop {
                match self.ws.next().await {
                    Some(Ok(Message::Close(frame))) => code = code.or(frame.map(|frame| frame.code.into())),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return code,
                }
            }
        })
        .await
    }
}

/// Joins `room` over the caller's stream, like a page at `localhost`. Returns the connection and `_peers`.
pub async fn join_over<S>(stream: S, room: &str) -> (WebSocketStream<S>, Value)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut ws, _) = patient(tokio_tungstenite::client_async("ws://localhost/", stream)).await.unwrap();
    let join = json!({"eventName": "__join", "data": {"room": room}});
    patient(ws.send(Message::text(join.to_string()))).await.unwrap();
    let answer = patient(ws.next()).await.unwrap().unwrap();
    let mut peers: Value = serde_json::from_str(answer.to_text().unwrap()).unwrap();
    assert_eq!(peers["eventName"], "_peers", "{peers}");
    (ws, peers["data"].take())
}

/// Waits for something that must happen.
pub async fn patient<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("it should have happened by now")
}

/// A client in a room, and its id.
pub async fn member(server: &Server, room: &str) -> (Client, String) {
    let mut client = server.connect().await;
    let peers = client.join(room).await;
    let id = peers["you"].as_str().unwrap().to_owned();
    (client, id)
}

/// The key of servers in the test's process.
pub fn member_key() -> MemberKey {
    MemberKey::new(&[5; 32])
}

/// An expiry that no test reaches: the year 2286.
pub const NO_END: u64 = 9_999_999_999;

/// Reports that a test did not run, even if the test runner hides the output of tests.
pub fn say_skipped(why: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {why}");
}
