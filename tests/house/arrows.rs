//! Which room may import from which: no circle among files, no arrow upwards between rooms.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use crate::reading::arrows;

/// Rooms from the ground up, each with the beginnings of its files' paths below src/. Rooms of one floor know nothing
/// of each other. If several beginnings fit, the longest one counts.
pub(crate) const FLOORS: &[&[(&str, &[&str])]] = &[
    &[("values", &["values"])],
    &[("tools", &["disk", "farewell", "files", "interleaving", "locks", "shutdown"])],
    &[("membership", &["membership"]), ("credentials", &["credentials"]), ("net", &["net"]), ("tls", &["tls"])],
    &[("ice_servers", &["ice_servers"]), ("config", &["cli", "config"]), ("state_dir", &["state_dir"])],
    &[("turn/wire", &["turn/wire"]), ("mint", &["mint"]), ("signaling/wire", SIGNALING_WIRE)],
    &[("turn/shared", &["turn/shared"]), ("signaling/core", &["signaling/core"])],
    &[("turn/core", &["turn/core"])],
    &[("observe", &["observe"])],
    &[("turn/io", &["turn"]), ("signaling", &["signaling"])],
    &[("http", &["http"])],
    &[("front", &["front"])],
    &[("admin", &["admin"])],
    &[("app", &["app"])],
    &[("main", &["lib", "main", "program"])],
];

/// What both signaling and its core use.
const SIGNALING_WIRE: &[&str] = &[
    "signaling/clock",
    "signaling/close_reason",
    "signaling/error",
    "signaling/frame",
    "signaling/room_name",
    "signaling/wire",
];

#[test]
fn no_room_knows_one_above_it_or_beside_it() {
    let mut faults = Vec::new();
    for (file, others) in arrows() {
        let (floor, room) = room_of(&file);
        for other in others {
            let (others_floor, others_room) = room_of(&other);
            if room != others_room && others_floor >= floor {
                faults.push(format!("{} -> {} ({room} -> {others_room})", file.display(), other.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

pub(crate) fn room_of(file: &Path) -> (usize, &'static str) {
    let path = file.strip_prefix("src").unwrap();
    let fits = |begin: &str| path.starts_with(begin) || path == Path::new(begin).with_extension("rs");
    let rooms = FLOORS.iter().enumerate().flat_map(|(floor, rooms)| rooms.iter().map(move |room| (floor, room)));
    let fitting = rooms.filter_map(|(floor, (room, begins))| {
        let longest = begins.iter().filter(|begin| fits(begin)).map(|begin| begin.len()).max()?;
        Some((longest, floor, *room))
    });
    let (_, floor, room) = fitting.max().unwrap_or_else(|| panic!("{} is in no room", file.display()));
    (floor, room)
}

#[test]
fn no_file_knows_itself_by_way_of_others() {
    let arrows = arrows();
    let circles = circles(&arrows);
    let shown: Vec<_> = circles.iter().map(|circle| shown(circle, &arrows)).collect();
    assert!(circles.is_empty(), "{}", shown.join("\n\n"));
}

/// The arrows of a circle.
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
