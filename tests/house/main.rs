//! Checks what each room of the house may import, from the sources themselves.
#![allow(clippy::unwrap_used)]

mod arrows;
mod cores;
mod names;
mod picture;
mod reading;
