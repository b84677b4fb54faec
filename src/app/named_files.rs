//! The files that a configuration names: the state directory, certificate and key, secrets. Mistakes in them are
//! reported together with the mistakes in the configuration itself.

use std::{fs::File, io, os::unix::fs::FileTypeExt, path::Path, sync::mpsc, thread, time::Duration};

use crate::{
    config::{Config, ConfigError, Draft, GivenSecret},
    credentials::Secret,
    state_dir::{self, SecretSource},
    tls::{self, PemFile},
    values::tls_files::TlsFiles,
};

/// How long to wait for a writer of a pipe with a secret.
const WRITER_WAIT: Duration = Duration::from_secs(5);

/// A configuration whose files have been checked as well.
#[derive(Debug)]
pub struct Settled {
    /// The configuration.
    pub config: Config,
    /// Certificate and key, if TLS is on. They may still have to be made.
    pub tls: Option<TlsFiles>,
    /// TURN shared secrets.
    pub secrets: SecretSource,
}

impl Settled {
    /// For a server: every named file must be usable.
    ///
    /// # Errors
    /// All mistakes at once, including those of the draft.
    pub fn to_serve(mut draft: Draft) -> Result<Self, ConfigError> {
        let mistake = state_dir::mistake(&draft.config().state_dir);
        if let Some(mistake) = &mistake {
            draft.note("state-dir", mistake);
        }
        let tls = tls_files(draft.config());
        // A mistake in the directory has been reported, and it is the only cause of errors with files in it.
        let to_check = tls.as_ref().filter(|files| !files.are_default || mistake.is_none());
        for (file, problem) in to_check.map(tls::check).unwrap_or_default() {
            let key = match file {
                PemFile::Certificate => "tls-cert",
                PemFile::Key => "tls-key",
            };
            draft.note(key, problem);
        }
        let secrets = secrets(&mut draft);
        Ok(Self { config: draft.finish()?, tls, secrets })
    }

    /// For `mint`, which may run as another user or on another machine: it does not check the certificate and the state
    /// directory.
    ///
    /// # Errors
    /// All mistakes at once, including those of the draft.
    pub fn to_mint(mut draft: Draft) -> Result<Self, ConfigError> {
        let secrets = secrets(&mut draft);
        Ok(Self { config: draft.finish()?, tls: None, secrets })
    }
}

fn tls_files(config: &Config) -> Option<TlsFiles> {
    let setting = config.tls.as_ref()?;
    let files = match &setting.files {
        Some((cert, key)) => {
            TlsFiles { cert: cert.clone(), key: key.clone(), are_default: false, local_ca_any_ip: false }
        }
        None => tls::place::default_files(&config.state_dir),
    };
    Some(TlsFiles { local_ca_any_ip: setting.local_ca_any_ip, ..files })
}

fn secrets(draft: &mut Draft) -> SecretSource {
    let mut secrets = Vec::new();
    for given in draft.config().secrets.clone() {
        match given {
            GivenSecret::Text(secret) => secrets.push(secret),
            GivenSecret::File(path) => match secret_file(&path) {
                Ok(secret) => secrets.push(secret),
                Err(problem) => draft.note("secret-file", problem),
            },
        }
    }
    if secrets.is_empty() { SecretSource::StateDir } else { SecretSource::Given(secrets) }
}

/// Opens a file. It may be a pipe, as in `--secret-file <(pass show x)`, but not one without a writer: opening that
/// would wait for ever.
fn open_with_writer(path: &Path, wait: Duration) -> io::Result<File> {
    if !std::fs::metadata(path)?.file_type().is_fifo() {
        return File::open(path);
    }
    let (opened, open) = mpsc::channel();
    let path = path.to_owned();
    // Without a writer, this thread stays until the process ends because of the error.
    thread::spawn(move || opened.send(File::open(path)));
    open.recv_timeout(wait).unwrap_or_else(|_| {
        Err(io::Error::other("it is a pipe that nobody writes to: give a regular file, or a writer"))
    })
}

fn secret_file(path: &Path) -> Result<Secret, String> {
    // Large enough for any secret, and a limit if the path is /dev/zero.
    const MAX_BYTES: u64 = 64 * 1024;
    let mut bytes = Vec::new();
    open_with_writer(path, WRITER_WAIT)
        .and_then(|file| std::io::Read::read_to_end(&mut std::io::Read::take(file, MAX_BYTES + 1), &mut bytes))
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("{} is larger than 64 KiB: a secret is one short line", path.display()));
    }
    let end = bytes.iter().rposition(|b| !matches!(b, b'\n' | b'\r')).map_or(0, |last| last + 1);
    if end == 0 {
        return Err(format!("{} is empty: put at least one character into it, better 32 random ones", path.display()));
    }
    bytes.truncate(end);
    Ok(Secret::new(bytes))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::{cli, disk};

    /// Reads flags, with only a home directory in the environment, and checks the named files.
    fn load(line: &str) -> Result<Settled, Vec<String>> {
        load_with(line, &[])
    }

    fn load_with(line: &str, variables: &[(&str, &str)]) -> Result<Settled, Vec<String>> {
        let args = std::iter::once("bimcc-rtc").chain(line.split_whitespace()).map(OsString::from);
        let typed = cli::typed(args).unwrap();
        let cli::Command::Serve(serve) = typed.command else { panic!("not serve") };
        let env = |name: &str| match variables.iter().find(|(variable, _)| *variable == name) {
            Some((_, value)) => Some(OsString::from(value)),
            None => (name == "HOME").then(|| OsString::from("/home/u")),
        };
        let draft = Draft::read(&typed.settings, serve.config.as_deref(), &env);
        Settled::to_serve(draft).map_err(|error| error.mistakes)
    }

    /// The only mistake of `line`.
    fn mistake(line: &str) -> String {
        let mut mistakes = load(line).unwrap_err();
        assert_eq!(mistakes.len(), 1, "{mistakes:?}");
        mistakes.remove(0)
    }

    #[test]
    fn all_mistakes_come_at_once() {
        let found = load_with(
            "--listen nonsense --turn-listen 99999 --relay-ports 6000-5000 --allow-peer 10.0.0.0/99 --deny-peer x \
             --credential-ttl 1s --allocation-lifetime 2h --peer-policy all --max-rooms 0 --public-ip 127.0.0.1 --realm \" \
             --tls --tls-cert /nonexistent/c.pem --tls-key /nonexistent/k.pem --secret-file /nonexistent/s \
             --config /nonexistent/c.toml --admin-listen 0.0.0.0:9641",
            &[("BIMCC_RTC_ORIGIN", "*"), ("BIMCC_RTC_WORKERS", "many")],
        )
        .unwrap_err();
        for place in [
            "--listen: ",
            "--turn-listen: ",
            "--relay-ports: ",
            "--allow-peer: ",
            "--deny-peer: ",
            "--credential-ttl: ",
            "--allocation-lifetime: ",
            "--peer-policy: ",
            "--max-rooms: ",
            "--public-ip: ",
            "--realm: ",
            "--tls-cert: ",
            "--tls-key: ",
            "--secret-file: ",
            "--config: ",
            "--admin-listen: ",
            "BIMCC_RTC_ORIGIN: ",
            "BIMCC_RTC_WORKERS: ",
        ] {
            assert_eq!(found.iter().filter(|m| m.starts_with(place)).count(), 1, "{place} in {found:#?}");
        }
        assert_eq!(found.len(), 18, "{found:#?}");
    }

    #[test]
    fn secrets_of_the_stronger_source_mint() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, "from file\r\n").unwrap();
        let path = path.to_str().unwrap();
        let secrets = |settled: Settled| match settled.secrets {
            SecretSource::Given(secrets) => {
                secrets.iter().map(|secret| String::from_utf8(secret.expose().to_vec()).unwrap()).collect()
            }
            SecretSource::StateDir => Vec::new(),
        };
        let env = [("BIMCC_RTC_SECRET", "from env")];
        let flag = format!("--secret-file {path}");
        assert_eq!(secrets(load_with(&flag, &env).unwrap()), ["from file", "from env"]);
        assert_eq!(secrets(load(&format!("{flag} --secret a --secret b")).unwrap()), ["a", "b", "from file"]);
    }

    #[test]
    fn empty_secrets_are_mistakes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, "\n").unwrap();
        assert!(mistake(&format!("--secret-file {}", path.display())).contains("is empty"));
        assert!(mistake("--secret=").contains("is empty"));
        assert!(mistake("--secret-file /dev/zero").contains("larger"));
    }

    #[test]
    fn a_pipe_with_a_secret_needs_a_writer() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        disk::make_idle_pipe(&path);
        let line = format!("--secret-file {}", path.display());
        let problem = mistake(&line);
        assert!(problem.contains(&path.display().to_string()) && problem.contains("nobody writes"), "{problem}");
        // A thread that still waits takes nothing from the next reader.
        drop(std::fs::OpenOptions::new().write(true).open(&path).unwrap());
        let other = dir.path().join("other");
        assert!(std::process::Command::new("mkfifo").arg(&other).status().unwrap().success());
        let line = format!("--secret-file {}", other.display());
        let writer = std::thread::spawn(move || std::fs::write(other, "from a pipe\n").unwrap());
        let secrets = load(&line).unwrap().secrets;
        writer.join().unwrap();
        let SecretSource::Given(secrets) = secrets else { panic!("no secret") };
        assert_eq!(secrets[0].expose(), b"from a pipe");
    }
}
