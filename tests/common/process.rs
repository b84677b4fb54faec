//! The real program as a child process, with its own ports and state directory.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket},
    os::fd::OwnedFd,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use bimcc_rtc::values::ports::RelayPorts;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio_tungstenite::{MaybeTlsStream, tungstenite::client::IntoClientRequest};

use super::{Client, netns::Namespace, turn_client::Credentials};

/// Long enough for a busy machine; a test that waits this long has failed.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How a process is started.
#[derive(Clone, Default)]
pub struct Start {
    args: Vec<String>,
    /// Programs that start it, with their arguments.
    under: Vec<String>,
    terminal: Option<Arc<OwnedFd>>,
    state_dir: Option<Arc<TempDir>>,
    turn_port: Option<u16>,
    namespace: Option<Namespace>,
    files: Option<usize>,
    log: Option<Arc<OwnedFd>>,
}

impl Start {
    /// `args` are separated by spaces.
    pub fn with(args: &str) -> Self {
        Self { args: args.split_whitespace().map(str::to_owned).collect(), ..Self::default() }
    }

    /// Uses the state of an earlier process.
    pub fn state_dir(self, state_dir: Arc<TempDir>) -> Self {
        Self { state_dir: Some(state_dir), ..self }
    }

    pub fn turn_port(self, port: u16) -> Self {
        Self { turn_port: Some(port), ..self }
    }

    /// Starts it by another program, which then becomes this one.
    pub fn under(mut self, program: &str) -> Self {
        self.under.push(program.to_owned());
        self
    }

    /// Starts it as the first process of a session with this terminal.
    pub fn at_terminal(mut self, line: OwnedFd) -> Self {
        self.terminal = Some(Arc::new(line));
        self.under = vec!["setsid".to_owned(), "--ctty".to_owned()];
        self
    }

    pub fn within(self, namespace: &Namespace) -> Self {
        Self { namespace: Some(namespace.clone()), ..self }
    }

    /// Sends its standard error to `log`; then [`Process::said`] returns nothing.
    pub fn log_to(self, log: impl Into<OwnedFd>) -> Self {
        Self { log: Some(Arc::new(log.into())), ..self }
    }

    /// Limits its open files.
    pub fn files(self, files: usize) -> Self {
        Self { files: Some(files), ..self }
    }

    fn has(&self, flag: &str) -> bool {
        self.args.iter().any(|arg| arg == flag)
    }

    /// Starts it. HTTP is on loopback, and so is TURN unless the arguments contain `--turn-listen`.
    pub fn spawn(self) -> Spawned {
        let state_dir = self.state_dir.clone().unwrap_or_else(|| Arc::new(TempDir::new().unwrap()));
        let turn_port = self.turn_port.unwrap_or_else(free_port);
        let mut words = self.under.clone();
        if let Some(files) = self.files {
            words.extend(["prlimit".to_owned(), format!("--nofile={files}")]);
        }
        words.push(env!("CARGO_BIN_EXE_bimcc-rtc").to_owned());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(&self.args);
        for (flag, value) in [
            ("--listen", "127.0.0.1:0".to_owned()),
            ("--admin-listen", "127.0.0.1:0".to_owned()),
            ("--turn-listen", format!("127.0.0.1:{turn_port}")),
            ("--turns-listen", "127.0.0.1:0".to_owned()),
            ("--log", "warn".to_owned()),
        ] {
            let has_effect = flag != "--turns-listen" || self.has("--tls");
            if !self.has(flag) && has_effect {
                command.args([flag, &value]);
            }
        }
        command.arg("--state-dir").arg(state_dir.path()).current_dir(state_dir.path());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("BIMCC_RTC_") {
                command.env_remove(name);
            }
        }
        let stdin = self.terminal.map_or_else(Stdio::null, |line| Arc::try_unwrap(line).unwrap().into());
        let log = self.log.map_or_else(Stdio::piped, |log| log.try_clone().unwrap().into());
        command.stdin(stdin).stdout(Stdio::piped()).stderr(log);
        let child = match &self.namespace {
            Some(namespace) => namespace.run(move || command.spawn()),
            None => command.spawn(),
        };
        let mut child = child.unwrap();
        let stderr = Arc::new(Mutex::new(String::new()));
        let reader = child.stderr.take().map(|mut pipe| {
            let text = stderr.clone();
            thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(len @ 1..) = pipe.read(&mut buffer) {
                    text.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..len]));
                }
            })
        });
        Spawned { child, state_dir, turn_port, namespace: self.namespace, stderr, reader }
    }

    /// Starts it and waits until it serves.
    pub fn serve(self) -> Process {
        self.spawn().serve()
    }
}

/// A child process, killed when dropped.
pub struct Spawned {
    child: Child,
    state_dir: Arc<TempDir>,
    turn_port: u16,
    namespace: Option<Namespace>,
    stderr: Arc<Mutex<String>>,
    reader: Option<thread::JoinHandle<()>>,
}

impl Spawned {
    /// Waits until it serves.
    pub fn serve(self) -> Process {
        let mut spawned = self;
        let (sender, lines) = mpsc::channel();
        let stdout = spawned.child.stdout.take().unwrap();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // Everything is read to the end, so that the program never waits for its reader.
                let _ = sender.send(line);
            }
        });
        let port_of =
            |url: &str| url.trim_end_matches("/metrics").trim_end_matches('/').rsplit_once(':').unwrap().1.parse();
        let (mut http, mut admin, mut turns) = (None, None, None);
        while http.is_none() || admin.is_none() {
            let Ok(line) = lines.recv_timeout(PATIENCE) else {
                panic!("the program does not serve: {}", spawned.stderr.lock().unwrap());
            };
            if let Some(url) = line.split_whitespace().find(|word| word.starts_with("turns:localhost:")) {
                let port = url.trim_end_matches("?transport=tcp").rsplit_once(':').unwrap().1.parse::<u16>().unwrap();
                turns = turns.or(Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port))));
            }
            let mut words = line.split_whitespace();
            match (words.next(), words.next()) {
                (Some("Open"), Some(url)) => {
                    http = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port_of(url).unwrap())))
                }
                (Some("Metrics"), Some(url)) => {
                    admin = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port_of(url).unwrap())));
                }
                _ => {}
            }
        }
        let process = Process { spawned, http: http.unwrap(), admin: admin.unwrap(), turns };
        let deadline = Instant::now() + PATIENCE;
        // With TLS, it answers with a redirect to TLS.
        let serves = |answer: String| ["HTTP/1.1 200", "HTTP/1.1 308"].iter().any(|status| answer.starts_with(status));
        while !serves(process.get(process.http, "/readyz")) {
            assert!(Instant::now() < deadline, "never ready");
            thread::sleep(Duration::from_millis(5));
        }
        process
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid().try_into().unwrap()), signal).unwrap();
    }

    /// Waits for its end. Returns how it ended, and everything that it wrote to standard error.
    pub fn wait(&mut self) -> (ExitStatus, String) {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "it does not end: {}", self.stderr.lock().unwrap());
            thread::sleep(Duration::from_millis(5));
        };
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        let said = self.stderr.lock().unwrap().clone();
        (status, said)
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            // This helps to find out why the test failed.
            eprintln!("the program said:\n{}", self.stderr.lock().map(|text| text.clone()).unwrap_or_default());
        }
    }
}

/// A server that is ready.
pub struct Process {
    spawned: Spawned,
    pub http: SocketAddr,
    pub admin: SocketAddr,
    /// TURN over TLS on a port of its own.
    pub turns: Option<SocketAddr>,
}

impl Process {
    /// Starts a server with `args`, separated by spaces.
    pub fn start(args: &str) -> Self {
        Start::with(args).serve()
    }

    /// The address of TURN, on IPv4 loopback.
    pub fn turn(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.spawned.turn_port))
    }

    pub fn turn_port(&self) -> u16 {
        self.spawned.turn_port
    }

    pub fn state_dir(&self) -> Arc<TempDir> {
        self.spawned.state_dir.clone()
    }

    pub fn signal(&self, signal: Signal) {
        self.spawned.signal(signal);
    }

    /// What it has logged so far.
    pub fn said(&self) -> String {
        self.spawned.stderr.lock().unwrap().clone()
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> (ExitStatus, String) {
        self.spawned.wait()
    }

    /// Ends it like an operator, and expects success.
    pub fn stop(mut self) {
        self.signal(Signal::SIGTERM);
        let (status, said) = self.wait();
        assert!(status.success(), "{status}: {said}");
    }

    /// A credential of `bimcc-rtc mint` for `user`.
    pub fn mint(&self, user: &str) -> Credentials {
        let output = Command::new(env!("CARGO_BIN_EXE_bimcc-rtc"))
            .args(["mint", "--host", "localhost", "--user", user, "--state-dir"])
            .arg(self.spawned.state_dir.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let minted: Value = serde_json::from_slice(&output.stdout).unwrap();
        find_credentials(&minted).unwrap_or_else(|| panic!("no credentials in {minted}"))
    }

    /// A WebSocket connection.
    pub async fn connect(&self) -> Client {
        self.connect_with(|_| ()).await
    }

    /// The same with the caller's headers.
    pub async fn connect_with(&self, change: impl FnOnce(&mut http::HeaderMap)) -> Client {
        let mut request = format!("ws://{}/", self.http).into_client_request().unwrap();
        change(request.headers_mut());
        let (ws, _) = super::patient(tokio_tungstenite::connect_async(request)).await.unwrap();
        Client { ws }
    }

    /// The local CA that the server has made.
    pub fn ca(&self) -> PathBuf {
        self.spawned.state_dir.path().join("certs/ca.pem")
    }

    /// A WebSocket connection over the caller's TCP connection.
    pub async fn connect_over(&self, tcp: TcpStream) -> Client {
        tcp.set_nonblocking(true).unwrap();
        let tcp = MaybeTlsStream::Plain(tokio::net::TcpStream::from_std(tcp).unwrap());
        let request = format!("ws://{}/", self.http);
        let (ws, _) = super::patient(tokio_tungstenite::client_async(request, tcp)).await.unwrap();
        Client { ws }
    }

    /// A member of `room`: its connection and its TURN credentials.
    pub async fn member(&self, room: &str) -> (Client, Credentials) {
        Self::joined(self.connect().await, room).await
    }

    /// The same over an existing connection.
    pub async fn joined(mut client: Client, room: &str) -> (Client, Credentials) {
        let peers = client.join(room).await;
        let credentials = find_credentials(&peers["iceServers"]).unwrap_or_else(|| panic!("no credentials in {peers}"));
        (client, credentials)
    }

    /// The value of a metric, with its labels in the name; 0 if it does not exist.
    pub fn metric(&self, name: &str) -> i64 {
        self.metric_sum(&[name])
    }

    /// The sum of several metrics, read at the same moment.
    pub fn metric_sum(&self, names: &[&str]) -> i64 {
        let text = self.metrics();
        let value = |name: &&str| {
            let line =
                text.lines().find_map(|line| line.strip_prefix("bimcc_rtc_")?.strip_prefix(*name)?.strip_prefix(' '));
            line.map_or(0, |value| value.parse::<i64>().unwrap())
        };
        names.iter().map(value).sum()
    }

    /// The sum of all metrics whose name begins with `prefix`.
    pub fn metric_family(&self, prefix: &str) -> i64 {
        let text = self.metrics();
        let lines = text.lines().filter_map(|line| line.strip_prefix("bimcc_rtc_"));
        lines
            .filter(|line| line.starts_with(prefix))
            .map(|line| line.rsplit_once(' ').unwrap().1.parse::<i64>().unwrap())
            .sum()
    }

    pub fn metrics(&self) -> String {
        self.get(self.admin, "/metrics")
    }

    pub fn metric_becomes(&self, name: &str, value: i64) {
        let deadline = Instant::now() + PATIENCE;
        while self.metric(name) != value {
            assert!(Instant::now() < deadline, "{name} is {}, not {value}\n{}", self.metric(name), self.metrics());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the server holds nothing for any client.
    pub fn all_gauges_become_zero(&self) {
        for gauge in [
            "rooms",
            "members",
            "connections",
            "directory_entries",
            "turn_sessions",
            "turn_allocations",
            "turn_permissions",
            "turn_channels",
        ] {
            self.metric_becomes(gauge, 0);
        }
    }

    pub fn pid(&self) -> u32 {
        self.spawned.pid()
    }

    /// How many files it has open.
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// The processor time that it has used.
    pub fn processor_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        // The ticks are hundredths of a second.
        Duration::from_millis(10 * fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum::<u64>())
    }

    /// Resident memory in bytes.
    pub fn resident_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().strip_suffix("kB").unwrap().trim().parse::<u64>().unwrap() * 1024
    }

    fn get(&self, address: SocketAddr, path: &str) -> String {
        self.ask(address, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
    }

    /// The whole answer to a request, with the head.
    pub fn ask(&self, address: SocketAddr, request: &str) -> String {
        let ask = || {
            let mut tcp = TcpStream::connect_timeout(&address, PATIENCE)?;
            tcp.set_read_timeout(Some(PATIENCE))?;
            tcp.write_all(request.as_bytes())?;
            let mut answer = String::new();
            tcp.read_to_string(&mut answer)?;
            Ok::<_, std::io::Error>(answer)
        };
        match &self.spawned.namespace {
            Some(namespace) => namespace.run(ask).unwrap(),
            None => ask().unwrap(),
        }
    }
}

/// A port that is currently free for UDP and TCP of both families, below the range from which the kernel chooses ports.
pub fn free_port() -> u16 {
    loop {
        let port = rand::random_range(10_000..30_000);
        let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        let v6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        let is_free = |address: SocketAddr| {
            let in_use = |error: std::io::Error| error.kind() == std::io::ErrorKind::AddrInUse;
            let udp = UdpSocket::bind(address).map(drop).map_err(in_use);
            let tcp = std::net::TcpListener::bind(address).map(drop).map_err(in_use);
            udp != Err(true) && tcp != Err(true)
        };
        if is_free(v4) && is_free(v6) {
            return port;
        }
    }
}

/// A few ports in a row that are free on all addresses.
pub fn free_ports(count: u16) -> RelayPorts {
    loop {
        let first = free_port();
        let last = first + count - 1;
        if (first..=last).all(|port| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()) {
            return RelayPorts::Range { first, last };
        }
    }
}

/// Username and password, from anywhere in an iceServers list.
pub fn find_credentials(json: &Value) -> Option<Credentials> {
    match json {
        Value::Object(object) => {
            let text = |name: &str| object.get(name).and_then(Value::as_str).map(str::to_owned);
            match (text("username"), text("credential")) {
                (Some(username), Some(password)) => Some(Credentials { username, password }),
                _ => object.values().find_map(find_credentials),
            }
        }
        Value::Array(array) => array.iter().find_map(find_credentials),
        _ => None,
    }
}
