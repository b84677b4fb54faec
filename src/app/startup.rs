//! The text that the server prints when it is ready: where to open it, what it serves, and each doubtful thing with its
//! remedy.
//!
//! [`text`] makes it from facts. [`print()`] writes it to standard output; logs go to standard error.

use std::{
    collections::HashSet,
    fmt::Write as _,
    io::{self, IsTerminal, Write as _},
    net::{IpAddr, SocketAddr},
    time::SystemTime,
};

use qrcode::{QrCode, render::unicode::Dense1x2};

use super::{listen::Addresses, plan::Plan};
use crate::{
    config::DEFAULT_TURNS_PORT,
    net::Chosen,
    tls::CaFacts,
    values::{host::Host, ports::RelayPorts},
};

/// What is true once everything is bound.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    /// The plan.
    pub(super) plan: &'a Plan,
    /// The addresses at which it is served.
    pub(super) addresses: &'a Addresses,
    /// The current time.
    pub(super) now: SystemTime,
}

/// How the text may look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Style {
    /// Whether to use ANSI colours.
    pub(super) color: bool,
    /// Whether to print a QR code for phones.
    pub(super) qr_code: bool,
}

impl Style {
    /// The style that standard output can show.
    pub(super) fn of_stdout() -> Self {
        let terminal = io::stdout().is_terminal();
        Self { color: terminal && std::env::var_os("NO_COLOR").is_none(), qr_code: terminal }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Prints [`text`]. A closed standard output is no reason to stop.
pub(super) fn print(facts: &Facts<'_>) {
    let _closed = io::stdout().write_all(text(facts, Style::of_stdout()).as_bytes());
    let _closed = io::stdout().flush();
}

/// The whole text.
pub(super) fn text(facts: &Facts<'_>, style: Style) -> String {
    let mut out = format!("\n  {}\n\n", style.paint("1", &format!("bimcc-rtc {}", env!("CARGO_PKG_VERSION"))));
    let urls = facts.urls();
    // Tall things come first: the addresses must be visible at the end of the text, also in a terminal of 24 lines.
    if let Some(url) = urls.iter().find(|url| !is_local(url)).filter(|_| style.qr_code) {
        out.push_str(&qr_code(url, style));
    }
    if let Some(help) = facts.trust() {
        let _ = writeln!(out, "{help}");
    }
    for (label, values) in [
        ("Open", urls.clone()),
        ("STUN", facts.turn_urls(&facts.addresses.turn_listen, "stun", "")),
        ("TURN", facts.all_turn_urls()),
        ("Relay", facts.relay()),
        ("Limits", vec![facts.limits()]),
        ("Metrics", vec![format!("http://{}/metrics", facts.addresses.admin_listen)]),
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
            if let Some(host) = &self.plan.config.public_host {
                add(host.to_string(), port);
            }
            if ip.is_unspecified() {
                let same_family = |other: &IpAddr| other.is_ipv4() == ip.is_ipv4();
                for ip in self
                    .plan
                    .config
                    .public_ips
                    .iter()
                    .copied()
                    .chain(self.plan.interfaces.reachable())
                    .filter(same_family)
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
        let (scheme, default_port) =
            if self.plan.kept.certificate.as_ref().is_some() { ("https", 443) } else { ("http", 80) };
        let url = |(host, port)| match port {
            port if port == default_port => format!("{scheme}://{host}/"),
            _ => format!("{scheme}://{host}:{port}/"),
        };
        self.hosts(&self.addresses.listen).into_iter().map(url).collect()
    }

    /// The two best ones are enough, because iceServers tell each client the right one anyway.
    fn turn_urls(&self, listeners: &[SocketAddr], scheme: &str, transport: &str) -> Vec<String> {
        let hosts = self.hosts(listeners);
        hosts.into_iter().take(2).map(|(host, port)| format!("{scheme}:{host}:{port}{transport}")).collect()
    }

    fn all_turn_urls(&self) -> Vec<String> {
        let mut urls = self.turn_urls(&self.addresses.turn_listen, "turn", "?transport=udp");
        let first = |listeners, scheme| self.turn_urls(listeners, scheme, "?transport=tcp").into_iter().next();
        urls.extend(first(&self.addresses.turn_listen, "turn"));
        let scheme = if self.plan.kept.certificate.as_ref().is_some() { "turns" } else { "turn" };
        urls.extend(first(&self.addresses.turns_listen, "turns"));
        urls.extend(first(&self.addresses.listen, scheme));
        // One address may serve several flags.
        let mut seen = HashSet::new();
        urls.retain(|url| seen.insert(url.clone()));
        urls
    }

    fn relay(&self) -> Vec<String> {
        let RelayPorts::Range { first, last } = self.plan.config.relay_ports else {
            return vec!["in this process only, no ports (--relay-ports none)".to_owned()];
        };
        let note = |Chosen { address, .. }: &Chosen| {
            let note = if address.bind.is_unspecified() { " (on no interface here: 1:1 NAT)" } else { "" };
            format!("{}{note}", address.advertised)
        };
        let addresses: Vec<_> = self.plan.relayed.iter().map(note).collect();
        if addresses.is_empty() {
            return vec!["nothing: this host has no address".to_owned()];
        }
        // --max-allocations may be more than there are ports.
        let allocations =
            self.plan.capacity.max_allocations.min(self.plan.config.relay_ports.count() * addresses.len());
        let addresses = addresses.join(" and ");
        vec![format!("{addresses}, UDP ports {first}-{last}, up to {allocations} allocations")]
    }

    /// How to trust a certificate of the local CA, in detail if the CA is new.
    fn trust(&self) -> Option<String> {
        let CaFacts { file, fingerprint, is_new, .. } = self.plan.kept.certificate.as_ref()?.local_ca.as_ref()?;
        let ca = file.display();
        let sha256 = format!("SHA-256 {fingerprint}");
        if !is_new {
            return Some(format!(
                "  The certificate is of the local CA {ca}; browsers have to trust that once.\n  Its {sha256}\n"
            ));
        }
        // Some systems store CAs by name, so the CAs of two servers must not have the same name.
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

    /// What is doubtful about the plan, and about what could not be bound.
    fn doubts(&self) -> Vec<String> {
        let (config, addresses) = (&self.plan.config, self.addresses);
        let mut doubts = self.plan.doubts(self.now);
        if config.tls.is_some() && addresses.turns_listen.is_empty() && config.turns_port_is_default {
            doubts.push(format!(
                "TURN over TLS is served on the --listen port only: the usual one, {DEFAULT_TURNS_PORT}, is taken. \
                 Choose another with --turns-listen."
            ));
        }
        if config.admin_listen_is_default && addresses.admin_listen.port() != config.admin_listen.port() {
            doubts.push(format!(
                "Port {} is taken, perhaps by another server: metrics and operators' API are at {}. Choose a port with \
                 --admin-listen.",
                config.admin_listen.port(),
                addresses.admin_listen
            ));
        }
        doubts
    }

    fn limits(&self) -> String {
        let of_one = match self.plan.config.max_websockets_per_ip {
            Some(of_one) => format!("{of_one}"),
            None => "half of them".to_owned(),
        };
        format!(
            "up to {} WebSockets, {of_one} from one address; {} files",
            self.plan.max_websockets(),
            self.plan.capacity.files
        )
    }
}

fn is_local(url: &str) -> bool {
    url.contains("://localhost")
}

/// The code is black on white, whatever the colours of the terminal. Without colours, it is made for a dark terminal,
/// as most are.
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
