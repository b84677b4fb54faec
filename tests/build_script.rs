//! The build script's parts: what counts as a source of the pages, what is copied, and which built pages are used.
#![cfg(feature = "pages")]
#![allow(clippy::unwrap_used)]

#[path = "../build/embed.rs"]
mod embed;
#[allow(dead_code, reason = "running npm is left to the build itself")]
#[path = "../build/node.rs"]
mod node;
#[allow(dead_code, reason = "cargo is told by the build itself")]
#[path = "../build/sources.rs"]
mod sources;

use std::{fs, path::Path};

use sources::{MANIFEST, Sources, manifest_of};
use tempfile::TempDir;

/// A workspace with every kind of source, and with many other files.
fn web() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for path in SOURCES.iter().chain(OTHERS) {
        write(directory.path(), path, path);
    }
    directory
}

const SOURCES: &[&str] = &[
    ".npmrc",
    "app/check.html",
    "app/index.html",
    "app/package.json",
    "app/public/icon.svg",
    "app/src/deep/er.tsx",
    "app/src/main.tsx",
    "app/vite.config.ts",
    "app/vite/plugin.ts",
    "client/package.json",
    "client/src/index.ts",
    "package-lock.json",
    "package.json",
];

const OTHERS: &[&str] = &[
    "README.md",
    "app/dist/index.html",
    "app/node_modules/react/index.js",
    "app/src/main.test.tsx",
    "app/test/main.test.ts",
    "biome.json",
    "client/.cache/x.ts",
    "client/dist/client.js",
    "node_modules/vite/package.json",
    "vitest.config.ts",
];

fn write(directory: &Path, path: &str, text: &str) {
    let path = directory.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn fingerprint(web: &Path) -> String {
    Sources::find(web).unwrap().fingerprint()
}

#[test]
fn only_sources_are_copied_and_what_went_away_goes_from_the_copy() {
    let (web, copy) = (web(), tempfile::tempdir().unwrap());
    let copied = || embed::list_files(copy.path(), &|_| false).unwrap();
    Sources::find(web.path()).unwrap().copy_to(copy.path()).unwrap();
    assert_eq!(copied(), SOURCES);

    write(copy.path(), "node_modules/vite/index.js", "installed there");
    write(copy.path(), "app/dist/index.html", "built there");
    write(copy.path(), "built.stamp", "done");
    fs::remove_file(web.path().join("app/src/deep/er.tsx")).unwrap();
    let before = fs::metadata(copy.path().join("package.json")).unwrap().modified().unwrap();
    Sources::find(web.path()).unwrap().copy_to(copy.path()).unwrap();
    let mut expected: Vec<_> = SOURCES.iter().copied().filter(|path| !path.contains("deep")).collect();
    expected.extend(["node_modules/vite/index.js", "app/dist/index.html", "built.stamp"]);
    expected.sort_unstable();
    assert_eq!(copied(), expected);
    let after = fs::metadata(copy.path().join("package.json")).unwrap().modified().unwrap();
    assert_eq!(before, after, "what is the same is not written again");
}

#[test]
fn the_fingerprint_changes_with_sources_and_with_nothing_else() {
    let web = web();
    let first = fingerprint(web.path());
    for path in OTHERS {
        write(web.path(), path, "changed");
    }
    assert_eq!(fingerprint(web.path()), first);
    let mut seen = vec![first];
    for path in SOURCES.iter().chain(&["app/src/new.ts", "app/new.html"]) {
        write(web.path(), path, "changed");
        let now = fingerprint(web.path());
        assert!(!seen.contains(&now), "{path}");
        seen.push(now);
    }
}

#[test]
fn packages_are_installed_anew_for_lists_of_packages_alone() {
    let web = web();
    let packages = || Sources::find(web.path()).unwrap().packages_fingerprint();
    let first = packages();
    write(web.path(), "app/src/main.tsx", "changed");
    assert_eq!(packages(), first);
    for path in ["package-lock.json", "client/package.json", ".npmrc"] {
        let before = packages();
        write(web.path(), path, "changed");
        assert_ne!(packages(), before, "{path}");
    }
}

#[test]
fn built_pages_are_taken_if_they_are_whole_and_of_these_sources() {
    let web = web();
    let prebuilt = || Sources::find(web.path()).unwrap().prebuilt();
    assert_eq!(prebuilt(), Ok(None));
    let directory = web.path().join("prebuilt");
    write(&directory, "index.html", "page");
    write(&directory, "assets/a.js", "script");
    assert_eq!(prebuilt(), Ok(None), "without a manifest they may be half a copy");
    let manifest = manifest_of(&directory, &fingerprint(web.path())).unwrap();
    write(&directory, MANIFEST, &manifest);
    assert_eq!(prebuilt(), Ok(Some(directory.clone())));

    write(&directory, "assets/a.js", "another");
    assert!(prebuilt().unwrap_err().contains("MANIFEST"));
    write(&directory, "assets/a.js", "script");
    fs::remove_file(directory.join("index.html")).unwrap();
    assert!(prebuilt().is_err());
    write(&directory, "index.html", "page");
    assert_eq!(prebuilt(), Ok(Some(directory.clone())));
    write(web.path(), "app/src/main.tsx", "changed");
    assert_eq!(prebuilt(), Ok(None), "they are of other sources");

    let alone = tempfile::tempdir().unwrap();
    embed::copy_tree(&directory, &alone.path().join("prebuilt")).unwrap();
    let found = Sources::find(alone.path()).unwrap().prebuilt();
    assert_eq!(found, Ok(Some(alone.path().join("prebuilt"))), "without sources there is nothing to compare with");
}

#[test]
fn two_files_for_one_path_are_a_mistake() {
    let (web, to) = (web(), tempfile::tempdir().unwrap());
    write(to.path(), "index.html", "another");
    assert!(embed::copy_tree(&web.path().join("app"), to.path()).unwrap_err().contains("/index.html"));
}

#[test]
fn the_same_pages_make_the_same_table() {
    let (pages, outs) = (tempfile::tempdir().unwrap(), [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()]);
    write(pages.path(), "index.html", &"long and dull ".repeat(100));
    write(pages.path(), "assets/x-12345678.js", "x");
    write(pages.path(), MANIFEST, "not served");
    let tables = outs.each_ref().map(|out| {
        embed::write_table(pages.path(), out.path()).unwrap();
        let files = embed::list_files(out.path(), &|_| false).unwrap();
        files.into_iter().map(|file| (fs::read(out.path().join(&file)).unwrap(), file)).collect::<Vec<_>>()
    });
    assert_eq!(tables[0], tables[1]);
    let table = fs::read_to_string(outs[0].path().join("pages.rs")).unwrap();
    assert!(table.contains("PAGES: [Page; 2]") && !table.contains(MANIFEST), "{table}");
    assert!(table.contains(r#"("/assets/x-12345678.js", "text/javascript; charset=utf-8""#), "{table}");
    assert!(table.contains(r#"true, false, include_bytes!("pages/assets/x-12345678.js")"#), "too short to compress");
    assert!(table.contains(r#"false, true, include_bytes!("compressed/"#), "{table}");
}

#[test]
fn names_that_change_with_their_content_are_known() {
    for path in [
        "assets/index-CqtleenF.js",
        "assets/rough.esm-Dy-Kn_BL.js",
        "assets/Assistant-Bold-gm-uSS1B.woff2",
        "assets/board-0.18.1/fonts/Virgil/Virgil-Regular.woff2",
        "fonts/Xiaolai-Regular-019d66dcad46dc156b162d267f981c20.woff2",
    ] {
        assert!(embed::is_hashed(path), "{path}");
    }
    for path in [
        "index.html",
        "client.js",
        "BimccWebRTC.js",
        "assets/index.js",
        "assets/fonts/Assistant-SemiBold.woff2",
        "assets/board-latest/x.js",
        "my-longname.js",
        "",
        "-",
    ] {
        assert!(!embed::is_hashed(path), "{path}");
    }
}

#[test]
fn types_are_those_that_browsers_want() {
    for (path, content_type) in [
        ("a/b.js", "text/javascript; charset=utf-8"),
        ("client.d.ts", "text/plain; charset=utf-8"),
        ("x.wasm", "application/wasm"),
        ("x.woff2", "font/woff2"),
        ("LICENSE", "application/octet-stream"),
    ] {
        assert_eq!(embed::content_type(path), content_type, "{path}");
    }
}

#[test]
fn old_versions_of_node_are_known() {
    for version in ["v20.19.0", "v20.20.2", "v22.12.0", "v24.0.0", "v23.1.0"] {
        assert!(node::is_new_enough(version), "{version}");
    }
    for version in ["v18.19.0", "v20.18.3", "v21.7.3", "v22.11.0", "v8.0.0", "", "vx.y"] {
        assert!(!node::is_new_enough(version), "{version}");
    }
}
