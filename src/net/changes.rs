//! Notifications from the kernel that interfaces, addresses, local routes or rules have changed.

use std::io;

use futures_util::FutureExt;
use netlink_sys::{AsyncSocket, AsyncSocketExt, TokioSocket, protocols::NETLINK_ROUTE};
use nix::errno::Errno;

use super::kernel;

/// `RTNLGRP_*` of `linux/rtnetlink.h`: links; addresses, routes and rules of IPv4; the same of IPv6.
const GROUPS: [u32; 7] = [1, 5, 7, 8, 9, 11, 19];

/// Changes since [`Changes::listen`]. Some of them may have no effect.
pub struct Changes(Option<TokioSocket>);

impl Changes {
    /// Begins to listen. Must be called within a runtime. If the system refuses, no change is ever reported.
    pub fn listen() -> Self {
        let listen = || -> io::Result<_> {
            let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
            socket.socket_mut().bind_auto()?;
            GROUPS.iter().try_for_each(|group| socket.socket_ref().add_membership(*group))?;
            Ok(socket)
        };
        Self(listen().inspect_err(|error| tracing::debug!(%error, "no news by netlink")).ok())
    }

    /// Whether changes are reported at all.
    pub fn are_heard(&self) -> bool {
        self.0.is_some()
    }

    /// Waits for the next change; several waiting changes count as one. Safe to cancel.
    pub async fn next(&mut self) {
        while let Some(socket) = &mut self.0 {
            let mut received = Some(socket.recv_from_full().await);
            let mut matters = false;
            while let Some(datagram) = received {
                matters |= match &datagram {
                    Ok((datagram, _)) => kernel::matters(datagram),
                    // There were more changes than the socket can hold.
                    Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => true,
                    Err(error) => {
                        tracing::warn!(%error, "the network's changes are not heard any more, but looked for");
                        self.0 = None;
                        return;
                    }
                };
                received = socket.recv_from_full().now_or_never();
            }
            if matters {
                return;
            }
        }
        std::future::pending().await
    }
}
