//! A hook for tests that makes some sends from one address fail.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering},
};

use nix::libc;

/// Whether one in a hundred sends from [`ADDRESS`] fails, as it would if the kernel had no room.
pub(super) static ARE_THERE: AtomicBool = AtomicBool::new(false);

/// The address from which sends can fail.
pub(super) const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 77, 0, 1));

/// Returns an error once in a while.
pub(super) fn befall(local: SocketAddr) -> io::Result<()> {
    if local.ip() != ADDRESS || !ARE_THERE.load(Ordering::Relaxed) || !rand::random_ratio(1, 100) {
        return Ok(());
    }
    let error = if rand::random() { libc::ENOBUFS } else { libc::EAGAIN };
    Err(io::Error::from_raw_os_error(error))
}
