//! The connection of a client to the server: a UDP socket, or a TCP connection with or without TLS.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use bimcc_rtc::turn::wire::framing::{Deframer, frame};
use mio::{
    Interest, Registry, Token,
    net::{TcpStream, UdpSocket},
};
use rustls::{ClientConfig, ClientConnection};
use socket2::{Domain, Protocol, Socket, Type};

use crate::datagrams::udp_socket;

/// The transport of a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Transport {
    #[default]
    Udp,
    Tcp,
    Tls,
}

/// The number of bytes that are read at once.
const READ: usize = 16_384;

/// See the module's header.
#[derive(Debug)]
pub(crate) enum Link {
    Udp(UdpSocket),
    Stream(Box<Stream>),
}

impl Link {
    /// Connects from `host` to `server`. With a `tls` configuration, the TCP connection carries TLS.
    pub(crate) fn open(
        host: Ipv4Addr,
        server: SocketAddr,
        transport: Transport,
        tls: Option<&Arc<ClientConfig>>,
    ) -> anyhow::Result<Self> {
        if transport == Transport::Udp {
            let socket = udp_socket(host)?;
            socket.connect(server)?;
            return Ok(Self::Udp(socket));
        }
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        socket.bind(&SocketAddr::from((host, 0)).into())?;
        socket.connect(&server.into())?;
        socket.set_tcp_nodelay(true)?;
        let mut socket = std::net::TcpStream::from(socket);
        let mut tls = tls.map(|tls| ClientConnection::new(tls.clone(), server.ip().into())).transpose()?;
        if let Some(tls) = &mut tls {
            tls.set_buffer_limit(None);
            while tls.is_handshaking() {
                tls.complete_io(&mut socket)?;
            }
        }
        socket.set_nonblocking(true)?;
        let (waiting, deframer) = (Vec::new(), Deframer::new());
        Ok(Self::Stream(Box::new(Stream { socket: TcpStream::from_std(socket), tls, waiting, deframer })))
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Self::Udp(socket) => registry.register(socket, token, Interest::READABLE),
            Self::Stream(stream) => registry.register(&mut stream.socket, token, Interest::READABLE),
        }
    }

    /// Sends one message of signaling or data.
    pub(crate) fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match self {
            Self::Udp(socket) => socket.send(message).map(drop),
            Self::Stream(stream) => stream.send(message),
        }
    }

    /// Takes all messages that have arrived.
    pub(crate) fn receive(&mut self, mut take: impl FnMut(&[u8])) -> io::Result<bool> {
        match self {
            Self::Udp(socket) => {
                let mut any = false;
                let mut buffer = [0; 2048];
                while let Ok(len) = socket.recv(&mut buffer) {
                    any = true;
                    take(&buffer[..len]);
                }
                Ok(any)
            }
            Self::Stream(stream) => stream.receive(take),
        }
    }
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Stream {
    socket: TcpStream,
    tls: Option<ClientConnection>,
    /// Bytes that the kernel has not taken yet.
    waiting: Vec<u8>,
    deframer: Deframer,
}

impl Stream {
    pub(crate) fn send(&mut self, message: &[u8]) -> io::Result<()> {
        frame(message, &mut self.waiting);
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        let outcome = match &mut self.tls {
            None => write_all(&mut self.socket, &mut self.waiting),
            Some(tls) => tls.writer().write_all(&self.waiting).and_then(|()| {
                self.waiting.clear();
                while tls.wants_write() {
                    tls.write_tls(&mut self.socket)?;
                }
                Ok(())
            }),
        };
        match outcome {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            other => other,
        }
    }

    pub(crate) fn receive(&mut self, mut take: impl FnMut(&[u8])) -> io::Result<bool> {
        let mut any = false;
        let mut buffer = [0; READ];
        loop {
            let read = match &mut self.tls {
                None => self.socket.read(&mut buffer),
                Some(tls) => read_tls(tls, &mut self.socket, &mut buffer),
            };
            let mut bytes = match read {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(len) => &buffer[..len],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            let longest = usize::from(u16::MAX);
            while let Some(message) = self.deframer.next_message(&mut bytes, longest).map_err(io::Error::other)? {
                any = true;
                take(message);
            }
        }
        self.flush()?;
        Ok(any)
    }
}

fn write_all(socket: &mut TcpStream, waiting: &mut Vec<u8>) -> io::Result<()> {
    while !waiting.is_empty() {
        let len = socket.write(waiting)?;
        waiting.drain(..len);
    }
    Ok(())
}

/// Reads the next decrypted bytes.
fn read_tls(tls: &mut ClientConnection, socket: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match tls.reader().read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => return other,
        }
        if tls.read_tls(socket)? == 0 {
            return Ok(0);
        }
        tls.process_new_packets().map_err(io::Error::other)?;
    }
}
