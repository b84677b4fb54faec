//! The purpose of an interface. It is derived from what the kernel says about the interface and about the ports of a
//! bridge, or else from the interface's name.

/// The purpose of an interface. The first one is the best for relaying.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// A network with other hosts.
    Network,
    /// Perhaps such a network: a tunnel, or a bridge whose ports do not show its purpose.
    Unsure,
    /// A network of containers or virtual machines of this host.
    Guests,
}

/// What the kernel says an interface is (`IFLA_INFO_KIND`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LinkKind {
    /// The kernel said nothing about it.
    #[default]
    Untold,
    /// It has no kind, like hardware devices.
    Hardware,
    /// A kind that is made by software, such as `bridge` or `veth`.
    Made(String),
}

impl Purpose {
    /// The purpose of an interface; `ports` are the ports of a bridge.
    pub fn of(name: &str, kind: &LinkKind, ports: &[LinkKind]) -> Self {
        match kind {
            LinkKind::Made(kind) if kind == "bridge" => {
                if ports.iter().any(LinkKind::leads_out) {
                    Self::Network
                } else if is_guests_bridge(name) {
                    Self::Guests
                } else if ports.is_empty() {
                    Self::Network
                } else {
                    Self::Unsure
                }
            }
            LinkKind::Made(kind) if is_tunnel(kind) => Self::Unsure,
            LinkKind::Made(_) => Self::Network,
            LinkKind::Hardware if is_guests_device(name) => Self::Guests,
            LinkKind::Hardware => Self::Network,
            LinkKind::Untold if is_guests_bridge(name) || is_guests_device(name) => Self::Guests,
            LinkKind::Untold => Self::Network,
        }
    }
}

impl LinkKind {
    /// Whether a bridge with such a port reaches beyond this host.
    fn leads_out(&self) -> bool {
        match self {
            Self::Untold => false,
            Self::Hardware => true,
            Self::Made(kind) => ["batadv", "bond", "dsa", "hsr", "team", "vlan"].contains(&kind.as_str()),
        }
    }
}

/// Whether the kind carries one network within another, or no network at all.
fn is_tunnel(kind: &str) -> bool {
    const KINDS: [&str; 24] = [
        "amt",
        "bareudp",
        "dummy",
        "erspan",
        "geneve",
        "gre",
        "gretap",
        "gtp",
        "ifb",
        "ip6erspan",
        "ip6gre",
        "ip6gretap",
        "ip6tnl",
        "ipip",
        "nlmon",
        "sit",
        "tun",
        "vrf",
        "vti",
        "vti6",
        "vxlan",
        "wireguard",
        "xfrm",
        "zerotier",
    ];
    KINDS.contains(&kind)
}

/// Bridges of Docker, Podman, libvirt, LXC, Incus, CNI, Multipass and others; their addresses are for guests. Docker's
/// other bridges are `br-` and twelve hexadecimal digits: `br-lan` is a router's LAN.
fn is_guests_bridge(name: &str) -> bool {
    let of_docker = |id: &str| id.len() == 12 && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if name.strip_prefix("br-").is_some_and(of_docker) {
        return true;
    }
    if ["docker_gwbridge", "cbr0", "kube-bridge", "weave"].contains(&name) {
        return true;
    }
    ["cni-podman", "cni", "docker", "incusbr", "lxcbr", "lxdbr", "mpqemubr", "nerdctl", "podman"]
        .iter()
        .any(|prefix| name.strip_prefix(prefix).is_some_and(is_number))
        // People may also choose names for networks of libvirt.
        || name.starts_with("virbr")
}

/// Host-only networks of VMware and VirtualBox, whose drivers report no kind.
fn is_guests_device(name: &str) -> bool {
    ["vmnet", "vboxnet"].iter().any(|prefix| name.strip_prefix(prefix).is_some_and(is_number))
}

fn is_number(rest: &str) -> bool {
    !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(kind: &str) -> LinkKind {
        LinkKind::Made(kind.to_owned())
    }

    fn bridge(name: &str, ports: &[&str]) -> Purpose {
        let ports: Vec<_> =
            ports.iter().map(|port| if *port == "hardware" { LinkKind::Hardware } else { made(port) }).collect();
        Purpose::of(name, &made("bridge"), &ports)
    }

    #[test]
    fn dockers_bridges_are_br_and_twelve_hexadecimal_digits() {
        for name in ["br-0123456789ab", "br-fedcba987654", "docker0", "docker_gwbridge", "podman1", "cni0", "virbr0"] {
            assert_eq!(bridge(name, &[]), Purpose::Guests, "{name}");
            assert_eq!(bridge(name, &["veth", "tun"]), Purpose::Guests, "{name}");
            assert_eq!(Purpose::of(name, &LinkKind::Untold, &[]), Purpose::Guests, "{name}");
        }
        for name in [
            "br-lan",
            "br-guest",
            "br-wan",
            "br-0123456789a",
            "br-0123456789abc",
            "br-0123456789AB",
            "br-0123456789ag",
            "br0",
            "vmbr0",
            "lan",
            "dockerlan",
            "cninet",
        ] {
            assert_eq!(bridge(name, &[]), Purpose::Network, "{name}");
            assert_eq!(bridge(name, &["veth"]), Purpose::Unsure, "{name}");
            assert_eq!(Purpose::of(name, &LinkKind::Untold, &[]), Purpose::Network, "{name}");
        }
    }

    #[test]
    fn a_port_that_leads_out_makes_a_network_of_any_bridge() {
        for port in ["hardware", "vlan", "bond", "team", "dsa", "batadv"] {
            assert_eq!(bridge("docker0", &["veth", port]), Purpose::Network, "{port}");
            assert_eq!(bridge("br-lan", &[port]), Purpose::Network, "{port}");
        }
        assert_eq!(bridge("vmbr1", &["tun", "vxlan"]), Purpose::Unsure);
    }

    #[test]
    fn a_name_does_not_make_a_bridge_of_what_is_none() {
        for name in ["docker0", "virbr0", "br-0123456789ab", "podman0"] {
            assert_eq!(Purpose::of(name, &LinkKind::Hardware, &[]), Purpose::Network, "{name}");
            assert_eq!(Purpose::of(name, &made("veth"), &[]), Purpose::Network, "{name}");
            assert_eq!(Purpose::of(name, &made("vlan"), &[]), Purpose::Network, "{name}");
            assert_eq!(Purpose::of(name, &made("wireguard"), &[]), Purpose::Unsure, "{name}");
        }
        assert_eq!(Purpose::of("vmnet8", &LinkKind::Hardware, &[]), Purpose::Guests);
        assert_eq!(Purpose::of("vmnet", &LinkKind::Hardware, &[]), Purpose::Network);
    }
}
