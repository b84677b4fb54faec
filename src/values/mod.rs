//! The ground floor: plain types with their rules. They know nothing of the rest of the program, and all of it may use
//! them. No I/O, no clock.

pub mod addresses;
pub mod family;
pub mod host;
pub mod label;
pub mod member;
pub mod ports;
pub mod prefixes;
pub mod relayed_address;
pub(crate) mod roomy;
pub(crate) mod sites;
pub mod tls_files;
pub mod token_bucket;
pub mod turned_away;
