//! Connections that are not written to for the sake of a full kernel.

use std::{
    io,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite};

/// A connection that says when its kernel holds little of what was written.
pub trait Paced: AsyncRead + AsyncWrite + Unpin {
    /// Ready when so little waits in the kernel that more may be written; else the task is woken then. A kernel takes
    /// more in one write than it was asked to hold, so who wants to keep it short asks first.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}
