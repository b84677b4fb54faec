//! Whole frames that wait to be sent to a client.
//!
//! Over TLS each frame is a record of its own, as far as this program can decide that, because coturn's client takes
//! the content of a record for one message. A frame that was sent in part is always completed, so media is only ever
//! dropped by whole messages.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use super::paced::Paced;

use crate::turn::wire::framing::frame;

/// How many bytes of frames are gathered before they are written.
const BATCH: usize = 16 * 1024;

/// With this many bytes left to write, a client is no longer read.
const MAX_UNWRITTEN: usize = 64 * 1024;

/// The same for a client that was slow a moment ago. Frames that are gathered here can no longer be dropped.
const SLOW_BATCH: usize = 2 * 1024;

/// How long a client counts as slow after it did not take what it was sent.
const SLOW_FOR: Duration = Duration::from_secs(1);

/// How many frames are passed to TLS at once.
const FRAMES_AT_ONCE: usize = 32;

/// The capacity that a buffer keeps while it is not used.
const IDLE_CAPACITY: usize = 1024;

#[derive(Debug)]
pub(super) struct Outgoing {
    frames: Vec<u8>,
    /// How many bytes of `frames` have been written.
    written: usize,
    /// Where each frame that is not yet written ends in `frames`, if each must be written by itself.
    ends: Option<VecDeque<usize>>,
    needs_flush: bool,
    /// Whether the client currently does not take what it is sent, and when that was last seen.
    is_blocked: bool,
    blocked_at: Option<Instant>,
}

impl Outgoing {
    /// An empty queue. With `one_by_one`, each frame is written by itself.
    pub(super) fn new(one_by_one: bool) -> Self {
        Self {
            frames: Vec::new(),
            written: 0,
            ends: one_by_one.then(VecDeque::new),
            needs_flush: false,
            is_blocked: false,
            blocked_at: None,
        }
    }

    /// Adds a message at the end.
    pub(super) fn push(&mut self, message: &[u8]) {
        frame(message, &mut self.frames);
        if let Some(ends) = &mut self.ends {
            ends.push_back(self.frames.len());
        }
    }

    /// Whether the client currently does not take what it is sent.
    pub(super) fn is_blocked(&self) -> bool {
        self.is_blocked
    }

    /// Whether the client was seen to be blocked at `time` or later.
    pub(super) fn was_blocked_since(&self, time: Instant) -> bool {
        self.blocked_at.is_some_and(|blocked_at| blocked_at >= time)
    }

    /// Whether everything has been written.
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Whether enough is gathered that it should be written before more is added.
    pub(super) fn has_batch(&self, now: Instant) -> bool {
        self.unwritten() >= self.batch(now)
    }

    /// Whether so much is waiting that the client must not be read.
    pub(super) fn is_full(&self) -> bool {
        self.unwritten() >= MAX_UNWRITTEN
    }

    /// Gives memory back, because there is nothing to send for a while.
    pub(super) fn rest(&mut self) {
        self.frames.shrink_to(IDLE_CAPACITY);
    }

    /// How many bytes are gathered before they are written.
    fn batch(&self, now: Instant) -> usize {
        let was_slow = |at| now.saturating_duration_since(at) < SLOW_FOR;
        if self.blocked_at.is_some_and(was_slow) { SLOW_BATCH } else { BATCH }
    }

    fn unwritten(&self) -> usize {
        self.frames.len() - self.written
    }

    /// Writes as much as the client takes.
    pub(super) fn write(&mut self, stream: &mut impl Paced, now: Instant, cx: &mut Context<'_>) -> io::Result<()> {
        let asks_first = self.batch(now) == SLOW_BATCH;
        self.is_blocked = false;
        while self.written < self.frames.len() {
            if asks_first {
                match stream.poll_room(cx) {
                    Poll::Ready(asked) => asked?,
                    Poll::Pending => {
                        self.is_blocked = true;
                        break;
                    }
                }
            }
            let stream = Pin::new(&mut *stream);
            let wrote = match &self.ends {
                None => stream.poll_write(cx, &self.frames[self.written..]),
                Some(ends) => {
                    let mut frames = [IoSlice::new(&[]); FRAMES_AT_ONCE];
                    let mut begin = self.written;
                    let mut count = 0;
                    for (frame, end) in frames.iter_mut().zip(ends) {
                        *frame = IoSlice::new(&self.frames[begin..*end]);
                        begin = *end;
                        count += 1;
                    }
                    stream.poll_write_vectored(cx, &frames[..count])
                }
            };
            match wrote {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(len)) => {
                    self.written += len;
                    self.needs_flush = true;
                    if let Some(ends) = &mut self.ends {
                        while ends.front().is_some_and(|end| *end <= self.written) {
                            ends.pop_front();
                        }
                    }
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => {
                    self.is_blocked = true;
                    break;
                }
            }
        }
        if self.written == self.frames.len() {
            self.frames.clear();
            self.written = 0;
            self.frames.shrink_to(MAX_UNWRITTEN);
            if self.needs_flush {
                match Pin::new(stream).poll_flush(cx) {
                    Poll::Ready(flushed) => {
                        flushed?;
                        self.needs_flush = false;
                    }
                    Poll::Pending => self.is_blocked = true,
                }
            }
        }
        if self.is_blocked {
            self.blocked_at = Some(now);
        }
        Ok(())
    }
}
