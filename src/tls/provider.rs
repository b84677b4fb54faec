//! The crypto library.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// The only crypto library in this process; STUN's integrity uses it too.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
