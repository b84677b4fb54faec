//! The way from rooms to clients.

use super::{close_reason::CloseReason, frame::Frame};

/// The way to one client. It must neither block nor call back.
pub trait Outbox {
    /// Queues `frame`. When the queue is full, the frame is lost, and the outbox makes sure that the connection is
    /// closed.
    ///
    /// # Errors
    /// [`QueueFull`] if the client reads too slowly.
    fn try_send(&self, frame: Frame) -> Result<(), QueueFull>;

    /// Closes the connection for this reason, once all queued frames are sent.
    fn end(&self, reason: CloseReason);
}

/// The client's queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueFull;
