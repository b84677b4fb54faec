//! Holds the core to the instructions that it took: counts them by valgrind and compares them with `instructions.txt`.
//!
//! Instructions do not depend on what else the machine does, so that a few per cent show. They depend on the architecture, and
//! a little on the processor (the C library picks its copying by it): hence the limit.

use std::{collections::BTreeMap, fmt::Write, fs, path::PathBuf, process::Command};

use crate::WAYS;

/// More than this share above the kept figure is too much.
const LIMIT: f64 = 0.05;

/// Operations of the two runs: what the difference took is what that many operations take.
const FEW: u64 = 200;
const MANY: u64 = 5200;

const ACCEPT: &str = "cargo bench --no-default-features --bench session -- --accept";

/// Instructions by architecture and way.
type Figures = BTreeMap<(String, String), u64>;

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/session/instructions.txt")
}

/// Counts and compares; with `accept` the counted figures become the kept ones. Whether all is well.
pub(crate) fn run(accept: bool) -> bool {
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("SKIPPED: valgrind is not installed");
        return !accept;
    }
    let architecture = std::env::consts::ARCH;
    let mut kept = read();
    let mut grown = Vec::new();
    println!("{:12} {:>10} {:>10}", "instructions", "kept", "now");
    for way in WAYS {
        let now = (count(way, MANY) - count(way, FEW)) / (MANY - FEW);
        let key = (architecture.to_owned(), way.to_owned());
        let Some(before) = kept.insert(key, now) else {
            println!("{way:12} {:>10} {now:>10}", "none");
            continue;
        };
        let change = now as f64 / before as f64 - 1.0;
        println!("{way:12} {before:>10} {now:>10} {:+7.1} %", change * 100.0);
        if change > LIMIT {
            grown.push(way);
        }
    }
    if accept {
        fs::write(file(), written(&kept)).unwrap();
        println!("Kept in {}", file().display());
        return true;
    }
    if !grown.is_empty() {
        let ways = grown.join(", ");
        println!("{ways}: more than {:.0} % above what is kept. Worth it? Then: {ACCEPT}", LIMIT * 100.0);
    }
    grown.is_empty()
}

/// The instructions of a whole run of this program with so many operations.
fn count(way: &str, operations: u64) -> u64 {
    let own = std::env::current_exe().unwrap();
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(own)
        .args([way, &operations.to_string()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    collected.filter(|_| output.status.success()).unwrap_or_else(|| panic!("valgrind counted nothing:\n{said}"))
}

fn read() -> Figures {
    let text = fs::read_to_string(file()).unwrap_or_default();
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| match line.split_whitespace().collect::<Vec<_>>()[..] {
            [architecture, way, figure] => ((architecture.to_owned(), way.to_owned()), figure.parse().unwrap()),
            _ => panic!("not an architecture, a way and a figure: {line}"),
        })
        .collect()
}

fn written(figures: &Figures) -> String {
    let mut text = format!(
        "# Instructions of one operation, as `./test.sh instructions` counts them. A change that is worth more of them says so:\n\
         # {ACCEPT}\n"
    );
    for ((architecture, way), figure) in figures {
        // Writing to a string never fails.
        let _ = writeln!(text, "{architecture} {way} {figure}");
    }
    text
}
