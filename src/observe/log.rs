//! The log: tracing, to standard error, as text or JSON, through a writer that never blocks anybody.
//!
//! INFO is for what an operator wants to read later, written by the [`Journal`]. Events that strangers can cause
//! without being admitted are DEBUG, packets are TRACE.

mod caps;
mod journal;
mod names;
mod writer;

use std::{
    io::{self, IsTerminal},
    sync::OnceLock,
    time::Duration,
};

use tracing_subscriber::{EnvFilter, fmt::format::FmtSpan};

use self::writer::Lines;
pub use self::{journal::Journal, names::Names};
use crate::config::LogFormat;

/// There is one for the process, like tracing's subscriber.
static LINES: OnceLock<Lines> = OnceLock::new();

/// How long the end of the process may wait for the reader of the log.
const FAREWELL: Duration = Duration::from_millis(500);

/// Starts logging. Does nothing if the process already logs (tests start several servers).
pub fn init(directives: &str, format: LogFormat) {
    let lines = Lines::new();
    if LINES.set(lines.clone()).is_err() {
        return;
    }
    let filter = EnvFilter::new(directives);
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(lines.clone())
        .with_span_events(FmtSpan::NONE)
        // They would be printed by eprintln!, which panics when nobody reads standard error any more. Each task that
        // logs would die of that, and the task for signals would be the first.
        .log_internal_errors(false)
        .with_ansi(io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none());
    let _already_set = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_ansi(false).try_init(),
    };
    // If no thread can be started, the server cannot run either, and another part reports why.
    let _no_thread = lines.write_to(io::stderr(), tell_dropped);
}

/// Writes a text to standard error whatever `--log` is, after everything that was logged so far.
pub fn say(text: &str) {
    match LINES.get() {
        Some(lines) => lines.push(format!("{text}\n").as_bytes()),
        None => eprintln!("{text}"),
    }
}

/// Waits until everything is written, or the reader takes too long. Must be called before the process ends.
pub fn flush() {
    if let Some(lines) = LINES.get() {
        lines.flush(FAREWELL);
    }
}

/// How many lines were dropped because they came faster than they could be written.
pub fn dropped_lines() -> u64 {
    LINES.get().map_or(0, Lines::dropped)
}

fn tell_dropped(lines: u64) {
    tracing::warn!(lines, "standard error did not take the log as fast as it came: lines were dropped");
}
