//! The orderly end of a connection: our side ends first, then what the other side still sends is read and forgotten.
//!
//! A socket that is closed with unread data resets the connection, and the reset takes with it what was on its way: the
//! last answer, the Close frame (RFC 6455 section 7.1.1), the close_notify of TLS (RFC 8446 section 6.1). Whoever calls
//! bounds the time.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, sink};

/// So much is read and forgotten: a client that has begun to send a large message.
const MAX_DISCARDED: u64 = 4 * 1024 * 1024;

/// Ends our side, then waits for the end of the other.
///
/// # Errors
/// If the connection is broken already.
pub(crate) async fn end<S>(stream: &mut S) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.shutdown().await?;
    copy(&mut stream.take(MAX_DISCARDED), &mut sink()).await?;
    Ok(())
}
