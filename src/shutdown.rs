//! How a supervisor tells all parts of the program that it ends, or that files must be reloaded.
//!
//! There is only this way for both, whatever the cause (signals, a part that died, a test). Each part has its own
//! [`Shutdown`] or [`Reload`]; these know nothing of the cause.

use std::future::pending;

use tokio::sync::watch;

/// Ends the program, or the part of it that has the [`Shutdown`]. The supervisor holds it.
#[derive(Clone, Debug)]
pub struct ShutdownTrigger(watch::Sender<bool>);

/// Tells tasks that the program ends. Cheap to clone; once begun it stays begun.
#[derive(Clone, Debug)]
pub struct Shutdown(Option<watch::Receiver<bool>>);

impl Shutdown {
    /// A pair: the trigger begins the shutdown.
    pub fn new() -> (ShutdownTrigger, Self) {
        let (sender, receiver) = watch::channel(false);
        (ShutdownTrigger(sender), Self(Some(receiver)))
    }

    /// A shutdown that never begins.
    pub fn never() -> Self {
        Self(None)
    }

    /// Whether it has begun.
    pub fn has_begun(&self) -> bool {
        self.0.as_ref().is_some_and(|receiver| *receiver.borrow() || receiver.has_changed().is_err())
    }

    /// Waits until it begins (at once if it has, or if the trigger is gone). Safe to cancel. In a loop that waits for
    /// several things, make this future once and keep it, because all waiters share one list.
    pub async fn begun(&self) {
        match self.0.clone() {
            // An error means that the trigger is gone, which is a shutdown too.
            Some(mut receiver) => drop(receiver.wait_for(|begun| *begun).await),
            None => pending().await,
        }
    }
}

impl ShutdownTrigger {
    /// Begins the shutdown.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }
}

/// Asks all holders of a [`Reload`] to reload.
#[derive(Debug)]
pub struct ReloadTrigger(watch::Sender<()>);

/// Tells a part that it must reload its files.
#[derive(Clone, Debug)]
pub struct Reload(watch::Receiver<()>);

impl Reload {
    /// A pair: the trigger asks, the [`Reload`] is told.
    pub fn new() -> (ReloadTrigger, Self) {
        let (sender, receiver) = watch::channel(());
        (ReloadTrigger(sender), Self(receiver))
    }

    /// A reload that is never asked for.
    pub fn never() -> Self {
        Self::new().1
    }

    /// Waits until a reload is asked for; several requests may count as one. Safe to cancel.
    pub async fn asked(&mut self) {
        if self.0.changed().await.is_err() {
            pending().await
        }
    }
}

impl ReloadTrigger {
    /// Asks all holders.
    pub fn ask(&self) {
        self.0.send_replace(());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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

    #[tokio::test(start_paused = true)]
    async fn one_that_nobody_can_begin_never_does() {
        let shutdown = Shutdown::never();
        assert!(!shutdown.has_begun());
        tokio::time::timeout(Duration::from_secs(86_400), shutdown.begun()).await.unwrap_err();
    }
}
