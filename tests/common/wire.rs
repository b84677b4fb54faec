//! The transport of a TURN client: UDP, TCP or TLS.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream, UdpSocket},
    path::Path,
    sync::Arc,
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, pem::PemObject},
};

pub enum Wire {
    Udp(UdpSocket),
    Tcp(Framed<TcpStream>),
    Tls(Box<Framed<StreamOwned<ClientConnection, TcpStream>>>),
}

/// A stream, cut into messages.
pub struct Framed<S> {
    stream: S,
    read: Vec<u8>,
}

/// The TLS configuration of a client that trusts this CA and offers these protocols.
pub fn tls_config(ca: &Path, protocols: &[&str]) -> Arc<ClientConfig> {
    let mut config = trusting(CertificateDer::from_pem_file(ca).unwrap());
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// The TLS configuration of a client that trusts this certificate.
pub fn trusting(root: CertificateDer<'_>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(root).unwrap();
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// A server at `localhost` with a certificate made just now, and clients that trust it.
pub fn self_signed() -> (Arc<ServerConfig>, tokio_rustls::TlsConnector) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = CertificateDer::from(made.cert.der().to_vec());
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let server = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key.into())
        .unwrap();
    (Arc::new(server), Arc::new(trusting(certificate)).into())
}

/// A blocking TLS connection that expects the name `localhost`.
pub fn connect_tls(server: SocketAddr, config: Arc<ClientConfig>) -> StreamOwned<ClientConnection, TcpStream> {
    let tcp = TcpStream::connect(server).unwrap();
    tcp.set_nodelay(true).unwrap();
    client_tls(tcp, config)
}

fn client_tls(tcp: TcpStream, config: Arc<ClientConfig>) -> StreamOwned<ClientConnection, TcpStream> {
    let name = ServerName::try_from("localhost").unwrap();
    StreamOwned::new(ClientConnection::new(config, name).unwrap(), tcp)
}

impl Wire {
    pub fn tcp(server: SocketAddr) -> Self {
        Self::over_tcp(TcpStream::connect(server).unwrap())
    }

    pub fn over_tcp(tcp: TcpStream) -> Self {
        tcp.set_nodelay(true).unwrap();
        Self::Tcp(Framed { stream: tcp, read: Vec::new() })
    }

    /// A connection over TCP or TLS whose kernel buffers only little while nobody reads.
    pub fn narrow(server: SocketAddr, config: Option<Arc<ClientConfig>>) -> Self {
        let socket = socket2::Socket::new(socket2::Domain::for_address(server), socket2::Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(16_384).unwrap();
        socket.connect(&server.into()).unwrap();
        Self::over(TcpStream::from(socket), config)
    }

    /// A wire over an existing connection, with or without TLS.
    pub fn over(tcp: TcpStream, config: Option<Arc<ClientConfig>>) -> Self {
        let read = Vec::new();
        match config {
            None => Self::Tcp(Framed { stream: tcp, read }),
            Some(config) => Self::Tls(Box::new(Framed { stream: client_tls(tcp, config), read })),
        }
    }

    pub fn tls(server: SocketAddr, config: Arc<ClientConfig>) -> Self {
        Self::Tls(Box::new(Framed { stream: connect_tls(server, config), read: Vec::new() }))
    }

    /// Whether the transport is reliable.
    pub fn is_stream(&self) -> bool {
        !matches!(self, Self::Udp(_))
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Udp(socket) => socket.local_addr(),
            Self::Tcp(framed) => framed.stream.local_addr(),
            Self::Tls(framed) => framed.stream.sock.local_addr(),
        }
    }

    pub fn set_read_timeout(&self, timeout: Duration) -> io::Result<()> {
        match self {
            Self::Udp(socket) => socket.set_read_timeout(Some(timeout)),
            Self::Tcp(framed) => framed.stream.set_read_timeout(Some(timeout)),
            Self::Tls(framed) => framed.stream.sock.set_read_timeout(Some(timeout)),
        }
    }

    /// Sends one message.
    pub fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let mut padded = message.to_vec();
        padded.resize(message.len().next_multiple_of(4), 0);
        self.send_raw(if self.is_stream() { &padded } else { message })
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Udp(socket) => socket.send(bytes).map(drop),
            Self::Tcp(framed) => framed.stream.write_all(bytes),
            Self::Tls(framed) => framed.stream.write_all(bytes).and_then(|()| framed.stream.flush()),
        }
    }

    /// One message. On streams, the end is `UnexpectedEof`.
    pub fn recv(&mut self) -> io::Result<Vec<u8>> {
        match self {
            Self::Udp(socket) => {
                let mut buffer = vec![0; 65_536];
                let len = socket.recv(&mut buffer)?;
                buffer.truncate(len);
                Ok(buffer)
            }
            Self::Tcp(framed) => framed.recv(),
            Self::Tls(framed) => framed.recv(),
        }
    }
}

impl<S: Read> Framed<S> {
    fn recv(&mut self) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; 16_384];
        loop {
            if let [first, _, high, low, ..] = self.read[..] {
                let announced = usize::from(u16::from_be_bytes([high, low]));
                let len = announced + if first & 0xC0 == 0x40 { 4 } else { 20 };
                let padded = len.next_multiple_of(4);
                if self.read.len() >= padded {
                    let mut message: Vec<u8> = self.read.drain(..padded).collect();
                    let padding = message.split_off(len);
                    assert!(padding.iter().all(|byte| *byte == 0), "padding that holds something: {padding:?}");
                    return Ok(message);
                }
            }
            match self.stream.read(&mut buffer)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                len => self.read.extend_from_slice(&buffer[..len]),
            }
        }
    }
}
