//! A certificate authority for this host only, for LANs and trials, where no public CA can certify the names.
//!
//! Its files are in the directory of the certificate: `ca.pem` (which people must trust), `ca-key.pem` (which never
//! leaves this host), and the leaf `cert.pem` with `key.pem`. People who trust it should risk little if its key leaks:
//! name constraints permit only this host's names, private addresses and this host's public addresses, and it cannot
//! certify another CA. Some verifiers refuse constraints on addresses, or all constraints. For them, a CA can be made
//! without constraints on addresses, and with the others not critical.
//!
//! The leaf is issued again when it will expire soon, is dated in the future, or lacks a name or address. The CA itself
//! is made again only at a start, when its constraints no longer cover this host; people must then trust the new one.
//!
//! Existing files that this program has not made are never touched.

use std::{
    fmt, fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, PublicKeyData,
    SanType, SerialNumber,
};
use ring::{
    digest,
    rand::{SecureRandom, SystemRandom},
};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate, X509Name};

use crate::{
    disk::{self, Exposed},
    values::{host::Host, tls_files::TlsFiles},
};

const DAY: Duration = Duration::from_secs(86400);
/// Browsers accept no leaf for longer than 398 days. One day of it is in the past, for clocks that are slow.
const LEAF_LIFE: Duration = Duration::from_secs(390 * 86400);
/// A server that keeps running must renew it in time, and so must one that is started only once a month.
const LEAF_RENEWAL: Duration = Duration::from_secs(60 * 86400);
const CA_LIFE: Duration = Duration::from_secs(3650 * 86400);
/// No leaf may outlive its CA.
const CA_RENEWAL: Duration = LEAF_LIFE.saturating_add(DAY);
/// The beginning of 2024, which is before this program: a clock that shows an earlier time is wrong. CAs are valid from
/// then on, whatever the clock says when they are made, because people trust them for longer than a clock stays wrong.
const EPOCH: Duration = Duration::from_secs(1_704_067_200);

/// The beginning of the name of every local CA.
const CA_NAME: &str = "bimcc-rtc local CA";

/// The names and addresses that a certificate is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostNames {
    /// DNS names, in lower case.
    pub names: Vec<String>,
    /// Addresses.
    pub addresses: Vec<IpAddr>,
}

impl HostNames {
    /// Everything by which this host may be reached: its own names and loopback, and the given host and addresses.
    pub fn of(public_host: Option<&Host>, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let host_name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        let mut host = Self::default();
        host.add_name("localhost");
        if let Some(name) = host_name.as_deref().and_then(Host::parse) {
            let name = name.to_string();
            let short = name.split('.').next().unwrap_or_default();
            for name in [name.as_str(), short, &format!("{short}.local")] {
                host.add_name(name);
            }
        }
        if let Some(public_host) = public_host.map(Host::to_string) {
            match public_host.trim_matches(['[', ']']).parse() {
                Ok(address) => host.add_address(address),
                Err(_) => host.add_name(&public_host),
            }
        }
        host.add_address(Ipv4Addr::LOCALHOST.into());
        host.add_address(Ipv6Addr::LOCALHOST.into());
        for address in addresses {
            host.add_address(address);
        }
        host
    }

    fn add_name(&mut self, name: &str) {
        // An address among the names, or a name with a space, would make the whole certificate invalid.
        let name = name.trim_end_matches('.');
        let is_address = name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        let is_name = Host::parse(name).is_some() && !is_address;
        if is_name && !self.names.iter().any(|known| known == name) {
            self.names.push(name.to_owned());
        }
    }

    fn add_address(&mut self, address: IpAddr) {
        // Link-local IPv6 needs a zone, which URLs cannot carry.
        let in_urls = match address {
            IpAddr::V4(ip) => !ip.is_unspecified(),
            IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_unicast_link_local(),
        };
        if in_urls && !self.addresses.contains(&address) {
            self.addresses.push(address);
        }
    }
}

/// The SHA-256 of a certificate, as devices show it, so that people can compare it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    fn of(certificate: &CertificateDer<'_>) -> Self {
        let mut sum = [0; 32];
        sum.copy_from_slice(digest::digest(&digest::SHA256, certificate).as_ref());
        Self(sum)
    }

    /// The beginning, enough to distinguish a few CAs.
    pub fn short(&self) -> String {
        self.0[..4].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl From<[u8; 32]> for Fingerprint {
    fn from(sum: [u8; 32]) -> Self {
        Self(sum)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs: Vec<_> = self.0.iter().map(|byte| format!("{byte:02X}")).collect();
        f.write_str(&pairs.join(":"))
    }
}

/// The local CA, for people to trust.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaFacts {
    /// Its certificate.
    pub file: PathBuf,
    /// The fingerprint that every device must show for it.
    pub fingerprint: Fingerprint,
    /// Whether it was made just now, so that nobody trusts it yet.
    pub is_new: bool,
    /// What to do if it is not of the kind that was asked for.
    pub doubt: Option<String>,
}

/// The outcome of [`ensure`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Made {
    pub(super) ca: CaFacts,
    /// Whether the leaf was issued just now.
    pub(super) leaf_is_new: bool,
}

/// Why no certificate could be made.
#[derive(Debug, thiserror::Error)]
pub enum LocalCaError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error(
        "cannot write {path}: this user has to be able to, else choose another --state-dir, or give a certificate of your \
         own by --tls-cert and --tls-key"
    )]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A file that this program has not made is in the place of one of its own.
    #[error("{path} is not a file of this program's local CA: move it away, or use --tls-cert and --tls-key")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A certificate cannot be made, for example because X.509 does not allow a name.
    #[error("cannot make a certificate")]
    Make(#[from] rcgen::Error),
}

/// Decides whether the CA may be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// At a start, when somebody reads how to trust a new CA.
    Start,
    /// While running: the CA stays, and names outside its constraints are left out.
    Running,
}

/// Whether [`ensure`] must make these files or renew them.
pub(super) fn will_make(files: &TlsFiles) -> bool {
    let paths = Paths::of(files);
    // A file that cannot be checked counts as existing.
    let exists = |path: &Path| path.try_exists().unwrap_or(true);
    match (exists(&paths.cert), exists(&paths.key)) {
        (false, false) => true,
        (true, _) => is_ours(&paths),
        // A start was interrupted between key and certificate.
        (false, true) => certificate(&paths.ca).is_some_and(|ca| is_local_ca(&ca)),
    }
}

/// The keys of the local CA to which others have access. Keys that people have provided themselves are not checked,
/// because a group may read them on purpose.
pub(super) fn exposed(files: &TlsFiles) -> Vec<Exposed> {
    let paths = Paths::of(files);
    Exposed::among([paths.ca_key.as_path(), &paths.key])
}

/// Whether the local CA in the same directory issued the leaf.
fn is_ours(paths: &Paths) -> bool {
    let (Some(ca), Some(cert)) = (certificate(&paths.ca), certificate(&paths.cert)) else { return false };
    match (X509Certificate::from_der(&ca), X509Certificate::from_der(&cert)) {
        (Ok((_, parsed)), Ok((_, cert))) => is_local_ca(&ca) && cert.issuer().as_raw() == parsed.subject().as_raw(),
        _ => false,
    }
}

/// Whether a certificate is a local CA, by its name.
fn is_local_ca(certificate: &CertificateDer<'_>) -> bool {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return false };
    names_ours(parsed.subject())
}

/// Whether a name is that of a local CA.
pub(super) fn names_ours(name: &X509Name<'_>) -> bool {
    name.iter_common_name().any(|name| name.as_str().is_ok_and(|name| name.starts_with(CA_NAME)))
}

fn certificate(path: &Path) -> Option<CertificateDer<'static>> {
    CertificateDer::from_pem_slice(&disk::read_regular(path).ok()?).ok()
}

/// Makes what is missing, renews what is no longer valid, and leaves the rest alone.
pub(super) fn ensure(
    files: &TlsFiles,
    host: &HostNames,
    now: SystemTime,
    moment: Moment,
) -> Result<Made, LocalCaError> {
    let paths = Paths::of(files);
    fs::create_dir_all(&paths.dir).map_err(|source| LocalCaError::Write { path: paths.dir.clone(), source })?;
    let (ca, ca_is_new) =
        match Ca::read(&paths)?.filter(|ca| ca.is_good(now) && (moment == Moment::Running || ca.covers(host))) {
            Some(ca) => (ca, false),
            None => (Ca::make(&paths, host, files.local_ca_any_ip, now)?, true),
        };
    let host = ca.covered(host);
    let key = leaf_key(&paths.key)?;
    let leaf_is_new = !leaf_is_good(&paths, &ca, &key, &host, now)?;
    if leaf_is_new {
        let leaf = ca.issue(&key, &host, now)?;
        write(&paths.cert, leaf.as_bytes(), 0o644)?;
    }
    let fingerprint = Fingerprint::of(&ca.certificate);
    let doubt = ca.doubt(&paths, files.local_ca_any_ip);
    Ok(Made { ca: CaFacts { file: paths.ca, fingerprint, is_new: ca_is_new, doubt }, leaf_is_new })
}

struct Paths {
    dir: PathBuf,
    ca: PathBuf,
    ca_key: PathBuf,
    cert: PathBuf,
    key: PathBuf,
}

impl Paths {
    fn of(files: &TlsFiles) -> Self {
        let dir = files.cert.parent().unwrap_or(Path::new("")).to_owned();
        Self {
            ca: dir.join("ca.pem"),
            ca_key: dir.join("ca-key.pem"),
            cert: files.cert.clone(),
            key: files.key.clone(),
            dir,
        }
    }
}

/// The CA, with what its certificate permits.
struct Ca {
    certificate: CertificateDer<'static>,
    key: KeyPair,
    not_after: SystemTime,
    permitted_names: Vec<String>,
    /// An empty list permits all.
    permitted_networks: Vec<IpNet>,
}

impl Ca {
    /// The CA on the disk; `None` if it is missing, or if its files do not belong together (after a crash between the
    /// two).
    fn read(paths: &Paths) -> Result<Option<Self>, LocalCaError> {
        let foreign = |path: &Path| Err(LocalCaError::Foreign { path: path.to_owned() });
        let (cert, key) = (read(&paths.ca)?, read(&paths.ca_key)?);
        let Some(cert) = cert else {
            // The certificate is written first.
            return if key.is_some() { foreign(&paths.ca_key) } else { Ok(None) };
        };
        let Some(certificate) = CertificateDer::from_pem_slice(&cert).ok().filter(is_local_ca) else {
            return foreign(&paths.ca);
        };
        let key = key.and_then(|key| KeyPair::from_pem(std::str::from_utf8(&key).ok()?).ok());
        Ok(key.and_then(|key| Self::of(certificate, key)))
    }

    fn of(certificate: CertificateDer<'static>, key: KeyPair) -> Option<Self> {
        let parsed = X509Certificate::from_der(&certificate).ok()?.1;
        if parsed.public_key().raw != key.subject_public_key_info() {
            return None;
        }
        let not_after = system_time(parsed.validity().not_after.timestamp());
        let mut permitted_names = Vec::new();
        let mut permitted_networks = Vec::new();
        for subtree in parsed.name_constraints().ok()??.value.permitted_subtrees.iter().flatten() {
            match &subtree.base {
                GeneralName::DNSName(name) => permitted_names.push((*name).to_owned()),
                GeneralName::IPAddress(bytes) => permitted_networks.push(network(bytes)?),
                _ => {}
            }
        }
        Some(Self { not_after, key, permitted_names, permitted_networks, certificate })
    }

    fn make(paths: &Paths, host: &HostNames, any_ip: bool, now: SystemTime) -> Result<Self, LocalCaError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        let name = host.names.iter().find(|name| *name != "localhost").map_or("localhost", String::as_str);
        let id: String = random::<4>().iter().map(|byte| format!("{byte:02x}")).collect();
        // People see only the name in their browser's list of authorities, and it must be unique.
        params.distinguished_name = distinguished_name(&format!("{CA_NAME} {id} of {name}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        // For a CA this is a limit: nothing that it signs is valid for code or mail.
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.serial_number = Some(serial_number());
        let epoch = SystemTime::UNIX_EPOCH + EPOCH;
        params.not_before = epoch.into();
        params.not_after = (now.max(epoch) + CA_LIFE).into();
        if any_ip {
            params.custom_extensions.push(lenient_constraints(&host.names));
        } else {
            let names = host.names.iter().cloned().map(GeneralSubtree::DnsName);
            let networks = permitted_networks(host).into_iter().map(|network| {
                GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(network.network(), network.prefix_len()))
            });
            params.name_constraints = Some(NameConstraints {
                permitted_subtrees: names.chain(networks).collect(),
                excluded_subtrees: Vec::new(),
            });
        }
        let certificate = params.self_signed(&key)?;
        write(&paths.ca, certificate.pem().as_bytes(), 0o644)?;
        write(&paths.ca_key, key.serialize_pem().as_bytes(), 0o600)?;
        Ok(Self::of(certificate.der().clone(), key).expect("what was just made can be read"))
    }

    fn is_good(&self, now: SystemTime) -> bool {
        self.not_after > now + CA_RENEWAL
    }

    fn is_for_any_ip(&self) -> bool {
        self.permitted_networks.is_empty()
    }

    /// A CA that people already trust stays, whatever the flag says now.
    fn doubt(&self, paths: &Paths, any_ip: bool) -> Option<String> {
        if self.is_for_any_ip() == any_ip {
            return None;
        }
        let (ca, kind) = (
            paths.ca.display(),
            if any_ip {
                "has IP constraints, and --local-ca-any-ip does not change it"
            } else {
                "was made with --local-ca-any-ip: it has no IP constraints"
            },
        );
        Some(format!(
            "The local CA {ca} {kind}. To have it made anew, and to trust the new one on each device, delete {ca}, {}, {} \
             and {} and start again.",
            paths.ca_key.display(),
            paths.cert.display(),
            paths.key.display(),
        ))
    }

    fn covers(&self, host: &HostNames) -> bool {
        self.covered(host) == *host
    }

    /// The part of `host` that the constraints permit.
    fn covered(&self, host: &HostNames) -> HostNames {
        let permits_name = |name: &&String| {
            self.permitted_names.iter().any(|permitted| {
                name.strip_suffix(permitted.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            })
        };
        let permits_address =
            |ip: &&IpAddr| self.is_for_any_ip() || self.permitted_networks.iter().any(|network| network.contains(*ip));
        HostNames {
            names: host.names.iter().filter(permits_name).cloned().collect(),
            addresses: host.addresses.iter().filter(permits_address).copied().collect(),
        }
    }

    fn issue(&self, key: &KeyPair, host: &HostNames, now: SystemTime) -> Result<String, LocalCaError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = distinguished_name("bimcc-rtc server");
        params.subject_alt_names =
            host.names.iter().map(|name| name.as_str().try_into().map(SanType::DnsName)).collect::<Result<_, _>>()?;
        params.subject_alt_names.extend(host.addresses.iter().copied().map(SanType::IpAddress));
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        // Firefox refuses two certificates of one issuer with the same number.
        params.serial_number = Some(serial_number());
        let now = now.max(SystemTime::UNIX_EPOCH + EPOCH);
        params.not_before = (now - DAY).into();
        params.not_after = (now + LEAF_LIFE).into();
        let issuer = Issuer::from_ca_cert_der(&self.certificate, &self.key)?;
        Ok(params.signed_by(key, &issuer)?.pem())
    }
}

/// Whether the leaf on disk can stay.
fn leaf_is_good(
    paths: &Paths,
    ca: &Ca,
    key: &KeyPair,
    host: &HostNames,
    now: SystemTime,
) -> Result<bool, LocalCaError> {
    let Some(pem) = read(&paths.cert)? else { return Ok(false) };
    let Ok(leaf) = CertificateDer::from_pem_slice(&pem) else { return Ok(false) };
    let (Ok((_, leaf)), Ok((_, ca))) = (X509Certificate::from_der(&leaf), X509Certificate::from_der(&ca.certificate))
    else {
        return Ok(false);
    };
    Ok(leaf.verify_signature(Some(ca.public_key())).is_ok()
        && leaf.public_key().raw == key.subject_public_key_info()
        && system_time(leaf.validity().not_after.timestamp()) > now + LEAF_RENEWAL
        && !is_of_tomorrow(&leaf, now)
        && certifies(&leaf, host))
}

/// Whether a certificate was issued while the clock was ahead, and the clock has been set back since. A clock that is
/// certainly behind says nothing about certificates.
fn is_of_tomorrow(certificate: &X509Certificate<'_>, now: SystemTime) -> bool {
    now >= SystemTime::UNIX_EPOCH + EPOCH && system_time(certificate.validity().not_before.timestamp()) > now
}

/// Whether all of `host` is among the alternative names.
fn certifies(leaf: &X509Certificate<'_>, host: &HostNames) -> bool {
    let alternatives = leaf.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
        _ => None,
    });
    let Some(alternatives) = alternatives else { return false };
    let has_name =
        |name: &String| alternatives.iter().any(|one| matches!(one, GeneralName::DNSName(dns) if dns == name));
    let has_address = |ip: &IpAddr| {
        let octets = match ip {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        alternatives.iter().any(|one| matches!(one, GeneralName::IPAddress(bytes) if *bytes == octets))
    };
    host.names.iter().all(has_name) && host.addresses.iter().all(has_address)
}

/// The leaf's key stays the same over renewals, so that certificate and key match at every moment.
fn leaf_key(path: &Path) -> Result<KeyPair, LocalCaError> {
    if let Some(pem) = read(path)? {
        let key = std::str::from_utf8(&pem).ok().and_then(|pem| KeyPair::from_pem(pem).ok());
        return key.ok_or_else(|| LocalCaError::Foreign { path: path.to_owned() });
    }
    let key = KeyPair::generate()?;
    write(path, key.serialize_pem().as_bytes(), 0o600)?;
    Ok(key)
}

/// Constraints on names alone (RFC 5280 section 4.2.1.10), not critical: a verifier that knows them still obeys them,
/// and one that does not know them can still verify.
fn lenient_constraints(names: &[String]) -> CustomExtension {
    const OID: [u64; 4] = [2, 5, 29, 30];
    const SEQUENCE: u8 = 0x30;
    const PERMITTED_SUBTREES: u8 = 0xA0;
    const DNS_NAME: u8 = 0x82;
    let subtrees = names.iter().flat_map(|name| der(SEQUENCE, &der(DNS_NAME, name.as_bytes()))).collect::<Vec<_>>();
    CustomExtension::from_oid_content(&OID, der(SEQUENCE, &der(PERMITTED_SUBTREES, &subtrees)))
}

/// One value in DER (X.690 section 8.1), of less than 64 KiB.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len()).expect("a host has few names").to_be_bytes();
    let length = match (high, low) {
        (0, 0..0x80) => vec![low],
        (0, _) => vec![0x81, low],
        _ => vec![0x82, high, low],
    };
    [&[tag], &length[..], content].concat()
}

/// Private ranges of both families, so that the CA outlives a change of network, and this host's other addresses. An
/// IPv6 host changes its addresses within its network all the time, so the whole network is permitted there.
fn permitted_networks(host: &HostNames) -> Vec<IpNet> {
    let mut networks: Vec<IpNet> = [
        (IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0)), 8),
        (Ipv4Addr::new(172, 16, 0, 0).into(), 12),
        (Ipv4Addr::new(192, 168, 0, 0).into(), 16),
        (Ipv4Addr::new(100, 64, 0, 0).into(), 10),
        (Ipv4Addr::new(169, 254, 0, 0).into(), 16),
        (Ipv4Addr::new(127, 0, 0, 0).into(), 8),
        (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0).into(), 7),
        (Ipv6Addr::LOCALHOST.into(), 128),
    ]
    .into_iter()
    .map(|(address, prefix_len)| IpNet::new(address, prefix_len).expect("the prefixes fit their families"))
    .collect();
    for address in &host.addresses {
        if !networks.iter().any(|network| network.contains(address)) {
            networks.push(match address {
                IpAddr::V4(ip) => IpNet::from(IpAddr::V4(*ip)),
                IpAddr::V6(ip) => Ipv6Net::new(*ip, 64).expect("64 bits fit").trunc().into(),
            });
        }
    }
    networks
}

/// An address and its mask, as in name constraints (RFC 5280 section 4.2.1.10).
fn network(bytes: &[u8]) -> Option<IpNet> {
    if let Ok(bytes) = <[u8; 8]>::try_from(bytes) {
        let [a, b, c, d, mask @ ..] = bytes;
        return Ipv4Net::with_netmask(Ipv4Addr::new(a, b, c, d), mask.into()).ok().map(IpNet::V4);
    }
    let bytes = <[u8; 32]>::try_from(bytes).ok()?;
    let half = |from: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&bytes[from..from + 16]).expect("16 bytes"));
    Ipv6Net::with_netmask(half(0), half(16)).ok().map(IpNet::V6)
}

fn distinguished_name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    // X.520 limits a common name to 64 characters, and OpenSSL enforces that.
    name.push(DnType::CommonName, common_name.chars().take(64).collect::<String>());
    name
}

fn serial_number() -> SerialNumber {
    let mut bytes = random::<16>();
    // The number is positive, and always of the same length (RFC 5280 section 4.1.2.2).
    bytes[0] = bytes[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&bytes)
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the system's random generator works");
    bytes
}

fn system_time(unix: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(unix).unwrap_or(0))
}

/// The content of a file; `None` if there is no file.
fn read(path: &Path) -> Result<Option<Vec<u8>>, LocalCaError> {
    match disk::read_regular(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(LocalCaError::Read { path: path.to_owned(), source }),
    }
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), LocalCaError> {
    disk::replace(path, bytes, mode).map_err(|source| LocalCaError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
pub(in crate::tls) mod tests;
