//! Locks of which a thread may hold only one at a time.
//!
//! A thread that holds one lock and takes another defines an order that all others must keep, and makes others wait for
//! both. So signaling and the directory of members hold one lock at a time, and call nothing while they do. Debug
//! builds check this: taking a lock while the thread holds another one panics, and the message names both.
//!
//! A panic under a lock does not poison it: the guarded state is consistent after each statement that matters, and a
//! server that continues is better than one that panics for ever.

use std::{
    ops::{Deref, DerefMut},
    sync,
};

/// What a lock guards, and its number among the locks of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LockName(pub(crate) &'static str, pub(crate) usize);

/// A mutual exclusion.
#[derive(Debug)]
pub(crate) struct Lock<T> {
    #[cfg(debug_assertions)]
    name: LockName,
    inner: sync::Mutex<T>,
}

/// Access to what a [`Lock`] guards.
pub(crate) struct Guard<'a, T> {
    inner: sync::MutexGuard<'a, T>,
    _held: HeldLock,
}

impl<T> Lock<T> {
    #[cfg_attr(not(debug_assertions), expect(unused_variables, reason = "names are for debug builds"))]
    pub(crate) fn new(name: LockName, value: T) -> Self {
        Self {
            #[cfg(debug_assertions)]
            name,
            inner: sync::Mutex::new(value),
        }
    }

    pub(crate) fn lock(&self) -> Guard<'_, T> {
        let held = self.note_taken();
        Guard { inner: self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner()), _held: held }
    }

    /// Takes the lock, or returns `None` if another thread holds it.
    pub(crate) fn try_lock(&self) -> Option<Guard<'_, T>> {
        let held = self.note_taken();
        let inner = match self.inner.try_lock() {
            Ok(inner) => inner,
            Err(sync::TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(sync::TryLockError::WouldBlock) => return None,
        };
        Some(Guard { inner, _held: held })
    }

    /// The owner of the lock needs no locking.
    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.inner.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn note_taken(&self) -> HeldLock {
        #[cfg(debug_assertions)]
        return HeldLock::new(self.name);
        #[cfg(not(debug_assertions))]
        HeldLock
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

/// A lock that many readers can hold at once.
#[derive(Debug)]
pub(crate) struct ReadWriteLock<T> {
    #[cfg(debug_assertions)]
    name: LockName,
    inner: sync::RwLock<T>,
}

/// Access for reading.
pub(crate) struct ReadGuard<'a, T> {
    inner: sync::RwLockReadGuard<'a, T>,
    _held: HeldLock,
}

/// Access for writing.
pub(crate) struct WriteGuard<'a, T> {
    inner: sync::RwLockWriteGuard<'a, T>,
    _held: HeldLock,
}

impl<T> ReadWriteLock<T> {
    #[cfg_attr(not(debug_assertions), expect(unused_variables, reason = "names are for debug builds"))]
    pub(crate) fn new(name: LockName, value: T) -> Self {
        Self {
            #[cfg(debug_assertions)]
            name,
            inner: sync::RwLock::new(value),
        }
    }

    pub(crate) fn read(&self) -> ReadGuard<'_, T> {
        let held = self.note_taken();
        ReadGuard { inner: self.inner.read().unwrap_or_else(|poisoned| poisoned.into_inner()), _held: held }
    }

    pub(crate) fn write(&self) -> WriteGuard<'_, T> {
        let held = self.note_taken();
        WriteGuard { inner: self.inner.write().unwrap_or_else(|poisoned| poisoned.into_inner()), _held: held }
    }

    fn note_taken(&self) -> HeldLock {
        #[cfg(debug_assertions)]
        return HeldLock::new(self.name);
        #[cfg(not(debug_assertions))]
        HeldLock
    }
}

impl<T> Deref for ReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> Deref for WriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> DerefMut for WriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

/// Panics in debug builds if this thread holds a lock, because the code that is about to be called may take one.
pub(crate) fn assert_none_held(about_to: &str) {
    #[cfg(debug_assertions)]
    watch::HELD.with(|held| {
        if let Some(held) = held.get() {
            panic!("about to {about_to} while {held:?} is held");
        }
    });
    #[cfg(not(debug_assertions))]
    let _ = about_to;
}

/// Records that this thread holds a lock. Like the guards, it cannot be sent to other threads.
#[cfg(debug_assertions)]
struct HeldLock(std::marker::PhantomData<*const ()>);

#[cfg(not(debug_assertions))]
struct HeldLock;

#[cfg(debug_assertions)]
impl HeldLock {
    fn new(name: LockName) -> Self {
        #[cfg(test)]
        crate::interleaving::point();
        watch::HELD.with(|held| {
            if let Some(other) = held.get() {
                panic!("{name:?} is taken while {other:?} is held");
            }
            held.set(Some(name));
        });
        #[cfg(test)]
        watch::TAKEN.with_borrow_mut(|taken| {
            if let Some(taken) = taken {
                taken.push(name);
            }
        });
        Self(std::marker::PhantomData)
    }
}

#[cfg(debug_assertions)]
impl Drop for HeldLock {
    fn drop(&mut self) {
        watch::HELD.with(|held| held.set(None));
    }
}

/// The locks that this thread takes while `act` runs.
#[cfg(all(test, debug_assertions))]
pub(crate) fn taken_by<T>(act: impl FnOnce() -> T) -> (T, Vec<LockName>) {
    watch::TAKEN.set(Some(Vec::new()));
    let outcome = act();
    (outcome, watch::TAKEN.take().unwrap_or_default())
}

#[cfg(debug_assertions)]
mod watch {
    use std::cell::Cell;

    use super::LockName;

    thread_local! {
        pub(super) static HELD: Cell<Option<LockName>> = const { Cell::new(None) };
        #[cfg(test)]
        pub(super) static TAKEN: std::cell::RefCell<Option<Vec<LockName>>> = const { std::cell::RefCell::new(None) };
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;

    #[test]
    fn one_lock_after_another_is_fine() {
        let (a, b) = (Lock::new(LockName("a", 0), 1), ReadWriteLock::new(LockName("b", 0), 2));
        let ((), taken) = taken_by(|| {
            *a.lock() += 1;
            *b.write() += 1;
            let sum = *a.lock();
            assert_eq!(sum + *b.read(), 5);
        });
        assert_eq!(taken, ["a", "b", "a", "b"].map(|name| LockName(name, 0)));
        assert_none_held("end");
    }

    #[test]
    #[should_panic(expected = "LockName(\"b\", 7) is taken while LockName(\"a\", 0) is held")]
    fn a_lock_within_a_lock_panics() {
        let (a, b) = (Lock::new(LockName("a", 0), ()), Lock::new(LockName("b", 7), ()));
        let _held = a.lock();
        let _ = b.lock();
    }

    #[test]
    #[should_panic(expected = "about to call somebody while LockName(\"a\", 0) is held")]
    fn a_call_under_a_lock_panics() {
        let a = ReadWriteLock::new(LockName("a", 0), ());
        let _held = a.read();
        assert_none_held("call somebody");
    }
}
