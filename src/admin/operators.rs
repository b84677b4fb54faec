//! Connections of operators, which are accepted even when no others are.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::sleep,
};

use crate::{
    files::{self, Limit},
    front::slots::{Slot, Slots},
};

/// The wait after a failed accept.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Accepts operators even if no open files are left for others. When there are too many of them, the oldest connection
/// is closed.
pub(super) struct Operators {
    listener: TcpListener,
    files: Limit,
    slots: Arc<Slots>,
}

impl Operators {
    pub(super) fn new(listener: TcpListener, files: Limit) -> Self {
        Self { listener, files, slots: Slots::new(usize::MAX, files::OPERATORS) }
    }

    pub(super) async fn accept(&self) -> Operator {
        loop {
            let accepted = poll_fn(|cx| match self.listener.poll_accept(cx) {
                Poll::Ready(Err(error)) if files::are_used_up(&error) => {
                    let lifted = self.files.lifted(|| Ok(self.listener.poll_accept(cx)));
                    lifted.unwrap_or_else(|error| Poll::Ready(Err(error)))
                }
                accepted => accepted,
            });
            match accepted.await {
                Ok((tcp, peer)) => {
                    let slot = self.slots.uncounted(peer.ip());
                    return Operator { tcp, must_go: Some(Box::pin(slot.must_go())), _slot: slot };
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::debug!(%error, "cannot accept an operator's connection");
                    sleep(ACCEPT_BACKOFF).await;
                }
            }
        }
    }
}

/// The connection of an operator. It ends when another one needs its place.
pub(super) struct Operator {
    tcp: TcpStream,
    must_go: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    _slot: Slot,
}

impl AsyncRead for Operator {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.must_go.as_mut().is_none_or(|must_go| must_go.as_mut().poll(cx).is_ready()) {
            this.must_go = None;
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Operator {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tcp).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_shutdown(cx)
    }
}
