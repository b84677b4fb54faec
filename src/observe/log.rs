//! The log: tracing, to standard error, as text or JSON, through a writer that nobody waits for.
//!
//! INFO is what an operator wants to read back, told by the [`Journal`]. What strangers can make happen without being let in
//! is DEBUG, packets are TRACE.

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

/// Of the process, as tracing's subscriber is.
static LINES: OnceLock<Lines> = OnceLock::new();

/// How long the end of the process may wait for whoever reads the log.
const FAREWELL: Duration = Duration::from_millis(500);

/// Starts logging. Does nothing if the process logs already (tests start several servers).
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
        // They would be told by eprintln!, which panics once nobody reads standard error any more: each task that logs
        // would die of it, that of the signals first.
        .log_internal_errors(false)
        .with_ansi(io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none());
    let _already_set = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_ansi(false).try_init(),
    };
    // Without threads to be had there is no server either; whoever ends it says why.
    let _no_thread = lines.write_to(io::stderr(), tell_dropped);
}

/// Says something on standard error whatever `--log` is, behind what was logged so far.
pub fn say(text: &str) {
    match LINES.get() {
        Some(lines) => lines.push(format!("{text}\n").as_bytes()),
        None => eprintln!("{text}"),
    }
}

/// Waits until all is written, or whoever reads it takes too long. To be called before the process ends.
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
