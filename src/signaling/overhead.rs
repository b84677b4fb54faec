//! Slows down a client that sends many bytes but no messages, for example tiny fragments of a message that never ends.
//! The bytes also pass through [`Frames`], for the close codes.
//!
//! The WebSocket library joins fragments, so the limit on messages does not see them. Here every byte is charged when
//! it is read, and given back when its message is complete. What remains is framing, of which normal traffic has
//! little. The clock is read only when the allowance is used up, which never happens to good clients.
#![allow(clippy::disallowed_methods, reason = "it reads the clocks")]

use std::{
    io,
    num::NonZeroU64,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

use super::close_code::Frames;
use crate::values::token_bucket::{Flow, Nanos, TokenBucket};

/// How many bytes may come at once beyond a message of full size: enough for the framing of at least 18,000 messages or
/// fragments.
const BURST: usize = 256 * 1024;
/// How many bytes may come per second in the long run: enough for the framing of at least 4,600 messages or fragments.
const PER_SECOND: NonZeroU64 = NonZeroU64::new(65_536).expect("some");

/// A stream that is read more slowly when its bytes yield too few messages.
#[derive(Debug)]
pub(super) struct MeasuredStream<S> {
    stream: S,
    frames: Frames,
    /// Rate and burst, in bytes.
    flow: Flow,
    since: Instant,
    /// The bytes that may still be read. It is in debt after a read that took more.
    allowance: TokenBucket,
    /// When the clock was last read.
    looked_at: Nanos,
    pause: Option<Pin<Box<Sleep>>>,
}

impl<S> MeasuredStream<S> {
    /// A stream of messages of at most `max_message_bytes`. `frames` has already followed the bytes that were read
    /// before.
    pub(super) fn new(stream: S, frames: Frames, max_message_bytes: usize) -> Self {
        let flow = Flow::new(PER_SECOND, max_message_bytes.saturating_add(BURST) as u64);
        Self {
            stream,
            frames,
            flow,
            since: Instant::now(),
            allowance: TokenBucket::default(),
            looked_at: Nanos::default(),
            pause: None,
        }
    }

    /// Gives back the bytes of a complete message.
    pub(super) fn give_back(&mut self, bytes: usize) {
        self.allowance.give_back(bytes as u64, &self.flow);
    }

    /// The stream itself, to be read at any pace.
    pub(super) fn unmeasured(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Reads the clock. Returns how long to wait, if the allowance is still not enough.
    fn refill(&mut self) -> Option<Duration> {
        self.looked_at = Nanos::between(self.since.into_std(), Instant::now().into_std());
        self.debt()
    }

    fn debt(&self) -> Option<Duration> {
        self.allowance.debt(&self.flow, self.looked_at)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for MeasuredStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.debt().is_some() {
            // Timers count in milliseconds and round up, so one wait is enough, or a few.
            while let Some(wait) = this.refill() {
                let pause = this.pause.get_or_insert_with(|| Box::pin(sleep(wait)));
                ready!(pause.as_mut().poll(cx));
                this.pause = None;
            }
            this.pause = None;
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        let read = &mut buf.filled_mut()[before..];
        this.frames.mend(read);
        this.allowance.charge(read.len() as u64, u64::MAX, &this.flow, this.looked_at);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for MeasuredStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, Repeat, repeat};

    use super::*;

    /// How long reading takes. The clock is virtual: it moves only when all tasks wait.
    async fn read(stream: &mut MeasuredStream<Repeat>, bytes: usize) -> Duration {
        let before = Instant::now();
        let mut buffer = [0; 1024];
        for _ in 0..bytes / buffer.len() {
            stream.read_exact(&mut buffer).await.unwrap();
        }
        before.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_without_messages_come_slowly() {
        let mut stream = MeasuredStream::new(repeat(0), Frames::default(), 65_536);
        assert_eq!(read(&mut stream, 65_536 + BURST).await, Duration::ZERO);
        let took = read(&mut stream, 100 * PER_SECOND.get() as usize).await.as_secs();
        assert!((99..=101).contains(&took), "{took}");
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(read(&mut stream, 65_536 + BURST).await, Duration::ZERO, "the allowance comes back");
        assert_ne!(read(&mut stream, 4096).await, Duration::ZERO, "but does not pile up");
    }

    #[tokio::test(start_paused = true)]
    async fn messages_are_not_slowed_down() {
        let mut stream = MeasuredStream::new(repeat(0), Frames::default(), 65_536);
        for _ in 0..1000 {
            assert_eq!(read(&mut stream, 65_536).await, Duration::ZERO);
            stream.give_back(65_536);
        }
    }
}
