//! Built files as a table in Rust: `PAGES`, of the type that `src/http/assets/table.rs` defines, sorted by path.

use std::{
    fmt::Write as _,
    fs,
    io::{self, Write as _},
    path::Path,
};

use flate2::{Compression, GzBuilder};

use super::sources::{MANIFEST, fingerprint};

/// Writes `pages.rs` and the compressed files it includes.
pub(crate) fn write_table(pages: &Path, out: &Path) -> Result<(), String> {
    let compressed = out.join("compressed");
    if compressed.exists() {
        fs::remove_dir_all(&compressed).map_err(in_context("cannot remove", &compressed))?;
    }
    fs::create_dir_all(&compressed).map_err(in_context("cannot make", &compressed))?;
    let mut rows = String::new();
    let mut count = 0;
    for path in list_files(pages, &|_| false)? {
        if path == MANIFEST {
            continue;
        }
        let plain = pages.join(&path);
        let bytes = fs::read(&plain).map_err(in_context("cannot read", &plain))?;
        let tag = fingerprint(&bytes);
        let content_type = content_type(&path);
        let smaller = if is_compressible(content_type) { Some(gzip(&bytes)?) } else { None };
        let smaller = smaller.filter(|smaller| smaller.len() < bytes.len());
        // The path is relative to the table, so that the table is the same in every directory.
        let file = match &smaller {
            Some(smaller) => {
                let file = compressed.join(&tag);
                fs::write(&file, smaller).map_err(in_context("cannot write", &file))?;
                format!("compressed/{tag}")
            }
            None => format!("pages/{path}"),
        };
        writeln!(
            rows,
            "    Page::new({:?}, {content_type:?}, \"{tag}\", {}, {}, include_bytes!({file:?})),",
            format!("/{path}"),
            is_hashed(&path),
            smaller.is_some(),
        )
        .expect("a string takes all");
        count += 1;
    }
    let path = out.join("pages.rs");
    let table = format!("pub(super) static PAGES: [Page; {count}] = [\n{rows}];\n");
    fs::write(&path, table).map_err(in_context("cannot write", &path))
}

/// Copies all files below `from` to the same places below `to`. Two files for one place are an error.
pub(crate) fn copy_tree(from: &Path, to: &Path) -> Result<(), String> {
    for path in list_files(from, &|_| false)? {
        let (source, target) = (from.join(&path), to.join(&path));
        if target.exists() && fs::read(&target).ok() != fs::read(&source).ok() {
            return Err(format!("two different files would be served as /{path}"));
        }
        let directory = target.parent().expect("it is below `to`");
        fs::create_dir_all(directory).map_err(in_context("cannot make", directory))?;
        fs::copy(&source, &target).map_err(in_context("cannot copy", &source))?;
    }
    Ok(())
}

/// All files below `directory`, sorted, as paths with slashes. Symbolic links are not followed.
pub(crate) fn list_files(directory: &Path, is_skipped: &dyn Fn(&str) -> bool) -> Result<Vec<String>, String> {
    fn add(
        directory: &Path,
        prefix: &str,
        is_skipped: &dyn Fn(&str) -> bool,
        files: &mut Vec<String>,
    ) -> Result<(), String> {
        for entry in fs::read_dir(directory).map_err(in_context("cannot list", directory))? {
            let entry = entry.map_err(in_context("cannot list", directory))?;
            let kind = entry.file_type().map_err(in_context("cannot list", directory))?;
            let name = entry.file_name();
            let name = name.to_str().ok_or_else(|| format!("{} is no UTF-8", entry.path().display()))?;
            if kind.is_file() {
                files.push(format!("{prefix}{name}"));
            } else if kind.is_dir() && !is_skipped(name) {
                add(&entry.path(), &format!("{prefix}{name}/"), is_skipped, files)?;
            }
        }
        Ok(())
    }
    let mut files = Vec::new();
    add(directory, "", is_skipped, &mut files)?;
    files.sort_unstable();
    Ok(files)
}

/// Turns an I/O error into a sentence about a path.
pub(crate) fn in_context(what: &'static str, path: &Path) -> impl Fn(io::Error) -> String {
    move |error| format!("{what} {}: {error}", path.display())
}

/// The type by the extension. Declarations of TypeScript are text, so that browsers show them.
pub(crate) fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "ts" | "txt" | "md" => "text/plain; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "wasm" => "application/wasm",
        "ico" => "image/x-icon",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "gif" => "image/gif",
        "woff2" => "font/woff2",
        "woff" => "font/woff",
        "ttf" => "font/ttf",
        "mp3" => "audio/mpeg",
        "ogg" => "audio/ogg",
        _ => "application/octet-stream",
    }
}

/// Whether files of a type are worth compressing; the others are already compressed.
fn is_compressible(content_type: &str) -> bool {
    let kinds = ["text/", "application/json", "application/manifest", "application/wasm", "image/svg", "image/x-icon"];
    kinds.iter().any(|kind| content_type.starts_with(kind)) || content_type == "font/ttf"
}

/// Whether the path changes with the content, so that browsers may keep the file for ever. Vite names files in
/// `assets/` in this way (`-` and 8 characters), Excalidraw its subsets of fonts (`-` and 32 hexadecimal digits), and a
/// directory in `assets/` may be named after a version (`-1.2.3`).
pub(crate) fn is_hashed(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let end_is = |length: usize, is_fit: &dyn Fn(u8) -> bool| {
        let bytes = stem.as_bytes();
        let Some((rest, end)) = bytes.len().checked_sub(length).map(|at| bytes.split_at(at)) else {
            return false;
        };
        rest.ends_with(b"-") && end.iter().all(|byte| is_fit(*byte))
    };
    if end_is(32, &|byte| byte.is_ascii_hexdigit()) {
        return true;
    }
    let Some(asset) = path.strip_prefix("assets/") else {
        return false;
    };
    match asset.split_once('/') {
        None => end_is(8, &|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'),
        Some((directory, _)) => directory.rsplit_once('-').is_some_and(|(_, version)| {
            let numbers: Vec<_> = version.split('.').collect();
            numbers.len() == 3 && numbers.iter().all(|number| number.parse::<u32>().is_ok())
        }),
    }
}

/// The same input always gives the same bytes: no time, no name.
fn gzip(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut encoder = GzBuilder::new().operating_system(255).write(Vec::new(), Compression::best());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).map_err(|error| format!("cannot compress: {error}"))
}
