//! Mends a request of old clients before it is parsed.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// The beginning of the request of some clients when the URL has a query but no path (`ws://host?room=r`). RFC 9112
/// section 3.2.1 requires a slash there, and so does hyper.
const WITHOUT_PATH: &[u8] = b"GET ?";
const WITH_PATH: &[u8] = b"GET /?";

/// A stream with a corrected beginning.
#[derive(Debug)]
pub(super) struct Mended<S> {
    /// Bytes that are read before those from the network.
    beginning: Bytes,
    stream: S,
}

impl<S: AsyncRead + Unpin> Mended<S> {
    /// Reads the beginning of a request. If the first piece is shorter than the beginning to be mended, it stays as it
    /// is.
    pub(super) async fn new(mut stream: S) -> io::Result<Self> {
        let mut taken = [0; WITHOUT_PATH.len()];
        let len = stream.read(&mut taken).await?;
        let beginning = match &taken[..len] {
            WITHOUT_PATH => Bytes::from_static(WITH_PATH),
            other => Bytes::copy_from_slice(other),
        };
        Ok(Self { beginning, stream })
    }

    /// The rest of the stream.
    pub(super) fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Mended<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.beginning.is_empty() {
            return Pin::new(&mut this.stream).poll_read(cx, buf);
        }
        let len = this.beginning.len().min(buf.remaining());
        buf.put_slice(&this.beginning[..len]);
        this.beginning.advance(len);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Mended<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(request: &[u8]) -> Vec<u8> {
        let mut mended = Mended::new(request).await.unwrap();
        let mut all = Vec::new();
        mended.read_to_end(&mut all).await.unwrap();
        all
    }

    #[tokio::test]
    async fn a_path_is_put_in_where_there_is_none() {
        assert_eq!(read(b"GET ?room=r HTTP/1.1\r\n").await, b"GET /?room=r HTTP/1.1\r\n");
        for fine in [&b"GET /?room=r HTTP/1.1\r\n"[..], b"GET / HTTP/1.1\r\n", b"POST ? HTTP/1.1\r\n", b"GET", b""] {
            assert_eq!(read(fine).await, fine);
        }
    }
}
