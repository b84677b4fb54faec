//! Server and load on cores of their own: else they take turns, and the scheduler is measured.

use nix::{
    Result,
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

const SELF: Pid = Pid::from_raw(0);

/// The cores that this process may use.
pub(crate) fn allowed() -> Result<Vec<usize>> {
    let set = sched_getaffinity(SELF)?;
    Ok((0..CpuSet::count()).filter(|&core| set.is_set(core) == Ok(true)).collect())
}

/// Moves this thread to a core.
pub(crate) fn pin(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    sched_setaffinity(SELF, &set)
}

/// Does `work` on a core, then returns to where the thread was.
pub(crate) fn on<T>(core: usize, work: impl FnOnce() -> T) -> Result<T> {
    let before = sched_getaffinity(SELF)?;
    pin(core)?;
    let outcome = work();
    sched_setaffinity(SELF, &before)?;
    Ok(outcome)
}
