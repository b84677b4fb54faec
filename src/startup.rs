//! What the server says when it is up: where to open it, what it serves, and each doubtful thing with its remedy.
//!
//! Facts in, text out. [`print()`] writes it to standard output; logs go to standard error.

use std::{
    collections::HashSet,
    fmt::Write as _,
    io::{self, IsTerminal, Write as _},
    net::{IpAddr, SocketAddr},
    time::{Duration, SystemTime},
};

use qrcode::{QrCode, render::unicode::Dense1x2};

use crate::{
    config::{ApiPeerPolicy, Config, DEFAULT_TURNS_PORT, PeerPolicy, SecretSource},
    files::Shares,
    net::{self, Choice, Chosen, Interfaces},
    state_dir::Exposed,
    tls::{CaFacts, CertificateFacts},
    values::{family::ByFamily, host::Host, ports::RelayPorts},
};

/// Let's Encrypt renews 30 days ahead: with less than half of that left, renewal does not work.
const ENDS_SOON: Duration = Duration::from_secs(14 * 86400);
/// With fewer files a class and its calls are too many.
const FEW_FILES: usize = 1024;
/// Shorter secrets can be guessed by who has seen one credential.
const SHORT_SECRET_BYTES: usize = 16;

/// What is true once everything is bound.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// What was decided.
    pub config: &'a Config,
    /// Bound for HTTP, WebSocket and TURN over TCP.
    pub listen: &'a [SocketAddr],
    /// Bound for STUN and TURN, over UDP and TCP.
    pub turn_listen: &'a [SocketAddr],
    /// For TURN over TLS, bound for it alone or shared with `listen` or `turn_listen`.
    pub turns_listen: &'a [SocketAddr],
    /// Bound for metrics.
    pub admin_listen: SocketAddr,
    /// This host's addresses.
    pub interfaces: &'a Interfaces,
    /// Where relaying happens.
    pub relayed: ByFamily<Option<Chosen>>,
    /// How many allocations there may be.
    pub max_allocations: usize,
    /// How many files may be open.
    pub files: usize,
    /// What each kind of client may have of them.
    pub shares: &'a Shares,
    /// With TLS.
    pub certificate: Option<&'a CertificateFacts>,
    /// Secrets that others have access to.
    pub exposed: &'a [Exposed],
    /// A certificate that could be meant and is not served.
    pub unused_certificate: Option<String>,
    /// The time of day.
    pub now: SystemTime,
}

/// How it may look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// ANSI colours.
    pub color: bool,
    /// A QR code for phones.
    pub qr_code: bool,
}

impl Style {
    /// What standard output can show.
    pub fn of_stdout() -> Self {
        let terminal = io::stdout().is_terminal();
        Self { color: terminal && std::env::var_os("NO_COLOR").is_none(), qr_code: terminal }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Prints [`text`]. A closed standard output is no reason to stop.
pub fn print(facts: &Facts<'_>) {
    let _closed = io::stdout().write_all(text(facts, Style::of_stdout()).as_bytes());
    let _closed = io::stdout().flush();
}

/// The whole text.
pub fn text(facts: &Facts<'_>, style: Style) -> String {
    let mut out = format!("\n  {}\n\n", style.paint("1", &format!("bimcc-rtc {}", env!("CARGO_PKG_VERSION"))));
    let urls = facts.urls();
    // Tall things first: the addresses have to be in sight when the text stops, also in a terminal of 24 lines.
    if let Some(url) = urls.iter().find(|url| !is_local(url)).filter(|_| style.qr_code) {
        out.push_str(&qr_code(url, style));
    }
    if let Some(help) = facts.trust() {
        let _ = writeln!(out, "{help}");
    }
    for (label, values) in [
        ("Open", urls.clone()),
        ("STUN", facts.turn_urls(facts.turn_listen, "stun", "")),
        ("TURN", facts.all_turn_urls()),
        ("Relay", facts.relay()),
        ("Limits", vec![facts.limits()]),
        ("Metrics", vec![format!("http://{}/metrics", facts.admin_listen)]),
    ] {
        for (i, value) in values.iter().enumerate() {
            let label = format!("{:<9}", if i == 0 { label } else { "" });
            let value = if label.starts_with("Open") || urls.contains(value) {
                style.paint("36", value)
            } else {
                value.clone()
            };
            let _ = writeln!(out, "  {}{value}", style.paint("2", &label));
        }
    }
    for (i, doubt) in facts.doubts().iter().enumerate() {
        let _ = writeln!(out, "{}  {} {doubt}", if i == 0 { "\n" } else { "" }, style.paint("1;33", "!"));
    }
    out.push('\n');
    out
}

impl Facts<'_> {
    /// Hosts by which clients can reach a listener on `ip`, the best one for others first, `localhost` last.
    fn hosts(&self, listeners: &[SocketAddr]) -> Vec<(String, u16)> {
        let mut hosts = Vec::new();
        let mut add = |host: String, port| {
            if !hosts.contains(&(host.clone(), port)) {
                hosts.push((host, port));
            }
        };
        let mut local_port = None;
        for listener in listeners {
            let (ip, port) = (listener.ip(), listener.port());
            if ip.is_loopback() || ip.is_unspecified() {
                local_port = local_port.or(Some(port));
            }
            if ip.is_loopback() {
                continue;
            }
            if let Some(host) = &self.config.public_host {
                add(host.to_string(), port);
            }
            if ip.is_unspecified() {
                let same_family = |other: &IpAddr| other.is_ipv4() == ip.is_ipv4();
                for ip in self.config.public_ips.iter().copied().chain(self.interfaces.reachable()).filter(same_family)
                {
                    add(Host::from(ip).to_string(), port);
                }
            } else {
                add(Host::from(ip).to_string(), port);
            }
        }
        if let Some(port) = local_port {
            add("localhost".to_owned(), port);
        }
        hosts
    }

    fn urls(&self) -> Vec<String> {
        let (scheme, default_port) = if self.certificate.is_some() { ("https", 443) } else { ("http", 80) };
        let url = |(host, port)| match port {
            port if port == default_port => format!("{scheme}://{host}/"),
            _ => format!("{scheme}://{host}:{port}/"),
        };
        self.hosts(self.listen).into_iter().map(url).collect()
    }

    /// The best two are enough: iceServers carry the right one to each client anyway.
    fn turn_urls(&self, listeners: &[SocketAddr], scheme: &str, transport: &str) -> Vec<String> {
        let hosts = self.hosts(listeners);
        hosts.into_iter().take(2).map(|(host, port)| format!("{scheme}:{host}:{port}{transport}")).collect()
    }

    fn all_turn_urls(&self) -> Vec<String> {
        let mut urls = self.turn_urls(self.turn_listen, "turn", "?transport=udp");
        let first = |listeners, scheme| self.turn_urls(listeners, scheme, "?transport=tcp").into_iter().next();
        urls.extend(first(self.turn_listen, "turn"));
        let scheme = if self.certificate.is_some() { "turns" } else { "turn" };
        urls.extend(first(self.turns_listen, "turns"));
        urls.extend(first(self.listen, scheme));
        // One address may serve for several flags.
        let mut seen = HashSet::new();
        urls.retain(|url| seen.insert(url.clone()));
        urls
    }

    fn relay(&self) -> Vec<String> {
        let RelayPorts::Range { first, last } = self.config.relay_ports else {
            return vec!["in this process only, no ports (--relay-ports none)".to_owned()];
        };
        let note = |Chosen { address, .. }: &Chosen| {
            let note = if address.bind.is_unspecified() { " (on no interface here: 1:1 NAT)" } else { "" };
            format!("{}{note}", address.advertised)
        };
        let addresses: Vec<_> = self.relayed.iter().map(note).collect();
        if addresses.is_empty() {
            return vec!["nothing: this host has no address".to_owned()];
        }
        // --max-allocations may be more than there are ports.
        let allocations = self.max_allocations.min(self.config.relay_ports.count() * addresses.len());
        let addresses = addresses.join(" and ");
        vec![format!("{addresses}, UDP ports {first}-{last}, up to {allocations} allocations")]
    }

    /// How to trust a certificate of the local CA: at length when the CA is new.
    fn trust(&self) -> Option<String> {
        let CaFacts { file, fingerprint, is_new, .. } = self.certificate?.local_ca.as_ref()?;
        let ca = file.display();
        let sha256 = format!("SHA-256 {fingerprint}");
        if !is_new {
            return Some(format!(
                "  The certificate is of the local CA {ca}; browsers have to trust that once.\n  Its {sha256}\n"
            ));
        }
        // Where names are keys, a second server's CA must not meet the first one's.
        let name = format!("bimcc-rtc-{}", fingerprint.short());
        Some(format!(
            "  A local CA was made for this host: {ca}. Copy this file, and no other beside it,
  to every device that shall connect, and trust it there once. Its fingerprint, to be compared there:
    {sha256}
    Debian, Ubuntu  sudo cp {ca} /usr/local/share/ca-certificates/{name}.crt && sudo update-ca-certificates
    Fedora          sudo trust anchor {ca}
    Chrome, Linux   mkdir -p ~/.pki/nssdb && certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n {name} -i {ca}
    macOS           sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain {ca}
    Windows         certutil -addstore -f Root {ca}    (as administrator)
    Firefox         Settings > Privacy & Security > View Certificates > Authorities > Import
    Android         Settings > Security > Encryption & credentials > Install a certificate > CA certificate
    iOS             open the file, install the profile, then Settings > General > About > Certificate Trust Settings
"
        ))
    }

    /// Each doubtful thing in one line, with its remedy.
    fn doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        let config = self.config;
        let in_public = self.listen.iter().any(|listener| !listener.ip().is_loopback());
        let only_loopback = self.relayed.iter().all(|address| address.choice == Choice::OnlyLoopback);
        if config.dangerously_allow_loopback_peers {
            doubts.push(
                "Whoever has credentials reaches every UDP service on this host's loopback addresses: never run in \
                 public with --dangerously-allow-loopback-peers."
                    .to_owned(),
            );
        }
        if in_public && self.certificate.is_none() {
            doubts.push(
                "No TLS: except on localhost, browsers give no camera and microphone to this page. Add --tls."
                    .to_owned(),
            );
        }
        doubts.extend(self.certificate.and_then(|facts| self.certificate_doubt(facts)));
        if self.certificate.is_some_and(|facts| facts.is_ed25519) {
            doubts.push(
                "The certificate has an Ed25519 key, which browsers refuse: take one with an ECDSA or RSA key."
                    .to_owned(),
            );
        }
        doubts.extend(self.certificate.and_then(|facts| facts.chain_doubt.clone()));
        doubts.extend(self.certificate.and_then(|facts| facts.local_ca.as_ref()?.doubt.clone()));
        if only_loopback && config.relay_ports != RelayPorts::None {
            doubts.push(
                "This host has no address but loopback: nobody else can be relayed to. Connect it to a network, or \
                 give --public-ip."
                    .to_owned(),
            );
        }
        let advertised: Vec<_> = self.relayed.iter().map(|one| one.address.advertised).collect();
        if let Some(one) = advertised.iter().find(|one| net::is_464xlat(**one))
            && config.relay_ports != RelayPorts::None
        {
            doubts.push(format!(
                "Relaying IPv4 from {one}, which stands for a translator to IPv6 (464XLAT): nobody reaches it. Give a \
                 public IPv4 address with --public-ip, or let clients use IPv6."
            ));
        }
        // Beside a public IPv4 address a private IPv6 one does no harm.
        let public_v4 = advertised.iter().any(|one| one.is_ipv4() && !is_private(*one));
        let private = advertised.iter().filter(|one| is_private(**one) && !net::is_464xlat(**one));
        let private: Vec<_> = private.map(IpAddr::to_string).collect();
        if !private.is_empty() && !public_v4 && config.relay_ports != RelayPorts::None {
            doubts.push(format!(
                "Relaying from a private address ({}): out of reach from the Internet. On a VPS, give its public \
                 address with --public-ip.",
                private.join(", ")
            ));
        }
        if config.tls.is_some() && self.turns_listen.is_empty() && config.turns_port_is_default {
            doubts.push(format!(
                "TURN over TLS is served on the --listen port only: the usual one, {DEFAULT_TURNS_PORT}, is taken. \
                 Choose another with --turns-listen."
            ));
        }
        doubts.extend(self.unused_certificate.clone());
        if config.admin_listen_is_default && self.admin_listen.port() != config.admin_listen.port() {
            doubts.push(format!(
                "Port {} is taken, perhaps by another server: metrics and operators' API are at {}. Choose a port with \
                 --admin-listen.",
                config.admin_listen.port(),
                self.admin_listen
            ));
        }
        // Chromium takes 53, 80 and 443, and none else below 1024.
        for listener in self.turn_listen {
            let port = listener.port();
            let text = format!(
                "Chromium ignores TURN servers on port {port}: use 53, 80, 443 or one from 1024 on in --turn-listen."
            );
            if port < 1024 && ![53, 80, 443].contains(&port) && !doubts.contains(&text) {
                doubts.push(text);
            }
        }
        if config.peer_policy == PeerPolicy::Any {
            doubts.push(
                "Every member reaches every address that this host reaches, private ones too (--peer-policy any)."
                    .to_owned(),
            );
        }
        if config.api_peer_policy == ApiPeerPolicy::Any {
            doubts.push(
                "Minted credentials reach every address that this host reaches, private ones too (--api-peer-policy \
                 any)."
                    .to_owned(),
            );
        }
        doubts.extend(self.files_doubt());
        if let SecretSource::Given(secrets) = &config.secrets
            && secrets.iter().any(|secret| secret.expose().len() < SHORT_SECRET_BYTES)
        {
            doubts.push(format!(
                "A TURN secret of less than {SHORT_SECRET_BYTES} bytes can be guessed from one credential: take a \
                 longer one, e.g. of openssl rand -hex 32."
            ));
        }
        if !self.exposed.is_empty() {
            let remedies: Vec<_> = self.exposed.iter().map(ToString::to_string).collect();
            doubts.push(format!(
                "Other users of this machine have access to what should be secret: {}",
                remedies.join("; ")
            ));
        }
        doubts
    }

    fn max_websockets(&self) -> usize {
        self.config.max_websockets.unwrap_or(self.shares.web_sockets)
    }

    fn files_doubt(&self) -> Option<String> {
        let Shares { pool, .. } = *self.shares;
        let allocations = if self.config.relay_ports == RelayPorts::None { 0 } else { self.max_allocations };
        let wanted: Vec<_> = [("--max-allocations", allocations), ("--max-websockets", self.max_websockets())]
            .into_iter()
            .filter(|(_, wanted)| *wanted > pool)
            .map(|(flag, wanted)| format!("{flag} {wanted}"))
            .collect();
        let remedy = "raise the limit (LimitNOFILE= of a service, ulimit -n, --ulimit nofile= of a container).";
        if !wanted.is_empty() {
            let wanted = wanted.join(" and ");
            return Some(format!(
                "Only {} files may be open, {pool} of them by members and their allocations, which is less than \
                 {wanted}: {remedy}",
                self.files
            ));
        }
        (self.files < FEW_FILES).then(|| {
            format!(
                "Only {} files may be open: up to {} allocations and {} WebSockets, {pool} together. For more, {remedy}",
                self.files,
                self.max_allocations,
                self.max_websockets()
            )
        })
    }

    fn limits(&self) -> String {
        let of_one = match self.config.max_websockets_per_ip {
            Some(of_one) => format!("{of_one}"),
            None => "half of them".to_owned(),
        };
        format!("up to {} WebSockets, {of_one} from one address; {} files", self.max_websockets(), self.files)
    }

    fn certificate_doubt(&self, facts: &CertificateFacts) -> Option<String> {
        let Ok(left) = facts.not_after.duration_since(self.now) else {
            return Some("The certificate has expired: browsers refuse it. Renew it; no restart is needed.".to_owned());
        };
        let when = match left.as_secs() / 86400 {
            0 => "within a day".to_owned(),
            1 => "in 1 day".to_owned(),
            days => format!("in {days} days"),
        };
        (left < ENDS_SOON).then(|| format!("The certificate ends {when}. Renew it; no restart is needed."))
    }
}

fn is_local(url: &str) -> bool {
    url.contains("://localhost")
}

/// Addresses that the Internet does not route. Loopback has a line of its own.
fn is_private(ip: IpAddr) -> bool {
    match ip {
        // 100.64.0.0/10: RFC 6598, carrier-grade NAT.
        IpAddr::V4(v4) => {
            v4.is_private() || v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64 || net::is_464xlat(ip)
        }
        IpAddr::V6(ip) => ip.is_unique_local(),
    }
}

/// Black on white whatever the colours of the terminal; without colours for a dark one, as most are.
fn qr_code(url: &str, style: Style) -> String {
    let Ok(code) = QrCode::with_error_correction_level(url, qrcode::EcLevel::L) else { return String::new() };
    let mut renderer = code.render::<Dense1x2>();
    if !style.color {
        renderer.dark_color(Dense1x2::Light).light_color(Dense1x2::Dark);
    }
    let mut out = String::new();
    for line in renderer.build().lines() {
        let _ = writeln!(out, "  {}", style.paint("30;107", line));
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests;
