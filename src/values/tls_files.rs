//! The files of certificate and key.

use std::path::PathBuf;

/// Certificate and key of `--tls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain in PEM, the leaf first.
    pub cert: PathBuf,
    /// The key in PEM.
    pub key: PathBuf,
    /// Whether nobody named files. Then a local CA may make them.
    pub are_default: bool,
    /// Whether a new local CA gets no IP constraints.
    pub local_ca_any_ip: bool,
}
