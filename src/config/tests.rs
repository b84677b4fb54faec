//! From flags, environment and file to a configuration or all its mistakes.

use std::{
    ffi::OsString,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use super::{reader::realm, *};
use crate::values::{
    family::{ByFamily, Family},
    ports::RelayPorts,
};

/// Loads from flags, with only a home directory in the environment.
fn load(line: &str) -> Result<Config, Vec<String>> {
    load_with(line, &[])
}

fn load_with(line: &str, variables: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let args = std::iter::once("bimcc-rtc").chain(line.split_whitespace()).map(OsString::from);
    let typed = crate::cli::typed(args).unwrap();
    let crate::cli::Command::Serve(serve) = typed.command else { panic!("not serve") };
    let env = |name: &str| match variables.iter().find(|(variable, _)| *variable == name) {
        Some((_, value)) => Some(OsString::from(value)),
        None => (name == "HOME").then(|| OsString::from("/home/u")),
    };
    Draft::read(&typed.settings, serve.config.as_deref(), &env).finish().map_err(|error| error.mistakes)
}

fn mistakes(line: &str) -> Vec<String> {
    load(line).unwrap_err()
}

/// The only mistake of `line`.
fn mistake(line: &str) -> String {
    let mut mistakes = mistakes(line);
    assert_eq!(mistakes.len(), 1, "{mistakes:?}");
    mistakes.remove(0)
}

fn addresses(addresses: &[SocketAddr]) -> Vec<String> {
    addresses.iter().map(ToString::to_string).collect()
}

#[test]
fn defaults() {
    let config = load("").unwrap();
    assert_eq!(addresses(&config.listen), ["0.0.0.0:3000", "[::]:3000"]);
    assert_eq!(addresses(&config.turn_listen), ["0.0.0.0:3478", "[::]:3478"]);
    assert!(config.listen_is_default && config.turn_listen_is_default);
    assert_eq!(config.tls, None);
    assert_eq!(config.public_ips, ByFamily::default());
    assert_eq!(config.relay_ports, RelayPorts::Range { first: 49152, last: 65535 });
    assert_eq!(config.realm, "bimcc-rtc");
    assert!(config.secrets.is_empty());
    assert_eq!(config.credential_ttl.as_secs(), 6 * 3600);
    assert_eq!((config.peer_policy, config.api_peer_policy), (MemberPeerPolicy::Members, ApiPeerPolicy::Public));
    assert_eq!((config.max_peers_per_room, config.max_rooms), (32, 100_000));
    assert_eq!((config.max_message_bytes, config.max_connections_per_ip), (65_536, 256));
    assert_eq!((config.max_allocations, config.max_allocations_per_user), (None, 24 * 32));
    assert_eq!(config.allocation_lifetime.as_secs(), 3600);
    assert_eq!(config.admin_listen.to_string(), "127.0.0.1:9641");
    assert_eq!(config.state_dir, Path::new("/home/u/.local/state/bimcc-rtc"));
    assert!(!config.dangerously_allow_loopback_peers);
}

#[test]
fn allocation_lifetimes_are_from_10_seconds_to_an_hour() {
    for (text, seconds) in [("10s", 10), ("60s", 60), ("1h", 3600)] {
        assert_eq!(load(&format!("--allocation-lifetime {text}")).unwrap().allocation_lifetime.as_secs(), seconds);
    }
    for text in ["9s", "3601s", "0", "x"] {
        assert!(mistake(&format!("--allocation-lifetime {text}")).starts_with("--allocation-lifetime: "), "{text}");
    }
}

#[test]
fn several_wrong_values_of_one_flag_are_several_mistakes() {
    assert_eq!(mistakes("--allow-peer a --allow-peer 10.0.0.1 --allow-peer b").len(), 2);
}

#[test]
fn a_port_alone_means_all_addresses() {
    let config = load("--listen 8080 --listen 127.0.0.1:80 --turn-listen 10.0.0.1").unwrap();
    assert_eq!(addresses(&config.listen), ["0.0.0.0:8080", "[::]:8080", "127.0.0.1:80"]);
    assert!(config.listen_is_default);
    assert_eq!(addresses(&config.turn_listen), ["10.0.0.1:3478"]);
    assert!(!config.turn_listen_is_default);
}

#[test]
fn public_ips_are_one_per_family_and_reachable() {
    let config = load("--public-ip 203.0.113.5 --public-ip 2001:db8::5").unwrap();
    assert_eq!(config.public_ips.iter().map(|ip| ip.to_string()).collect::<Vec<_>>(), ["203.0.113.5", "2001:db8::5"]);
    assert!(mistake("--public-ip 203.0.113.5 --public-ip 203.0.113.6").contains("one family"));
    for ip in [
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "ff02::1",
        "255.255.255.255",
        "::ffff:1.2.3.4",
        "169.254.1.1",
        "fe80::1",
        "::1",
        "host",
    ] {
        assert!(mistake(&format!("--public-ip {ip}")).starts_with("--public-ip: "), "{ip}");
    }
    let config = load("--public-ip 127.0.0.1 --dangerously-allow-loopback-peers").unwrap();
    assert_eq!(config.public_ips[Family::V4], Some(Ipv4Addr::LOCALHOST.into()));
}

#[test]
fn relay_ports_stay_clear_of_the_turn_port() {
    assert!(mistake("--relay-ports 3000-4000").contains("3478"));
    assert!(load("--relay-ports 3479-4000").is_ok());
    assert!(load("--relay-ports none --turn-listen 50000").is_ok());
    assert!(mistake("--turn-listen 50000").starts_with("--relay-ports: "));
}

#[test]
fn metrics_stay_on_loopback_and_on_a_port_of_their_own() {
    assert!(mistake("--admin-listen 10.0.0.1:9641").contains("127.0.0.1:9641"));
    assert_eq!(load("--admin-listen 9000").unwrap().admin_listen.to_string(), "127.0.0.1:9000");
    assert!(mistake("--admin-listen 127.0.0.1:3000").contains("--listen"));
    assert!(load("--admin-listen 127.0.0.1:0 --listen 127.0.0.1:0").is_ok());
}

#[test]
fn no_two_listeners_want_one_port() {
    for line in [
        "--listen 127.0.0.1:3478",
        "--listen 4000 --listen 127.0.0.1:4000",
        "--listen 4000 --turn-listen [::1]:4000",
        "--tls --turn-listen 4000 --turns-listen 127.0.0.1:4000",
    ] {
        assert!(mistake(line).contains("on one port"), "{line}");
    }
    for line in [
        "--listen 4000 --turn-listen 4000",
        "--listen 0.0.0.0:4000 --turn-listen [::1]:4000",
        "--listen 127.0.0.1:4000 --turn-listen 192.0.2.1:4000",
        "--listen 0 --turn-listen 127.0.0.1:0",
        // Nobody asked for the default port.
        "--tls --listen 127.0.0.1:5349",
        "--tls --listen 5349 --turns-listen 5349",
    ] {
        assert!(load(line).is_ok(), "{line}");
    }
}

#[test]
fn a_forgotten_tls_flag_is_a_mistake() {
    assert!(mistakes("--tls-cert a --tls-key b").iter().all(|m| m.contains("without --tls")));
    assert!(load("--tls=false --tls-cert a --tls-key b").unwrap().tls.is_none());
    assert!(mistake("--tls --tls-key b").contains("belong together"));
    assert!(mistake("--local-ca-any-ip").contains("without --tls"));
    assert!(mistakes("--tls --local-ca-any-ip --tls-cert a --tls-key b").iter().any(|m| m.contains("--tls-cert and")));
    assert!(load("--tls --local-ca-any-ip").unwrap().tls.unwrap().local_ca_any_ip);
    assert!(!load("--tls --local-ca-any-ip=false").unwrap().tls.unwrap().local_ca_any_ip);
}

#[test]
fn the_quota_of_a_user_follows_the_size_of_rooms() {
    assert_eq!(load("--max-peers-per-room 10").unwrap().max_allocations_per_user, 240);
    assert_eq!(load("--max-peers-per-room 10 --max-allocations-per-user 5").unwrap().max_allocations_per_user, 5);
}

#[test]
fn the_state_directory_has_a_place_for_services_and_for_people() {
    let state_dir = |variables: &[(&str, &str)]| load_with("", variables).unwrap().state_dir;
    assert_eq!(
        state_dir(&[("STATE_DIRECTORY", "/var/lib/a:/var/lib/b"), ("XDG_STATE_HOME", "/x")]),
        Path::new("/var/lib/a")
    );
    assert_eq!(state_dir(&[("XDG_STATE_HOME", "/x")]), Path::new("/x/bimcc-rtc"));
    assert_eq!(state_dir(&[("XDG_STATE_HOME", "relative")]), Path::new("/home/u/.local/state/bimcc-rtc"));
    assert!(load_with("", &[("HOME", "")]).unwrap_err()[0].contains("--state-dir"));
    assert_eq!(load("--state-dir s").unwrap().state_dir, Path::new("s"));
}

#[test]
fn realms_stay_short_and_quotable() {
    for text in ["", "a\"b", "a\\b", "ü", " a", "a\n"] {
        assert!(realm(text).is_err(), "{text:?}");
    }
    assert!(realm(&"r".repeat(40)).is_ok() && realm(&"r".repeat(41)).is_err());
}

#[test]
fn secrets_do_not_show() {
    let shown = format!("{:?}", load("--secret hush").unwrap());
    assert!(!shown.contains("hush"));
}
