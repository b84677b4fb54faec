//! What is doubtful about a plan: each thing in one line, with its remedy.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    time::{Duration, SystemTime},
};

use super::Plan;
use crate::{
    app::{capacity::FileShares, kept::SHORT_SECRET_BYTES},
    config::{ApiPeerPolicy, MemberPeerPolicy},
    net::{self, Choice},
    tls::CertificateFacts,
    values::ports::RelayPorts,
};

/// Let's Encrypt renews 30 days ahead: if less than half of that is left, renewal does not work.
const ENDS_SOON: Duration = Duration::from_secs(14 * 86400);
/// With fewer files there is not enough for a school class and its calls.
const FEW_FILES: usize = 1024;

impl Plan {
    /// Each doubtful thing in one line, with its remedy.
    pub(in crate::app) fn doubts(&self, now: SystemTime) -> Vec<String> {
        let config = &self.config;
        let mut doubts = Vec::new();
        if config.dangerously_allow_loopback_peers {
            doubts.push(
                "Whoever has credentials reaches every UDP service on this host's loopback addresses: never run in \
                 public with --dangerously-allow-loopback-peers."
                    .to_owned(),
            );
        }
        let in_public = config.listen.iter().any(|listener| !listener.ip().is_loopback());
        if in_public && self.kept.certificate.is_none() {
            doubts.push(
                "No TLS: except on localhost, browsers give no camera and microphone to this page. Add --tls."
                    .to_owned(),
            );
        }
        doubts.extend(self.kept.certificate.iter().flat_map(|facts| certificate_doubts(facts, now)));
        if config.relay_ports != RelayPorts::None {
            doubts.extend(self.relay_doubts());
        }
        doubts.extend(self.kept.unused_certificate.clone());
        doubts.extend(self.port_doubts());
        if config.peer_policy == MemberPeerPolicy::Any {
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
        if self.kept.has_short_secret {
            doubts.push(format!(
                "A TURN secret of less than {SHORT_SECRET_BYTES} bytes can be guessed from one credential: take a \
                 longer one, e.g. of openssl rand -hex 32."
            ));
        }
        if !self.kept.exposed.is_empty() {
            let remedies: Vec<_> = self.kept.exposed.iter().map(ToString::to_string).collect();
            doubts.push(format!(
                "Other users of this machine have access to what should be secret: {}",
                remedies.join("; ")
            ));
        }
        doubts
    }

    fn relay_doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        if self.relayed.iter().all(|one| one.choice == Choice::OnlyLoopback) {
            doubts.push(
                "This host has no address but loopback: nobody else can be relayed to. Connect it to a network, or \
                 give --public-ip."
                    .to_owned(),
            );
        }
        let advertised: Vec<_> = self.relayed.iter().map(|one| one.address.advertised).collect();
        if let Some(one) = advertised.iter().find(|one| net::is_464xlat(**one)) {
            doubts.push(format!(
                "Relaying IPv4 from {one}, which stands for a translator to IPv6 (464XLAT): nobody reaches it. Give a \
                 public IPv4 address with --public-ip, or let clients use IPv6."
            ));
        }
        // A private IPv6 address in addition to a public IPv4 address does no harm.
        let public_v4 = advertised.iter().any(|one| one.is_ipv4() && !is_private(*one));
        let private = advertised.iter().filter(|one| is_private(**one) && !net::is_464xlat(**one));
        let private: Vec<_> = private.map(IpAddr::to_string).collect();
        if !private.is_empty() && !public_v4 {
            doubts.push(format!(
                "Relaying from a private address ({}): out of reach from the Internet. On a VPS, give its public \
                 address with --public-ip.",
                private.join(", ")
            ));
        }
        doubts
    }

    /// Below 1024, Chromium accepts only ports 53, 80 and 443.
    fn port_doubts(&self) -> Vec<String> {
        let ports = self.config.turn_listen.iter().map(SocketAddr::port);
        let ports: BTreeSet<_> =
            ports.filter(|port| (1..1024).contains(port) && ![53, 80, 443].contains(port)).collect();
        let doubt = |port| {
            format!(
                "Chromium ignores TURN servers on port {port}: use 53, 80, 443 or one from 1024 on in --turn-listen."
            )
        };
        ports.into_iter().map(doubt).collect()
    }

    fn files_doubt(&self) -> Option<String> {
        let FileShares { pool, .. } = self.capacity.shares;
        let allocations = if self.config.relay_ports == RelayPorts::None { 0 } else { self.capacity.max_allocations };
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
                self.capacity.files
            ));
        }
        (self.capacity.files < FEW_FILES).then(|| {
            format!(
                "Only {} files may be open: up to {} allocations and {} WebSockets, {pool} together. For more, {remedy}",
                self.capacity.files,
                self.capacity.max_allocations,
                self.max_websockets()
            )
        })
    }
}

fn certificate_doubts(facts: &CertificateFacts, now: SystemTime) -> Vec<String> {
    let ed25519 = "The certificate has an Ed25519 key, which browsers refuse: take one with an ECDSA or RSA key.";
    let doubts = [
        end_doubt(facts, now),
        facts.is_ed25519.then(|| ed25519.to_owned()),
        facts.chain_doubt.clone(),
        facts.local_ca.as_ref().and_then(|ca| ca.doubt.clone()),
    ];
    doubts.into_iter().flatten().collect()
}

fn end_doubt(facts: &CertificateFacts, now: SystemTime) -> Option<String> {
    let Ok(left) = facts.not_after.duration_since(now) else {
        return Some("The certificate has expired: browsers refuse it. Renew it; no restart is needed.".to_owned());
    };
    let when = match left.as_secs() / 86400 {
        0 => "within a day".to_owned(),
        1 => "in 1 day".to_owned(),
        days => format!("in {days} days"),
    };
    (left < ENDS_SOON).then(|| format!("The certificate ends {when}. Renew it; no restart is needed."))
}

/// Addresses that the Internet does not route. Loopback addresses have their own doubt.
fn is_private(ip: IpAddr) -> bool {
    match ip {
        // 100.64.0.0/10: RFC 6598, carrier-grade NAT.
        IpAddr::V4(v4) => {
            v4.is_private() || v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64 || net::is_464xlat(ip)
        }
        IpAddr::V6(ip) => ip.is_unique_local(),
    }
}
