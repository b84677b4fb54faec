//! Tests the proxy configurations of docs/OPERATIONS.md with the real programs.
#![allow(clippy::unwrap_used)]

mod common;

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream, UdpSocket},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use common::{
    join_over,
    netns::Namespace,
    patient,
    process::{PATIENCE, Process, Start},
    say_skipped,
    turn_client::{Credentials, TurnClient},
    wire::{Wire, tls_config, trusting},
};
use futures_util::{SinkExt, StreamExt};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rustls::{ClientConfig, pki_types::ServerName};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{self, Message},
};

/// The address of the proxy, and those of two clients.
const PROXY: &str = "10.99.0.1:443";
const CLIENTS: [&str; 2] = ["10.99.0.2", "10.99.0.3"];
/// An address of the network that nobody has.
const NOBODY: &str = "10.99.0.77:5000";

const STREAM_MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

type Socket = WebSocketStream<TlsStream<tokio::net::TcpStream>>;

/// The block of OPERATIONS.md in this language that contains this text.
fn documented(language: &str, text: &str) -> String {
    let docs = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/OPERATIONS.md")).unwrap();
    let fence = format!("```{language}\n");
    let blocks = docs.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap());
    let mut fitting = blocks.filter(|block| block.contains(text));
    let block = fitting.next().unwrap_or_else(|| panic!("no {language} with {text} is documented"));
    assert!(fitting.next().is_none(), "several {language} with {text} are documented");
    block.to_owned()
}

/// Replaces a part of a documented text that must occur exactly once.
fn replaced(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "{from} in {text}");
    text.replace(from, to)
}

/// The arguments of nginx, and a configuration around a documented block.
fn nginx(dir: &Path, block: &str) -> (Vec<String>, String) {
    let dir = dir.display();
    let args = ["-e", "stderr", "-c", &format!("{dir}/config")].map(str::to_owned).to_vec();
    let (module, block) = if block.contains("stream {") {
        (format!("load_module {STREAM_MODULE};"), block.to_owned())
    } else {
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|kind| format!("{kind}_temp_path {dir}/{kind};\n"))
            .collect();
        (String::new(), format!("http {{\naccess_log off;\n{temporary}{block}\n}}"))
    };
    let own = format!("daemon off;\nmaster_process off;\npid {dir}/pid;\nerror_log stderr;\nevents {{}}\n");
    (args, format!("{module}\n{own}{block}"))
}

/// A proxy that ends with the test.
struct Proxy {
    child: Child,
    dir: TempDir,
}

impl Proxy {
    fn start(program: &str, args: &[String], dir: TempDir, namespace: &Namespace) -> Self {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(fs::File::create(dir.path().join("said")).unwrap());
        // Caddy stores files in the home directory.
        command.env("HOME", dir.path()).env_remove("XDG_DATA_HOME").env_remove("XDG_CONFIG_HOME");
        let child = namespace.run(move || command.spawn()).unwrap();
        Self { child, dir }
    }

    fn said(&self) -> String {
        fs::read_to_string(self.dir.path().join("said")).unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the proxy said:\n{}", self.said());
        }
        let _ = kill(Pid::from_raw(self.child.id().try_into().unwrap()), Signal::SIGTERM);
        let deadline = Instant::now() + Duration::from_secs(5);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server behind a proxy, and clients that can only reach the proxy.
struct World {
    clients: Namespace,
    proxy: Proxy,
    server: Process,
    tls: Arc<ClientConfig>,
}

/// Whether a Debian program is installed; if not, reports that the test is skipped.
fn has(program: &str) -> bool {
    let found = ["/usr/sbin", "/usr/bin", "/usr/local/bin"].iter().any(|dir| Path::new(dir).join(program).exists());
    if !found {
        say_skipped(&format!("{program} is not installed"));
    }
    found
}

impl World {
    /// `config` makes the proxy's arguments and its configuration, for a directory with `cert.pem` and `key.pem`.
    fn new(program: &str, passes_tcp: bool, config: impl FnOnce(&Path) -> (Vec<String>, String)) -> Option<Self> {
        if !has(program) {
            return None;
        }
        let [within, clients] = [Namespace::new()?, Namespace::new()?];
        let addresses = CLIENTS.map(|address| format!("{address}/24"));
        within.cable("lan", &["10.99.0.1/24"], &clients, &addresses.each_ref().map(String::as_str));
        let dir = tempfile::tempdir().unwrap();
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(dir.path().join("cert.pem"), own.cert.pem()).unwrap();
        fs::write(dir.path().join("key.pem"), own.signing_key.serialize_pem()).unwrap();
        let (args, config) = config(dir.path());
        fs::write(dir.path().join("config"), config).unwrap();

        let tls = if passes_tcp { "--tls" } else { "" };
        let args_of_server = format!(
            "{tls} --listen 127.0.0.1:3000 --trusted-proxy 127.0.0.1 --turn-listen 3478 --max-connections-per-ip 3"
        );
        let server = Start::with(&args_of_server).turn_port(3478).within(&within).serve();
        let tls = if passes_tcp { tls_config(&server.ca(), &[]) } else { Arc::new(trusting(own.cert.der().clone())) };
        let proxy = Proxy::start(program, &args, dir, &within);
        let mut world = Self { clients, proxy, server, tls };
        world.wait_for_proxy();
        Some(world)
    }

    fn wait_for_proxy(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while self.clients.run(|| TcpStream::connect(PROXY)).is_err() {
            assert!(matches!(self.proxy.child.try_wait(), Ok(None)), "it has ended: {}", self.proxy.said());
            assert!(Instant::now() < deadline, "it does not listen: {}", self.proxy.said());
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn tcp(&self, client: &str) -> TcpStream {
        self.clients.run(|| {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            socket.bind(&SocketAddr::new(client.parse().unwrap(), 0).into()).unwrap();
            socket.connect(&PROXY.parse::<SocketAddr>().unwrap().into()).unwrap();
            socket.set_tcp_nodelay(true).unwrap();
            socket.into()
        })
    }

    async fn tls(&self, client: &str) -> std::io::Result<TlsStream<tokio::net::TcpStream>> {
        let tcp = self.tcp(client);
        tcp.set_nonblocking(true).unwrap();
        let tcp = tokio::net::TcpStream::from_std(tcp).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        patient(TlsConnector::from(self.tls.clone()).connect(name, tcp)).await
    }

    /// A WebSocket that has not joined, or the status that the client got instead; 0 if there was none.
    async fn socket(&self, client: &str) -> Result<Socket, u16> {
        let tls = self.tls(client).await.map_err(|_| 0u16)?;
        match patient(tokio_tungstenite::client_async("wss://localhost/", tls)).await {
            Ok((socket, _)) => Ok(socket),
            Err(tungstenite::Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(_) => Err(0),
        }
    }

    /// A member's connection, its credentials, and the whole answer.
    async fn member(&self, client: &str, room: &str) -> (Socket, Credentials, String) {
        let (socket, peers) = join_over(self.tls(client).await.unwrap(), room).await;
        let text = peers.to_string();
        let servers = peers["iceServers"].as_array().unwrap();
        let with = servers.iter().find(|server| server["username"].is_string()).unwrap();
        let word = |key: &str| with[key].as_str().unwrap().to_owned();
        (socket, Credentials { username: word("username"), password: word("credential") }, text)
    }

    async fn page(&self) -> String {
        self.page_at("/").await
    }

    async fn page_at(&self, path: &str) -> String {
        let mut tls = self.tls(CLIENTS[0]).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        tls.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = patient(tls.read_to_end(&mut answer)).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn refused_by_limit(&self) -> i64 {
        self.server.metric("connections_refused_total{reason=\"too_many_from_address\"}")
    }

    /// Each client has its own limit of unproven connections.
    async fn limits_are_of_each_client(&self, is_told: bool) {
        let mut open = Vec::new();
        for _ in 0..3 {
            open.push(self.socket(CLIENTS[0]).await.expect("below the limit"));
        }
        let Err(refused) = self.socket(CLIENTS[0]).await else { panic!("beyond the limit") };
        assert!(!is_told || refused == 429, "{refused}");
        assert_eq!(self.refused_by_limit(), 1);
        open.push(self.socket(CLIENTS[1]).await.expect("another client"));
    }

    /// Members may relay to where their room's members are, and nowhere else on this network.
    async fn peers_are_where_members_are(&self) {
        let (_first, ..) = self.member(CLIENTS[0], "room").await;
        for (room, is_allowed) in [("room", true), ("elsewhere", false)] {
            let (_second, credentials, _) = self.member(CLIENTS[1], room).await;
            let socket = self.clients.run(|| UdpSocket::bind((CLIENTS[1], 0)).unwrap());
            let mut turn = TurnClient::over(socket, "10.99.0.1:3478".parse().unwrap(), Some(&credentials));
            turn.allocate().unwrap();
            let outcome = turn.permit(&[format!("{}:5000", CLIENTS[0]).parse().unwrap()]);
            assert_eq!(outcome, if is_allowed { Ok(()) } else { Err(403) }, "{room}");
            assert_eq!(turn.permit(&[NOBODY.parse().unwrap()]), Err(403), "{room}");
        }
    }

    /// TURN over TCP and over TLS goes the same way, and the server sees the clients' own addresses.
    async fn turn_goes_through(&self) {
        let (_one, of_one, answer) = self.member(CLIENTS[0], "turn").await;
        assert!(answer.contains("turns:localhost:443?transport=tcp"), "{answer}");
        let (_other, of_other, _) = self.member(CLIENTS[1], "turn").await;
        let proxy = PROXY.parse().unwrap();
        let mut by_tcp = TurnClient::by(Wire::over(self.tcp(CLIENTS[0]), None), proxy, Some(&of_one));
        let over_tls = Wire::over(self.tcp(CLIENTS[1]), Some(self.tls.clone()));
        let mut by_tls = TurnClient::by(over_tls, proxy, Some(&of_other));
        // This also checks the mapped address.
        let (at_tcp, at_tls) = (by_tcp.allocate().unwrap(), by_tls.allocate().unwrap());
        by_tcp.permit(&[at_tls]).unwrap();
        by_tls.permit(&[at_tcp]).unwrap();
        let payload: Vec<u8> = (0..1200).map(|number| number as u8).collect();
        by_tcp.send(at_tls, &payload);
        by_tls.expect_data(at_tcp, &payload);
        by_tls.send(at_tcp, &payload);
        by_tcp.expect_data(at_tls, &payload);
        assert_eq!(self.server.metric("turn_streams{transport=\"tcp\"}"), 1);
        assert_eq!(self.server.metric("turn_streams{transport=\"tls\"}"), 1);
    }
}

/// Checks everything that must work behind a proxy.
fn holds_behind(world: Option<World>, passes_tcp: bool) {
    let Some(world) = world else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let page = world.page().await;
        assert!(page.starts_with("HTTP/1.1 200"), "{page}");
        #[cfg(feature = "pages")]
        assert!(page.to_ascii_lowercase().contains("<!doctype html"), "{page}");
        let (_member, _, answer) = world.member(CLIENTS[0], "words").await;
        assert!(answer.contains("stun:localhost:3478"), "{answer}");
        world.peers_are_where_members_are().await;
        if passes_tcp {
            world.turn_goes_through().await;
        }
        world.limits_are_of_each_client(!passes_tcp).await;
        for reason in ["bad_proxy_header", "untrusted_proxy_header", "bad_handshake", "unknown_protocol"] {
            let counted = world.server.metric(&format!("connections_refused_total{{reason=\"{reason}\"}}"));
            assert_eq!(counted, 0, "{reason}");
        }
    });
}

#[test]
fn nginx_with_http_works_as_documented() {
    holds_behind(World::new("nginx", false, |dir| nginx(dir, &nginx_server(dir))), false);
}

/// The documented server, with the certificate of the directory.
fn nginx_server(dir: &Path) -> String {
    let block = documented("nginx", "map $http_upgrade");
    let live = "/etc/letsencrypt/live/rtc.example.org";
    let block = replaced(&block, &format!("{live}/fullchain.pem"), &format!("{}/cert.pem", dir.display()));
    replaced(&block, &format!("{live}/privkey.pem"), &format!("{}/key.pem", dir.display()))
}

/// Checks that requests below a path arrive unchanged.
fn holds_below_a_path(world: Option<World>) {
    let Some(world) = world else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for path in ["healthz", "readyz?x=%2F"] {
            let answer = world.page_at(&format!("/rtc/{path}")).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        }
        #[cfg(feature = "pages")]
        for name in ["room", "a%2Fb", "%2F", "..%2Fcheck", "caf%C3%A9%20%3F%23%25", "a%252Fb"] {
            for last in ["", "/", "?relay=1"] {
                let answer = world.page_at(&format!("/rtc/r/{name}{last}")).await;
                assert!(answer.starts_with("HTTP/1.1 200"), "{name}{last}: {answer}");
                assert!(answer.to_ascii_lowercase().contains("<!doctype html"), "{name}{last}: {answer}");
            }
        }
        // A path that leads out of the prefix is not a room, and nothing else.
        for name in ["..%2F..%2Fcheck", "%2E%2E%2F%2E%2E%2Fhealthz"] {
            let answer = world.page_at(&format!("/rtc/r/{name}")).await;
            let (_, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(!body.to_ascii_lowercase().contains("<!doctype html") && !body.contains("ok"), "{name}: {answer}");
        }
        for path in ["/rtc/nothing", "/rtc/r/a/b"] {
            assert!(world.page_at(path).await.starts_with("HTTP/1.1 404"), "{path}");
        }
        for query in ["", "?room=a%2Fb"] {
            let tls = world.tls(CLIENTS[0]).await.unwrap();
            let url = format!("wss://localhost/rtc/{query}");
            let (mut socket, _) = patient(tokio_tungstenite::client_async(url, tls)).await.unwrap();
            patient(socket.send(Message::text(r#"{"eventName":"__join","data":{}}"#))).await.unwrap();
            let answer = patient(socket.next()).await.unwrap().unwrap().into_text().unwrap();
            let room = if query.is_empty() { "__default" } else { "a/b" };
            assert!(answer.contains(&format!("\"room\":\"{room}\"")), "{answer}");
        }
    });
}

#[test]
fn nginx_below_a_path_works_as_documented() {
    holds_below_a_path(World::new("nginx", false, |dir| {
        let rest = "    location / {";
        let below = documented("nginx", "location /rtc/ {");
        nginx(dir, &replaced(&nginx_server(dir), rest, &format!("{below}\n{rest}")))
    }));
}

#[test]
fn nginx_with_streams_works_as_documented() {
    if !Path::new(STREAM_MODULE).exists() {
        return say_skipped("libnginx-mod-stream is not installed");
    }
    let world = World::new("nginx", true, |dir| nginx(dir, &documented("nginx", "stream {")));
    holds_behind(world, true);
}

#[test]
fn haproxy_works_as_documented_and_with_version_1() {
    for version_1 in [false, true] {
        let world = World::new("haproxy", true, |dir| {
            let block = documented("haproxy", "mode tcp");
            let block = if version_1 { replaced(&block, "send-proxy-v2", "send-proxy") } else { block };
            (["-db", "-f", &format!("{}/config", dir.display())].map(str::to_owned).to_vec(), block)
        });
        holds_behind(world, true);
    }
}

/// The arguments of Caddy, and a configuration from the documented site.
fn caddy(dir: &Path, block: &str) -> (Vec<String>, String) {
    let dir = dir.display();
    let site = format!("{{\nadmin off\nauto_https off\n}}\nhttps://localhost {{\ntls {dir}/cert.pem {dir}/key.pem\n");
    let args = ["run", "--adapter", "caddyfile", "--config", &format!("{dir}/config")];
    (args.map(str::to_owned).to_vec(), replaced(block, "rtc.example.org {\n", &site))
}

#[test]
fn caddy_works_as_documented() {
    let world = World::new("caddy", false, |dir| caddy(dir, &documented("caddyfile", "reverse_proxy")));
    holds_behind(world, false);
}

#[test]
fn caddy_below_a_path_works_as_documented() {
    holds_below_a_path(World::new("caddy", false, |dir| {
        let line = "reverse_proxy 127.0.0.1:3000";
        let block = documented("caddyfile", line);
        caddy(dir, &replaced(&block, line, &format!("handle_path /rtc/* {{\n{line}\n}}")))
    }));
}

#[test]
fn r9_5_headers_that_are_not_taken_are_told_once_each() {
    for (args, header, expected) in [
        ("", "PROXY TCP4 192.0.2.1 203.0.113.5 1 443\r\n", "--trusted-proxy 127.0.0.1"),
        ("--trusted-proxy 127.0.0.1", "PROXY TCP4 192.0.2.1\r\n", "version 1 or 2"),
    ] {
        let mut server = Process::start(args);
        for _ in 0..3 {
            let mut tcp = TcpStream::connect(server.http).unwrap();
            tcp.set_read_timeout(Some(PATIENCE)).unwrap();
            tcp.write_all(header.as_bytes()).unwrap();
            let mut answer = Vec::new();
            let _ = tcp.read_to_end(&mut answer);
        }
        server.signal(Signal::SIGTERM);
        let (_, said) = server.wait();
        assert_eq!(said.lines().filter(|line| line.contains("PROXY protocol")).count(), 1, "{said}");
        assert!(said.contains(expected) && said.contains("WARN"), "{said}");
    }
}
