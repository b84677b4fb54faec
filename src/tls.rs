//! TLS for the listeners: one certificate for all of them, which can be replaced while running.
//!
//! [`Tls::open`] loads the certificate (or has the local CA make one), [`Tls::acceptor`] is for accept loops, and
//! [`Tls::maintain`] watches the files: a new pair is served from the next handshake on; a broken one is reported once
//! and the old pair stays.
#![allow(clippy::disallowed_methods, reason = "it reads the clocks")]

mod chain;
mod local_ca;
mod pem;
pub mod place;
mod provider;
mod text;

use std::{
    io,
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig, SignatureAlgorithm,
    server::{Acceptor, ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};

use self::{local_ca::Moment, provider::provider};
pub use self::{
    local_ca::{CaFacts, HostNames, LocalCaError},
    pem::{PemFile, check},
};
use crate::{
    disk::Exposed,
    shutdown::{Reload, Shutdown},
    values::tls_files::TlsFiles,
};

/// There is no h2, because WebSockets are upgraded from HTTP/1.1. `stun.turn` is from RFC 7443.
const ALPN: [&[u8]; 2] = [b"http/1.1", b"stun.turn"];
/// Some clients cross the world three times in a handshake. A client that needs longer than this only occupies a place.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How soon a replaced certificate is noticed.
const WATCH_PERIOD: Duration = Duration::from_secs(3);
/// How soon a certificate of the local CA is renewed for a new address of this host, or because of its age.
const LOCAL_CA_PERIOD: Duration = Duration::from_secs(60);

/// Why TLS cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The files cannot be used (any more).
    #[error("{}", .0.join("; "))]
    Files(Vec<String>),
    /// The local CA failed.
    #[error("the local CA failed")]
    LocalCa(#[from] LocalCaError),
    /// rustls refused the set-up.
    #[error("TLS cannot be set up")]
    Rustls(#[from] rustls::Error),
}

/// What people should know about the certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// When it expires.
    pub not_after: SystemTime,
    /// Whether its key is of a kind that no browser accepts.
    pub is_ed25519: bool,
    /// What is doubtful about its chain, with the remedy.
    pub chain_doubt: Option<String>,
    /// The CA to trust, if the local CA issued the certificate.
    pub local_ca: Option<CaFacts>,
    /// Keys of the local CA to which others have access.
    pub exposed: Vec<Exposed>,
}

/// The server's certificate and everything that goes with it.
#[derive(Debug)]
pub struct Tls {
    made_here: bool,
    facts: CertificateFacts,
    current: Arc<Current>,
    acceptor: TlsAcceptor,
    watcher: Watcher,
}

/// Performs handshakes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TlsAcceptor {
    with_alpn: Arc<ServerConfig>,
    /// rustls ends the handshake if both sides have protocols and none in common, but such clients can be served.
    without_alpn: Arc<ServerConfig>,
}

impl Tls {
    /// Loads certificate and key, and makes them first if nobody gave any.
    ///
    /// # Errors
    /// [`TlsError`]: files that were valid when the configuration was loaded can have changed since.
    pub fn open(files: &TlsFiles, host: &HostNames) -> Result<Self, TlsError> {
        let made_here = files.are_default && local_ca::will_make(files);
        let made = made_here.then(|| local_ca::ensure(files, host, SystemTime::now(), Moment::Start)).transpose()?;
        // The files are noted before they are used, so that no change in between is missed.
        let watcher = Watcher::new(files.clone());
        let pair = load(files)?;
        let facts = CertificateFacts {
            not_after: pair.not_after,
            chain_doubt: pair.doubt,
            is_ed25519: pair.certified.key.algorithm() == SignatureAlgorithm::ED25519,
            exposed: if made_here { local_ca::exposed(files) } else { Vec::new() },
            local_ca: made.map(|made| made.ca),
        };
        tracing::info!(file = %files.cert.display(), days_left = days_left(facts.not_after), "certificate loaded");
        let current = Arc::new(Current(ArcSwap::new(pair.certified)));
        let acceptor = TlsAcceptor::new(&current)?;
        Ok(Self { made_here, facts, current, acceptor, watcher })
    }

    /// For accept loops.
    pub fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.clone()
    }

    /// The facts to report at the start.
    pub fn facts(&self) -> &CertificateFacts {
        &self.facts
    }

    /// Until `shutdown`, serves new files when they appear or when `reload` asks, and renews a certificate of the local
    /// CA for the names that `host` returns.
    pub async fn maintain(
        self,
        host: impl Fn() -> HostNames + Send + Sync + 'static,
        reload: Reload,
        shutdown: Shutdown,
    ) {
        tokio::select! {
            () = self.maintain_for_ever(Arc::new(host), reload) => {}
            () = shutdown.begun() => {}
        }
    }

    async fn maintain_for_ever(self, host: Arc<dyn Fn() -> HostNames + Send + Sync>, mut reload: Reload) {
        let mut watcher = self.watcher;
        let mut tick = tokio::time::interval(WATCH_PERIOD);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let rounds_per_check = LOCAL_CA_PERIOD.as_secs() / WATCH_PERIOD.as_secs();
        for round in 1u64.. {
            let is_asked = tokio::select! {
                _ = tick.tick() => false,
                () = reload.asked() => true,
            };
            let renews = self.made_here && (is_asked || round.is_multiple_of(rounds_per_check));
            let (host, current) = (host.clone(), self.current.clone());
            // Files may be on a slow disk.
            let looked = tokio::task::spawn_blocking(move || {
                if renews {
                    renew(&watcher.files, &host());
                }
                if is_asked {
                    watcher.reload(&current);
                } else {
                    watcher.look(&current);
                }
                watcher
            });
            match looked.await {
                Ok(same) => watcher = same,
                // This happens only when the runtime ends.
                Err(_) => return,
            }
        }
    }
}

fn renew(files: &TlsFiles, host: &HostNames) {
    if !local_ca::will_make(files) {
        // Somebody has put their own certificate there meanwhile.
        return;
    }
    match local_ca::ensure(files, host, SystemTime::now(), Moment::Running) {
        Ok(made) if made.ca.is_new => {
            tracing::warn!(ca = %made.ca.file.display(), "the local CA had to be made anew: it has to be trusted again");
        }
        Ok(made) if made.leaf_is_new => tracing::info!("the local CA has issued a new certificate"),
        Ok(_) => {}
        Err(error) => {
            let error = anyhow::Error::new(error);
            tracing::error!("the certificate could not be renewed: {error:#}");
        }
    }
}

/// Notices that the files have changed.
#[derive(Debug)]
struct Watcher {
    files: TlsFiles,
    /// The content that was last handled, whether it was valid or not.
    settled: Contents,
    /// Content that failed once: perhaps only one of the two files has been written so far.
    doubtful: Option<Contents>,
}

/// Certificate and key as bytes; an unreadable file has none.
type Contents = [Option<Vec<u8>>; 2];

impl Watcher {
    fn new(files: TlsFiles) -> Self {
        let settled = contents(&files);
        Self { files, settled, doubtful: None }
    }

    /// Reports every outcome, because somebody waits for it.
    fn reload(&mut self, current: &Current) {
        if contents(&self.files) != self.settled {
            self.look(current);
            if self.doubtful.is_some() {
                // Somebody who asks for a reload has written both files.
                self.look(current);
            }
            return;
        }
        match load(&self.files) {
            Ok(_) => tracing::info!(file = %self.files.cert.display(), "the certificate is the same as before"),
            Err(error) => tracing::error!("the new certificate is not used, the old one stays: {error}"),
        }
    }

    fn look(&mut self, current: &Current) {
        let contents = contents(&self.files);
        if contents == self.settled {
            self.doubtful = None;
            return;
        }
        match load(&self.files) {
            Ok(pair) => {
                let is_ed25519 = pair.certified.key.algorithm() == SignatureAlgorithm::ED25519;
                current.0.store(pair.certified);
                let (file, days_left) = (self.files.cert.display(), days_left(pair.not_after));
                tracing::info!(%file, days_left, "new certificate loaded");
                if pair.not_after <= SystemTime::now() {
                    tracing::error!(file = %self.files.cert.display(), "the new certificate has expired");
                }
                if is_ed25519 {
                    tracing::warn!(file = %self.files.cert.display(), "browsers refuse the new certificate's Ed25519 key");
                }
                if let Some(doubt) = pair.doubt {
                    tracing::warn!("{doubt}");
                }
                (self.settled, self.doubtful) = (contents, None);
            }
            Err(error) if self.doubtful.as_ref() == Some(&contents) => {
                tracing::error!("the new certificate is not used, the old one stays: {error}");
                (self.settled, self.doubtful) = (contents, None);
            }
            Err(_) => self.doubtful = Some(contents),
        }
    }
}

/// Whole days; also 0 if it has expired, which is reported elsewhere.
fn days_left(end: SystemTime) -> u64 {
    end.duration_since(SystemTime::now()).map_or(0, |left| left.as_secs() / 86_400)
}

fn contents(files: &TlsFiles) -> Contents {
    [&files.cert, &files.key].map(|path| pem::read(path).ok())
}

fn load(files: &TlsFiles) -> Result<pem::CertificateAndKey, TlsError> {
    pem::load(files).map_err(|problems| TlsError::Files(problems.into_iter().map(|(_, problem)| problem).collect()))
}

impl From<Arc<ServerConfig>> for TlsAcceptor {
    /// Uses one configuration for all clients, whatever protocols they offer.
    fn from(config: Arc<ServerConfig>) -> Self {
        Self { with_alpn: config.clone(), without_alpn: config }
    }
}

impl TlsAcceptor {
    fn new(current: &Arc<Current>) -> Result<Self, rustls::Error> {
        let ticketer = rustls::crypto::ring::Ticketer::new()?;
        let config = |protocols: &[&[u8]]| -> Result<_, rustls::Error> {
            let mut config = ServerConfig::builder_with_provider(provider())
                .with_safe_default_protocol_versions()?
                .with_no_client_auth()
                .with_cert_resolver(current.clone());
            config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
            // Tickets are used instead of a table of sessions, so nothing is kept for clients that have gone.
            config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
            config.ticketer = ticketer.clone();
            Ok(Arc::new(config))
        };
        Ok(Self { with_alpn: config(&ALPN)?, without_alpn: config(&[])? })
    }

    /// Performs the handshake on a stream whose first byte (not yet consumed) indicates TLS.
    ///
    /// # Errors
    /// What went wrong with this client: it does not speak TLS, has no common version, has gone, or took longer than 10
    /// s.
    pub async fn accept<S>(&self, stream: S) -> Result<TlsStream<S>, FailedHandshake<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let handshake = async {
            let mut acceptor = LazyConfigAcceptor::new(Acceptor::default(), stream);
            let start = match (&mut acceptor).await {
                Ok(start) => start,
                Err(error) => return Err(FailedHandshake { error, stream: acceptor.take_io() }),
            };
            let overlaps =
                start.client_hello().alpn().is_some_and(|mut offered| offered.any(|protocol| ALPN.contains(&protocol)));
            let config = if overlaps { &self.with_alpn } else { &self.without_alpn };
            let rest = start.into_stream(config.clone()).into_fallible();
            rest.await.map_err(|(error, stream)| FailedHandshake { error, stream: Some(stream) })
        };
        match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
            Ok(done) => done,
            Err(_) => {
                let error = io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake took too long");
                Err(FailedHandshake { error, stream: None })
            }
        }
    }
}

/// A handshake that failed.
#[derive(Debug)]
pub struct FailedHandshake<S> {
    /// The reason.
    pub error: io::Error,
    /// The stream, unless the handshake took too long.
    pub stream: Option<S>,
}

/// The current certificate.
#[derive(Debug)]
struct Current(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

#[cfg(test)]
mod tests;
