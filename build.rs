//! Builds the pages of `web/` with npm and embeds them, so that `cargo build` is enough.
//!
//! There are three steps, each with its own file in `build/`: `sources` (what belongs to the pages, and copying it),
//! `node` (npm in the copy, never in `web/` itself), `embed` (the built files as a table in Rust). `src/http/assets`
//! includes that table; it is empty without the feature `pages`, and on docs.rs, which has no network.
//!
//! Pages that come with a release package (`web/prebuilt`) are used as they are, and then Node.js is not needed.
//! Failures are reported to cargo as build errors, whose first line says what to do.

#[cfg(feature = "pages")]
#[path = "build/embed.rs"]
mod embed;
#[cfg(feature = "pages")]
#[path = "build/node.rs"]
mod node;
#[cfg(feature = "pages")]
#[path = "build/sources.rs"]
mod sources;

use std::{env, fs, path::PathBuf};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-env-changed=DOCS_RS");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    if let Err(problem) = run(&out) {
        for line in problem.lines() {
            println!("cargo::error={line}");
        }
    }
}

#[cfg(feature = "pages")]
fn run(out: &std::path::Path) -> Result<(), String> {
    if env::var_os("DOCS_RS").is_some() {
        return no_pages(out);
    }
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let sources = sources::Sources::find(&root.join("web"))?;
    sources.watch();
    let pages = out.join("pages");
    match sources.prebuilt()? {
        Some(prebuilt) => {
            if pages.exists() {
                fs::remove_dir_all(&pages).map_err(embed::in_context("cannot remove", &pages))?;
            }
            embed::copy_tree(&prebuilt, &pages)?;
        }
        None => node::build(&sources, &out.join("web"), &pages)?,
    }
    embed::write_table(&pages, out)
}

#[cfg(not(feature = "pages"))]
fn run(out: &std::path::Path) -> Result<(), String> {
    no_pages(out)
}

fn no_pages(out: &std::path::Path) -> Result<(), String> {
    let table = out.join("pages.rs");
    fs::write(&table, "pub(super) static PAGES: [Page; 0] = [];\n")
        .map_err(|error| format!("cannot write {}: {error}", table.display()))
}
