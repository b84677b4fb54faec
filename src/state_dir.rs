//! What the server keeps between starts: random secrets in `--state-dir`.
//!
//! `turn-secret` signs credentials where the operator gave no `--secret`; `member-key` makes of it, or of the operator's,
//! the secret that signs those of members; `nonce-key` signs STUN nonces, so that clients need no new challenge after a
//! restart; `resume-key` signs resume tokens, so that members come back after one under their ids; `log-key` makes hashes of
//! rooms' names for the log, so that a room is the same there after one. Each is made at first need, with mode 0600, and never half-written.

use std::{
    fmt, fs, io,
    io::Write,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
use nix::unistd::geteuid;
use ring::rand::{SecureRandom, SystemRandom};

use crate::{
    config::SecretSource,
    credentials::{MemberKey, Secret},
};

const TURN_SECRET: &str = "turn-secret";
const MEMBER_KEY: &str = "member-key";
const NONCE_KEY: &str = "nonce-key";
const RESUME_KEY: &str = "resume-key";
const LOG_KEY: &str = "log-key";
/// As much as HMAC-SHA1 and HMAC-SHA256 can use.
const KEY_BYTES: usize = 32;

/// A state directory that exists.
#[derive(Clone, Debug)]
pub struct StateDir {
    path: PathBuf,
}

/// Why the state directory cannot be used. The text names the flag that sets it.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    /// The directory cannot be made.
    #[error("cannot make the state directory {path}: make it for this user, or choose another with --state-dir")]
    Create {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file in it cannot be read.
    #[error("cannot read {path} in the state directory (--state-dir)")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file in it cannot be written.
    #[error(
        "cannot write {path}: this user has to be able to write to the state directory, else choose another with \
         --state-dir"
    )]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file in it is not one of ours.
    #[error("{path} is damaged: remove it, and a new one is made at the next start")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

/// Why no state directory is or can be made at `path`, with the remedy. Nothing is made, and whether this user may write
/// there is not asked: a directory that has all its files need not be written to.
pub fn mistake(path: &Path) -> Option<String> {
    let mut down: Vec<_> = path.ancestors().filter(|part| !part.as_os_str().is_empty()).collect();
    down.reverse();
    for part in down {
        let shown = part.display();
        match fs::metadata(part) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => return Some(format!("{shown} is no directory: move it away, or choose another directory")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let target = fs::read_link(part).ok()?;
                return Some(format!(
                    "{shown} is a link to {}, which is not there: make that directory, or choose another",
                    target.display()
                ));
            }
            Err(error) => return Some(format!("{shown} cannot be looked at ({error}): choose another directory")),
        }
    }
    // A directory that this user may not enter would be told of as if something in it were wrong.
    let denied =
        fs::metadata(path.join(TURN_SECRET)).err().filter(|error| error.kind() == io::ErrorKind::PermissionDenied)?;
    Some(format!(
        "{} cannot be entered by this user ({denied}): start the server as the user that it is for, or choose another \
         directory",
        path.display()
    ))
}

impl StateDir {
    /// Makes the directory if it is not there (mode 0700).
    ///
    /// # Errors
    /// [`StateDirError::Create`].
    pub fn open(path: &Path) -> Result<Self, StateDirError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|source| StateDirError::Create { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned() })
    }

    /// The TURN shared secrets: the operator's, else the one kept here (made now if it is not there).
    /// Never empty; the first mints, all verify.
    ///
    /// # Errors
    /// [`StateDirError`] where the kept one cannot be read or made.
    pub fn secrets(&self, source: &SecretSource) -> Result<Vec<Secret>, StateDirError> {
        match source {
            SecretSource::Given(secrets) => Ok(secrets.clone()),
            SecretSource::StateDir => {
                let path = self.path.join(TURN_SECRET);
                let text = read_or_make(&path, || BASE64_STANDARD_NO_PAD.encode(random_key()).into_bytes())?;
                Ok(vec![turn_secret(&path, &text)?])
            }
        }
    }

    /// The key behind the secrets that sign members' credentials (made now if it is not there).
    ///
    /// # Errors
    /// [`StateDirError`] where it cannot be read or made.
    pub fn member_key(&self) -> Result<MemberKey, StateDirError> {
        self.key(MEMBER_KEY).map(|key| MemberKey::new(&key))
    }

    /// The key that signs STUN nonces (made now if it is not there).
    ///
    /// # Errors
    /// [`StateDirError`] where it cannot be read or made.
    pub fn nonce_key(&self) -> Result<[u8; KEY_BYTES], StateDirError> {
        self.key(NONCE_KEY)
    }

    /// The key that signs resume tokens (made now if it is not there).
    ///
    /// # Errors
    /// [`StateDirError`] where it cannot be read or made.
    pub fn resume_key(&self) -> Result<[u8; KEY_BYTES], StateDirError> {
        self.key(RESUME_KEY)
    }

    /// The key of the hashes that stand for rooms in the log (made now if it is not there).
    ///
    /// # Errors
    /// [`StateDirError`] where it cannot be read or made.
    pub fn log_key(&self) -> Result<[u8; KEY_BYTES], StateDirError> {
        self.key(LOG_KEY)
    }

    fn key(&self, name: &str) -> Result<[u8; KEY_BYTES], StateDirError> {
        let path = self.path.join(name);
        let bytes = read_or_make(&path, || random_key().to_vec())?;
        bytes.try_into().map_err(|_| StateDirError::Damaged { path })
    }

    /// What of it others have access to: it may have been copied, or be somebody's own.
    pub fn exposed(&self) -> Vec<Exposed> {
        let files = [TURN_SECRET, MEMBER_KEY, NONCE_KEY, RESUME_KEY, LOG_KEY].map(|name| self.path.join(name));
        Exposed::among(std::iter::once(&self.path).chain(&files).map(PathBuf::as_path))
    }
}

/// A file or directory for one user alone to which others have access.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposed {
    path: PathBuf,
    is_dir: bool,
    /// Others are its owner, who can read and change it whatever its mode.
    is_of_another: bool,
}

impl Exposed {
    /// Those of `paths` that others can read, write or enter. One that is not there exposes nothing.
    pub fn among<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Vec<Self> {
        let exposed = |path: &Path| {
            let metadata = fs::metadata(path).ok()?;
            let is_of_another = ![geteuid().as_raw(), 0].contains(&metadata.uid());
            let is_exposed = is_of_another || metadata.mode() & 0o077 != 0;
            is_exposed.then(|| Self { path: path.to_owned(), is_dir: metadata.is_dir(), is_of_another })
        };
        paths.into_iter().filter_map(exposed).collect()
    }
}

/// The remedy.
impl fmt::Display for Exposed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        if self.is_of_another {
            write!(f, "chown {} {path}", geteuid())
        } else {
            write!(f, "chmod {} {path}", if self.is_dir { 700 } else { 600 })
        }
    }
}

/// The secrets with which a running server verifies, for who only mints: nothing is made.
///
/// # Errors
/// [`StateDirError::Read`] where the server of this state directory has not been started yet, or belongs to another
/// user.
pub fn existing_secrets(path: &Path, source: &SecretSource) -> Result<Vec<Secret>, StateDirError> {
    match source {
        SecretSource::Given(secrets) => Ok(secrets.clone()),
        SecretSource::StateDir => {
            let path = path.join(TURN_SECRET);
            let text = read_regular(&path).map_err(|source| StateDirError::Read { path: path.clone(), source })?;
            Ok(vec![turn_secret(&path, &text)?])
        }
    }
}

/// The secret is kept as text, so that `--secret-file` and coturn's `static-auth-secret` can take it as it is.
fn turn_secret(path: &Path, text: &[u8]) -> Result<Secret, StateDirError> {
    let text = text.trim_ascii();
    if text.is_empty() {
        return Err(StateDirError::Damaged { path: path.to_owned() });
    }
    Ok(Secret::new(text))
}

fn random_key() -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    SystemRandom::new().fill(&mut key).expect("the system's random generator works");
    key
}

fn read_or_make(path: &Path, make: impl FnOnce() -> Vec<u8>) -> Result<Vec<u8>, StateDirError> {
    match read_regular(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        read => return read.map_err(|source| StateDirError::Read { path: path.to_owned(), source }),
    }
    let bytes = make();
    match write_new(path, &bytes, 0o600) {
        Ok(()) => Ok(bytes),
        // Another process started at the same moment and was first: take its file.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            read_regular(path).map_err(|source| StateDirError::Read { path: path.to_owned(), source })
        }
        Err(source) => Err(StateDirError::Write { path: path.to_owned(), source }),
    }
}

/// Reads a file that is one: opening a pipe waits for a writer, perhaps for ever, and a device may never end.
pub(crate) fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    check_regular(path).and_then(|()| fs::read(path))
}

/// Refuses what is neither a file nor a directory, of which the system itself says what is wrong.
pub(crate) fn check_regular(path: &Path) -> io::Result<()> {
    let kind = fs::metadata(path)?.file_type();
    if kind.is_file() || kind.is_dir() {
        return Ok(());
    }
    Err(io::Error::other("it is a pipe, a socket or a device: remove it, or put a regular file in its place"))
}

/// Writes a file that did not exist, whole or not at all. `AlreadyExists` if it does.
pub(crate) fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let temporary = write_temporary(path, bytes, mode)?;
    // A hard link fails where a rename would replace.
    let linked = fs::hard_link(&temporary, path);
    let removed = fs::remove_file(&temporary);
    linked.and(removed).and_then(|()| sync_parent(path))
}

/// Writes or replaces a file: whoever reads it, also after a crash, sees the old or the new one whole.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let temporary = write_temporary(path, bytes, mode)?;
    fs::rename(&temporary, path).inspect_err(|_| drop(fs::remove_file(&temporary)))?;
    sync_parent(path)
}

fn write_temporary(path: &Path, bytes: &[u8], mode: u32) -> io::Result<PathBuf> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    // One left by a crashed process of the same id.
    let _absent = fs::remove_file(&temporary);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).inspect_err(|_| drop(fs::remove_file(&temporary)))?;
    Ok(temporary)
}

fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(parent)?.sync_all()
}

/// A pipe that nobody writes to. Who opens it all the same gets its end after a while, so that a test fails and does not
/// wait for ever.
#[cfg(test)]
pub(crate) fn make_idle_pipe(path: &Path) {
    use std::{process::Command, thread, time::Duration};
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    let path = path.to_owned();
    thread::spawn(move || {
        thread::sleep(Duration::from_secs(20));
        let mut end = fs::OpenOptions::new();
        let _nobody_waits = end.write(true).custom_flags(nix::libc::O_NONBLOCK).open(path);
    });
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn made_once_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let state = StateDir::open(&path).unwrap();
        let secret = state.secrets(&SecretSource::StateDir).unwrap();
        let key = state.nonce_key().unwrap();
        let resume = state.resume_key().unwrap();
        let members = state.member_key().unwrap().secret(&secret[0]);
        assert_ne!(resume, key);
        let again = StateDir::open(&path).unwrap();
        assert_eq!(again.resume_key().unwrap(), resume);
        assert_eq!(again.member_key().unwrap().secret(&secret[0]), members);
        assert_eq!(again.secrets(&SecretSource::StateDir).unwrap(), secret);
        assert_eq!(again.nonce_key().unwrap(), key);
        assert_eq!(existing_secrets(&path, &SecretSource::StateDir).unwrap(), secret);
        assert_eq!(mode(&path), 0o700);
        for name in [TURN_SECRET, MEMBER_KEY, NONCE_KEY, RESUME_KEY] {
            assert_eq!(mode(&path.join(name)), 0o600, "{name}");
        }
        assert_eq!(fs::read_dir(&path).unwrap().count(), 4, "no temporary file stays");
    }

    #[test]
    fn what_others_can_read_is_named_with_its_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let state = StateDir::open(&path).unwrap();
        assert_eq!(state.exposed(), []);
        state.secrets(&SecretSource::StateDir).unwrap();
        state.nonce_key().unwrap();
        state.resume_key().unwrap();
        state.member_key().unwrap();
        assert_eq!(state.exposed(), []);
        for (name, mode, remedy) in [
            ("", 0o750, 700),
            (TURN_SECRET, 0o640, 600),
            (MEMBER_KEY, 0o644, 600),
            (NONCE_KEY, 0o602, 600),
            (RESUME_KEY, 0o604, 600),
        ] {
            let path = if name.is_empty() { path.clone() } else { path.join(name) };
            let private = fs::metadata(&path).unwrap().permissions();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let exposed: Vec<_> = state.exposed().iter().map(ToString::to_string).collect();
            assert_eq!(exposed, [format!("chmod {remedy} {}", path.display())]);
            fs::set_permissions(&path, private).unwrap();
        }
    }

    #[test]
    fn what_belongs_to_another_user_is_named_with_its_remedy() {
        if !geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("state");
        let state = StateDir::open(&dir).unwrap();
        state.nonce_key().unwrap();
        for path in [dir.clone(), dir.join(NONCE_KEY)] {
            std::os::unix::fs::chown(&path, Some(65_534), None).unwrap();
            let exposed: Vec<_> = state.exposed().iter().map(ToString::to_string).collect();
            assert_eq!(exposed, [format!("chown 0 {}", path.display())]);
            std::os::unix::fs::chown(&path, Some(0), None).unwrap();
        }
        assert_eq!(state.exposed(), []);
    }

    #[test]
    fn each_installation_has_its_own() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let key = |dir: &tempfile::TempDir| StateDir::open(dir.path()).unwrap().nonce_key().unwrap();
        assert_ne!(key(&a), key(&b));
    }

    #[test]
    fn given_secrets_leave_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        let given = vec![Secret::new(*b"a"), Secret::new(*b"b")];
        assert_eq!(state.secrets(&SecretSource::Given(given.clone())).unwrap(), given);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_secret_may_be_edited_with_a_line_break() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(TURN_SECRET), "mine\n").unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        assert_eq!(state.secrets(&SecretSource::StateDir).unwrap(), [Secret::new(*b"mine")]);
    }

    #[test]
    fn damaged_files_are_not_used() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(NONCE_KEY), "short").unwrap();
        fs::write(dir.path().join(TURN_SECRET), "\n").unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        assert!(matches!(state.nonce_key(), Err(StateDirError::Damaged { .. })));
        assert!(matches!(state.secrets(&SecretSource::StateDir), Err(StateDirError::Damaged { .. })));
    }

    #[test]
    fn an_unusable_directory_names_the_flag() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = StateDir::open(&file.path().join("below")).unwrap_err();
        assert!(error.to_string().contains("--state-dir"), "{error}");
    }

    #[test]
    fn what_cannot_be_a_state_directory_is_told_before_it_is_used() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let place = |name: &str| dir.path().join(name);
        fs::write(place("file"), "").unwrap();
        symlink("absent", place("dangling")).unwrap();
        symlink("loop", place("loop")).unwrap();
        fs::create_dir(place("dir")).unwrap();
        symlink("dir", place("link")).unwrap();
        for (name, culprit, word) in [
            ("file", "file", "no directory"),
            ("file/below/it", "file", "no directory"),
            ("dangling", "dangling", "absent"),
            ("dangling/below", "dangling", "absent"),
            ("loop/below", "loop", "looked at"),
        ] {
            let told = mistake(&place(name)).unwrap();
            assert!(told.starts_with(&format!("{} ", place(culprit).display())) && told.contains(word), "{told}");
            assert!(StateDir::open(&place(name)).is_err(), "{name}");
        }
        for name in ["dir", "link", "link/below", "new", "new/below", "dir/../new"] {
            assert_eq!(mistake(&place(name)), None, "{name}");
            assert!(!place("new").exists(), "nothing is made");
        }
        assert_eq!(mistake(Path::new("relative/to/here")), None);
    }

    #[test]
    fn minting_makes_no_secret() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(existing_secrets(dir.path(), &SecretSource::StateDir), Err(StateDirError::Read { .. })));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_second_writer_does_not_overwrite() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        write_new(&path, b"first", 0o600).unwrap();
        assert_eq!(write_new(&path, b"second", 0o600).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"first");
        replace(&path, b"third", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"third");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_regular_file_is_refused_at_once() {
        for name in [TURN_SECRET, MEMBER_KEY, NONCE_KEY, RESUME_KEY] {
            let dir = tempfile::tempdir().unwrap();
            let state = StateDir::open(dir.path()).unwrap();
            let path = dir.path().join(name);
            let read = || {
                state.secrets(&SecretSource::StateDir)?;
                state.member_key()?;
                state.nonce_key()?;
                state.resume_key()
            };
            let is_refused = || {
                let error = anyhow::Error::from(read().unwrap_err());
                let text = format!("{error:#}");
                assert!(text.contains(&path.display().to_string()) && text.contains("regular file"), "{text}");
            };
            make_idle_pipe(&path);
            is_refused();
            fs::remove_file(&path).unwrap();
            let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
            is_refused();
            fs::remove_file(&path).unwrap();
            std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
            is_refused();
        }
    }
}
