//! Reads a certificate and its key from PEM files. Every error names the file and the likely cause.

use std::{
    fs,
    io::Read,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::{CertifiedKey, SigningKey},
};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{
    chain::{self, USABLE_KEYS},
    provider::provider,
    text::Text,
};
use crate::{disk, values::tls_files::TlsFiles};

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
pub(super) struct CertificateAndKey {
    pub(super) certified: Arc<CertifiedKey>,
    /// When the leaf expires.
    pub(super) not_after: SystemTime,
    /// What is doubtful about the chain, with its remedy.
    pub(super) doubt: Option<String>,
}

/// All problems that prevent these files from being served. There are none if a local CA will make the files.
pub fn check(files: &TlsFiles) -> Vec<(PemFile, String)> {
    if files.are_default && super::local_ca::will_make(files) {
        return Vec::new();
    }
    load(files).err().unwrap_or_default()
}

/// Reads both files and checks that they belong together.
pub(super) fn load(files: &TlsFiles) -> Result<CertificateAndKey, Vec<(PemFile, String)>> {
    let chain = read(&files.cert).and_then(|bytes| parse_chain(&files.cert, &bytes));
    let keys = read(&files.key).and_then(|bytes| parse_keys(&files.key, &bytes));
    let (chain, keys) = match (chain, keys) {
        (Ok(chain), Ok(keys)) => (chain, keys),
        (chain, keys) => {
            let problems = [
                chain.err().map(|problem| (PemFile::Certificate, problem)),
                keys.err().map(|problem| (PemFile::Key, problem)),
            ];
            return Err(problems.into_iter().flatten().collect());
        }
    };
    pair(chain, keys, files).map_err(|problem| vec![problem])
}

fn pair(
    chain: Vec<CertificateDer<'static>>,
    keys: Vec<PrivateKeyDer<'static>>,
    files: &TlsFiles,
) -> Result<CertificateAndKey, (PemFile, String)> {
    let (cert_file, key_file) = (files.cert.display(), files.key.display());
    let certificate = |problem| (PemFile::Certificate, problem);
    let mut keys: Vec<_> = keys.into_iter().map(|key| provider().key_provider.load_private_key(key)).collect();
    // Of several keys, and several certificates in any order, the ones that belong together count.
    let found = keys.iter().enumerate().find_map(|(index, key)| {
        let key = key.as_ref().ok()?;
        let leaf = chain.iter().position(|certificate| belong_together(certificate, key))?;
        Some((index, leaf))
    });
    let Some((index, leaf)) = found else {
        let own = &chain[chain::leaf(&chain)];
        if let Some(kind) = chain::unusable_key(own) {
            return Err(certificate(format!(
                "{cert_file}: the certificate's key is {kind}, which this server cannot use: take one with {USABLE_KEYS}"
            )));
        }
        if let Some(problem) = refused(&chain, &keys) {
            return Err(certificate(format!("{cert_file}: {problem}")));
        }
        return Err((
            PemFile::Key,
            match keys.into_iter().find_map(Result::err) {
                Some(error) => {
                    format!("{key_file}: not a usable private key ({error}): take {USABLE_KEYS}")
                }
                None => format!(
                    "{key_file} is not the key of the certificate in {cert_file}: take the key that the certificate was \
                     requested with"
                ),
            },
        ));
    };
    let key = keys.swap_remove(index).expect("it was found among the usable ones");
    let (chain, linked) = chain::in_order(chain, leaf);
    let not_after =
        not_after(&chain[0]).map_err(|error| certificate(format!("{cert_file}: not a certificate: {error}")))?;
    let doubt = chain::doubt(&files.cert, &chain, linked);
    Ok(CertificateAndKey { certified: Arc::new(CertifiedKey::new(chain, key)), not_after, doubt })
}

fn belong_together(certificate: &CertificateDer<'static>, key: &Arc<dyn SigningKey>) -> bool {
    let outcome = CertifiedKey::new(vec![certificate.clone()], key.clone()).keys_match();
    matches!(outcome, Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)))
}

/// Why the certificate of one of the keys cannot be served.
fn refused(chain: &[CertificateDer<'static>], keys: &[Result<Arc<dyn SigningKey>, rustls::Error>]) -> Option<String> {
    let keys: Vec<_> = keys.iter().flatten().filter_map(|key| key.public_key()).collect();
    let is_of_a_key = |one: &&CertificateDer<'static>| {
        chain::public_key(one).is_some_and(|public| keys.iter().any(|key| key.as_ref() == public))
    };
    let own = chain.iter().find(is_of_a_key)?;
    if !chain::has_extensions(own) {
        // `openssl x509 -req` makes such a certificate if it gets no further options.
        return Some(
            "the certificate is of X.509 version 1, which has no names that clients check: make it anew with a              subjectAltName"
                .to_owned(),
        );
    }
    let error = rustls::server::ParsedCertificate::try_from(own).err()?;
    Some(format!("the certificate cannot be used: {error}"))
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    // A chain has a few kilobytes.
    const MAX_BYTES: u64 = 1 << 20;
    let mut bytes = Vec::new();
    disk::check_regular(path)
        .and_then(|()| fs::File::open(path))
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("{} is longer than 1 MiB: leave the server's own chain in it", path.display()));
    }
    Ok(bytes)
}

fn parse_chain(path: &Path, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = Text::of(path, bytes)?;
    let path = path.display();
    for section in &text.sections {
        let (label, line) = (&section.label, section.line);
        match label.as_str() {
            "TRUSTED CERTIFICATE" => {
                return Err(format!(
                    "{path} has a {label} in line {line}, which only OpenSSL reads: convert it with openssl x509"
                ));
            }
            "PKCS7" | "CMS" => {
                return Err(format!(
                    "{path} has certificates as {label} in line {line}: convert them with openssl pkcs7 -print_certs"
                ));
            }
            _ => {}
        }
    }
    let chain: Vec<_> = CertificateDer::pem_slice_iter(text.pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| format!("{path} is broken PEM: {error}; copy the file anew"))?;
    if chain.is_empty() {
        let has = |word: &str| text.sections.iter().any(|section| section.label.contains(word));
        let hint = if has("PRIVATE KEY") {
            ", but a private key: swap the two files"
        } else if has("REQUEST") {
            ", but the request for one: take what the CA made of it"
        } else {
            ""
        };
        return Err(format!("{path} holds no PEM certificate{hint}"));
    }
    for (index, certificate) in chain.iter().enumerate() {
        chain::check(certificate, index + 1).map_err(|problem| format!("{path}: {problem}"))?;
    }
    Ok(chain)
}

fn parse_keys(path: &Path, bytes: &[u8]) -> Result<Vec<PrivateKeyDer<'static>>, String> {
    let text = Text::of(path, bytes)?;
    let path = path.display();
    let is_encrypted = text.sections.iter().any(|section| section.is_encrypted);
    let has = |word: &str| text.sections.iter().any(|section| section.label.contains(word));
    match PrivateKeyDer::pem_slice_iter(text.pem.as_bytes()).collect::<Result<Vec<_>, _>>() {
        Ok(keys) if !keys.is_empty() => Ok(keys),
        // A key that is encrypted in the older form looks broken.
        _ if is_encrypted => {
            Err(format!("{path} holds no PEM private key, only an encrypted one: decrypt it with openssl pkey"))
        }
        Ok(_) => {
            let hint = if has("OPENSSH") {
                ", but one of OpenSSH: convert it with ssh-keygen -p -m PKCS8"
            } else if has("CERTIFICATE") {
                ", but a certificate: swap the two files"
            } else if has("PUBLIC KEY") {
                ", but a public one: take the file that the certificate was requested with"
            } else {
                ""
            };
            Err(format!("{path} holds no PEM private key{hint}"))
        }
        Err(error) => Err(format!("{path} is broken PEM: {error}; copy the file anew")),
    }
}

/// When a certificate expires. A date before 1970 counts as 1970.
fn not_after(certificate: &CertificateDer<'_>) -> Result<SystemTime, String> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|error| error.to_string())?;
    let seconds = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
    Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests;
