//! Where certificate and key are.

use std::path::PathBuf;

/// Certificate and key of `--tls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM, the leaf first.
    pub cert: PathBuf,
    /// PEM.
    pub key: PathBuf,
    /// Nobody named files: a local CA may make them.
    pub are_default: bool,
    /// A local CA that is made now gets no IP constraints.
    pub local_ca_any_ip: bool,
}
