//! What is kept on the disk between starts, opened: secrets, keys, certificate.

use crate::{
    config::Config,
    credentials::{MemberKey, Secret},
    disk::Exposed,
    net::Interfaces,
    state_dir::{SecretSource, StateDir},
    tls::{self, CertificateFacts, HostNames, Tls},
    values::tls_files::TlsFiles,
};

/// Shorter secrets can be guessed by who has seen one credential.
pub(super) const SHORT_SECRET_BYTES: usize = 16;

/// What is made where it is not there.
#[derive(Debug)]
pub(super) struct Kept {
    /// TURN shared secrets: the first mints, all verify.
    pub(super) secrets: Vec<Secret>,
    /// Behind the secrets that sign members' credentials.
    pub(super) member_key: MemberKey,
    /// Signs STUN nonces.
    pub(super) nonce_key: [u8; 32],
    /// Signs resume tokens.
    pub(super) resume_key: [u8; 32],
    /// Of the hashes that stand for rooms in the log.
    pub(super) log_key: [u8; 32],
    /// With TLS.
    pub(super) tls: Option<Tls>,
    /// What people should know of it.
    pub(super) facts: KeptFacts,
}

/// What people should know of what is kept.
#[derive(Clone, Debug, Default)]
pub(super) struct KeptFacts {
    /// With TLS.
    pub(super) certificate: Option<CertificateFacts>,
    /// A certificate that could be meant and is not served.
    pub(super) unused_certificate: Option<String>,
    /// A secret can be guessed.
    pub(super) has_short_secret: bool,
    /// Secrets that others have access to.
    pub(super) exposed: Vec<Exposed>,
}

impl Kept {
    /// Opens it, and makes what is not there.
    pub(super) fn open(
        config: &Config,
        secrets: &SecretSource,
        files: Option<&TlsFiles>,
        interfaces: &Interfaces,
    ) -> anyhow::Result<Self> {
        let state_dir = StateDir::open(&config.state_dir)?;
        let secrets = state_dir.secrets(secrets)?;
        let tls = files.map(|files| Tls::open(files, &host_names(config, interfaces))).transpose()?;
        let (member_key, nonce_key) = (state_dir.member_key()?, state_dir.nonce_key()?);
        let (resume_key, log_key) = (state_dir.resume_key()?, state_dir.log_key()?);
        let certificate = tls.as_ref().map(|tls| tls.facts().clone());
        let mut exposed = state_dir.exposed();
        exposed.extend(certificate.iter().flat_map(|facts| facts.exposed.clone()));
        let facts = KeptFacts {
            certificate,
            unused_certificate: files.and_then(tls::place::doubt),
            has_short_secret: secrets.iter().any(|secret| secret.expose().len() < SHORT_SECRET_BYTES),
            exposed,
        };
        Ok(Self { secrets, member_key, nonce_key, resume_key, log_key, tls, facts })
    }
}

/// Everything by which this host may be reached.
pub(super) fn host_names(config: &Config, interfaces: &Interfaces) -> HostNames {
    let addresses = interfaces.addresses.iter().map(|one| one.address).chain(config.public_ips.iter().copied());
    HostNames::of(config.public_host.as_ref(), addresses)
}
