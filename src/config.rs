//! What was typed becomes what was decided: [`Config`], valid by construction.
//!
//! [`Draft::read`] lays flags over environment over file over defaults (`settings`), reads each value (`parse`,
//! `reader`) and collects *all* mistakes. Each names the place where a person finds the value, and what to write
//! instead. Of the disk nothing is looked at but the file of `--config`.

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
