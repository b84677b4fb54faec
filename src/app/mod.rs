//! From a configuration to a running server: reads the disk and the host's facts, plans, binds, connects the parts and
//! runs them.
//!
//! The order matters: all errors are found before the first client is served, all UDP sockets are bound before the
//! first one is read, and at the end signaling says goodbye before TURN stops.
#![allow(clippy::disallowed_methods, reason = "it reads the clocks")]

mod capacity;
mod interfaces;
mod kept;
mod listen;
mod named_files;
mod plan;
mod server;
pub mod signals;
mod startup;

use std::time::{Instant, SystemTime};

pub use self::named_files::Settled;
use self::{
    kept::Kept,
    listen::Listening,
    plan::Plan,
    server::{Parts, Signs},
    signals::Signals,
};
use crate::{
    files,
    net::{Changes, Interfaces},
    shutdown::Shutdown,
};

/// Runs the server until one of `signals` ends it.
///
/// # Errors
/// Anything that prevents the server from running: an address in use, a state directory that cannot be written, a part
/// that died.
pub async fn run(settled: Settled, signals: Signals) -> anyhow::Result<()> {
    let (trigger, shutdown) = Shutdown::new();
    let reload = signals.heed(trigger.clone());

    let file_limit = files::Limit::raise();
    // Listening for changes begins before the interfaces are read, so that no change is missed.
    let changes = Changes::listen();
    let interfaces = Interfaces::read();
    let Settled { config, tls, secrets } = settled;
    let kept = Kept::open(&config, &secrets, tls.as_ref(), &interfaces)?;
    let plan = Plan::new(config, interfaces, kept.facts.clone(), file_limit.files(), capacity::total_memory());

    let listening = Listening::open(&plan.config)?;
    let addresses = listening.addresses.clone();
    let server = Parts::connect(&plan, kept, listening, &shutdown)?;
    let since = Instant::now();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), pid = std::process::id(), "started");
    startup::print(&startup::Facts { plan: &plan, addresses: &addresses, now: SystemTime::now() });

    let outcome = server.run(plan, file_limit, Signs { changes, reload, trigger, shutdown }).await;
    tracing::info!(seconds = since.elapsed().as_secs(), "stopped");
    outcome
}
