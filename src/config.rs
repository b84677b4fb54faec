//! Turns what was typed into [`Config`], which is valid by construction.
//!
//! [`Draft::read`] merges flags, environment, file and defaults, in this order of precedence (`settings`), reads each
//! value (`parse`, `reader`) and collects *all* mistakes. Each mistake names the place where a person finds the value,
//! and what to write instead. Only the file of `--config` is read from the disk.

mod decided;
mod draft;
mod log;
mod parse;
mod reader;
mod settings;

pub use self::{
    decided::*,
    draft::{ConfigError, Draft},
    parse::{credential_ttl, origin, public_host},
    settings::{KEYS, unknown_variables},
};

#[cfg(test)]
mod tests;
