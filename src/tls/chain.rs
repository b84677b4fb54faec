//! The certificates of a file in the order of a handshake, and the problems with them.

use std::path::Path;

use rustls::pki_types::CertificateDer;
use x509_parser::{
    asn1_rs::Tag,
    error::X509Error,
    oid_registry::Oid,
    prelude::{FromDer, X509Certificate},
    public_key::PublicKey,
    x509::{SubjectPublicKeyInfo, X509Version},
};

use super::local_ca;

/// The keys that rustls with ring can sign with and that browsers accept.
pub(super) const USABLE_KEYS: &str = "ECDSA with P-256 or P-384, or RSA with 2048 to 4096 bits";

/// Parses a certificate. The content of the file has been checked before.
fn parsed<'a>(certificate: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    X509Certificate::from_der(certificate).ok().map(|(_, parsed)| parsed)
}

/// Checks that the `number`th section, counted from 1, is a certificate, or says what is wrong.
pub(super) fn check(certificate: &CertificateDer<'_>, number: usize) -> Result<(), String> {
    match X509Certificate::from_der(certificate) {
        Ok(([], _)) => Ok(()),
        Ok(_) => Err(format!("certificate {number} is not a certificate: something follows it in its section")),
        Err(error) => Err(format!("certificate {number} is not a certificate: {error}")),
    }
}

/// The index of the first certificate that is not a CA's: the server's own, as far as the certificates show.
pub(super) fn leaf(chain: &[CertificateDer<'_>]) -> usize {
    chain.iter().position(|one| parsed(one).is_some_and(|one| !one.is_ca())).unwrap_or(0)
}

/// The key of a certificate, in its encoded form.
pub(super) fn public_key<'a>(certificate: &'a CertificateDer<'_>) -> Option<&'a [u8]> {
    Some(parsed(certificate)?.tbs_certificate.subject_pki.raw)
}

/// Whether the version of a certificate allows extensions. Without them there are no host names.
pub(super) fn has_extensions(certificate: &CertificateDer<'_>) -> bool {
    parsed(certificate).is_some_and(|certificate| certificate.version() == X509Version::V3)
}

/// The kind of a certificate's key, if this server cannot sign with it.
pub(super) fn unusable_key(certificate: &CertificateDer<'_>) -> Option<String> {
    unusable(parsed(certificate)?.public_key())
}

fn unusable(key: &SubjectPublicKeyInfo<'_>) -> Option<String> {
    let algorithm = key.algorithm.algorithm.to_id_string();
    let named = |name: &str| Some(name.to_owned());
    match algorithm.as_str() {
        // RFC 3279, RFC 8410.
        "1.2.840.113549.1.1.1" => match key.parsed() {
            Ok(PublicKey::RSA(rsa)) => {
                let modulus = rsa.modulus.iter().skip_while(|byte| **byte == 0).collect::<Vec<_>>();
                let bits = modulus.len() * 8 - modulus.first().map_or(0, |first| first.leading_zeros() as usize);
                (!(2048..=4096).contains(&bits)).then(|| format!("RSA with {bits} bits"))
            }
            _ => named("a broken RSA key"),
        },
        "1.2.840.10045.2.1" => {
            let name = key.algorithm.parameters.as_ref().filter(|curve| curve.tag() == Tag::Oid);
            let curve = name.and_then(|name| Oid::try_from(name).ok());
            match curve.map(|curve| curve.to_id_string()).as_deref() {
                Some("1.2.840.10045.3.1.7" | "1.3.132.0.34") => None,
                Some("1.3.132.0.35") => named("ECDSA with P-521"),
                Some("1.3.132.0.33") => named("ECDSA with P-224"),
                Some("1.3.132.0.10") => named("ECDSA with secp256k1"),
                Some(curve) if curve.starts_with("1.3.36.3.3.2.8.1.1.") => named("ECDSA with a Brainpool curve"),
                Some(curve) => Some(format!("ECDSA with the curve {curve}")),
                None => named("ECDSA with a curve of its own"),
            }
        }
        "1.3.101.112" => None,
        "1.3.101.113" => named("Ed448"),
        "1.2.840.113549.1.1.10" => named("RSASSA-PSS"),
        "1.2.840.10040.4.1" => named("DSA"),
        other => Some(format!("of the kind {other}")),
    }
}

/// Puts the server's own certificate first, and the issuer of each after it; certificates that fit nowhere come last.
/// Also returns the length of the connected part.
pub(super) fn in_order(mut chain: Vec<CertificateDer<'static>>, leaf: usize) -> (Vec<CertificateDer<'static>>, usize) {
    let mut ordered = vec![chain.remove(leaf)];
    chain.retain(|one| *one != ordered[0]);
    while let Some(issuer) = chain.iter().position(|one| has_issued(one, &ordered[ordered.len() - 1])) {
        let issuer = chain.remove(issuer);
        chain.retain(|one| *one != issuer);
        ordered.push(issuer);
    }
    let linked = ordered.len();
    ordered.append(&mut chain);
    (ordered, linked)
}

fn has_issued(issuer: &CertificateDer<'_>, certificate: &CertificateDer<'_>) -> bool {
    let (Some(issuer), Some(certificate)) = (parsed(issuer), parsed(certificate)) else { return false };
    issuer.subject().as_raw() == certificate.issuer().as_raw()
        && match certificate.verify_signature(Some(issuer.public_key())) {
            // A CA may use algorithms that only its clients must know.
            Ok(()) | Err(X509Error::SignatureUnsupportedAlgorithm) => true,
            Err(_) => false,
        }
}

/// The warning about a certificate that is served without its issuer.
pub(super) fn doubt(file: &Path, chain: &[CertificateDer<'_>], linked: usize) -> Option<String> {
    let leaf = parsed(&chain[0])?;
    let is_root = leaf.subject().as_raw() == leaf.issuer().as_raw();
    // Clients trust the local CA directly.
    if linked > 1 || is_root || local_ca::names_ours(leaf.issuer()) {
        return None;
    }
    let issuer = leaf.issuer();
    let name = issuer.iter_common_name().next().and_then(|name| name.as_str().ok().map(str::to_owned));
    Some(format!(
        "{} holds no certificate of the issuer, {}: most clients then refuse the server's. Put the intermediate \
         certificates behind it (a CA's fullchain.pem has them); only a root that your devices trust need not be there.",
        file.display(),
        name.unwrap_or_else(|| issuer.to_string()),
    ))
}
