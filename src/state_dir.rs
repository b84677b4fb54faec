//! The random secrets that the server keeps in `--state-dir` between starts.
//!
//! `turn-secret` signs credentials if the operator gave no `--secret`. `member-key` derives from it, or from the
//! operator's secret, the secret that signs credentials of members. `nonce-key` signs STUN nonces, so that clients need
//! no new challenge after a restart. `resume-key` signs resume tokens, so that members come back under their ids after
//! a restart. `log-key` makes hashes of room names for the log, so that a room has the same hash there after a restart.
//! Each file is made when it is first needed, with mode 0600, and is never written partially.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
use ring::rand::{SecureRandom, SystemRandom};

use crate::{
    credentials::{MemberKey, Secret},
    disk::{self, Exposed},
};

const TURN_SECRET: &str = "turn-secret";
const MEMBER_KEY: &str = "member-key";
const NONCE_KEY: &str = "nonce-key";
const RESUME_KEY: &str = "resume-key";
const LOG_KEY: &str = "log-key";
/// As many bytes as HMAC-SHA1 and HMAC-SHA256 can use.
const KEY_BYTES: usize = 32;

/// The source of the TURN shared secrets.
#[derive(Clone, Debug)]
pub enum SecretSource {
    /// Given by the operator: the first one mints, all of them verify. Never empty.
    Given(Vec<Secret>),
    /// Made at the first start and kept in the state directory.
    StateDir,
}

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
        /// The system's error.
        source: io::Error,
    },
    /// A file in it cannot be read.
    #[error("cannot read {path} in the state directory (--state-dir)")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
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
        /// The system's error.
        source: io::Error,
    },
    /// A file in it was not made by this program.
    #[error("{path} is damaged: remove it, and a new one is made at the next start")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

/// Why there is no state directory at `path` and none can be made, with the remedy. Nothing is made. It does not matter
/// whether this user may write there, because a directory that has all its files need not be written to.
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
    // Otherwise, for a directory that this user may not enter, a later error would blame a file in it.
    let denied =
        fs::metadata(path.join(TURN_SECRET)).err().filter(|error| error.kind() == io::ErrorKind::PermissionDenied)?;
    Some(format!(
        "{} cannot be entered by this user ({denied}): start the server as the user that it is for, or choose another \
         directory",
        path.display()
    ))
}

impl StateDir {
    /// Makes the directory if it is missing (mode 0700).
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

    /// The TURN shared secrets: the operator's, else the one kept here (made now if it is missing). Never empty; the
    /// first one mints, all of them verify.
    ///
    /// # Errors
    /// [`StateDirError`] if the kept one cannot be read or made.
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

    /// The key from which the secrets for members' credentials are derived (made now if it is missing).
    ///
    /// # Errors
    /// [`StateDirError`] if it cannot be read or made.
    pub fn member_key(&self) -> Result<MemberKey, StateDirError> {
        self.key(MEMBER_KEY).map(|key| MemberKey::new(&key))
    }

    /// The key that signs STUN nonces (made now if it is missing).
    ///
    /// # Errors
    /// [`StateDirError`] if it cannot be read or made.
    pub fn nonce_key(&self) -> Result<[u8; KEY_BYTES], StateDirError> {
        self.key(NONCE_KEY)
    }

    /// The key that signs resume tokens (made now if it is missing).
    ///
    /// # Errors
    /// [`StateDirError`] if it cannot be read or made.
    pub fn resume_key(&self) -> Result<[u8; KEY_BYTES], StateDirError> {
        self.key(RESUME_KEY)
    }

    /// The key of the hashes that stand for rooms in the log (made now if it is missing).
    ///
    /// # Errors
    /// [`StateDirError`] if it cannot be read or made.
    pub fn log_key(&self) -> Result<[u8; KEY_BYTES], StateDirError> {
        self.key(LOG_KEY)
    }

    fn key(&self, name: &str) -> Result<[u8; KEY_BYTES], StateDirError> {
        let path = self.path.join(name);
        let bytes = read_or_make(&path, || random_key().to_vec())?;
        bytes.try_into().map_err(|_| StateDirError::Damaged { path })
    }

    /// The files to which others have access; somebody may have copied a file, or put in their own.
    pub fn exposed(&self) -> Vec<Exposed> {
        let files = [TURN_SECRET, MEMBER_KEY, NONCE_KEY, RESUME_KEY, LOG_KEY].map(|name| self.path.join(name));
        Exposed::among(std::iter::once(&self.path).chain(&files).map(PathBuf::as_path))
    }
}

/// The secrets with which a running server verifies, for minting only: nothing is made.
///
/// # Errors
/// [`StateDirError::Read`] if the server of this state directory has not been started yet, or belongs to another user.
pub fn existing_secrets(path: &Path, source: &SecretSource) -> Result<Vec<Secret>, StateDirError> {
    match source {
        SecretSource::Given(secrets) => Ok(secrets.clone()),
        SecretSource::StateDir => {
            let path = path.join(TURN_SECRET);
            let text =
                disk::read_regular(&path).map_err(|source| StateDirError::Read { path: path.clone(), source })?;
            Ok(vec![turn_secret(&path, &text)?])
        }
    }
}

/// The secret is kept as text, so that `--secret-file` and coturn's `static-auth-secret` can use it as it is.
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
    match disk::read_regular(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        read => return read.map_err(|source| StateDirError::Read { path: path.to_owned(), source }),
    }
    let bytes = make();
    match disk::write_new(path, &bytes, 0o600) {
        Ok(()) => Ok(bytes),
        // Another process started at the same moment and was first, so its file is used.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            disk::read_regular(path).map_err(|source| StateDirError::Read { path: path.to_owned(), source })
        }
        Err(source) => Err(StateDirError::Write { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use nix::unistd::geteuid;

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
            disk::make_idle_pipe(&path);
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
