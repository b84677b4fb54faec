//! What the cores may use: compares their imports with a list, and looks for words that they must not contain.

use std::{fs, path::Path};

use crate::reading::{begins_with, code_of, imports, names, sources};

struct Core {
    /// Files and directories below src/.
    files: &'static [&'static str],
    /// The beginnings of paths that may be imported, besides the core's own modules.
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
        "signaling/wire/fields.rs",
        "signaling/wire/write.rs",
    ],
    may_import: &[
        "base64",
        "crate::ice_servers::IceServers",
        "crate::membership::RoomTag",
        "crate::signaling::clock",
        "crate::signaling::close_reason",
        "crate::signaling::core",
        "crate::signaling::error",
        "crate::signaling::wire",
        "crate::values",
        "effects",
        "fields",
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
    files: &["turn/core", "turn/shared/auth.rs", "turn/shared/bitrate.rs", "turn/wire", "values/token_bucket.rs"],
    may_import: &[
        "base64",
        "bytes",
        "crate::credentials",
        "crate::membership",
        "crate::turn",
        "crate::values",
        "ring",
        "std",
        "stun",
        "turn",
    ],
};

/// Runtimes, sockets, clocks, files, locks, metrics, logs and randomness, which hash maps use internally.
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
