//! The limit of open files of the process, and pools of files.
//!
//! Every connection is an open file, and so is every relay port.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// How many files only operators may use.
const HEADROOM: u64 = 32;

/// How many of these are for the connections of operators; the others are for their requests.
pub(crate) const OPERATORS: usize = 24;

/// The limit of open files of this process: one for all, and a slightly higher one for operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The soft limit, for everybody.
    usual: u64,
    /// The hard limit, for operators.
    highest: u64,
}

impl Limit {
    /// Raises the limit as far as possible, minus the files for operators.
    pub fn raise() -> Self {
        let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
            // The limit is unknown, so this is a usual value.
            return Self { usual: 1024, highest: 1024 };
        };
        let limit = Self { usual: hard.saturating_sub(HEADROOM.min(hard / 8)), highest: hard };
        match setrlimit(Resource::RLIMIT_NOFILE, limit.usual, hard) {
            Ok(()) => limit,
            Err(error) => {
                tracing::warn!(%error, soft, hard, "cannot raise the limit of open files");
                Self { usual: soft, highest: soft }
            }
        }
    }

    /// How many files may be open.
    pub fn files(self) -> usize {
        usize::try_from(self.highest).unwrap_or(usize::MAX)
    }

    /// Opens a file for an operator, even if none is left for others.
    ///
    /// # Errors
    /// The error of `open`. The limit belongs to the process, so it is higher for everybody while `open` runs.
    pub fn lifted<T>(self, open: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let set = |limit| setrlimit(Resource::RLIMIT_NOFILE, limit, self.highest);
        set(self.highest)?;
        let opened = open();
        set(self.usual)?;
        opened
    }
}

/// Whether an error says that there are no files left.
pub fn are_used_up(error: &io::Error) -> bool {
    [nix::errno::Errno::EMFILE, nix::errno::Errno::ENFILE].iter().any(|code| error.raw_os_error() == Some(*code as i32))
}

/// A number of files that several kinds of clients share.
#[derive(Debug)]
pub struct Pool {
    max: usize,
    taken: AtomicUsize,
}

/// One file of a pool. Dropping it gives it back.
#[derive(Debug)]
pub struct FromPool(Arc<Pool>);

impl Pool {
    /// A pool of `max` files.
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, taken: AtomicUsize::new(0) })
    }

    /// How many are left.
    pub fn left(&self) -> usize {
        self.max.saturating_sub(self.taken.load(Ordering::Relaxed))
    }

    /// Takes one, if one is left.
    pub fn take(self: &Arc<Self>) -> Option<FromPool> {
        let more = |taken| Some(taken + 1).filter(|taken| *taken <= self.max);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok().map(|_| FromPool(self.clone()))
    }
}

impl Drop for FromPool {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_files_are_out_of_reach_for_all_but_operators() {
        let now = || getrlimit(Resource::RLIMIT_NOFILE).unwrap().0;
        let limit = Limit::raise();
        let usual = now();
        let lifted = limit.lifted(|| Ok(now())).unwrap();
        assert!(lifted >= usual + OPERATORS as u64, "{usual} {lifted}");
        assert_eq!(now(), usual);
    }

    #[test]
    fn a_pool_gives_what_it_has_and_no_more() {
        let pool = Pool::new(2);
        let first = pool.take();
        let _second = pool.take().unwrap();
        assert!(first.is_some() && pool.take().is_none());
        drop(first);
        assert!(pool.take().is_some());
    }
}
