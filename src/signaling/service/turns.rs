//! Whose turn it is: the effects of one shard are performed in the order in which they were decided, outside of its
//! lock.
//!
//! Each decision draws a ticket under the lock, and its effects are performed when it is the turn of that ticket. Turns
//! cannot cause a deadlock: a thread that waits for its turn holds no lock, and a thread that has the turn never waits
//! for another turn and takes no shard's lock. So the thread with the lowest ticket always goes on.

use std::sync::{
    Condvar, Mutex, PoisonError,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

/// How often a thread looks at the number before it sleeps: effects mostly take a microsecond or two.
const SPINS: usize = 100;

#[derive(Debug, Default)]
pub(super) struct Turns {
    /// The ticket whose turn it is.
    serving: AtomicU64,
    waiters: AtomicUsize,
    asleep: Mutex<()>,
    called: Condvar,
}

/// Held by the thread whose turn it is; dropping it passes the turn on.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    ticket: u64,
}

impl Turns {
    /// Waits until all earlier decisions have been performed.
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
        // A thread that begins to wait after this load sees the new number.
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
