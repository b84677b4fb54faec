//! npm, run in a copy of the sources below `OUT_DIR`.

use std::{fs, path::Path, process::Command};

use super::{
    embed::{copy_tree, in_context},
    sources::{MANIFEST, Sources, manifest_of},
};

/// How much of npm's output is shown when it fails.
const SHOWN_LINES: usize = 40;

/// Where the workspace's builds end up, below the copy. Everything in them is served from `/`.
const BUILT: [&str; 2] = ["app/dist", "client/dist"];

/// Builds the pages of `sources` in `copy` and puts them into `pages`.
pub(crate) fn build(sources: &Sources, copy: &Path, pages: &Path) -> Result<(), String> {
    let node = node_version()?;
    sources.copy_to(copy)?;
    // Packages may contain programs for this version of Node.js.
    let packages = format!("{node} {}", sources.packages_fingerprint());
    if !is_stamped(copy, "packages", &packages) {
        unstamp(copy, "packages")?;
        // Scripts of packages do not run: no needed package has one, and nobody has reviewed those of future versions.
        let args = ["ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"];
        npm(copy, &args, "cannot install the packages that the pages are built with (is there a network?)")?;
        stamp(copy, "packages", &packages)?;
    }
    let built = format!("{packages} {}", sources.fingerprint());
    if is_stamped(copy, "built", &built) && pages.join(MANIFEST).exists() {
        return Ok(());
    }
    unstamp(copy, "built")?;
    npm(copy, &["run", "build"], "cannot build the pages from web/")?;
    if pages.exists() {
        fs::remove_dir_all(pages).map_err(in_context("cannot remove", pages))?;
    }
    for part in BUILT {
        copy_tree(&copy.join(part), pages)?;
    }
    let manifest = manifest_of(pages, &sources.fingerprint())?;
    let path = pages.join(MANIFEST);
    fs::write(&path, manifest).map_err(in_context("cannot write", &path))?;
    stamp(copy, "built", &built)
}

/// The version of the installed Node.js, if it is new enough.
fn node_version() -> Result<String, String> {
    let remedy = "install Node.js 20.19+ or 22.12+ with npm, or leave the pages out: cargo build --no-default-features";
    let version = |program: &str| {
        let output = Command::new(program).arg("--version").output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(node) = version("node") else {
        return Err(format!("the pages need Node.js to be built, and there is no `node`: {remedy}"));
    };
    if !is_new_enough(&node) {
        return Err(format!("the pages need a newer Node.js to be built than {node}: {remedy}"));
    }
    if version("npm").is_none() {
        return Err(format!("the pages need npm to be built, and there is no `npm`: {remedy}"));
    }
    Ok(node)
}

/// The versions that Vite requires.
pub(crate) fn is_new_enough(version: &str) -> bool {
    let mut numbers = version.trim_start_matches('v').split('.').map(|number| number.parse().unwrap_or(0));
    let (major, minor): (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    match major {
        20 => minor >= 19,
        22 => minor >= 12,
        _ => major > 22,
    }
}

/// Runs npm in `copy`. The error is `problem`, followed by the end of npm's output.
fn npm(copy: &Path, args: &[&str], problem: &str) -> Result<(), String> {
    let mut command = Command::new("npm");
    command.args(args).current_dir(copy).env("NO_COLOR", "1").env("CI", "1");
    // Variables of an outer npm are about another package.
    command.env_remove("NODE_ENV").env_remove("NODE_OPTIONS");
    let output = command.output().map_err(|error| format!("cannot run npm: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let lines: Vec<_> = said.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let shown = &lines[lines.len().saturating_sub(SHOWN_LINES)..];
    Err(format!("{problem}; `npm {}` says:\n{}", args.join(" "), shown.join("\n")))
}

/// A step leaves a stamp when it is done, so that an interrupted step is repeated.
fn is_stamped(copy: &Path, step: &str, state: &str) -> bool {
    fs::read_to_string(copy.join(format!("{step}.stamp"))).is_ok_and(|stamp| stamp == state)
}

fn stamp(copy: &Path, step: &str, state: &str) -> Result<(), String> {
    let path = copy.join(format!("{step}.stamp"));
    fs::write(&path, state).map_err(in_context("cannot write", &path))
}

fn unstamp(copy: &Path, step: &str) -> Result<(), String> {
    let path = copy.join(format!("{step}.stamp"));
    match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(in_context("cannot remove", &path)(error)),
        _ => Ok(()),
    }
}
