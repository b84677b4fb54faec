//! The programs under test: started on loopback with a port of their own, pinned to a core, asked for their costs.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use stun::message::MAGIC_COOKIE;
use tempfile::TempDir;

use crate::cores;

/// The shared secret of both programs.
pub(crate) const SECRET: &str = "a secret for measurements only";

/// The realm of both programs.
pub(crate) const REALM: &str = "bench";

const START_LIMIT: Duration = Duration::from_secs(10);

/// What is measured.
#[derive(Clone, Debug)]
pub(crate) enum Program {
    /// This project's server.
    BimccRtc(PathBuf),
    /// coturn's `turnserver`.
    Coturn(PathBuf),
}

impl Program {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::BimccRtc(_) => "bimcc-rtc",
            Self::Coturn(_) => "coturn",
        }
    }

    /// What the program says of its version.
    pub(crate) fn version(&self) -> String {
        let (Self::BimccRtc(path) | Self::Coturn(path)) = self;
        let output = Command::new(path).arg("--version").output();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        let version = text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        format!("{} {}", self.name(), version.unwrap_or("of unknown version"))
    }

    /// Both get one worker, as they get one core; the rest is what each does by itself.
    fn command(&self, port: u16, dir: &TempDir) -> Command {
        match self {
            Self::BimccRtc(path) => {
                let mut command = Command::new(path);
                command
                    .env_clear()
                    .args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--log", "error"])
                    .args(["--turn-listen", &format!("127.0.0.1:{port}"), "--public-ip", "127.0.0.1"])
                    .args(["--workers", "1", "--realm", REALM, "--secret", SECRET])
                    .args(["--max-allocations-per-user", "100000", "--dangerously-allow-loopback-peers"])
                    .arg("--state-dir")
                    .arg(dir.path());
                command
            }
            Self::Coturn(path) => {
                let mut command = Command::new(path);
                command
                    .args(["-n", "--no-cli", "--no-tls", "--no-dtls", "--log-file=/dev/null", "--simple-log"])
                    .args(["--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", "--relay-threads=1"])
                    .arg(format!("--listening-port={port}"))
                    .args(["--allow-loopback-peers", "--use-auth-secret"])
                    .arg(format!("--static-auth-secret={SECRET}"))
                    .arg(format!("--realm={REALM}"))
                    .arg(format!("--pidfile={}", dir.path().join("pid").display()))
                    .arg(format!("--userdb={}", dir.path().join("db").display()));
                command
            }
        }
    }

    /// Starts it and waits until it answers.
    pub(crate) fn start(&self, core: usize) -> anyhow::Result<Server> {
        let dir = tempfile::tempdir()?;
        let port = free_port()?;
        let mut command = self.command(port, &dir);
        command.current_dir(dir.path()).stdin(Stdio::null()).stdout(Stdio::null());
        if matches!(self, Self::Coturn(_)) {
            // It tells its whole configuration.
            command.stderr(Stdio::null());
        }
        // A child inherits the affinity of the thread that starts it, and all its threads inherit it from there.
        let child = cores::on(core, || command.spawn())??;
        let mut server = Server { child, address: SocketAddr::from(([127, 0, 0, 1], port)), _dir: dir };
        server.wait_until_up().map_err(|error| anyhow::anyhow!("{} did not start: {error}", self.name()))?;
        Ok(server)
    }
}

/// A port that nobody uses, outside of the range of relay ports.
fn free_port() -> io::Result<u16> {
    let is_free = |port| UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let mut ports = 20_000..32_000;
    ports.find(|&port| is_free(port)).ok_or_else(|| io::Error::from(io::ErrorKind::AddrInUse))
}

/// A running program. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    _dir: TempDir,
}

impl Server {
    fn wait_until_up(&mut self) -> io::Result<()> {
        let mut binding = [0; 20];
        binding[1] = 1;
        binding[4..8].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(self.address)?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        let started = Instant::now();
        let mut last = io::Error::from(io::ErrorKind::TimedOut);
        while started.elapsed() < START_LIMIT {
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(status.to_string()));
            }
            match socket.send(&binding).and_then(|_| socket.recv(&mut [0; 512])) {
                Ok(_) => return Ok(()),
                // Refused at once while nothing listens yet.
                Err(error) => last = error,
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err(last)
    }

    /// What its threads have run so far. The kernel's work in their context is in it.
    pub(crate) fn cpu(&self) -> io::Result<Duration> {
        let mut nanos = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            let run = text.split_whitespace().next().and_then(|word| word.parse::<u64>().ok());
            nanos += run.ok_or_else(|| io::Error::other("schedstat has no run time"))?;
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// Its resident bytes.
    pub(crate) fn resident(&self) -> io::Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        Ok(kib.ok_or_else(|| io::Error::other("no VmRSS"))? * 1024)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails only if it ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
