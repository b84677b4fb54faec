//! Uses the same credentials with this server and with Debian's coturn.
#![allow(clippy::unwrap_used)]

mod common;

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::{Child, Command, Stdio},
    time::{Instant, SystemTime},
};

use bimcc_rtc::credentials::{Secret, password};
use common::{
    process::{PATIENCE, Process, free_port},
    turn_client::{Credentials, TurnClient},
};

const SECRET: &str = "a-secret-that-both-have";

/// The server of coturn, killed when dropped.
struct Coturn {
    child: Child,
    at: SocketAddr,
    _dir: tempfile::TempDir,
}

impl Coturn {
    /// Returns `None` if it is not installed.
    fn start() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        // Debian installs it in a directory that may not be in PATH.
        let path = format!("{}:/usr/sbin:/usr/local/sbin", std::env::var("PATH").unwrap_or_default());
        let child = Command::new("turnserver")
            .env("PATH", path)
            .args(["-n", "--no-cli", "--no-tls", "--no-dtls", "--no-tcp", "--log-file", "stdout"])
            .args(["--listening-ip", "127.0.0.1", "--relay-ip", "127.0.0.1", "--realm", "test"])
            .args(["--use-auth-secret", "--static-auth-secret", SECRET, "--listening-port", &port.to_string()])
            .arg("--pidfile")
            .arg(dir.path().join("pid"))
            .arg("--userdb")
            .arg(dir.path().join("db"))
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        Some(Self { child, at: (Ipv4Addr::LOCALHOST, port).into(), _dir: dir })
    }

    /// Waits until the server answers.
    fn ready(mut self) -> Self {
        let deadline = Instant::now() + PATIENCE;
        while !TurnClient::new(self.at, None).is_in_step() {
            assert_eq!(self.child.try_wait().unwrap(), None, "coturn has ended");
            assert!(Instant::now() < deadline, "coturn does not answer");
        }
        self
    }
}

impl Drop for Coturn {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether the server accepts a back end's credential with this username. `clients` keeps the clients with an
/// allocation, so that nobody else gets their ports.
fn is_good(server: SocketAddr, username: &str, clients: &mut Vec<TurnClient>) -> bool {
    let password = password(&Secret::new(SECRET.as_bytes()), username);
    let credentials = Credentials { username: username.into(), password };
    let mut client = TurnClient::new(server, Some(&credentials));
    match client.allocate() {
        Ok(_) => {
            clients.push(client);
            true
        }
        Err(code) => {
            assert_eq!(code, 401, "{username}");
            false
        }
    }
}

#[test]
fn usernames_mean_to_both_the_same() {
    let Some(coturn) = Coturn::start() else {
        return common::say_skipped("coturn is not installed");
    };
    let coturn = coturn.ready();
    let ours = Process::start(&format!("--secret {SECRET}"));
    let mut clients = Vec::new();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let (good, over) = (now + 1000, now - 1000);
    for (username, expected) in [
        (format!("{good}"), true),
        (format!("{good}:"), true),
        (format!(":{good}"), true),
        (format!("{good}:alice"), true),
        (format!("alice:{good}"), true),
        (format!("{good}:{over}"), true),
        (format!("{good}:a:b"), true),
        (format!("alice:{good}:room"), true),
        (format!("a.b@example.org:{good}"), true),
        (format!("{good}-alice"), true),
        (format!("1x:{good}"), true),
        (format!("{over}"), false),
        (format!("{over}:alice"), false),
        (format!("alice:{over}"), false),
        (format!("{over}:{good}"), false),
        (format!("12345:{good}"), false),
        (format!("0:{good}"), false),
        (format!("alice:bob:{good}"), false),
        ("alice".to_owned(), false),
        ("alice:".to_owned(), false),
        (":alice".to_owned(), false),
    ] {
        assert_eq!(is_good(coturn.at, &username, &mut clients), expected, "coturn: {username}");
        assert_eq!(is_good(ours.turn(), &username, &mut clients), expected, "here: {username}");
    }
    // coturn reads these as some moment between 1970 and 2106.
    for username in [format!("{good}000:alice"), format!("alice:{good}000"), format!("{good}000000")] {
        assert!(!is_good(ours.turn(), &username, &mut clients), "{username}");
    }
    assert_eq!(ours.metric("turn_credential_refusals_total{reason=\"not_seconds\"}"), 3);
}
