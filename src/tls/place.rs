//! The default place of certificate and key.
//!
//! They are in `certs/` of the state directory, which is the same however the server is started. They are in `certs/`
//! of the current directory, where earlier versions made them, if there is already a pair and nobody else can have put
//! it there. Nothing is made in the current directory, because a start in another directory would then silently make a
//! second CA.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use nix::unistd::{Gid, Group, Uid, User, geteuid};

use super::pem;

use crate::values::tls_files::TlsFiles;

const DIRECTORY: &str = "certs";

/// The files of `--tls` without `--tls-cert` and `--tls-key`; they may still have to be made.
pub fn default_files(state_dir: &Path) -> TlsFiles {
    let kept = files_in(&state_dir.join(DIRECTORY));
    let here = files_in(Path::new(DIRECTORY));
    let has_pair = exists(&kept.cert) && exists(&kept.key);
    if !has_pair && has_any(&here) && distrust(Path::new(".")).is_none() { here } else { kept }
}

/// A warning about files in `certs/` of the current directory that were perhaps meant but are not served.
pub fn doubt(files: &TlsFiles) -> Option<String> {
    let dir = Path::new(DIRECTORY);
    let here = files_in(dir);
    let is_served = || {
        let place = |path: Option<&Path>| path.and_then(|path| fs::canonicalize(path).ok());
        place(files.cert.parent()) == place(Some(dir))
    };
    if !files.are_default || !has_any(&here) || is_served() {
        return None;
    }
    let shown = fs::canonicalize(".").unwrap_or_default().join(dir);
    let (shown, served) = (shown.display(), files.cert.display());
    if let Some(why) = distrust(Path::new(".")) {
        return Some(format!(
            "{shown} is not used, because {why}: {served} is served. To use it all the same, name its files with \
             --tls-cert and --tls-key."
        ));
    }
    let differs = pem::read(&here.cert).ok() != pem::read(&files.cert).ok();
    differs.then(|| {
        format!(
            "There are two certificates: {served} is served, {shown} has another. Move one of them away, or name the \
             right one with --tls-cert and --tls-key."
        )
    })
}

fn files_in(dir: &Path) -> TlsFiles {
    TlsFiles { cert: dir.join("cert.pem"), key: dir.join("key.pem"), are_default: true, local_ca_any_ip: false }
}

fn has_any(files: &TlsFiles) -> bool {
    exists(&files.cert) || exists(&files.key)
}

/// A link counts wherever it leads, and a file that cannot be checked counts as existing.
fn exists(path: &PathBuf) -> bool {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    !matches!(fs::symlink_metadata(path), Err(error) if matches!(error.kind(), NotFound | NotADirectory))
}

/// Why others may be able to replace or change `certs/` of `parent`, now or later.
fn distrust(parent: &Path) -> Option<String> {
    let dir = parent.join(DIRECTORY);
    // The owner of a link decides where it leads.
    let looked = [fs::symlink_metadata(&dir), fs::metadata(&dir)];
    for metadata in looked {
        let metadata = match metadata {
            Ok(metadata) => metadata,
            Err(error) => return Some(format!("it cannot be looked at ({error})")),
        };
        if metadata.uid() != geteuid().as_raw() {
            return Some("it belongs to another user".to_owned());
        }
        if !metadata.is_symlink() && others_can_write(&metadata) {
            return Some("others can write there".to_owned());
        }
    }
    if let Some(why) = distrust_files(&files_in(&dir)) {
        return Some(why);
    }
    let Ok(parent) = fs::metadata(parent) else { return Some("the directory cannot be looked at".to_owned()) };
    // Somebody who can rename it can put another one in its place. In sticky directories, such as /tmp, only owners
    // can.
    let of_others = parent.uid() != geteuid().as_raw() && parent.uid() != 0;
    let is_sticky = parent.mode() & 0o1000 != 0;
    (of_others || others_can_write(&parent) && !is_sticky).then(|| "others can put another in its place".to_owned())
}

/// Why others may be able to change the content of the two files, or of those to which they link. A missing file is no
/// problem.
fn distrust_files(files: &TlsFiles) -> Option<String> {
    for path in [&files.cert, &files.key] {
        let name = path.file_name().unwrap_or_default().display();
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Some(format!("{name} in it cannot be looked at ({error})")),
        };
        if metadata.uid() != geteuid().as_raw() && metadata.uid() != 0 {
            return Some(format!("{name} in it belongs to another user"));
        }
        if others_can_write(&metadata) {
            return Some(format!("others can write to {name} in it"));
        }
    }
    None
}

/// Whether somebody besides the owner can write. A group that only contains the owner, as many systems make for each
/// user, does not count.
fn others_can_write(metadata: &fs::Metadata) -> bool {
    let mode = metadata.mode();
    mode & 0o002 != 0 || mode & 0o020 != 0 && !is_users_own(metadata.uid(), metadata.gid())
}

fn is_users_own(uid: u32, gid: u32) -> bool {
    let (Ok(Some(user)), Ok(Some(group))) = (User::from_uid(Uid::from_raw(uid)), Group::from_gid(Gid::from_raw(gid)))
    else {
        return false;
    };
    user.gid == group.gid && user.name == group.name && group.mem.iter().all(|member| *member == user.name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// A directory with `certs/` in it, both writable only by this user.
    fn place() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(DIRECTORY)).unwrap();
        mode(&dir.path().join(DIRECTORY), 0o755);
        dir
    }

    #[test]
    fn only_this_users_own_directory_is_trusted() {
        let dir = place();
        let certs = dir.path().join(DIRECTORY);
        assert_eq!(distrust(dir.path()), None);
        mode(&certs, 0o777);
        assert!(distrust(dir.path()).unwrap().contains("write"));
        mode(&certs, 0o700);
        mode(dir.path(), 0o777);
        assert!(distrust(dir.path()).unwrap().contains("place"));
        mode(dir.path(), 0o1777);
        assert_eq!(distrust(dir.path()), None, "as in /tmp");
        fs::remove_dir(&certs).unwrap();
        assert!(distrust(dir.path()).unwrap().contains("looked at"));
    }

    #[test]
    fn links_are_judged_by_both_ends() {
        let (dir, target) = (tempfile::tempdir().unwrap(), place());
        let link = dir.path().join(DIRECTORY);
        symlink(target.path().join(DIRECTORY), &link).unwrap();
        assert_eq!(distrust(dir.path()), None);
        mode(&target.path().join(DIRECTORY), 0o777);
        assert!(distrust(dir.path()).is_some());
        mode(&target.path().join(DIRECTORY), 0o755);
        if geteuid().is_root() {
            std::os::unix::fs::lchown(&link, Some(65534), None).unwrap();
            assert!(distrust(dir.path()).unwrap().contains("another user"), "its owner leads it elsewhere");
        }
    }

    #[test]
    fn files_are_judged_as_their_directory_is() {
        let (dir, elsewhere) = (place(), tempfile::tempdir().unwrap());
        let files = files_in(&dir.path().join(DIRECTORY));
        for path in [&files.cert, &files.key] {
            fs::write(path, "").unwrap();
            mode(path, 0o600);
        }
        assert_eq!(distrust(dir.path()), None);
        for path in [&files.cert, &files.key] {
            mode(path, 0o602);
            assert!(distrust(dir.path()).unwrap().contains("write to"), "{path:?}");
            mode(path, 0o644);
            assert_eq!(distrust(dir.path()), None);
            let target = elsewhere.path().join("target.pem");
            fs::write(&target, "").unwrap();
            mode(&target, 0o666);
            fs::remove_file(path).unwrap();
            symlink(&target, path).unwrap();
            assert!(distrust(dir.path()).unwrap().contains("write to"), "{path:?}");
            mode(&target, 0o600);
            assert_eq!(distrust(dir.path()), None);
            if geteuid().is_root() {
                chown(&target, Some(65534), None).unwrap();
                assert!(distrust(dir.path()).unwrap().contains("another user"), "{path:?}");
                chown(&target, Some(0), Some(65534)).unwrap();
                mode(&target, 0o660);
                assert!(distrust(dir.path()).unwrap().contains("write to"), "{path:?}");
            }
            fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn what_belongs_to_others_is_not_trusted() {
        if !geteuid().is_root() {
            return;
        }
        let dir = place();
        chown(dir.path().join(DIRECTORY), Some(65534), None).unwrap();
        assert!(distrust(dir.path()).unwrap().contains("another user"));
        let dir = place();
        chown(dir.path(), Some(65534), None).unwrap();
        assert!(distrust(dir.path()).unwrap().contains("place"));
        // A group with other members, or one that may have them.
        let dir = place();
        chown(dir.path().join(DIRECTORY), None, Some(65534)).unwrap();
        mode(&dir.path().join(DIRECTORY), 0o775);
        assert!(distrust(dir.path()).unwrap().contains("write"));
    }

    #[test]
    fn the_state_directory_is_the_default() {
        let state = tempfile::tempdir().unwrap();
        let files = default_files(state.path());
        assert!(files.are_default && files.cert == state.path().join("certs/cert.pem"));
        assert_eq!(files.key, state.path().join("certs/key.pem"));
    }
}
