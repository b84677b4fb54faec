//! docs/benchmarks.svg shows what docs/BENCHMARKS.md says.

use std::fs;

use crate::bars::draw;

const DOCUMENT: &str = "docs/BENCHMARKS.md";
const FILE: &str = "docs/benchmarks.svg";
/// Set: the picture is written, not compared.
const DRAW: &str = "BIMCC_RTC_DRAW";

#[test]
fn the_chart_shows_what_the_tables_say() {
    let drawn = draw(&fs::read_to_string(DOCUMENT).unwrap());
    if std::env::var_os(DRAW).is_some() {
        fs::write(FILE, &drawn).unwrap();
    }
    let kept = fs::read_to_string(FILE).unwrap_or_default();
    assert!(kept == drawn, "{FILE} is out of date: draw it with {DRAW}=1 cargo test --test house");
}
