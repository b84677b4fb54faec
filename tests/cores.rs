//! What the cores may know: their imports against a list, and words that must not stand in them.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
};

struct Core {
    /// Files and directories below src/.
    files: &'static [&'static str],
    /// Beginnings of paths that may be imported, beside its own modules.
    may_import: &'static [&'static str],
}

const SIGNALING: Core = Core {
    files: &[
        "signaling/core",
        "signaling/clock.rs",
        "signaling/close_reason.rs",
        "signaling/error.rs",
        "signaling/room_name.rs",
        "signaling/wire.rs",
        "signaling/wire/write.rs",
    ],
    may_import: &[
        "base64",
        "crate::ice_servers::IceServers",
        "crate::label",
        "crate::membership::MemberId",
        "crate::membership::RoomTag",
        "crate::signaling::clock",
        "crate::signaling::close_reason",
        "crate::signaling::core",
        "crate::signaling::error",
        "crate::signaling::wire",
        "effects",
        "icu_normalizer",
        "ring::hmac",
        "serde",
        "serde_json",
        "slab",
        "std::borrow",
        "std::collections",
        "std::fmt",
        "std::net::IpAddr",
        "std::num",
        "std::sync::Arc",
        "std::time::Duration",
        "std::time::Instant",
        "std::time::SystemTime",
        "write",
    ],
};

const TURN: Core = Core {
    files: &[
        "token_bucket.rs",
        "turn/allocation.rs",
        "turn/auth.rs",
        "turn/bitrate.rs",
        "turn/channel_data.rs",
        "turn/framing.rs",
        "turn/message.rs",
        "turn/message",
        "turn/session.rs",
        "turn/session",
    ],
    may_import: &[
        "base64",
        "bytes",
        "crate::credentials",
        "crate::label",
        "crate::membership",
        "crate::token_bucket",
        "crate::turn",
        "ring",
        "std",
        "stun",
        "turn",
    ],
};

/// Runtimes, sockets, clocks, files, locks, metrics, logs and randomness, which maps by hash draw for themselves.
const OUTSIDE: [&str; 36] = [
    "Atomic",
    "Condvar",
    "HashMap",
    "HashSet",
    "Instant::now",
    "Lock",
    "Mutex",
    "OnceLock",
    "RandomState",
    "SystemTime::now",
    "TcpListener",
    "TcpSocket",
    "TcpStream",
    "UdpSocket",
    "arc_swap",
    "axum",
    "crossbeam",
    "hyper",
    "locks",
    "log",
    "metrics",
    "mio",
    "nix",
    "observe",
    "prometheus",
    "quinn_udp",
    "rand",
    "rustix",
    "socket2",
    "std::env",
    "std::fs",
    "std::process",
    "thread",
    "tokio",
    "tracing",
    "tungstenite",
];

#[test]
fn rooms_know_nothing_of_the_outside() {
    SIGNALING.is_pure();
}

#[test]
fn turn_sessions_know_nothing_of_the_outside() {
    TURN.is_pure();
}

impl Core {
    fn is_pure(&self) {
        let files: Vec<_> = self.files.iter().flat_map(|file| sources(&Path::new("src").join(file))).collect();
        assert!(files.len() >= self.files.len(), "files are missing: {files:?}");
        let mut faults = Vec::new();
        for file in &files {
            let code = code_of(&fs::read_to_string(file).unwrap());
            for path in imports(&code) {
                let is_own = ["super", "self"].iter().any(|own| path.starts_with(own));
                if !is_own && !self.may_import.iter().any(|known| begins_with(&path, known)) {
                    faults.push(format!("{} imports {path}", file.display()));
                }
            }
            for word in OUTSIDE.iter().filter(|word| names(&code, word)) {
                faults.push(format!("{} names {word}", file.display()));
            }
        }
        assert!(faults.is_empty(), "{faults:#?}");
    }
}

/// All Rust files there, but for tests.
fn sources(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut files: Vec<_> = entries.flat_map(|entry| sources(&entry.unwrap().path())).collect();
    files.retain(|file| !["tests.rs", "samples.rs"].iter().any(|tests| file.ends_with(tests)));
    files.sort();
    files
}

/// Without comments, and without what follows the first module of tests.
fn code_of(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap();
    text.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

/// All paths that are imported, one by one.
fn imports(code: &str) -> Vec<String> {
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

fn begins_with(path: &str, known: &str) -> bool {
    path.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with("::") || rest.starts_with(" as "))
}

/// Whether the word stands there as a word; one with a capital also as the beginning of one.
fn names(code: &str, word: &str) -> bool {
    let is_part = |letter: Option<char>| letter.is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
    code.match_indices(word).any(|(at, _)| {
        let (before, after) = (code[..at].chars().next_back(), code[at + word.len()..].chars().next());
        !is_part(before) && (word == "Atomic" || !is_part(after))
    })
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
