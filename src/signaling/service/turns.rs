//! Who performs next: effects of one shard are performed in the order in which they were decided, outside of its lock.
//!
//! Each decision draws a ticket under the lock, and is performed when it is its ticket's turn. To wait for one's turn is no lock: who
//! waits holds none, and whoever has the turn never waits for another turn nor takes a shard's lock, so the
//! one with the lowest ticket always goes on.

use std::sync::{
    Condvar, Mutex, PoisonError,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

/// Looks at the number before the thread is laid to rest: effects are mostly performed within a microsecond or two.
const SPINS: usize = 100;

#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Whose turn it is.
    serving: AtomicU64,
    waiters: AtomicUsize,
    asleep: Mutex<()>,
    called: Condvar,
}

/// Held by the one whose turn it is.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    ticket: u64,
}

impl Turns {
    /// Waits until all that was decided before has been performed.
    pub(super) fn wait_for(&self, ticket: u64) -> Turn<'_> {
        let is_next = || self.serving.load(Ordering::SeqCst) == ticket;
        #[cfg(test)]
        while crate::interleaving::is_actor() && !is_next() {
            crate::interleaving::point();
        }
        for _ in 0..SPINS {
            if is_next() {
                return Turn { turns: self, ticket };
            }
            std::hint::spin_loop();
        }
        self.waiters.fetch_add(1, Ordering::SeqCst);
        let mut asleep = self.asleep.lock().unwrap_or_else(PoisonError::into_inner);
        while !is_next() {
            asleep = self.called.wait(asleep).unwrap_or_else(PoisonError::into_inner);
        }
        drop(asleep);
        self.waiters.fetch_sub(1, Ordering::SeqCst);
        Turn { turns: self, ticket }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.serving.store(self.ticket + 1, Ordering::SeqCst);
        // Who comes to wait after this has seen the number.
        if self.turns.waiters.load(Ordering::SeqCst) > 0 {
            drop(self.turns.asleep.lock());
            self.turns.called.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn turns_come_in_the_order_of_their_tickets_and_one_at_a_time() {
        const THREADS: usize = 4;
        const EACH: usize = 5_000;
        let (turns, performed) = (Turns::default(), Mutex::new(Vec::new()));
        let (last, busy) = (Mutex::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for _ in 0..EACH {
                        let ticket = {
                            let mut last = last.lock().unwrap();
                            *last += 1;
                            *last - 1
                        };
                        let _turn = turns.wait_for(ticket);
                        assert!(!busy.swap(true, Ordering::SeqCst), "two at once");
                        performed.lock().unwrap().push(ticket);
                        busy.store(false, Ordering::SeqCst);
                    }
                });
            }
        });
        assert!(performed.into_inner().unwrap().into_iter().eq(0..(THREADS * EACH) as u64));
    }

    #[test]
    fn who_panics_passes_the_turn_on() {
        let turns = Turns::default();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _turn = turns.wait_for(0);
            panic!("while performing");
        }));
        assert!(outcome.is_err());
        drop(turns.wait_for(1));
    }
}
