//! The bounded queue between the rooms and one socket, and the bytes that all queues share.
//!
//! Each queue has some bytes of its own. Everything beyond is taken from the common bytes: once for a frame that waits
//! in many queues, and in full for the copy that a socket is writing. When the common bytes are used up,
//! [`super::debtors`] decides which queue is given up.
#![allow(clippy::disallowed_methods, reason = "it reads the clocks")]

use std::{
    collections::VecDeque,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicIsize, AtomicU64, Ordering},
    },
};

use tokio::{sync::Notify, time::Instant};

use super::{
    close_reason::CloseReason,
    debtors::{Debtors, Standing, Tick},
    frame::Frame,
};
use crate::{
    locks::{Lock, LockName},
    signaling::outbox::{Outbox, QueueFull},
};

/// How many frames may wait. A newcomer to a room of 30 is sent 29 answers and their candidates at once.
const MAX_FRAMES: usize = 2048;
/// How many bytes may wait, not counting the first frame: a `_peers` may be long.
const MAX_BYTES: usize = 2 * 1024 * 1024;
/// An idle queue keeps memory for no more frames than this.
const KEPT_FRAMES: usize = 16;

/// How many bytes each queue may hold of its own.
const OWN_BYTES: usize = 64 * 1024;
/// How many bytes all queues together may hold beyond that. Otherwise many clients that do not read could take
/// gigabytes before each of them is given up.
const COMMON_BYTES: usize = 128 * 1024 * 1024;
/// The bytes that a frame takes besides its text.
const FRAME_OVERHEAD: usize = 64;

/// The bytes that all queues of the process share, beyond those that each has of its own.
#[derive(Debug)]
pub(crate) struct CommonQueue {
    limit: usize,
    /// This is below zero for a moment when one queue gives back bytes that another is about to take.
    used: AtomicIsize,
    /// Bytes of connections that are being closed because of their debt, which takes a moment.
    forgiven: AtomicIsize,
    debtors: Lock<Debtors<Weak<Queue>>>,
    /// Only one thread at a time makes a queue pay; otherwise two queues could pay where one is enough.
    is_relieving: AtomicBool,
    last_number: AtomicU64,
    started: Instant,
}

impl Default for CommonQueue {
    fn default() -> Self {
        Self::with_limit(COMMON_BYTES)
    }
}

impl CommonQueue {
    fn with_limit(limit: usize) -> Self {
        Self {
            limit,
            used: AtomicIsize::new(0),
            forgiven: AtomicIsize::new(0),
            debtors: Lock::new(LockName("debtors", 0), Debtors::default()),
            is_relieving: AtomicBool::new(false),
            last_number: AtomicU64::new(0),
            started: Instant::now(),
        }
    }

    fn take(&self, bytes: usize) {
        self.used.fetch_add(bytes as isize, Ordering::Relaxed);
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes as isize, Ordering::Relaxed);
    }

    fn is_used_up(&self) -> bool {
        self.used.load(Ordering::Relaxed) > self.limit as isize
    }

    /// Whether connections that are being closed hold so much that they cannot be given time for a farewell.
    fn is_in_need(&self) -> bool {
        self.forgiven.load(Ordering::Relaxed) > (self.limit / 4) as isize
    }

    fn now(&self) -> Tick {
        Tick::after(self.started.elapsed())
    }

    /// Makes the worst debtors pay until there is enough for all others.
    fn relieve(&self) {
        if self.is_relieving.swap(true, Ordering::Acquire) {
            return;
        }
        while self.is_used_up() {
            let worst = self.debtors.lock().take_worst(self.now());
            let Some(worst) = worst else { break };
            if let Some(queue) = worst.upgrade() {
                queue.pay();
            }
        }
        self.is_relieving.store(false, Ordering::Release);
    }
}

/// Frames on their way to one client. The service puts frames in, the client's session takes them out.
pub(crate) struct Queue {
    state: Lock<QueueState>,
    /// The standing that the debtors' list should have for this queue, as a number.
    standing: AtomicU64,
    changed: Notify,
    common: Arc<CommonQueue>,
    number: u64,
}

#[derive(Default)]
struct QueueState {
    frames: VecDeque<Waiting>,
    being_written: Option<BeingWritten>,
    /// The bytes of the frames that wait and of the one that is being written.
    bytes: usize,
    /// How many of [`OWN_BYTES`] are in use.
    own: usize,
    /// How many of its bytes are common bytes.
    counted: usize,
    overflowed: bool,
    /// The share of this queue in [`CommonQueue::forgiven`].
    forgiven: usize,
    /// The reason why a room wants the connection closed.
    ended: Option<CloseReason>,
}

struct Waiting {
    frame: Frame,
    since: Tick,
    is_counted: bool,
}

struct BeingWritten {
    len: usize,
    since: Tick,
    is_counted: bool,
}

fn cost(len: usize) -> usize {
    len + FRAME_OVERHEAD
}

impl QueueState {
    /// Adds a frame.
    fn push(&mut self, frame: Frame, now: Tick, common: &CommonQueue) {
        let len = frame.as_str().len();
        let is_counted = self.own + cost(len) > OWN_BYTES;
        if !is_counted {
            self.own += cost(len);
        } else {
            self.counted += cost(len);
            if frame.hold() {
                common.take(cost(len));
            }
        }
        self.bytes += len;
        self.frames.push_back(Waiting { frame, since: now, is_counted });
    }

    /// Takes the oldest frame out. The socket's copy of it counts until it is written.
    fn pop(&mut self, common: &CommonQueue) -> Option<Frame> {
        let Waiting { frame, since, is_counted } = self.frames.pop_front()?;
        let len = frame.as_str().len();
        let stays_own = !is_counted || self.own + cost(len) <= OWN_BYTES;
        if is_counted {
            if stays_own {
                self.own += cost(len);
                self.counted -= cost(len);
            } else {
                common.take(cost(len));
            }
            if frame.release() {
                common.give_back(cost(len));
            }
        }
        self.being_written = Some(BeingWritten { len, since, is_counted: !stays_own });
        Some(frame)
    }

    fn written(&mut self, common: &CommonQueue) {
        let Some(BeingWritten { len, is_counted, .. }) = self.being_written.take() else {
            return;
        };
        self.bytes -= len;
        if is_counted {
            self.counted -= cost(len);
            common.give_back(cost(len));
        } else {
            self.own -= cost(len);
        }
    }

    /// Removes all waiting frames and returns them, so that the caller can drop them without a lock.
    fn clear(&mut self, common: &CommonQueue) -> VecDeque<Waiting> {
        let frames = std::mem::take(&mut self.frames);
        for Waiting { frame, is_counted, .. } in &frames {
            let len = frame.as_str().len();
            self.bytes -= len;
            if !is_counted {
                self.own -= cost(len);
                continue;
            }
            self.counted -= cost(len);
            if frame.release() {
                common.give_back(cost(len));
            }
        }
        frames
    }

    fn oldest(&self) -> Option<Tick> {
        let written = self.being_written.as_ref().map(|written| written.since);
        written.or(self.frames.front().map(|waiting| waiting.since))
    }
}

impl Queue {
    /// An empty queue that shares `common` with the others.
    pub(crate) fn new(common: Arc<CommonQueue>) -> Self {
        let number = common.last_number.fetch_add(1, Ordering::Relaxed);
        let state = Lock::new(LockName("queue", number as usize), QueueState::default());
        Self { state, standing: AtomicU64::new(0), changed: Notify::new(), common, number }
    }

    /// Takes the oldest frame, which the caller will write. The frame taken before has been written.
    pub(crate) fn pop(&self) -> Option<Frame> {
        let mut state = self.state.lock();
        state.written(&self.common);
        let frame = state.pop(&self.common);
        if frame.is_none() && state.frames.capacity() > KEPT_FRAMES {
            state.frames = VecDeque::new();
        }
        let has_moved = self.note_standing(&state);
        drop(state);
        if has_moved {
            self.tell_standing(None);
        }
        frame
    }

    /// Notes the queue's standing among the debtors. Returns whether their list must be updated.
    fn note_standing(&self, state: &QueueState) -> bool {
        let owes = state.counted > 0 && state.forgiven == 0;
        let standing = state.oldest().filter(|_| owes).map(|since| Standing::new(state.bytes, since));
        let number = Standing::to_number(standing);
        // It is written only under the lock of `state`.
        self.standing.swap(number, Ordering::Relaxed) != number
    }

    /// Updates the debtors' list. If two threads do so, the later one writes the newest standing, whichever of them
    /// noted it. `reach` is needed if the queue is not on the list.
    fn tell_standing(&self, reach: Option<&Arc<Self>>) {
        let mut debtors = self.common.debtors.lock();
        let standing = Standing::from_number(self.standing.load(Ordering::Relaxed));
        debtors.note(self.number, standing, reach.map(|reach| || Arc::downgrade(reach)));
    }

    /// Gives up everything that the queue holds, and the client with it, unless the client has caught up meanwhile.
    fn pay(&self) {
        let mut state = self.state.lock();
        if state.counted == 0 {
            return;
        }
        let frames = state.clear(&self.common);
        state.overflowed = true;
        // The frame that is being written ends with the connection. Until then, no other queue must pay for it.
        state.forgiven += state.counted;
        self.common.forgiven.fetch_add(state.counted as isize, Ordering::Relaxed);
        self.common.give_back(state.counted);
        state.counted = 0;
        if let Some(written) = &mut state.being_written
            && written.is_counted
        {
            written.is_counted = false;
            state.own += cost(written.len);
        }
        let has_moved = self.note_standing(&state);
        drop(state);
        if has_moved {
            self.tell_standing(None);
        }
        drop(frames);
        self.changed.notify_one();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.state.lock().frames.is_empty()
    }

    /// Removes all waiting frames.
    pub(crate) fn clear(&self) {
        let mut state = self.state.lock();
        let frames = state.clear(&self.common);
        let has_moved = self.note_standing(&state);
        drop(state);
        if has_moved {
            self.tell_standing(None);
        }
        drop(frames);
    }

    /// Whether the connection must be closed without a farewell, because of the memory that it holds.
    pub(crate) fn must_go_at_once(&self) -> bool {
        self.state.lock().forgiven > 0 && self.common.is_in_need()
    }

    /// Why the connection must be closed, if it must: a frame was lost because the client reads too slowly, or a room
    /// wants it.
    pub(crate) fn ended(&self) -> Option<CloseReason> {
        let state = self.state.lock();
        state.ended.or(state.overflowed.then_some(CloseReason::SlowReader))
    }

    /// Waits until something has been put in since the last call.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Makes [`Self::changed`] return although nothing new was put in.
    pub(crate) fn wake(&self) {
        self.changed.notify_one();
    }
}

impl Outbox for Arc<Queue> {
    fn try_send(&self, frame: Frame) -> Result<(), QueueFull> {
        let now = self.common.now();
        let mut state = self.state.lock();
        if state.frames.len() >= MAX_FRAMES || state.bytes >= MAX_BYTES {
            state.overflowed = true;
        }
        let overflowed = state.overflowed;
        let mut has_moved = false;
        if !overflowed {
            state.push(frame, now, &self.common);
            has_moved = self.note_standing(&state);
        }
        drop(state);
        if has_moved {
            self.tell_standing(Some(self));
        }
        self.changed.notify_one();
        if overflowed {
            return Err(QueueFull);
        }
        if self.common.is_used_up() {
            self.common.relieve();
            // This queue may be the one that paid.
            return if self.state.lock().overflowed { Err(QueueFull) } else { Ok(()) };
        }
        Ok(())
    }

    fn end(&self, reason: CloseReason) {
        self.state.lock().ended.get_or_insert(reason);
        self.changed.notify_one();
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        state.written(&self.common);
        state.clear(&self.common);
        self.common.forgiven.fetch_sub(state.forgiven as isize, Ordering::Relaxed);
        if self.standing.swap(0, Ordering::Relaxed) != 0 {
            self.tell_standing(None);
        }
    }
}

#[cfg(test)]
mod tests;
