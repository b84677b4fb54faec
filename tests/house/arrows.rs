//! Which room may know which: no circle among files, no arrow upwards between rooms.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use crate::reading::arrows;

/// From the ground up, the rooms of each floor. A file belongs to the room with the longest name that it begins with.
const FLOORS: &[&[&str]] = &[&["values"], &["disk", "files", "interleaving", "locks", "shutdown", "farewell"]];

#[test]
fn no_file_knows_itself_by_way_of_others() {
    let arrows = arrows();
    let circles = circles(&arrows);
    let shown: Vec<_> = circles.iter().map(|circle| shown(circle, &arrows)).collect();
    assert!(circles.is_empty(), "{}", shown.join("\n\n"));
}

/// A circle's arrows.
fn shown(circle: &BTreeSet<PathBuf>, arrows: &BTreeMap<PathBuf, BTreeSet<PathBuf>>) -> String {
    let lines = circle.iter().map(|file| {
        let others: Vec<_> = arrows[file].intersection(circle).map(|other| other.display().to_string()).collect();
        format!("{} -> {}", file.display(), others.join(", "))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The sets of files that all reach each other.
fn circles(arrows: &BTreeMap<PathBuf, BTreeSet<PathBuf>>) -> Vec<BTreeSet<PathBuf>> {
    let reach = |from: &PathBuf| {
        let (mut reached, mut ahead) = (BTreeSet::new(), vec![from]);
        while let Some(file) = ahead.pop() {
            ahead.extend(arrows[file].iter().filter(|other| reached.insert((*other).clone())));
        }
        reached
    };
    let reached: BTreeMap<_, _> = arrows.keys().map(|file| (file, reach(file))).collect();
    let mut circles = BTreeSet::new();
    for (file, to) in &reached {
        if to.contains(*file) {
            circles.insert(to.iter().filter(|other| reached[other].contains(*file)).cloned().collect());
        }
    }
    circles.into_iter().collect()
}
