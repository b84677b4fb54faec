//! What happened, line by line, as an operator wants to read it later: who was here, when, how long, how much, and why
//! it ended. The number of lines is limited ([`Caps`]), and personal data is left out ([`Names`]).
//!
//! Each line has the module that it belongs to as its target, so that `--log` can select it.

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
    /// A journal without events.
    pub fn new(names: Names) -> Self {
        Self { names, caps: Mutex::default() }
    }

    /// Writes each minute how much was only counted in it, until `shutdown`.
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

    /// A minute is over, or the process ends: writes how much was only counted.
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
