//! The rules of RFC 8656 and RFC 8489 that the TURN core follows: one test per rule, named after its section.
#![allow(clippy::unwrap_used)]

mod allocate;
mod authentication;
mod channels;
mod harness;
mod permissions;
mod properties;
mod refresh;
mod send_and_data;
mod strangers;
mod stun_messages;
