//! Gives server and load their own cores. Otherwise they would take turns, and the scheduler would be measured.

use std::{fs, io, time::Duration};

use nix::{
    Result,
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::{Pid, SysconfVar, sysconf},
};

const SELF: Pid = Pid::from_raw(0);

/// The cores that this process may use.
pub(crate) fn allowed() -> Result<Vec<usize>> {
    let set = sched_getaffinity(SELF)?;
    Ok((0..CpuSet::count()).filter(|&core| set.is_set(core) == Ok(true)).collect())
}

/// Moves this thread to some cores.
pub(crate) fn pin(cores: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    for &core in cores {
        set.set(core)?;
    }
    sched_setaffinity(SELF, &set)
}

/// Does `work` on some cores, then moves the thread back to where it was.
pub(crate) fn on<T>(cores: &[usize], work: impl FnOnce() -> T) -> Result<T> {
    let before = sched_getaffinity(SELF)?;
    pin(cores)?;
    let outcome = work();
    sched_setaffinity(SELF, &before)?;
    Ok(outcome)
}

/// The time for which the threads of a process have run so far. It includes the kernel's work in their context.
pub(crate) fn run_time(process: u32) -> io::Result<Duration> {
    let mut nanos = 0;
    for task in fs::read_dir(format!("/proc/{process}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        let run = text.split_whitespace().next().and_then(|word| word.parse::<u64>().ok());
        nanos += run.ok_or_else(|| io::Error::other("schedstat has no run time"))?;
    }
    Ok(Duration::from_nanos(nanos))
}

/// The time for which all programs of the machine have run so far, interrupts included.
pub(crate) fn everybodys() -> io::Result<Duration> {
    let text = fs::read_to_string("/proc/stat")?;
    let ticks: Vec<u64> = text.lines().next().unwrap_or_default().split_whitespace().flat_map(str::parse).collect();
    // user, nice, system, idle, iowait, irq, softirq
    let [user, nice, system, _, _, irq, softirq, ..] = ticks[..] else {
        return Err(io::Error::other("/proc/stat has another form"));
    };
    let per_second = sysconf(SysconfVar::CLK_TCK)?.unwrap_or(100);
    Ok(Duration::from_secs_f64((user + nice + system + irq + softirq) as f64 / per_second as f64))
}
