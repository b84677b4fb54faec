//! Follows the addresses of this host.

use std::{net::IpAddr, sync::Arc, time::Duration};

use crate::{
    net::{Changes, Interfaces},
    shutdown::{Reload, Shutdown},
    turn::{self, shared::peer_policy},
    values::family::ByFamily,
};

/// How often the interfaces are read: if the system reports changes, and if it does not.
const INTERFACES_PERIOD: Duration = Duration::from_secs(60);
const INTERFACES_PERIOD_UNHEARD: Duration = Duration::from_secs(5);

/// The pause after each look at the interfaces, however much changes.
const INTERFACES_PAUSE: Duration = Duration::from_millis(50);

/// How many former relayed addresses are still treated as the host's own.
const FORMER_ADDRESSES: usize = 16;

/// As soon as interfaces or routes change, new allocations get the new addresses, and permissions are judged again.
pub(super) async fn follow_interfaces(
    (mut changes, mut reload): (Changes, Reload),
    shared: Arc<turn::shared::Shared>,
    public_ips: ByFamily<Option<IpAddr>>,
    shutdown: Shutdown,
) -> std::io::Result<()> {
    // Allocations continue at addresses that the host has lost: other clients of this process still reach them.
    let mut former = Vec::new();
    loop {
        let period = if changes.are_heard() { INTERFACES_PERIOD } else { INTERFACES_PERIOD_UNHEARD };
        tokio::select! {
            () = changes.next() => {}
            () = reload.asked() => {}
            () = tokio::time::sleep(period) => {}
            () = shutdown.begun() => return Ok(()),
        }
        // Reading is blocking work, and long lists take time.
        let interfaces = tokio::task::spawn_blocking(Interfaces::read).await.map_err(std::io::Error::other)?;
        let mut host = host_addresses(&interfaces, public_ips);
        let before = shared.policy.host();
        former.extend(before.relay.iter().map(|relay| relay.advertised));
        keep_latest(&mut former, FORMER_ADDRESSES);
        host.own.extend(former.iter().copied());
        if *before != host {
            let relayed: Vec<_> = host.relay.iter().map(|relay| relay.advertised).collect();
            tracing::info!(?relayed, "the addresses of this host changed");
            shared.policy.set_host(host);
        }
        tokio::time::sleep(INTERFACES_PAUSE).await;
    }
}

/// Keeps the last `limit` different entries, in the order of their last appearance.
fn keep_latest<T: Copy + PartialEq>(entries: &mut Vec<T>, limit: usize) {
    let mut latest = Vec::new();
    for entry in entries.iter().rev() {
        if latest.len() < limit && !latest.contains(entry) {
            latest.push(*entry);
        }
    }
    latest.reverse();
    *entries = latest;
}

pub(super) fn host_addresses(
    interfaces: &Interfaces,
    public_ips: ByFamily<Option<IpAddr>>,
) -> peer_policy::HostAddresses {
    let own = interfaces.own_addresses(public_ips);
    let relayed = interfaces.relayed_addresses(public_ips);
    peer_policy::HostAddresses {
        own: own.addresses,
        gateways: own.gateways,
        relay: ByFamily::new(|family| relayed[family].map(|chosen| chosen.address)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_kept_once_each() {
        let mut entries = vec![1, 2, 3, 2, 4, 4];
        keep_latest(&mut entries, 3);
        assert_eq!(entries, [3, 2, 4]);
    }
}
