//! Checks that each name means one thing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use crate::reading::{code_of, sources};

#[test]
fn no_two_types_have_one_name() {
    let mut files_by_name: BTreeMap<String, BTreeSet<PathBuf>> = BTreeMap::new();
    for file in sources(Path::new("src")) {
        for name in types(&code_of(&fs::read_to_string(&file).unwrap())) {
            files_by_name.entry(name).or_default().insert(file.clone());
        }
    }
    files_by_name.retain(|_, files| files.len() > 1);
    assert!(files_by_name.is_empty(), "{files_by_name:#?}");
}

/// The types of a file, except associated ones.
fn types(code: &str) -> Vec<String> {
    let begins = |line: &str| {
        line.starts_with("pub") || ["struct", "enum", "trait", "type"].iter().any(|word| line.starts_with(word))
    };
    let name = |line: &str| {
        let mut words =
            line.split(|letter: char| !(letter.is_alphanumeric() || letter == '_')).filter(|word| !word.is_empty());
        words.find(|word| ["struct", "enum", "trait", "type"].contains(word))?;
        words.next().map(str::to_owned)
    };
    // Types made by `labels!` are indented by one step.
    code.lines()
        .map(|line| line.strip_prefix("    ").filter(|line| line.starts_with("pub enum")).unwrap_or(line))
        .filter(|line| begins(line))
        .filter_map(name)
        .collect()
}

#[test]
fn types_are_found_by_their_names() {
    let code = "pub(crate) struct A<T> {\n    type Not = u8;\n}\nenum B {}\nlabels! {\n    pub enum C {}\n}\npub trait D: E {}";
    assert_eq!(types(code), ["A", "B", "C", "D"]);
}
