//! Reads the imports of sources, in enough detail to know which file uses which.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// All Rust files there, except tests.
pub(crate) fn sources(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut files: Vec<_> = entries.flat_map(|entry| sources(&entry.unwrap().path())).collect();
    files.retain(|file| {
        let is_of_tests = file.iter().any(|part| part == "tests");
        !is_of_tests && !["tests.rs", "samples.rs"].iter().any(|tests| file.ends_with(tests))
    });
    files.sort();
    files
}

/// The text without comments, and without everything after the first module of tests.
pub(crate) fn code_of(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap();
    text.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

/// All imported paths, one by one.
pub(crate) fn imports(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for (at, _) in code.match_indices("use ") {
        let before = code[..at].rsplit('\n').next().unwrap().trim();
        if ["", "pub", "pub(crate)", "pub(super)"].contains(&before) {
            let statement = code[at..].split(';').next().unwrap();
            expand("", &statement["use ".len()..].split_whitespace().collect::<Vec<_>>().join(" "), &mut paths);
        }
    }
    paths
}

/// `a::{b, c::{d, e}}` is `a::b`, `a::c::d` and `a::c::e`.
fn expand(before: &str, tree: &str, paths: &mut Vec<String>) {
    let Some((head, rest)) = tree.split_once('{') else {
        return paths.push(format!("{before}{}", tree.trim()));
    };
    let before = format!("{before}{}", head.trim());
    let inner = &rest[..rest.rfind('}').unwrap()];
    let (mut depth, mut start) = (0, 0);
    for (at, letter) in inner.char_indices().chain([(inner.len(), ',')]) {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !inner[start..at].trim().is_empty() {
                    expand(&before, &inner[start..at], paths);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

pub(crate) fn begins_with(path: &str, known: &str) -> bool {
    path.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with("::") || rest.starts_with(" as "))
}

/// Whether the code contains the word as a whole word; a capitalized word also counts as the beginning of one.
pub(crate) fn names(code: &str, word: &str) -> bool {
    let is_part = |letter: Option<char>| letter.is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
    code.match_indices(word).any(|(at, _)| {
        let (before, after) = (code[..at].chars().next_back(), code[at + word.len()..].chars().next());
        !is_part(before) && (word == "Atomic" || !is_part(after))
    })
}

/// Every file of `src` as a module, with the files that it names.
pub(crate) fn arrows() -> BTreeMap<PathBuf, BTreeSet<PathBuf>> {
    let modules: BTreeMap<_, _> = sources(Path::new("src")).into_iter().map(|file| (module_of(&file), file)).collect();
    let arrows_of = |(module, file): (&Vec<String>, &PathBuf)| {
        let code = code_of(&fs::read_to_string(file).unwrap());
        let named = paths(&code).into_iter().filter_map(|path| file_of(&path, module, &modules));
        (file.clone(), named.filter(|other| other != file).collect())
    };
    modules.iter().map(arrows_of).collect()
}

/// `src/turn/io/mod.rs` and `src/turn/io.rs` are `turn::io`.
fn module_of(file: &Path) -> Vec<String> {
    let below = file.strip_prefix("src").unwrap().with_extension("");
    let mut module: Vec<_> = below.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    if ["mod", "lib"].contains(&module.last().unwrap().as_str()) {
        module.pop();
    }
    module
}

/// The file of the innermost module on a path, if it belongs to this crate.
fn file_of(path: &[String], module: &[String], modules: &BTreeMap<Vec<String>, PathBuf>) -> Option<PathBuf> {
    let mut at = match path.first()?.as_str() {
        "crate" => Vec::new(),
        "self" | "super" => module.to_vec(),
        // A module that this one declares.
        child => [module, &[child.to_owned()]].concat(),
    };
    if !["crate", "self", "super"].contains(&path[0].as_str()) && !modules.contains_key(&at) {
        return None;
    }
    let mut found = at.clone();
    for part in path {
        match part.as_str() {
            "crate" | "bimcc_rtc" | "self" => {}
            "super" => drop(at.pop()),
            part if at.last().is_some_and(|last| last == part) && at.len() > module.len() => {}
            part => at.push(part.to_owned()),
        }
        if modules.contains_key(&at) {
            found.clone_from(&at);
        }
    }
    // The root declares all modules and is not a room.
    if found.is_empty() { None } else { modules.get(&found).cloned() }
}

/// Paths that are imported or written out, and those that begin with an imported name.
fn paths(code: &str) -> Vec<Vec<String>> {
    let code = &code.replace("(in crate", "(in ");
    let split = |path: &str| path.split("::").map(str::to_owned).collect::<Vec<_>>();
    let imported: Vec<_> = imports(code)
        .iter()
        .map(|path| {
            let (path, name) = path.split_once(" as ").map_or((path.as_str(), None), |(path, name)| (path, Some(name)));
            let path: Vec<_> = split(path).into_iter().filter(|part| part != "*").collect();
            let path =
                if path.len() > 1 && path.last().unwrap() == "self" { path[..path.len() - 1].to_vec() } else { path };
            let name = name.map_or_else(|| path.last().unwrap().clone(), str::to_owned);
            (name, path)
        })
        .collect();
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':';
    let written =
        code.split(|letter| !is_part(letter)).filter(|word| word.contains("::") && !word.ends_with(':')).map(|word| {
            let path = split(word.trim_start_matches(':'));
            match imported.iter().find(|(name, _)| *name == path[0]) {
                Some((_, begin)) => [begin, &path[1..]].concat(),
                None => path,
            }
        });
    let written: Vec<_> = written.collect();
    imported.into_iter().map(|(_, path)| path).chain(written).collect()
}

#[test]
fn imports_are_read_one_by_one() {
    let code = "use std::{fmt, sync::{Arc, atomic::{AtomicU8, Ordering}}};\nuse tokio::time as t;\npub use self::a::B;";
    let expected = [
        "std::fmt",
        "std::sync::Arc",
        "std::sync::atomic::AtomicU8",
        "std::sync::atomic::Ordering",
        "tokio::time as t",
        "self::a::B",
    ];
    assert_eq!(imports(code), expected);
    assert!(names("let a = Instant::now();", "Instant::now") && !names("blog(log_it)", "log"));
    assert!(begins_with("serde_json::Value", "serde_json") && !begins_with("serde_json::Value", "serde"));
    assert_eq!(code_of("a // tokio\n#[cfg(test)]\nmod tests {\n tokio }"), "a ");
}
