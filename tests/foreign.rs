//! Other people's TURN clients against this server: the programs in `tests/foreign` send bytes from relay to relay.
//! Clients that are not installed are skipped.
#![allow(clippy::unwrap_used)]

mod common;

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use common::{
    say_skipped,
    ways::{Way, World},
};

const ALL: &[Way] = &[Way::Udp, Way::Tcp, Way::Tls];

/// How many bytes each program sends in one direction.
const BYTES: i64 = 2374;

fn programs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign")
}

/// Runs a program to its end. The error is its output.
fn run(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}\n{}{}", output.status, said(&output.stdout), said(&output.stderr)))
}

/// Runs both ends of a client over each of `ways`; `command` is the beginning of the command line.
fn relays_over(ways: &[Way], command: &[&str]) {
    let world = World::start("");
    let credentials = world.server.mint("foreign");
    for way in ways {
        let in_process = "turn_relayed_bytes_total{direction=\"client_to_client\",path=\"in_process\"}";
        let (transport, host, streams) = match way {
            Way::Udp => ("udp", "127.0.0.1", None),
            Way::Tcp => ("tcp", "127.0.0.1", Some("turn_streams_opened_total{transport=\"tcp\"}")),
            // TLS requires a name.
            _ => ("tls", "localhost", Some("turn_streams_opened_total{transport=\"tls\"}")),
        };
        let before = (world.server.metric(in_process), streams.map(|name| world.server.metric(name)));
        let mut program = Command::new("timeout");
        program.arg("60").args(command).args([transport, host, &world.address(*way).port().to_string()]);
        program.args([&credentials.username, &credentials.password]).arg(world.server.ca()).current_dir(programs());
        // Python must not leave compiled files among the sources.
        program.env("PYTHONDONTWRITEBYTECODE", "1");
        run(&mut program).unwrap_or_else(|said| panic!("{transport}: {said}"));
        let relayed = world.server.metric(in_process) - before.0;
        assert!(relayed >= 2 * BYTES, "{transport}: {relayed} bytes from relay to relay");
        if let Some((name, before)) = streams.zip(before.1) {
            assert!(world.server.metric(name) >= before + 2, "{transport}");
        }
    }
}

/// The Python that `./test.sh` puts these packages into.
fn python_with(module: &str) -> Option<String> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/foreign/python/bin/python3");
    let python = python.to_str().unwrap().to_owned();
    match run(Command::new(&python).args(["-c", &format!("import {module}")])) {
        Ok(()) => Some(python),
        Err(_) => {
            say_skipped(&format!("{module} is not in target/foreign/python"));
            None
        }
    }
}

fn has_npm_package(name: &str) -> bool {
    let is_there = programs().join("node_modules").join(name).exists();
    if !is_there {
        say_skipped(&format!("{name} is not in tests/foreign/node_modules"));
    }
    is_there
}

#[test]
fn aioice() {
    if let Some(python) = python_with("aioice") {
        relays_over(ALL, &[&python, "aioice_relay.py"]);
    }
}

#[test]
fn libwebrtc() {
    if let Some(python) = python_with("webrtc") {
        relays_over(&[Way::Udp, Way::Tcp], &[&python, "libwebrtc_relay.py"]);
    }
}

#[test]
fn libnice() {
    // Debian's packages only work with Debian's Python.
    let python = "/usr/bin/python3";
    let import = "import gi; gi.require_version('Nice', '0.1')";
    match run(Command::new(python).args(["-c", import])) {
        Ok(()) => relays_over(&[Way::Udp, Way::Tcp], &[python, "libnice_relay.py"]),
        Err(_) => say_skipped("gir1.2-nice-0.1 or python3-gi is not installed"),
    }
}

#[test]
fn libre() {
    if !Path::new("/usr/include/re/re.h").exists() {
        return say_skipped("libre-dev is not installed");
    }
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("libre_relay");
    let source = programs().join("libre_relay.c");
    run(Command::new("cc").arg("-o").arg(&program).arg(source).arg("-lre")).unwrap_or_else(|said| panic!("{said}"));
    relays_over(ALL, &[program.to_str().unwrap()]);
}

#[test]
fn werift() {
    if has_npm_package("werift") {
        relays_over(ALL, &["node", "werift-relay.mjs"]);
    }
}

#[test]
fn libjuice_by_node_datachannel() {
    if has_npm_package("node-datachannel") {
        relays_over(&[Way::Udp], &["node", "node-datachannel-relay.mjs"]);
    }
}

#[test]
fn pion() {
    let sources = "/usr/share/gocode";
    let is_there = Path::new(sources).join("src/github.com/pion/turn/v2").exists();
    if !is_there || run(Command::new("go").arg("version")).is_err() {
        return say_skipped("golang-go or golang-github-pion-turn.v2-dev is not installed (./test.sh --long)");
    }
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("pion_relay");
    let mut build = Command::new("go");
    build.args(["build", "-o"]).arg(&program).arg(".").current_dir(programs().join("pion"));
    // The build uses only Debian's sources and no module proxy.
    build.env("GO111MODULE", "off").env("GOPATH", sources).env("GOCACHE", dir.path().join("cache")).env("GOFLAGS", "");
    run(&mut build).unwrap_or_else(|said| panic!("{said}"));
    relays_over(ALL, &[program.to_str().unwrap()]);
}
