//! SIGHUP: what is reloaded, and terminals that close. Also signals that come while the server starts.
#![allow(clippy::unwrap_used)]

mod common;

use std::{
    fs,
    io::Write,
    os::{fd::OwnedFd, unix::fs::OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use common::process::{PATIENCE, Process, Spawned, Start};
use nix::{
    fcntl::OFlag,
    pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt},
    sys::signal::Signal,
};
use serde_json::json;

/// A certificate for localhost, which can be replaced.
struct Files {
    dir: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self { dir: tempfile::tempdir().unwrap() };
        files.replace();
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn replace(&self) {
        let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        fs::write(self.path("cert.pem"), pair.cert.pem()).unwrap();
        fs::write(self.path("key.pem"), pair.signing_key.serialize_pem()).unwrap();
    }

    fn args(&self) -> String {
        let (cert, key) = (self.path("cert.pem"), self.path("key.pem"));
        format!("--log info --tls --tls-cert {} --tls-key {}", cert.display(), key.display())
    }
}

/// Waits until the server has logged this so many times.
fn says(server: &Process, text: &str, times: usize) {
    let deadline = Instant::now() + PATIENCE;
    while server.said().matches(text).count() < times {
        assert!(Instant::now() < deadline, "{text:?} is not in:\n{}", server.said());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_hangup_reads_the_certificate_anew_and_tells_the_outcome() {
    let files = Files::new();
    let server = Start::with(&files.args()).serve();
    for times in 1..=2 {
        server.signal(Signal::SIGHUP);
        says(&server, "the certificate is the same as before", times);
    }
    assert!(server.said().contains("take effect at the next start"), "{}", server.said());
    fs::write(files.path("cert.pem"), "no certificate").unwrap();
    server.signal(Signal::SIGHUP);
    says(&server, "the old one stays", 1);
    files.replace();
    server.signal(Signal::SIGHUP);
    says(&server, "new certificate loaded", 1);
    server.stop();
}

#[tokio::test]
async fn a_hangup_ends_nothing() {
    let server = Process::start("--log info");
    let (mut alice, _) = server.member("r").await;
    for times in 1..=3 {
        server.signal(Signal::SIGHUP);
        says(&server, "signal=\"SIGHUP\"", times);
    }
    let (_bob, _) = server.member("r").await;
    alice.expect("_new_peer").await;
    assert_eq!(server.metric("members"), 2);
    server.stop();
}

/// Both ends of a terminal: closing the first one closes the terminal, so no started process may inherit it.
fn terminal() -> (PtyMaster, OwnedFd) {
    let screen = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).unwrap();
    grantpt(&screen).unwrap();
    unlockpt(&screen).unwrap();
    let mut line = fs::OpenOptions::new();
    let line = line.read(true).write(true).custom_flags(OFlag::O_NOCTTY.bits()).open(ptsname_r(&screen).unwrap());
    (screen, line.unwrap().into())
}

#[tokio::test]
async fn a_terminal_that_closes_drains_the_server() {
    let (screen, line) = terminal();
    let mut server = Start::with("--log info").at_terminal(line).serve();
    let (mut alice, _) = server.member("r").await;
    // While the terminal is open, the signal is a request to reload.
    server.signal(Signal::SIGHUP);
    says(&server, "take effect at the next start", 1);
    alice.send("__ping", json!({})).await;
    alice.expect("_pong").await;
    drop(screen);
    assert!(alice.expect("_closing").await["reconnectAfter"].is_number());
    let (status, said) = server.wait();
    assert!(status.success(), "{status}: {said}");
    assert!(said.contains("the terminal closed"), "{said}");
}

#[tokio::test]
async fn under_nohup_hangups_stay_ignored() {
    let (screen, line) = terminal();
    let server = Start::with("--log info").at_terminal(line).under("nohup").serve();
    let (mut alice, _) = server.member("r").await;
    server.signal(Signal::SIGHUP);
    drop(screen);
    server.signal(Signal::SIGHUP);
    let (_bob, _) = server.member("r").await;
    alice.expect("_new_peer").await;
    assert!(!server.said().contains("SIGHUP"), "{}", server.said());
    server.stop();
}

#[test]
fn without_a_terminal_hangups_never_end_it() {
    // Starts the server like a service manager, and reloads before the first client.
    let server = Start::with("--log info").under("setsid").serve();
    for times in 1..=20 {
        server.signal(Signal::SIGHUP);
        if times % 10 == 0 {
            says(&server, "signal=\"SIGHUP\"", 1);
        }
    }
    server.stop();
}

const SIGNALS: [Signal; 3] = [Signal::SIGHUP, Signal::SIGTERM, Signal::SIGINT];

/// Checks that a server handles a signal that came too early like a later one.
fn acts_on(signal: Signal, mut server: Spawned) {
    if signal == Signal::SIGHUP {
        let server = server.serve();
        says(&server, "signal=\"SIGHUP\"", 1);
        return server.stop();
    }
    let (status, said) = server.wait();
    assert!(status.success(), "{signal}: {status}: {said}");
    assert!(said.contains("shutting down") && said.contains(signal.as_str()), "{said}");
}

/// The writing end of a pipe, once somebody has opened the other end.
fn writer(pipe: &Path) -> fs::File {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match fs::OpenOptions::new().write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(pipe) {
            Ok(writer) => return writer,
            Err(error) => assert!(Instant::now() < deadline, "nobody reads it: {error}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_signal_while_the_configuration_is_read_waits_its_turn() {
    for signal in SIGNALS {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("secret");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let server = Start::with(&format!("--log info --secret-file {}", pipe.display())).spawn();
        let mut secret = writer(&pipe);
        server.signal(signal);
        secret.write_all(b"0123456789abcdef").unwrap();
        drop(secret);
        acts_on(signal, server);
    }
}

/// Whether a process holds back or handles a signal. Nobody can do this before its first instruction.
fn is_ready_for(signal: Signal, server: &Spawned) -> bool {
    let proc = PathBuf::from(format!("/proc/{}", server.pid()));
    let status = fs::read_to_string(proc.join("status")).unwrap();
    let has = |mask: &str| {
        let mask = status.lines().find_map(|line| line.strip_prefix(mask)).unwrap().trim();
        u64::from_str_radix(mask, 16).unwrap() & 1 << (signal as u32 - 1) != 0
    };
    // Before it runs this program, it is a copy of the test process.
    let is_itself = fs::read_link(proc.join("exe")).is_ok_and(|exe| exe.ends_with("bimcc-rtc"));
    is_itself && (has("SigBlk:") || has("SigCgt:"))
}

#[test]
fn a_signal_in_the_first_moments_is_never_lost_nor_the_end() {
    for round in 0..60 {
        let signal = SIGNALS[round % SIGNALS.len()];
        let server = Start::with("--log info").spawn();
        let deadline = Instant::now() + PATIENCE;
        while !is_ready_for(signal, &server) {
            assert!(Instant::now() < deadline, "never ready for {signal}");
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_micros(round as u64 * 50));
        server.signal(signal);
        acts_on(signal, server);
    }
}
