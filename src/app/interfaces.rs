//! Follows the addresses of this host.

use std::{net::IpAddr, sync::Arc, time::Duration};

use crate::{
    net::{Changes, Interfaces},
    shutdown::{Reload, Shutdown},
    turn::{self, shared::peer_policy},
    values::family::ByFamily,
};

/// How often the interfaces are looked at: where changes are heard, and where the system refuses to tell.
const INTERFACES_PERIOD: Duration = Duration::from_secs(60);
const INTERFACES_PERIOD_UNHEARD: Duration = Duration::from_secs(5);

/// After a look at the interfaces, so long until the next, however much changes.
const INTERFACES_PAUSE: Duration = Duration::from_millis(50);

/// How many relayed addresses that the host had before stay its own.
const FORMER_ADDRESSES: usize = 16;

/// New allocations get new addresses, and permissions are judged anew, as soon as interfaces or routes change.
pub(super) async fn follow_interfaces(
    (mut changes, mut reload): (Changes, Reload),
    shared: Arc<turn::shared::Shared>,
    public_ips: ByFamily<Option<IpAddr>>,
    shutdown: Shutdown,
) -> std::io::Result<()> {
    // Allocations live on at addresses that the host has lost: in process they are reached as before.
    let mut former = Vec::new();
    loop {
        let period = if changes.are_heard() { INTERFACES_PERIOD } else { INTERFACES_PERIOD_UNHEARD };
        tokio::select! {
            () = changes.next() => {}
            () = reload.asked() => {}
            () = tokio::time::sleep(period) => {}
            () = shutdown.begun() => return Ok(()),
        }
        // Long lists take their time.
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

/// Leaves the last `limit` different entries, in the order of their last appearance.
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
