//! Connections that are not written to while much data waits in their kernel buffers.

use std::{
    io,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite};

/// A connection that can report when the kernel holds little of what was written.
pub trait Paced: AsyncRead + AsyncWrite + Unpin {
    /// Ready when so little waits in the kernel that more may be written; otherwise the task is woken when that is so.
    /// A kernel takes more in one write than it was asked to hold, so a writer that wants to keep the queue short must
    /// ask first.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}
