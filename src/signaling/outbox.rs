//! Ways to clients.

use super::{close_reason::CloseReason, frame::Frame};

/// The way to one client. It must neither block nor call back.
pub trait Outbox {
    /// Queues `frame`. When the queue is full the frame is lost and it is the outbox that sees to the client's end.
    ///
    /// # Errors
    /// [`QueueFull`] when the client does not keep up.
    fn try_send(&self, frame: Frame) -> Result<(), QueueFull>;

    /// Has the connection closed for this reason once what is queued is out.
    fn end(&self, reason: CloseReason);
}

/// The client's queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueFull;
