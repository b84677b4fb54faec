//! Signals become one cancellation that every task can wait for.

use tokio::sync::watch;

/// Ends the program: held by whoever supervises.
#[derive(Clone, Debug)]
pub struct ShutdownTrigger(watch::Sender<bool>);

/// Tells tasks that the program ends. Cheap to clone; once begun it stays begun.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    /// A pair of which the first part sets off the second.
    pub fn new() -> (ShutdownTrigger, Self) {
        let (sender, receiver) = watch::channel(false);
        (ShutdownTrigger(sender), Self(receiver))
    }

    /// Whether it has begun.
    pub fn has_begun(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    /// The same as a channel that turns true.
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.0.clone()
    }

    /// Waits until it begins (at once if it has, or if the trigger is gone). Safe to cancel.
    pub async fn begun(&self) {
        let mut receiver = self.0.clone();
        // An error means that the trigger is gone, which is a shutdown too.
        drop(receiver.wait_for(|begun| *begun).await);
    }
}

impl ShutdownTrigger {
    /// Begins the shutdown.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }

    /// Begins the shutdown at the first SIGINT or SIGTERM; a second one ends the process on the spot, for people
    /// who do not want to wait for the rest. Must be called within a runtime.
    ///
    /// # Errors
    /// If the handlers cannot be installed.
    pub fn begin_on_signals(self) -> std::io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::spawn(async move {
            for round in 0.. {
                let name = tokio::select! {
                    _ = interrupt.recv() => "SIGINT",
                    _ = terminate.recv() => "SIGTERM",
                };
                if round > 0 {
                    tracing::warn!(signal = name, "second signal: not waiting any longer");
                    std::process::exit(1);
                }
                tracing::info!(signal = name, "shutting down");
                self.begin();
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_clones_hear_it_also_late() {
        let (trigger, shutdown) = Shutdown::new();
        let early = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { shutdown.begun().await }
        });
        assert!(!shutdown.has_begun());
        trigger.begin();
        early.await.unwrap();
        shutdown.begun().await;
        assert!(shutdown.has_begun());
    }

    #[tokio::test]
    async fn a_lost_trigger_is_a_shutdown() {
        let (trigger, shutdown) = Shutdown::new();
        drop(trigger);
        shutdown.begun().await;
        assert!(shutdown.has_begun());
    }
}
