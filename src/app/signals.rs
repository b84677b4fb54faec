//! Signals become a [`Shutdown`](crate::shutdown::Shutdown), and requests to reload files.
//!
//! A signal that arrives before it can be handled would end the process without a message, and a service manager may
//! send one immediately after the start. So `main` begins with [`HeldSignals::hold`], continues with
//! [`Signals::catch`], and the supervisor then calls [`Signals::heed`]. Signals that arrive in between wait.

use std::{fs, io};

use nix::{
    errno::Errno,
    sys::signal::{SigSet, SigmaskHow, Signal as Number},
};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    observe::log,
    shutdown::{Reload, ShutdownTrigger},
};

/// The target for `--log`.
const TARGET: &str = "bimcc_rtc::shutdown";

/// Holds signals back in the kernel as long as this exists.
#[derive(Debug)]
pub struct HeldSignals {
    /// The signals that the thread held back before.
    before: Option<SigSet>,
}

impl HeldSignals {
    /// Holds back the signals that [`Signals`] handles. Must be called in the first thread, before there are others.
    pub fn hold() -> Self {
        let held: SigSet = [Number::SIGHUP, Number::SIGINT, Number::SIGTERM].into_iter().collect();
        Self { before: held.thread_swap_mask(SigmaskHow::SIG_BLOCK).ok() }
    }
}

impl Drop for HeldSignals {
    fn drop(&mut self) {
        // This fails only for an unknown `how`.
        self.before.map(|before| before.thread_set_mask());
    }
}

/// Signals that are caught and wait to be handled.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// `None` if it was ignored at the start (nohup); then it stays ignored.
    hangup: Option<Signal>,
    terminal: Terminal,
}

impl Signals {
    /// Catches SIGINT, SIGTERM and SIGHUP from now on. Must be called within a runtime.
    ///
    /// # Errors
    /// If the handlers cannot be installed.
    pub fn catch() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: if hangups_are_ignored() { None } else { Some(signal(SignalKind::hangup())?) },
            terminal: Terminal::of_this_process(),
        })
    }

    /// Begins `shutdown` at the first SIGINT or SIGTERM; a second one ends the process at once, for people who do not
    /// want to wait. SIGHUP begins it if the terminal has closed; otherwise it requests a [`Reload`]. Must be called
    /// within a runtime.
    pub fn heed(self, shutdown: ShutdownTrigger) -> Reload {
        let Self { mut interrupt, mut terminate, mut hangup, terminal } = self;
        let (ask, reload) = Reload::new();
        tokio::spawn(async move {
            let mut times = 0;
            loop {
                let name = tokio::select! {
                    _ = interrupt.recv() => "SIGINT",
                    _ = terminate.recv() => "SIGTERM",
                    () = next(&mut hangup) => {
                        if terminal.has_closed() {
                            tracing::info!(target: TARGET, signal = "SIGHUP", "the terminal closed, shutting down");
                            shutdown.begin();
                        } else {
                            tracing::info!(
                                target: TARGET,
                                signal = "SIGHUP",
                                "reading certificate, key and this host's addresses anew; flags, environment, the \
                                 file of --config and secrets take effect at the next start"
                            );
                            ask.ask();
                        }
                        continue;
                    }
                };
                times += 1;
                if times > 1 {
                    tracing::warn!(target: TARGET, signal = name, "second signal: not waiting any longer");
                    log::flush();
                    std::process::exit(1);
                }
                tracing::info!(target: TARGET, signal = name, "shutting down");
                shutdown.begin();
            }
        });
        reload
    }
}

async fn next(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Whether the process was started with SIGHUP ignored.
fn hangups_are_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    // Signal 1 is the lowest bit.
    mask & 1 != 0
}

/// The terminal that the process was started from, if there was one.
#[derive(Clone, Copy, Debug)]
struct Terminal {
    was_there: bool,
}

impl Terminal {
    const PATH: &str = "/dev/tty";

    fn of_this_process() -> Self {
        Self { was_there: fs::File::open(Self::PATH).is_ok() }
    }

    /// Whether the terminal has closed. When it closes, its processes lose it before they get SIGHUP.
    fn has_closed(self) -> bool {
        let gone = [Errno::ENXIO, Errno::EIO].map(|errno| errno as i32);
        let error = || fs::File::open(Self::PATH).err()?.raw_os_error();
        self.was_there && error().is_some_and(|error| gone.contains(&error))
    }
}
