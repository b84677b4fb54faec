//! Runs the threads of a test one at a time, and changes between them in an order that depends on a seed.
//!
//! A change can happen before each lock and wherever a thread waits for another, because threads can only meet there. A
//! failure in one order is repeated by the same seed.

use std::{
    cell::RefCell,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use rand::{Rng, SeedableRng, rngs::StdRng};

struct Schedule {
    state: Mutex<ScheduleState>,
    /// One condition variable for each actor.
    called: Vec<Condvar>,
}

struct ScheduleState {
    order: StdRng,
    /// The number of the actor that runs.
    current: usize,
    /// The numbers of the actors that have not ended.
    left: Vec<usize>,
}

thread_local! {
    static ACTOR: RefCell<Option<Actor>> = const { RefCell::new(None) };
}

struct Actor {
    schedule: Arc<Schedule>,
    number: usize,
}

/// Runs all actors to their ends, in an order that depends on `seed`.
///
/// # Panics
/// If one of them panics.
pub(crate) fn run(seed: u64, actors: Vec<Box<dyn FnOnce() + Send + '_>>) {
    let mut order = StdRng::seed_from_u64(seed);
    let current = order.random_range(0..actors.len());
    let state = ScheduleState { order, current, left: (0..actors.len()).collect() };
    let called = actors.iter().map(|_| Condvar::new()).collect();
    let schedule = Arc::new(Schedule { state: Mutex::new(state), called });
    thread::scope(|scope| {
        for (number, act) in actors.into_iter().enumerate() {
            let schedule = schedule.clone();
            scope.spawn(move || {
                schedule.wait_for(number, schedule.lock());
                ACTOR.set(Some(Actor { schedule, number }));
                // This passes the turn on, even if `act` panics.
                let _end = End;
                act();
            });
        }
    });
}

/// A point at which another thread may continue.
pub(crate) fn point() {
    ACTOR.with_borrow(|actor| {
        if let Some(Actor { schedule, number }) = actor {
            schedule.pass_on(*number);
        }
    });
}

/// Whether this thread is an actor.
pub(crate) fn is_actor() -> bool {
    ACTOR.with_borrow(Option::is_some)
}

struct End;

impl Drop for End {
    fn drop(&mut self) {
        if let Some(Actor { schedule, number }) = ACTOR.take() {
            let mut state = schedule.lock();
            state.left.retain(|other| *other != number);
            if let Some(next) = state.left.first().copied() {
                state.current = next;
                schedule.called[next].notify_one();
            }
        }
    }
}

impl Schedule {
    fn lock(&self) -> MutexGuard<'_, ScheduleState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass_on(&self, me: usize) {
        let mut state = self.lock();
        if state.order.random() {
            return;
        }
        let left = state.left.len();
        let index = state.order.random_range(0..left);
        let next = state.left[index];
        if next != me {
            state.current = next;
            self.called[next].notify_one();
            self.wait_for(me, state);
        }
    }

    fn wait_for(&self, me: usize, state: MutexGuard<'_, ScheduleState>) {
        let is_anothers_turn = |state: &mut ScheduleState| state.current != me;
        drop(self.called[me].wait_while(state, is_anothers_turn).unwrap_or_else(PoisonError::into_inner));
    }
}
