//! The bounded queue between the rooms and one socket, and the bytes that all queues share.
//!
//! Each queue has some bytes of its own. What goes beyond is taken from the common ones: once for a frame that waits in
//! many queues, and in full for each socket's copy of the one that is being written. When the common bytes are used up,
//! [`super::debtors`] says which queue is given up for them.
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
/// What a frame takes beside its text.
const FRAME_OVERHEAD: usize = 64;

/// What all queues of the process may hold together, beyond what each has of its own.
#[derive(Debug)]
pub(crate) struct CommonQueue {
    limit: usize,
    /// Below zero for a moment when one gives back what another is about to take.
    used: AtomicIsize,
    /// Used by connections that are being closed for it, which takes a moment.
    forgiven: AtomicIsize,
    debtors: Lock<Debtors<Weak<Queue>>>,
    /// One at a time sees to it that somebody pays, else two would pay where one is enough.
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

    /// Whether so much is held by connections that are being closed that none of them can be given time.
    fn is_in_need(&self) -> bool {
        self.forgiven.load(Ordering::Relaxed) > (self.limit / 4) as isize
    }

    fn now(&self) -> Tick {
        Tick::after(self.started.elapsed())
    }

    /// Lets the worst debtors pay until there is enough for all others.
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

/// Frames on their way to one client. The service puts in, the client's session takes out.
pub(crate) struct Queue {
    state: Lock<QueueState>,
    /// What the debtors' list should have, as a number.
    standing: AtomicU64,
    changed: Notify,
    common: Arc<CommonQueue>,
    number: u64,
}

#[derive(Default)]
struct QueueState {
    frames: VecDeque<Waiting>,
    being_written: Option<BeingWritten>,
    /// Of the frames that wait and the one that is being written.
    bytes: usize,
    /// How many of [`OWN_BYTES`] are in use.
    own: usize,
    /// How many of what it holds are common bytes.
    counted: usize,
    overflowed: bool,
    /// What [`CommonQueue::forgiven`] has because of it.
    forgiven: usize,
    /// Why a room wants the connection closed.
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
    /// Takes a frame in.
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

    /// Forgets what waits. The frames are returned, to be dropped where it takes no lock.
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

    /// Takes the oldest frame, to be written; the one taken before has been.
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

    /// Notes where it stands among the debtors. Whether that is news for their list.
    fn note_standing(&self, state: &QueueState) -> bool {
        let owes = state.counted > 0 && state.forgiven == 0;
        let standing = state.oldest().filter(|_| owes).map(|since| Standing::new(state.bytes, since));
        let number = Standing::to_number(standing);
        // Written under the lock of `state` only.
        self.standing.swap(number, Ordering::Relaxed) != number
    }

    /// Makes the debtors' list true. Of two who tell it, the later one tells what is true by then, whoever noted it. `reach` is
    /// needed where the queue is not on the list.
    fn tell_standing(&self, reach: Option<&Arc<Self>>) {
        let mut debtors = self.common.debtors.lock();
        let standing = Standing::from_number(self.standing.load(Ordering::Relaxed));
        debtors.note(self.number, standing, reach.map(|reach| || Arc::downgrade(reach)));
    }

    /// Gives up all it holds, and the client with it, unless it has been read meanwhile.
    fn pay(&self) {
        let mut state = self.state.lock();
        if state.counted == 0 {
            return;
        }
        let frames = state.clear(&self.common);
        state.overflowed = true;
        // What is being written goes with the connection. Nobody else must pay for that meanwhile.
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

    /// Forgets what waits.
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

    /// Why the connection is to be closed, if it is: a frame was lost because the client does not keep up, or its room
    /// says so.
    pub(crate) fn ended(&self) -> Option<CloseReason> {
        let state = self.state.lock();
        state.ended.or(state.overflowed.then_some(CloseReason::SlowReader))
    }

    /// Waits until something was put in since the last call.
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
            // It may have been the one that paid.
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
