//! Checks what each room of the house may import, from the sources themselves.
#![allow(clippy::unwrap_used)]

mod arrows;
// Of the bench that writes the tables.
#[path = "../../benches/relay/chart.rs"]
mod bars;
mod chart;
mod cores;
#[path = "../../benches/relay/document.rs"]
mod document;
mod names;
mod picture;
mod reading;
