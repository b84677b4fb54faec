//! The bounded queue between the hub and one socket, and the bytes that all queues share.
//!
//! Each queue has some bytes of its own. What goes beyond is taken from the common ones: once for a frame that waits in
//! many queues, and in full for each socket's copy of the one that is being written. When the common bytes are used up,
//! [`super::debtors`] says which queue is given up for them.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, Weak,
        atomic::{AtomicIsize, AtomicU64, Ordering},
    },
};

use tokio::{sync::Notify, time::Instant};

use super::{
    close_reason::CloseReason,
    debtors::{Debtors, Standing, Tick},
    frame::Frame,
    hub::{Full, Outbox},
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
pub(crate) struct Common {
    limit: usize,
    /// Below zero for a moment when one gives back what another is about to take.
    used: AtomicIsize,
    /// Used by connections that are being closed for it, which takes a moment.
    forgiven: AtomicIsize,
    debtors: Mutex<Debtors<Weak<Queue>>>,
    /// One at a time sees to it that somebody pays, else two would pay where one is enough.
    relieving: Mutex<()>,
    last_number: AtomicU64,
    started: Instant,
}

impl Default for Common {
    fn default() -> Self {
        Self::with_limit(COMMON_BYTES)
    }
}

impl Common {
    fn with_limit(limit: usize) -> Self {
        Self {
            limit,
            used: AtomicIsize::new(0),
            forgiven: AtomicIsize::new(0),
            debtors: Mutex::default(),
            relieving: Mutex::default(),
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
        let Ok(_only_one) = self.relieving.try_lock() else {
            return;
        };
        while self.is_used_up() {
            let Some(worst) = lock(&self.debtors).take_worst(self.now()) else {
                return;
            };
            if let Some(queue) = worst.upgrade() {
                queue.pay();
            }
        }
    }
}

/// Frames on their way to one client. The hub puts in, the client's session takes out.
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Notify,
    common: Arc<Common>,
    number: u64,
}

#[derive(Default)]
struct State {
    frames: VecDeque<Waiting>,
    being_written: Option<BeingWritten>,
    /// Of the frames that wait and the one that is being written.
    bytes: usize,
    /// How many of [`OWN_BYTES`] are in use.
    own: usize,
    /// How many of what it holds are common bytes.
    counted: usize,
    standing: Option<Standing>,
    overflowed: bool,
    /// What [`Common::forgiven`] has because of it.
    forgiven: usize,
    /// Why the hub wants the connection closed.
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

impl State {
    /// Takes a frame in.
    fn push(&mut self, frame: Frame, now: Tick, common: &Common) {
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
    fn pop(&mut self, common: &Common) -> Option<Frame> {
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

    fn written(&mut self, common: &Common) {
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
    fn clear(&mut self, common: &Common) -> VecDeque<Waiting> {
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
    pub(crate) fn new(common: Arc<Common>) -> Self {
        let number = common.last_number.fetch_add(1, Ordering::Relaxed);
        Self { state: Mutex::default(), changed: Notify::new(), common, number }
    }

    /// Takes the oldest frame, to be written; the one taken before has been.
    pub(crate) fn pop(&self) -> Option<Frame> {
        let mut state = self.lock();
        state.written(&self.common);
        let frame = state.pop(&self.common);
        if frame.is_none() && state.frames.capacity() > KEPT_FRAMES {
            state.frames = VecDeque::new();
        }
        self.note_standing(&mut state, None);
        frame
    }

    /// Keeps the debtors' list true. `reach` is needed where the queue is not on it.
    fn note_standing(&self, state: &mut State, reach: Option<&Arc<Self>>) {
        let owes = state.counted > 0 && state.forgiven == 0;
        let standing = state.oldest().filter(|_| owes).map(|since| Standing::new(state.bytes, since));
        if standing == state.standing {
            return;
        }
        let mut debtors = lock(&self.common.debtors);
        let listed = state.standing.take().and_then(|old| debtors.remove(self.number, old));
        if let Some(standing) = standing
            && let Some(reach) = listed.or_else(|| reach.map(Arc::downgrade))
        {
            debtors.insert(self.number, standing, reach);
            state.standing = Some(standing);
        }
    }

    /// Gives up all it holds, and the client with it, unless it has been read meanwhile.
    fn pay(&self) {
        let mut state = self.lock();
        if state.counted == 0 {
            state.standing = None;
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
        self.note_standing(&mut state, None);
        drop(state);
        drop(frames);
        self.changed.notify_one();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().frames.is_empty()
    }

    /// Forgets what waits.
    pub(crate) fn clear(&self) {
        let mut state = self.lock();
        let frames = state.clear(&self.common);
        self.note_standing(&mut state, None);
        drop(state);
        drop(frames);
    }

    /// Whether the connection must be closed without a farewell, because of the memory that it holds.
    pub(crate) fn must_go_at_once(&self) -> bool {
        self.lock().forgiven > 0 && self.common.is_in_need()
    }

    /// Why the connection is to be closed, if it is: a frame was lost because the client does not keep up, or the hub
    /// says so.
    pub(crate) fn ended(&self) -> Option<CloseReason> {
        let state = self.lock();
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

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Outbox for Arc<Queue> {
    fn try_send(&self, frame: Frame) -> Result<(), Full> {
        let now = self.common.now();
        let mut state = self.lock();
        if state.frames.len() >= MAX_FRAMES || state.bytes >= MAX_BYTES {
            state.overflowed = true;
        }
        if !state.overflowed {
            state.push(frame, now, &self.common);
            self.note_standing(&mut state, Some(self));
        }
        let overflowed = state.overflowed;
        drop(state);
        self.changed.notify_one();
        if overflowed {
            return Err(Full);
        }
        if self.common.is_used_up() {
            self.common.relieve();
            // It may have been the one that paid.
            return if self.lock().overflowed { Err(Full) } else { Ok(()) };
        }
        Ok(())
    }

    fn end(&self, reason: CloseReason) {
        self.lock().ended.get_or_insert(reason);
        self.changed.notify_one();
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        let mut state = self.lock();
        state.written(&self.common);
        state.clear(&self.common);
        self.note_standing(&mut state, None);
        self.common.forgiven.fetch_sub(state.forgiven as isize, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(len: usize) -> Frame {
        "x".repeat(len).into()
    }

    fn a_queue() -> Arc<Queue> {
        Arc::new(Queue::new(Arc::default()))
    }

    #[test]
    fn frames_and_bytes_are_bounded() {
        let queue = a_queue();
        assert!((0..MAX_FRAMES).all(|_| queue.try_send(frame(1)).is_ok()));
        assert_eq!(queue.try_send(frame(1)), Err(Full));
        assert_eq!(queue.ended(), Some(CloseReason::SlowReader));

        let queue = a_queue();
        assert_eq!(queue.try_send(frame(MAX_BYTES + 1)), Ok(()), "one long frame");
        assert_eq!(queue.try_send(frame(1)), Err(Full));
    }

    #[test]
    fn after_a_lost_frame_nothing_follows() {
        let queue = a_queue();
        while queue.try_send(frame(1000)).is_ok() {}
        while queue.pop().is_some() {}
        assert_eq!(queue.try_send(frame(1)), Err(Full), "a gap must not go unnoticed");
    }

    #[test]
    fn who_is_replaced_is_told_so_even_if_it_does_not_read() {
        let queue = a_queue();
        while queue.try_send(frame(1000)).is_ok() {}
        queue.end(CloseReason::Replaced);
        queue.end(CloseReason::Kicked);
        assert_eq!(queue.ended(), Some(CloseReason::Replaced), "the first reason counts");
    }

    #[test]
    fn an_idle_queue_is_small() {
        let queue = a_queue();
        for _ in 0..1000 {
            queue.try_send(frame(1)).unwrap();
        }
        while queue.pop().is_some() {}
        assert!(queue.lock().frames.capacity() <= KEPT_FRAMES);
        assert_eq!(queue.lock().bytes, 0);
    }

    fn queues(common: &Arc<Common>, count: usize) -> Vec<Arc<Queue>> {
        (0..count).map(|_| Arc::new(Queue::new(common.clone()))).collect()
    }

    fn used(common: &Common) -> usize {
        common.used.load(Ordering::Relaxed).try_into().unwrap()
    }

    fn is_as_new(common: &Common) -> bool {
        let counts = [&common.used, &common.forgiven].map(|count| count.load(Ordering::Relaxed));
        counts == [0, 0] && lock(&common.debtors).is_empty()
    }

    fn open(queues: &[Arc<Queue>]) -> usize {
        queues.iter().filter(|queue| queue.ended().is_none()).count()
    }

    #[test]
    fn r6_3_all_queues_together_are_bounded_and_give_back() {
        let common = Arc::new(Common::default());
        let stalled = queues(&common, 100);
        for queue in &stalled {
            for _ in 0..20 {
                let _ = queue.try_send(frame(100_000));
                assert!(used(&common) <= COMMON_BYTES);
            }
        }
        let left = open(&stalled);
        assert!((60..75).contains(&left), "{left}: as many as fit, or nearly");
        for queue in &stalled[..50] {
            while queue.pop().is_some() {}
        }
        stalled[99].clear();
        drop(stalled);
        assert!(is_as_new(&common));
    }

    #[test]
    fn r6_3_a_shared_frame_counts_once() {
        let common = Arc::new(Common::default());
        let rooms: Vec<_> = (0..10).map(|_| queues(&common, 31)).collect();
        for members in &rooms {
            for _ in 0..20 {
                let frame = frame(100_000);
                assert!(members.iter().all(|queue| queue.try_send(frame.clone()).is_ok()));
            }
        }
        assert!(used(&common) <= 10 * 20 * cost(100_000));
        // As long as one keeps it, it is there.
        let before = used(&common);
        for members in &rooms {
            members[..30].iter().for_each(|queue| queue.clear());
        }
        assert_eq!(used(&common), before);
        drop(rooms);
        assert!(is_as_new(&common));
    }

    #[test]
    fn r6_3_each_sockets_copy_counts() {
        let common = Arc::new(Common::default());
        let members = queues(&common, 10);
        let shared = frame(100_000);
        for queue in &members {
            queue.try_send(shared.clone()).unwrap();
            assert!(queue.pop().is_some());
        }
        assert_eq!(used(&common), 10 * cost(100_000));
        members.iter().for_each(|queue| assert!(queue.pop().is_none()));
        assert!(is_as_new(&common));
    }

    #[tokio::test(start_paused = true)]
    async fn r6_3_who_stalls_pays_and_never_who_comes_next() {
        const MIB: usize = 1024 * 1024;
        for size in [OWN_BYTES + 10, 300_000, MAX_BYTES] {
            let common = Arc::new(Common::with_limit(16 * MIB));
            let early = queues(&common, 1).remove(0);
            let stalled = queues(&common, 16 * MIB / size + 20);
            for queue in &stalled {
                let _ = (0..4).try_for_each(|_| queue.try_send(frame(size / 4)));
            }
            tokio::time::advance(std::time::Duration::from_secs(2)).await;
            for _ in 0..500 {
                let late = Arc::new(Queue::new(common.clone()));
                for honest in [&early, &late] {
                    assert_eq!(honest.try_send(frame(470_000)), Ok(()), "size {size}");
                }
                assert!(used(&common) <= 16 * MIB);
                for honest in [&early, &late] {
                    while honest.pop().is_some() {}
                    assert_eq!(honest.ended(), None);
                }
            }
            drop(early);
            drop(stalled);
            assert!(is_as_new(&common));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn r6_3_who_reads_a_little_now_and_then_stalls_nevertheless() {
        let common = Arc::new(Common::with_limit(1_000_000));
        let [trickling, slow] = std::array::from_fn(|_| Arc::new(Queue::new(common.clone())));
        for _ in 0..900 {
            trickling.try_send(frame(1000)).unwrap();
        }
        for _ in 0..10 {
            tokio::time::advance(std::time::Duration::from_secs(1)).await;
            trickling.pop();
        }
        slow.try_send(frame(200_000)).unwrap();
        slow.try_send(frame(200_000)).unwrap();
        assert_eq!([&trickling, &slow].map(|queue| queue.ended().is_some()), [true, false]);
        assert!(used(&common) <= 400_200);
    }

    #[test]
    fn r6_3_one_that_paid_holds_nothing_and_only_its_copy_is_awaited() {
        let common = Arc::new(Common::with_limit(1_000_000));
        let stalled = Arc::new(Queue::new(common.clone()));
        stalled.try_send(frame(600_000)).unwrap();
        assert!(stalled.pop().is_some());
        stalled.try_send(frame(300_000)).unwrap();
        let other = Arc::new(Queue::new(common.clone()));
        other.try_send(frame(500_000)).unwrap();
        assert_eq!((stalled.ended(), other.ended()), (Some(CloseReason::SlowReader), None));
        assert_eq!(used(&common), cost(500_000));
        assert!(stalled.is_empty() && stalled.must_go_at_once(), "600,000 bytes are in its socket's buffer");
        assert!(stalled.pop().is_none());
        assert_eq!(used(&common), cost(500_000));
        drop(stalled);
        drop(other);
        assert!(is_as_new(&common));
    }

    #[test]
    fn r6_3_nothing_is_left_over_when_all_happens_at_once() {
        let common = Arc::new(Common::with_limit(2_000_000));
        let shared: Vec<_> = (0..8).map(|_| frame(40_000)).collect();
        let members = queues(&common, 12);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (members, shared, common) = (&members, &shared, &common);
                scope.spawn(move || {
                    let mut own = queues(common, 3);
                    for step in 0..5000_usize {
                        let queue = &members[(step * 7 + thread) % members.len()];
                        match (step * 13 + thread * 5) % 8 {
                            0..4 => drop(queue.try_send(shared[step % 8].clone())),
                            4 => drop(own[step % 3].try_send(frame(50_000))),
                            5 => own[step % 3] = Arc::new(Queue::new(common.clone())),
                            6 if step % 11 == 0 => queue.clear(),
                            _ => drop(queue.pop()),
                        }
                    }
                });
            }
        });
        drop(members);
        assert!(is_as_new(&common), "{common:?}");
    }

    #[test]
    fn a_frame_counts_until_it_is_written() {
        let common = Arc::new(Common::default());
        let queue = Arc::new(Queue::new(common.clone()));
        queue.try_send(frame(OWN_BYTES + 10)).unwrap();
        assert!(queue.pop().is_some());
        assert_eq!(used(&common), cost(OWN_BYTES + 10));
        assert!(queue.pop().is_none());
        assert!(is_as_new(&common));
    }

    #[test]
    fn what_fits_its_own_share_is_never_counted() {
        let common = Arc::new(Common::with_limit(0));
        let queue = Arc::new(Queue::new(common.clone()));
        for _ in 0..3 {
            for _ in 0..60 {
                queue.try_send(frame(1000)).unwrap();
            }
            assert!(is_as_new(&common));
            while queue.pop().is_some() {}
        }
    }
}
