//! Runs the inputs that the fuzz targets (`fuzz/`) have found and that are worth keeping through the same functions,
//! without a fuzzer.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "tests")]

mod arrival;
mod framing;
mod message;
mod session;
mod signaling;

use std::{fs, path::Path};

/// Runs all files of a corpus; a panic names the file.
fn replay(target: &str, run: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/fuzz").join(target);
    let mut paths: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 10, "{} should hold a corpus", directory.display());
    for path in paths {
        let input = fs::read(&path).unwrap();
        let outcome = std::panic::catch_unwind(|| run(&input));
        assert!(outcome.is_ok(), "{} does not pass", path.display());
    }
}

#[test]
fn message_corpus() {
    replay("message", message::run);
}

#[test]
fn framing_corpus() {
    replay("framing", framing::run);
}

#[test]
fn session_corpus() {
    replay("session", session::run);
}

#[test]
fn arrival_corpus() {
    replay("arrival", arrival::run);
}

#[test]
fn signaling_corpus() {
    replay("signaling", signaling::run);
}
