//! A running program: on loopback with its own ports and directory, pinned to its cores, with its costs measured.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::PathBuf,
    process::Child,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::CertificateDer;
use stun::message::MAGIC_COOKIE;
use tempfile::TempDir;

use crate::{cores, link::Transport};

const START_LIMIT: Duration = Duration::from_secs(30);

/// Where a program runs, and with which resources.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) cores: Vec<usize>,
    pub(crate) workers: usize,
    pub(crate) port: u16,
    pub(crate) tls_port: u16,
    /// Whether it serves TLS too.
    pub(crate) tls: bool,
    pub(crate) dir: PathBuf,
    certificate: CertificateDer<'static>,
    _kept: TempDir,
}

impl Place {
    pub(crate) fn new(cores: &[usize], workers: usize, tls: bool) -> anyhow::Result<Self> {
        let kept = tempfile::tempdir()?;
        let dir = kept.path().to_owned();
        let mut ports = (20_000..32_000).filter(|&port| is_free(port));
        let (port, tls_port) = ports.next().zip(ports.next()).context("no port is free")?;
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed([Ipv4Addr::LOCALHOST.to_string()])?;
        let certificate = cert.der().clone();
        let place = Self { cores: cores.to_vec(), workers, port, tls_port, tls, dir, certificate, _kept: kept };
        fs::write(place.certificate_file(), cert.pem())?;
        fs::write(place.key_file(), signing_key.serialize_pem())?;
        Ok(place)
    }

    pub(crate) fn certificate_file(&self) -> PathBuf {
        self.dir.join("certificate.pem")
    }

    pub(crate) fn key_file(&self) -> PathBuf {
        self.dir.join("key.pem")
    }
}

/// Whether nobody uses the port. Relay ports are in another range.
fn is_free(port: u16) -> bool {
    let address = (Ipv4Addr::LOCALHOST, port);
    UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok()
}

/// A running program. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    place: Place,
}

impl Server {
    pub(crate) fn new(child: Child, place: Place) -> Self {
        Self { child, place }
    }

    pub(crate) fn address(&self, transport: Transport) -> SocketAddr {
        let port = if transport == Transport::Tls { self.place.tls_port } else { self.place.port };
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    }

    /// The certificate that a client must trust.
    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        self.place.certificate.clone()
    }

    pub(crate) fn wait_until_up(&mut self) -> anyhow::Result<()> {
        let mut binding = [0; 20];
        binding[1] = 1;
        binding[4..8].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(self.address(Transport::Udp))?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        let started = Instant::now();
        let tls = self.place.tls.then(|| self.address(Transport::Tls));
        let is_up = || -> io::Result<()> {
            // This is refused at once while nothing listens yet.
            socket.send(&binding)?;
            socket.recv(&mut [0; 512])?;
            tls.map_or(Ok(()), |address| TcpStream::connect(address).map(drop))
        };
        loop {
            let Err(error) = is_up() else {
                return Ok(());
            };
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended at once: {status}");
            }
            if started.elapsed() > START_LIMIT {
                return Err(error.into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The time for which the program's threads have run so far.
    pub(crate) fn cpu(&self) -> io::Result<Duration> {
        cores::run_time(self.child.id())
    }

    /// The program's resident bytes.
    pub(crate) fn resident(&self) -> io::Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        Ok(kib.ok_or_else(|| io::Error::other("no VmRSS"))? * 1024)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // This fails only if the program has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
