//! PEM files in, a certificate with its key out; every failure names the file and the likely cause.

use std::{
    fs,
    io::Read,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::TlsFiles;

/// Which of the two files a problem is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PemFile {
    /// The chain.
    Certificate,
    /// The private key.
    Key,
}

/// A certificate chain and its key, ready for rustls.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    pub(super) certified: Arc<CertifiedKey>,
    /// When the leaf ends.
    pub(super) not_after: SystemTime,
}

/// The problems that would keep these files from being served, all at once. None where a local CA will make them.
pub fn check(files: &TlsFiles) -> Vec<(PemFile, String)> {
    if files.are_default && super::local_ca::will_make(files) {
        return Vec::new();
    }
    load(files).err().unwrap_or_default()
}

/// Reads both files and checks that they belong together.
pub(super) fn load(files: &TlsFiles) -> Result<Pair, Vec<(PemFile, String)>> {
    let chain = read(&files.cert).and_then(|pem| parse_chain(&files.cert, &pem));
    let key = read(&files.key).and_then(|pem| parse_key(&files.key, &pem));
    let (chain, key) = match (chain, key) {
        (Ok(chain), Ok(key)) => (chain, key),
        (chain, key) => {
            let problems = [
                chain.err().map(|problem| (PemFile::Certificate, problem)),
                key.err().map(|problem| (PemFile::Key, problem)),
            ];
            return Err(problems.into_iter().flatten().collect());
        }
    };
    pair(chain, key, files)
}

fn pair(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    files: &TlsFiles,
) -> Result<Pair, Vec<(PemFile, String)>> {
    let (cert_file, key_file) = (files.cert.display(), files.key.display());
    let certificate = |problem| vec![(PemFile::Certificate, problem)];
    let not_after =
        not_after(&chain[0]).map_err(|error| certificate(format!("{cert_file}: not a certificate: {error}")))?;
    let signing_key = super::provider()
        .key_provider
        .load_private_key(key)
        .map_err(|error| vec![(PemFile::Key, format!("{key_file}: not a usable private key: {error}"))])?;
    let certified = CertifiedKey::new(chain, signing_key);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
        Err(rustls::Error::InconsistentKeys(_)) => {
            return Err(vec![(
                PemFile::Key,
                format!(
                    "{key_file} is not the key of the first certificate in {cert_file}: the chain has to begin with this \
                 server's own certificate"
                ),
            )]);
        }
        Err(error) => return Err(certificate(format!("{cert_file}: not usable: {error}"))),
    }
    Ok(Pair { certified: Arc::new(certified), not_after })
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    // Chains have a few kilobytes.
    const MAX_BYTES: u64 = 1 << 20;
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes))
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Ok(bytes)
}

pub(super) fn parse_chain(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let path = path.display();
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("{path} is broken PEM: {error}"))?;
    if chain.is_empty() {
        let hint =
            if PrivateKeyDer::from_pem_slice(pem).is_ok() { ", but a private key: swap the two files" } else { "" };
        return Err(format!("{path} holds no PEM certificate{hint}"));
    }
    Ok(chain)
}

pub(super) fn parse_key(path: &Path, pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    let path = path.display();
    let holds = |text: &str| pem.windows(text.len()).any(|window| window == text.as_bytes());
    match PrivateKeyDer::from_pem_slice(pem) {
        Ok(key) => Ok(key),
        // The older form has the headers of RFC 1421 within the key, so that it reads as broken.
        Err(_) if holds("ENCRYPTED") => {
            Err(format!("{path} holds no PEM private key, only an encrypted one: decrypt it with openssl pkey"))
        }
        Err(rustls::pki_types::pem::Error::NoItemsFound) => {
            let hint = if holds("BEGIN CERTIFICATE") { ", but a certificate: swap the two files" } else { "" };
            Err(format!("{path} holds no PEM private key{hint}"))
        }
        Err(error) => Err(format!("{path} is broken PEM: {error}")),
    }
}

/// When a certificate ends. A date before 1970 counts as 1970.
fn not_after(certificate: &CertificateDer<'_>) -> Result<SystemTime, String> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|error| error.to_string())?;
    let seconds = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
    Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}
