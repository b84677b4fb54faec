//! The rules of RFC 8656 and RFC 8489 that the TURN core follows: one test per rule, named after its section.
#![allow(clippy::unwrap_used)]

mod allocate;
mod authentication;
mod channels;
mod elsewhere;
mod events;
mod harness;
mod icmp;
mod permissions;
mod properties;
mod refresh;
mod reservations;
mod send_and_data;
mod sha256;
mod strangers;
mod stun_messages;
mod two_families;

/// The tables in docs/TURN.md name the test of each rule and of each advisory.
#[test]
fn every_test_that_the_documentation_names_exists() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    let mut sources = read("src/turn/wire/framing.rs");
    for directory in ["tests", "tests/turn_rules"] {
        let files = std::fs::read_dir(root.join(directory)).unwrap().map(|entry| entry.unwrap().path());
        for file in files.filter(|path| path.extension().is_some_and(|extension| extension == "rs")) {
            sources += &std::fs::read_to_string(file).unwrap();
        }
    }
    let text = read("docs/TURN.md");
    let is_test = |name: &&str| (name.starts_with("rfc8") || name.starts_with("cve_")) && !name.contains('…');
    let named: Vec<_> = text.split('`').filter(is_test).collect();
    assert!(named.len() > 60, "{} tests are named", named.len());
    for name in named {
        assert!(sources.contains(&format!("fn {name}(")), "{name} is no test");
    }
}
