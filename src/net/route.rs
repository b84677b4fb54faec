//! Routes, from whatever source.

use std::net::IpAddr;

use ipnet::IpNet;

/// The table in which the kernel keeps the addresses of this host.
pub(super) const LOCAL_TABLE: u32 = 255;
/// The longest prefix of a route that counts as a default route: VPNs cover everything by two halves and keep the
/// default route, and all of IPv6 that is in use is 2000::/3.
pub(super) const DEFAULT_MAX_PREFIX_LEN: u8 = 3;

/// A route that matters here: the destination is this host or a broadcast, or it is a default route, perhaps for a part
/// of all addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) kind: RouteKind,
    pub(super) table: u32,
    pub(super) destination: IpNet,
    pub(super) gateways: Vec<IpAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RouteKind {
    Local,
    Anycast,
    Broadcast,
    Default,
}
