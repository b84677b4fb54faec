//! The capacity of this host, and how it is divided so that no kind of client takes what another needs.
//!
//! Strangers may have an eighth of the open files, and TURN over TCP and TLS another eighth; some are reserved for the
//! process itself and for operators. WebSockets and relay ports share the rest: each may take what the other has left,
//! except a quarter, which is always reserved for the other.

use crate::{config::Config, values::ports::RelayPorts};

/// Files for listeners, certificates, notifications from the kernel, and operators; each worker also needs files for
/// its sockets.
const OWN: usize = 96;
const OWN_PER_WORKER: usize = 8;

/// The lowest and the highest limit on half-open connections.
const HALF_OPEN: (usize, usize) = (16, 4096);

/// Memory of the process and the kernel that an allocation may need.
const BYTES_PER_ALLOCATION: u64 = 32 * 1024;

/// How many of each this host has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Capacity {
    /// How many files may be open.
    pub(super) files: usize,
    /// The share of each kind of client.
    pub(super) shares: FileShares,
    /// How many TURN allocations there may be.
    pub(super) max_allocations: usize,
}

impl Capacity {
    /// The capacity of a host that relays in this number of address `families`, with this number of open `files` and
    /// bytes of `memory`.
    pub(super) fn of(config: &Config, families: usize, files: usize, memory: Option<u64>) -> Self {
        let possible =
            config.max_allocations.unwrap_or_else(|| possible_allocations(config.relay_ports, families, memory));
        let has_ports = config.relay_ports != RelayPorts::None;
        let shares = FileShares::of(files, config.workers, if has_ports { possible } else { 0 });
        let max_allocations = if config.max_allocations.is_none() && has_ports { shares.allocations } else { possible };
        Self { files, shares, max_allocations }
    }
}

/// The share of each kind of client in the open files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileShares {
    /// Half-open connections.
    pub(super) half_open: usize,
    /// TURN connections over TCP and TLS.
    pub(super) turn_streams: usize,
    /// WebSockets and relay ports together.
    pub(super) pool: usize,
    /// Relay ports.
    pub(super) allocations: usize,
    /// WebSockets.
    pub(super) web_sockets: usize,
}

impl FileShares {
    /// Shares of `files`, if ports and memory allow `allocations`.
    pub(super) fn of(files: usize, workers: usize, allocations: usize) -> Self {
        let own = OWN.saturating_add(OWN_PER_WORKER.saturating_mul(workers)).min(files / 2);
        let half_open = (files / 8).clamp(HALF_OPEN.0, HALF_OPEN.1);
        let turn_streams = (files / 8).max(HALF_OPEN.0);
        let pool = files.saturating_sub(own + half_open + turn_streams).max(2);
        let most = (pool - pool / 4).max(1);
        let allocations = allocations.min(most);
        Self { half_open, turn_streams, pool, allocations, web_sockets: (pool - allocations.min(pool / 4)).max(1) }
    }
}

/// How many allocations ports and memory allow.
fn possible_allocations(ports: RelayPorts, families: usize, memory: Option<u64>) -> usize {
    let by_memory = memory.map_or(u64::MAX, |bytes| bytes / 2 / BYTES_PER_ALLOCATION);
    let by_ports = ports.count() * families.max(1);
    by_ports.min(usize::try_from(by_memory).unwrap_or(usize::MAX)).max(1)
}

/// The memory of this machine, in bytes.
pub(super) fn total_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_shares_together_are_no_more_than_there_are() {
        for files in [128, 256, 512, 1024, 4096, 20_000, 524_288, 1 << 30] {
            for workers in [1, 2, 64] {
                for wanted in [1, 100, 32_768, usize::MAX] {
                    let shares = FileShares::of(files, workers, wanted);
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
        let usual = FileShares::of(524_288, 2, 32_768);
        assert_eq!((usual.allocations, usual.half_open), (32_768, 4096));
        assert!(usual.web_sockets > 300_000, "{usual:?}");
        let few = FileShares::of(20_000, 2, 32_768);
        assert!(few.allocations > 10_000 && few.web_sockets > 10_000, "{few:?}");
        let fewest = FileShares::of(64, 2, 32_768);
        assert!(fewest.allocations >= 1 && fewest.web_sockets >= 1);
    }

    #[test]
    fn the_scarcest_thing_limits_allocations() {
        let ports = RelayPorts::Range { first: 50_000, last: 50_099 };
        assert_eq!(possible_allocations(ports, 1, None), 100);
        assert_eq!(possible_allocations(ports, 2, None), 200);
        assert_eq!(FileShares::of(20_000, 2, 200).allocations, 200);
        assert!(FileShares::of(300, 2, 200).allocations < 200);
        assert!(possible_allocations(RelayPorts::None, 1, total_memory()) > 1000, "no port, no file");
    }
}
