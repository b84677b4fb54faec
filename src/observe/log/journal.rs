//! What happened, line by line, as an operator wants to read it back: who was here, when, how long, how much, and why it
//! ended. Within bounds ([`Caps`]), and without what people would not want to be told ([`Names`]).
//!
//! Each line is told under the module to which it happened, so that `--log` can tell them apart.

mod rooms;
mod turn;

use std::{
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::{
    caps::{Caps, LineKind},
    names::Names,
};
use crate::shutdown::Shutdown;

const MINUTE: Duration = Duration::from_secs(60);

/// See the module's header.
#[derive(Debug)]
pub struct Journal {
    names: Names,
    caps: Mutex<Caps>,
}

impl Journal {
    /// Nothing has happened yet.
    pub fn new(names: Names) -> Self {
        Self { names, caps: Mutex::default() }
    }

    /// Tells each minute how much was not told in it, until `shutdown`.
    pub async fn end_minutes(&self, shutdown: Shutdown) {
        let mut minute = tokio::time::interval(MINUTE);
        minute.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = minute.tick() => self.end_minute(),
                () = shutdown.begun() => return,
            }
        }
    }

    /// A minute is over, or all is: tells how much was not told.
    pub fn end_minute(&self) {
        let beyond = self.caps.lock().unwrap_or_else(PoisonError::into_inner).end_minute();
        if let Some(beyond) = beyond {
            tracing::info!(target: "bimcc_rtc", "and {beyond}, not told one by one");
        }
    }

    fn admits(&self, kind: LineKind, source: Option<IpAddr>) -> bool {
        self.caps.lock().unwrap_or_else(PoisonError::into_inner).admit(kind, source)
    }
}
