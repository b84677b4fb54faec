//! What each room of the house may know, read from the sources themselves.
#![allow(clippy::unwrap_used)]

mod arrows;
mod cores;
mod names;
mod picture;
mod reading;
