//! How the files that the process may have open are shared out, so that no kind of client takes what another needs.
//!
//! Every connection is a file, and so is every relay port. Strangers may have an eighth of them and TURN over TCP and TLS
//! another; some stay for the process itself and for operators. Of the rest, WebSockets and relay ports each may have
//! what the other has left, but a quarter, which is always the other's.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// For listeners, certificates, the kernel's news, and operators; and for each worker its sockets.
const OWN: usize = 96;
const OWN_PER_WORKER: usize = 8;

/// What is half open, at least and at most.
const HALF_OPEN: (usize, usize) = (16, 4096);

/// So many are out of reach for all but operators.
const HEADROOM: u64 = 32;

/// And of these so many for their connections, the others for what they ask.
pub(crate) const OPERATORS: usize = 24;

/// The limit of open files of this process: one for all, and a little more for operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// For everybody, the soft limit.
    usual: u64,
    /// For operators, the hard limit.
    highest: u64,
}

impl Limit {
    /// Raises the limit as far as it goes, but for what stays for operators.
    pub fn raise() -> Self {
        let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
            // Not known: a usual value.
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

    /// How many files there may be.
    pub fn files(self) -> usize {
        usize::try_from(self.highest).unwrap_or(usize::MAX)
    }

    /// Opens a file for an operator also where there is none left for others.
    ///
    /// # Errors
    /// That of `open`. The limit is the process's, so that it is higher for others too, as long as `open` takes.
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

/// What each kind may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Connections that are not through yet.
    pub half_open: usize,
    /// TURN connections over TCP and TLS.
    pub turn_streams: usize,
    /// WebSockets and relay ports together.
    pub pool: usize,
    /// Relay ports.
    pub allocations: usize,
    /// WebSockets.
    pub web_sockets: usize,
}

impl Shares {
    /// Of so many `files`, where ports and memory allow so many allocations.
    pub fn of(files: usize, workers: usize, allocations: usize) -> Self {
        let own = OWN.saturating_add(OWN_PER_WORKER.saturating_mul(workers)).min(files / 2);
        let half_open = (files / 8).clamp(HALF_OPEN.0, HALF_OPEN.1);
        let turn_streams = (files / 8).max(HALF_OPEN.0);
        let pool = files.saturating_sub(own + half_open + turn_streams).max(2);
        let most = (pool - pool / 4).max(1);
        let allocations = allocations.min(most);
        Self { half_open, turn_streams, pool, allocations, web_sockets: (pool - allocations.min(pool / 4)).max(1) }
    }
}

/// What several kinds of clients share.
#[derive(Debug)]
pub struct Pool {
    max: usize,
    taken: AtomicUsize,
}

/// One of it, given back when dropped.
#[derive(Debug)]
pub struct FromPool(Arc<Pool>);

impl Pool {
    /// So many.
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, taken: AtomicUsize::new(0) })
    }

    /// How many are left.
    pub fn left(&self) -> usize {
        self.max.saturating_sub(self.taken.load(Ordering::Relaxed))
    }

    /// One, if there is one left.
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
    fn all_shares_together_are_no_more_than_there_are() {
        for files in [128, 256, 512, 1024, 4096, 20_000, 524_288, 1 << 30] {
            for workers in [1, 2, 64] {
                for wanted in [1, 100, 32_768, usize::MAX] {
                    let shares = Shares::of(files, workers, wanted);
                    let own = (OWN + OWN_PER_WORKER * workers).min(files / 2);
                    assert!(own + shares.half_open + shares.turn_streams + shares.pool <= files, "{files}: {shares:?}");
                    assert!(shares.allocations <= shares.pool - shares.pool / 4, "{files}: {shares:?}");
                    assert!(shares.web_sockets <= shares.pool, "{files}: {shares:?}");
                    assert!(shares.allocations == wanted || shares.web_sockets < shares.pool, "{files}: {shares:?}");
                }
            }
        }
    }

    #[test]
    fn what_the_ports_cannot_use_is_for_web_sockets() {
        let usual = Shares::of(524_288, 2, 32_768);
        assert_eq!((usual.allocations, usual.half_open), (32_768, 4096));
        assert!(usual.web_sockets > 300_000, "{usual:?}");
        let few = Shares::of(20_000, 2, 32_768);
        assert!(few.allocations > 10_000 && few.web_sockets > 10_000, "{few:?}");
        let fewest = Shares::of(64, 2, 32_768);
        assert!(fewest.allocations >= 1 && fewest.web_sockets >= 1);
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
