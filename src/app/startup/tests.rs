use std::{ffi::OsString, path::Path, time::Duration};

use super::*;
use crate::{
    app::{
        capacity::{Capacity, FileShares},
        kept::{KeptFacts, SHORT_SECRET_BYTES},
    },
    config::{Config, Draft, GivenSecret},
    disk::Exposed,
    net::{InterfaceAddress, Interfaces, Purpose},
    tls::CertificateFacts,
    values::family::ByFamily,
};

/// A host with a LAN address, configured by the flags of `line`.
struct Host {
    config: Config,
    interfaces: Interfaces,
    certificate: Option<CertificateFacts>,
    exposed: Vec<Exposed>,
    files: usize,
}

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

impl Host {
    fn new(line: &str, addresses: &[&str]) -> Self {
        let args = std::iter::once("bimcc-rtc").chain(line.split_whitespace()).map(OsString::from);
        let settings = crate::cli::typed(args).unwrap().settings;
        let env = |name: &str| (name == "HOME").then(|| OsString::from("/home/u"));
        let mut interfaces = Interfaces::default();
        for address in ["127.0.0.1", "::1"].iter().chain(addresses) {
            let address: IpAddr = address.parse().unwrap();
            interfaces.addresses.push(InterfaceAddress {
                interface: if address.is_loopback() { "lo" } else { "eth0" }.to_owned(),
                address,
                prefix_len: 24,
                up: true,
                loopback: address.is_loopback(),
                purpose: Purpose::Network,
                short_lived: false,
            });
        }
        Self {
            config: Draft::read(&settings, None, &env).finish().unwrap(),
            interfaces,
            certificate: None,
            exposed: Vec::new(),
            files: 20_000,
        }
    }

    fn with_certificate(mut self, days: u64, local_ca_is_new: Option<bool>) -> Self {
        self.certificate = Some(CertificateFacts {
            not_after: NOW + Duration::from_secs(days * 86400),
            is_ed25519: false,
            chain_doubt: None,
            local_ca: local_ca_is_new.map(|is_new| CaFacts {
                file: "certs/ca.pem".into(),
                fingerprint: [0xab; 32].into(),
                is_new,
                doubt: None,
            }),
            exposed: Vec::new(),
        });
        self
    }

    fn text_in(&self, style: Style) -> String {
        let kept =
            KeptFacts {
                certificate: self.certificate.clone(),
                exposed: self.exposed.clone(),
                has_short_secret: self.config.secrets.iter().any(
                    |given| matches!(given, GivenSecret::Text(secret) if secret.expose().len() < SHORT_SECRET_BYTES),
                ),
                ..KeptFacts::default()
            };
        let mut plan = Plan::new(self.config.clone(), self.interfaces.clone(), kept, self.files, None);
        let shares = FileShares::of(self.files, 2, 1000);
        plan.capacity = Capacity { files: self.files, shares, max_allocations: shares.allocations };
        let addresses = Addresses {
            listen: self.config.listen.clone(),
            turn_listen: self.config.turn_listen.clone(),
            turns_listen: self.config.turns_listen.clone(),
            admin_listen: self.config.admin_listen,
        };
        let facts = Facts { plan: &plan, addresses: &addresses, now: NOW };
        text(&facts, style)
    }

    fn text(&self) -> String {
        self.text_in(Style::default())
    }

    fn doubts(&self) -> Vec<String> {
        self.text().lines().filter_map(|line| line.trim().strip_prefix("! ")).map(str::to_owned).collect()
    }
}

#[test]
fn on_a_lan() {
    let expected = format!(
        "
  bimcc-rtc {}

  Open     http://192.168.1.5:3000/
           http://localhost:3000/
  STUN     stun:192.168.1.5:3478
           stun:localhost:3478
  TURN     turn:192.168.1.5:3478?transport=udp
           turn:localhost:3478?transport=udp
           turn:192.168.1.5:3478?transport=tcp
           turn:192.168.1.5:3000?transport=tcp
  Relay    192.168.1.5, UDP ports 49152-65535, up to 1000 allocations
  Limits   up to 13888 WebSockets, half of them from one address; 20000 files
  Metrics  http://127.0.0.1:9641/metrics

  ! No TLS: except on localhost, browsers give no camera and microphone to this page. Add --tls.
  ! Relaying from a private address (192.168.1.5): out of reach from the Internet. On a VPS, give its public \
         address with --public-ip.

",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(Host::new("", &["192.168.1.5"]).text(), expected);
}

#[test]
fn a_vps_that_is_set_up_well_raises_no_doubt() {
    let host = Host::new("--public-host rtc.example.org --listen 443", &["203.0.113.5", "2001:db8::5"])
        .with_certificate(80, None);
    assert_eq!(host.doubts(), [""; 0]);
    let text = host.text();
    for url in [
        "https://rtc.example.org/\n",
        "https://203.0.113.5/\n",
        "https://[2001:db8::5]/\n",
        "stun:rtc.example.org:3478\n",
        "turn:rtc.example.org:3478?transport=udp\n",
    ] {
        assert!(text.contains(url), "{url} in {text}");
    }
}

#[test]
fn one_to_one_nat_shows() {
    let text = Host::new("--public-ip 203.0.113.9", &["10.0.0.5"]).text();
    assert!(text.contains("203.0.113.9 (on no interface here: 1:1 NAT), UDP ports"), "{text}");
    assert!(text.contains("http://203.0.113.9:3000/") && text.contains("http://10.0.0.5:3000/"), "{text}");
    assert!(!text.contains("private address"), "{text}");
}

#[test]
fn no_more_allocations_are_promised_than_there_are_ports() {
    let line = "--relay-ports 50000-50009 --max-allocations 1000";
    assert!(Host::new(line, &["192.168.1.5"]).text().contains(", up to 10 allocations"));
    assert!(Host::new(line, &["192.168.1.5", "fd00::5"]).text().contains(", up to 20 allocations"));
}

#[test]
fn on_localhost_tls_is_not_missed() {
    let host = Host::new("--listen 127.0.0.1:3000 --public-ip 203.0.113.5", &["203.0.113.5"]);
    assert_eq!(host.doubts(), [""; 0]);
    assert!(host.text().contains("Open     http://localhost:3000/\n"));
}

#[test]
fn every_doubt_has_its_line() {
    let doubt = |host: Host, expected: &str| {
        let doubts = host.doubts();
        assert_eq!(doubts.iter().filter(|doubt| doubt.contains(expected)).count(), 1, "{expected:?} in {doubts:#?}");
    };
    let vps = |line| Host::new(line, &["203.0.113.5"]);
    doubt(vps("--dangerously-allow-loopback-peers"), "--dangerously-allow-loopback-peers");
    doubt(vps("").with_certificate(13, None), "ends in 13 days");
    doubt(vps("").with_certificate(1, None), "ends in 1 day.");
    doubt(vps("").with_certificate(0, None), "ends within a day");
    let mut expired = vps("").with_certificate(0, None);
    expired.certificate.as_mut().unwrap().not_after -= Duration::from_secs(1);
    doubt(expired, "has expired");
    let mut ed25519 = vps("").with_certificate(80, None);
    ed25519.certificate.as_mut().unwrap().is_ed25519 = true;
    doubt(ed25519, "Ed25519");
    let mut constrained = vps("").with_certificate(80, Some(false));
    constrained.certificate.as_mut().unwrap().local_ca.as_mut().unwrap().doubt = Some("has IP constraints".to_owned());
    doubt(constrained, "has IP constraints");
    let mut incomplete = vps("").with_certificate(80, None);
    incomplete.certificate.as_mut().unwrap().chain_doubt = Some("no certificate of the issuer".to_owned());
    doubt(incomplete, "of the issuer");
    doubt(Host::new("", &[]), "no address but loopback");
    doubt(Host::new("", &["100.64.0.5"]), "private address");
    doubt(Host::new("", &["fd00::5"]), "private address");
    doubt(vps("--turn-listen 500"), "port 500");
    doubt(vps("--peer-policy any"), "--peer-policy any");
    doubt(vps("--api-peer-policy any"), "--api-peer-policy any");
    doubt(vps("--secret short"), "less than 16 bytes");
    let mut careless = vps("");
    careless.exposed = Exposed::among(["/bin", "/bin/sh"].map(Path::new));
    doubt(careless, "secret: chmod 700 /bin; chmod 600 /bin/sh");
}

#[test]
fn good_things_raise_none() {
    let none = |host: Host, unexpected: &str| assert!(!host.text().contains(unexpected), "{}", host.text());
    none(Host::new("--turn-listen 443", &["203.0.113.5"]), "Chromium");
    none(Host::new("--relay-ports none", &[]), "no address but loopback");
    none(Host::new("--relay-ports none", &["10.0.0.5"]), "private address");
    none(Host::new("", &["203.0.113.5", "fd00::5"]), "private address");
    none(Host::new("--secret 0123456789abcdef", &[]), "bytes can be guessed");
    none(Host::new("", &["203.0.113.5"]).with_certificate(15, None), "ends in");
}

#[test]
fn a_new_ca_comes_with_instructions() {
    let lines = |new| Host::new("", &["203.0.113.5"]).with_certificate(300, Some(new)).text().lines().count();
    let text = Host::new("", &["203.0.113.5"]).with_certificate(300, Some(true)).text();
    for system in ["Debian", "macOS", "Windows", "Firefox", "Android", "iOS"] {
        assert!(text.contains(system), "{text}");
    }
    assert!(lines(true) > lines(false) + 5);
    for name in ["-n bimcc-rtc-abababab -i", "ca-certificates/bimcc-rtc-abababab.crt "] {
        assert!(text.contains(name), "{name} in {text}");
    }
    for new in [true, false] {
        let text = Host::new("", &["203.0.113.5"]).with_certificate(300, Some(new)).text();
        assert!(text.contains(&format!("SHA-256 {}AB\n", "AB:".repeat(31))), "{text}");
    }
}

#[test]
fn nothing_at_all_still_has_a_text() {
    let mut host = Host::new("", &[]);
    host.interfaces = Interfaces::default();
    host.config.public_ips = ByFamily::default();
    assert!(host.text().contains("nothing: this host has no address"));
}

#[test]
fn terminals_get_a_code_for_an_address_that_phones_reach() {
    let style = Style { color: false, qr_code: true };
    let with_code = |host: Host| host.text_in(style).contains('▀');
    assert!(with_code(Host::new("", &["192.168.1.5"])));
    let text = Host::new("", &["192.168.1.5"]).with_certificate(300, Some(true)).text_in(style);
    let addresses = text.find("  Open").unwrap();
    assert!(text.rfind('▀').unwrap() < addresses && text.find("Android").unwrap() < addresses, "{text}");
    assert!(text[addresses..].lines().count() < 24, "addresses stay in sight: {text}");
    assert!(!with_code(Host::new("--listen 127.0.0.1:3000", &["192.168.1.5"])));
    assert!(!Host::new("", &["192.168.1.5"]).text_in(Style { color: true, qr_code: false }).contains('▀'));
}

#[test]
fn a_translators_address_is_doubted() {
    for ip in ["192.0.0.1", "192.0.0.6"] {
        let doubts = Host::new("", &[ip, "2001:db8::5"]).doubts();
        assert!(doubts.iter().any(|doubt| doubt.contains(ip) && doubt.contains("464XLAT")), "{doubts:?}");
        assert!(!doubts.iter().any(|doubt| doubt.contains("private")), "{doubts:?}");
    }
    let doubts = Host::new("--public-ip 203.0.113.7", &["192.0.0.1", "2001:db8::5"]).doubts();
    assert!(!doubts.iter().any(|doubt| doubt.contains("464XLAT")), "{doubts:?}");
    let doubts = Host::new("", &["192.0.0.9"]).doubts();
    assert!(!doubts.iter().any(|doubt| doubt.contains("464XLAT")), "{doubts:?}");
}

#[test]
fn few_files_are_a_doubt() {
    let doubts = |line: &str, files| Host { files, ..Host::new(line, &["192.168.1.5"]) }.doubts().join("\n");
    for files in [64, 200, 256, 1000] {
        let said = doubts("", files);
        assert!(said.contains(&format!("Only {files} files may be open: up to")), "{said}");
        assert!(said.contains(" together"), "what one has the other cannot have: {said}");
        assert!(said.contains("LimitNOFILE") && said.contains("ulimit -n"), "{said}");
    }
    assert!(!doubts("", 1024).contains("files may be open"));
    let said = doubts("--max-websockets 20000", 20_000);
    assert!(said.contains("less than --max-websockets 20000"), "{said}");
}

#[test]
fn the_share_of_one_address_is_told() {
    let text = Host::new("--max-websockets 500 --max-websockets-per-ip 40", &[]).text();
    assert!(text.contains("up to 500 WebSockets, 40 from one address; 20000 files"), "{text}");
}
