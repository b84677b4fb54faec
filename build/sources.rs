//! Finds the sources of the pages by listing directories, without packages, earlier builds and tests.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use super::embed::{in_context, list_files};

/// The packages of the workspace; each has its sources below itself.
const PACKAGES: [&str; 2] = ["client", "app"];

/// Directories of a package that no build reads.
const NOT_SOURCES: [&str; 4] = ["node_modules", "dist", "test", "coverage"];

/// Extensions of other files that a build may read.
const CONFIG_EXTENSIONS: [&str; 7] = ["json", "ts", "js", "mjs", "html", "css", "npmrc"];

/// Settings of tools that read sources but build nothing.
const NOT_CONFIGS: [&str; 2] = ["biome.json", "vitest.config.ts"];

/// The manifest of built pages: its first line is the fingerprint of the sources, then one line for each file.
pub(crate) const MANIFEST: &str = "MANIFEST";

/// The sources of the pages, as they are now.
pub(crate) struct Sources {
    web: PathBuf,
    /// By the path below `web/`, with slashes.
    files: BTreeMap<String, Vec<u8>>,
    /// What cargo must watch: files, and directories that contain only sources.
    watched: Vec<PathBuf>,
}

impl Sources {
    /// Reads all of them.
    pub(crate) fn find(web: &Path) -> Result<Self, String> {
        let mut sources = Self { web: web.to_owned(), files: BTreeMap::new(), watched: Vec::new() };
        // A release package may contain only built pages.
        if web.join("package.json").exists() {
            sources.add_configs("")?;
            for package in PACKAGES {
                sources.add_configs(package)?;
                sources.add_directories(package)?;
            }
        }
        Ok(sources)
    }

    /// Tells cargo when to build again.
    pub(crate) fn watch(&self) {
        for path in &self.watched {
            println!("cargo::rerun-if-changed={}", path.display());
        }
        // Cargo treats a missing path as changed, so it is named only if it exists.
        let prebuilt = self.web.join("prebuilt");
        if prebuilt.exists() {
            println!("cargo::rerun-if-changed={}", prebuilt.display());
        }
    }

    /// The directory of pages that were already built from exactly these sources, if there is one.
    pub(crate) fn prebuilt(&self) -> Result<Option<PathBuf>, String> {
        let prebuilt = self.web.join("prebuilt");
        let Ok(manifest) = fs::read_to_string(prebuilt.join(MANIFEST)) else {
            return Ok(None);
        };
        if !self.files.is_empty() && manifest.lines().next() != Some(self.fingerprint().as_str()) {
            println!("cargo::warning=web/prebuilt was made from other sources: the pages are built anew");
            return Ok(None);
        }
        let found = manifest_of(&prebuilt, manifest.lines().next().unwrap_or_default())?;
        if found == manifest {
            Ok(Some(prebuilt))
        } else {
            Err("web/prebuilt does not hold the files of its MANIFEST: unpack it again, or remove it".to_owned())
        }
    }

    /// Changes when anything changes that a build reads.
    pub(crate) fn fingerprint(&self) -> String {
        let mut all = Vec::new();
        for (path, bytes) in &self.files {
            all.extend_from_slice(format!("{path}\0{}\0", bytes.len()).as_bytes());
            all.extend_from_slice(bytes);
        }
        fingerprint(&all)
    }

    /// Makes `copy` contain exactly these files, without others from an earlier state. Unchanged files stay untouched.
    pub(crate) fn copy_to(&self, copy: &Path) -> Result<(), String> {
        fs::create_dir_all(copy).map_err(in_context("cannot make", copy))?;
        for stale in list_files(copy, &|name| NOT_SOURCES.contains(&name))? {
            if !self.files.contains_key(&stale) && !stale.ends_with(".stamp") {
                let path = copy.join(&stale);
                fs::remove_file(&path).map_err(in_context("cannot remove", &path))?;
            }
        }
        for (path, bytes) in &self.files {
            let path = copy.join(path);
            if fs::read(&path).is_ok_and(|old| old == *bytes) {
                continue;
            }
            let directory = path.parent().expect("it is below the copy");
            fs::create_dir_all(directory).map_err(in_context("cannot make", directory))?;
            fs::write(&path, bytes).map_err(in_context("cannot write", &path))?;
        }
        Ok(())
    }

    /// The lockfile, and every list of packages: the input of `npm ci`.
    pub(crate) fn packages_fingerprint(&self) -> String {
        let is_list = |path: &str| path.ends_with("package.json") || path == "package-lock.json" || path == ".npmrc";
        let lists = self.files.iter().filter(|(path, _)| is_list(path));
        fingerprint(&lists.flat_map(|(_, bytes)| bytes.iter().copied()).collect::<Vec<_>>())
    }

    fn add_configs(&mut self, package: &str) -> Result<(), String> {
        let directory = self.web.join(package);
        for entry in entries(&directory)? {
            let name = entry.file_name().to_string_lossy().into_owned();
            let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
            if entry.path().is_file() && CONFIG_EXTENSIONS.contains(&extension) && !NOT_CONFIGS.contains(&name.as_str())
            {
                self.watched.push(entry.path());
                let path = if package.is_empty() { name } else { format!("{package}/{name}") };
                self.add(path, &entry.path())?;
            }
        }
        Ok(())
    }

    fn add_directories(&mut self, package: &str) -> Result<(), String> {
        let directory = self.web.join(package);
        for entry in entries(&directory)? {
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.path().is_dir() && !name.starts_with('.') && !NOT_SOURCES.contains(&name.as_str()) {
                // The directory is watched too, for files that are added later.
                self.watched.push(entry.path());
                for file in list_files(&entry.path(), &|name| NOT_SOURCES.contains(&name))? {
                    if !is_test(&file) {
                        self.add(format!("{package}/{name}/{file}"), &entry.path().join(&file))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, path: String, file: &Path) -> Result<(), String> {
        let bytes = fs::read(file).map_err(in_context("cannot read", file))?;
        self.files.insert(path, bytes);
        Ok(())
    }
}

/// The manifest that describes the files of `pages`.
pub(crate) fn manifest_of(pages: &Path, sources: &str) -> Result<String, String> {
    let mut manifest = format!("{sources}\n");
    for path in list_files(pages, &|_| false)? {
        if path != MANIFEST {
            let file = pages.join(&path);
            let bytes = fs::read(&file).map_err(in_context("cannot read", &file))?;
            manifest.push_str(&format!("{} {path}\n", fingerprint(&bytes)));
        }
    }
    Ok(manifest)
}

/// FNV-1a with 128 bits. It distinguishes versions and protects against no attack. Unlike the standard library's
/// hasher, it is the same with every compiler, which `web/prebuilt` needs.
pub(crate) fn fingerprint(bytes: &[u8]) -> String {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let hash = bytes.iter().fold(OFFSET, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(PRIME));
    format!("{hash:032x}")
}

fn is_test(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.contains(".test.") || name.contains(".spec.")
}

fn entries(directory: &Path) -> Result<Vec<fs::DirEntry>, String> {
    let listed = fs::read_dir(directory).map_err(in_context("cannot list", directory))?;
    let mut entries = listed.collect::<Result<Vec<_>, _>>().map_err(in_context("cannot list", directory))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    Ok(entries)
}
