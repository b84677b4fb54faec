//! The bounded queue between the hub and one socket.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::Notify;

use super::{
    hub::{Full, Outbox},
    message::Frame,
};
use crate::metrics::CloseReason;

/// Frames that may wait. A newcomer to a room of 30 is sent 29 answers and their candidates in one go.
const MAX_FRAMES: usize = 2048;
/// Bytes that may wait, not counting the first frame: a `_peers` may be long.
const MAX_BYTES: usize = 2 * 1024 * 1024;
/// An idle queue keeps room for no more than this.
const KEPT_FRAMES: usize = 16;

/// Bytes that each queue may hold without asking the others.
const OWN_BYTES: usize = 64 * 1024;
/// Bytes that all queues together may hold beyond that. Many clients that do not read could else take gigabytes before
/// each of them is given up.
const COMMON_BYTES: usize = 128 * 1024 * 1024;

/// What all queues of the process may hold together, beyond what each has of its own.
#[derive(Debug)]
pub(crate) struct Common {
    free: AtomicUsize,
}

impl Default for Common {
    fn default() -> Self {
        Self { free: AtomicUsize::new(COMMON_BYTES) }
    }
}

impl Common {
    fn take(&self, bytes: usize) -> bool {
        self.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| free.checked_sub(bytes)).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.free.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Frames on their way to one client. The hub puts in, the client's session takes out.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Notify,
    common: Arc<Common>,
}

#[derive(Default)]
struct State {
    frames: VecDeque<Frame>,
    /// Of the frames that wait and the one that is being written.
    bytes: usize,
    being_written: usize,
    /// How many of the bytes are taken from the common ones.
    taken: usize,
    overflowed: bool,
    /// Why the hub wants the connection closed.
    ended: Option<CloseReason>,
}

impl Queue {
    /// An empty queue that shares `common` with the others.
    pub(crate) fn new(common: Arc<Common>) -> Self {
        Self { state: Mutex::default(), changed: Notify::new(), common }
    }

    /// Takes the oldest frame, to be written; the one taken before has been.
    pub(crate) fn pop(&self) -> Option<Frame> {
        let mut state = self.lock();
        let frame = state.frames.pop_front();
        state.bytes -= state.being_written;
        state.being_written = frame.as_ref().map_or(0, |frame| frame.as_str().len());
        if frame.is_none() && state.frames.capacity() > KEPT_FRAMES {
            state.frames = VecDeque::new();
        }
        self.settle(&mut state);
        frame
    }

    /// Gives back what is no longer needed of the common bytes.
    fn settle(&self, state: &mut State) {
        let needed = state.bytes.saturating_sub(OWN_BYTES);
        if let Some(surplus) = state.taken.checked_sub(needed) {
            self.common.give_back(surplus);
            state.taken = needed;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().frames.is_empty()
    }

    /// Forgets what waits.
    pub(crate) fn clear(&self) {
        let mut state = self.lock();
        state.frames = VecDeque::new();
        state.bytes = state.being_written;
        self.settle(&mut state);
    }

    /// Why the connection is to be closed, if it is: a frame was lost because the client does not keep up, or the hub
    /// says so.
    pub(crate) fn ended(&self) -> Option<CloseReason> {
        let state = self.lock();
        state.ended.or(state.overflowed.then_some(CloseReason::slow_reader))
    }

    /// Waits until something was put in since the last call.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Makes [`Self::changed`] return although nothing new was put in.
    pub(crate) fn wake(&self) {
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Outbox for Arc<Queue> {
    fn try_send(&self, frame: Frame) -> Result<(), Full> {
        let mut state = self.lock();
        let bytes = state.bytes + frame.as_str().len();
        let more = bytes.saturating_sub(OWN_BYTES).saturating_sub(state.taken);
        let is_full = state.frames.len() >= MAX_FRAMES || state.bytes >= MAX_BYTES;
        if state.overflowed || is_full || !self.common.take(more) {
            state.overflowed = true;
        } else {
            state.taken += more;
            state.bytes = bytes;
            state.frames.push_back(frame);
        }
        let overflowed = state.overflowed;
        drop(state);
        self.changed.notify_one();
        if overflowed { Err(Full) } else { Ok(()) }
    }

    fn end(&self, reason: CloseReason) {
        self.lock().ended.get_or_insert(reason);
        self.changed.notify_one();
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.common.give_back(self.lock().taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(len: usize) -> Frame {
        "x".repeat(len).into()
    }

    #[test]
    fn frames_and_bytes_are_bounded() {
        let queue = Arc::new(Queue::default());
        assert!((0..MAX_FRAMES).all(|_| queue.try_send(frame(1)).is_ok()));
        assert_eq!(queue.try_send(frame(1)), Err(Full));
        assert_eq!(queue.ended(), Some(CloseReason::slow_reader));

        let queue = Arc::new(Queue::default());
        assert_eq!(queue.try_send(frame(MAX_BYTES + 1)), Ok(()), "one long frame");
        assert_eq!(queue.try_send(frame(1)), Err(Full));
    }

    #[test]
    fn after_a_lost_frame_nothing_follows() {
        let queue = Arc::new(Queue::default());
        while queue.try_send(frame(1000)).is_ok() {}
        while queue.pop().is_some() {}
        assert_eq!(queue.try_send(frame(1)), Err(Full), "a gap must not go unnoticed");
    }

    #[test]
    fn who_is_replaced_is_told_so_even_if_it_does_not_read() {
        let queue = Arc::new(Queue::default());
        while queue.try_send(frame(1000)).is_ok() {}
        queue.end(CloseReason::replaced);
        queue.end(CloseReason::kicked);
        assert_eq!(queue.ended(), Some(CloseReason::replaced), "the first reason counts");
    }

    #[test]
    fn an_idle_queue_is_small() {
        let queue = Arc::new(Queue::default());
        for _ in 0..1000 {
            queue.try_send(frame(1)).unwrap();
        }
        while queue.pop().is_some() {}
        assert!(queue.lock().frames.capacity() <= KEPT_FRAMES);
        assert_eq!(queue.lock().bytes, 0);
    }

    #[test]
    fn all_queues_together_are_bounded_and_give_back() {
        let common = Arc::new(Common::default());
        let queues: Vec<_> = (0..100).map(|_| Arc::new(Queue::new(common.clone()))).collect();
        let full = queues.iter().filter(|queue| (0..20).all(|_| queue.try_send(frame(100_000)).is_ok())).count();
        assert_eq!(full, COMMON_BYTES / (2_000_000 - OWN_BYTES));
        let late = Arc::new(Queue::new(common.clone()));
        assert_eq!(late.try_send(frame(OWN_BYTES)), Ok(()), "a little is always there");

        for queue in &queues[..50] {
            while queue.pop().is_some() {}
        }
        queues[50].clear();
        drop(late);
        drop(queues);
        assert_eq!(common.free.load(Ordering::Relaxed), COMMON_BYTES);
    }

    #[test]
    fn a_frame_counts_until_it_is_written() {
        let common = Arc::new(Common::default());
        let queue = Arc::new(Queue::new(common.clone()));
        queue.try_send(frame(OWN_BYTES + 10)).unwrap();
        assert!(queue.pop().is_some());
        assert_eq!(common.free.load(Ordering::Relaxed), COMMON_BYTES - 10);
        assert!(queue.pop().is_none());
        assert_eq!(common.free.load(Ordering::Relaxed), COMMON_BYTES);
    }
}
