//! Routes, whoever tells of them.

use std::net::IpAddr;

use ipnet::IpNet;

/// The table in which the kernel keeps what is this host.
pub(super) const LOCAL_TABLE: u32 = 255;
/// The longest prefix of a route that stands for a default one: VPNs take everything by two halves, and keep the
/// default route; all of IPv6 that is in use is 2000::/3.
pub(super) const DEFAULT_MAX_PREFIX_LEN: u8 = 3;

/// A route that matters here: the destination is this host or a broadcast, or it is a default route, perhaps
/// of a part.
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
