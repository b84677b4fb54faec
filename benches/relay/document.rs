//! The parts of docs/BENCHMARKS.md that a run of the bench writes, each between a pair of marks.

use std::ops::Range;

pub(crate) fn begin(key: &str) -> String {
    format!("<!-- bench relay: {key} -->")
}

pub(crate) fn end(key: &str) -> String {
    format!("<!-- end of {key} -->")
}

/// The place of a part, without its marks.
pub(crate) fn part(text: &str, key: &str) -> Option<Range<usize>> {
    let (begin, end) = (begin(key), end(key));
    let start = text.find(&begin)? + begin.len();
    let len = text[start..].find(&end)?;
    Some(start..start + len)
}
