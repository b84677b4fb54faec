//! The orderly end of a connection: this side ends first, then everything that the other side still sends is read and
//! discarded.
//!
//! A socket that is closed with unread data resets the connection, and the reset destroys what was still on its way:
//! the last answer, the Close frame (RFC 6455 section 7.1.1), the close_notify of TLS (RFC 8446 section 6.1). The
//! caller limits the time.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, sink};

/// How many bytes are read and discarded: enough for a client that has begun to send a large message.
const MAX_DISCARDED: u64 = 4 * 1024 * 1024;

/// Ends this side, then waits for the end of the other side.
///
/// # Errors
/// If the connection is already broken.
pub(crate) async fn end<S>(stream: &mut S) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.shutdown().await?;
    copy(&mut stream.take(MAX_DISCARDED), &mut sink()).await?;
    Ok(())
}
