//! Which addresses belong to this host and which one it relays from, tested with real routes, bridges and refusals in
//! namespaces.
#![allow(clippy::unwrap_used)]

mod common;

use std::{
    fs,
    net::{IpAddr, SocketAddr, UdpSocket},
    time::Instant,
};

use common::{
    netns::Namespace,
    process::{PATIENCE, Process, Start, free_port},
    turn_client::{Credentials, TurnClient},
};
use nix::sys::signal::Signal;

const OWN_ADDRESS: &str = "turn_dropped_packets_total{reason=\"own_address\"}";
const SEND_TO_PEER: &str = "turn_dropped_packets_total{reason=\"send_to_peer\"}";

/// A server with addresses that the Internet would route, a client on a cable, and a UDP service on the server's host.
struct Network {
    host: Namespace,
    client: Namespace,
    server: Process,
    credentials: Credentials,
    services: [UdpSocket; 2],
}

impl Network {
    /// `routes` are arguments of `ip` for the host, one command per line.
    fn new(routes: &str) -> Option<Self> {
        let [host, client] = [Namespace::new()?, Namespace::new()?];
        // A host that forwards packets accepts those to all routers of a network.
        host.run(|| fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap());
        host.cable("cable", &["9.9.1.1/24", "2600:9:1::1/64"], &client, &["9.9.1.2/24", "2600:9:1::2/64"]);
        routes.lines().map(str::trim).filter(|line| !line.is_empty()).for_each(|line| host.ip(line));
        let port = free_port();
        let server = Start::with(&format!("--turn-listen {port}")).turn_port(port).within(&host).serve();
        let credentials = server.mint("client");
        let services = host.run(|| ["0.0.0.0:0", "[::]:0"].map(|any| UdpSocket::bind(any).unwrap()));
        services.iter().for_each(|service| service.set_nonblocking(true).unwrap());
        Some(Self { host, client, server, credentials, services })
    }

    /// A client with an allocation of the peer's family and a permission for the peer.
    fn permitted(&self, peer: IpAddr) -> TurnClient {
        let (own, server) = if peer.is_ipv4() { ("9.9.1.2", "9.9.1.1") } else { ("2600:9:1::2", "2600:9:1::1") };
        let socket = self.client.run(|| UdpSocket::bind((own.parse::<IpAddr>().unwrap(), 0)).unwrap());
        let server = SocketAddr::new(server.parse().unwrap(), self.server.turn_port());
        let mut client = TurnClient::over(socket, server, Some(&self.credentials));
        if peer.is_ipv4() { client.allocate() } else { client.allocate_v6() }.unwrap();
        client.permit(&[SocketAddr::new(peer, 9)]).unwrap();
        client
    }

    /// The host's service at this address.
    fn service(&self, ip: IpAddr) -> SocketAddr {
        let service = &self.services[usize::from(ip.is_ipv6())];
        SocketAddr::new(ip, service.local_addr().unwrap().port())
    }

    fn services_heard(&self) -> bool {
        let heard = self.services.iter().filter(|service| service.recv(&mut [0; 100]).is_ok()).count();
        heard > 0
    }

    /// Sends until a packet is dropped for this reason, and discards what the services got meanwhile.
    fn send_until(&self, client: &mut TurnClient, peer: SocketAddr, reason: &str) {
        let deadline = Instant::now() + PATIENCE;
        let before = self.server.metric(reason);
        while self.server.metric(reason) == before {
            assert!(Instant::now() < deadline, "{peer} is not {reason}: {}", self.server.metrics());
            client.send(peer, b"now?");
        }
        while self.services_heard() {}
    }

    /// Checks that data to the service at `ip` is dropped, because the address is the host's own.
    fn is_own(&self, ip: &str) {
        let peer = ip.parse().unwrap();
        let mut client = self.permitted(peer);
        let before = self.server.metric(OWN_ADDRESS);
        client.bind_channel(0x4000, self.service(peer)).unwrap();
        client.send(self.service(peer), b"to a service");
        client.send_channel(0x4000, b"to a service");
        let deadline = Instant::now() + PATIENCE;
        while self.server.metric(OWN_ADDRESS) < before + 2 {
            assert!(!self.services_heard(), "a service at {ip} was reached");
            assert!(Instant::now() < deadline, "{ip}: {}", self.server.metrics());
        }
        assert!(!self.services_heard(), "a service at {ip} was reached");
    }
}

#[test]
fn what_the_kernel_calls_local_is_not_reached() {
    let Some(network) = Network::new(
        "route add local 9.9.50.50/32 dev lo table local
         route add local 9.9.51.0/24 dev lo
         route add local 2600:9:50::50/128 dev lo table local
         -6 route add local 2600:9:51::/64 dev lo
         -6 route add anycast 2600:9:52::7/128 dev cable table local
         rule add to 9.9.53.0/24 lookup 53
         route add local 9.9.53.0/24 dev lo table 53
         link add second type veth peer name third
         link set second up
         address add 2600:9:54::1/61 dev second nodad
         address add 9.9.54.1/26 brd 9.9.54.40 dev second",
    ) else {
        return;
    };
    for ip in [
        "9.9.50.50",
        "9.9.51.0",
        "9.9.51.200",
        "2600:9:50::50",
        "2600:9:51::",
        "2600:9:51::1:2:3",
        "2600:9:52::7",
        "9.9.53.1",
        // Addresses of all routers of a network, and of all its hosts.
        "2600:9:1::",
        "2600:9:50::50",
        "2600:9:54::",
        "9.9.1.255",
        "9.9.54.63",
        "9.9.54.40",
        // Addresses of the interfaces.
        "9.9.1.1",
        "2600:9:54::1",
    ] {
        network.is_own(ip);
    }
}

#[test]
fn tables_for_others_packets_make_nothing_own() {
    // Transparent proxies use such rules.
    let Some(network) = Network::new(
        "rule add fwmark 1 lookup 100
         route add local 0.0.0.0/0 dev lo table 100
         rule add from 127.0.0.0/8 iif lo lookup 101
         route add local 0.0.0.0/0 dev lo table 101
         rule add iif cable lookup 102
         route add local 9.9.1.2/32 dev lo table 103
         route add local 0.0.0.0/0 dev lo table 102",
    ) else {
        return;
    };
    let peer = network.client.run(|| UdpSocket::bind("9.9.1.2:0").unwrap());
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    let address = peer.local_addr().unwrap();
    // The rule for incoming packets would catch the client's own requests.
    network.host.ip("rule del iif cable lookup 102");
    let mut client = network.permitted(address.ip());
    client.send(address, b"to a peer");
    let mut buffer = [0; 100];
    let (len, _) = peer.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..len], b"to a peer");
}

#[test]
fn permissions_in_force_follow_addresses_and_routes() {
    let Some(network) = Network::new("") else { return };
    for (ip, add, del) in [
        ("9.9.60.1", "address add 9.9.60.1/32 dev lo", "address del 9.9.60.1/32 dev lo"),
        ("2600:9:60::1", "address add 2600:9:60::1/128 dev lo nodad", "address del 2600:9:60::1/128 dev lo"),
        ("9.9.61.7", "route add local 9.9.61.0/24 dev lo", "route del local 9.9.61.0/24 dev lo"),
        ("2600:9:61::7", "-6 route add local 2600:9:61::/64 dev lo", "-6 route del local 2600:9:61::/64 dev lo"),
        (
            "9.9.62.7",
            "route add broadcast 9.9.62.7 dev cable table local",
            "route del broadcast 9.9.62.7 dev cable table local",
        ),
        ("9.9.63.7", "rule add to 9.9.63.7 lookup 63", "rule del to 9.9.63.7 lookup 63"),
    ] {
        if add.starts_with("rule") {
            network.host.ip("route add local 9.9.63.7 dev lo table 63");
        }
        let peer = network.service(ip.parse().unwrap());
        let mut client = network.permitted(peer.ip());
        client.bind_channel(0x4000, peer).unwrap();
        // No route leads there yet.
        network.send_until(&mut client, peer, SEND_TO_PEER);
        network.host.ip(add);
        network.send_until(&mut client, peer, OWN_ADDRESS);
        let before = network.server.metric(OWN_ADDRESS);
        client.send(peer, b"to a service");
        client.send_channel(0x4000, b"to a service");
        network.server.metric_becomes(OWN_ADDRESS, before + 2);
        assert!(!network.services_heard(), "{ip}");
        network.host.ip(del);
        network.send_until(&mut client, peer, SEND_TO_PEER);
    }
}

#[test]
fn more_news_than_can_be_held_are_not_missed() {
    let Some(network) = Network::new("") else { return };
    let mut many: String =
        (0..5000).map(|n| format!("route add 10.{}.{}.0/24 dev cable\n", n / 250, n % 250)).collect();
    many += "route add local 9.9.70.0/24 dev lo\n";
    let file = network.server.state_dir().path().join("routes");
    fs::write(&file, many).unwrap();
    let peer = network.service("9.9.70.1".parse().unwrap());
    let mut client = network.permitted(peer.ip());
    network.server.signal(Signal::SIGSTOP);
    network.host.ip(&format!("-batch {}", file.display()));
    network.server.signal(Signal::SIGCONT);
    network.send_until(&mut client, peer, OWN_ADDRESS);
}

/// The address from which a host without a default route relays.
fn relayed_from(host: &Namespace, server: &Process) -> Result<IpAddr, u16> {
    let credentials = server.mint("client");
    let socket = host.run(|| UdpSocket::bind("127.0.0.1:0").unwrap());
    TurnClient::over(socket, server.turn(), Some(&credentials)).allocate().map(|relayed| relayed.ip())
}

#[test]
fn a_lans_bridge_is_relayed_from_and_a_guests_is_not() {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    for (bridge, own) in [
        ("br-lan", true),
        ("vmbr0", true),
        ("br-0123456789ab", false),
        ("br-0123456789aX", true),
        ("docker0", false),
        ("virbr0", false),
        ("podman1", false),
    ] {
        let [Some(host), Some(far)] = [Namespace::new(), Namespace::new()] else { return };
        host.cable("port", &[], &far, &["192.168.77.2/24"]);
        host.ip(&format!("link add {bridge} type bridge"));
        host.ip(&format!("link set port master {bridge}"));
        host.ip(&format!("address add 192.168.77.1/24 dev {bridge}"));
        host.ip(&format!("link set {bridge} up"));
        let server = Start::default().within(&host).serve();
        let expected = ip(if own { "192.168.77.1" } else { "127.0.0.1" });
        assert_eq!(relayed_from(&host, &server), Ok(expected), "{bridge}");
    }
}

#[test]
fn a_real_network_is_better_than_a_bridge_of_guests_or_a_tunnel() {
    let [Some(host), Some(far)] = [Namespace::new(), Namespace::new()] else { return };
    host.ip("link add mynet type bridge");
    host.cable("port", &[], &far, &[]);
    host.ip("link set port master mynet");
    host.ip("address add 172.20.0.1/16 dev mynet");
    host.ip("link set mynet up");
    host.ip("tuntap add mode tun name wan7");
    host.ip("address add 10.9.9.1/24 dev wan7");
    host.ip("link set wan7 up");
    host.cable("docker1", &["192.168.78.1/24"], &far, &["192.168.78.2/24"]);
    let server = Start::default().within(&host).serve();
    assert_eq!(relayed_from(&host, &server), Ok("192.168.78.1".parse().unwrap()), "a cable, whatever its name");
}

#[test]
fn without_netlink_the_default_routes_address_is_relayed_from() {
    let [Some(host), Some(far)] = [Namespace::new(), Namespace::new()] else { return };
    host.cable("cable", &["192.168.79.1/24"], &far, &["192.168.79.2/24"]);
    host.ip("route add default via 192.168.79.2");
    host.ip("address add 9.9.79.1/32 dev lo");
    host.ip("route add local 9.9.80.0/24 dev lo");
    host.run(|| {
        refuse_netlink();
        let server = Start::default().serve();
        let credentials = server.mint("client");
        let mut client = TurnClient::over(UdpSocket::bind("127.0.0.1:0").unwrap(), server.turn(), Some(&credentials));
        assert_eq!(client.allocate().map(|relayed| relayed.ip()), Ok("192.168.79.1".parse().unwrap()));
        // The files still show the routes.
        let service = UdpSocket::bind("0.0.0.0:0").unwrap();
        service.set_nonblocking(true).unwrap();
        for ip in ["9.9.79.1", "9.9.80.7"] {
            let peer = SocketAddr::new(ip.parse().unwrap(), service.local_addr().unwrap().port());
            let before = server.metric(OWN_ADDRESS);
            client.permit(&[peer]).unwrap();
            client.send(peer, b"to a service");
            server.metric_becomes(OWN_ADDRESS, before + 1);
            assert!(service.recv(&mut [0; 100]).is_err(), "{ip}");
        }
        server.stop();
    });
}

/// Refuses netlink for this thread and everything that it starts.
fn refuse_netlink() {
    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    };
    let netlink = nix::libc::AF_NETLINK as u64;
    let condition = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, netlink).unwrap();
    let rule = SeccompRule::new(vec![condition]).unwrap();
    let filter = SeccompFilter::new(
        [(nix::libc::SYS_socket, vec![rule])].into(),
        SeccompAction::Allow,
        SeccompAction::Errno(nix::libc::EPERM as u32),
        std::env::consts::ARCH.try_into().unwrap(),
    );
    let program: BpfProgram = filter.unwrap().try_into().unwrap();
    seccompiler::apply_filter(&program).unwrap();
}
