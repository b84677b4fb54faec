//! Defaults of the program: the place of certificates, and ports that may be replaced by others.
#![allow(clippy::unwrap_used)]

mod common;

use std::{
    fs,
    net::TcpListener,
    os::unix::{
        fs::{PermissionsExt, chown, symlink},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use common::{netns::Namespace, process::PATIENCE, say_skipped};
use nix::unistd::geteuid;
use tempfile::TempDir;

/// A user without any rights.
const STRANGER: u32 = 65_534;

/// A home directory, which contains the state directory.
struct World(TempDir);

/// A server that is killed with its owner.
struct Server {
    child: Child,
    /// Everything that it printed at the start.
    said: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn has_ca(&self, file: &Path) -> bool {
        self.said.contains(&format!("{}", file.display()))
    }

    fn doubts(&self) -> Vec<&str> {
        self.said.lines().filter_map(|line| line.trim().strip_prefix("! ")).collect()
    }

    fn metrics_port(&self) -> u16 {
        let url = self.said.split_whitespace().find(|word| word.ends_with("/metrics")).unwrap();
        url.trim_end_matches("/metrics").rsplit(':').next().unwrap().parse().unwrap()
    }
}

impl World {
    fn new() -> Self {
        let world = Self(tempfile::tempdir().unwrap());
        fs::set_permissions(world.0.path(), fs::Permissions::from_mode(0o755)).unwrap();
        world
    }

    /// A directory of this user.
    fn dir(&self, name: &str) -> PathBuf {
        let dir = self.0.path().join(name);
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    fn kept(&self) -> PathBuf {
        self.0.path().join(".local/state/bimcc-rtc/certs")
    }

    fn command(&self, current_dir: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bimcc-rtc"));
        command.args(args).current_dir(current_dir).env_clear().env("HOME", self.0.path());
        command
    }

    fn start(&self, mut command: Command) -> Server {
        let said = tempfile::NamedTempFile::new().unwrap();
        let child = command.stdin(Stdio::null()).stdout(said.reopen().unwrap()).spawn().unwrap();
        let mut server = Server { child, said: String::new() };
        let deadline = Instant::now() + PATIENCE;
        // The text ends with an empty line.
        while !server.said.contains("Metrics") || !server.said.ends_with("\n\n") {
            assert!(server.child.try_wait().unwrap().is_none(), "it ended");
            assert!(Instant::now() < deadline, "it does not start: {}", server.said);
            thread::sleep(Duration::from_millis(5));
            server.said = fs::read_to_string(said.path()).unwrap();
        }
        server
    }

    /// Starts a server with TLS and without paths of its files.
    fn tls_in(&self, current_dir: &Path) -> Server {
        self.start(self.command(current_dir, TLS))
    }
}

const TLS: &[&str] = &[
    "--tls",
    "--listen",
    "127.0.0.1:0",
    "--turn-listen",
    "127.0.0.1:0",
    "--turns-listen",
    "127.0.0.1:0",
    "--admin-listen",
    "127.0.0.1:0",
    "--log",
    "warn",
];

#[test]
fn one_ca_is_made_wherever_the_server_is_started() {
    let world = World::new();
    let places = [world.dir("one"), world.dir("two"), PathBuf::from("/")];
    // A fresh checkout has this file.
    fs::create_dir(places[1].join("certs")).unwrap();
    fs::write(places[1].join("certs/README.md"), "words").unwrap();
    let mut made = None;
    for place in &places {
        let server = world.tls_in(place);
        assert!(server.has_ca(&world.kept().join("ca.pem")), "{}", server.said);
        let ca = fs::read(world.kept().join("ca.pem")).unwrap();
        assert_eq!(*made.get_or_insert(ca.clone()), ca, "{}", place.display());
        assert_eq!(server.said.contains("A local CA was made"), place == &places[0], "{}", server.said);
        assert!(!server.doubts().iter().any(|doubt| doubt.contains("cert")), "{}", server.said);
    }
    assert!(!places[0].join("certs").exists());
    assert_eq!(fs::read_dir(places[1].join("certs")).unwrap().count(), 1);
}

#[test]
fn a_pair_of_the_current_directory_is_kept() {
    let world = World::new();
    let here = world.dir("checkout");
    drop(world.tls_in(&here));
    fs::rename(world.kept(), here.join("certs")).unwrap();
    let ca = fs::read(here.join("certs/ca.pem")).unwrap();
    let server = world.tls_in(&here);
    assert!(server.said.contains("the local CA certs/ca.pem"), "{}", server.said);
    assert_eq!(fs::read(here.join("certs/ca.pem")).unwrap(), ca);
    assert!(!world.kept().exists());
    drop(server);

    // The same works through a link of this user.
    let linked = world.dir("linked");
    symlink(here.join("certs"), linked.join("certs")).unwrap();
    assert!(world.tls_in(&linked).said.contains("the local CA certs/ca.pem"));

    // A start in another directory makes another pair. From then on it is not certain which one is meant.
    let elsewhere = world.tls_in(&world.dir("elsewhere"));
    assert!(elsewhere.said.contains("A local CA was made"), "{}", elsewhere.said);
    let server = world.tls_in(&here);
    assert!(server.has_ca(&world.kept().join("ca.pem")), "{}", server.said);
    assert!(server.doubts().iter().any(|doubt| doubt.contains("two certificates")), "{}", server.said);
    // Two copies of the same pair count as one.
    for name in ["cert.pem", "key.pem"] {
        fs::copy(world.kept().join(name), here.join("certs").join(name)).unwrap();
    }
    let server = world.tls_in(&here);
    assert!(!server.doubts().iter().any(|doubt| doubt.contains("certs")), "{}", server.said);
}

#[test]
fn what_others_may_have_put_there_is_not_served() {
    let world = World::new();
    let here = world.dir("shared");
    drop(world.tls_in(&here));
    fs::rename(world.kept(), here.join("certs")).unwrap();
    let planted = fs::read(here.join("certs/cert.pem")).unwrap();
    let refused = |why: &str| {
        let server = world.tls_in(&here);
        let doubt = server.doubts().into_iter().find(|doubt| doubt.contains("is not used")).map(str::to_owned);
        assert!(doubt.as_ref().is_some_and(|doubt| doubt.contains(why)), "{why}: {}", server.said);
        assert_ne!(fs::read(world.kept().join("cert.pem")).unwrap(), planted, "{why}");
    };
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    mode(&here.join("certs"), 0o777);
    refused("others can write there");
    mode(&here.join("certs"), 0o755);
    mode(&here, 0o777);
    refused("others can put another in its place");
    mode(&here, 0o755);
    if geteuid().is_root() {
        chown(here.join("certs"), Some(STRANGER), None).unwrap();
        refused("it belongs to another user");
        chown(here.join("certs"), Some(0), None).unwrap();
        chown(&here, Some(STRANGER), None).unwrap();
        refused("others can put another in its place");
        chown(&here, Some(0), None).unwrap();
        fs::rename(here.join("certs"), here.join("away")).unwrap();
        symlink("away", here.join("certs")).unwrap();
        std::os::unix::fs::lchown(here.join("certs"), Some(STRANGER), None).unwrap();
        refused("it belongs to another user");
    }
}

/// Opening such a pipe would wait for a writer for ever.
#[test]
fn a_planted_pipe_is_not_opened() {
    let world = World::new();
    let here = world.dir("shared");
    fs::create_dir(here.join("certs")).unwrap();
    fs::set_permissions(here.join("certs"), fs::Permissions::from_mode(0o777)).unwrap();
    for name in ["cert.pem", "key.pem"] {
        assert!(Command::new("mkfifo").arg(here.join("certs").join(name)).status().unwrap().success());
    }
    assert!(world.tls_in(&here).has_ca(&world.kept().join("ca.pem")));
}

#[test]
fn half_a_pair_is_told_and_nothing_is_made_beside_it() {
    let world = World::new();
    let here = world.dir("checkout");
    drop(world.tls_in(&here));
    fs::create_dir(here.join("certs")).unwrap();
    let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    fs::write(here.join("certs/cert.pem"), pair.cert.pem()).unwrap();
    fs::remove_dir_all(world.kept()).unwrap();
    let output = world.command(&here, TLS).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("certs/key.pem"), "{text}");
}

#[test]
fn an_unprivileged_user_starts_in_the_root_directory() {
    if !geteuid().is_root() {
        return say_skipped("another user is needed (run as root)");
    }
    let world = World::new();
    // Other users may not be able to read the build directory.
    let program = world.0.path().join("bimcc-rtc");
    fs::copy(env!("CARGO_BIN_EXE_bimcc-rtc"), &program).unwrap();
    chown(world.0.path(), Some(STRANGER), None).unwrap();
    let mut command = Command::new(program);
    command.args(TLS).current_dir("/").env_clear().env("HOME", world.0.path()).uid(STRANGER);
    let server = world.start(command);
    assert!(server.has_ca(&world.kept().join("ca.pem")), "{}", server.said);
}

#[test]
fn a_second_server_takes_the_next_port_for_its_metrics() {
    let Some(host) = Namespace::new() else { return };
    let world = World::new();
    let args = ["--listen", "127.0.0.1:0", "--turn-listen", "127.0.0.1:0", "--log", "warn"];
    let start = |more: &[&str]| host.run(|| world.start(world.command(world.0.path(), &[&args[..], more].concat())));
    let first = start(&[]);
    assert_eq!(first.metrics_port(), 9641);
    assert!(!first.said.contains("--admin-listen"), "{}", first.said);
    let second = start(&[]);
    assert_eq!(second.metrics_port(), 9642);
    let doubts = second.doubts();
    assert!(doubts.iter().any(|doubt| doubt.contains("9641") && doubt.contains("127.0.0.1:9642")), "{}", second.said);
    let taken: Vec<_> = host.run(|| (9643..9700).map(|port| TcpListener::bind(("127.0.0.1", port)).unwrap()).collect());
    assert!(!(9641..9700).contains(&start(&[]).metrics_port()));
    drop(taken);

    // If the port was asked for, this is an error.
    for asked in [&["--admin-listen", "9641"][..], &["--admin-listen", "127.0.0.1:9642"]] {
        let args = [&args[..], asked].concat();
        let output = host.run(|| world.command(world.0.path(), &args).output().unwrap());
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).contains("(--admin-listen)"));
    }
    drop((first, second));

    // If pages are served at that port, metrics use another one.
    let args = ["--listen", "9641", "--turn-listen", "127.0.0.1:0", "--log", "warn"];
    let server = host.run(|| world.start(world.command(world.0.path(), &args)));
    assert_eq!(server.metrics_port(), 9642);
}
