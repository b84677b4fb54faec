//! What waits for clients that are connected over streams.
//!
//! Each client has an [`Inbox`]: a bounded queue of datagrams from peers. UDP workers, other streams, and the client's
//! own task while the client is slow add to it. When it is full, the oldest datagrams are dropped, because the newest
//! are worth most in live media. So a sender never waits, and no client takes more memory by reading less.
#![allow(clippy::disallowed_methods, reason = "it reads the clocks")]

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Instant,
};

use slab::Slab;

use super::payload::Payload;
use crate::{
    membership::AllocationRef,
    observe::metrics::TurnCounters,
    turn::{
        core::{packet::DropReason, session::Via},
        io::client_slot::{ClientSlot, slot_of},
        shared::relayed::{Home, OwnerTag},
    },
    values::addresses::{PeerAddr, RelayedAddr},
};

/// Payload bytes that may wait for one client: more than a video key frame of good quality.
pub(super) const MAX_BYTES: usize = 128 * 1024;

/// Datagrams that may wait for one client.
pub(super) const MAX_LETTERS: usize = 512;

/// A datagram on its way to a client.
#[derive(Debug)]
pub(super) struct Letter {
    /// The peer, and the way on which its datagram came.
    pub(super) from: (PeerAddr, Via),
    /// The client's relayed address when the datagram was sent.
    pub(super) to: RelayedAddr,
    /// The client's owner when the datagram was sent.
    pub(super) owner: OwnerTag,
    /// When the datagram arrived.
    pub(super) since: Instant,
    pub(super) payload: Payload,
}

/// The queue of one client.
#[derive(Debug)]
pub(super) struct Inbox {
    counters: Arc<TurnCounters>,
    state: Mutex<InboxState>,
}

#[derive(Debug, Default)]
struct InboxState {
    letters: VecDeque<Letter>,
    bytes: usize,
    /// The key of an allocation whose owner is gone.
    ended: Option<u64>,
    waker: Option<Waker>,
    /// Whether the client's task wants to be woken by a letter.
    awaits_letters: bool,
}

impl Inbox {
    /// An empty inbox. Dropped datagrams are counted in `counters`.
    pub(super) fn new(counters: Arc<TurnCounters>) -> Arc<Self> {
        Arc::new(Self { counters, state: Mutex::default() })
    }

    /// Adds a letter. The oldest letters are dropped if there is no room.
    pub(super) fn push(&self, letter: Letter) {
        let mut state = self.lock();
        while state.letters.len() >= MAX_LETTERS || state.bytes + letter.payload.len() > MAX_BYTES {
            let Some(oldest) = state.letters.pop_front() else {
                break;
            };
            state.bytes -= oldest.payload.len();
            self.counters.dropped(DropReason::SlowClient);
        }
        state.bytes += letter.payload.len();
        state.letters.push_back(letter);
        let waker = if std::mem::take(&mut state.awaits_letters) { state.waker.clone() } else { None };
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Tells the client's task that an allocation's owner is gone.
    fn end(&self, key: u64) {
        let mut state = self.lock();
        state.ended = Some(key);
        let waker = state.waker.clone();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Must be called at the beginning of each poll: notes the task to wake, and returns the key of the allocation that
    /// must end.
    pub(super) fn begin(&self, cx: &Context<'_>) -> Option<u64> {
        let mut state = self.lock();
        if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            state.waker = Some(cx.waker().clone());
        }
        state.awaits_letters = false;
        state.ended.take()
    }

    /// The next letter. If there is none, the next one wakes the task that called [`Self::begin`].
    pub(super) fn poll_next(&self) -> Poll<Letter> {
        let mut state = self.lock();
        match state.letters.pop_front() {
            Some(letter) => {
                state.bytes -= letter.payload.len();
                Poll::Ready(letter)
            }
            None => {
                state.awaits_letters = true;
                Poll::Pending
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().letters.is_empty()
    }

    /// Forgets all letters, and gives their memory back.
    pub(super) fn clear(&self) {
        let mut state = self.lock();
        state.letters = VecDeque::new();
        state.bytes = 0;
    }

    fn lock(&self) -> MutexGuard<'_, InboxState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The inboxes of all clients with an allocation, by slot.
#[derive(Debug, Default)]
pub(super) struct Inboxes {
    by_slot: RwLock<Slab<Arc<Inbox>>>,
    generations: AtomicU32,
}

impl Inboxes {
    /// A place for this inbox. `None` if there are already as many as can be distinguished.
    pub(super) fn insert(&self, inbox: Arc<Inbox>) -> Option<ClientSlot> {
        let slot = self.write().insert(inbox);
        let generation = self.generations.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        match u32::try_from(slot) {
            Ok(slot) => Some(ClientSlot { slot, generation }),
            Err(_) => {
                self.write().try_remove(slot);
                None
            }
        }
    }

    /// Gives a place back.
    pub(super) fn remove(&self, place: ClientSlot) {
        self.write().try_remove(place.slot as usize);
    }

    /// Hands `payload` to the client at `home`. `false` if there is no client.
    pub(super) fn send(&self, home: Home, (from, to): (PeerAddr, RelayedAddr), payload: &[u8]) -> bool {
        let Some(inbox) = self.read().get(home.slot as usize).cloned() else {
            return false;
        };
        inbox.push(Letter {
            from: (from, Via::InProcess),
            to,
            owner: home.owner,
            since: Instant::now(),
            payload: Payload::copy_of(payload, Vec::new()),
        });
        true
    }

    /// Tells the client that the owner of this allocation is gone.
    pub(super) fn end(&self, allocation: AllocationRef) {
        let inbox = self.read().get(slot_of(allocation)).cloned();
        if let Some(inbox) = inbox {
            inbox.end(allocation.key);
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Slab<Arc<Inbox>>> {
        self.by_slot.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Slab<Arc<Inbox>>> {
        self.by_slot.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        task::Wake,
    };

    use super::{super::payload::InPlace, *};

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn letter(number: u8, len: usize) -> Letter {
        let at = std::net::SocketAddr::from(([192, 0, 2, 1], 1));
        Letter {
            from: (PeerAddr(at), Via::InProcess),
            to: RelayedAddr(at),
            owner: OwnerTag::Api,
            since: Instant::now(),
            payload: Payload::copy_of(&vec![number; len], Vec::new()),
        }
    }

    fn next(inbox: &Inbox) -> Option<u8> {
        match inbox.poll_next() {
            Poll::Ready(mut letter) => {
                let InPlace { buffer, start, end } = letter.payload.in_place();
                buffer[start..end].first().copied()
            }
            Poll::Pending => None,
        }
    }

    #[test]
    fn the_oldest_goes_when_bytes_or_letters_are_too_many() {
        let inbox = Inbox::new(Arc::default());
        for number in 0..10 {
            inbox.push(letter(number, MAX_BYTES / 4));
        }
        let left: Vec<_> = std::iter::from_fn(|| next(&inbox)).collect();
        assert_eq!(left, [6, 7, 8, 9]);
        for number in 0..=MAX_LETTERS {
            inbox.push(letter(number as u8, 1));
        }
        let left: Vec<_> = std::iter::from_fn(|| next(&inbox)).collect();
        assert_eq!((left.len(), left[0]), (MAX_LETTERS, 1));
        assert_eq!(inbox.lock().bytes, 0);
    }

    #[test]
    fn the_task_is_woken_when_it_waits_and_by_the_end() {
        let wakes = Arc::new(Wakes::default());
        let waker = wakes.clone().into();
        let inbox = Inbox::new(Arc::default());
        assert_eq!(inbox.begin(&Context::from_waker(&waker)), None);
        inbox.push(letter(1, 1));
        assert_eq!(wakes.0.load(Ordering::Relaxed), 0, "it has not said that it waits");
        assert_eq!((next(&inbox), next(&inbox)), (Some(1), None));
        inbox.push(letter(2, 1));
        inbox.push(letter(3, 1));
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1, "once is enough");
        inbox.end(7);
        assert_eq!(wakes.0.load(Ordering::Relaxed), 2);
        assert_eq!(inbox.begin(&Context::from_waker(&waker)), Some(7));
        assert_eq!(inbox.begin(&Context::from_waker(&waker)), None, "told once");
    }
}
