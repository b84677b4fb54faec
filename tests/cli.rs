//! The program as people start it: the exit code and output for flags, environment and file.
#![allow(clippy::unwrap_used)]

use std::{
    io::{BufRead, BufReader},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;

/// Runs the program without variables and with its own home directory.
struct World {
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    fn run(&self, args: &[&str], variables: &[(&str, &str)]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_bimcc-rtc"))
            .args(args)
            .current_dir(self.dir.path())
            .env_clear()
            .env("HOME", self.dir.path())
            .envs(variables.iter().copied())
            .output()
            .unwrap()
    }

    fn mint(&self, args: &[&str], variables: &[(&str, &str)]) -> Value {
        let args: Vec<_> = ["mint"].iter().chain(args).copied().collect();
        let output = self.run(&args, variables);
        assert!(output.status.success(), "{}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn str(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn all_mistakes_are_told_at_once_with_their_places() {
    let world = World::new();
    let config = world.file("rtc.toml", "max-rooms = \"none\"\nmax_peers_per_room = 5\n");
    let ca = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let cert = world.file("cert.pem", &ca.cert.pem());
    let key = world.file("key.pem", &rcgen::KeyPair::generate().unwrap().serialize_pem());
    let output = world.run(
        &[
            "--listen",
            "nowhere",
            "--relay-ports",
            "60000-50000",
            "--allow-peer",
            "10.0.0.0/40",
            "--deny-peer",
            "::/200",
            "--tls",
            "--tls-cert",
            str(&cert),
            "--tls-key",
            str(&key),
            "--secret-file",
            "absent",
            "--config",
            str(&config),
        ],
        &[("BIMCC_RTC_CREDENTIAL_TTL", "1 fortnight"), ("BIMCC_RTC_PUBLIC_IP", "203.0.113.5,203.0.113.6")],
    );
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    let place_of_file = |key: &str| format!("{key} in {}", config.display());
    for place in [
        "--listen: ",
        "--relay-ports: ",
        "--allow-peer: ",
        "--deny-peer: ",
        "--tls-key: ",
        "--secret-file: ",
        "BIMCC_RTC_CREDENTIAL_TTL: ",
        "BIMCC_RTC_PUBLIC_IP: ",
        &place_of_file("max-rooms"),
        &place_of_file("\"max_peers_per_room\""),
    ] {
        assert_eq!(text.matches(place).count(), 1, "{place:?} in:\n{text}");
    }
    assert!(text.contains("10 mistakes"), "{text}");
    assert!(text.contains("is not the key of"), "{text}");
    assert!(output.stdout.is_empty());
    assert!(!world.dir.path().join(".local").exists(), "a refused start leaves nothing behind");
}

/// An error of the state directory names the directory, not the certificate that would be in it.
#[test]
fn what_cannot_be_a_state_directory_is_told_by_its_flag() {
    let world = World::new();
    world.file("file", "");
    std::os::unix::fs::symlink("absent", world.dir.path().join("dangling")).unwrap();
    for (path, word) in [("file", "no directory"), ("file/below", "no directory"), ("dangling", "absent")] {
        for tls in [&[][..], &["--tls"]] {
            let output = world.run(&[&["--state-dir", path], tls].concat(), &[]);
            let text = stderr(&output);
            assert_eq!(output.status.code(), Some(2), "{text}");
            assert!(text.contains("one mistake") && !text.contains("--tls-cert"), "{text}");
            assert!(text.contains("--state-dir: ") && text.contains(word), "{text}");
        }
        let output = world.run(&["--tls", "--tls-cert", "absent", "--tls-key", "absent", "--state-dir", path], &[]);
        assert!(stderr(&output).contains("3 mistakes"), "what was named is looked at: {}", stderr(&output));
        let output = world.run(&["--tls"], &[("BIMCC_RTC_STATE_DIR", path)]);
        assert!(stderr(&output).contains("BIMCC_RTC_STATE_DIR: "), "{}", stderr(&output));
        // With the secret, `mint` works anyway.
        world.mint(&["--state-dir", path, "--secret", "s", "--host", "h"], &[]);
    }
}

/// If the test runs as root, the program runs without root's special rights.
#[test]
fn a_state_directory_of_no_use_to_this_user_is_told_by_its_flag() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    let run = |args: &[&str]| {
        let mut words = vec![env!("CARGO_BIN_EXE_bimcc-rtc")];
        if nix::unistd::geteuid().is_root() {
            words.splice(0..0, ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]);
        }
        let ports = ["--listen", "127.0.0.1:0", "--turn-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).args(ports).args(["--relay-ports", "none", "--state-dir", "state"]).args(args);
        command.current_dir(world.dir.path()).env_clear().env("PATH", "/usr/bin:/bin").output().unwrap()
    };
    let state = world.dir.path().join("state");
    std::fs::create_dir(&state).unwrap();
    for (mode, code, word) in [(0o000, 2, "entered"), (0o600, 2, "entered"), (0o500, 1, "write to the state directory")]
    {
        std::fs::set_permissions(&state, std::fs::Permissions::from_mode(mode)).unwrap();
        for args in [&[][..], &["--tls"], &["--tls", "--secret", "0123456789abcdef"]] {
            let output = run(args);
            let text = stderr(&output);
            assert_eq!(output.status.code(), Some(code), "{mode:o} {args:?}: {text}");
            assert!(text.contains("--state-dir") && !text.contains("--tls-cert: "), "{mode:o} {args:?}: {text}");
            assert!(text.contains(word) || args.len() > 1 && text.contains("certs"), "{mode:o} {args:?}: {text}");
        }
    }
    // A directory that cannot be made.
    std::fs::remove_dir(&state).unwrap();
    std::fs::set_permissions(world.dir.path(), std::fs::Permissions::from_mode(0o500)).unwrap();
    let output = run(&["--tls"]);
    assert!(output.status.code() == Some(1) && stderr(&output).contains("--state-dir"), "{}", stderr(&output));
    std::fs::set_permissions(world.dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn unknown_flags_and_missing_files_are_bad_usage() {
    let world = World::new();
    for args in [
        &["--acme", "example.org"][..],
        &["--listen"],
        &["frobnicate"],
        &["--config", "absent.toml"],
        &["--tls", "--tls-cert", "absent", "--tls-key", "absent"],
        &["mint", "--frobnicate"],
        &["--realm", "a", "--realm", "b"],
    ] {
        let output = world.run(args, &[]);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(!output.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn help_and_version_are_fine() {
    let world = World::new();
    for args in [&["--help"][..], &["-h"], &["serve", "--help"], &["mint", "--help"], &["--version"]] {
        let output = world.run(args, &[]);
        assert!(output.status.success() && !output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn flag_beats_environment_beats_file_beats_default() {
    let world = World::new();
    let config = world.file("rtc.toml", "public-host = 'file.example'\nturn-listen = [5000]\ncredential-ttl = '2h'\n");
    let host_and_port = |args: &[&str], variables: &[(&str, &str)]| {
        let args: Vec<_> = ["--secret", "s"].iter().chain(args).copied().collect();
        let answer = world.mint(&args, variables);
        answer["iceServers"][0]["urls"][0].as_str().unwrap().to_owned()
    };
    let file = ["--config", str(&config)];
    let variable = [("BIMCC_RTC_PUBLIC_HOST", "env.example")];
    let with_flag = [&file[..], &["--public-host", "flag.example"]].concat();
    assert_eq!(host_and_port(&with_flag, &variable), "stun:flag.example:5000");
    assert_eq!(host_and_port(&file, &variable), "stun:env.example:5000");
    assert_eq!(host_and_port(&file, &[]), "stun:file.example:5000");
    assert_eq!(host_and_port(&[], &variable), "stun:env.example:3478");
    // The path of the file can come from the environment.
    assert_eq!(host_and_port(&[], &[("BIMCC_RTC_CONFIG", str(&config))]), "stun:file.example:5000");
    let ttl = |args: &[&str]| {
        let args: Vec<_> = ["--secret", "s", "--host", "h"].iter().chain(args).copied().collect();
        world.mint(&args, &[])["ttl"].as_u64().unwrap()
    };
    assert_eq!(ttl(&[]), 6 * 3600);
    assert_eq!(ttl(&file), 2 * 3600);
    assert_eq!(ttl(&["--config", str(&config), "--ttl", "90s"]), 90);
}

#[test]
fn minted_credentials_are_what_every_turn_rest_tool_expects() {
    let world = World::new();
    let before = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let answer =
        world.mint(&["--user", "alice", "--ttl", "1h", "--host", "2001:DB8::1"], &[("BIMCC_RTC_SECRET", "s3,cret")]);
    let username = answer["username"].as_str().unwrap();
    let (expiry, user) = username.split_once(':').unwrap();
    assert_eq!(user, "alice");
    let expiry: u64 = expiry.parse().unwrap();
    assert_eq!(answer["expiresAt"].as_u64(), Some(expiry));
    assert!(expiry >= before + 3600);
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, b"s3,cret");
    let password = BASE64_STANDARD.encode(ring::hmac::sign(&key, username.as_bytes()));
    assert_eq!(answer["password"].as_str(), Some(password.as_str()));
    let turn = &answer["iceServers"][1];
    assert_eq!((&turn["username"], &turn["credential"]), (&answer["username"], &answer["password"]));
    let urls: Vec<_> = turn["urls"].as_array().unwrap().iter().map(|url| url.as_str().unwrap()).collect();
    assert!(urls.contains(&"turn:[2001:db8::1]:3478?transport=udp"), "{urls:?}");
}

#[test]
fn minting_uses_the_secret_that_the_server_made() {
    let world = World::new();
    let state = world.dir.path().join("state");
    std::fs::create_dir(&state).unwrap();
    std::fs::write(state.join("turn-secret"), "made-at-first-start").unwrap();
    let answer = world.mint(&["--state-dir", str(&state), "--host", "h"], &[]);
    let expected = bimcc_rtc::credentials::password(
        &bimcc_rtc::credentials::Secret::new(*b"made-at-first-start"),
        answer["username"].as_str().unwrap(),
    );
    assert_eq!(answer["password"].as_str(), Some(expected.as_str()));
}

#[test]
fn minting_refuses_what_would_not_work() {
    let world = World::new();
    let refusal = |args: &[&str]| {
        let args: Vec<_> = ["mint"].iter().chain(args).copied().collect();
        let output = world.run(&args, &[]);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(output.stdout.is_empty(), "{args:?}");
        stderr(&output)
    };
    let member = "m-0123456789abcdef0123456789abcdef";
    assert!(refusal(&["--secret", "s", "--host", "h", "--user", member]).contains("--user: "));
    let all = refusal(&["--user", member]);
    assert!(["--user: ", "--host: ", "--secret: "].iter().all(|flag| all.contains(flag)), "{all}");
    let all = refusal(&["--secret", "s", "--host", "a b", "--ttl", "1s", "--turn-listen", "x"]);
    assert!(["--ttl: ", "--host: ", "--turn-listen: "].iter().all(|flag| all.contains(flag)), "{all}");
    let all = refusal(&["--host", "a b", "--ttl", "1s", "--user", member, "--turn-listen", "0"]);
    for flag in ["--ttl: ", "--host: ", "--user: ", "--secret: ", "--turn-listen: "] {
        assert_eq!(all.matches(flag).count(), 1, "{flag} in {all}");
    }
}

#[test]
fn minting_needs_no_certificate() {
    let world = World::new();
    let config = world.file("rtc.toml", "tls = true\ntls-cert = 'elsewhere.pem'\ntls-key = 'elsewhere-key.pem'\n");
    let answer = world.mint(&["--config", str(&config), "--secret", "s", "--host", "h"], &[]);
    let urls: Vec<_> =
        answer["iceServers"][1]["urls"].as_array().unwrap().iter().map(|url| url.as_str().unwrap()).collect();
    assert_eq!(urls, ["turn:h:3478?transport=udp", "turn:h:3478?transport=tcp", "turns:h:5349?transport=tcp"]);
}

#[test]
fn addresses_in_use_are_named_with_their_flags_all_at_once() {
    let world = World::new();
    let tcp = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let addresses =
        [tcp[0].local_addr(), tcp[1].local_addr(), udp.local_addr()].map(|address| address.unwrap().to_string());
    let [listen, admin, turn] = &addresses;
    // The port may be within the default range of relay ports, which would be another mistake.
    let args = ["--listen", listen, "--admin-listen", admin, "--turn-listen", turn, "--relay-ports", "none"];
    let output = world.run(&args, &[]);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    for (address, flag) in addresses.iter().zip(["--listen", "--admin-listen", "--turn-listen"]) {
        assert!(text.contains(&format!("{address} ({flag})")), "{flag} in {text}");
    }
    assert!(output.stdout.is_empty(), "nothing was up, so nothing is announced");
}

#[test]
fn a_port_that_was_asked_for_is_not_given_up_silently() {
    let world = World::new();
    let taken = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let args = ["--tls", "--turns-listen", &port, "--listen", "127.0.0.1:0", "--turn-listen", "127.0.0.1:0"];
    let output = world.run(&[&args[..], &["--admin-listen", "127.0.0.1:0", "--relay-ports", "none"]].concat(), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains(&format!("0.0.0.0:{port} (--turns-listen)")), "{}", stderr(&output));
}

/// A running server that is killed with its owner.
struct Server(std::process::Child);

impl Server {
    /// Starts on free ports of 127.0.0.1 and returns what the server printed when it was ready.
    fn start(world: &World, args: &[&str]) -> (Self, String) {
        Self::start_logging_to(world, args, std::process::Stdio::inherit())
    }

    fn start_logging_to(world: &World, args: &[&str], stderr: std::process::Stdio) -> (Self, String) {
        let ports = ["--listen", "127.0.0.1:0", "--turn-listen", "127.0.0.1:0"];
        Self::spawn(world, &[&ports[..], args].concat(), stderr)
    }

    /// Starts at the addresses in `args`, and on free ports where `args` give none.
    fn start_on(world: &World, args: &[&str]) -> (Self, String) {
        let missing = ["--listen", "--turn-listen"].into_iter().filter(|flag| !args.contains(flag));
        let ports: Vec<_> = missing.flat_map(|flag| [flag, "127.0.0.1:0"]).collect();
        Self::spawn(world, &[&ports[..], args].concat(), std::process::Stdio::inherit())
    }

    fn spawn(world: &World, args: &[&str], stderr: std::process::Stdio) -> (Self, String) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_bimcc-rtc"))
            .args(["--admin-listen", "127.0.0.1:0"])
            .args(args)
            .current_dir(world.dir.path())
            .env_clear()
            .env("HOME", world.dir.path())
            .stdout(std::process::Stdio::piped())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let said: Vec<_> = lines.by_ref().take_while(|line| !line.contains("Metrics")).collect();
        std::thread::spawn(move || lines.for_each(drop));
        (Self(child), said.join("\n"))
    }

    /// Sends a signal and returns the exit code.
    fn stop(mut self, signal: &str) -> Option<i32> {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
        self.0.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // This fails if the server has already ended.
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}

#[test]
fn it_ends_in_good_order_where_nobody_reads_its_log() {
    let world = World::new();
    let (mut server, _) = Server::start_logging_to(&world, &[], std::process::Stdio::piped());
    drop(server.0.stderr.take());
    let pid = server.0.id().to_string();
    let (ended, code) = std::sync::mpsc::channel();
    std::thread::spawn(move || ended.send(server.stop("TERM")));
    let code = code.recv_timeout(std::time::Duration::from_secs(60));
    if code.is_err() {
        let _killed = Command::new("kill").args(["-s", "KILL", &pid]).status();
    }
    assert_eq!(code, Ok(Some(0)));
}

#[test]
fn signals_end_it_in_good_order() {
    let world = World::new();
    for signal in ["TERM", "INT"] {
        let (server, said) = Server::start(&world, &[]);
        assert!(said.contains("http://localhost:"), "{said}");
        assert_eq!(server.stop(signal), Some(0), "{signal}");
    }
}

#[test]
fn one_address_may_serve_for_several_flags() {
    let world = World::new();
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for other in ["--listen", "--turn-listen"] {
        let address = address.to_string();
        let (_server, said) =
            Server::start_on(&world, &["--tls", "--relay-ports", "none", "--turns-listen", &address, other, &address]);
        let url = format!("turns:localhost:{}?transport=tcp", address.rsplit(':').next().unwrap());
        assert_eq!(said.matches(&url).count(), 1, "{other}: {said}");
    }
}

#[test]
fn both_families_get_one_port_where_any_will_do() {
    let world = World::new();
    let (_server, said) = Server::start_on(&world, &["--listen", "0", "--turn-listen", "0"]);
    for scheme in ["http://", "stun:"] {
        let of_scheme = said.split_whitespace().filter(|word| word.starts_with(scheme) && !word.ends_with("/metrics"));
        let ports: std::collections::BTreeSet<_> =
            of_scheme.map(|url| url.trim_end_matches('/').rsplit(':').next().unwrap()).collect();
        assert_eq!(ports.len(), 1, "{said}");
    }
}

#[test]
fn what_the_first_start_makes_is_private_and_stays() {
    let world = World::new();
    let made = [
        "state/turn-secret",
        "state/member-key",
        "state/nonce-key",
        "state/resume-key",
        "state/log-key",
        "state/certs/ca-key.pem",
        "state/certs/key.pem",
        "state/certs/cert.pem",
        "state/certs/ca.pem",
    ];
    let start = || {
        let (server, said) = Server::start(&world, &["--tls", "--state-dir", "state"]);
        assert!(said.contains("https://localhost:"), "{said}");
        assert_eq!(server.stop("TERM"), Some(0));
        made.map(|name| std::fs::read(world.dir.path().join(name)).unwrap())
    };
    let first = start();
    for name in &made[..6] {
        let mode = std::fs::metadata(world.dir.path().join(name)).unwrap().mode() & 0o777;
        assert_eq!(mode, 0o600, "{name}");
    }
    assert_eq!(start(), first);
    let answer = world.mint(&["--state-dir", "state", "--host", "h"], &[]);
    let secret = bimcc_rtc::credentials::Secret::new(first[0].clone());
    let expected = bimcc_rtc::credentials::password(&secret, answer["username"].as_str().unwrap());
    assert_eq!(answer["password"].as_str(), Some(expected.as_str()));
}
