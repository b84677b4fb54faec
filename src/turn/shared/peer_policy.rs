//! Which peer addresses may be relayed to.
//!
//! There are three layers, and the first one that applies decides:
//! 1. *Never*, whatever is configured: loopback, "this network", link-local and cloud metadata, multicast, broadcast,
//!    the host's default gateways, trusted proxies. An IPv4 address inside an IPv6 address is judged as well.
//! 2. *Own addresses* of this host: permissions are granted (a permission is for an IP address, which all relayed
//!    addresses share), but data is delivered in process only, to a live relayed address whose owner may talk to the
//!    sender ([`PeerPolicy::may_talk`]). No UDP service of this host can be reached.
//! 3. The configured lists (deny before allow), then the [`Mode`] for this kind of credential.
//!
//! The policy is asked at CreatePermission and ChannelBind, and again after [`PeerPolicy::revision`] or the revision of
//! the room's watch has changed.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use ipnet::IpNet;

use crate::{
    membership::Directory,
    turn::shared::relayed::OwnerTag,
    values::{family::ByFamily, label::labels, member::MemberId, prefixes::Prefixes, relayed_address::RelayedAddress},
};

/// Which peers a kind of credential may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Addresses at which a member of the same room has been verified. For API credentials, which have no room: only
    /// the relayed addresses of other API users.
    Members,
    /// Public unicast addresses, and everything that [`Self::Members`] reaches.
    Public,
    /// Everything that is not in the never list.
    Any,
}

/// The rules that an operator configures.
#[derive(Clone, Debug)]
pub struct PeerRules {
    /// The mode for credentials minted on join.
    pub members: Mode,
    /// The mode for all other credentials.
    pub api: Mode,
    /// Peers that everybody reaches, if they are not denied.
    pub allow: Vec<IpNet>,
    /// Peers that nobody reaches.
    pub deny: Vec<IpNet>,
    /// Reverse proxies: never relayed to.
    pub trusted_proxies: Vec<IpNet>,
    /// For tests: loopback addresses are ordinary peers.
    pub dangerously_allow_loopback: bool,
}

/// The addresses of this host, read again when interfaces change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostAddresses {
    /// All addresses that are delivered to this host, and every public address of it.
    pub own: Prefixes,
    /// Default gateways.
    pub gateways: Vec<IpAddr>,
    /// The address for relaying, in each family that this host has.
    pub relay: ByFamily<Option<RelayedAddress>>,
}

/// The policy's decision about a peer address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is an address of this host: permitted, but delivered in process only.
    Own,
    /// It may be sent to. If it is allowed because a member was verified there, that ends with the membership.
    Allowed {
        /// That member.
        because_of: Option<MemberId>,
    },
    /// It is refused with 403.
    Refused(PeerRefusal),
}

labels! {
    /// Why a peer address is refused.
    pub enum PeerRefusal {
        /// The first layer refuses it.
        NeverAllowed = "never_allowed",
        /// `--deny-peer` names it.
        DeniedByConfig = "denied_by_config",
        /// No member of the room was verified there.
        NotInRoom = "not_in_room",
        /// Only public addresses are allowed, and this is not one.
        NotPublic = "not_public",
        /// The allocation has as many peers as it may have. (The policy itself never returns this.)
        TooManyPeers = "too_many_peers",
    }
}

/// See the module's header.
#[derive(Debug)]
pub struct PeerPolicy {
    rules: PeerRules,
    host: ArcSwap<HostAddresses>,
    revision: AtomicU64,
}

impl PeerPolicy {
    /// The policy of `rules` on a host with these addresses.
    pub fn new(rules: PeerRules, host: HostAddresses) -> Self {
        Self { rules, host: ArcSwap::from_pointee(host), revision: AtomicU64::new(0) }
    }

    /// The host's addresses as they are now.
    pub fn host(&self) -> Arc<HostAddresses> {
        self.host.load_full()
    }

    /// Interfaces have changed. All peers in force are judged again.
    pub fn set_host(&self, host: HostAddresses) {
        self.host.store(Arc::new(host));
        self.revision.fetch_add(1, Ordering::AcqRel);
    }

    /// A number that changes with each [`Self::set_host`].
    pub fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    /// Whether the allocation of `owner` may have `peer` as a peer.
    pub fn judge(&self, owner: OwnerTag, peer: IpAddr, directory: &Directory) -> Verdict {
        let inner = innermost(peer);
        let lifted = self.rules.dangerously_allow_loopback && inner.is_loopback();
        if lifted {
            return Verdict::Allowed { because_of: None };
        }
        // Both forms are checked: fe80::5efe:8.8.8.8 contains a public address, but is itself link-local.
        let faces = [peer, inner];
        if faces.into_iter().any(is_never_allowed) {
            return Verdict::Refused(PeerRefusal::NeverAllowed);
        }
        let host = self.host.load();
        if faces.iter().any(|face| host.own.contains(face)) {
            return Verdict::Own;
        }
        let hit = |nets: &[IpNet]| nets.iter().any(|net| faces.iter().any(|face| net.contains(face)));
        if faces.iter().any(|face| host.gateways.contains(face)) || hit(&self.rules.trusted_proxies) {
            return Verdict::Refused(PeerRefusal::NeverAllowed);
        }
        if hit(&self.rules.deny) {
            return Verdict::Refused(PeerRefusal::DeniedByConfig);
        }
        if self.rules.allow.iter().any(|net| net.contains(&inner)) {
            return Verdict::Allowed { because_of: None };
        }
        let mode = self.mode(owner);
        let is_public = is_public_unicast(inner) && !is_unique_local(peer);
        if mode == Mode::Any || (mode == Mode::Public && is_public) {
            return Verdict::Allowed { because_of: None };
        }
        let member = match owner {
            OwnerTag::Room(room) => faces.iter().find_map(|face| directory.member_at(room, *face)),
            OwnerTag::Api => None,
        };
        match (member, mode) {
            (Some(member), _) => Verdict::Allowed { because_of: Some(member) },
            (None, Mode::Public) => Verdict::Refused(PeerRefusal::NotPublic),
            (None, _) => Verdict::Refused(PeerRefusal::NotInRoom),
        }
    }

    /// Whether data may pass between two allocations of this server: each side must be allowed to reach the other.
    pub fn may_talk(&self, a: OwnerTag, b: OwnerTag) -> bool {
        let reaches = |from, to| match (from, to) {
            (OwnerTag::Room(from), OwnerTag::Room(to)) if from == to => true,
            (OwnerTag::Api, OwnerTag::Api) => true,
            (from, OwnerTag::Api) => self.mode(from) != Mode::Members,
            (from, OwnerTag::Room(_)) => self.mode(from) == Mode::Any,
        };
        reaches(a, b) && reaches(b, a)
    }

    fn mode(&self, owner: OwnerTag) -> Mode {
        match owner {
            OwnerTag::Room(_) => self.rules.members,
            OwnerTag::Api => self.rules.api,
        }
    }
}

/// The IPv4 address inside an IPv6 address, for all forms that the network would translate: mapped, compatible, 6to4,
/// NAT64 (the well-known prefix; the other is in [`is_never_allowed`]), Teredo and ISATAP.
fn innermost(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else {
        return address;
    };
    let s = v6.segments();
    let v4 = |high: u16, low: u16| IpAddr::V4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match s {
        // ::a.b.c.d, but not :: and ::1, which are ordinary IPv6 addresses.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => address,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] => v4(high, low),
        // SIIT, RFC 2765.
        [0, 0, 0, 0, 0xffff, 0, high, low] => v4(high, low),
        [0x2002, high, low, ..] => v4(high, low),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low),
        // Teredo: the client's address, inverted.
        [0x2001, 0, .., high, low] => v4(!high, !low),
        [.., 0x0000 | 0x0200, 0x5efe, high, low] => v4(high, low),
        _ => address,
    }
}

fn is_never_allowed(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => {
            let [a, ..] = ip.octets();
            a == 0
                || ip.is_loopback()
                || ip.is_link_local()
                // Multicast, reserved, broadcast.
                || a >= 224
                // Metadata services outside the link-local range: Azure, Alibaba, Oracle.
                || [[168, 63, 129, 16], [100, 100, 100, 200], [192, 0, 0, 192]].contains(&ip.octets())
        }
        IpAddr::V6(ip) => {
            let s = ip.segments();
            ip.is_unspecified()
                || ip.is_loopback()
                || ip.is_multicast()
                || s[0] & 0xffc0 == 0xfe80
                // Site-local: deprecated, but some networks still route it.
                || s[0] & 0xffc0 == 0xfec0
                // Local-use NAT64 (RFC 8215). The place of the IPv4 address depends on the length of the network's
                // prefix, which is not known here, so it could be any address.
                || s[..3] == [0x64, 0xff9b, 1]
                // AWS and GCP metadata.
                || ip == Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)
                || ip == Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)
        }
    }
}

fn is_unique_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(ip) if ip.is_unique_local())
}

/// The IANA special-purpose registries, without the ranges that [`is_never_allowed`] already covers.
fn is_public_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            !(ip.is_private()
                || ip.is_documentation()
                || (a == 100 && b & 0xc0 == 64)
                || (a == 192 && b == 0 && c == 0)
                || (a == 192 && b == 88 && c == 99)
                || (a == 198 && b & 0xfe == 18))
        }
        IpAddr::V6(ip) => {
            let s = ip.segments();
            // Global unicast is 2000::/3. In it, the documentation ranges and the IETF block are not public.
            s[0] & 0xe000 == 0x2000
                && !(s[0] == 0x2001 && (s[1] == 0xdb8 || s[1] < 0x200))
                && !(s[0] == 0x3fff && s[1] < 0x1000)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::RoomTag;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_ipv4_address_is_found_in_every_form() {
        let forms = [
            "10.1.2.3",
            "::ffff:10.1.2.3",
            "::10.1.2.3",
            "::ffff:0:10.1.2.3",
            "2002:a01:203::",
            "2002:a01:203:1:2:3:4:5",
            "64:ff9b::10.1.2.3",
            "2001:0:1:2:3:4:f5fe:fdfc",
            "2001:db8::5efe:10.1.2.3",
            "2001:db8::200:5efe:10.1.2.3",
        ];
        for form in forms {
            assert_eq!(innermost(ip(form)), ip("10.1.2.3"), "{form}");
        }
    }

    #[test]
    fn other_ipv6_addresses_are_themselves() {
        for address in ["::", "::1", "2001:db8::1", "2600::1", "64:ff9c::1", "2003::1", "fe80::5eff:10.1.2.3"] {
            assert_eq!(innermost(ip(address)), ip(address));
        }
    }

    #[test]
    fn a_form_excuses_nothing() {
        let room = RoomTag(1.try_into().unwrap());
        let directory = Directory::new();
        let member = MemberId::from_bits(1);
        directory.enter(member, room, Some(ip("2002:808:404::7")));
        let rules = PeerRules {
            members: Mode::Members,
            api: Mode::Public,
            allow: Vec::new(),
            deny: vec!["2001:db8:1::/48".parse().unwrap(), "2002:909:909::/48".parse().unwrap()],
            trusted_proxies: vec!["2002:808:606::/48".parse().unwrap()],
            dangerously_allow_loopback: false,
        };
        let host = HostAddresses {
            own: [ip("2002:808:808::1"), ip("2600::5efe:808:808")].into_iter().collect(),
            gateways: vec![ip("2002:808:707::1")],
            ..HostAddresses::default()
        };
        let policy = PeerPolicy::new(rules, host);
        let judge = |peer| policy.judge(OwnerTag::Api, ip(peer), &directory);
        for own in ["2002:808:808::1", "2600::5efe:808:808"] {
            assert_eq!(judge(own), Verdict::Own, "{own}");
        }
        for never in ["fe80::5efe:808:808", "ff02::200:5efe:808:808", "2002:808:707::1", "2002:808:606::1"] {
            assert_eq!(judge(never), Verdict::Refused(PeerRefusal::NeverAllowed), "{never}");
        }
        for denied in ["2001:db8:1::5efe:808:808", "2002:909:909::1"] {
            assert_eq!(judge(denied), Verdict::Refused(PeerRefusal::DeniedByConfig), "{denied}");
        }
        assert_eq!(judge("fd00::5efe:808:808"), Verdict::Refused(PeerRefusal::NotPublic));
        assert_eq!(judge("2002:808:404::7"), Verdict::Allowed { because_of: None });
        let of_member = policy.judge(OwnerTag::Room(room), ip("2002:808:404::7"), &directory);
        assert_eq!(of_member, Verdict::Allowed { because_of: Some(member) });
    }

    #[test]
    fn borders_of_the_forbidden_ranges() {
        let forbidden =
            ["0.255.255.255", "127.0.0.0", "127.255.255.255", "169.254.0.0", "169.254.255.255", "224.0.0.0"];
        let beside = ["1.0.0.0", "126.255.255.255", "128.0.0.0", "169.253.255.255", "169.255.0.0", "223.255.255.255"];
        let forbidden_v6 = [
            "64:ff9b:1::",
            "64:ff9b:1:a01:2:300:808:808",
            "fe80::",
            "febf:ffff::",
            "fec0::",
            "feff:ffff::",
            "ff00::",
            "ffff::",
        ];
        let beside_v6 = ["fe7f:ffff::", "fdff::", "2000::", "::2:0:0:0"];
        for address in forbidden.iter().chain(&forbidden_v6) {
            assert!(is_never_allowed(ip(address)), "{address}");
        }
        for address in beside.iter().chain(&beside_v6) {
            assert!(!is_never_allowed(ip(address)), "{address}");
        }
    }

    #[test]
    fn whoever_may_talk_may_be_answered() {
        let room = |n: u32| OwnerTag::Room(crate::membership::RoomTag(n.try_into().unwrap()));
        let owners = [room(1), room(2), OwnerTag::Api];
        let modes = [Mode::Members, Mode::Public, Mode::Any];
        for (members, api) in modes.into_iter().flat_map(|members| modes.map(|api| (members, api))) {
            let rules = PeerRules {
                members,
                api,
                allow: Vec::new(),
                deny: Vec::new(),
                trusted_proxies: Vec::new(),
                dangerously_allow_loopback: false,
            };
            let policy = PeerPolicy::new(rules, HostAddresses::default());
            for (a, b) in owners.into_iter().flat_map(|a| owners.map(|b| (a, b))) {
                assert_eq!(policy.may_talk(a, b), policy.may_talk(b, a), "{a:?} {b:?} {members:?} {api:?}");
                assert!(a != b || policy.may_talk(a, b), "{a:?} with its like");
            }
            assert_eq!(policy.may_talk(room(1), room(2)), members == Mode::Any);
            let open = members != Mode::Members && api == Mode::Any;
            assert_eq!(policy.may_talk(room(1), OwnerTag::Api), open, "{members:?} {api:?}");
        }
    }
}
