//! The programs under test, and how each is configured to do the same.

use std::{
    fmt::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    str::FromStr,
};

use anyhow::{Context, ensure};

use crate::{
    cores,
    server::{Place, Server},
};

/// The shared secret of all programs.
pub(crate) const SECRET: &str = "a secret for measurements only";

/// The realm of all programs.
pub(crate) const REALM: &str = "bench";

/// The form of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// This project's server.
    BimccRtc,
    /// coturn's `turnserver`, or a build of it.
    Coturn,
    /// Any other program: its arguments have placeholders for port, secret and so on.
    Other,
}

/// A program to measure.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) name: String,
    kind: Kind,
    path: PathBuf,
    /// The arguments after those that its kind always gets.
    arguments: Vec<String>,
}

impl Program {
    pub(crate) fn bimcc_rtc(name: String, path: PathBuf) -> Self {
        Self { name, kind: Kind::BimccRtc, path, arguments: Vec::new() }
    }

    pub(crate) fn coturn(path: PathBuf) -> Self {
        Self { name: "coturn".to_owned(), kind: Kind::Coturn, path, arguments: Vec::new() }
    }

    /// Whether it is a build of this project; then its failure is a failure of the bench.
    pub(crate) fn is_ours(&self) -> bool {
        self.kind == Kind::BimccRtc
    }

    /// The program's name, with its version as it reports it, and its arguments.
    pub(crate) fn described(&self) -> String {
        let output = Command::new(&self.path).arg("--version").output();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        let version = text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        let mut described = format!("{} ({}", self.name, version.unwrap_or("of unknown version"));
        for argument in &self.arguments {
            let _ = write!(described, " {argument}");
        }
        described + ")"
    }

    /// Each program gets as many workers as it has cores; everything else is its default.
    fn command(&self, place: &Place) -> Command {
        let mut command = Command::new(&self.path);
        let (port, tls_port, dir) = (place.port, place.tls_port, &place.dir);
        match self.kind {
            Kind::BimccRtc => {
                command
                    .env_clear()
                    .args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--log", "error"])
                    .args(["--turn-listen", &format!("127.0.0.1:{port}"), "--public-ip", "127.0.0.1"])
                    .args(["--workers", &place.workers.to_string(), "--realm", REALM, "--secret", SECRET])
                    .args(["--max-allocations-per-user", "100000", "--dangerously-allow-loopback-peers"])
                    .arg("--state-dir")
                    .arg(dir);
                if place.tls {
                    command
                        .args(["--tls", "--turns-listen", &format!("127.0.0.1:{tls_port}")])
                        .arg("--tls-cert")
                        .arg(place.certificate_file())
                        .arg("--tls-key")
                        .arg(place.key_file());
                }
            }
            Kind::Coturn => {
                command
                    .args(["-n", "--no-cli", "--no-dtls", "--log-file=/dev/null", "--simple-log"])
                    .args(["--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1"])
                    .arg(format!("--relay-threads={}", place.workers))
                    .arg(format!("--listening-port={port}"))
                    .args(["--allow-loopback-peers", "--use-auth-secret"])
                    .arg(format!("--static-auth-secret={SECRET}"))
                    .arg(format!("--realm={REALM}"))
                    .arg(format!("--pidfile={}", dir.join("pid").display()))
                    .arg(format!("--userdb={}", dir.join("db").display()));
                if place.tls {
                    command
                        .arg(format!("--tls-listening-port={tls_port}"))
                        .arg(format!("--cert={}", place.certificate_file().display()))
                        .arg(format!("--pkey={}", place.key_file().display()));
                } else {
                    command.arg("--no-tls");
                }
                command.args(&self.arguments);
            }
            Kind::Other => {
                let words = [
                    ("{port}", port.to_string()),
                    ("{tls-port}", tls_port.to_string()),
                    ("{workers}", place.workers.to_string()),
                    ("{secret}", SECRET.to_owned()),
                    ("{realm}", REALM.to_owned()),
                    ("{dir}", dir.display().to_string()),
                    ("{cert}", place.certificate_file().display().to_string()),
                    ("{key}", place.key_file().display().to_string()),
                ];
                command.args(self.arguments.iter().map(|argument| {
                    words.iter().fold(argument.clone(), |argument, (word, value)| argument.replace(word, value))
                }));
            }
        }
        command
    }

    /// Starts the program and waits until it answers.
    pub(crate) fn start(&self, place: Place) -> anyhow::Result<Server> {
        let mut command = self.command(&place);
        command.current_dir(&place.dir).stdin(Stdio::null()).stdout(Stdio::null());
        if !self.is_ours() {
            // coturn prints its whole configuration.
            command.stderr(Stdio::null());
        }
        // A child inherits the affinity of the thread that starts it, and all its threads inherit that.
        let child = cores::on(&place.cores, || command.spawn())??;
        let mut server = Server::new(child, place);
        server.wait_until_up().with_context(|| format!("{} did not start", self.name))?;
        Ok(server)
    }
}

/// A rival as it is written on the command line: `NAME=PATH,ARGUMENTS`. If `{port}` is among the arguments, they are
/// the whole command line; otherwise they are added to the arguments that coturn gets.
impl FromStr for Program {
    type Err = anyhow::Error;

    fn from_str(typed: &str) -> anyhow::Result<Self> {
        let (name, rest) = typed.split_once('=').context("NAME=PATH or NAME=PATH,ARGUMENTS")?;
        let (path, arguments) = rest.split_once(',').unwrap_or((rest, ""));
        ensure!(!name.is_empty() && !name.contains('|'), "a rival needs a name, without |");
        ensure!(Path::new(path).is_file(), "there is no program {path}");
        let path = std::path::absolute(path)?;
        let kind = if arguments.contains("{port}") { Kind::Other } else { Kind::Coturn };
        let arguments = arguments.split_whitespace().map(str::to_owned).collect();
        Ok(Self { name: name.to_owned(), kind, path, arguments })
    }
}
