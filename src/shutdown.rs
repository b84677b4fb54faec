//! What a supervisor tells all parts of the program: that it ends, and that what can be read anew is to be.
//!
//! The one word for either, whoever sets it off (signals, a part that died, a test). Everybody takes a [`Shutdown`] or
//! a [`Reload`] of their own; both know nothing of who asks.

use std::future::pending;

use tokio::sync::watch;

/// Ends the program, or the part of it that has the [`Shutdown`]: held by whoever supervises.
#[derive(Clone, Debug)]
pub struct ShutdownTrigger(watch::Sender<bool>);

/// Tells tasks that the program ends. Cheap to clone; once begun it stays begun.
#[derive(Clone, Debug)]
pub struct Shutdown(Option<watch::Receiver<bool>>);

impl Shutdown {
    /// A pair of which the first part sets off the second.
    pub fn new() -> (ShutdownTrigger, Self) {
        let (sender, receiver) = watch::channel(false);
        (ShutdownTrigger(sender), Self(Some(receiver)))
    }

    /// One that never begins.
    pub fn never() -> Self {
        Self(None)
    }

    /// Whether it has begun.
    pub fn has_begun(&self) -> bool {
        self.0.as_ref().is_some_and(|receiver| *receiver.borrow() || receiver.has_changed().is_err())
    }

    /// Waits until it begins (at once if it has, or if the trigger is gone). Safe to cancel. Where it is one of several
    /// that are waited for in a loop, make it once and keep it: all who wait share a list.
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

/// Asks those who hold a [`Reload`].
#[derive(Debug)]
pub struct ReloadTrigger(watch::Sender<()>);

/// Tells that what can be read anew while running is to be.
#[derive(Clone, Debug)]
pub struct Reload(watch::Receiver<()>);

impl Reload {
    /// A pair of which the first part asks for the second.
    pub fn new() -> (ReloadTrigger, Self) {
        let (sender, receiver) = watch::channel(());
        (ReloadTrigger(sender), Self(receiver))
    }

    /// One that never asks.
    pub fn never() -> Self {
        Self::new().1
    }

    /// Waits until it is asked for again; several times may be one. Safe to cancel.
    pub async fn asked(&mut self) {
        if self.0.changed().await.is_err() {
            pending().await
        }
    }
}

impl ReloadTrigger {
    /// Asks all of them.
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
