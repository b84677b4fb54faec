//! Opens what is kept on the disk between starts: secrets, keys, certificate.

use crate::{
    config::Config,
    credentials::{MemberKey, Secret},
    disk::Exposed,
    net::Interfaces,
    state_dir::{SecretSource, StateDir},
    tls::{self, CertificateFacts, HostNames, Tls},
    values::tls_files::TlsFiles,
};

/// Somebody who has seen one credential can guess a shorter secret.
pub(super) const SHORT_SECRET_BYTES: usize = 16;

/// What is kept, and made if it is missing.
#[derive(Debug)]
pub(super) struct Kept {
    /// TURN shared secrets: the first one mints, all of them verify.
    pub(super) secrets: Vec<Secret>,
    /// The key from which the secrets for members' credentials are derived.
    pub(super) member_key: MemberKey,
    /// Signs STUN nonces.
    pub(super) nonce_key: [u8; 32],
    /// Signs resume tokens.
    pub(super) resume_key: [u8; 32],
    /// The key of the hashes that stand for rooms in the log.
    pub(super) log_key: [u8; 32],
    /// Certificate and key, if TLS is on.
    pub(super) tls: Option<Tls>,
    /// What people should know about it.
    pub(super) facts: KeptFacts,
}

/// What people should know about what is kept.
#[derive(Clone, Debug, Default)]
pub(super) struct KeptFacts {
    /// Facts about the certificate, if TLS is on.
    pub(super) certificate: Option<CertificateFacts>,
    /// The name of a certificate that was perhaps meant but is not used.
    pub(super) unused_certificate: Option<String>,
    /// Whether a secret is so short that it can be guessed.
    pub(super) has_short_secret: bool,
    /// Secrets that other users have access to.
    pub(super) exposed: Vec<Exposed>,
}

impl Kept {
    /// Opens everything, and makes what is missing.
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

/// All names and addresses by which this host may be reached.
pub(super) fn host_names(config: &Config, interfaces: &Interfaces) -> HostNames {
    let addresses = interfaces.addresses.iter().map(|one| one.address).chain(config.public_ips.iter().copied());
    HostNames::of(config.public_host.as_ref(), addresses)
}
