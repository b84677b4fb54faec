//! This program's own files: read only if they are regular files, written completely or not at all, and protected from
//! other users.

use std::{
    fmt, fs, io,
    io::Write,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use nix::unistd::geteuid;

/// A file or directory that should belong to one user only, but to which others have access.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposed {
    path: PathBuf,
    is_dir: bool,
    /// Whether its owner is another user, who can read and change it whatever its mode.
    is_of_another: bool,
}

impl Exposed {
    /// Those of `paths` that others can read, write or enter. A missing one is not exposed.
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

/// The text says what to do.
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

/// Reads a regular file only: opening a pipe waits for a writer, perhaps for ever, and a device may never end.
pub fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    check_regular(path).and_then(|()| fs::read(path))
}

/// Refuses everything that is neither a file nor a directory. For a directory, reading fails with a clear error of the
/// system.
pub fn check_regular(path: &Path) -> io::Result<()> {
    let kind = fs::metadata(path)?.file_type();
    if kind.is_file() || kind.is_dir() {
        return Ok(());
    }
    Err(io::Error::other("it is a pipe, a socket or a device: remove it, or put a regular file in its place"))
}

/// Writes a new file, completely or not at all. Fails with `AlreadyExists` if it exists.
pub fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let temporary = write_temporary(path, bytes, mode)?;
    // A hard link fails if the file exists; a rename would replace it.
    let linked = fs::hard_link(&temporary, path);
    let removed = fs::remove_file(&temporary);
    linked.and(removed).and_then(|()| sync_parent(path))
}

/// Writes or replaces a file: a reader, also after a crash, sees the complete old or the complete new file.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let temporary = write_temporary(path, bytes, mode)?;
    fs::rename(&temporary, path).inspect_err(|_| drop(fs::remove_file(&temporary)))?;
    sync_parent(path)
}

fn write_temporary(path: &Path, bytes: &[u8], mode: u32) -> io::Result<PathBuf> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    // A crashed process with the same id may have left a file.
    let _absent = fs::remove_file(&temporary);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).inspect_err(|_| drop(fs::remove_file(&temporary)))?;
    Ok(temporary)
}

fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(parent)?.sync_all()
}

/// A pipe that nobody writes to. If it is opened anyway, it ends after a while, so that a test fails instead of waiting
/// for ever.
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
    use super::*;

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
}
