//! docs/rooms.svg is drawn from what the sources import, so that it is always true.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
};

use crate::{
    arrows::{FLOORS, room_of},
    reading::arrows,
};

const FILE: &str = "docs/rooms.svg";
/// If this variable is set, the picture is written, not compared.
const DRAW: &str = "BIMCC_RTC_DRAW";

const WIDTH: usize = 960;
const ROW: usize = 76;
const BOX: (usize, usize) = (168, 40);
const TOP: usize = 16;

#[test]
fn the_picture_of_the_rooms_is_what_they_import() {
    let drawn = drawn();
    if std::env::var_os(DRAW).is_some() {
        fs::write(FILE, &drawn).unwrap();
    }
    let kept = fs::read_to_string(FILE).unwrap_or_default();
    assert!(kept == drawn, "{FILE} is out of date: draw it with {DRAW}=1 cargo test --test house");
}

type Room = &'static str;

/// Each room with the rooms that it imports from, except those that it reaches through others.
fn edges() -> BTreeSet<(Room, Room)> {
    let mut below: BTreeMap<Room, BTreeSet<Room>> = BTreeMap::new();
    for (file, others) in arrows() {
        let room = room_of(&file).1;
        below
            .entry(room)
            .or_default()
            .extend(others.iter().map(|other| room_of(other).1).filter(|other| *other != room));
    }
    // There are no circles, which the test of arrows checks.
    fn reaches(from: Room, to: Room, below: &BTreeMap<Room, BTreeSet<Room>>) -> bool {
        below[from].iter().any(|next| *next == to || reaches(next, to, below))
    }
    let is_direct =
        |room: Room, other: Room| !below[room].iter().any(|next| *next != other && reaches(next, other, &below));
    let all = below.iter().flat_map(|(room, others)| others.iter().map(move |other| (*room, *other)));
    all.filter(|(room, other)| is_direct(room, other)).collect()
}

fn drawn() -> String {
    let height = TOP + FLOORS.len() * ROW;
    // The middle of a box's upper edge.
    let place = |room: Room| {
        let (floor, (index, rooms)) = FLOORS
            .iter()
            .enumerate()
            .find_map(|(floor, rooms)| Some((floor, (rooms.iter().position(|(name, _)| *name == room)?, rooms.len()))))
            .unwrap();
        // A single room is placed left and right in turn, so that arrows to others pass it.
        let x = if rooms == 1 { WIDTH / 2 - 120 + 240 * (floor % 2) } else { WIDTH * (2 * index + 1) / (2 * rooms) };
        (x, TOP + (FLOORS.len() - 1 - floor) * ROW)
    };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"14\" text-anchor=\"middle\">\n\
         <title>The rooms of src, and which imports from which. What is reached by way of another room has no arrow of its \
         own.</title>\n\
         <defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" \
         orient=\"auto\"><path d=\"M0 0 8 4 0 8z\" fill=\"#64748b\"/></marker></defs>\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n\
         <g fill=\"none\" stroke=\"#64748b\" marker-end=\"url(#tip)\">\n"
    );
    for (room, other) in edges() {
        let ((x, y), (to_x, to_y)) = (place(room), place(other));
        let y = y + BOX.1;
        let bend = (to_y - y) / 2;
        let _ = writeln!(
            svg,
            "<path d=\"M{x} {y}C{x} {} {to_x} {} {to_x} {}\" marker-end=\"url(#tip)\"/>",
            y + bend,
            to_y - bend,
            to_y - 1
        );
    }
    svg.push_str("</g>\n");
    for (room, _) in FLOORS.iter().flat_map(|rooms| rooms.iter()) {
        let (x, y) = place(room);
        let (left, width, height) = (x - BOX.0 / 2, BOX.0, BOX.1);
        let _ = writeln!(
            svg,
            "<rect x=\"{left}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"6\" fill=\"#eef2ff\" \
             stroke=\"#475569\"/><text x=\"{x}\" y=\"{}\">{room}</text>",
            y + 25
        );
    }
    svg.push_str("</svg>\n");
    svg
}

#[test]
fn every_room_of_the_floors_has_files() {
    let rooms: BTreeSet<_> = arrows().keys().map(|file| room_of(file).1).collect();
    for (room, _) in FLOORS.iter().flat_map(|rooms| rooms.iter()) {
        assert!(rooms.contains(room), "{room}");
    }
}
