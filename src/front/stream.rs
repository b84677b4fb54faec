//! A TCP connection with or without TLS, and the protocol that its first byte indicates.

use std::{
    io::{self, IoSlice, Write},
    pin::Pin,
    task::{Context, Poll},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::SockRef;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use crate::turn::io::Paced;

/// The transport of one client.
#[derive(Debug)]
pub(crate) enum Stream {
    /// Without TLS.
    Plain(TcpStream),
    /// With TLS. Boxed, because it is ten times as large.
    Tls(Box<TlsStream<TcpStream>>),
}

/// How many unsent bytes of media the kernel may hold.
const MEDIA_IN_KERNEL: u32 = 16 * 1024;

/// How many bytes TLS may hold.
const MEDIA_IN_TLS: usize = 32 * 1024;

/// How many empty lines before a request are ignored.
const MAX_EMPTY_LINES: usize = 8;

/// The protocol of a connection, by its first byte, before TLS and again within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// A request line begins with a method, which is a word.
    Http,
    /// A handshake record (RFC 8446 section 5.1).
    Tls,
    /// A STUN message begins with two zero bits, and of its types only requests and indications with small numbers come
    /// first (RFC 8489 section 5). ChannelData cannot be first.
    Stun,
}

impl Protocol {
    /// The protocol that begins with this byte.
    pub fn of(first_byte: u8) -> Option<Self> {
        match first_byte {
            0x00..=0x03 => Some(Self::Stun),
            0x16 => Some(Self::Tls),
            b'A'..=b'Z' | b'a'..=b'z' => Some(Self::Http),
            _ => None,
        }
    }

    /// Whether this byte may precede a request (RFC 9112 section 2.2).
    pub(crate) fn may_precede(first_byte: u8) -> bool {
        matches!(first_byte, b'\r' | b'\n')
    }
}

impl Stream {
    /// The first byte, which is not consumed; `None` at the end of the stream.
    pub(crate) async fn first_byte(&mut self) -> io::Result<Option<u8>> {
        match self {
            Self::Plain(stream) => {
                let mut first = [0];
                Ok((stream.peek(&mut first).await? == 1).then_some(first[0]))
            }
            Self::Tls(stream) => Ok(stream.fill_buf().await?.first().copied()),
        }
    }

    /// Consumes a few empty lines. Returns the byte after them, which is not consumed.
    pub(crate) async fn skip_empty_lines(&mut self) -> io::Result<Option<u8>> {
        for _ in 0..MAX_EMPTY_LINES {
            match self.first_byte().await? {
                Some(b'\r') => {
                    self.read_u8().await?;
                    // Alone, it does not end a line.
                    if self.first_byte().await? != Some(b'\n') {
                        return Ok(Some(b'\r'));
                    }
                    self.read_u8().await?;
                }
                Some(b'\n') => drop(self.read_u8().await?),
                next => return Ok(next),
            }
        }
        self.first_byte().await
    }

    /// Keeps the kernel from storing megabytes for a client that does not read.
    pub(crate) fn bound_send_buffer(&self, bytes: usize) {
        let tcp = match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        };
        if let Err(error) = SockRef::from(tcp).set_send_buffer_size(bytes) {
            tracing::debug!(%error, "cannot bound a send buffer");
        }
    }

    /// Keeps the bytes that wait in TLS and in the kernel few, so that this server can still drop the oldest media of a
    /// slow client.
    pub(crate) fn prepare_for_media(&mut self) {
        let tcp = match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => {
                let (tcp, session) = tls.get_mut();
                session.set_buffer_limit(Some(MEDIA_IN_TLS));
                tcp
            }
        };
        if let Err(error) = SockRef::from(&*tcp).set_tcp_notsent_lowat(MEDIA_IN_KERNEL) {
            tracing::debug!(%error, "cannot set TCP_NOTSENT_LOWAT");
        }
    }
}

impl Paced for Stream {
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let tcp = match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_mut().0,
        };
        loop {
            std::task::ready!(tcp.poll_write_ready(cx))?;
            // The runtime's knowledge may be outdated. This call asks the kernel, which applies TCP_NOTSENT_LOWAT to
            // the byte.
            let asked = tcp.try_io(Interest::WRITABLE, || {
                let mut fds = [PollFd::new(&*tcp, PollFlags::OUT)];
                poll(&mut fds, Some(&Timespec::default()))?;
                if fds[0].revents().is_empty() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            match asked {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                asked => return Poll::Ready(asked),
            }
        }
    }
}

/// Makes each of `bufs` a record (or several, if it is long), and writes them together.
fn poll_write_records(
    stream: &mut TlsStream<TcpStream>,
    cx: &mut Context<'_>,
    bufs: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    // The rest of earlier records goes first, to make room.
    std::task::ready!(Pin::new(&mut *stream).poll_flush(cx))?;
    let mut taken = 0;
    for buf in bufs {
        let len = stream.get_mut().1.writer().write(buf)?;
        taken += len;
        if len < buf.len() {
            break;
        }
    }
    // The bytes count as written now, even if they still wait in TLS. A caller that needs certainty flushes.
    match Pin::new(stream).poll_flush(cx) {
        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        _ => Poll::Ready(Ok(taken)),
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => poll_write_records(stream, cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
