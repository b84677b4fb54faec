//! The rules of RFC 8656 and RFC 8489 that the TURN core follows: one test per rule, named after its section.
#![allow(clippy::unwrap_used)]

mod allocate;
mod authentication;
mod channels;
mod elsewhere;
mod harness;
mod icmp;
mod permissions;
mod properties;
mod refresh;
mod reservations;
mod send_and_data;
mod sha256;
mod strangers;
mod stun_messages;
mod two_families;
